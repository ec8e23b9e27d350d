//! The interface to `rusqlite`: how our values are stored in columns, and what its errors mean.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ErrorCode};

use crate::base::{ArtifactId, AttemptId, Digest, NotificationId, RunId, Timestamp, WriteId, panicked};
use crate::model::{
    AccessKind, ActionState, ArtifactState, AttemptState, EventKind, NodeKind, NotificationState, NotifyCause,
    RequestOutcome, RunState, TickOutcome, Verdict,
};
use crate::store::StoreError;

/// Why the work of a transaction failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fail {
    /// A rule of the store was broken; the error can be shown as it is.
    #[error(transparent)]
    Rule(#[from] StoreError),
    /// The database failed.
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    /// A column does not contain the JSON that we wrote.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The work panicked; the text says so.
    #[error("{0}")]
    Panicked(String),
}

/// The result of work inside a transaction.
pub(super) type Work<T> = Result<T, Fail>;

impl Fail {
    /// What is on record does not allow it.
    pub(super) fn conflict(why: impl Into<String>) -> Self {
        Self::Rule(StoreError::Conflict(why.into()))
    }

    /// An argument is invalid.
    pub(super) fn invalid(why: impl Into<String>) -> Self {
        Self::Rule(StoreError::Invalid(why.into()))
    }

    /// Returns the error for the caller that wanted to do `doing`.
    pub(super) fn into_store(self, doing: &'static str) -> StoreError {
        match self {
            Self::Rule(error) => error,
            Self::Json(error) => StoreError::Corrupt(format!("failed to {doing}: {error}")),
            Self::Sql(error) => from_sqlite(&error, doing),
            // The transaction is rolled back, so it may be tried again.
            Self::Panicked(why) => StoreError::Unavailable { doing: doing.to_owned(), why },
        }
    }
}

/// Does `work`. If it panics, it has failed, and the thread continues: a fault in one transaction
/// must not end all recording.
pub(super) fn guarded<T>(work: impl FnOnce() -> Work<T>) -> Work<T> {
    // What the work has changed is rolled back, so nothing half-done is seen.
    let done = catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|payload| Err(Fail::Panicked(panicked(&*payload))))
}

/// Returns the error that a SQLite error means for a caller that wanted to do `doing`.
pub(super) fn from_sqlite(error: &rusqlite::Error, doing: &'static str) -> StoreError {
    use rusqlite::Error as E;
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => {
            return StoreError::Conflict(format!("failed to {doing}: it conflicts with the record ({error})"));
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            return StoreError::Corrupt(format!("failed to {doing}: {error}"));
        }
        _ => {}
    }
    match error {
        E::FromSqlConversionFailure(..) | E::IntegralValueOutOfRange(..) | E::InvalidColumnType(..) => {
            StoreError::Corrupt(format!("failed to {doing}: {error}"))
        }
        E::ToSqlConversionFailure(..) => StoreError::Invalid(format!("failed to {doing}: {error}")),
        _ => StoreError::Unavailable { doing: doing.to_owned(), why: error.to_string() },
    }
}

/// Prepares a statement, or takes it from the connection's cache. Every statement of the store goes
/// through here: the tests look at the plan of each.
pub(super) fn prepare<'c>(db: &'c Connection, sql: &str) -> rusqlite::Result<CachedStatement<'c>> {
    #[cfg(test)]
    super::plans::note(sql);
    db.prepare_cached(sql)
}

/// Runs a statement that returns no rows.
pub(super) fn execute(db: &Connection, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<usize> {
    prepare(db, sql)?.execute(params)
}

/// Sets whether commits are synced from now on. Bypasses the statement cache, because SQLite
/// executes this pragma when it is prepared.
pub(super) fn sync_commits(db: &Connection, synced: bool) -> rusqlite::Result<()> {
    db.execute_batch(if synced { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" })
}

/// Values that are stored in a column as a blob of fixed size.
macro_rules! blob {
    ($($name:ident),+) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.as_bytes())))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                FromSql::column_result(value).map(Self::from_bytes)
            }
        }
    )+};
}
blob!(RunId, AttemptId, ArtifactId, NotificationId, WriteId, Digest);

/// Values that are stored in a column as their public word.
macro_rules! word {
    ($($name:ident),+) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(self.as_str()))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_str()?.parse().map_err(|error| FromSqlError::Other(Box::new(error)))
            }
        }
    )+};
}
word!(
    AccessKind,
    ActionState,
    ArtifactState,
    AttemptState,
    EventKind,
    NodeKind,
    NotificationState,
    NotifyCause,
    RequestOutcome,
    RunState,
    TickOutcome,
    Verdict
);

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.as_micros()))
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self::from_micros)
    }
}

/// A value that is stored in a column as JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: serde::de::DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::parse(value.as_str()?)
    }
}

impl<T: serde::de::DeserializeOwned> Json<T> {
    /// Reads the text of a column.
    pub(super) fn parse(text: &str) -> FromSqlResult<Self> {
        serde_json::from_str(text).map(Self).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}
