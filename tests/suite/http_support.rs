//! A server on a real socket, over a store, a resource and a control whose state tests set.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anacostia::base::{ArtifactId, AttemptId, Digest, Freed, RunId, Timestamp};
use anacostia::http::{Login, MAX_BODY_BYTES, Patience, ServeOptions, Tls};
use anacostia::manifest::{
    ComponentInfo, FolderSpec, HttpForm, HttpSpec, Join, Pipeline, ResourceKind, ResourceSpec, Retention, StoreSpec,
    TlsSpec, Trigger,
};
use anacostia::model::{
    AliasMove, Artifact, ArtifactState, Durability, NodeKind, Pause, Run, RunDetail, RunState, StagedFile, Verdict,
};
use anacostia::resource::{
    Capabilities, Content, ObservationSink, Outage, Reader, Resource, ResourceError, Status, Upload, Waiting, Writer,
};
use anacostia::sandbox::Progress;
use anacostia::scheduler::{Control, FreedSpace, InForce, Inputs, SlotUse, View};
use anacostia::store::{
    AliasTarget, MetadataStore, NewModelVersion, RemovedRows, StoreError,
    logs::{self, LogStore},
};
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::http_fake::{FakeStore, Stored};

/// Records the requests to the control, and applies them to the fake store.
pub(crate) struct FakeControl {
    pub(crate) store: Arc<FakeStore>,
    pub(crate) calls: Mutex<Vec<String>>,
    pub(crate) reasons: Mutex<Vec<String>>,
    pub(crate) watches: Mutex<BTreeMap<String, Status>>,
    /// The runs that end.
    pub(crate) ends: tokio::sync::broadcast::Sender<RunId>,
}

impl FakeControl {
    fn note(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }
}

#[async_trait]
impl Control for FakeControl {
    async fn cancel(&self, run: RunId) -> Stored<Option<Run>> {
        self.note(format!("cancel {run}"));
        let detail = self.store.run(run)?;
        Ok(detail.map(|detail| Run { state: RunState::Cancelling, ..detail.run }))
    }
    async fn retry(&self, run: RunId, again: Vec<String>) -> Stored<Option<Run>> {
        self.note(if again.is_empty() { format!("retry {run}") } else { format!("retry {run} {}", again.join(" ")) });
        match self.store.run(run)? {
            Some(detail) if detail.run.state == RunState::Succeeded => {
                Err(StoreError::Conflict("run 1 has succeeded: there is nothing to retry".into()))
            }
            detail => Ok(detail.map(|detail| detail.run)),
        }
    }
    async fn decide(
        &self,
        run: RunId,
        action: &str,
        verdict: Verdict,
        by: Option<&str>,
        note: Option<&str>,
    ) -> Stored<Option<Run>> {
        self.note(format!("decide {run} {action} {verdict} {by:?} {note:?}"));
        Ok(self.store.run(run)?.map(|detail| detail.run))
    }
    async fn set_model_card(&self, model: &str, card: &str) -> Stored<()> {
        self.note(format!("card {model} {card}"));
        Ok(())
    }
    async fn register_version(&self, new: NewModelVersion) -> Stored<u64> {
        self.note(format!("register {} {}", new.model, new.artifact));
        Err(StoreError::Conflict(format!("there is no artifact {}", new.artifact)))
    }
    async fn move_alias(&self, to: AliasTarget) -> Stored<AliasMove> {
        self.note(format!("move {} {} {:?}", to.model, to.alias, to.version));
        Err(StoreError::Conflict(format!("there is no model `{}`", to.model)))
    }
    async fn start(&self, id: RunId, params: Option<serde_json::Value>, inputs: Inputs) -> Stored<Run> {
        let rerun_of = if let Inputs::Of(old) = inputs { Some(old) } else { None };
        let params = params.unwrap_or_else(|| serde_json::json!({}));
        self.note(format!("start {id} {params}"));
        if let Some(detail) = self.store.run(id)? {
            if detail.run.params == params {
                return Ok(detail.run);
            }
            return Err(StoreError::Conflict(format!("run {id} exists with other params")));
        }
        let number = self.store.runs.lock().unwrap().len() as u64 + 1;
        let run = Run { id, params, rerun_of, ..a_run(number, RunState::Queued) };
        let detail = RunDetail { run: run.clone(), actions: vec![], attempts: vec![] };
        self.store.runs.lock().unwrap().push(detail);
        Ok(run)
    }
    async fn set_paused(&self, paused: bool) -> Stored<()> {
        *self.store.paused.lock().unwrap() = paused;
        Ok(())
    }
    async fn pause_node(&self, kind: NodeKind, name: &str, reason: Option<String>) -> Stored<Pause> {
        let pause = Pause { kind, name: name.to_owned(), since: Timestamp::from_micros(0), reason };
        self.store.pauses.lock().unwrap().push(pause.clone());
        Ok(pause)
    }
    async fn resume_node(&self, kind: NodeKind, name: &str) -> Stored<()> {
        self.store.pauses.lock().unwrap().retain(|pause| pause.kind != kind || pause.name != name);
        Ok(())
    }
    fn ended_runs(&self) -> tokio::sync::broadcast::Receiver<RunId> {
        self.ends.subscribe()
    }
    fn watches(&self) -> BTreeMap<String, Status> {
        self.watches.lock().unwrap().clone()
    }
    fn waiting(&self) -> BTreeMap<String, Waiting> {
        BTreeMap::new()
    }
    fn outages(&self) -> BTreeMap<AttemptId, Outage> {
        BTreeMap::new()
    }
    fn progress(&self) -> BTreeMap<AttemptId, Progress> {
        BTreeMap::new()
    }
    fn concurrency(&self) -> BTreeMap<String, SlotUse> {
        BTreeMap::from([("gpu".to_owned(), SlotUse { limit: 1, in_use: 1, waiting: 2 })])
    }
    async fn give_back(&self, dry_run: bool) -> Stored<FreedSpace> {
        self.note(format!("give back {dry_run}"));
        let runs = RemovedRows { runs: 3, trimmed: 2, attempts: 4, ..RemovedRows::default() };
        Ok(FreedSpace { runs, logs: Freed { files: 1, bytes: 100 }, ..FreedSpace::default() })
    }
    async fn check_logs(&self) {}
    fn not_ready(&self) -> Vec<String> {
        self.reasons.lock().unwrap().clone()
    }
}

