//! Removes the values of secrets from all text of an action.
//!
//! The mask covers the value itself, and each line of a value with several lines. It does not cover
//! derived text: a part of the value, its base64, or its letters on separate lines. A sandbox
//! cannot prevent that: an action that receives a secret can disclose it.

use std::borrow::Cow;

use crate::base::bounds::cut;

/// The replacement for a secret.
const MASK: &str = "•••";

/// Values shorter than this are not masked, because they would match by chance everywhere.
const SHORTEST: usize = 4;

/// Holds the values to mask.
#[derive(Debug, Clone, Default)]
pub(super) struct Masker {
    /// Sorted by length, longest first, so that masking a secret that is part of a longer one does
    /// not leave the rest of the longer one.
    values: Vec<String>,
}

impl Masker {
    /// Creates a masker for these values.
    pub(super) fn new<'a>(secrets: impl Iterator<Item = &'a str>) -> Self {
        let mut values: Vec<String> = secrets
            .flat_map(|secret| std::iter::once(secret).chain(secret.lines()))
            .filter(|value| value.chars().count() >= SHORTEST)
            .map(str::to_owned)
            .collect();
        values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        values.dedup();
        Self { values }
    }

    /// Returns the length of the longest value, in bytes. Code that truncates text before it is
    /// masked must keep that many more bytes; otherwise a part of a secret could remain.
    pub(super) fn longest(&self) -> usize {
        self.values.first().map_or(0, String::len)
    }

    /// Returns whether `text` contains the value of a secret.
    pub(super) fn finds(&self, text: &str) -> bool {
        matches!(self.mask(text), Cow::Owned(_))
    }

    /// Returns `text` without secrets.
    pub(super) fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.mask_up_to(text, usize::MAX)
    }

    /// Returns at most `max` bytes of `text`, without secrets. It truncates after masking, so that
    /// no part of a secret remains at the end.
    pub(super) fn mask_cut(&self, text: &str, max: usize) -> String {
        // Text that begins at or after `max` is never kept.
        let masked = self.mask_up_to(text, max.saturating_add(1));
        cut(&masked, max).into_owned()
    }

    /// Returns `text` without secrets. May leave out text that begins at or after the byte `end`.
    fn mask_up_to<'a>(&self, text: &'a str, end: usize) -> Cow<'a, str> {
        let end = (0..=end.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let window = end.saturating_add(self.longest()).min(text.len());
        let window = (window..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        let searched = text.get(..window).unwrap_or(text);
        let mut kept = String::new();
        let mut at = 0;
        let mut secrets = Secrets::of(&self.values, searched);
        while let Some((start, length)) = secrets.from(at).filter(|(start, _)| *start < end) {
            kept.push_str(searched.get(at..start).unwrap_or_default());
            kept.push_str(MASK);
            at = start + length;
        }
        if at == 0 {
            return Cow::Borrowed(text.get(..end).unwrap_or(text));
        }
        kept.push_str(searched.get(at..end).unwrap_or_default());
        Cow::Owned(kept)
    }
}

/// Finds values in a text, from left to right. It remembers the next position of each value: a new
/// search for all values after each match would take quadratic time, and the guest controls the
/// text.
struct Secrets<'a> {
    text: &'a str,
    values: &'a [String],
    /// The next position of each value.
    next: Vec<Option<usize>>,
}

impl<'a> Secrets<'a> {
    fn of(values: &'a [String], text: &'a str) -> Self {
        let next = values.iter().map(|value| text.find(value.as_str())).collect();
        Self { text, values, next }
    }

    /// Returns the position and the length of the first value at or after `from`; of two at the
    /// same position, the longer. `from` must not decrease between calls.
    fn from(&mut self, from: usize) -> Option<(usize, usize)> {
        let rest = self.text.get(from..)?;
        for (next, value) in self.next.iter_mut().zip(self.values) {
            if next.is_some_and(|next| next < from) {
                *next = rest.find(value.as_str()).map(|at| from + at);
            }
        }
        let found = self.next.iter().zip(self.values).filter_map(|(next, value)| next.map(|at| (at, value.len())));
        found.min_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)))
    }
}

#[cfg(test)]
mod tests {
    use super::Masker;

    #[test]
    fn the_longest_secrets_are_masked_first() {
        let masker = Masker::new(["hunter2", "hunter2-long", "abc", "line one\nline two"].into_iter());
        assert_eq!(masker.mask("a hunter2-long b hunter2 c"), "a ••• b ••• c");
        assert_eq!(masker.mask("abc stays: it is too short"), "abc stays: it is too short");
        assert_eq!(masker.mask("so does line two alone"), "so does ••• alone");
        assert_eq!(masker.mask("nothing"), "nothing");
        assert_eq!(Masker::default().mask("x"), "x");
    }

    /// Takes an hour if each match searches all the rest of the text.
    #[test]
    fn masking_takes_time_linear_in_the_text() {
        let masker = Masker::new(["aaaa", "zzzz is nowhere"].into_iter());
        let masked = masker.mask(&"aaaa".repeat(4 << 20)).into_owned();
        assert_eq!(masked.len(), super::MASK.len() * (4 << 20));
    }

    #[test]
    fn truncation_never_leaves_a_part_of_a_secret() {
        let masker = Masker::new(["hunter2"].into_iter());
        for max in 0..40 {
            let cut = masker.mask_cut("hunter2 hunter2 hunter2 and some text", max);
            assert!(cut.len() <= max.max("…".len()), "{max}: {cut}");
            assert!(!cut.contains("hunt"), "{max}: {cut}");
        }
        assert_eq!(masker.mask_cut("no secret here", 9), "no sec…");
    }
}
