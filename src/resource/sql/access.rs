//! Queries and changes of actions, on either database.
//!
//! A change is made exactly once. [`Access::change`] executes the statements of an attempt in one
//! transaction, together with a marker (a row that names the attempt), and leaves the transaction
//! open. The store commits the attempt, then the transaction is committed. A host that dies in
//! between leaves a committed attempt: the next host looks for the marker, and executes the
//! statements again if it is missing.

use std::path::Path;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::outcome::{Changes, Outcome, Part, Refusal};
use super::pg_access::Pg;
use super::sqlite_access::File;
use crate::base::AttemptId;
use crate::manifest::{SqlDatabase, SqlSpec};
use crate::resource::{Result, SqlGrant, SqlRows, SqlStatement, SqlValue};

/// How actions reach the database.
#[derive(Debug)]
pub(super) enum Access {
    Sqlite(File),
    Postgres(Pg),
}

impl Access {
    pub(super) fn new(spec: &SqlSpec) -> Self {
        match &spec.database {
            SqlDatabase::Sqlite { path } => Self::Sqlite(File::new(path.clone())),
            SqlDatabase::Postgres { url } => Self::Postgres(Pg::new(url, spec.password.clone())),
        }
    }

    /// Starts a query, and waits for its columns.
    pub(super) async fn query(&self, resource: &str, grant: &SqlGrant, statement: SqlStatement) -> Result<Streamed> {
        let (sender, mut parts) = mpsc::channel(1);
        match self {
            Self::Sqlite(file) => file.query(grant, statement, sender),
            Self::Postgres(pg) => pg.query(statement, sender).await,
        }
        let columns = match parts.recv().await {
            Some(Ok(Part::Columns(columns))) => columns,
            Some(Err(refusal)) => return Err(refusal.about(resource, "start a query")),
            Some(Ok(_)) | None => return Err(broken().about(resource, "start a query")),
        };
        let (resource, rest) = (resource.to_owned(), Vec::new().into_iter());
        Ok(Streamed { resource, columns, parts, rest, is_over: false })
    }

    /// Checks a statement that is to be executed later.
    pub(super) async fn check(&self, grant: &SqlGrant, statement: SqlStatement) -> Outcome<()> {
        match self {
            Self::Sqlite(file) => file.check(grant, statement).await,
            Self::Postgres(pg) => pg.check(&statement).await,
        }
    }

    /// Begins a transaction, and executes the statements of a journal in it. `None` if an earlier
    /// transaction of this attempt is committed.
    pub(super) async fn change(&self, attempt: AttemptId, journal: &Path) -> Outcome<Option<Box<dyn Changes>>> {
        match self {
            Self::Sqlite(file) => file.change(attempt, journal).await,
            Self::Postgres(pg) => pg.change(attempt, journal).await,
        }
    }
}

fn broken() -> Refusal {
    Refusal::Unavailable("the query has ended before its rows did, which is a bug: see the host's log".to_owned())
}

/// The rows of a query, as they come. Dropping it ends the query.
pub(super) struct Streamed {
    resource: String,
    columns: Vec<String>,
    parts: mpsc::Receiver<Outcome<Part>>,
    /// Rows that have come and are not taken yet.
    rest: std::vec::IntoIter<Vec<SqlValue>>,
    is_over: bool,
}

impl std::fmt::Debug for Streamed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streamed").field("columns", &self.columns).finish_non_exhaustive()
    }
}

#[async_trait]
impl SqlRows for Streamed {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    async fn next(&mut self, limit: usize) -> Result<Vec<Vec<SqlValue>>> {
        if self.rest.len() == 0 && !self.is_over {
            match self.parts.recv().await.unwrap_or_else(|| Err(broken())) {
                Ok(Part::Rows(rows)) => self.rest = rows.into_iter(),
                Ok(Part::Columns(_) | Part::End) => self.is_over = true,
                Err(refusal) => {
                    self.is_over = true;
                    return Err(refusal.about(&self.resource, "return rows"));
                }
            }
        }
        Ok(self.rest.by_ref().take(limit).collect())
    }
}
