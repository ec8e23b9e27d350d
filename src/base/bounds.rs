//! Bounds that several modules use. Each is a hard limit on external input; none is configurable.

/// Longest path of an artifact inside its resource, in bytes.
pub const MAX_PATH_BYTES: usize = 1024;
/// Longest part of such a path, in bytes: the limit of Linux file systems.
pub const MAX_PATH_PART_BYTES: usize = 255;
/// Most bytes that one read or write of a guest moves.
pub const MAX_CHUNK_BYTES: usize = 8 << 20;
/// Longest message of a log line, in bytes; the rest is truncated.
pub const MAX_LOG_MESSAGE_BYTES: usize = 16 << 10;
/// Most fields of a log line; the rest is dropped.
pub const MAX_LOG_FIELDS: usize = 32;
/// Longest recorded message of an error or an outcome, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 4096;
/// Longest name of a metric, param or run tag, in bytes.
pub const MAX_FACT_NAME_BYTES: usize = 200;
/// Longest value of a param or run tag, in bytes.
pub const MAX_FACT_VALUE_BYTES: usize = 10_000;
/// Longest value of a param or run tag by which runs are found, in characters.
pub const MAX_FILTER_VALUE_CHARS: usize = 256;
/// Most metrics in one call of a guest.
pub const MAX_METRICS_PER_CALL: usize = 10_000;
/// Most params or tags in one call of a guest.
pub const MAX_ENTRIES_PER_CALL: usize = 1_000;
/// Longest tag of an artifact, in bytes.
pub const MAX_ARTIFACT_TAG_BYTES: usize = 100;
/// Longest model card, in bytes.
pub const MAX_MODEL_CARD_BYTES: usize = 50_000;
/// Longest reason for a pause, in bytes.
pub const MAX_PAUSE_REASON_BYTES: usize = 1_000;
/// Most items of a page of any list, to a guest or over HTTP.
pub const MAX_PAGE: u32 = 1_000;
/// Most artifacts that a request gives to a run that it starts.
pub const MAX_GIVEN: usize = 1_000;
/// Longest name of the person who decides about an approval, in characters.
pub const MAX_DECIDER_CHARS: usize = 200;
/// Longest note of a decision about an approval, in characters.
pub const MAX_NOTE_CHARS: usize = 2_000;
/// Largest manifest, in bytes.
pub const MAX_MANIFEST_BYTES: u64 = 1 << 20;
/// Largest params object of an action, as JSON, in bytes.
pub const MAX_PARAMS_BYTES: usize = 1 << 20;
/// Largest component that is read, in bytes.
pub const MAX_COMPONENT_BYTES: u64 = 256 << 20;

/// Truncates `text` to at most `max` bytes at a character boundary, and then adds an ellipsis.
#[must_use]
pub fn cut(text: &str, max: usize) -> std::borrow::Cow<'_, str> {
    if text.len() <= max {
        return text.into();
    }
    let end = (0..=max.saturating_sub('…'.len_utf8())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let (kept, _) = text.split_at(end);
    format!("{kept}…").into()
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn cut_keeps_short_text_and_never_splits_a_character() {
        assert_eq!(cut("short", 10), "short");
        assert_eq!(cut("0123456789", 8), "01234…");
        assert_eq!(cut("ääää", 6), "ä…");
        assert_eq!(cut("ä", 1), "…");
    }
}
