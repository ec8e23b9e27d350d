//! Rows as one artifact, at a path that says which rows they are.

use super::source::{Mark, Row};
use super::window::RowId;
use crate::base::bounds;
use crate::manifest::SqlFormat;

/// The most bytes of a batch, unless a single row is larger.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// Most bytes of a value in a path.
const MAX_MARK_BYTES: usize = 64;

/// New rows, in the order of the high-water column.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The rows as JSON lines.
    pub(super) lines: String,
    pub(super) rows: u64,
    /// The rows that later looks may read again.
    pub(super) ids: Vec<RowId>,
    range: Option<(Mark, Mark)>,
}

impl Batch {
    pub(super) fn push(&mut self, id: RowId, row: Row) {
        self.lines.push_str(&row.line);
        self.lines.push('\n');
        self.rows += 1;
        self.ids.push(id);
        match &mut self.range {
            Some((_, last)) => *last = row.mark,
            None => self.range = Some((row.mark.clone(), row.mark)),
        }
    }

    pub(super) fn is_full(&self, max_rows: u64) -> bool {
        self.rows >= max_rows || self.lines.len() >= MAX_BYTES
    }

    /// Returns the path of the batch with this number. Paths are in the order of the batches.
    pub(super) fn path(&self, number: u64, format: SqlFormat) -> Option<String> {
        let (first, last) = self.range.as_ref()?;
        Some(format!("{number:012}_{}..{}.{}", in_path(first), in_path(last), format.extension()))
    }
}

/// Returns the number of the batch at a path; `None` if it is not the path of one.
pub(super) fn number(path: &str) -> Option<u64> {
    let extensions = [SqlFormat::Jsonl, SqlFormat::Csv].map(SqlFormat::extension);
    let (name, extension) = path.rsplit_once('.')?;
    let (number, _) = name.split_once('_').filter(|_| extensions.contains(&extension))?;
    number.parse().ok().filter(|_| number.len() == 12)
}

/// Returns a value with only characters that are easy to handle in a path.
fn in_path(mark: &Mark) -> String {
    let text = mark.to_string();
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '+' | '.' | ':') { c } else { '_' };
    bounds::cut(&text, MAX_MARK_BYTES).chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::Batch;
    use crate::manifest::SqlFormat;
    use crate::resource::check_path;
    use crate::resource::sql::source::{Mark, Row};

    fn row(mark: Mark, line: &str) -> Row {
        Row { mark, is_settled: false, line: line.to_owned() }
    }

    #[test]
    fn the_path_says_which_rows_and_sorts_by_batch() {
        let mut batch = Batch::default();
        assert_eq!(batch.path(1, SqlFormat::Jsonl), None);
        batch.push([1; 16], row(Mark::Integer(17), "{\"id\":17}"));
        batch.push([2; 16], row(Mark::Integer(42), "{\"id\":42}"));
        assert_eq!(batch.path(7, SqlFormat::Jsonl).unwrap(), "000000000007_17..42.jsonl");
        assert_eq!(batch.path(7, SqlFormat::Csv).unwrap(), "000000000007_17..42.csv");
        assert_eq!(super::number("000000000007_17..42.jsonl"), Some(7));
        assert_eq!(super::number("000000000007_17..42.csv"), Some(7));
        assert_eq!(["7_a.jsonl", "000000000007.jsonl", "sample-000_1.jsonl"].map(super::number), [None; 3]);
        assert_eq!(batch.lines, "{\"id\":17}\n{\"id\":42}\n");
        assert!(batch.is_full(2) && !batch.is_full(3));
    }

    #[test]
    fn any_value_makes_a_valid_path() {
        for text in ["2026-01-01 00:00:00.5+00", "../../etc/passwd", "", "a\nb\0", &"ä".repeat(1_000)] {
            let mut batch = Batch::default();
            batch.push([1; 16], row(Mark::Text(text.to_owned()), "{}"));
            let path = batch.path(u64::MAX, SqlFormat::Jsonl).unwrap();
            check_path(&path).unwrap();
            assert!(!path.contains('/'), "{path}");
        }
    }
}
