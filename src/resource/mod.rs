//! Floor 4: the places where data lives.
//!
//! A [`Resource`] can be watched and read. Writes go to a staging area first. A resource does not
//! know about runs, claims or the store: it reports *observations* to an [`ObservationSink`], and
//! makes staged files visible once the scheduler has committed them. The store decides which
//! observations are new; the scheduler decides what happens next.
//!
//! Before the folder was built, the trait was sketched against an S3 bucket (cursor, no rename,
//! conditional create) and a SQL database (rows as the artifact). ARCHITECTURE.md contains the
//! sketch.

mod about;
mod error;
pub mod folder;
pub mod http;
mod kept;
mod names;
mod noted;
mod open;
mod outage;
pub mod s3;
pub mod sql;
mod statement;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::base::{ArtifactId, AttemptId, Clock as _, Digest, SystemClock, Timestamp};
use crate::model::{KnownPath, Observation, Page, StagedFile};

pub use error::{NotTaken, ResourceError};
pub use open::{open, open_scratch};
pub use outage::{Outage, Outages};
pub use statement::{Bytes, Database, Double, SqlGrant, SqlRows, SqlStatement, SqlTables, SqlValue};

/// The result type of [`Resource`] methods.
pub type Result<T> = std::result::Result<T, ResourceError>;

/// What a kind of resource can do. The host refuses to start a pipeline that needs more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each says something of its own about a kind")]
pub struct Capabilities {
    /// Whether it can be watched.
    pub watch: bool,
    /// Whether actions can write to it.
    pub write: bool,
    /// Whether it can read from an offset. If not, requests for a range of the content are answered
    /// with all of it.
    pub ranges: bool,
    /// Whether publishing changes data that a power cut on this machine does not undo, such as
    /// objects in a bucket. A power cut that undid the commit point would then leave published
    /// outputs that are not on record. So the host always syncs the commit point of an attempt with
    /// such outputs, and its staged files, whichever durability is set.
    pub synced: bool,
    /// Whether what is published there stays where the host can look at it, so that it notices
    /// whether an output is still there.
    pub keeps: bool,
}

impl Capabilities {
    /// Checks that the resource supports its uses: `watched` by the pipeline, `written` by its
    /// actions.
    ///
    /// # Errors
    /// [`ResourceError::Unusable`], which names the part of the manifest to change.
    pub fn check(self, resource: &str, watched: bool, written: bool) -> Result<()> {
        let why = if watched && !self.watch {
            format!("resources of its kind cannot be watched; remove `watch` from [resources.{resource}]")
        } else if written && !self.write {
            format!("resources of its kind cannot be written to; remove `{resource}` from the `writes` of actions")
        } else {
            return Ok(());
        };
        Err(ResourceError::Unusable { resource: resource.to_owned(), why })
    }
}

/// Identifies one version of the content at a path, for reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The path in the resource.
    pub path: String,
    /// The size in bytes.
    pub size: u64,
    /// The digest of the content, if it is on record.
    pub digest: Option<Digest>,
    /// Identifies the version for the resource; see [`crate::model::Artifact::stamp`].
    pub stamp: String,
}

/// The result of [`Resource::prepare`]. Dropping it undoes what `prepare` did, unless the files are
/// published by then.
pub type Prepared = Box<dyn Send + Sync>;

/// A place where data lives, such as a folder. No method blocks the polling thread for longer than
/// a local call that is answered from memory.
#[async_trait]
pub trait Resource: Send + Sync + std::fmt::Debug {
    /// Returns the name in the manifest.
    fn name(&self) -> &str;

    /// Returns what the resource can do.
    fn capabilities(&self) -> Capabilities;

    /// Reconciles the resource with what is on record, then watches it until `stop`.
    ///
    /// Every observation goes to `sink`, whose bounded capacity provides back-pressure. The watch
    /// reports again whatever the sink did not take, at the latest at the next start. It reports
    /// temporary problems (folder removed, no permission) to the sink as a [`Status`] and waits for
    /// them to pass.
    ///
    /// `cursor` is the last one that this resource passed to the sink, for kinds that poll:
    /// everything up to it is on record. The watch reads `known` before it passes anything to the
    /// sink.
    ///
    /// # Errors
    /// Returns `Ok` only after `stop`. After an error the watch has ended for good, and the caller
    /// has to start it again if that makes sense.
    async fn watch(
        self: Arc<Self>,
        known: Arc<dyn KnownPaths>,
        cursor: Option<String>,
        sink: Arc<dyn ObservationSink>,
        stop: CancellationToken,
    ) -> Result<()>;

