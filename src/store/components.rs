//! Stores the components that runs are bound to.
//!
//! A run keeps the components that it began with, even if their files are rebuilt or removed
//! meanwhile. So each component is copied here, under its digest, before it comes into force.

use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::Copied;
use super::presence::{LOOK_EVERY, identity, lost};
use crate::base::{Digest, Freed};

/// Copies without a final name that are older than this were left by a process that died.
const STALE_AFTER: Duration = Duration::from_hours(1);

/// A stored component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptComponent {
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
}

/// A store of components, each under its digest. Methods may block for as long as a disk, or a copy
/// over the network, takes.
#[async_trait]
pub trait ComponentStore: Send + Sync + std::fmt::Debug {
    /// Returns whether the component with this digest and size, in bytes, is stored. A component
    /// that a power cut has left incomplete does not count.
    fn has(&self, digest: Digest, size: u64) -> bool;

    /// Stores a component. Once this has returned, it survives the death of the process and a power
    /// cut; before, it is stored completely or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    fn put(&self, digest: Digest, bytes: &[u8]) -> io::Result<()>;

    /// Returns the path of the component with this digest on this machine. A store on another
    /// machine fetches the component first. The file need not exist.
    ///
    /// # Errors
    /// When it cannot be fetched.
    fn get(&self, digest: Digest) -> io::Result<PathBuf>;

    /// Lists all stored components, in no order.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn list(&self) -> io::Result<Vec<KeptComponent>>;

    /// Removes a component. It is not an error if there is none.
    ///
    /// # Errors
    /// When it cannot be removed.
    fn remove(&self, digest: Digest) -> io::Result<()>;

    /// Removes incomplete copies of [`ComponentStore::put`] calls whose process died. With
    /// `dry_run`, only returns what it would remove. A file that cannot be removed stays.
    ///
    /// # Errors
    /// When the components cannot be listed.
    fn remove_unfinished(&self, dry_run: bool) -> io::Result<Freed>;

    /// Waits until stored components are lost, because their folder was removed or replaced, and
    /// returns what was lost, and how. Runs that are bound to them could not continue after a
    /// restart.
    async fn lost(&self) -> String;
}

/// Opens the components of the pipeline whose state is in the folder `state`. Nothing is created
/// or read yet.
#[must_use]
pub fn open(state: &Path) -> Arc<dyn ComponentStore> {
    Arc::new(ComponentFolder(state.join("components")))
}

/// Copies the components of the pipeline whose state is in the folder `state` into the state folder
/// `to`. Returns how many files and bytes they have.
///
/// # Errors
/// When one cannot be read or written, or is damaged.
pub fn copy(state: &Path, to: &Path) -> io::Result<Copied> {
    let (from, to, mut copied) = (open(state), open(to), Copied::default());
    for kept in from.list()? {
        let Some(bytes) = read(from.as_ref(), kept.digest)? else { continue };
        if Digest::of(&bytes) != kept.digest {
            return Err(io::Error::new(io::ErrorKind::InvalidData, damaged(kept.digest)));
        }
        to.put(kept.digest, &bytes)?;
        copied.add(kept.bytes);
    }
    Ok(copied)
}

/// Looks for damaged components of the pipeline whose state is in the folder `state`. Returns what
/// is wrong, a sentence each.
///
/// # Errors
/// When one cannot be read.
pub fn check(state: &Path) -> io::Result<Vec<String>> {
    let (components, mut wrong) = (open(state), Vec::new());
    for kept in components.list()? {
        let Some(bytes) = read(components.as_ref(), kept.digest)? else { continue };
        if Digest::of(&bytes) != kept.digest {
            wrong.push(damaged(kept.digest));
        }
    }
    Ok(wrong)
}

/// Returns the bytes of a component. `None` if it has been removed since it was listed.
fn read(components: &dyn ComponentStore, digest: Digest) -> io::Result<Option<Vec<u8>>> {
    match fs::read(components.get(digest)?) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        bytes => bytes.map(Some),
    }
}

fn damaged(digest: Digest) -> String {
    format!("the kept component {digest} is damaged: its bytes have another digest")
}

/// Components as files `<digest>.wasm` in a folder.
#[derive(Debug)]
struct ComponentFolder(PathBuf);