/// Content by path. `Err` is the result of opening; `changes_at` is the offset from which reading
/// reports that the content has changed.
#[derive(Debug, Default)]
pub(crate) struct FakeResource {
    pub(crate) contents: Mutex<BTreeMap<String, Vec<u8>>>,
    pub(crate) changes_at: Mutex<Option<u64>>,
    /// Each reader that is open holds one more of it.
    readers: Arc<()>,
}

impl FakeResource {
    /// Returns how many readers are open.
    pub(crate) fn open_readers(&self) -> usize {
        Arc::strong_count(&self.readers) - 1
    }
}

fn changed(path: &str) -> ResourceError {
    ResourceError::Changed { resource: "raw".into(), path: path.into(), why: "its size is another".into() }
}

#[async_trait]
#[expect(clippy::unnecessary_literal_bound, reason = "the trait's signature")]
impl Resource for FakeResource {
    fn name(&self) -> &str {
        "raw"
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities { watch: true, write: true, ranges: true, synced: false, keeps: true }
    }
    async fn watch(
        self: Arc<Self>,
        _: Arc<dyn anacostia::resource::KnownPaths>,
        _cursor: Option<String>,
        _: Arc<dyn ObservationSink>,
        _: CancellationToken,
    ) -> Result<(), ResourceError> {
        Ok(())
    }
    async fn open(&self, content: &Content) -> Result<Box<dyn Reader>, ResourceError> {
        let bytes = self.contents.lock().unwrap().get(&content.path).cloned();
        let bytes =
            bytes.ok_or_else(|| ResourceError::NotFound { resource: "raw".into(), path: content.path.clone() })?;
        if Some(Digest::of(&bytes)) != content.digest {
            return Err(changed(&content.path));
        }
        let (changes_at, open) = (*self.changes_at.lock().unwrap(), self.readers.clone());
        Ok(Box::new(FakeReader { bytes, changes_at, _open: open }))
    }
    async fn create(&self, _: AttemptId, _: ArtifactId, path: &str, _: bool) -> Result<Box<dyn Writer>, ResourceError> {
        Err(changed(path))
    }
    async fn reopen(&self, finished: &StagedFile) -> Result<Box<dyn Writer>, ResourceError> {
        Err(changed(&finished.path))
    }
    async fn publish(&self, _: AttemptId, files: &[StagedFile]) -> Result<Vec<Option<String>>, ResourceError> {
        Ok(vec![None; files.len()])
    }
    async fn sweep(&self, _: &[AttemptId]) -> Result<u64, ResourceError> {
        Ok(0)
    }
    async fn discard(&self, _: AttemptId) -> Result<(), ResourceError> {
        Ok(())
    }
    async fn receive(&self, _: &str) -> Result<Box<dyn Upload>, ResourceError> {
        Ok(Box::new(FakeUpload))
    }
}

