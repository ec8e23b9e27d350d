//! What a look needs from a database.

use std::fmt;
use std::ops::ControlFlow;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::manifest::SqlFrom;

/// A value of the high-water column. Only the database compares two of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mark {
    /// An integer of SQLite.
    Integer(i64),
    /// A floating-point number of SQLite.
    Real(f64),
    /// Text of SQLite, or the text of a PostgreSQL value of any type.
    Text(String),
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => write!(f, "{value}"),
            Self::Real(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
        }
    }
}

/// A row that a look has found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Its value in the high-water column.
    pub(super) mark: Mark,
    /// Whether that value is at most [`Look::settled`].
    pub(super) is_settled: bool,
    /// The row as a JSON object, in one line.
    pub(super) line: String,
}

/// Which rows to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look<'a> {
    /// The rows with at least this value in the high-water column; all rows that have a value there
    /// if it is absent.
    pub(super) from: Option<&'a Mark>,
    /// See [`Row::is_settled`].
    pub(super) settled: Option<&'a Mark>,
    /// The most rows to read.
    pub(super) limit: u64,
}

/// Why a database did not answer, for display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure(pub(super) String);

pub(super) type Answer<T> = Result<T, Failure>;

/// Takes rows, in the order of the high-water column, until it breaks.
pub(super) type Take<'a> = dyn FnMut(Row) -> ControlFlow<()> + Send + 'a;

/// An open database. After an error it is opened again.
#[async_trait]
pub(super) trait Source: Send {
    /// Returns the greatest value in the high-water column. With `up_to_now`, times in the future
    /// do not count, if the database knows that the values are times.
    async fn greatest(&mut self, up_to_now: bool) -> Answer<Option<Mark>>;

    /// Returns the greatest value in the high-water column that is less than `below` and, if it is
    /// given, greater than `above`.
    async fn greatest_between(&mut self, above: Option<&Mark>, below: &Mark) -> Answer<Option<Mark>>;

    /// Reads rows.
    async fn read(&mut self, look: Look<'_>, take: &mut Take<'_>) -> Answer<()>;

    /// Returns whether something may have changed since the last call.
    async fn may_have_changed(&mut self) -> Answer<bool>;

    /// Waits until the database says that something has changed. May wait forever. Cancel safe.
    async fn changed(&mut self) -> Answer<()>;
}

/// Returns a name as SQL writes it, whatever characters it has.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns the rows to watch as a table expression.
pub(super) fn table_expression(from: &SqlFrom) -> String {
    match from {
        // A schema may precede the name.
        SqlFrom::Table(name) => name.split('.').map(quoted).collect::<Vec<_>>().join("."),
        // On lines of its own, because it may end with a comment.
        SqlFrom::Query(query) => format!("(\n{}\n)", query.trim().trim_end_matches(';')),
    }
}

#[cfg(test)]
mod tests {
    use super::{Mark, table_expression};
    use crate::manifest::SqlFrom;

    #[test]
    fn names_are_quoted_and_queries_are_put_into_brackets() {
        let table = |name: &str| table_expression(&SqlFrom::Table(name.to_owned()));
        assert_eq!(table("readings"), "\"readings\"");
        assert_eq!(table("lab.Read\"ings"), "\"lab\".\"Read\"\"ings\"");
        let query = table_expression(&SqlFrom::Query("select 1 as id -- one\n;\n".to_owned()));
        assert_eq!(query, "(\nselect 1 as id -- one\n\n)");
    }

    #[test]
    fn a_mark_keeps_its_type_on_record() {
        for mark in [Mark::Integer(i64::MAX), Mark::Real(0.1), Mark::Text("2026-01-01 00:00:00+00".to_owned())] {
            let text = serde_json::to_string(&mark).unwrap();
            assert_eq!(serde_json::from_str::<Mark>(&text).unwrap(), mark, "{text}");
        }
    }
}
