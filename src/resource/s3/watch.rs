//! Watches a bucket: lists it at an interval, and compares each page with what is on record.
//!
//! The comparison does not depend on the order of the keys, because services differ in it: S3 sorts
//! them by their bytes, SeaweedFS folder by folder. So the pages are listed one after the other. A
//! page begins after the last key of the page before and not at a token of the service, so every
//! request is independent: if an answer is lost, the round is repeated. Nothing is reported as gone
//! before the service was asked for that very object.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio_util::sync::CancellationToken;

use super::client::unquoted;
use super::{Bucket, errors, xml};
use crate::base::{escape, fault, memory};
use crate::model::{ArtifactState, Observation};
use crate::resource::{KnownPaths, ObservationSink, RecordOutcome, ResourceError, Result, Status, Waiting};

/// How many objects are asked for at once before they are reported as gone.
const LOOKS: usize = 16;
/// How many objects that are gone are recorded in one transaction.
const BATCH: usize = 1_000;
/// The longest wait after a failure, if the interval is not longer.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// The first wait after a failure.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);

/// Why a round ended early.
enum Failure {
    /// The service failed, for the given reason.
    Service(String),
    /// Nothing more can be recorded.
    Refused,
}

impl From<object_store::Error> for Failure {
    fn from(error: object_store::Error) -> Self {
        Self::Service(match &error {
            object_store::Error::NotFound { .. } => {
                "there is no such bucket: create it, or correct `bucket` in the manifest".to_owned()
            }
            _ => errors::reason(&error),
        })
    }
}

/// Watches the bucket until `stop`; see [`crate::resource::Resource::watch`].
pub(super) async fn watch(
    bucket: &Bucket,
    known: &dyn KnownPaths,
    sink: Arc<dyn ObservationSink>,
    stop: &CancellationToken,
) -> Result<()> {
    let mut watch = Watch::begin(bucket, known, sink).await?;
    let mut failures = 0_u32;
    // The last status that was reported: whether the bucket can be reached, once that is known.
    let mut reported: Option<std::result::Result<(), String>> = None;
    loop {
        let begun = tokio::time::Instant::now();
        let round = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            round = watch.round() => round,
        };
        let (state, wait) = match round {
            Ok(()) => {
                failures = 0;
                (Ok(()), bucket.interval.saturating_sub(begun.elapsed()))
            }
            Err(Failure::Service(why)) => {
                failures = failures.saturating_add(1);
                (Err(why), backoff(failures, bucket.interval))
            }
            Err(Failure::Refused) => {
                let why = "the host cannot record its changes".to_owned();
                return Err(ResourceError::Unusable { resource: bucket.name.to_string(), why });
            }
        };
        if reported.as_ref() != Some(&state) {
            match &state {
                Ok(()) => {
                    watch.sink.waiting(Waiting::default());
                    watch.sink.status(Status::Watching);
                }
                Err(why) => watch.sink.status(Status::Unreachable(why.clone())),
            }
            reported = Some(state);
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Returns how long to wait after this many failures in a row: between half and all of a span that
/// doubles, so that many hosts do not come back at the same moment.
fn backoff(failures: u32, interval: Duration) -> Duration {
    let longest = MAX_BACKOFF.max(interval);
    let span = FIRST_BACKOFF.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(16))).min(longest);
    span.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// An object that is on record.
struct Known {
    etag: Box<str>,
    /// The last round whose listing had it.
    round: u64,
}

/// A watch, with what is on record.
struct Watch<'a> {
    bucket: &'a Bucket,
    sink: Arc<dyn ObservationSink>,
    /// The objects that count, by path.
    known: HashMap<Box<str>, Known>,
    /// The objects that cannot be artifacts, by escaped path.
    ignored: HashMap<Box<str>, Known>,
    /// The number of the current round.
    round: u64,
    /// The newest event at the beginning of the round.
    as_of: u64,
}

impl<'a> Watch<'a> {
    async fn begin(bucket: &'a Bucket, known: &dyn KnownPaths, sink: Arc<dyn ObservationSink>) -> Result<Self> {
        let mut watch = Self { bucket, sink, known: HashMap::new(), ignored: HashMap::new(), round: 0, as_of: 0 };
        let _at_once = memory::give_back_at_once();
        let mut cursor = None;
        loop {
            let page = known.page(cursor).await?;
            for path in page.items {
                let known = Known { etag: path.stamp.into(), round: 0 };
                if path.state == ArtifactState::Ignored {
                    watch.ignored.insert(path.path.into(), known);
                } else if bucket.names.counts(OsStr::new(&path.path)) {
                    watch.known.insert(path.path.into(), known);
                }
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(watch);
            }
        }
    }

