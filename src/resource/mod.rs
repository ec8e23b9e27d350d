//! Floor 4: where data lies.
//!
//! A [`Resource`] is watched, read, and written through a stage. It knows nothing of runs, claims
//! or the store: it *observes*, and hands what it saw to an [`ObservationSink`]; it makes staged
//! files visible when it is told that they are committed. The store decides what is news, the
//! scheduler what happens then.
//!
//! The trait was sketched against an S3 bucket (cursor, no rename, conditional create) and a SQL
//! database (rows as the artifact) before the folder was built; ARCHITECTURE.md has the sketch.

mod error;
pub mod folder;
mod open;

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::base::{ArtifactId, AttemptId, Digest, Timestamp};
use crate::model::{KnownPath, Observation, Page, StagedFile};

pub use error::ResourceError;
pub use open::open;

/// The result of a resource's method.
pub type Result<T> = std::result::Result<T, ResourceError>;

/// What a kind of resource can do. A pipeline that asks for more is refused when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// It can be watched.
    pub watch: bool,
    /// Actions can write to it.
    pub write: bool,
    /// It can read from the middle. Where it cannot, ranges of content are answered with the
    /// whole.
    pub ranges: bool,
}

impl Capabilities {
    /// Refuses a use that a resource has no capability for: `watched` by the pipeline, `written` by
    /// its actions.
    ///
    /// # Errors
    /// [`ResourceError::Unusable`], with the lines of the manifest to change.
    pub fn check(self, resource: &str, watched: bool, written: bool) -> Result<()> {
        let why = if watched && !self.watch {
            format!("resources of its kind cannot be watched; take `watch` out of [resources.{resource}]")
        } else if written && !self.write {
            format!("resources of its kind cannot be written to; take `{resource}` out of the `writes` of actions")
        } else {
            return Ok(());
        };
        Err(ResourceError::Unusable { resource: resource.to_owned(), why })
    }
}

/// What is read: a version at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Where.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Of the content, if it is on record.
    pub digest: Option<Digest>,
    /// What the resource knows it by; see [`crate::model::Artifact::stamp`].
    pub stamp: String,
}

/// Where data lies. No method blocks the thread that polls it for longer than a local call takes
/// whose answer is in memory.
#[async_trait]
pub trait Resource: Send + Sync + std::fmt::Debug {
    /// Its name in the manifest.
    fn name(&self) -> &str;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Reconciles the resource with what is on record, then watches it until `stop`. Everything
    /// seen goes to `sink`, whose bound is the back-pressure; what the sink has not taken is seen
    /// again, at the latest at the next start. Trouble that passes (folder removed, no permission)
    /// goes to the sink as a [`Status`] and is waited out. It ends without an error only after
    /// `stop`; an error says that it has ended for good and that someone has to start it again, if
    /// that makes sense. `cursor` is the last that this resource handed to the sink, for kinds that
    /// poll: what is on record includes everything up to it. `known` is read before anything is
    /// handed to the sink.
    async fn watch(
        self: Arc<Self>,
        known: Arc<dyn KnownPaths>,
        cursor: Option<String>,
        sink: Arc<dyn ObservationSink>,
        stop: CancellationToken,
    ) -> Result<()>;

    /// Claims the right to write here, until [`Resource::release_writing`] or the end of the
    /// process. `holder` names whoever writes to people; another claim of the same holder is the
    /// same claim. Called before anything is written or swept. Reading and watching need no claim.
    /// A resource to which several may write at once has nothing to do.
    ///
    /// # Errors
    /// [`ResourceError::Unusable`] if another holder has claimed it, with that one's name.
    async fn claim_writing(&self, holder: &str) -> Result<()> {
        let _ = holder;
        Ok(())
    }

    /// Gives up the right to write, when the host stops.
    async fn release_writing(&self) {}

    /// Opens a version for reading. [`ResourceError::Changed`] if it is no longer what was
    /// recorded.
    async fn open(&self, content: &Content) -> Result<Box<dyn Reader>>;

