//! A store and resources in memory, so that these tests depend on nothing but the sandbox, and an
//! order for an attempt on them. The fuzzer uses them, too.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use anacostia::base::{ArtifactId, AttemptId, Digest, RunId, Timestamp, WriteId};
use anacostia::manifest::Limits;
use anacostia::model::{Artifact, ArtifactState, Facts, Fence, MetricRecord, Page, Pending, Run, RunState, StagedFile};
use anacostia::resource::{
    self, Capabilities, Content, ObservationSink, Reader, Resource, ResourceError, Writer, check_path,
};
use anacostia::sandbox::AttemptOrder;
use anacostia::store::{
    self, FactQuery, GuestRecords, PageRequest, PublishedOutput, RunQuery, SnapshotQuery, StoreError,
};
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

/// A store with one run.
#[derive(Debug)]
pub struct FakeStore {
    pub run: RunId,
    pub inputs: Vec<Artifact>,
    /// In the snapshot, but not claimed.
    pub others: Vec<Artifact>,
    pub metrics: Vec<MetricRecord>,
    pub runs: Vec<Run>,
    pub facts: Mutex<Facts>,
    pub fenced: AtomicBool,
}

/// Returns a recorded artifact.
pub fn artifact(resource: &str, path: &str, content: &[u8]) -> Artifact {
    Artifact {
        id: ArtifactId::new(),
        resource: resource.to_owned(),
        path: path.to_owned(),
        version: 1,
        digest: Some(Digest::of(content)),
        size: content.len() as u64,
        state: ArtifactState::Current,
        reason: None,
        run_id: None,
        produced_by: None,
        created_at: Timestamp::from_micros(0),
        tags: Vec::new(),
        present: true,
        stamp: "stamp".to_owned(),
    }
}

/// Returns a recorded run.
pub fn run(number: u64, state: RunState) -> Run {
    Run {
        id: RunId::new(),
        number,
        state,
        trigger: "a test".to_owned(),
        params: serde_json::json!({}),
        revision: Digest::of(b""),
        snapshot: 0,
        created_at: Timestamp::from_micros(0),
        started_at: None,
        ended_at: None,
        reason: None,
        rerun_of: None,
        fired_by: Vec::new(),
        partition: None,
        trimmed_at: None,
    }
}

/// Returns an order for an attempt of the store's run that may read `raw` and write `out`.
pub fn order(store: &FakeStore, component: Digest) -> AttemptOrder {
    AttemptOrder {
        pipeline: "penguins".to_owned(),
        run_id: store.run,
        run_number: 7,
        inputs: store.inputs.clone().into(),
        trigger: "1 new artifact in raw".to_owned(),
        action: "train".to_owned(),
        number: 1,
        fence: Fence { attempt_id: AttemptId::new(), epoch: 1, token: 1 },
        component,
        params: "{}".to_owned(),
        reads: vec!["raw".to_owned()],
        writes: vec!["out".to_owned()],
        databases: BTreeMap::new(),
        ancestors: Vec::new(),
        args: Vec::new(),
        stdin: None,
        env: BTreeMap::new(),
        secrets: BTreeMap::new(),
        http: Vec::new(),
        header_secrets: Vec::new(),
        limits: Limits::default(),
        cache: None,
        replay: None,
    }
}

fn page<T>(items: Vec<T>) -> store::Result<Page<T>> {
    Ok(Page { items, next_cursor: None })
}

#[async_trait]
impl GuestRecords for FakeStore {
    async fn artifact(&self, id: ArtifactId) -> store::Result<Option<Artifact>> {
        Ok(self.inputs.iter().chain(&self.others).find(|artifact| artifact.id == id).cloned())
    }

    async fn snapshot(&self, query: SnapshotQuery, request: PageRequest) -> store::Result<Page<Artifact>> {
        let mut items: Vec<Artifact> = self
            .inputs
            .iter()
            .chain(&self.others)
            .filter(|a| a.resource == query.resource)
            .filter(|a| query.prefix.as_ref().is_none_or(|prefix| a.path.starts_with(prefix)))
            .filter(|a| query.after.as_ref().is_none_or(|after| a.path > *after))
            .filter(|a| query.path.as_ref().is_none_or(|path| a.path == *path))
            .filter(|a| query.artifact.is_none_or(|id| a.id == id))
            .cloned()
            .collect();
        items.sort_by(|a, b| a.path.cmp(&b.path));
        items.truncate(request.limit as usize);
        page(items)
    }

