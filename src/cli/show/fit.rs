//! Cuts or wraps text to a width. Widths are terminal columns, of which some characters take two
//! and some none.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Returns the beginning of the first line of `text`; `…` marks omitted text.
pub(crate) fn cut_end(text: &str, room: usize) -> String {
    let first = text.lines().next().unwrap_or_default();
    if first.width() <= room && first.len() == text.trim_end().len() {
        return first.to_owned();
    }
    format!("{}…", taken(first.chars(), room.saturating_sub(1)).into_iter().collect::<String>().trim_end())
}

/// Returns the end of `text`; `…` marks omitted text.
pub(crate) fn cut_front(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let end = taken(text.chars().rev(), room.saturating_sub(1));
    format!("…{}", end.into_iter().rev().collect::<String>())
}

/// Takes as many characters as fit.
fn taken(characters: impl Iterator<Item = char>, room: usize) -> Vec<char> {
    let mut width = 0;
    characters
        .take_while(|character| {
            width += character.width().unwrap_or(0);
            width <= room
        })
        .collect()
}

/// Wraps `text` into lines of at most `room` columns. A line breaks between words, and within a
/// word only if the word is longer than a line. Continuation lines keep the indentation. The result
/// is never empty.
pub(crate) fn wrap(text: &str, room: usize) -> Vec<String> {
    let room = room.max(1);
    let mut lines = Vec::new();
    for line in text.lines() {
        wrap_line(line, room, &mut lines);
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

fn wrap_line(line: &str, room: usize, lines: &mut Vec<String>) {
    let body = line.trim_start();
    let (indent, _) = line.split_at(line.len() - body.len());
    let indent = if indent.width() < room / 2 { indent } else { "" };
    let mut current = indent.to_owned();
    let mut empty = true;
    for word in body.trim_end().split(' ') {
        let mut word = word;
        if !empty && current.width() + 1 + word.width() <= room {
            current.push(' ');
            current.push_str(word);
            continue;
        }
        if !empty {
            lines.push(std::mem::replace(&mut current, indent.to_owned()));
        }
        while current.width() + word.width() > room {
            let part: String = taken(word.chars(), room - current.width()).into_iter().collect();
            // If not even one character fits, take one anyway.
            let length = if part.is_empty() { word.chars().next().map_or(0, char::len_utf8) } else { joint(&part) };
            let (head, tail) = word.split_at(length);
            lines.push(format!("{current}{head}"));
            word = tail;
        }
        current.push_str(word);
        empty = false;
    }
    if current != indent || body.is_empty() {
        lines.push(current);
    }
}

/// Returns where to break a word that is too long: after the last separator in `part`, if more than
/// half of `part` stays on this line.
fn joint(part: &str) -> usize {
    part.rfind(['_', '-', '/', ':', '.', ',']).map(|at| at + 1).filter(|at| *at > part.len() / 2).unwrap_or(part.len())
}

/// The end of a message line that the guest's last lines follow, indented by four blanks.
const SAID_LAST: &str = ". Its last output:";

/// Shortens a message to its first line, without advice that continues on the next lines, but with
/// the last line of the guest's output, if the message has it.
pub(crate) fn headline(message: &str) -> Cow<'_, str> {
    let message = message.trim();
    let Some((first, more)) = message.split_once('\n') else { return message.into() };
    if let Some(how) = first.strip_suffix(SAID_LAST) {
        let words = more.lines().map_while(|line| line.strip_prefix("    ").or(line.is_empty().then_some("")));
        return match words.map(str::trim).filter(|line| !line.is_empty()).last() {
            Some(last) => format!("{how}: {last}").into(),
            None => how.into(),
        };
    }
    let proposes = first.ends_with(':');
    first.rsplit_once("; ").filter(|_| proposes).map_or(first, |(before, _)| before).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_width::UnicodeWidthStr as _;

    use super::{cut_end, cut_front, headline, wrap};

    #[test]
    fn cut_text_is_marked() {
        assert_eq!(
            ["short", "a longer text", "two\nlines"].map(|text| cut_end(text, 8)),
            ["short", "a longe…", "two…"]
        );
        assert_eq!(["short", "a/longer/path"].map(|text| cut_front(text, 8)), ["short", "…er/path"]);
        assert_eq!((cut_end("日本語", 4), cut_front("日本語", 4)), ("日…".to_owned(), "…語".to_owned()));
    }

    #[test]
    fn lines_break_between_words_and_keep_their_indent() {
        assert_eq!(wrap("one two three four", 9), ["one two", "three", "four"]);
        assert_eq!(wrap("one\n  at a long place", 9), ["one", "  at a", "  long", "  place"]);
        assert_eq!(wrap("abcdefghijk l", 4), ["abcd", "efgh", "ijk", "l"]);
        assert_eq!(wrap("clean_and_checked", 12), ["clean_and_", "checked"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("日本", 1), ["日", "本"]);
    }

    #[test]
    fn a_headline_omits_advice() {
        let limit = "the limit of 1 MiB is reached; to raise it, write in anacostia.toml:\n[actions.a]\nlimits = {}";
        assert_eq!(headline(limit), "the limit of 1 MiB is reached");
        assert_eq!(headline("it trapped: x\n  at y"), "it trapped: x");
        assert_eq!(headline("alone: "), "alone:");
    }

    #[test]
    fn a_headline_includes_the_last_stderr_line() {
        let said = "it exited with code 1. Its last output:\n    reading a.csv\n\n    a.csv: no such file\n  at main";
        assert_eq!(headline(said), "it exited with code 1: a.csv: no such file");
        assert_eq!(headline("it trapped. Its last output:\n  at main"), "it trapped");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_its_limit(text in "[ab 日ä\n]{0,60}", room in 2usize..30) {
            prop_assert!(cut_end(&text, room).width() <= room);
            prop_assert!(cut_front(&text.replace('\n', ""), room).width() <= room);
            let lines = wrap(&text, room);
            prop_assert!(lines.iter().all(|line| line.width() <= room), "{lines:?}");
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
        }
    }
}
