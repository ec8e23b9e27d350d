//! A minimal Rust lexer that finds which modules a file refers to.

/// A word or a single character of punctuation in source text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// A top-level module that a file refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    /// The first part of the path after `crate`. It is `super` if a chain of `super::` leaves the
    /// top-level module.
    pub(crate) module: String,
    pub(crate) line: usize,
}

/// Returns the words and the punctuation of `source`, without comments. The words inside strings
/// are included, because attributes contain paths in strings; braces in strings are not.
pub(crate) fn words(source: &str) -> Vec<Word> {
    let characters: Vec<char> = source.chars().collect();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    let seen = |index: usize| characters.get(index).copied().unwrap_or('\0');
    while at < characters.len() {
        let begin = at;
        match (seen(at), seen(at + 1)) {
            ('/', '/') => at = find(&characters, at, |index| seen(index) == '\n'),
            ('/', '*') => at = end_of_block_comment(&characters, at),
            ('r', '"' | '#') if raw_string_end(&characters, at).is_some() => {
                at = raw_string_end(&characters, at).unwrap();
                push_string(&characters[begin..at], line, &mut found);
            }
            ('"', _) => {
                at = end_of_string(&characters, at);
                push_string(&characters[begin..at], line, &mut found);
            }
            // A character literal, not a lifetime.
            ('\'', '\\') => at = find(&characters, at + 3, |index| seen(index) == '\'') + 1,
            ('\'', _) if seen(at + 2) == '\'' => at += 3,
            (first, _) if is_word(first) => {
                at = find(&characters, at, |index| !is_word(seen(index)));
                found.push(Word { text: characters[begin..at].iter().collect(), line });
            }
            (sign, _) => {
                at += 1;
                if !sign.is_whitespace() {
                    found.push(Word { text: sign.to_string(), line });
                }
            }
        }
        line += characters[begin..at.min(characters.len())].iter().filter(|c| **c == '\n').count();
    }
    found
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn find(characters: &[char], from: usize, stop: impl Fn(usize) -> bool) -> usize {
    (from..characters.len()).find(|index| stop(*index)).unwrap_or(characters.len())
}

fn end_of_block_comment(characters: &[char], from: usize) -> usize {
    let mut depth = 0;
    let mut at = from;
    while at + 1 < characters.len() {
        match (characters[at], characters[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    characters.len()
}

fn end_of_string(characters: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < characters.len() && characters[at] != '"' {
        at += if characters[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(characters.len())
}

/// Returns where the raw string that begins at `from` ends, or `None` if it is not a raw string
/// (but `r#type`, or a word that ends in r).
fn raw_string_end(characters: &[char], from: usize) -> Option<usize> {
    let hashes = characters[from + 1..].iter().take_while(|c| **c == '#').count();
    if characters.get(from + 1 + hashes) != Some(&'"') {
        return None;
    }
    let mut at = from + 2 + hashes;
    while at < characters.len() {
        let closed =
            characters[at] == '"' && characters[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
        at += 1;
        if closed {
            return Some(at + hashes);
        }
    }
    Some(characters.len())
}

fn push_string(quoted: &[char], line: usize, found: &mut Vec<Word>) {
    let text: String = quoted.iter().collect();
    for word in text.split(|c: char| !is_word(c) && c != ':').filter(|word| word.starts_with("crate::")) {
        for part in word.split("::").take(2) {
            found.push(Word { text: part.to_owned(), line });
            found.extend([":", ":"].map(|sign| Word { text: sign.to_owned(), line }));
        }
    }
}

/// Returns the top-level modules that `source` refers to, if the file itself is `depth` modules
/// below the crate.
pub(crate) fn imports(source: &str, depth: usize) -> Vec<Import> {
    let words = words(source);
    let text = |at: usize| words.get(at).map_or("", |word| word.text.as_str());
    let mut found = Vec::new();
    let mut braces: Vec<bool> = Vec::new();
    for at in 0..words.len() {
        let path = text(at + 1) == ":" && text(at + 2) == ":";
        match text(at) {
            "{" => braces.push(at >= 2 && text(at - 2) == "mod"),
            "}" => drop(braces.pop()),
            "crate" if path => found.extend(first_segments(&words, at + 3)),
            "super" if path && !(at >= 3 && text(at - 3) == "super") => {
                let ups = (0..words.len())
                    .take_while(|up| text(at + 3 * up) == "super" && text(at + 3 * up + 1) == ":")
                    .count();
                // What remains after leaving the inline modules. Leaving the top-level module as
                // well would circumvent the floors.
                if ups >= depth + braces.iter().filter(|module| **module).count() {
                    found.push(Import { module: "super".to_owned(), line: words[at].line });
                }
            }
            _ => {}
        }
    }
    found
}

/// Returns the first parts of the paths that begin at `at`: one, or several in braces.
fn first_segments(words: &[Word], at: usize) -> Vec<Import> {
    let Some(first) = words.get(at) else { return Vec::new() };
    if first.text != "{" {
        return vec![Import { module: first.text.clone(), line: first.line }];
    }
    let mut found = Vec::new();
    let mut depth = 0;
    for (index, word) in words.iter().enumerate().skip(at) {
        match word.text.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," => {}
            _ if depth == 1 && matches!(words[index - 1].text.as_str(), "{" | ",") => {
                found.push(Import { module: word.text.clone(), line: word.line });
            }
            _ => {}
        }
    }
    found
}

mod tests {
    use super::imports;

    fn modules(source: &str, depth: usize) -> Vec<String> {
        imports(source, depth).into_iter().map(|import| import.module).collect()
    }

    #[test]
    fn every_form_of_import_is_found() {
        assert_eq!(modules("use crate::store::{Page, query::Run};", 1), ["store"]);
        assert_eq!(modules("use crate::{base::{Digest, Span}, model, http::*};", 1), ["base", "model", "http"]);
        assert_eq!(modules("fn f() { let x = 'a'; crate :: cli::run(\"}\") }", 1), ["cli"]);
        assert_eq!(modules("pub(in crate::http) struct X; pub(crate) struct Y<'a>(&'a u8);", 1), ["http"]);
        assert_eq!(modules("macro_rules! m { () => { $crate::model::X } }", 1), ["model"]);
        assert_eq!(modules("#[serde(with = \"crate::http::time\")] struct X;", 1), ["http"]);
        assert_eq!(modules("#[serde(default = r#\"crate::graph::x\"#)] struct X;", 1), ["graph"]);
    }

    #[test]
    fn comments_and_strings_are_not_imports() {
        let source = "//! [`crate::http`]\n/* crate::http /* crate::cli */ crate::http */ \"a {crate} crate: x\" '\"' crate::base::X";
        assert_eq!(modules(source, 1), ["base"]);
        let line = imports("// one\n\"two\n\"\nuse crate::base;", 1)[0].line;
        assert_eq!(line, 4);
    }

    #[test]
    fn super_must_not_leave_the_top_level_module() {
        assert_eq!(modules("use super::Thing;", 2), [""; 0]);
        assert_eq!(modules("use super::super::store::Thing;", 2), ["super"]);
        assert_eq!(modules("mod tests { use super::Thing; }", 1), [""; 0]);
        assert_eq!(modules("mod tests { use super::super::cli; }", 1), ["super"]);
    }
}