    async fn pending(&self, _: &str) -> store::Result<Pending> {
        Ok(Pending::default())
    }

    async fn pending_artifacts(&self, _: &str, _: PageRequest) -> store::Result<Page<Artifact>> {
        Ok(Page { items: Vec::new(), next_cursor: None })
    }

    async fn present_artifacts(&self, _: &str, _: PageRequest) -> store::Result<Page<Artifact>> {
        Ok(Page { items: Vec::new(), next_cursor: None })
    }

    async fn runs(&self, _query: RunQuery, _request: PageRequest) -> store::Result<Page<Run>> {
        page(self.runs.clone())
    }

    async fn outputs(&self, _run: RunId, _resource: &str, _actions: &[String]) -> store::Result<Vec<Artifact>> {
        Ok(Vec::new())
    }

    async fn open_intents(&self) -> store::Result<Vec<PublishedOutput>> {
        Ok(Vec::new())
    }

    async fn record_facts(&self, fence: Fence, _id: WriteId, facts: Facts, _now: Timestamp) -> store::Result<()> {
        if self.fenced.load(SeqCst) {
            return Err(StoreError::Fenced { attempt: fence.attempt_id, why: "it has token 2".to_owned() });
        }
        let mut kept = self.facts.lock().unwrap();
        kept.metrics.extend(facts.metrics);
        kept.params.extend(facts.params);
        kept.tags.extend(facts.tags);
        Ok(())
    }

    async fn metrics(&self, query: FactQuery, request: PageRequest) -> store::Result<Page<MetricRecord>> {
        assert!(query.succeeded_only && query.before_run.is_some());
        let found = self.metrics.iter().filter(|m| query.name.as_ref().is_none_or(|name| m.name == *name));
        page(found.take(request.limit as usize).cloned().collect())
    }
}

type Files = Mutex<BTreeMap<String, Arc<Vec<u8>>>>;

/// A resource in memory.
#[derive(Debug)]
pub struct FakeResource {
    pub name: String,
    pub files: Files,
    /// Finished, but not published.
    pub staged: Arc<Files>,
    pub changed: Arc<AtomicBool>,
    pub discarded: AtomicBool,
    /// The number of open readers and writers.
    pub open: Arc<AtomicUsize>,
    /// Files longer than this do not fit on the simulated disk.
    pub full_at: AtomicUsize,
}

/// Counts one while it exists.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn count(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, SeqCst);
        Self(Arc::clone(open))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl FakeResource {
    pub fn new(name: &str, files: &[(&str, &[u8])]) -> Arc<Self> {
        let files = files.iter().map(|(path, content)| ((*path).to_owned(), Arc::new(content.to_vec())));
        Arc::new(Self {
            name: name.to_owned(),
            files: Mutex::new(files.collect()),
            staged: Arc::default(),
            changed: Arc::default(),
            discarded: AtomicBool::new(false),
            open: Arc::default(),
            full_at: AtomicUsize::new(usize::MAX),
        })
    }
}

