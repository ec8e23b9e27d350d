//! Reads a version of an object.
//!
//! Each request asks for a range of the version with the recorded entity tag, so the service
//! refuses it once another object is there. A request takes a few milliseconds however little it
//! asks for, so a reader that goes from start to end asks for twice as much each time.

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;

use super::{Bucket, errors};
use crate::base::{Digest, Hasher};
use crate::resource::{Content, Reader, Result};

/// How much the first request asks for, if the guest asks for less.
const FIRST_BYTES: u64 = 256 << 10;
/// The most that a request asks for: one such piece is in memory for each open reader.
const MAX_BYTES: u64 = 8 << 20;
/// How many times to send a request if its answer breaks off.
const TRIES: usize = 4;

/// Opens a version; see [`crate::resource::Resource::open`]. The first read finds out whether it is
/// still there.
pub(super) fn open(bucket: &Bucket, content: &Content) -> Result<Box<dyn Reader>> {
    let hasher = content.digest.is_none().then(Hasher::default);
    Ok(Box::new(ObjectReader {
        key: bucket.key(&content.path)?,
        bucket: bucket.clone(),
        path: content.path.clone(),
        etag: content.stamp.clone(),
        size: content.size,
        piece: Bytes::new(),
        piece_at: 0,
        next_bytes: FIRST_BYTES,
        hasher,
        hashed: 0,
    }))
}

struct ObjectReader {
    bucket: Bucket,
    key: Path,
    path: String,
    etag: String,
    size: u64,
    /// The last answer, and where it begins.
    piece: Bytes,
    piece_at: u64,
    /// How much to ask for if the reader continues where the piece ends.
    next_bytes: u64,
    /// Hashes what is read, as long as it is read from start to end. `None` if the digest is known,
    /// or cannot be known any more.
    hasher: Option<Hasher>,
    hashed: u64,
}

impl ObjectReader {
    /// Asks for the piece at `offset`.
    async fn fetch(&mut self, offset: u64, length: u64) -> Result<()> {
        let goes_on = offset == self.piece_at.saturating_add(self.piece.len() as u64);
        self.next_bytes = if goes_on { self.next_bytes.saturating_mul(2).min(MAX_BYTES) } else { FIRST_BYTES };
        let wanted = if goes_on { length.max(self.next_bytes) } else { length };
        let end = offset.saturating_add(wanted).min(self.size);
        // Drop the old piece first, so that two are never in memory.
        self.piece = Bytes::new();
        let about = self.bucket.about(&self.path);
        let mut tries = 1;
        self.piece = loop {
            match self.bucket.client.get(&self.key, &self.etag, offset..end).await {
                Ok(piece) if piece.len() as u64 == end - offset => break piece,
                Ok(piece) => {
                    let why = format!("it answered {} bytes for {}", piece.len(), end - offset);
                    return Err(about.unavailable("read", std::io::Error::other(why)));
                }
                // The body of an answer may break off after `object_store` has returned it.
                Err(object_store::Error::Generic { .. }) if tries < TRIES => tries += 1,
                Err(error) => return Err(errors::failed(about, "read", &error)),
            }
        };
        self.piece_at = offset;
        Ok(())
    }

    /// Checks that an empty version is still there, because no range of it can be asked for.
    async fn check_empty(&self) -> Result<()> {
        if self.size > 0 {
            return Ok(());
        }
        let about = self.bucket.about(&self.path);
        match self.bucket.client.head(&self.key).await {
            Ok(Some(object)) if object.etag == self.etag => Ok(()),
            Ok(Some(_)) => Err(about.changed("it was replaced by another object")),
            Ok(None) => Err(about.not_found()),
            Err(error) => Err(errors::failed(about, "read", &error)),
        }
    }

    /// Returns the part of the last piece from `offset`, at most `length` bytes.
    fn cached(&self, offset: u64, length: u64) -> Option<&[u8]> {
        let start = usize::try_from(offset.checked_sub(self.piece_at)?).ok()?;
        let length = usize::try_from(length).ok()?;
        let end = start.saturating_add(length).min(self.piece.len());
        self.piece.get(start..end).filter(|part| !part.is_empty())
    }

    fn hash(&mut self, offset: u64, bytes: &[u8]) {
        match &mut self.hasher {
            Some(hasher) if offset == self.hashed => {
                hasher.update(bytes);
                self.hashed = self.hashed.saturating_add(bytes.len() as u64);
            }
            // If the reader skips bytes, the digest cannot be known. Bytes that are read again are
            // hashed already.
            Some(_) if offset > self.hashed => self.hasher = None,
            _ => {}
        }
    }
}

#[async_trait]
impl Reader for ObjectReader {
    async fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let length = (length as u64).min(self.size.saturating_sub(offset));
        if length == 0 {
            self.check_empty().await?;
            return Ok(Vec::new());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        while (bytes.len() as u64) < length {
            let at = offset.saturating_add(bytes.len() as u64);
            let missing = length.saturating_sub(bytes.len() as u64);
            match self.cached(at, missing) {
                Some(part) => bytes.extend_from_slice(part),
                None => self.fetch(at, missing).await?,
            }
        }
        self.hash(offset, &bytes);
        Ok(bytes)
    }

    fn digest(&self) -> Option<Digest> {
        let hasher = self.hasher.as_ref().filter(|_| self.hashed == self.size)?;
        Some(hasher.clone().finish())
    }
}