    /// Returns paths that the manifest keeps from counting, for display: at most `most` for each
    /// reason. A kind that cannot find them cheaply does not need to implement this.
    async fn left_out(&self, most: usize) -> LeftOut {
        let _ = most;
        LeftOut::default()
    }

    /// Claims the right to write, until [`Resource::release_writing`] or the end of the process.
    ///
    /// `holder` is the name of the writer that messages show. A repeated claim by the same holder
    /// has no effect. The host calls this before it writes or sweeps anything. Reading and watching
    /// need no claim. A resource that allows several writers at once does not need to implement
    /// this.
    ///
    /// # Errors
    /// [`ResourceError::Unusable`] if another holder has claimed it; the error names that holder.
    async fn claim_writing(&self, holder: &str) -> Result<()> {
        let _ = holder;
        Ok(())
    }

    /// Releases the right to write. The host calls this when it stops.
    async fn release_writing(&self) {}

    /// Opens a version for reading.
    ///
    /// # Errors
    /// [`ResourceError::Changed`] if the content is no longer what was recorded.
    async fn open(&self, content: &Content) -> Result<Box<dyn Reader>>;

    /// Creates a staged file for `attempt`. Checks the path (see [`check_path`]), and, unless
    /// `overwrite` is set, that nothing exists there.
    async fn create(
        &self,
        attempt: AttemptId,
        artifact: ArtifactId,
        path: &str,
        overwrite: bool,
    ) -> Result<Box<dyn Writer>>;

    /// Reopens a staged file that is finished and not yet published. The caller can read it, change
    /// it and finish it again, or remove it by dropping the new [`Writer`]. On an error the file
    /// stays finished.
    async fn reopen(&self, finished: &StagedFile) -> Result<Box<dyn Writer>>;

    /// Sets [`StagedFile::replaces`] of the files that may overwrite, so that `publish` can
    /// distinguish the content to replace from a file that someone puts there later. Of files that
    /// may replace only what `replaces` says, checks that nothing else is there. Kinds that upload
    /// large files do so here. The host calls this right before the commit point. A resource that
    /// never replaces content does not need to implement this.
    async fn note_replaced(&self, files: &mut [StagedFile]) -> Result<()> {
        let _ = files;
        Ok(())
    }

    /// Does what can be done before the commit point so that publishing these files does not fail
    /// after it. The host calls this once the files are finished, and keeps the result until they
    /// are published; dropping it undoes what was done. A crash undoes it too.
    ///
    /// # Errors
    /// If the files cannot be published. The attempt fails then, and nothing of it is published.
    async fn prepare(&self, attempt: AttemptId, files: &[StagedFile]) -> Result<Option<Prepared>> {
        let _ = (attempt, files);
        Ok(None)
    }

    /// Syncs finished files of one attempt to disk, with their names, where they are now: staged or
    /// visible. The host calls this before each synced commit point of an attempt, because some of
    /// its outputs may be in a resource with [`Capabilities::synced`] and others in this one. A
    /// kind that always syncs its staged files does not need to implement this.
    ///
    /// # Errors
    /// [`ResourceError::Unavailable`] if that is not possible now.
    async fn sync(&self, files: &[StagedFile]) -> Result<()> {
        let _ = files;
        Ok(())
    }

    /// Returns the resource as a database, if it is one.
    fn database(&self) -> Option<&dyn Database> {
        None
    }

    /// Begins to take an upload of another program, which becomes the next version at `path`.
    ///
    /// # Errors
    /// [`ResourceError::Unusable`] if the resource takes no uploads,
    /// [`ResourceError::InvalidPath`], and [`ResourceError::Unavailable`] while nothing can be
    /// recorded.
    async fn receive(&self, path: &str) -> Result<Box<dyn Upload>> {
        let _ = path;
        let why = "it takes no uploads: only a resource with `push = true` does".to_owned();
        Err(ResourceError::Unusable { resource: self.name().to_owned(), why })
    }

    /// Makes the committed files of one attempt visible, each of them atomically. Returns for each
    /// file, in the same order, its current stamp if that differs from [`StagedFile::stamp`].
    ///
    /// Idempotent: when it is called again, even by another process, it does what is left to do. A
    /// file that someone else put at a path since the commit is moved aside, not lost.
    ///
    /// # Errors
    /// [`ResourceError::Unavailable`] as long as the staged files cannot be reached. Publishing
    /// never counts as done in that case, and some of the files may already be visible.
    /// [`ResourceError::Refused`] if a service never takes some of the files; everything that can
    /// be done about the others is done then.
    async fn publish(&self, attempt: AttemptId, files: &[StagedFile]) -> Result<Vec<Option<String>>>;

