//! Ensures that only one pipeline writes to a folder.
//!
//! Two hosts that stage files in the same folder would delete each other's files, because a
//! starting host removes the staged files that a dead host seems to have left. So a writer holds a
//! lock on `.anacostia/lock` (`flock`, which the kernel releases when the process ends, however it
//! ends), and the file names the holder. Readers and watchers need no lock. If the file system does
//! not support locks, the host continues without one and logs a warning.
//!
//! Several [`super::Folder`]s in one process may refer to the same folder, one for each revision of
//! a manifest. They share the lock, which belongs to the holder and not to the value.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use cap_std::fs::{Dir, File, OpenOptions};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::base::escape;
use crate::base::filestamp::{Inode, inode};
use crate::resource::names::OWN;

/// The lock file, relative to the folder.
const FILE: &str = ".anacostia/lock";
/// The most bytes that are read of a holder's name.
const MAX_HOLDER_BYTES: u64 = 2_000;
/// How often to try again when the file disappears between opening and locking it.
const TRIES: usize = 16;

/// The locks that this process holds, by the inode of the folder.
static HELD: Mutex<Option<HashMap<Inode, Weak<WriteLock>>>> = Mutex::new(None);

/// The right to write to a folder. Dropping it releases the lock.
#[derive(Debug)]
pub(super) struct WriteLock {
    holder: String,
    root: Dir,
    /// Holds the lock while it is open.
    file: File,
}

impl WriteLock {
    /// Returns whether the locked file is still the one at its path. If someone has removed it,
    /// another process can take a lock of its own.
    pub(super) fn holds(&self) -> bool {
        is_at_path(&self.root, &self.file).unwrap_or(false)
    }
}

/// Returns whether a file is the one at the path of the lock.
fn is_at_path(root: &Dir, file: &File) -> io::Result<bool> {
    let ours = inode(&rustix::fs::fstat(file)?);
    let there = rustix::fs::statat(root, FILE, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).ok();
    Ok(there.as_ref().map(inode) == Some(ours))
}

/// Why the lock could not be taken.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Another holder has the lock; this is its name.
    HeldBy(String),
    /// Taking it failed.
    Failed(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno.into())
    }
}

/// Takes the lock of a folder for `holder`, a description for display.
pub(super) fn take(root: &Dir, holder: &str) -> Result<Arc<WriteLock>, Refusal> {
    let key = inode(&rustix::fs::fstat(root.as_fd())?);
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let held = held.get_or_insert_default();
    if let Some(lock) = held.get(&key).and_then(Weak::upgrade).filter(|lock| lock.holds()) {
        return if lock.holder == holder { Ok(lock) } else { Err(Refusal::HeldBy(lock.holder.clone())) };
    }
    let file = lock_file(root, holder)?;
    let lock = Arc::new(WriteLock { holder: holder.to_owned(), root: root.try_clone()?, file });
    held.retain(|_, lock| lock.strong_count() > 0);
    held.insert(key, Arc::downgrade(&lock));
    Ok(lock)
}

fn lock_file(root: &Dir, holder: &str) -> Result<File, Refusal> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    for _ in 0..TRIES {
        root.create_dir_all(OWN)?;
        let mut file = match root.open_with(FILE, &options) {
            // The last holder has just removed the folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            result => result?,
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(Refusal::HeldBy(read_holder(&file))),
            Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                tracing::warn!(
                    "the file system does not support locks: make sure that no other pipeline writes to the folder that \
                     holds {FILE}"
                );
                return Ok(file);
            }
            Err(errno) => return Err(errno.into()),
        }
        // A holder removes the file before it releases the lock. So the locked file may be one that
        // no other process can open.
        if !is_at_path(root, &file)? {
            continue;
        }
        file.set_len(0)?;
        file.write_all(holder.as_bytes())?;
        return Ok(file);
    }
    Err(Refusal::Failed(io::Error::new(
        io::ErrorKind::ResourceBusy,
        "other processes keep taking and releasing its lock",
    )))
}

fn read_holder(file: &File) -> String {
    let mut text = Vec::new();
    match file.take(MAX_HOLDER_BYTES).read_to_end(&mut text) {
        Ok(0) | Err(_) => "another pipeline".to_owned(),
        Ok(_) => escape(&text),
    }
}

impl Drop for WriteLock {
    fn drop(&mut self) {
        // Another process may hold the lock by now, with a file of its own.
        if self.holds() {
            // A file that cannot be removed does no harm: a lock that nobody holds is free.
            let _ = self.root.remove_file(FILE);
            let _ = self.root.remove_dir(Path::new(OWN));
        }
    }
}
