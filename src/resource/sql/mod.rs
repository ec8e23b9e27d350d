//! The resource kind `sql`: the rows of a query of a SQLite or PostgreSQL database.
//!
//! | module | job |
//! |---|---|
//! | `watch` | looks for new rows, and reports them as batches |
//! | `cursor` | what is on record with a batch: where the next look begins |
//! | `window` | which rows from there on are delivered already |
//! | `batch`, `csv` | rows as one artifact, of JSON lines or CSV |
//! | `recent` | the batches of the window, for the next host |
//! | `source`, `open` | what a look needs of a database |
//! | `sqlite`, `postgres`, `tls` | the databases |
//!
//! The answer that a query gives today may not be there tomorrow. So the bytes of each batch are
//! kept in the state folder before the batch is put on record, and are read from there.
//!
//! Rows become visible in the order of their commits, not in the order of a column: a transaction
//! may take the number 5 and commit after the one that took 6. So a look reads again what is not
//! older than `overlap`, and delivers what it did not see before. A row is missed only if it
//! commits more than `overlap` after a look has seen a row with a greater value.

mod batch;
mod csv;
mod cursor;
mod open;
mod postgres;
mod recent;
mod source;
mod sqlite;
mod tls;
mod watch;
mod window;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::kept::Kept;
use crate::base::{ArtifactId, AttemptId};
use crate::manifest::SqlSpec;
use crate::model::StagedFile;
use crate::resource::{
    Capabilities, Content, KnownPaths, ObservationSink, Reader, Resource, ResourceError, Result, Writer,
};
use recent::Recent;
use watch::Watcher;

/// The fault points of the kind; see [`crate::base::fault`].
pub const FAULT_POINTS: &[&str] = &["sql.read", "sql.kept", "sql.told"];

/// A database; see the module.
#[derive(Debug)]
pub struct Sql {
    name: String,
    spec: SqlSpec,
    kept: Arc<Kept>,
    recent: Arc<Recent>,
}

impl Sql {
    /// Creates the resource with its name in the manifest. `state` is the folder of the pipeline's
    /// state. Does not check whether the database can be reached.
    #[must_use]
    pub fn new(name: &str, spec: &SqlSpec, state: &Path) -> Self {
        Self {
            name: name.to_owned(),
            spec: spec.clone(),
            kept: Arc::new(Kept::new(name, state, spec.keep)),
            recent: Arc::new(Recent::new(name, state)),
        }
    }

    fn unusable(&self, why: impl Into<String>) -> ResourceError {
        ResourceError::Unusable { resource: self.name.clone(), why: why.into() }
    }

    /// The error of writing a file. A pipeline that would write files here does not start.
    fn no_files(&self) -> ResourceError {
        self.unusable("a database holds rows, not files")
    }
}

#[async_trait]
impl Resource for Sql {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { watch: true, write: false, ranges: true }
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
            rows,
            kept: Arc::clone(&self.kept),
            recent: Arc::clone(&self.recent),
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
        // Without an answer the thread has panicked.
        end.await.unwrap_or_else(|_| Err(self.unusable("its watch has failed, which is a bug: see the message above")))
    }

    async fn open(&self, content: &Content) -> Result<Box<dyn Reader>> {
        self.kept.open(content).await
    }

    async fn create(&self, _: AttemptId, _: ArtifactId, _: &str, _: bool) -> Result<Box<dyn Writer>> {
        Err(self.no_files())
    }

    async fn reopen(&self, _: &StagedFile) -> Result<Box<dyn Writer>> {
        Err(self.no_files())
    }

    async fn publish(&self, _: AttemptId, _: &[StagedFile]) -> Result<Vec<Option<String>>> {
        Err(self.no_files())
    }

    async fn check_kept(&self, content: &Content) -> Result<()> {
        self.kept.check(content).await
    }

    async fn sweep(&self, _: &[AttemptId]) -> Result<u64> {
        Ok(0)
    }

    async fn discard(&self, _: AttemptId) -> Result<()> {
        Ok(())
    }
}
