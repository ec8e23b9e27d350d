//! The resource kind `http`: an endpoint that is polled, an endpoint that takes outputs, or uploads
//! of other programs to this host.
//!
//! | module | job |
//! |---|---|
//! | `watch` | polls at an interval, backs off while it fails, and reports what is new |
//! | `poll` | gets the page, or all pages, of one poll |
//! | `progress` | what is on record between polls: the validators of pages, and where to continue |
//! | `paging` | finds the next page |
//! | `push`, `uploads` | take uploads |
//! | `send` | sends outputs |
//! | `client` | builds requests, and describes failures without secrets |
//!
//! An API may not give the same answer again. So the host keeps each body before it records the
//! artifact; see [`super::kept`]. Outputs are staged in a folder on this machine, the *spool*,
//! because programs write at any place in a file. The spool is a folder resource that nobody
//! watches.

mod client;
mod paging;
mod poll;
mod progress;
mod push;
mod send;
mod uploads;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use self::client::Client;
use self::uploads::Uploads;
use super::folder::Folder;
use super::kept::Kept;
use super::{
    Capabilities, Content, KnownPaths, ObservationSink, Outage, Outages, Reader, Resource, ResourceError, Result,
    Upload, Writer,
};
use crate::base::{ArtifactId, AttemptId};
use crate::manifest::{HttpForm, HttpSpec};
use crate::model::StagedFile;

/// The fault points of the kind; see [`crate::base::fault`].
pub const FAULT_POINTS: &[&str] = &[
    "http.kept",
    "http.recorded",
    "http.before_send",
    "http.sent",
    "http.marked",
    "http.uploaded",
    "http.upload_kept",
];

/// An endpoint; see the module.
#[derive(Debug)]
pub struct Endpoint {
    name: Arc<str>,
    spec: HttpSpec,
    client: Client,
    kept: Arc<Kept>,
    /// Where outputs are staged.
    spool: Folder,
    uploads: Uploads,
    /// The outages of attempts whose outputs the server does not take at the moment.
    outages: Outages,
    /// The attempts whose outputs are given up.
    given_up: tokio::sync::watch::Sender<BTreeSet<AttemptId>>,
}

impl Endpoint {
    /// Creates the resource with its name in the manifest, which keeps content and stages outputs
    /// in the folder `state`. Does not check whether the server can be reached.
    ///
    /// # Errors
    /// [`ResourceError::Unusable`] if no client can be made.
    pub fn new(name: &str, spec: &HttpSpec, state: &Path) -> Result<Self> {
        let unusable = |why: String| ResourceError::Unusable { resource: name.to_owned(), why };
        Ok(Self {
            name: name.into(),
            client: Client::new(spec).map_err(unusable)?,
            kept: Arc::new(Kept::new(name, state, spec.keep, spec.max_kept)),
            spool: Folder::spool(name, state)?,
            spec: spec.clone(),
            uploads: Uploads::default(),
            outages: Outages::default(),
            given_up: tokio::sync::watch::Sender::default(),
        })
    }

    fn unusable(&self, why: &str) -> ResourceError {
        ResourceError::Unusable { resource: self.name.to_string(), why: why.to_owned() }
    }
}

#[async_trait]
impl Resource for Endpoint {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        let write = matches!(self.spec.form, HttpForm::Send { .. });
        Capabilities { watch: !write, write, ranges: true, synced: true, keeps: false }
    }

    async fn watch(
        self: Arc<Self>,
        known: Arc<dyn KnownPaths>,
        cursor: Option<String>,
        sink: Arc<dyn ObservationSink>,
        stop: CancellationToken,
    ) -> Result<()> {
        match &self.spec.form {
            HttpForm::Poll { .. } => watch::watch(&self, known.as_ref(), cursor.as_deref(), sink.as_ref(), &stop).await,
            HttpForm::Push => push::watch(&self, known.as_ref(), sink, &stop).await,
            HttpForm::Send { .. } => Err(self.unusable("outputs are sent to it: remove `watch`")),
        }
    }

    async fn claim_writing(&self, holder: &str) -> Result<()> {
        self.spool.claim_writing(holder).await
    }

    async fn release_writing(&self) {
        self.spool.release_writing().await;
    }

    async fn open(&self, content: &Content) -> Result<Box<dyn Reader>> {
        self.kept.open(content).await
    }

    async fn create(
        &self,
        attempt: AttemptId,
        artifact: ArtifactId,
        path: &str,
        overwrite: bool,
    ) -> Result<Box<dyn Writer>> {
        if !matches!(self.spec.form, HttpForm::Send { .. }) {
            return Err(self.unusable("it takes no outputs: give it a `method`"));
        }
        self.spool.create(attempt, artifact, path, overwrite).await
    }

    async fn reopen(&self, finished: &StagedFile) -> Result<Box<dyn Writer>> {
        self.spool.reopen(finished).await
    }

    async fn receive(&self, path: &str) -> Result<Box<dyn Upload>> {
        if self.spec.form != HttpForm::Push {
            return Err(self.unusable("it takes no uploads: only a resource with `push = true` does"));
        }
        push::receive(self, path).await
    }

    async fn publish(&self, attempt: AttemptId, files: &[StagedFile]) -> Result<Vec<Option<String>>> {
        send::publish(self, attempt, files).await
    }

    fn give_up(&self, attempt: AttemptId) {
        self.given_up.send_if_modified(|attempts| attempts.insert(attempt));
    }

    fn outages(&self) -> BTreeMap<AttemptId, Outage> {
        self.outages.all()
    }

    async fn check_kept(&self, content: &Content) -> Result<()> {
        self.kept.check(content).await
    }

    async fn trim(&self, known: &dyn KnownPaths) -> Result<()> {
        match self.spec.form {
            HttpForm::Send { .. } => self.kept.trim(known).await,
            // The watch removes content itself.
            HttpForm::Poll { .. } | HttpForm::Push => Ok(()),
        }
    }

    async fn sweep(&self, keep: &[AttemptId]) -> Result<u64> {
        self.spool.sweep(keep).await
    }

    async fn discard(&self, attempt: AttemptId) -> Result<()> {
        self.given_up.send_if_modified(|attempts| attempts.remove(&attempt));
        self.spool.discard(attempt).await
    }
}
