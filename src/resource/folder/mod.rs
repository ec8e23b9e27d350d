//! The resource kind `folder`: files in a directory of the host.
//!
//! | module | job |
//! |---|---|
//! | `observer`, `check` | report differences from the record, in order |
//! | `dirty`, `watches`, `scan`, `waiting` | find paths to check: by events, scans, after delays |
//! | `held` | lists what cannot be recorded yet, for display |
//! | `ignored` | lists, for display, files that are skipped only because of their names |
//! | `stable_read`, `lease`, `hashing` | hash a file while nobody writes to it |
//! | `index`, `stamp` | cache what is on record; identify a version of a file |
//! | `unsupported`, `moves` | find what is never an artifact; order renames |
//! | `rename_trail` | follows files through chains of renames |
//! | `tree` | resolves paths without leaving the folder |
//! | `read` | reads versions, chunk by chunk |
//! | `stage`, `publish`, `write_lock` | write outputs |
//! | `sight` | says whether a missing folder may be created; creates it |
//! | `blocking` | decides where calls that may block run |
//!
//! Linux only: inotify, read leases, `openat2` (5.6 and later) and `renameat2`.

mod blocking;
mod check;
mod dirty;
mod hashing;
mod held;
mod index;
mod lease;
mod left_out;
mod moves;
mod observer;
mod publish;
mod read;
mod rename_trail;
mod scan;
mod sight;
mod stable_read;
mod stage;
mod stamp;
#[cfg(test)]
mod tests;
mod tree;
mod unsupported;
mod waiting;
mod watches;
mod write_lock;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::blocking::{Locality, aside};
use self::index::Index;
use self::observer::{Observer, SinkRefused};
use self::sight::Sight;
use self::write_lock::{Refusal, WriteLock};
use crate::base::{ArtifactId, AttemptId, memory};
use crate::manifest::FolderSpec;
use crate::model::StagedFile;
use crate::resource::about::About;
use crate::resource::names::Names;
use crate::resource::{
    Capabilities, Content, KnownPaths, LeftOut, ObservationSink, Reader, Resource, ResourceError, Result, Writer,
};

/// The fault points of the folder; see [`crate::base::fault`].
pub const FAULT_POINTS: &[&str] = &[
    "observe.hashed",
    "observe.told",
    "stage.write",
    "stage.finished",
    "publish.before_rename",
    "publish.renamed",
    "publish.done",
];

/// The name of the folder of spools in the state folder.
const SPOOL: &str = "spool";

/// The most files that `publish` handles on the calling thread; more go to a blocking thread.
const MANY_FILES: usize = 16;

/// How long writing waits for the watch of a missing folder, which takes a moment to read the
/// record.
const SIGHT_WAIT: Duration = Duration::from_secs(10);

/// A folder of files; see the module. Clones share their state.
#[derive(Debug, Clone)]
pub struct Folder {
    name: Arc<str>,
    spec: Arc<FolderSpec>,
    names: Arc<Names>,
    /// Whether staged and published files are synced to disk.
    sync: bool,
    /// The files that this process published last; see [`publish::OwnOutputs`].
    own_outputs: Arc<publish::OwnOutputs>,
    /// The claim to write, and its lock once that is taken.
    writing: Arc<Mutex<Option<Writing>>>,
    locality: Arc<Locality>,
    /// What the watch knows about the folder. A folder that is created in place of a disk that is
    /// not mounted would have lost the files on record.
    sight: Arc<watch::Sender<Sight>>,
}

/// A claim to write to the folder.
#[derive(Debug)]
struct Writing {
    holder: String,
    /// Absent until the folder exists and the lock is taken in it.
    lock: Option<Arc<WriteLock>>,
}

impl Folder {
    /// Creates the resource with its name in the manifest. With `sync`, staged and published files
    /// survive a power cut. Does not check whether the folder exists.
    ///
    /// # Errors
    /// [`ResourceError::Unusable`] if a glob is invalid.
    pub fn new(name: &str, spec: &FolderSpec, sync: bool) -> Result<Self> {
        let names =
            Names::new(&spec.include, &spec.exclude, &spec.ignore).map_err(|error| ResourceError::Unusable {
                resource: name.to_owned(),
                why: format!("a glob of `include` or `exclude` cannot be read: {error}"),
            })?;
        Ok(Self {
            name: name.into(),
            spec: Arc::new(spec.clone()),
            names: Arc::new(names),
            sync,
            own_outputs: Arc::default(),
            writing: Arc::default(),
            locality: Arc::default(),
            sight: Arc::default(),
        })
    }

