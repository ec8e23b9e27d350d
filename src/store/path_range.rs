//! The range of paths of a snapshot, in byte order.

use super::SnapshotQuery;

/// After every path there is: larger than any character that one can have.
const LAST: &str = "\u{10ffff}\u{10ffff}";

/// The paths from `from` up to, not including, `to`.
#[derive(Debug)]
pub(super) struct PathRange {
    pub(super) from: String,
    pub(super) to: String,
}

impl PathRange {
    /// All paths.
    pub(super) fn all() -> Self {
        Self { from: String::new(), to: LAST.to_owned() }
    }

    /// The paths that a query selects, after the path `cursor`.
    pub(super) fn of(query: &SnapshotQuery, cursor: Option<&str>) -> Self {
        let mut range = Self::all();
        if let Some(prefix) = &query.prefix {
            range.narrow(prefix.clone(), end_of_prefix(prefix));
        }
        if let Some(path) = &query.path {
            range.narrow_to(path);
        }
        for after in [query.after.as_deref(), cursor].into_iter().flatten() {
            range.narrow(just_after(after), LAST.to_owned());
        }
        range
    }

    /// Leaves out all paths but this one.
    pub(super) fn narrow_to(&mut self, path: &str) {
        self.narrow(path.to_owned(), just_after(path));
    }

    fn narrow(&mut self, from: String, to: String) {
        if from > self.from {
            self.from = from;
        }
        if to < self.to {
            self.to = to;
        }
    }
}

/// The first text after `path`.
fn just_after(path: &str) -> String {
    format!("{path}\0")
}

/// The first text after all that begin with `prefix`.
fn end_of_prefix(prefix: &str) -> String {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            text.push(next);
            return text;
        }
    }
    LAST.to_owned()
}

#[cfg(test)]
mod tests {
    use super::end_of_prefix;

    #[test]
    fn a_prefix_range_ends_before_the_first_text_without_the_prefix() {
        for (prefix, end) in [("a", "b"), ("a/\u{d7ff}", "a/\u{e000}"), ("a\u{10ffff}", "b"), ("ä", "å")] {
            assert_eq!(end_of_prefix(prefix), end);
            assert!(format!("{prefix}\u{10ffff}z").as_str() < end);
        }
    }
}
