//! Reads files that are staged in the spool.

use std::io;

use super::Bucket;
use crate::model::StagedFile;
use crate::resource::kept::blocking;
use crate::resource::{ResourceError, Result};

/// Reads a piece of a staged file. `None` if the file is not there.
pub(super) async fn read(bucket: &Bucket, file: &StagedFile, at: u64, length: u64) -> Result<Option<Vec<u8>>> {
    use std::os::unix::fs::FileExt as _;
    let place = bucket.spool.path().join(&file.staged);
    let read = blocking(move || {
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        std::fs::File::open(place)?.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    });
    match read.await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(bucket.about(&file.path).unavailable("read what is staged for", error)),
    }
}

/// Returns the error about a file whose content is needed, and is not in the spool.
pub(super) fn lost(bucket: &Bucket, file: &StagedFile) -> ResourceError {
    let place = bucket.spool.path().join(&file.staged);
    let why = format!("its staged file {} is missing; restore it", place.display());
    bucket.about(&file.path).unavailable("publish", io::Error::new(io::ErrorKind::NotFound, why))
}