    /// Creates the spool of the resource `name`: a folder in the state folder `state` in which a
    /// resource of another kind stages its outputs. Nobody watches it. Staged files are always
    /// synced, whichever durability is set, like the commit that they belong to.
    ///
    /// # Errors
    /// As [`Folder::new`], although there is no glob here that could be invalid.
    pub(in crate::resource) fn spool(name: &str, state: &Path) -> Result<Self> {
        let spec = FolderSpec {
            path: state.join(SPOOL).join(name),
            include: Vec::new(),
            exclude: Vec::new(),
            ignore: Vec::new(),
            settle: Duration::ZERO,
            rescan: Duration::MAX,
        };
        Self::new(name, &spec, true)
    }

    fn open_root(&self) -> std::io::Result<Dir> {
        Dir::open_ambient_dir(&self.spec.path, ambient_authority()).inspect(|root| self.locality.note(root))
    }

    /// Runs `work`: on this thread if that takes no longer than handing it to another one,
    /// otherwise on a blocking thread. `long` says that it takes long even on a local disk.
    async fn work<T: Send + 'static>(
        &self,
        long: bool,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if !long && self.locality.is_local() {
            return work(self);
        }
        let folder = self.clone();
        aside(&self.name, move || work(&folder)).await
    }

    /// Opens the folder.
    fn root(&self, about: About<'_>) -> Result<Dir> {
        self.open_root().map_err(|error| about.unavailable("reach", error))
    }

    /// Opens the folder; `None` if it does not exist.
    fn root_if_there(&self, about: About<'_>) -> Result<Option<Dir>> {
        match self.open_root() {
            Ok(root) => Ok(Some(root)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(about.unavailable("reach", error)),
        }
    }

    /// Opens the folder, and creates it first if it does not exist.
    fn root_or_create(&self, about: About<'_>) -> Result<Dir> {
        let refused = |why: &str| Err(about.unavailable("write", std::io::Error::other(why)));
        if *self.sight.borrow() == Sight::Away {
            return refused("the folder cannot be reached at the moment, and files of it are on record");
        }
        match self.open_root() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            result => return result.map_err(|error| about.unavailable("reach", error)),
        }
        if matches!(*self.sight.borrow(), Sight::Away | Sight::Unclear) {
            return refused("the folder is not there, and files of it may be on record: mount it or put it back");
        }
        sight::make_folder(&self.spec.path)
            .and_then(|()| self.open_root())
            .map_err(|error| about.unavailable("make the folder for", error))
    }

    /// If the folder is missing, waits until the watch knows whether files of it are on record, for
    /// a limited time.
    async fn wait_for_sight(&self) {
        let is_missing =
            |folder: &Self| Ok(folder.open_root().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound));
        if *self.sight.borrow() == Sight::Unclear && self.work(false, is_missing).await.unwrap_or(false) {
            let mut sight = self.sight.subscribe();
            // After the timeout, the write fails and says why.
            let _ = tokio::time::timeout(SIGHT_WAIT, sight.wait_for(|sight| *sight != Sight::Unclear)).await;
        }
    }

    /// Takes the lock for the writer that claimed the folder, unless it holds the lock already. It
    /// loses the lock if someone removes the lock file.
    fn hold_lock(&self, root: &Dir, about: About<'_>) -> Result<()> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Writing { holder, lock }) = writing.as_mut() else { return Ok(()) };
        if lock.as_ref().is_some_and(|lock| lock.holds()) {
            return Ok(());
        }
        match write_lock::take(root, holder) {
            Ok(taken) => {
                *lock = Some(taken);
                Ok(())
            }
            Err(Refusal::HeldBy(other)) => Err(ResourceError::Unusable {
                resource: self.name.to_string(),
                why: format!(
                    "{other} writes to the folder {} already; stop that host, or give each pipeline an output folder of its own",
                    self.spec.path.display()
                ),
            }),
            Err(Refusal::Failed(error)) => Err(about.unavailable("lock the folder for", error)),
        }
    }

    /// Returns the path of the folder.
    #[must_use]
    pub fn path(&self) -> &PathBuf {
        &self.spec.path
    }
}