impl ComponentFolder {
    fn place(&self, digest: Digest) -> PathBuf {
        self.0.join(format!("{}.wasm", digest.hex()))
    }

    /// Lists the files whose names end in `suffix`, with the part before it. A folder that does not
    /// exist is empty.
    fn files(&self, suffix: &str) -> io::Result<Vec<(String, PathBuf, Metadata)>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(suffix)) else { continue };
            match entry.metadata() {
                // Removed since the folder was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                about => found.push((stem.to_owned(), entry.path(), about?)),
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl ComponentStore for ComponentFolder {
    async fn lost(&self) -> String {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut before = None;
        loop {
            ticks.tick().await;
            match before {
                // The first component creates the folder.
                None => before = fs::metadata(&self.0).ok().map(|about| identity(&about)),
                Some(before) => {
                    if let Some(what) = lost(&self.0, before) {
                        return what;
                    }
                }
            }
        }
    }

    fn has(&self, digest: Digest, size: u64) -> bool {
        fs::metadata(self.place(digest)).is_ok_and(|kept| kept.len() == size)
    }

    fn put(&self, digest: Digest, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        let half = self.0.join(format!("{}.{}.tmp", digest.hex(), std::process::id()));
        let mut file = File::create(&half)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&half, self.place(digest))
    }

    fn get(&self, digest: Digest) -> io::Result<PathBuf> {
        Ok(self.place(digest))
    }

    fn list(&self) -> io::Result<Vec<KeptComponent>> {
        let kept = self.files(".wasm")?.into_iter().filter_map(|(hex, _, about)| {
            let digest = format!("sha256:{hex}").parse().ok()?;
            Some(KeptComponent { digest, bytes: about.len() })
        });
        Ok(kept.collect())
    }

    fn remove(&self, digest: Digest) -> io::Result<()> {
        match fs::remove_file(self.place(digest)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn remove_unfinished(&self, dry_run: bool) -> io::Result<Freed> {
        let mut freed = Freed::default();
        for (_, file, about) in self.files(".tmp")? {
            let age = about.modified().ok().and_then(|then| SystemTime::now().duration_since(then).ok());
            if age.is_some_and(|age| age > STALE_AFTER) && (dry_run || fs::remove_file(&file).is_ok()) {
                freed.add(about.len());
            }
        }
        Ok(freed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::{KeptComponent, STALE_AFTER, open};
    use crate::base::{Digest, Freed};

    #[test]
    fn a_stored_component_is_found_by_digest_until_removed() {
        let state = tempfile::tempdir().unwrap();
        let components = open(state.path());
        let [one, other] = [b"one", b"two"].map(|bytes| Digest::of(bytes));
        assert_eq!(components.list().unwrap(), []);
        components.put(one, b"one").unwrap();
        assert!(components.has(one, 3) && !components.has(one, 4) && !components.has(other, 3));
        assert_eq!(std::fs::read(components.get(one).unwrap()).unwrap(), b"one");
        std::fs::write(state.path().join("components/notes.txt"), "").unwrap();
        assert_eq!(components.list().unwrap(), [KeptComponent { digest: one, bytes: 3 }]);
        components.remove(one).unwrap();
        components.remove(one).unwrap();
        assert_eq!(components.list().unwrap(), []);
    }

    #[test]
    fn abandoned_partial_copies_are_removed_and_active_ones_are_kept() {
        let state = tempfile::tempdir().unwrap();
        let components = open(state.path());
        assert_eq!(components.remove_unfinished(false).unwrap(), Freed::default(), "there is no folder yet");
        components.put(Digest::of(b"whole"), b"whole").unwrap();
        let [old, young] = ["old.1.tmp", "young.2.tmp"].map(|name| state.path().join("components").join(name));
        std::fs::write(&young, "half").unwrap();
        std::fs::write(&old, "half of it").unwrap();
        let long_ago = SystemTime::now() - STALE_AFTER * 2;
        std::fs::File::options().append(true).open(&old).unwrap().set_modified(long_ago).unwrap();
        let left = Freed { files: 1, bytes: 10 };
        assert_eq!(components.remove_unfinished(true).unwrap(), left);
        assert_eq!(components.remove_unfinished(false).unwrap(), left);
        assert!(!old.exists() && young.exists());
        assert_eq!(components.list().unwrap().len(), 1);
    }
}