    /// Lists the bucket once, and records what is different.
    async fn round(&mut self) -> std::result::Result<(), Failure> {
        self.as_of = self.sink.as_of();
        self.round += 1;
        let mut after = String::new();
        loop {
            let page = self.bucket.client.list(&self.bucket.prefix, &after).await?;
            let last = page.contents.last().map(|object| object.key.clone());
            let goes_on = page.is_truncated;
            let seen = self.compare(page)?;
            // Page by page, so that a run need not wait for the end of a long listing.
            self.record(seen).await?;
            match last {
                Some(last) if goes_on && last != after => after = last,
                _ if goes_on => return Err(repeated()),
                _ => break,
            }
        }
        fault::point("s3.listed");
        self.record_missing().await
    }

    /// Compares a page with what is on record.
    fn compare(&mut self, page: xml::Listing) -> std::result::Result<Vec<Observation>, Failure> {
        let mut seen = Vec::new();
        for object in page.contents {
            let Some(path) = object.key.strip_prefix(&*self.bucket.prefix) else {
                return Err(Failure::Service("it listed an object outside of the prefix".to_owned()));
            };
            // A key that ends with `/` is how consoles mark a folder.
            if path.is_empty() || (path.ends_with('/') && object.size == 0) {
                continue;
            }
            let stamp = unquoted(Some(&object.etag));
            if let Some(reason) = unsupported(path, &stamp) {
                let path = escape(path.as_bytes());
                if is_news(&mut self.ignored, &path, &stamp, self.round) {
                    seen.push(Observation::Ignored { path, reason, stamp });
                }
            } else if self.bucket.names.counts(OsStr::new(path)) && is_news(&mut self.known, path, &stamp, self.round) {
                seen.push(Observation::Present { path: path.to_owned(), digest: None, size: object.size, stamp });
            }
        }
        Ok(seen)
    }

    /// Records as gone the objects that are missing from the listing, if the service confirms for
    /// each that it is gone.
    async fn record_missing(&mut self) -> std::result::Result<(), Failure> {
        let missing = |known: &HashMap<Box<str>, Known>, round: u64| -> Vec<String> {
            known.iter().filter(|(_, known)| known.round != round).map(|(path, _)| path.to_string()).collect()
        };
        let mut gone = missing(&self.ignored, self.round);
        let bucket = self.bucket;
        let looks = stream::iter(missing(&self.known, self.round)).map(|path| async move {
            let is_there = match bucket.key(&path) {
                Ok(key) => bucket.client.head(&key).await?.is_some(),
                Err(_) => false,
            };
            Ok::<_, object_store::Error>((!is_there).then_some(path))
        });
        let mut looks = std::pin::pin!(looks.buffer_unordered(LOOKS));
        while let Some(path) = looks.next().await {
            gone.extend(path?);
        }
        for gone in gone.chunks(BATCH) {
            self.record(gone.iter().map(|path| Observation::Gone { path: path.clone() }).collect()).await?;
        }
        Ok(())
    }

    /// Records what was seen, and remembers it. What an output has made outdated is seen again in
    /// the next round.
    async fn record(&mut self, seen: Vec<Observation>) -> std::result::Result<(), Failure> {
        if seen.is_empty() {
            return Ok(());
        }
        let RecordOutcome::Recorded { outdated } = self.sink.observed(seen.clone(), self.as_of, None).await else {
            return Err(Failure::Refused);
        };
        fault::point("s3.told");
        let round = self.round;
        for (_, observation) in seen.into_iter().enumerate().filter(|(at, _)| !outdated.contains(at)) {
            let known = |stamp: String| Known { etag: stamp.into(), round };
            match observation {
                Observation::Present { path, stamp, .. } => drop(self.known.insert(path.into(), known(stamp))),
                Observation::Ignored { path, stamp, .. } => drop(self.ignored.insert(path.into(), known(stamp))),
                Observation::Gone { path } => {
                    self.known.remove(path.as_str());
                    self.ignored.remove(path.as_str());
                }
                Observation::Renamed { .. } => {}
            }
        }
        Ok(())
    }
}

/// Notes that a round has seen an object. Returns whether its entity tag is not the one on record.
fn is_news(known: &mut HashMap<Box<str>, Known>, path: &str, etag: &str, round: u64) -> bool {
    known.get_mut(path).is_none_or(|known| {
        known.round = round;
        *known.etag != *etag
    })
}

fn repeated() -> Failure {
    Failure::Service("it repeats a page of the listing".to_owned())
}

/// Returns why an object cannot be an artifact, if so.
fn unsupported(path: &str, etag: &str) -> Option<String> {
    match crate::resource::check_path(path) {
        Err(ResourceError::InvalidPath { why, .. }) => Some(format!("its key is not a valid path: {why}")),
        _ if etag.is_empty() => Some("the service gives it no entity tag, so a change could not be seen".to_owned()),
        _ => None,
    }
}