#[async_trait]
impl Resource for Folder {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { watch: true, write: true, ranges: true, synced: false, keeps: true }
    }

    async fn watch(
        self: Arc<Self>,
        known: Arc<dyn KnownPaths>,
        _: Option<String>,
        sink: Arc<dyn ObservationSink>,
        stop: CancellationToken,
    ) -> Result<()> {
        let unusable = |why: String| ResourceError::Unusable { resource: self.name.to_string(), why };
        // A watch that starts again keeps `Away`, so that nothing is written meanwhile.
        self.sight.send_if_modified(|sight| {
            *sight != Sight::Away && {
                *sight = Sight::Unclear;
                true
            }
        });
        // The guard is dropped with this future, so that the thread ends with it.
        let stop = stop.child_token();
        let _guard = stop.clone().drop_guard();
        let (spec, names, sight) = (self.spec.clone(), Arc::clone(&self.names), Arc::clone(&self.sight));
        let observe = async move {
            // Runs on the thread of the watch. The memory that the reading took goes back to the
            // system at once.
            let index = {
                let _at_once = memory::give_back_at_once();
                Index::read(known.as_ref(), &names).await?
            };
            Ok(Observer::new(&spec, names, index, sink, sight, stop).run().await)
        };
        let runtime = tokio::runtime::Handle::current();
        let (ended, end) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name(format!("watch-{}", self.name))
            .spawn(move || {
                let _ = ended.send(runtime.block_on(observe));
            })
            .map_err(|error| unusable(format!("no thread can be started to watch it: {error}")))?;
        match end.await {
            Ok(Ok(ended)) => ended.map_err(|SinkRefused| unusable("the host cannot record its changes".to_owned())),
            Ok(Err(unread)) => Err(unread),
            // The thread panicked before it could send its result.
            Err(_) => Err(unusable("its watch has failed, which is a bug: see the message above".to_owned())),
        }
    }

    async fn left_out(&self, most: usize) -> LeftOut {
        // A folder that cannot be reached is reported as such by its watch.
        self.work(true, move |folder| Ok(left_out::find(folder, most))).await.unwrap_or_default()
    }

    async fn claim_writing(&self, holder: &str) -> Result<()> {
        {
            let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            if writing.as_ref().is_none_or(|writing| writing.holder != holder) {
                *writing = Some(Writing { holder: holder.to_owned(), lock: None });
            }
        }
        let take = |folder: &Self| {
            let about = About { resource: &folder.name, path: "." };
            let Ok(root) = folder.open_root() else { return Ok(()) };
            // An empty folder has no staged files, and may be the mount point of a disk that is not
            // mounted yet. So do not create the lock in it before there is something to write.
            if root.entries().is_ok_and(|mut entries| entries.next().is_none()) {
                return Ok(());
            }
            match folder.hold_lock(&root, about) {
                // If the folder is not writable, the first write reports it.
                Err(ResourceError::Unavailable { .. }) | Ok(()) => Ok(()),
                Err(held) => Err(held),
            }
        };
        self.work(false, take).await
    }

    async fn release_writing(&self) {
        let release = |folder: &Self| {
            let mut writing = folder.writing.lock().unwrap_or_else(PoisonError::into_inner);
            // Without the lock, what is staged there may be another writer's.
            let held = writing.as_ref().and_then(|writing| writing.lock.as_ref()).is_some_and(|lock| lock.holds());
            if held && let Ok(root) = folder.open_root() {
                stage::remove_empty(&root);
            }
            *writing = None;
            Ok(())
        };
        // This cannot fail.
        let _ = self.work(false, release).await;
    }

    async fn open(&self, content: &Content) -> Result<Box<dyn Reader>> {
        read::open(self, content).await
    }

    async fn reopen(&self, finished: &StagedFile) -> Result<Box<dyn Writer>> {
        let finished = finished.clone();
        self.work(false, move |folder| stage::reopen(folder, &finished)).await
    }

    async fn create(
        &self,
        attempt: AttemptId,
        artifact: ArtifactId,
        path: &str,
        overwrite: bool,
    ) -> Result<Box<dyn Writer>> {
        self.wait_for_sight().await;
        let path = path.to_owned();
        self.work(false, move |folder| stage::create(folder, attempt, artifact, &path, overwrite)).await
    }

    async fn note_replaced(&self, files: &mut [StagedFile]) -> Result<()> {
        if !files.iter().any(StagedFile::may_replace) {
            return Ok(());
        }
        let mut noted = files.to_vec();
        let noted = self.work(false, move |folder| publish::note_replaced(folder, &mut noted).map(|()| noted)).await?;
        for (file, noted) in files.iter_mut().zip(noted) {
            file.replaces = noted.replaces;
        }
        Ok(())
    }

    async fn sync(&self, files: &[StagedFile]) -> Result<()> {
        if self.sync {
            // `finish` and `publish` have synced the files.
            return Ok(());
        }
        let files = files.to_vec();
        self.work(true, move |folder| files.iter().try_for_each(|file| stage::sync(folder, file))).await
    }

    async fn publish(&self, attempt: AttemptId, files: &[StagedFile]) -> Result<Vec<Option<String>>> {
        let long = self.sync || files.len() > MANY_FILES;
        let files = files.to_vec();
        let publish = move |folder: &Self| files.iter().map(|file| publish::publish(folder, attempt, file)).collect();
        self.work(long, publish).await
    }

    async fn sweep(&self, keep: &[AttemptId]) -> Result<u64> {
        let keep = keep.to_vec();
        self.work(true, move |folder| stage::sweep(folder, &keep)).await
    }

    async fn discard(&self, attempt: AttemptId) -> Result<()> {
        // In most cases only an empty folder is left.
        if self.locality.is_local() && stage::discard_empty(self, attempt)? {
            return Ok(());
        }
        self.work(true, move |folder| stage::discard(folder, attempt)).await
    }
}