    /// Begins a staged file for `attempt`. Checks the path (see [`check_path`]), and, unless
    /// `overwrite`, that nothing lies there.
    async fn create(
        &self,
        attempt: AttemptId,
        artifact: ArtifactId,
        path: &str,
        overwrite: bool,
    ) -> Result<Box<dyn Writer>>;

    /// Takes a file back that was finished and is not published: its writer can read it, change it
    /// and finish it again, or remove it by dropping the new [`Writer`]. On an error the file stays
    /// finished.
    async fn reopen(&self, finished: &StagedFile) -> Result<Box<dyn Writer>>;

    /// Called right before the commit point: sets [`StagedFile::replaces`] of the files that may
    /// overwrite, so that `publish` can tell what they are meant to replace from what someone puts
    /// there later. A resource that replaces nothing need not do anything.
    async fn note_replaced(&self, files: &mut [StagedFile]) -> Result<()> {
        let _ = files;
        Ok(())
    }

    /// Makes the committed files of one attempt visible, each whole. Returns for each file, in the
    /// same order, the stamp that it has now, if it differs from [`StagedFile::stamp`]. Idempotent:
    /// called again, also by another process, it does what is left to do. What someone else put at
    /// a path since the commit is moved aside, not lost. [`ResourceError::Unavailable`] as long as
    /// what was staged cannot be reached: it is never taken for done then, and some of the files
    /// may be visible.
    async fn publish(&self, attempt: AttemptId, files: &[StagedFile]) -> Result<Vec<Option<String>>>;

    /// Removes all that is staged but for the files of the given attempts. Called when a host
    /// starts, and with what is unfinished then.
    async fn sweep(&self, keep: &[AttemptId]) -> Result<u64>;

    /// Removes what an attempt has staged and not published, and what is kept to know how far its
    /// publishing is: called when nothing of it is to be published, or when that it was is on
    /// record.
    async fn discard(&self, attempt: AttemptId) -> Result<()>;
}

/// Reads one version. Every chunk is checked: [`ResourceError::Changed`] as soon as it is not what
/// was recorded.
#[async_trait]
pub trait Reader: Send {
    /// Up to `length` bytes from `offset`: fewer only at the end.
    async fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>>;

    /// The digest of the content, if [`Content::digest`] was absent and all of the content has been
    /// read, from front to back. A kind that always knows the digest need not do anything.
    fn digest(&self) -> Option<Digest> {
        None
    }
}

/// Writes one staged file, at any place. Dropped without `finish`, it leaves nothing.
///
/// Programs patch headers, truncate, and read back what they wrote. A service that takes a body
/// from front to back only, such as an S3 bucket, cannot do that: its kind keeps the file in a
/// local spool, and uploads it in `finish`.
#[async_trait]
pub trait Writer: Send {
    /// Appends. Fails like [`Self::write_at`].
    async fn write(&mut self, bytes: &[u8]) -> Result<()>;
    /// Writes at `offset` bytes from the start. What lies between the end of the file and `offset`
    /// becomes zeros. After an error the file is lost: every later call fails.
    async fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()>;
    /// Cuts the file to `size` bytes, or adds zeros at its end. Fails like [`Self::write_at`].
    async fn set_size(&mut self, size: u64) -> Result<()>;
    /// Up to `length` bytes from `offset`: fewer only at the end, or if `length` is more than
    /// [`crate::base::bounds::MAX_CHUNK_BYTES`].
    async fn read_at(&mut self, offset: u64, length: usize) -> Result<Vec<u8>>;
    /// The file is complete. The digest costs nothing more if it was written from front to back;
    /// otherwise the file is read once.
    async fn finish(self: Box<Self>) -> Result<StagedFile>;
}

/// What is on record of one resource: what its watch compares the resource with.
#[async_trait]
pub trait KnownPaths: Send + Sync {
    /// A page of what is present, by path. `cursor` is that of the page before; `None` begins. At
    /// most [`crate::base::bounds::MAX_PAGE`] items.
    ///
    /// # Errors
    /// [`ResourceError::Unavailable`] if the records cannot be read.
    async fn page(&self, cursor: Option<String>) -> Result<Page<KnownPath>>;
}

