//! SQL over the records: read-only, over views whose columns are documented.
//!
//! The tables of a store are its own business, and change with its versions. So a query sees
//! [`VIEWS`] and nothing else. `docs/SQL.md` describes them.

use std::ops::ControlFlow;

use super::Result;

/// The names of the views.
pub const VIEWS: [&str; 7] = ["artifacts", "attempts", "lineage", "metrics", "params", "runs", "tags"];

/// Why a statement is refused that does more than read.
pub(super) const ONLY_READS: &str =
    "the records can only be read here: pass one statement that begins with SELECT or WITH";
/// Why several statements are refused.
pub(super) const MORE_THAN_ONE: &str = "there is more than one statement: pass one query";
/// Why a statement without any word is refused.
pub(super) const EMPTY: &str = "the query is empty";

/// Says what is in a statement where a store stopped reading it. Empty if nothing is.
pub(super) fn place(rest: &str) -> String {
    let rest = rest.trim();
    let near: String = rest.chars().take(30).collect();
    match near.len() {
        0 => String::new(),
        length if length < rest.len() => format!(", at `{near}…`"),
        _ => format!(", at `{near}`"),
    }
}

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// A whole number.
    Integer(i64),
    /// A double, which may be infinite.
    Real(f64),
    /// A text.
    Text(&'a str),
}

/// Receives the result of a query. Either method may end the query early.
pub trait RowSink {
    /// Receives the names of the columns, once, before the first row.
    fn columns(&mut self, names: &[&str]) -> ControlFlow<()>;

    /// Receives the next row.
    fn row(&mut self, values: &[Value<'_>]) -> ControlFlow<()>;
}

/// Answers queries over the views. All of them see the records as they were when this was opened,
/// also while a host is running. Calls block.
pub trait Views: std::fmt::Debug {
    /// Executes a query, which is one statement that only reads.
    ///
    /// # Errors
    /// [`StoreError::Invalid`](super::StoreError::Invalid) if it is no such statement.
    fn query(&mut self, sql: &str, sink: &mut dyn RowSink) -> Result<()>;
}