#[async_trait]
impl Resource for FakeResource {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { watch: false, write: true, ranges: true, synced: false, keeps: true }
    }

    async fn watch(
        self: Arc<Self>,
        _known: Arc<dyn anacostia::resource::KnownPaths>,
        _cursor: Option<String>,
        _sink: Arc<dyn ObservationSink>,
        _stop: CancellationToken,
    ) -> resource::Result<()> {
        unimplemented!()
    }

    async fn open(&self, content: &Content) -> resource::Result<Box<dyn Reader>> {
        let bytes = self
            .files
            .lock()
            .unwrap()
            .get(&content.path)
            .cloned()
            .ok_or_else(|| ResourceError::NotFound { resource: self.name.clone(), path: content.path.clone() })?;
        let (resource, path, changed) = (self.name.clone(), content.path.clone(), Arc::clone(&self.changed));
        Ok(Box::new(FakeReader { bytes, resource, path, changed, _open: Open::count(&self.open) }))
    }

    async fn create(
        &self,
        _attempt: AttemptId,
        artifact: ArtifactId,
        path: &str,
        overwrite: bool,
    ) -> resource::Result<Box<dyn Writer>> {
        check_path(path)?;
        if !overwrite && self.files.lock().unwrap().contains_key(path) {
            return Err(ResourceError::AlreadyExists { resource: self.name.clone(), path: path.to_owned() });
        }
        let (resource, path) = (self.name.clone(), path.to_owned());
        let (bytes, staged) = (Vec::new(), Arc::clone(&self.staged));
        let full_at = self.full_at.load(SeqCst);
        let _open = Open::count(&self.open);
        Ok(Box::new(FakeWriter { artifact, resource, path, overwrite, bytes, staged, full_at, _open }))
    }

    async fn reopen(&self, finished: &StagedFile) -> resource::Result<Box<dyn Writer>> {
        let bytes = self.staged.lock().unwrap().remove(&finished.staged).unwrap();
        Ok(Box::new(FakeWriter {
            artifact: finished.artifact_id,
            resource: self.name.clone(),
            path: finished.path.clone(),
            overwrite: finished.overwrite,
            bytes: bytes.to_vec(),
            staged: Arc::clone(&self.staged),
            full_at: self.full_at.load(SeqCst),
            _open: Open::count(&self.open),
        }))
    }

    async fn publish(&self, _attempt: AttemptId, _files: &[StagedFile]) -> resource::Result<Vec<Option<String>>> {
        unimplemented!()
    }

    async fn sweep(&self, _keep: &[AttemptId]) -> resource::Result<u64> {
        unimplemented!()
    }

    async fn discard(&self, _attempt: AttemptId) -> resource::Result<()> {
        self.discarded.store(true, SeqCst);
        self.staged.lock().unwrap().clear();
        Ok(())
    }
}

struct FakeReader {
    bytes: Arc<Vec<u8>>,
    resource: String,
    path: String,
    changed: Arc<AtomicBool>,
    _open: Open,
}

#[async_trait]
impl Reader for FakeReader {
    async fn read(&mut self, offset: u64, length: usize) -> resource::Result<Vec<u8>> {
        if self.changed.load(SeqCst) {
            let (resource, path) = (self.resource.clone(), self.path.clone());
            return Err(ResourceError::Changed { resource, path, why: "its size is 5, not 4".to_owned() });
        }
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.bytes.len());
        Ok(self.bytes[from..self.bytes.len().min(from.saturating_add(length))].to_vec())
    }
}

struct FakeWriter {
    artifact: ArtifactId,
    resource: String,
    path: String,
    overwrite: bool,
    bytes: Vec<u8>,
    staged: Arc<Files>,
    full_at: usize,
    _open: Open,
}

#[async_trait]
impl Writer for FakeWriter {
    async fn write(&mut self, bytes: &[u8]) -> resource::Result<()> {
        self.write_at(self.bytes.len() as u64, bytes).await
    }

    async fn write_at(&mut self, offset: u64, bytes: &[u8]) -> resource::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let end = start + bytes.len();
        if end > self.full_at {
            let (resource, doing) = (self.resource.clone(), format!("write `{}`", self.path));
            return Err(ResourceError::Full { resource, doing, why: "the disk is full: make room on it".to_owned() });
        }
        self.bytes.resize(self.bytes.len().max(end), 0);
        self.bytes[start..end].copy_from_slice(bytes);
        Ok(())
    }

    async fn set_size(&mut self, size: u64) -> resource::Result<()> {
        self.bytes.resize(usize::try_from(size).unwrap(), 0);
        Ok(())
    }

    async fn read_at(&mut self, offset: u64, length: usize) -> resource::Result<Vec<u8>> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.bytes.len());
        Ok(self.bytes[from..self.bytes.len().min(from.saturating_add(length))].to_vec())
    }

    async fn finish(self: Box<Self>) -> resource::Result<StagedFile> {
        let staged = StagedFile {
            artifact_id: self.artifact,
            resource: self.resource,
            path: self.path.clone(),
            digest: Digest::of(&self.bytes),
            size: self.bytes.len() as u64,
            staged: self.artifact.to_string(),
            stamp: String::new(),
            overwrite: self.overwrite,
            replaces: None,
        };
        self.staged.lock().unwrap().insert(self.artifact.to_string(), Arc::new(self.bytes));
        Ok(staged)
    }
}
