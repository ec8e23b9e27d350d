//! Uploads large outputs in parts before the commit point, and completes them after it.
//!
//! The id of an upload is on this machine, in its [`journal`]. So a later host can complete or
//! abort it.
//!
//! If the answer with the id is lost, or the host dies before the journal is written, the service
//! has an upload without parts that nobody knows. It is left there: nothing that a service says
//! about an upload distinguishes it from one that another program has begun at the same key at the
//! same time, and aborting that would destroy data of others. A lifecycle rule of the bucket
//! removes it.

use std::io;
use std::path::Path as FilePath;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path;

use super::client::{Answer, Condition};
use super::journal::{self, Journal};
use super::{Bucket, errors, staged};
use crate::base::{AttemptId, fault};
use crate::model::StagedFile;
use crate::resource::{ResourceError, Result};

/// The least size of a part. An output up to this size is sent in one request after the commit
/// point.
const PART_BYTES: u64 = 16 << 20;
/// The most parts that an upload has. The service allows 10,000.
const MAX_PARTS: u64 = 9_000;
/// How many parts are sent at once. Each is in memory meanwhile.
const AT_ONCE: usize = 2;
/// How often to begin an upload.
const MAX_TRIES: usize = 3;

/// Returns whether a file is uploaded in parts.
pub(super) fn is_large(file: &StagedFile) -> bool {
    file.size > PART_BYTES
}

/// Uploads the parts of a file. An earlier upload of it is aborted.
pub(super) async fn upload(bucket: &Bucket, key: &Path, file: &StagedFile) -> Result<()> {
    let about = bucket.about(&file.path);
    let place = journal::place(bucket, file);
    let failed = |error: object_store::Error| about.unavailable("upload", io::Error::other(errors::reason(&error)));
    let unnoted = |error| about.unavailable("note the upload of", error);
    abort(bucket, &place).await.map_err(failed)?;
    let id = begin(bucket, key, file).await.map_err(failed)?;
    fault::point("s3.upload_begun");
    let mut journal = Journal { key: key.to_string(), id, parts: Vec::new() };
    journal.save(&place).await.map_err(unnoted)?;
    journal.parts = send_parts(bucket, key, file, &journal.id).await?;
    journal.save(&place).await.map_err(unnoted)?;
    fault::point("s3.uploaded");
    Ok(())
}

/// Begins an upload, and returns its id. Tries again after a failure.
async fn begin(bucket: &Bucket, key: &Path, file: &StagedFile) -> Answer<String> {
    let mut tries = 1;
    loop {
        let error = match bucket.client.begin_upload(key, file.artifact_id).await {
            Err(error) if tries < MAX_TRIES => error,
            answer => return answer,
        };
        tries += 1;
        if matches!(error, object_store::Error::Generic { .. }) {
            tracing::warn!(
                resource = &*bucket.name,
                key = key.as_ref(),
                why = errors::reason(&error),
                "the service did not return the id of an upload, so it is started again; if it had started, a lifecycle rule of the bucket \
                 (AbortIncompleteMultipartUpload) removes the first"
            );
        }
    }
}

async fn send_parts(bucket: &Bucket, key: &Path, file: &StagedFile, id: &str) -> Result<Vec<String>> {
    let (about, id) = (bucket.about(&file.path), &id.to_owned());
    let part_bytes = PART_BYTES.max(file.size.div_ceil(MAX_PARTS));
    let count = usize::try_from(file.size.div_ceil(part_bytes)).unwrap_or(usize::MAX);
    let send = |number: usize| async move {
        let start = part_bytes.saturating_mul(number as u64);
        let length = part_bytes.min(file.size.saturating_sub(start));
        let Some(content) = staged::read(bucket, file, start, length).await? else {
            return Err(about.unavailable("upload", io::Error::from(io::ErrorKind::NotFound)));
        };
        let part: Answer<PartId> = bucket.client.sending.put_part(key, id, number, Bytes::from(content).into()).await;
        let part = part.map_err(|error| about.unavailable("upload", io::Error::other(errors::reason(&error))))?;
        Ok::<_, ResourceError>(part.content_id)
    };
    stream::iter(0..count).map(send).buffered(AT_ONCE).try_collect().await
}

/// Completes the upload of a file, if what is at the key meets the condition. If the upload is
/// gone, uploads the file again. The outer error is one of the spool, the inner one the answer of
/// the service.
pub(super) async fn complete(
    bucket: &Bucket,
    key: &Path,
    file: &StagedFile,
    condition: &Condition,
) -> Result<Answer<String>> {
    let place = journal::place(bucket, file);
    for _ in 0..2 {
        if let Some(Journal { id, parts, .. }) = journal::load(&place).await
            && !parts.is_empty()
        {
            match bucket.client.complete(key, &id, &parts, condition).await {
                Ok(etag) => return Ok(Ok(etag)),
                Err(error @ object_store::Error::Precondition { .. }) => return Ok(Err(error)),
                // Either the upload was completed and the answer was lost, or the service has
                // dropped the upload. Services report this in different ways, so ask which uploads
                // exist.
                Err(error) => match bucket.client.uploads(key).await {
                    Ok(uploads) if !uploads.contains(&id) => {}
                    _ => return Ok(Err(error)),
                },
            }
        }
        let there = bucket.client.head(key).await;
        if let Ok(Some(there)) = &there
            && there.artifact == Some(file.artifact_id.to_string())
        {
            return Ok(Ok(there.etag.clone()));
        }
        if let Err(error) = there {
            return Ok(Err(error));
        }
        if staged::read(bucket, file, 0, 0).await?.is_none() {
            return Err(staged::lost(bucket, file));
        }
        upload(bucket, key, file).await?;
    }
    Err(bucket.about(&file.path).unavailable("publish", io::Error::other("the service does not keep uploads")))
}

/// Aborts the uploads of an attempt, and removes its journals. What cannot be aborted now is
/// aborted when a host starts.
pub(super) async fn discard(bucket: &Bucket, attempt: AttemptId) {
    let journals = journal::of(bucket, attempt).await;
    for place in &journals {
        if let Err(error) = abort(bucket, place).await {
            let why = errors::reason(&error);
            tracing::warn!(
                resource = &*bucket.name,
                why,
                "an unfinished upload could not be aborted; the next start tries again"
            );
        }
    }
    if !journals.is_empty() {
        journal::forget(bucket, attempt).await;
    }
}

/// Aborts the uploads of all attempts except those in `keep`.
pub(super) async fn sweep(bucket: &Bucket, keep: &[AttemptId]) {
    for attempt in journal::attempts(bucket).await.into_iter().filter(|attempt| !keep.contains(attempt)) {
        discard(bucket, attempt).await;
    }
}

/// Aborts the upload of a journal, and removes the journal. Does nothing if there is none.
async fn abort(bucket: &Bucket, place: &FilePath) -> Answer<()> {
    if let Some(journal) = journal::load(place).await {
        match bucket.client.store.abort_multipart(&Path::parse(&journal.key)?, &journal.id).await {
            // It was completed, or aborted before.
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    journal::remove(place).await;
    Ok(())
}
