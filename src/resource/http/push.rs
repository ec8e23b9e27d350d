//! Takes uploads of other programs.
//!
//! An upload is acknowledged once its artifact is on record. A program that gets no answer sends
//! the upload again; the same bytes make no second version.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::Endpoint;
use super::uploads::{MOST, PATIENCE, Uploads};
use super::watch::TRIM_EVERY;
use crate::base::{Digest, fault};
use crate::model::Observation;
use crate::resource::kept::{Draft, FULL_WAIT, Kept};
use crate::resource::{
    KnownPaths, ObservationSink, RecordOutcome, ResourceError, Result, Status, Upload, Waiting, WaitingPath, check_path,
};

/// Ends the uploads when the watch ends in any way.
struct Open<'a>(&'a Uploads);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

/// Takes uploads until `stop`; see [`crate::resource::Resource::watch`].
pub(super) async fn watch(
    endpoint: &Endpoint,
    known: &dyn KnownPaths,
    sink: Arc<dyn ObservationSink>,
    stop: &CancellationToken,
) -> Result<()> {
    endpoint.kept.remove_drafts().await?;
    // `trim` also counts the content that is kept.
    endpoint.kept.trim(known).await?;
    let _open = Open(&endpoint.uploads);
    endpoint.uploads.set(Some(Arc::clone(&sink)));
    sink.status(Status::Watching);
    let mut is_held = false;
    while !stop.is_cancelled() {
        endpoint.kept.trim(known).await?;
        let full = endpoint.kept.full(known).await?;
        if full.is_some() != is_held {
            is_held = full.is_some();
            let paths: Vec<WaitingPath> = full.into_iter().collect();
            for full in &paths {
                tracing::warn!("{} of {} is {}", full.path, endpoint.name, full.reason);
            }
            sink.waiting(Waiting { count: paths.len() as u64, paths });
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(if is_held { FULL_WAIT } else { TRIM_EVERY }) => {}
            () = endpoint.uploads.refused(), if !is_held => {}
        }
    }
    Ok(())
}

/// Begins an upload; see [`crate::resource::Resource::receive`].
pub(super) async fn receive(endpoint: &Endpoint, path: &str) -> Result<Box<dyn Upload>> {
    check_path(path)?;
    let sink = endpoint.uploads.sink().ok_or_else(|| closed(&endpoint.name))?;
    if endpoint.kept.is_full() {
        endpoint.uploads.refuse();
        return Err(no_room(&endpoint.name));
    }
    let place = endpoint.uploads.place(PATIENCE).await.ok_or_else(|| full(&endpoint.name))?;
    Ok(Box::new(Receiving {
        resource: Arc::clone(&endpoint.name),
        path: path.to_owned(),
        max_bytes: endpoint.spec.max_body,
        draft: endpoint.kept.draft()?,
        kept: Arc::clone(&endpoint.kept),
        sink,
        turn: endpoint.uploads.turn(),
        _place: place,
    }))
}

fn closed(resource: &str) -> ResourceError {
    ResourceError::Unavailable {
        resource: resource.to_owned(),
        doing: "take an upload".to_owned(),
        why: "it is not being watched at the moment; send the upload again soon".to_owned(),
    }
}

fn no_room(resource: &str) -> ResourceError {
    ResourceError::Unavailable {
        resource: resource.to_owned(),
        doing: "take an upload".to_owned(),
        why: "the content that runs need has reached `max_kept`; send the upload again when runs have ended".to_owned(),
    }
}

fn full(resource: &str) -> ResourceError {
    ResourceError::Unavailable {
        resource: resource.to_owned(),
        doing: "take an upload".to_owned(),
        why: format!("{MOST} other uploads are in progress; send this one again soon"),
    }
}

struct Receiving {
    resource: Arc<str>,
    path: String,
    max_bytes: u64,
    draft: Draft,
    kept: Arc<Kept>,
    sink: Arc<dyn ObservationSink>,
    turn: Arc<tokio::sync::Mutex<()>>,
    _place: OwnedSemaphorePermit,
}

#[async_trait]
impl Upload for Receiving {
    fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.draft.write(bytes).await
    }

    fn digest(&self) -> Digest {
        self.draft.digest()
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        let Self { resource, path, draft, kept, sink, turn, _place, .. } = *self;
        fault::point("http.uploaded");
        let _recording = kept.recording().await;
        let stored = kept.store(draft).await?;
        fault::point("http.upload_kept");
        let seen =
            Observation::Present { path, digest: Some(stored.digest), size: stored.size, stamp: stored.digest.hex() };
        let _turn = turn.lock().await;
        match sink.observed(vec![seen], sink.as_of(), None).await {
            RecordOutcome::Recorded { .. } => Ok(()),
            RecordOutcome::Refused => Err(closed(&resource)),
        }
    }
}
