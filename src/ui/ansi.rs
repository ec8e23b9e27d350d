//! Colours of log lines.
//!
//! A line is stored with its control characters escaped, so the sequences with which programs
//! colour their output stand in it as text. They become classes here. Other sequences, which move
//! a cursor or set a title, have no meaning in a page and are left out.

use serde::Serialize;

/// How an escape character is stored.
const ESCAPE: &str = "\\u{1b}";
/// How the character that ends some sequences is stored.
const BELL: &str = "\\u{7}";

/// A part of a line in one style.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Piece {
    /// The classes of the style; empty for plain text.
    class: String,
    text: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a terminal sets and resets each by itself")]
struct Style {
    bold: bool,
    faint: bool,
    italic: bool,
    underlined: bool,
    colour: Option<u8>,
    ground: Option<u8>,
}

/// Returns the parts of a stored line.
pub(super) fn pieces(line: &str) -> Vec<Piece> {
    let (mut pieces, mut style, mut rest) = (Vec::new(), Style::default(), line);
    while let Some(at) = sequence_in(rest) {
        let (before, from) = rest.split_at(at);
        push(&mut pieces, style, before);
        let sequence = &from[ESCAPE.len()..];
        rest = match sequence.chars().next() {
            Some('[') => control(&mut style, &sequence[1..]),
            Some(']') => after(sequence, BELL).or_else(|| after(sequence, ESCAPE)).unwrap_or_default(),
            Some(other) => &sequence[other.len_utf8()..],
            None => "",
        };
    }
    push(&mut pieces, style, rest);
    pieces
}

/// Returns where the first sequence begins. A backslash of the program is stored as two, so an odd
/// number of them before the escape means that the program has written its text.
fn sequence_in(text: &str) -> Option<usize> {
    let escaped = |at: usize| text.get(..at).map_or(0, |before| before.len() - before.trim_end_matches('\\').len());
    text.match_indices(ESCAPE).map(|(at, _)| at).find(|at| escaped(*at) % 2 == 0)
}

/// Returns a stored line without its colours.
pub(super) fn plain(line: &str) -> String {
    pieces(line).into_iter().map(|piece| piece.text).collect()
}

fn after<'a>(text: &'a str, end: &str) -> Option<&'a str> {
    text.find(end).and_then(|at| text.get(at + end.len()..))
}

/// Reads a control sequence after its `[`, and returns what follows it.
fn control<'a>(style: &mut Style, sequence: &'a str) -> &'a str {
    let Some(end) = sequence.find(|c: char| !(c.is_ascii_digit() || matches!(c, ';' | ':' | '?' | ' '))) else {
        return "";
    };
    let (codes, rest) = sequence.split_at(end);
    let mut letters = rest.chars();
    if letters.next() == Some('m') {
        style.change(codes);
    }
    letters.as_str()
}

fn push(pieces: &mut Vec<Piece>, style: Style, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece { class: style.class(), text: text.replace("\\\\", "\\") });
    }
}

impl Style {
    fn change(&mut self, codes: &str) {
        let mut codes = codes.split([';', ':']).map(|code| code.parse::<u16>().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.faint = true,
                3 => self.italic = true,
                4 => self.underlined = true,
                22 => (self.bold, self.faint) = (false, false),
                23 => self.italic = false,
                24 => self.underlined = false,
                30..=37 => self.colour = Some(small(code - 30)),
                90..=97 => self.colour = Some(small(code - 90) + 8),
                40..=47 => self.ground = Some(small(code - 40)),
                100..=107 => self.ground = Some(small(code - 100) + 8),
                39 => self.colour = None,
                49 => self.ground = None,
                38 => self.colour = extended(&mut codes),
                48 => self.ground = extended(&mut codes),
                _ => {}
            }
        }
    }

    fn class(self) -> String {
        let colour = self.colour.map(|colour| format!("ansi-{colour}"));
        let ground = self.ground.map(|ground| format!("ansi-on-{ground}"));
        let flags = [
            (self.bold, "ansi-bold"),
            (self.faint, "ansi-faint"),
            (self.italic, "ansi-italic"),
            (self.underlined, "ansi-line"),
        ];
        let flags = flags.iter().filter(|(set, _)| *set).map(|(_, name)| (*name).to_owned());
        flags.chain(colour).chain(ground).collect::<Vec<_>>().join(" ")
    }
}

fn small(code: u16) -> u8 {
    u8::try_from(code.min(15)).unwrap_or_default()
}

/// Reads a colour of the palette of 256, or one of 24 bits. Only the first 16 have a class, because
/// any other may be unreadable on the ground of the page.
fn extended(codes: &mut impl Iterator<Item = u16>) -> Option<u8> {
    match codes.next()? {
        5 => codes.next().filter(|colour| *colour < 16).map(small),
        2 => {
            codes.nth(2);
            None
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{pieces, plain};
    use crate::base::escape;

    fn shown(line: &str) -> Vec<(String, String)> {
        pieces(&escape(line.as_bytes())).into_iter().map(|piece| (piece.class, piece.text)).collect()
    }

    fn pair(class: &str, text: &str) -> (String, String) {
        (class.to_owned(), text.to_owned())
    }

    #[test]
    fn colours_become_classes() {
        let line = "a \x1b[1;31mred\x1b[0m b \x1b[38;5;12mblue\x1b[39;4mline\x1b[24;97;44mon\x1b[m.";
        let wanted = [
            pair("", "a "),
            pair("ansi-bold ansi-1", "red"),
            pair("", " b "),
            pair("ansi-12", "blue"),
            pair("ansi-line", "line"),
            pair("ansi-15 ansi-on-4", "on"),
            pair("", "."),
        ];
        assert_eq!(shown(line), wanted);
    }

    #[test]
    fn other_sequences_are_left_out_and_text_is_kept() {
        assert_eq!(shown("\x1b[2J\x1b[1;1Ha\x1b]0;title\x07b\x1b(Bc"), [pair("", "a"), pair("", "b"), pair("", "Bc")]);
        assert_eq!(shown("\x1b[38;2;1;2;3mx\x1b[48;5;200my"), [pair("", "x"), pair("", "y")]);
        assert_eq!(plain(&escape(b"C:\\new \x1b[31")), "C:\\new ");
        // A program that writes the text of an escaped character keeps it.
        assert_eq!(plain(&escape(b"\\u{1b}[31m")), "\\u{1b}[31m");
    }
}