    /// Tells that the run of an attempt was cancelled. `publish` then gives up what a service has
    /// not taken by its next answer, and reports that as [`ResourceError::Refused`]. A kind that
    /// completes what is committed, however long that takes, does not implement this.
    fn give_up(&self, attempt: AttemptId) {
        let _ = attempt;
    }

    /// Returns, for each attempt whose `publish` call waits, why it waits. A kind that reports each
    /// failure as an error does not need to implement this.
    fn outages(&self) -> BTreeMap<AttemptId, Outage> {
        BTreeMap::new()
    }

    /// Checks that the content of an artifact can still be read, as far as a kind that keeps
    /// content on this machine knows. Cheap: reads no content, and asks no server.
    ///
    /// # Errors
    /// [`ResourceError::Gone`] if it is not kept any more.
    async fn check_kept(&self, content: &Content) -> Result<()> {
        let _ = content;
        Ok(())
    }

    /// Removes content of outputs that is kept on this machine and that no run needs, as `known`
    /// says. The host calls this when runs have ended, and from time to time. A watch removes the
    /// content that it keeps itself. A kind that keeps no outputs does not need to implement this.
    ///
    /// # Errors
    /// [`ResourceError::Unavailable`] if that is not possible now.
    async fn trim(&self, known: &dyn KnownPaths) -> Result<()> {
        let _ = known;
        Ok(())
    }

    /// Removes all staged files except those of the attempts in `keep`, and returns how many it
    /// removed. The host calls this when it starts, with the attempts that are unfinished at that
    /// moment.
    async fn sweep(&self, keep: &[AttemptId]) -> Result<u64>;

    /// Removes the unpublished staged files of an attempt, and the data that tracks how far its
    /// publishing has come. The host calls this when none of the files are to be published, or when
    /// their publishing is on record.
    async fn discard(&self, attempt: AttemptId) -> Result<()>;
}

/// Reads one version.
///
/// Every chunk is checked: a read returns [`ResourceError::Changed`] as soon as the content is not
/// what was recorded.
#[async_trait]
pub trait Reader: Send {
    /// Returns up to `length` bytes from `offset`; fewer only at the end.
    async fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>>;

    /// Returns the digest of the content, if [`Content::digest`] was absent and the content has
    /// been read completely, from start to end. A kind that always knows the digest does not need
    /// to implement this.
    fn digest(&self) -> Option<Digest> {
        None
    }
}

/// Writes one staged file, at any offset. If it is dropped without `finish`, the file is removed.
///
/// Programs patch headers, truncate files, and read back what they wrote. A service that only
/// accepts a body from start to end, such as an S3 bucket, cannot do that: such a kind keeps the
/// file in a local spool, and uploads it in `finish`.
#[async_trait]
pub trait Writer: Send {
    /// Appends `bytes`. Fails like [`Self::write_at`].
    async fn write(&mut self, bytes: &[u8]) -> Result<()>;
    /// Writes at `offset` bytes from the start. A gap between the end of the file and `offset` is
    /// filled with zeros. After an error the file is lost: every later call fails.
    async fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()>;
    /// Truncates the file to `size` bytes, or extends it with zeros. Fails like [`Self::write_at`].
    async fn set_size(&mut self, size: u64) -> Result<()>;
    /// Returns up to `length` bytes from `offset`; fewer only at the end, or if `length` is more
    /// than [`crate::base::bounds::MAX_CHUNK_BYTES`].
    async fn read_at(&mut self, offset: u64, length: usize) -> Result<Vec<u8>>;
    /// Completes the file. The digest costs nothing extra if the file was written from start to
    /// end; otherwise the file is read once.
    async fn finish(self: Box<Self>) -> Result<StagedFile>;
}

/// An upload of another program. If it is dropped without `finish`, nothing of it stays.
#[async_trait]
pub trait Upload: Send {
    /// Returns the most bytes that it may have.
    fn max_bytes(&self) -> u64;
    /// Appends `bytes`.
    async fn write(&mut self, bytes: &[u8]) -> Result<()>;
    /// Returns the digest of the bytes so far.
    fn digest(&self) -> Digest;
    /// Puts the upload on record, unless the same bytes are the newest version at its path already.
    /// Once this returns, nothing of it can be lost.
    async fn finish(self: Box<Self>) -> Result<()>;
}

