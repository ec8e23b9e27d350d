//! Components that runs are bound to.
//!
//! A run goes on with the components that it began with, also when their files were built anew or removed meanwhile. So each component that comes into
//! force is copied here first, under its digest.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::Digest;

/// Where components are kept, each under its digest. Methods may block for as long as a disk, or a copy over the network, does.
pub trait ComponentStore: Send + Sync + std::fmt::Debug {
    /// Whether the component of this digest and size, in bytes, is kept. A power cut can leave one that is not whole, which does not count.
    fn has(&self, digest: Digest, size: u64) -> bool;

    /// Keeps a component. It survives the death of the process and a power cut once this has returned; before, it is there whole or not at all.
    ///
    /// # Errors
    /// When it can not be written.
    fn put(&self, digest: Digest, bytes: &[u8]) -> io::Result<()>;

    /// The file on this machine in which the component of this digest lies; a store on another machine fetches it first. That there is one is seen by who reads
    /// it.
    ///
    /// # Errors
    /// When it can not be fetched.
    fn get(&self, digest: Digest) -> io::Result<PathBuf>;

    /// The digests of all components that are kept, in no order.
    ///
    /// # Errors
    /// When they can not be listed.
    fn list(&self) -> io::Result<Vec<Digest>>;

    /// Removes a component. One that is not there is no error.
    ///
    /// # Errors
    /// When it can not be removed.
    fn remove(&self, digest: Digest) -> io::Result<()>;
}

/// Opens the components of the pipeline whose state lies in the folder `state`. Nothing is made or looked at yet.
#[must_use]
pub fn open(state: &Path) -> Arc<dyn ComponentStore> {
    Arc::new(ComponentFolder(state.join("components")))
}

/// Components as files `<digest>.wasm` in a folder.
#[derive(Debug)]
struct ComponentFolder(PathBuf);

impl ComponentFolder {
    fn place(&self, digest: Digest) -> PathBuf {
        self.0.join(format!("{}.wasm", digest.hex()))
    }

    fn digests(&self) -> io::Result<Vec<Digest>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let name = entry?.file_name();
            let hex = name.to_str().and_then(|name| name.strip_suffix(".wasm"));
            found.extend(hex.and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok()));
        }
        Ok(found)
    }
}

impl ComponentStore for ComponentFolder {
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

    fn list(&self) -> io::Result<Vec<Digest>> {
        match self.digests() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed,
        }
    }

    fn remove(&self, digest: Digest) -> io::Result<()> {
        match fs::remove_file(self.place(digest)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::open;
    use crate::base::Digest;

    #[test]
    fn what_is_kept_is_found_by_its_digest_until_it_is_removed() {
        let state = tempfile::tempdir().unwrap();
        let components = open(state.path());
        let [one, other] = [b"one", b"two"].map(|bytes| Digest::of(bytes));
        assert_eq!(components.list().unwrap(), []);
        components.put(one, b"one").unwrap();
        assert!(components.has(one, 3) && !components.has(one, 4) && !components.has(other, 3));
        assert_eq!(std::fs::read(components.get(one).unwrap()).unwrap(), b"one");
        std::fs::write(state.path().join("components/notes.txt"), "").unwrap();
        assert_eq!(components.list().unwrap(), [one]);
        components.remove(one).unwrap();
        components.remove(one).unwrap();
        assert_eq!(components.list().unwrap(), []);
    }
}
