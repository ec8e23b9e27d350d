//! What a replay works on: it reads what is recorded, and writes to a scratch folder. It has no
//! databases.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::base::{ArtifactId, AttemptId, RunId, Timestamp, WriteId};
use crate::model::{Artifact, Facts, Fence, MetricRecord, Page, Pending, Run, StagedFile};
use crate::resource::{
    Capabilities, Content, Database, KnownPaths, ObservationSink, Reader, Resource, ResourceError, Result, SqlGrant,
    SqlRows, SqlStatement, Writer, open_scratch,
};
use crate::scheduler::definition::Resources;
use crate::store::{
    self, FactQuery, GuestRecords, MetadataStore, PageRequest, PublishedOutput, RunQuery, SnapshotQuery,
};

/// The records, for a guest whose own facts are dropped.
#[derive(Debug)]
pub(super) struct AsRecorded(pub(super) Arc<dyn MetadataStore>);

#[async_trait]
impl GuestRecords for AsRecorded {
    async fn artifact(&self, id: ArtifactId) -> store::Result<Option<Artifact>> {
        self.0.artifact(id).await
    }

    async fn snapshot(&self, query: SnapshotQuery, page: PageRequest) -> store::Result<Page<Artifact>> {
        self.0.snapshot(query, page).await
    }

    async fn outputs(&self, run: RunId, resource: &str, actions: &[String]) -> store::Result<Vec<Artifact>> {
        self.0.outputs(run, resource, actions).await
    }

    async fn open_intents(&self) -> store::Result<Vec<PublishedOutput>> {
        self.0.open_intents().await
    }

    async fn pending(&self, resource: &str) -> store::Result<Pending> {
        self.0.pending(resource).await
    }

    async fn pending_artifacts(&self, resource: &str, page: PageRequest) -> store::Result<Page<Artifact>> {
        self.0.pending_artifacts(resource, page).await
    }

    async fn present_artifacts(&self, resource: &str, page: PageRequest) -> store::Result<Page<Artifact>> {
        self.0.present_artifacts(resource, page).await
    }

    async fn runs(&self, query: RunQuery, page: PageRequest) -> store::Result<Page<Run>> {
        self.0.runs(query, page).await
    }

    async fn metrics(&self, query: FactQuery, page: PageRequest) -> store::Result<Page<MetricRecord>> {
        self.0.metrics(query, page).await
    }

    async fn record_facts(&self, _: Fence, _: WriteId, _: Facts, _: Timestamp) -> store::Result<()> {
        Ok(())
    }
}

/// Returns resources that read from `real`, and write to a folder.
pub(super) fn resources_to_replay(real: &Resources, scratch: &Path) -> Result<Resources> {
    let mut all: Resources = BTreeMap::new();
    for (name, real) in real {
        let scratch = open_scratch(name, scratch)?;
        all.insert(name.clone(), Arc::new(Replica { real: Arc::clone(real), scratch }));
    }
    Ok(all)
}

const NEITHER: &str = "a replay neither watches nor publishes";
const NO_DATABASE: &str = "a replay uses no database, because what it answered is not on record";

/// A resource that is read, and for which a folder takes what is written.
#[derive(Debug)]
struct Replica {
    real: Arc<dyn Resource>,
    scratch: Arc<dyn Resource>,
}

impl Replica {
    fn refuse<T>(&self, why: &str) -> Result<T> {
        Err(ResourceError::Unusable { resource: self.name().to_owned(), why: why.to_owned() })
    }
}

#[async_trait]
impl Resource for Replica {
    fn name(&self) -> &str {
        self.real.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.real.capabilities()
    }

    async fn watch(
        self: Arc<Self>,
        _: Arc<dyn KnownPaths>,
        _: Option<String>,
        _: Arc<dyn ObservationSink>,
        _: CancellationToken,
    ) -> Result<()> {
        self.refuse(NEITHER)
    }

    async fn open(&self, content: &Content) -> Result<Box<dyn Reader>> {
        self.real.open(content).await
    }

    async fn create(
        &self,
        attempt: AttemptId,
        artifact: ArtifactId,
        path: &str,
        overwrite: bool,
    ) -> Result<Box<dyn Writer>> {
        self.scratch.create(attempt, artifact, path, overwrite).await
    }

    async fn reopen(&self, finished: &StagedFile) -> Result<Box<dyn Writer>> {
        self.scratch.reopen(finished).await
    }

    fn database(&self) -> Option<&dyn Database> {
        self.real.database().map(|_| self as &dyn Database)
    }

    async fn publish(&self, _: AttemptId, _: &[StagedFile]) -> Result<Vec<Option<String>>> {
        self.refuse(NEITHER)
    }

    async fn sweep(&self, _: &[AttemptId]) -> Result<u64> {
        self.refuse(NEITHER)
    }

    async fn discard(&self, attempt: AttemptId) -> Result<()> {
        self.scratch.discard(attempt).await
    }
}

#[async_trait]
impl Database for Replica {
    async fn query(&self, _: &SqlGrant, _: SqlStatement) -> Result<Box<dyn SqlRows>> {
        self.refuse(NO_DATABASE)
    }

    async fn check(&self, _: &SqlGrant, _: SqlStatement) -> Result<()> {
        self.refuse(NO_DATABASE)
    }

    async fn journal(&self, _: AttemptId, _: ArtifactId, _: &str) -> Result<Box<dyn Writer>> {
        self.refuse(NO_DATABASE)
    }
}