/// An upload that comes to nothing.
struct FakeUpload;

#[async_trait]
impl Upload for FakeUpload {
    fn max_bytes(&self) -> u64 {
        MAX_BODY_BYTES as u64
    }
    async fn write(&mut self, _: &[u8]) -> Result<(), ResourceError> {
        Ok(())
    }
    fn digest(&self) -> Digest {
        Digest::of(b"")
    }
    async fn finish(self: Box<Self>) -> Result<(), ResourceError> {
        Err(changed("an upload"))
    }
}

struct FakeReader {
    bytes: Vec<u8>,
    changes_at: Option<u64>,
    _open: Arc<()>,
}

#[async_trait]
impl Reader for FakeReader {
    async fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>, ResourceError> {
        if self.changes_at.is_some_and(|at| offset + length as u64 > at) {
            return Err(changed("a file"));
        }
        Ok(self.bytes.iter().skip(usize::try_from(offset).unwrap()).take(length).copied().collect())
    }
}

/// Returns a run of this number.
pub(crate) fn a_run(number: u64, state: RunState) -> Run {
    let moment = Timestamp::from_micros(1_772_366_400_000_000);
    Run {
        id: RunId::new(),
        number,
        state,
        trigger: "raw: 1 new artifact".into(),
        params: serde_json::json!({}),
        revision: Digest::of(b"manifest"),
        snapshot: 0,
        created_at: moment,
        started_at: (state != RunState::Queued).then_some(moment),
        ended_at: state.ended().then(|| moment.after(Duration::from_millis(340))),
        reason: (state == RunState::Failed).then(|| "`train` failed: <script>alert(1)</script>".to_owned()),
        rerun_of: None,
        fired_by: Vec::new(),
        partition: None,
        trimmed_at: None,
    }
}

/// Returns an artifact of `raw` with this content.
pub(crate) fn an_artifact(path: &str, content: &[u8], state: ArtifactState) -> Artifact {
    Artifact {
        id: ArtifactId::new(),
        resource: "raw".into(),
        path: path.into(),
        version: 1,
        digest: Some(Digest::of(content)),
        size: content.len() as u64,
        state,
        reason: None,
        run_id: None,
        produced_by: None,
        created_at: Timestamp::from_micros(1_772_366_400_000_000),
        tags: vec![],
        present: true,
        stamp: "s".into(),
    }
}