/// Takes what a resource sees.
#[async_trait]
pub trait ObservationSink: Send + Sync {
    /// Returns the number of the newest event on record. A watch asks before it looks, and passes
    /// the answer to [`ObservationSink::observed`]: what was published later may be missing in what
    /// it sees. Cheap.
    fn as_of(&self) -> u64;
    /// Records a batch, in order, and where the resource goes on after it (`None` for kinds that
    /// need no cursor, or if it has not moved), in one transaction. `as_of` is from before the
    /// first look that the batch comes from.
    async fn observed(&self, batch: Vec<Observation>, as_of: u64, cursor: Option<String>) -> RecordOutcome;
    /// How the watch is doing changed.
    fn status(&self, status: Status);
    /// What cannot be recorded yet changed. Told before the status that the first reconciliation
    /// is done, and then once a second at most.
    fn waiting(&self, waiting: Waiting);
}

/// What came of handing over a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordOutcome {
    /// It is on record, but for the observations with these indices: an output came to their path
    /// after the look. The watch looks at these paths again, a moment later.
    Recorded {
        /// Indices in the batch.
        outdated: Vec<usize>,
    },
    /// Nothing more can be recorded. The watch ends: with an error, unless it was told to stop.
    Refused,
}

/// What a watch has found and cannot record yet. Empty if there is nothing like that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many paths.
    pub count: u64,
    /// The first of them, in the order of their paths; at most 100.
    pub paths: Vec<WaitingPath>,
}

/// Something that cannot be recorded yet.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct WaitingPath {
    /// Where, escaped.
    pub path: String,
    /// Why not, for people: a fragment that goes on after "is".
    pub reason: String,
    /// Since when, as far as the watch knows.
    pub since: Timestamp,
}

/// How a watch is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The first reconciliation is done; from now on changes are seen as they happen.
    Watching,
    /// Changes are found by scanning, for the reason given: slower, nothing is lost.
    Scanning(String),
    /// Nothing can be seen at the moment, for the reason given. It is tried again.
    Unreachable(String),
}

/// Checks a path in a resource, as a guest gives it: relative, parts between `/` of which none is
/// empty, `.` or `..`, none over 255 bytes, 1,024 bytes in all, no control characters.
///
/// # Errors
/// [`ResourceError::InvalidPath`] with what is wrong.
pub fn check_path(path: &str) -> Result<()> {
    use crate::base::bounds::{MAX_PATH_BYTES, MAX_PATH_PART_BYTES};
    let wrong = if path.is_empty() {
        "it is empty".to_owned()
    } else if path.len() > MAX_PATH_BYTES {
        format!("it is longer than {MAX_PATH_BYTES} bytes")
    } else if path.starts_with('/') {
        "it is absolute: paths start inside the resource".to_owned()
    } else if path.chars().any(char::is_control) {
        "it has a control character in it".to_owned()
    } else if let Some(part) = path.split('/').find(|part| matches!(*part, "" | "." | "..")) {
        format!("it has the part `{part}` in it")
    } else if path.split('/').any(|part| part.len() > MAX_PATH_PART_BYTES) {
        format!("a part of it is longer than {MAX_PATH_PART_BYTES} bytes")
    } else {
        return Ok(());
    };
    let path = crate::base::escape(crate::base::bounds::cut(path, 200).as_bytes());
    Err(ResourceError::InvalidPath { path, why: wrong })
}

#[cfg(test)]
mod tests {
    use super::Capabilities;

    #[test]
    fn a_use_without_the_capability_is_refused_with_the_line_to_change() {
        let none = Capabilities { watch: false, write: false, ranges: false };
        let told = |watched, written| none.check("raw", watched, written).map_err(|error| error.to_string());
        assert_eq!(told(false, false), Ok(()));
        let watch = "raw cannot be used: resources of its kind cannot be watched; take `watch` out of [resources.raw]";
        assert_eq!(told(true, true), Err(watch.to_owned()));
        let write =
            "raw cannot be used: resources of its kind cannot be written to; take `raw` out of the `writes` of actions";
        assert_eq!(told(false, true), Err(write.to_owned()));
        let all = Capabilities { watch: true, write: true, ranges: true };
        assert!(all.check("raw", true, true).is_ok());
    }
}
