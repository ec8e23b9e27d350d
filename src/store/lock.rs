//! A file lock that permits one host at a time.
//!
//! The lock is the kernel's (`flock`), so it ends with the process, however that ends. The content
//! of the file (JSON: the holder) is only for people, and for the command line, which finds the
//! host's address there. A database's own locks would not do: they are taken for a transaction, and
//! do not name their holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Holder, Result, StoreError};
use crate::base::Timestamp;

/// How many times, and after which pause, a held lock is tried again: [`read_holder`] takes the
/// lock for a moment.
const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// The lock, held until it is dropped.
#[derive(Debug)]
pub(super) struct HostLock {
    file: Mutex<(File, Holder)>,
}

impl HostLock {
    /// Takes the lock in `file`, which is created if it does not exist. If another process has it,
    /// `in_use` makes the error from the holder's description.
    pub(super) fn take(file: &Path, now: Timestamp, in_use: impl FnOnce(String) -> StoreError) -> Result<Self> {
        let failed = |error: std::io::Error| StoreError::Unavailable {
            doing: format!("lock {}", file.display()),
            why: error.to_string(),
        };
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(file);
        let mut file = options.map_err(failed)?;
        let mut tries_left = TRIES;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries_left > 0 => {
                    tries_left -= 1;
                    std::thread::sleep(BETWEEN_TRIES);
                }
                Err(TryLockError::WouldBlock) => {
                    let holder = parse(&mut file).map_or_else(|| "another process".to_owned(), |it| it.to_string());
                    return Err(in_use(holder));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        let holder = Holder { pid: std::process::id(), started_at: now, listen: None, machine: None, process: None };
        write(&mut file, &holder).map_err(failed)?;
        Ok(Self { file: Mutex::new((file, holder)) })
    }

    /// Records the address at which the host serves HTTP.
    pub(super) fn announce(&self, listen: &str) -> std::io::Result<()> {
        let mut guard = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, holder) = &mut *guard;
        holder.listen = Some(listen.to_owned());
        write(file, holder)
    }
}

/// The holder of the lock in `file`; `None` if it is free.
///
/// # Errors
/// When the file is there and cannot be looked at.
pub(super) fn read_holder(file: &Path) -> Result<Option<Holder>> {
    let failed = |error: std::io::Error| StoreError::Unavailable {
        doing: format!("look at {}", file.display()),
        why: error.to_string(),
    };
    let mut file = match File::open(file) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    match file.try_lock_shared() {
        // The text of a holder that has ended stays. Closing the file releases the lock.
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(parse(&mut file)),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Parses the first JSON value, and ignores what an earlier, longer text has left behind it.
fn parse(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(64 << 10).read_to_string(&mut text).ok()?;
    serde_json::Deserializer::from_str(&text).into_iter::<Holder>().next()?.ok()
}

fn write(file: &mut File, holder: &Holder) -> std::io::Result<()> {
    let text = format!("{}\n", serde_json::to_string(holder)?);
    file.rewind()?;
    // Written, then cut: a reader in between finds a whole first value.
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::{HostLock, read_holder};
    use crate::base::Timestamp;
    use crate::store::StoreError;

    #[test]
    fn a_second_holder_is_refused_and_a_released_lock_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metadata.db.lock");
        assert_eq!(read_holder(&path).unwrap(), None);
        let take = |micros| {
            let in_use = |holder| StoreError::InUse { store: "the store".to_owned(), holder };
            HostLock::take(&path, Timestamp::from_micros(micros), in_use)
        };
        let lock = take(1).unwrap();
        lock.announce("127.0.0.1:8000").unwrap();
        let holder = read_holder(&path).unwrap().unwrap();
        assert_eq!((holder.pid, holder.listen.as_deref()), (std::process::id(), Some("127.0.0.1:8000")));
        let Err(StoreError::InUse { holder, .. }) = take(2) else { panic!("the lock was taken twice") };
        assert!(holder.contains(&std::process::id().to_string()) && holder.contains("127.0.0.1:8000"), "{holder}");
        drop(lock);
        assert_eq!(read_holder(&path).unwrap(), None);
        assert!(path.exists(), "the file is kept: removing it would let two hosts hold separate locks");
        take(3).unwrap();
    }
}