fn a_pipeline() -> Pipeline {
    let folder = |name: &str, watch| ResourceSpec {
        name: name.into(),
        kind: ResourceKind::Folder(FolderSpec {
            path: format!("/pipes/penguins/data/{name}").into(),
            include: vec![],
            exclude: vec![],
            ignore: FolderSpec::default_ignore(),
            settle: Duration::from_secs(2),
            rescan: Duration::from_mins(1),
        }),
        watch,
        trigger: Trigger::default(),
        model: None,
    };
    let text = "[resources.raw]\npath = \"${DATA}/raw\"\n[actions.train]\ncomponent = \"train.wasm\"\n";
    Pipeline {
        name: "penguins".into(),
        folder: "/pipes/penguins".into(),
        file: "/pipes/penguins/anacostia.toml".into(),
        tables: Arc::new(text.parse().unwrap()),
        text: text.to_owned(),
        join: Join::All,
        max_concurrent_runs: 1,
        max_concurrent_actions: 16,
        params: serde_json::Map::new(),
        params_schema: None,
        concurrency: BTreeMap::new(),
        listen: "127.0.0.1:0".parse().unwrap(),
        hosts: vec!["ml.example.com".into(), "ml.example.com:8443".into(), "other.example.com:8443".into()],
        base_path: String::new(),
        tls: None,
        insecure: false,
        token: None,
        public_url: None,
        notify: Vec::new(),
        openlineage: Vec::new(),
        store: StoreSpec::Sqlite { path: "/pipes/penguins/state/metadata.db".into() },
        durability: Durability::Normal,
        state: "/pipes/penguins/state".into(),
        max_log_bytes: 1 << 30,
        retention: Retention::default(),
        resources: vec![folder("raw", true), folder("models", false)],
        actions: vec![an_action()],
        triggers: vec![],
    }
}

fn with_token(token: Option<&str>) -> Pipeline {
    Pipeline { token: token.map(|token| Digest::of(token.as_bytes())), ..a_pipeline() }
}

fn an_action() -> anacostia::manifest::ActionSpec {
    anacostia::manifest::ActionSpec {
        name: "train".into(),
        component: "/pipes/penguins/train.wasm".into(),
        digest: None,
        build: None,
        after: vec!["raw".into()],
        reads: vec!["raw".into()],
        writes: vec!["models".into()],
        tables: BTreeMap::new(),
        retrigger: false,
        params: serde_json::Map::new(),
        args: Vec::new(),
        stdin: None,
        env: BTreeMap::from([("MODE".into(), "expanded-value".into())]),
        secrets: BTreeMap::new(),
        header_secrets: BTreeMap::new(),
        http: Vec::new(),
        uses: vec![],
        limits: anacostia::manifest::Limits::default(),
        retry: anacostia::manifest::Retry::default(),
        run_when: anacostia::manifest::RunWhen::AllSucceeded,
        approval: None,
        cache: None,
    }
}

