//! What a database answers to the statements of actions: why it refuses one, rows, and changes.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::base::{Clock as _, SystemClock};
use crate::resource::{ResourceError, SqlValue};

/// The table of the attempts whose changes are committed.
pub(super) const MARKERS: &str = "anacostia_published";
/// How long a marker is kept: far longer than an attempt waits to be published.
const KEEP_MARKERS: Duration = Duration::from_hours(365 * 24);

/// Why a database did not do what it was asked to.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It does not answer, or is busy. The same request may succeed later.
    Unavailable(String),
    /// It refuses a statement.
    Statement { code: &'static str, why: String },
    /// The grant does not name the table.
    Table { table: String, writes: bool },
}

impl Refusal {
    /// The statement is not one that actions may pass.
    pub(super) fn invalid(why: impl Into<String>) -> Self {
        Self::Statement { code: "invalid", why: why.into() }
    }

    /// Adds the number of the statement to the message.
    pub(super) fn of_statement(self, number: usize) -> Self {
        match self {
            Self::Statement { code, why } => Self::Statement { code, why: format!("statement {number}: {why}") },
            other => other,
        }
    }

    /// Converts it to an error of the resource.
    pub(super) fn about(self, resource: &str, doing: &str) -> ResourceError {
        let resource = resource.to_owned();
        match self {
            Self::Unavailable(why) => ResourceError::Unavailable { resource, doing: doing.to_owned(), why },
            Self::Statement { code, why } => ResourceError::Statement { resource, code, why },
            Self::Table { table, writes } => ResourceError::Table { resource, table, writes },
        }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::Unavailable(format!("the statements cannot be read: {error}"))
    }
}

pub(super) type Outcome<T> = std::result::Result<T, Refusal>;

/// A batch of rows on its way from the database to the guest.
pub(super) type Chunk = Vec<Vec<SqlValue>>;

/// What a query sends: the names of its columns, then rows, then that there are no more.
pub(super) enum Part {
    Columns(Vec<String>),
    Rows(Chunk),
    End,
}

/// Sends the parts of a query. The channel holds at most one part. It is closed when nobody
/// receives the parts any more.
pub(super) type Sender = mpsc::Sender<Outcome<Part>>;

/// The most rows of a chunk.
const CHUNK_ROWS: usize = 1_000;
/// The size in bytes at which a chunk takes no more rows.
const CHUNK_BYTES: usize = 1 << 20;

/// Collects rows into chunks.
#[derive(Default)]
pub(super) struct Collector {
    rows: Chunk,
    bytes: usize,
}

impl Collector {
    /// Takes a row. Returns a chunk once it is large enough.
    pub(super) fn push(&mut self, row: Vec<SqlValue>) -> Option<Chunk> {
        self.bytes += row.iter().map(SqlValue::bytes).sum::<usize>();
        self.rows.push(row);
        (self.rows.len() >= CHUNK_ROWS || self.bytes >= CHUNK_BYTES).then(|| self.take())
    }

    /// Returns the rows of the last chunk.
    pub(super) fn take(&mut self) -> Chunk {
        self.bytes = 0;
        std::mem::take(&mut self.rows)
    }
}

/// An open transaction that has made the changes of an attempt, and its marker. Rolled back when it
/// is dropped.
#[async_trait]
pub(super) trait Changes: Send {
    /// Commits it. After an error it is not known whether it is committed.
    async fn commit(self: Box<Self>) -> Outcome<()>;
}

/// Checks the number of parameters.
pub(super) fn check_count(wanted: usize, given: usize) -> Outcome<()> {
    if wanted == given {
        return Ok(());
    }
    let parameters = if wanted == 1 { "parameter" } else { "parameters" };
    Err(Refusal::invalid(format!("it takes {wanted} {parameters}, but {given} were passed")))
}

/// Returns the id before which markers are removed. Ids of attempts are in the order of time, so
/// the primary key of the table finds them.
pub(super) fn oldest_marker() -> String {
    let age = i64::try_from(KEEP_MARKERS.as_micros()).unwrap_or(i64::MAX);
    let millis = SystemClock.now().as_micros().saturating_sub(age).max(0) / 1_000;
    let digits = format!("{millis:012x}");
    let (high, low) = digits.split_at_checked(8).unwrap_or(("00000000", "0000"));
    format!("{high}-{low}-7000-8000-000000000000")
}

#[cfg(test)]
mod tests {
    use super::oldest_marker;
    use crate::base::AttemptId;

    #[test]
    fn the_oldest_marker_is_an_id_before_those_of_today() {
        let oldest: AttemptId = oldest_marker().parse().unwrap();
        let now = AttemptId::new().to_string();
        assert!(oldest.to_string() < now && oldest.to_string()[..2] == now[..2], "{oldest} {now}");
    }
}
