//! The resource kind `s3`, over two real services: SeaweedFS and moto. They differ: SeaweedFS lists
//! keys folder by folder and keeps no key with an empty part; moto does as AWS documents.

mod credentials;
mod network;
mod outputs;
mod pipeline;
mod reading;
mod uploads;
mod watching;

use std::sync::Arc;
use std::time::Duration;

use anacostia::manifest::{S3Credentials, S3Spec, S3Style, SecretSource};
use anacostia::resource::s3::Bucket;
use anacostia::resource::{Content, Resource as _, ResourceError, Status};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::folder::recorder::{DEADLINE, Head, Recorder};
use crate::support::s3::{Service, TestBucket};

/// Runs a test over each service.
macro_rules! over_each_service {
    ($($name:ident),* $(,)?) => {
        mod seaweedfs {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::support::s3::Service::SeaweedFs).await;
            })*
        }
        mod moto {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::support::s3::Service::Moto).await;
            })*
        }
    };
}
pub(crate) use over_each_service;

/// A bucket, the resource over it, and what its watch reports.
pub(crate) struct Watched {
    pub(crate) bucket: TestBucket,
    pub(crate) spec: S3Spec,
    pub(crate) state: tempfile::TempDir,
    pub(crate) resource: Arc<Bucket>,
    pub(crate) recorder: Arc<Recorder>,
    stop: CancellationToken,
    task: Option<JoinHandle<Result<(), ResourceError>>>,
}

impl Watched {
    /// Creates a bucket, and a resource over it that is not watched yet.
    pub(crate) async fn new(service: Service) -> Self {
        Self::with(service, |_| {}).await
    }

    /// The same, with a spec that `change` has modified.
    pub(crate) async fn with(service: Service, change: impl FnOnce(&mut S3Spec)) -> Self {
        let bucket = TestBucket::new(service).await;
        let mut spec = spec(&bucket);
        change(&mut spec);
        let state = tempfile::tempdir().unwrap();
        let resource = Arc::new(Bucket::new("raw", &spec, state.path()).unwrap());
        Self { bucket, spec, state, resource, recorder: Arc::default(), stop: CancellationToken::new(), task: None }
    }

    /// Starts watching, with what is on record, and waits for the first complete listing.
    pub(crate) async fn start(&mut self) {
        self.begin();
        self.recorder.until("it is watched", |records| matches!(records.statuses.last(), Some(Status::Watching))).await;
    }

    /// Starts watching.
    pub(crate) fn begin(&mut self) {
        self.recorder.records.lock().unwrap().statuses.clear();
        self.stop = CancellationToken::new();
        let (resource, recorder, stop) = (Arc::clone(&self.resource), Arc::clone(&self.recorder), self.stop.clone());
        let known = Arc::new(recorder.known());
        self.task = Some(tokio::spawn(async move { resource.watch(known, None, recorder, stop).await }));
    }

    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        let task = self.task.take().unwrap();
        tokio::time::timeout(DEADLINE, task).await.expect("the watch does not end").unwrap().unwrap();
    }

    /// Waits until the version of this number is on record at a path.
    pub(crate) async fn seen(&self, path: &str, version: u64) -> Head {
        let what = format!("version {version} of `{path}` is on record");
        let is = |head: &Head| head.present && head.reason.is_none() && head.version == version;
        self.recorder.until(&what, |records| records.heads.get(path).is_some_and(is)).await;
        self.recorder.read(|records| records.heads[path].clone())
    }

    /// Waits until nothing is on record at a path.
    pub(crate) async fn gone(&self, path: &str) {
        let what = format!("`{path}` is gone");
        self.recorder.until(&what, |records| records.heads.get(path).is_some_and(|head| !head.present)).await;
    }

    /// Returns how many observations were reported.
    pub(crate) fn told(&self) -> usize {
        self.recorder.read(|records| records.told.len())
    }
}

pub(crate) fn spec(bucket: &TestBucket) -> S3Spec {
    // Keys come from the environment, which the tests of this process share. These variables are
    // set by cargo, and one of the accounts of the services has them.
    let key = |name: &str| Some(SecretSource::Env(name.to_owned()));
    S3Spec {
        bucket: bucket.name.clone(),
        prefix: String::new(),
        endpoint: Some(bucket.endpoint.clone()),
        region: Some("us-east-1".to_owned()),
        style: S3Style::Path,
        credentials: S3Credentials::Default,
        profile: None,
        access_key_id: key("CARGO_PKG_NAME"),
        secret_access_key: key("CARGO_PKG_LICENSE"),
        include: Vec::new(),
        exclude: Vec::new(),
        interval: Duration::from_millis(100),
    }
}

/// Returns the version of this head, for reading.
pub(crate) fn content(path: &str, head: &Head) -> Content {
    Content { path: path.to_owned(), size: head.size, digest: head.digest, stamp: head.stamp.clone() }
}
