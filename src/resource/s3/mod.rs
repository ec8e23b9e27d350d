//! The resource kind `s3`: objects in a bucket of an S3-compatible service.
//!
//! | module | job |
//! |---|---|
//! | `watch` | lists the bucket at an interval, and reports differences from the record |
//! | `read` | reads versions by ranges, on the condition that they are still there |
//! | `publish` | makes outputs visible, on the condition that nobody else has put an object there |
//! | `upload`, `journal`, `staged` | upload large outputs in parts before the commit point |
//! | `client`, `xml`, `credentials`, `errors` | talk to the service |
//!
//! A version is identified by its entity tag (the `ETag` of the service), which changes with the
//! content. So nothing has to be read to watch a bucket. The digest is recorded when an action
//! first reads all of an object.
//!
//! Outputs are staged in a folder on this machine, the *spool*, because programs write at any place
//! in a file, and an object can only be written from start to end. The spool is a folder resource
//! that nobody watches.

mod client;
mod connector;
mod credentials;
mod errors;
mod journal;
mod publish;
mod read;
mod staged;
mod upload;
mod watch;
mod xml;

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::path::Path;
use tokio_util::sync::CancellationToken;

use self::client::Client;
use super::about::About;
use super::folder::Folder;
use super::names::{Names, OWN};
use super::{Capabilities, Content, KnownPaths, ObservationSink, Reader, Resource, ResourceError, Result, Writer};
use crate::base::bounds::MAX_PATH_BYTES;
use crate::base::{ArtifactId, AttemptId};
use crate::manifest::S3Spec;
use crate::model::StagedFile;

/// The fault points of the bucket; see [`crate::base::fault`].
pub const FAULT_POINTS: &[&str] =
    &["s3.listed", "s3.told", "s3.upload_begun", "s3.uploaded", "s3.before_put", "s3.put", "s3.noted"];

/// Names of objects that never count: those that publishing moves aside.
const DISPLACED: &str = "*.displaced-????????~";

/// A bucket; see the module. Clones share their state.
#[derive(Debug, Clone)]
pub struct Bucket {
    name: Arc<str>,
    /// What the keys of this resource begin with.
    prefix: Arc<str>,
    interval: Duration,
    names: Arc<Names>,
    client: Arc<Client>,
    /// Where outputs are staged.
    spool: Folder,
}

impl Bucket {
    /// Creates the resource with its name in the manifest, which stages its outputs in the folder
    /// `state`. Does not check whether the bucket exists.
    ///
    /// # Errors
    /// [`ResourceError::Unusable`] if a glob is invalid, or the credentials cannot be found.
    pub fn new(name: &str, spec: &S3Spec, state: &FilePath) -> Result<Self> {
        let unusable = |why: String| ResourceError::Unusable { resource: name.to_owned(), why };
        let names = Names::new(&spec.include, &spec.exclude, &[DISPLACED.to_owned()])
            .map_err(|error| unusable(format!("a glob of `include` or `exclude` cannot be read: {error}")))?;
        Ok(Self {
            name: name.into(),
            prefix: spec.prefix.as_str().into(),
            interval: spec.interval,
            names: Arc::new(names),
            client: Arc::new(Client::new(spec).map_err(unusable)?),
            spool: Folder::spool(name, state)?,
        })
    }

    /// Returns the key of a path.
    fn key(&self, path: &str) -> Result<Path> {
        super::check_path(path)?;
        let about = self.about(path);
        let key = format!("{}{path}", self.prefix);
        if key.len() > MAX_PATH_BYTES {
            return Err(
                about.invalid(format!("with the prefix of the bucket it is longer than {MAX_PATH_BYTES} bytes"))
            );
        }
        Path::parse(key).map_err(|error| about.invalid(error.to_string()))
    }

    fn about<'a>(&'a self, path: &'a str) -> About<'a> {
        About { resource: &self.name, path }
    }
}

#[async_trait]
impl Resource for Bucket {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { watch: true, write: true, ranges: true, synced: true, keeps: true }
    }

    async fn watch(
        self: Arc<Self>,
        known: Arc<dyn KnownPaths>,
        _: Option<String>,
        sink: Arc<dyn ObservationSink>,
        stop: CancellationToken,
    ) -> Result<()> {
        watch::watch(&self, known.as_ref(), sink, &stop).await
    }

    async fn claim_writing(&self, holder: &str) -> Result<()> {
        self.spool.claim_writing(holder).await
    }

    async fn release_writing(&self) {
        self.spool.release_writing().await;
    }

    async fn open(&self, content: &Content) -> Result<Box<dyn Reader>> {
        read::open(self, content)
    }

    async fn create(
        &self,
        attempt: AttemptId,
        artifact: ArtifactId,
        path: &str,
        overwrite: bool,
    ) -> Result<Box<dyn Writer>> {
        let (key, about) = (self.key(path)?, self.about(path));
        if path.split('/').next() == Some(OWN) {
            return Err(about.invalid(format!("`{OWN}` is reserved for the host")));
        }
        if !overwrite
            && self.client.head(&key).await.map_err(|error| errors::failed(about, "look at", &error))?.is_some()
        {
            return Err(about.exists());
        }
        self.spool.create(attempt, artifact, path, overwrite).await
    }

    async fn reopen(&self, finished: &StagedFile) -> Result<Box<dyn Writer>> {
        self.spool.reopen(finished).await
    }

    async fn note_replaced(&self, files: &mut [StagedFile]) -> Result<()> {
        for file in files {
            publish::prepare(self, file).await?;
        }
        Ok(())
    }

    async fn publish(&self, _: AttemptId, files: &[StagedFile]) -> Result<Vec<Option<String>>> {
        let mut stamps = Vec::with_capacity(files.len());
        for file in files {
            stamps.push(Some(publish::publish(self, file).await?));
        }
        Ok(stamps)
    }

    async fn sweep(&self, keep: &[AttemptId]) -> Result<u64> {
        upload::sweep(self, keep).await;
        self.spool.sweep(keep).await
    }

    async fn discard(&self, attempt: AttemptId) -> Result<()> {
        upload::discard(self, attempt).await;
        self.spool.discard(attempt).await
    }
}
