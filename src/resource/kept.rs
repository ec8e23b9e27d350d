//! Keeps content in the state folder, for kinds of resources that cannot give it a second time.
//!
//! Content is stored under its digest, so storing it again changes nothing. It is stored before its
//! artifact is put on record: a host that dies in between leaves content that no record names, and
//! nothing is lost.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use super::{Content, Reader, ResourceError, Result};
use crate::base::bounds::MAX_CHUNK_BYTES;
use crate::base::{Digest, escape};

/// The content that one resource keeps.
#[derive(Debug)]
pub(super) struct Kept {
    resource: String,
    folder: PathBuf,
}

impl Kept {
    /// The content of the resource of this name, below the state folder.
    pub(super) fn new(resource: &str, state: &Path) -> Self {
        Self { resource: resource.to_owned(), folder: state.join("resources").join(resource) }
    }

    fn place(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// Stores the content of a file on the same file system, which must not be written to again.
    ///
    /// # Errors
    /// [`ResourceError::Unavailable`] or [`ResourceError::Full`] if the folder cannot be written.
    pub(super) async fn link(&self, file: PathBuf, digest: Digest) -> Result<()> {
        let (place, folder) = (self.place(digest), self.folder.clone());
        let link = blocking(move || {
            fs::create_dir_all(&folder)?;
            match fs::hard_link(&file, &place) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            }
        });
        link.await.map_err(|error| self.failed("store content", &error))
    }

    /// Opens the content of an artifact.
    ///
    /// # Errors
    /// [`ResourceError::NotFound`] if it is not stored, [`ResourceError::Changed`] if its size is
    /// another.
    pub(super) async fn open(&self, content: &Content) -> Result<Box<dyn Reader>> {
        let path = escape(content.path.as_bytes());
        let not_found = || ResourceError::NotFound { resource: self.resource.clone(), path: path.clone() };
        let place = self.place(content.digest.ok_or_else(not_found)?);
        let opened = blocking(move || {
            let file = File::open(place)?;
            let size = file.metadata()?.len();
            Ok((file, size))
        });
        let (file, size) = match opened.await {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(not_found()),
            Err(error) => return Err(self.failed(&format!("open what is kept of `{path}`"), &error)),
        };
        if size != content.size {
            let why = format!("what is kept of it has {size} bytes, not {}", content.size);
            return Err(ResourceError::Changed { resource: self.resource.clone(), path, why });
        }
        Ok(Box::new(KeptReader { resource: self.resource.clone(), path, file: Arc::new(file) }))
    }

    fn failed(&self, doing: &str, error: &io::Error) -> ResourceError {
        let (resource, doing) = (self.resource.clone(), format!("{doing} in {}", self.folder.display()));
        let why = error.to_string();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ResourceError::Full { resource, doing, why },
            _ => ResourceError::Unavailable { resource, doing, why },
        }
    }
}

struct KeptReader {
    resource: String,
    path: String,
    file: Arc<File>,
}

#[async_trait]
impl Reader for KeptReader {
    async fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let file = Arc::clone(&self.file);
        let read = blocking(move || {
            let mut bytes = vec![0; length.min(MAX_CHUNK_BYTES)];
            let mut filled = 0;
            while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match file.read_at(rest, offset + filled as u64) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            bytes.truncate(filled);
            Ok(bytes)
        });
        read.await.map_err(|error| ResourceError::Unavailable {
            resource: self.resource.clone(),
            doing: format!("read what is kept of `{}`", self.path),
            why: error.to_string(),
        })
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(io::Error::other("the host is stopping")))
}

#[cfg(test)]
mod tests {
    use super::Kept;
    use crate::base::Digest;
    use crate::resource::{Content, ResourceError};

    fn content(digest: Digest, size: u64) -> Content {
        Content { path: "a.jsonl".to_owned(), size, digest: Some(digest), stamp: String::new() }
    }

    #[tokio::test]
    async fn content_is_read_as_it_was_stored_and_damage_is_noticed() {
        let state = tempfile::tempdir().unwrap();
        let kept = Kept::new("rows", state.path());
        let file = state.path().join("batch");
        std::fs::write(&file, b"0123456789").unwrap();
        let digest = Digest::of(b"0123456789");
        kept.link(file.clone(), digest).await.unwrap();
        kept.link(file.clone(), digest).await.unwrap();
        std::fs::remove_file(file).unwrap();
        let mut reader = kept.open(&content(digest, 10)).await.unwrap();
        assert_eq!(reader.read(2, 3).await.unwrap(), b"234");
        assert_eq!(reader.read(8, 100).await.unwrap(), b"89");
        assert_eq!(reader.read(10, 100).await.unwrap(), b"");

        let place = state.path().join("resources/rows").join(digest.hex());
        std::fs::write(&place, b"cut").unwrap();
        let changed = kept.open(&content(digest, 10)).await.err().unwrap();
        assert!(matches!(changed, ResourceError::Changed { .. }), "{changed}");
        std::fs::remove_file(&place).unwrap();
        let gone = kept.open(&content(digest, 10)).await.err().unwrap();
        assert!(matches!(gone, ResourceError::NotFound { .. }), "{gone}");
    }
}