/// What is on record about one resource. Its watch compares the resource with it.
#[async_trait]
pub trait KnownPaths: Send + Sync {
    /// Returns a page of the paths that are present on record, ordered by path. `cursor` is the one
    /// of the previous page; `None` starts at the first. A page has at most
    /// [`crate::base::bounds::MAX_PAGE`] items.
    ///
    /// # Errors
    /// [`ResourceError::Unavailable`] if the records cannot be read.
    async fn page(&self, cursor: Option<String>) -> Result<Page<KnownPath>>;

    /// Returns a page of the digests of content that runs need: of artifacts that are new, and of
    /// what an unfinished run was started on or has written. Digests may repeat. `cursor` is as for
    /// [`Self::page`].
    ///
    /// # Errors
    /// [`ResourceError::Unavailable`] if the records cannot be read.
    async fn needed(&self, cursor: Option<String>) -> Result<Page<Digest>>;
}

/// Receives the observations of a resource.
#[async_trait]
pub trait ObservationSink: Send + Sync {
    /// Returns the number of the newest event on record. A watch calls this before it looks at the
    /// resource, and passes the result to [`ObservationSink::observed`], because outputs that are
    /// published later may be missing from what it sees. Cheap.
    fn as_of(&self) -> u64;
    /// Records a batch in order, together with the cursor after it (`None` for kinds that need no
    /// cursor, or if it has not moved), in one transaction. `as_of` is the result of
    /// [`ObservationSink::as_of`] from before the first look that contributed to the batch.
    async fn observed(&self, batch: Vec<Observation>, as_of: u64, cursor: Option<String>) -> RecordOutcome;
    /// Reports that the status of the watch has changed.
    fn status(&self, status: Status);
    /// Reports that the set of paths that cannot be recorded yet has changed. Called before the
    /// status that reports the first reconciliation as done, and afterwards at most once a second.
    fn waiting(&self, waiting: Waiting);
}

/// The result of [`ObservationSink::observed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordOutcome {
    /// The batch is on record, except for the observations with these indices: an output was
    /// published at their path after the watch looked. The watch looks at these paths again a
    /// moment later.
    Recorded {
        /// Indices into the batch.
        outdated: Vec<usize>,
    },
    /// Nothing more can be recorded. The watch ends, with an error unless it was asked to stop.
    Refused,
}

/// Paths that the manifest keeps from counting, escaped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// They would count if `ignore` did not match their names.
    pub by_name: Vec<String>,
    /// They would count if `include` matched them.
    pub not_included: Vec<String>,
}

/// What a watch has found and cannot record yet. May be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The number of paths.
    pub count: u64,
    /// The first of them in path order; at most 100.
    pub paths: Vec<WaitingPath>,
}

/// A path that cannot be recorded yet.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, ToSchema)]
pub struct WaitingPath {
    /// The path, escaped.
    pub path: String,
    /// Why not, for display: a fragment that continues a sentence after "is".
    pub reason: String,
    /// Since when it has been waiting, as far as the watch knows.
    pub since: Timestamp,
    /// Whether it is a folder, and all in it waits.
    #[serde(skip)]
    pub is_folder: bool,
}

impl WaitingPath {
    /// Creates one for data that waits from now on.
    fn of_data(path: String, reason: String) -> Self {
        Self { path, reason, since: SystemClock.now(), is_folder: false }
    }
}

/// The status of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The first reconciliation is done; from now on the watch sees changes as they happen.
    Watching,
    /// The watch finds changes by scanning, for the given reason. That is slower, but nothing is
    /// lost.
    Scanning(String),
    /// The watch cannot see anything at the moment, for the given reason. It tries again.
    Unreachable(String),
    /// The resource can be reached again, and is being compared with its record.
    Reconciling,
}

/// Checks a path in a resource, as a guest gives it. It must be relative, have at most 1,024 bytes
/// and no control characters, and consist of parts separated by `/`, each of at most 255 bytes and
/// none of them empty, `.` or `..`.
///
/// # Errors
/// [`ResourceError::InvalidPath`], which says what is wrong.
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
        let none = Capabilities { watch: false, write: false, ranges: false, synced: false, keeps: false };
        let refusal = |watched, written| none.check("raw", watched, written).map_err(|error| error.to_string());
        assert_eq!(refusal(false, false), Ok(()));
        let watch = "raw cannot be used: resources of its kind cannot be watched; remove `watch` from [resources.raw]";
        assert_eq!(refusal(true, true), Err(watch.to_owned()));
        let write =
            "raw cannot be used: resources of its kind cannot be written to; remove `raw` from the `writes` of actions";
        assert_eq!(refusal(false, true), Err(write.to_owned()));
        let all = Capabilities { watch: true, write: true, ranges: true, synced: true, keeps: true };
        assert!(all.check("raw", true, true).is_ok());
    }
}
