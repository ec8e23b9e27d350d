//! `group_by` of a trigger: a pattern that puts each path into a group.

use std::collections::BTreeSet;

use crate::base::check_name;

/// Longest pattern, in bytes.
const MAX_BYTES: usize = 200;

/// A pattern of paths with named parts, such as `{day}/*.csv`. Paths with the same values of the
/// named parts are one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupBy {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// This text.
    Literal(String),
    /// `{NAME}`: at least one character, and no `/`.
    Name(String),
    /// `*`: any characters but `/`.
    Star,
    /// `**`: any characters.
    Deep,
}

impl GroupBy {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Why the pattern is invalid.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("it is longer than {MAX_BYTES} bytes"));
        }
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(first) = rest.chars().next() {
            let part = match first {
                '{' => {
                    let (name, _) = rest.trim_start_matches('{').split_once('}').ok_or("a `{` is not closed")?;
                    check_name(name).map_err(|why| format!("`{{{name}}}`: {why}"))?;
                    Part::Name(name.to_owned())
                }
                '*' if rest.starts_with("**") => Part::Deep,
                '*' => Part::Star,
                '}' => return Err("a `}` has no `{` before it".to_owned()),
                _ => Part::Literal(rest.split(['{', '}', '*']).next().unwrap_or(rest).to_owned()),
            };
            rest = rest.get(part.width()..).unwrap_or_default();
            parts.push(part);
        }
        check(&parts)?;
        Ok(Self { text: text.to_owned(), parts })
    }

    /// Returns the pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the group of a path, such as `day=2026-03-01`; `None` if the path does not match.
    #[must_use]
    pub fn group(&self, path: &str) -> Option<String> {
        let mut found = Vec::new();
        matches(&self.parts, path, &mut BTreeSet::new(), &mut found).then(|| {
            found.reverse();
            found.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
        })
    }

    /// Returns whether it is certain that it matches no name, without a `/`, that ends with `end`.
    pub(super) fn misses_names(&self, end: &str) -> bool {
        let is_below = |part: &Part| matches!(part, Part::Literal(text) if text.contains('/'));
        let is_other =
            |last: &Part| matches!(last, Part::Literal(text) if !text.ends_with(end) && !end.ends_with(text));
        self.parts.iter().any(is_below) || self.parts.last().is_some_and(is_other)
    }
}

impl Part {
    /// Returns how many bytes of the pattern it takes.
    fn width(&self) -> usize {
        match self {
            Self::Literal(text) => text.len(),
            Self::Name(name) => name.len() + 2,
            Self::Star => 1,
            Self::Deep => 2,
        }
    }
}

fn check(parts: &[Part]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for part in parts {
        if let Part::Name(name) = part
            && !names.insert(name)
        {
            return Err(format!("it has `{{{name}}}` twice"));
        }
    }
    if names.is_empty() {
        return Err("it names no part of the path, as `{day}` does".to_owned());
    }
    let meets = |two: &[Part]| !two.iter().any(|part| matches!(part, Part::Literal(_)));
    if parts.windows(2).any(meets) {
        return Err("it needs a text such as `/` or `_` between two parts, to tell where the first one ends".to_owned());
    }
    Ok(())
}

/// Matches the parts against the text. `failed` has the places at which that is known to fail, so
/// that no pattern takes long. Adds the named parts to `found`, last first.
fn matches<'t>(
    parts: &[Part],
    text: &'t str,
    failed: &mut BTreeSet<(usize, usize)>,
    found: &mut Vec<(String, &'t str)>,
) -> bool {
    let Some((part, rest)) = parts.split_first() else { return text.is_empty() };
    if failed.contains(&(parts.len(), text.len())) {
        return false;
    }
    let is_matched = if let Part::Literal(literal) = part {
        text.strip_prefix(literal.as_str()).is_some_and(|text| matches(rest, text, failed, found))
    } else {
        let longest = if *part == Part::Deep { text.len() } else { text.find('/').unwrap_or(text.len()) };
        let least = usize::from(matches!(part, Part::Name(_)));
        let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
        ends.filter(|end| (least..=longest).contains(end)).any(|end| {
            let (taken, left) = text.split_at(end);
            let is_matched = matches(rest, left, failed, found);
            if let (true, Part::Name(name)) = (is_matched, part) {
                found.push((name.clone(), taken));
            }
            is_matched
        })
    };
    if !is_matched {
        failed.insert((parts.len(), text.len()));
    }
    is_matched
}

#[cfg(test)]
mod tests {
    use super::GroupBy;

    #[test]
    fn a_path_is_in_the_group_of_its_named_parts() {
        let group = |pattern: &str, path: &str| GroupBy::parse(pattern).unwrap().group(path);
        assert_eq!(group("{day}/*.csv", "2026-03-01/a.csv").as_deref(), Some("day=2026-03-01"));
        assert_eq!(group("{day}/*.csv", "2026-03-01/a.txt"), None);
        assert_eq!(group("{day}/*.csv", "a.csv"), None);
        assert_eq!(group("{day}/*.csv", "2026/03/a.csv"), None, "a part ends at a slash");
        assert_eq!(group("{day}/**", "1/b/c.csv").as_deref(), Some("day=1"));
        let two = group("in/{station}-{day}.csv", "in/berlin-2026-03-01.csv");
        assert_eq!(two.as_deref(), Some("station=berlin, day=2026-03-01"), "the first takes as little as it can");
        assert_eq!(group("**/{name}.csv", "a/b/c.csv").as_deref(), Some("name=c"));
        assert_eq!(group("{n}.csv", "ä.csv").as_deref(), Some("n=ä"));
        assert_eq!(group("{n}.csv", ".csv"), None, "a part is not empty");
    }

    #[test]
    fn a_pattern_of_folders_or_of_another_ending_misses_every_name() {
        let misses = |pattern: &str| GroupBy::parse(pattern).unwrap().misses_names(".jsonl");
        assert!(misses("{day}/*.jsonl") && misses("**/{day}") && misses("{day}.csv") && misses("{day}.jsonl.gz"));
        assert!(!misses("{day}") && !misses("{day}_*") && !misses("{day}.jsonl") && !misses("{day}_*l"));
        assert!(!misses("{day}_1..33.jsonl"));
    }

    #[test]
    fn no_pattern_takes_long() {
        let pattern = GroupBy::parse(&format!("{{n}}{}/b", "/a*a".repeat(40))).unwrap();
        assert_eq!(pattern.group(&format!("n{}", "/aaaaaaaaaa".repeat(90))), None);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (text, why) in [
            ("*.csv", "names no part"),
            ("{day/*.csv", "not closed"),
            ("day}/*.csv", "has no `{`"),
            ("{Day}/*", "`{Day}`"),
            ("{day}/{day}", "twice"),
            ("{day}*.csv", "between two parts"),
            ("{day}{hour}", "between two parts"),
            (&"{day}/a".repeat(50), "longer"),
        ] {
            let refused = GroupBy::parse(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}
