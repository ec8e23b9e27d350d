//! Makes external text safe to show in one line of a terminal, a log or a page.

use std::fmt::Write as _;

/// Returns `bytes` as text without characters that have side effects: bytes that are not UTF-8
/// become `\xNN`; control characters and characters that reorder or hide text (bidirectional
/// controls, zero width) become `\u{…}`; a backslash is doubled.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                c if c.is_control() || acts(c) => {
                    let _ = write!(text, "\\u{{{:x}}}", u32::from(c));
                }
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Returns whether a character changes the appearance of the characters around it.
fn acts(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Returns whether a character reorders the text around it, or is invisible. Joiners and marks of
/// direction do not count: words of some languages, and emoji, are written with them.
#[must_use]
pub fn misleads(character: char) -> bool {
    matches!(character, '\u{200b}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn control_and_bidi_characters_are_escaped_and_other_text_is_kept() {
        assert_eq!(escape("naïve.csv".as_bytes()), "naïve.csv");
        assert_eq!(escape(b"a\xff\x1b[2J\\"), "a\\xff\\u{1b}[2J\\\\");
        assert_eq!(escape("a\u{202e}b".as_bytes()), "a\\u{202e}b");
    }
}
