//! The resource kind `sql`: a SQLite or PostgreSQL database, whose rows are watched, or which
//! actions query and change.
//!
//! | module | job |
//! |---|---|
//! | `watch` | looks for new rows, and reports them as batches |
//! | `cursor` | what is on record with a batch: where the next look begins |
//! | `place` | which rows a cursor belongs to |
//! | `window` | which rows from there on are delivered already |
//! | `batch`, `csv` | rows as one artifact, of JSON lines or CSV |
//! | `recent` | the batches of the window, for the next host |
//! | `source`, `open` | what a look needs from a database |
//! | `sqlite`, `postgres` | the databases |
//! | `access`, `outcome` | queries and changes of actions |
//! | `sqlite_access`, `pg_access` | the same, for each database |
//! | `journal` | the statements of an attempt, until they are published |
//! | `changes` | executes them exactly once |
//!
//! A query may not give the same answer again. So the bytes of each batch are kept in the state
//! folder before the batch is put on record, and are read from there.
//!
//! Rows become visible in the order of their commits, not in the order of a column: a transaction
//! may take the number 5 and commit after the one that took 6. So a look reads again what is not
//! older than `overlap`, and delivers what it did not see before. A row is missed only if it
//! commits more than `overlap` after a look has seen a row with a greater value.

mod access;
mod batch;
mod changes;
mod csv;
mod cursor;
mod journal;
mod open;
mod outcome;
mod pg_access;
mod place;
mod postgres;
mod recent;
mod source;
mod sqlite;
mod sqlite_access;
#[cfg(test)]
mod tests;
mod watch;
mod window;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::kept::Kept;
use crate::base::{ArtifactId, AttemptId};
use crate::manifest::SqlSpec;
use crate::model::StagedFile;
use crate::resource::{
    Capabilities, Content, Database, KnownPaths, ObservationSink, Prepared, Reader, Resource, ResourceError, Result,
    SqlGrant, SqlRows, SqlStatement, Writer,
};
use changes::Changing;
use recent::Recent;
use watch::{TRIM_EVERY, Watcher};

/// The fault points of the kind; see [`crate::base::fault`].
pub const FAULT_POINTS: &[&str] =
    &["sql.read", "sql.kept", "sql.told", "sql.prepared", "sql.before_commit", "sql.committed", "sql.published"];

/// A database; see the module.
#[derive(Debug)]
pub struct Sql {
    name: String,
    spec: SqlSpec,
    /// The state folder.
    state: PathBuf,
    kept: Arc<Kept>,
    recent: Arc<Recent>,
    changing: Changing,
}

impl Sql {
    /// Creates the resource with its name in the manifest. `state` is the folder of the pipeline's
    /// state. Does not check whether the database can be reached.
    ///
    /// # Errors
    /// [`ResourceError::Unusable`] if statements cannot be staged in the state folder.
    pub fn new(name: &str, spec: &SqlSpec, state: &Path) -> Result<Self> {
        let kept = Arc::new(Kept::new(name, state, spec.keep, spec.max_kept));
        Ok(Self {
            name: name.to_owned(),
            spec: spec.clone(),
            state: state.to_owned(),
            recent: Arc::new(Recent::new(name, state)),
            changing: Changing::new(name, spec, state, Arc::clone(&kept))?,
            kept,
        })
    }

    fn unusable(&self, why: impl Into<String>) -> ResourceError {
        ResourceError::Unusable { resource: self.name.clone(), why: why.into() }
    }

    /// Returns the error for an action that writes a file.
    fn no_files(&self) -> ResourceError {
        self.unusable("a database holds rows, not files: change it with `execute` of the interface `database`")
    }
}

#[async_trait]
impl Resource for Sql {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { watch: true, write: true, ranges: true, synced: true, keeps: false }
    }

    async fn watch(
        self: Arc<Self>,
        known: Arc<dyn KnownPaths>,
        cursor: Option<String>,
        sink: Arc<dyn ObservationSink>,
        stop: CancellationToken,
    ) -> Result<()> {
        let Some(rows) = self.spec.rows.clone() else {
            return Err(self.unusable("it has no rows to watch: give it a `table` or a `query`"));
        };
        // The guard is dropped with this future, so that the thread ends with it.
        let stop = stop.child_token();
        let _guard = stop.clone().drop_guard();
        let watcher = Watcher {
            name: self.name.clone(),
            of: place::digest(&self.spec.database, &rows, &self.state),
            rows,
            kept: Arc::clone(&self.kept),
            recent: Arc::clone(&self.recent),
            trim_every: TRIM_EVERY,
            sink,
            stop: stop.clone(),
        };
        let database = self.spec.clone();
        let watch = async move { watcher.run(&database, known.as_ref(), cursor.as_deref()).await };
        // A thread of its own, because calls of SQLite block.
        let runtime = tokio::runtime::Handle::current();
        let (ended, end) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name(format!("watch-{}", self.name))
            .spawn(move || {
                let _ = ended.send(runtime.block_on(watch));
            })
            .map_err(|error| self.unusable(format!("no thread can be started to watch it: {error}")))?;
        // If there is no answer, the thread has panicked.
        end.await.unwrap_or_else(|_| Err(self.unusable("its watch has failed, which is a bug: see the message above")))
    }

    async fn open(&self, content: &Content) -> Result<Box<dyn Reader>> {
        self.kept.open(content).await
    }

    async fn create(&self, _: AttemptId, _: ArtifactId, _: &str, _: bool) -> Result<Box<dyn Writer>> {
        Err(self.no_files())
    }

    async fn reopen(&self, finished: &StagedFile) -> Result<Box<dyn Writer>> {
        self.changing.spool.reopen(finished).await
    }

    async fn claim_writing(&self, holder: &str) -> Result<()> {
        self.changing.spool.claim_writing(holder).await
    }

    async fn release_writing(&self) {
        self.changing.spool.release_writing().await;
    }

    async fn check_kept(&self, content: &Content) -> Result<()> {
        self.kept.check(content).await
    }

    async fn prepare(&self, attempt: AttemptId, files: &[StagedFile]) -> Result<Option<Prepared>> {
        changes::prepare(&self.changing, attempt, files).await
    }

    fn database(&self) -> Option<&dyn Database> {
        Some(self)
    }

    async fn publish(&self, attempt: AttemptId, files: &[StagedFile]) -> Result<Vec<Option<String>>> {
        changes::publish(&self.changing, attempt, files).await
    }

    async fn sweep(&self, keep: &[AttemptId]) -> Result<u64> {
        self.changing.spool.sweep(keep).await
    }

    async fn discard(&self, attempt: AttemptId) -> Result<()> {
        self.changing.spool.discard(attempt).await
    }

    async fn trim(&self, known: &dyn KnownPaths) -> Result<()> {
        // If there is a watch, it removes content itself.
        if self.spec.rows.is_none() { self.kept.trim(known).await } else { Ok(()) }
    }
}

#[async_trait]
impl Database for Sql {
    async fn query(&self, grant: &SqlGrant, statement: SqlStatement) -> Result<Box<dyn SqlRows>> {
        Ok(Box::new(self.changing.access.query(&self.name, grant, statement).await?))
    }

    async fn check(&self, grant: &SqlGrant, statement: SqlStatement) -> Result<()> {
        self.changing
            .access
            .check(grant, statement)
            .await
            .map_err(|refusal| refusal.about(&self.name, "check a statement"))
    }

    async fn journal(&self, attempt: AttemptId, artifact: ArtifactId, path: &str) -> Result<Box<dyn Writer>> {
        self.changing.spool.create(attempt, artifact, path, false).await
    }
}