/// A running server. It is stopped when this is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<FakeStore>,
    pub(crate) control: Arc<FakeControl>,
    pub(crate) resource: Arc<FakeResource>,
    pub(crate) stop: CancellationToken,
    served: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
    runtime: tokio::runtime::Runtime,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(None, ServeOptions::default())
    }

    pub(crate) fn with(token: Option<&str>, options: ServeOptions) -> Self {
        let store = Arc::new(FakeStore::default());
        let folder = tempfile::tempdir().unwrap();
        let logs = logs::open(folder.path(), u64::MAX).unwrap();
        Self::build(store.clone(), store, logs, with_token(token), options)
    }

    /// Starts a server that waits for clients for this long. Other programs upload to `raw`.
    pub(crate) fn patient(patience: Patience) -> Self {
        let store = Arc::new(FakeStore::default());
        let folder = tempfile::tempdir().unwrap();
        let logs = logs::open(folder.path(), u64::MAX).unwrap();
        let mut pipeline = a_pipeline();
        pipeline.resources[0].kind = ResourceKind::Http(HttpSpec {
            form: HttpForm::Push,
            headers: BTreeMap::new(),
            query: BTreeMap::new(),
            max_body: 1,
            keep: 0,
            max_kept: 1,
            timeout: Duration::from_secs(30),
        });
        Self::build(store.clone(), store, logs, pipeline, ServeOptions { patience, ..ServeOptions::default() })
    }

    /// Starts a server below a path, with a token.
    pub(crate) fn below(base_path: &str, token: Option<&str>) -> Self {
        let store = Arc::new(FakeStore::default());
        let folder = tempfile::tempdir().unwrap();
        let logs = logs::open(folder.path(), u64::MAX).unwrap();
        let pipeline = Pipeline { base_path: base_path.to_owned(), ..with_token(token) };
        Self::build(store.clone(), store, logs, pipeline, ServeOptions::default())
    }

    /// Starts a server that speaks TLS.
    pub(crate) fn with_tls(spec: TlsSpec) -> Self {
        let store = Arc::new(FakeStore::default());
        let folder = tempfile::tempdir().unwrap();
        let logs = logs::open(folder.path(), u64::MAX).unwrap();
        let tls = Some(Arc::new(Tls::open(spec.clone()).unwrap()));
        let pipeline = Pipeline { tls: Some(spec), ..a_pipeline() };
        Self::build(store.clone(), store, logs, pipeline, ServeOptions { tls, ..ServeOptions::default() })
    }

    /// Starts a server over the store and the logs of the test.
    pub(crate) fn over(store: Arc<dyn MetadataStore>, logs: Arc<dyn LogStore>) -> Self {
        Self::build(Arc::default(), store, logs, a_pipeline(), ServeOptions::default())
    }

    fn build(
        fake: Arc<FakeStore>,
        store: Arc<dyn MetadataStore>,
        logs: Arc<dyn LogStore>,
        pipeline: Pipeline,
        mut options: ServeOptions,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let control = Arc::new(FakeControl {
            store: fake.clone(),
            calls: Mutex::default(),
            reasons: Mutex::default(),
            watches: Mutex::new(BTreeMap::from([("raw".to_owned(), Status::Watching)])),
            ends: tokio::sync::broadcast::Sender::new(2),
        });
        let resource = Arc::new(FakeResource::default());
        options.login = pipeline.token.map(|digest| {
            let page = anacostia::ui::login_page(&pipeline).unwrap();
            Login::new(digest, move |form| page(form.next, form.refusal, form.reload)).unwrap()
        });
        let components = Arc::new(BTreeMap::from([("train".to_owned(), a_component())]));
        let in_force = InForce { pipeline: Arc::new(pipeline), components };
        let view = View {
            in_force: tokio::sync::watch::Sender::new(in_force).subscribe(),
            store,
            logs,
            stored: anacostia::store::components::open(std::path::Path::new("/nowhere")),
            resources: Arc::new(BTreeMap::from([("raw".to_owned(), resource.clone() as Arc<dyn Resource>)])),
            control: control.clone(),
        };
        options.pages = anacostia::ui::router(view.clone(), anacostia::http::document()).unwrap();
        let stop = CancellationToken::new();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let served = Some(runtime.spawn(anacostia::http::serve(listener, view, options, stop.clone())));
        Self { address, store: fake, control, resource, stop, served, runtime }
    }

    /// Runs a future, such as a call to the store, to its end.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Waits until `serve` has returned.
    pub(crate) fn ended(&mut self) {
        let served = self.served.take().unwrap();
        let ended = async { tokio::time::timeout(Duration::from_secs(20), served).await };
        self.runtime.block_on(ended).unwrap().unwrap().unwrap();
    }

    /// Sends a request with `headers` in addition to `Host`.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .into();
        let mut request = ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = if body.is_empty() {
            agent.run(request.body(()).unwrap()).unwrap()
        } else {
            agent.run(request.body(body).unwrap()).unwrap()
        };
        let body = response.body_mut().with_config().limit(1 << 30).read_to_vec();
        Answer { status: response.status().as_u16(), headers: response.headers().clone(), body }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// Sends bytes as they are, and reads until the server closes the connection.
    pub(crate) fn raw(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) body: Result<Vec<u8>, ureq::Error>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.as_ref().unwrap().clone()).unwrap()
    }
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text()).unwrap()
    }
    /// Asserts that the response is a problem of this kind.
    pub(crate) fn problem(&self, status: u16, kind: &str) -> serde_json::Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let body = self.json();
        assert_eq!(body["type"], format!("urn:anacostia:problem:{kind}"));
        assert_eq!(body["status"], status);
        assert!(!body["title"].as_str().unwrap().is_empty() && !body["detail"].as_str().unwrap().is_empty());
        body
    }
}

fn a_component() -> ComponentInfo {
    ComponentInfo {
        digest: Digest::of(b"train"),
        size: 5,
        imports: vec!["anacostia:pipeline/log@0.1.0".to_owned()],
        exports: vec!["anacostia:pipeline/action@0.1.0".to_owned()],
        languages: Vec::new(),
        tools: Vec::new(),
    }
}
