//! The event stream: resumable server-sent events.
//!
//! Each client has its own cursor, and the host queues nothing for it: one page of messages waits,
//! and the next is made when that has been sent. A slow client gets its messages later. One that
//! reads nothing for a minute is disconnected by `server`, and continues where it was when it
//! returns. The newest messages are made once for all clients (`recent`).
//!
//! A client that returns after the events it needs were removed receives a `reset`. The id of a
//! message is the event's epoch and sequence, such as `3-105`. After a power cut, the
//! store may have lost the last sequence numbers and assign them to other events; the epoch shows
//! that to a client that has received the lost ones.
//!
//! A `reset` message says that events were missed, and why. The client must then fetch again what
//! it displays.
//!
//! A client that only has to know that something happened, such as an open page, asks for the
//! `newest` events: of those that wait it gets the last one.

mod recent;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

pub(super) use recent::Recent;
use recent::{Wanted, message};

use super::problem::{Problem, Result};
use super::query::Query;
use super::{App, MAX_EVENT_CLIENTS};
use crate::model::Event;
use crate::store::{MetadataStore, StoreError};

/// Maximum number of events that are read at once, and held for one client.
const PAGE: u32 = 256;
/// Shortest time between two pages for a client, for each client that there is. It bounds the part
/// of a processor that the clients take from the actions, however many there are and however much
/// happens. For a thousand it is 100 ms, for a few it is nothing.
const PACE: Duration = Duration::from_micros(100);
/// How long an event waits for those that follow it, for a client that wants only the newest. A
/// short run makes eight events in 3 ms; a page that is fetched again after the last one shows all
/// of it.
const GATHER: Duration = Duration::from_millis(10);
/// The same while so much happens that more than [`MANY`] events came in that time: each message
/// costs a browser about a millisecond, and nobody reads a page that changes so often.
const GATHER_MANY: Duration = Duration::from_millis(100);
/// See [`GATHER_MANY`]. A short run makes eight.
const MANY: u64 = 30;

/// `GET /api/v1/events`
pub(super) async fn follow(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Result<Response> {
    let query = Query::parse(&uri, &["after", "newest", "run"])?;
    let wanted =
        Wanted { run: query.run(&app.view, "run").await?, newest_only: query.value("newest")?.unwrap_or(false) };
    let begin = match (headers.get("last-event-id"), query.text("after")) {
        // A browser sends this header by itself, and stops forever on an error, so an invalid value
        // is answered by `reset`.
        (Some(id), _) => id.to_str().ok().and_then(Position::parse).map_or(Begin::Lost, Begin::After),
        (None, Some(text)) => Begin::After(Position::parse(text).ok_or_else(|| {
            Problem::bad_parameter("after", "it must be the id of a message, such as `3-105`, or a sequence")
        })?),
        (None, None) => Begin::Now,
    };
    let Ok(place) = Arc::clone(&app.event_clients).try_acquire_owned() else {
        return Err(Problem::unavailable("too many clients follow the events; close one, or try again later"));
    };
    let follower = Follower::start(app, wanted, begin, place).await?;
    let messages = stream::unfold(follower, |mut follower| async {
        let message = follower.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(message)), follower))
    });
    // A proxy such as nginx otherwise keeps messages until it has some kilobytes of them.
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (unbuffered, "no")];
    Ok((headers, Body::from_stream(messages)).into_response())
}

/// A position in the sequence of events, as a client gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    /// Epoch of the event there; unknown if the client gave only a sequence number.
    epoch: Option<u64>,
    seq: u64,
}

impl Position {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once('-') {
            Some((epoch, seq)) => Some(Self { epoch: Some(epoch.parse().ok()?), seq: seq.parse().ok()? }),
            None => Some(Self { epoch: None, seq: text.parse().ok()? }),
        }
    }
}

/// Where a client wants to begin.
#[derive(Debug, Clone, Copy)]
enum Begin {
    /// With the next event, because the client is new.
    Now,
    /// After the last event that it has.
    After(Position),
    /// The client sent a value that is not a position in this stream.
    Lost,
}

/// One client.
struct Follower {
    store: Arc<dyn MetadataStore>,
    recent: Arc<Recent>,
    clients: Arc<Semaphore>,
    wanted: Wanted,
    /// The newest event that the client has, or does not need.
    seq: u64,
    newest: watch::Receiver<u64>,
    /// The first message to send.
    greeting: Option<String>,
    /// After how long without a message a comment is sent.
    heartbeat: Duration,
    heartbeat_at: Instant,
    /// When the next page may be sent.
    not_before: Instant,
    /// How long the next event waits for others.
    gather: Duration,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    async fn start(app: App, wanted: Wanted, begin: Begin, place: OwnedSemaphorePermit) -> Result<Self> {
        let store = app.view.store;
        let newest = store.newest_event();
        let newest_seq = *newest.borrow();
        let (seq, missed) = match begin {
            Begin::Now => (newest_seq, None),
            Begin::Lost => (newest_seq, Some("the id is not from this stream".to_owned())),
            Begin::After(position) => match missed(store.as_ref(), position, newest_seq).await? {
                None => (position.seq, None),
                Some(why) => (newest_seq, Some(why)),
            },
        };
        let first = match missed {
            Some(why) => reset(store.as_ref(), seq, &why).await?,
            // An id without data: a client that loses the connection before the first event
            // continues from this position.
            None => format!("id: {}\n\n", id(store.as_ref(), seq).await?),
        };
        let greeting = format!("retry: 1000\n{first}");
        let now = Instant::now();
        Ok(Self {
            store,
            recent: app.recent,
            clients: app.event_clients,
            wanted,
            seq,
            newest,
            greeting: Some(greeting),
            heartbeat: app.patience.heartbeat,
            heartbeat_at: now + app.patience.heartbeat,
            not_before: now,
            gather: if wanted.newest_only { GATHER } else { Duration::ZERO },
            stop: app.stop,
            _place: place,
        })
    }

    /// Returns the next text to send, or `None` at the end. The client then reconnects with the id
    /// of its last event.
    async fn next(&mut self) -> Option<String> {
        if let Some(greeting) = self.greeting.take() {
            return Some(greeting);
        }
        loop {
            if self.stop.is_cancelled() {
                return None;
            }
            if *self.newest.borrow_and_update() > self.seq {
                self.keep_pace().await;
                let newest = *self.newest.borrow_and_update();
                if self.wanted.newest_only {
                    self.gather = if newest - self.seq > MANY { GATHER_MANY } else { GATHER };
                }
                match self.read(newest).await {
                    Ok(text) if text.is_empty() => {}
                    Ok(text) => {
                        self.heartbeat_at = Instant::now() + self.heartbeat;
                        return Some(text);
                    }
                    Err(error) => {
                        tracing::warn!("an event stream ends: {error}");
                        return None;
                    }
                }
            }
            if *self.newest.borrow() > self.seq {
                continue;
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                changed = self.newest.changed() => changed.ok()?,
                () = tokio::time::sleep_until(self.heartbeat_at) => {
                    self.heartbeat_at = Instant::now() + self.heartbeat;
                    return Some(": still here\n\n".to_owned());
                }
            }
        }
    }

    /// Waits until the next page may be sent.
    async fn keep_pace(&mut self) {
        let at = self.not_before.max(Instant::now() + self.gather);
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep_until(at) => {}
        }
        let clients = MAX_EVENT_CLIENTS.saturating_sub(self.clients.available_permits());
        self.not_before = Instant::now() + PACE * u32::try_from(clients).unwrap_or(u32::MAX);
    }

    /// Returns the messages of the next page, and moves the cursor past it. `newest` is the newest
    /// event before the call.
    async fn read(&mut self, newest: u64) -> std::result::Result<String, StoreError> {
        let Wanted { run, newest_only } = self.wanted;
        let page = match self.wanted {
            Wanted { run: None, newest_only: true } => self.recent.newest(newest).await?,
            wanted => self.recent.after(self.seq, wanted, newest).await?,
        };
        if let Some(page) = page {
            self.seq = page.to;
            return Ok(page.text);
        }
        let events = self.store.events(self.seq, run, PAGE).await?;
        let dropped = match run {
            None => events.first().is_none_or(|event| event.seq != self.seq + 1),
            Some(_) => self.store.oldest_event().await? > self.seq + 1,
        };
        if dropped {
            self.seq = newest;
            return reset(self.store.as_ref(), newest, "events were dropped before they were sent").await;
        }
        let whole_page = events.len() >= PAGE as usize;
        let last = events.last().map_or(self.seq, |event| event.seq);
        // If the page is not full, there are no more events for this client up to the newest.
        self.seq = if whole_page { last } else { last.max(newest) };
        let begin = if newest_only { events.len().saturating_sub(1) } else { 0 };
        Ok(events.iter().skip(begin).map(message).collect())
    }
}

/// Returns why events after `position` cannot be sent without a gap, if so.
async fn missed(
    store: &dyn MetadataStore,
    position: Position,
    newest: u64,
) -> std::result::Result<Option<String>, StoreError> {
    let Position { epoch, seq } = position;
    if seq > newest {
        return Ok(Some(format!("there is no event {seq} yet; the newest is {newest}")));
    }
    if seq == 0 {
        let oldest = store.oldest_event().await?;
        return Ok((oldest > 1).then(|| format!("events before {oldest} are no longer kept")));
    }
    let there = at(store, seq).await?;
    Ok(match (there, epoch) {
        (None, _) => Some(format!("event {seq} is no longer kept")),
        (Some(event), Some(epoch)) if event.epoch != epoch => {
            Some(format!("event {seq} of epoch {epoch} was lost; its number now belongs to another event"))
        }
        _ => None,
    })
}

async fn at(store: &dyn MetadataStore, seq: u64) -> std::result::Result<Option<Event>, StoreError> {
    let events = store.events(seq.saturating_sub(1), None, 1).await?;
    Ok(events.into_iter().find(|event| event.seq == seq))
}

/// Returns the id of a position. If no event is stored there, uses the current epoch.
async fn id(store: &dyn MetadataStore, seq: u64) -> std::result::Result<String, StoreError> {
    if seq == 0 {
        return Ok("0".to_owned());
    }
    let epoch = at(store, seq).await?.map_or_else(|| store.epoch(), |event| event.epoch);
    Ok(format!("{epoch}-{seq}"))
}

async fn reset(store: &dyn MetadataStore, newest: u64, why: &str) -> std::result::Result<String, StoreError> {
    let id = id(store, newest).await?;
    // Serializing a text and a number cannot fail.
    let data = serde_json::to_string(&ResetBody { reason: why.to_owned(), newest }).unwrap_or_default();
    Ok(format!("event: reset\nid: {id}\ndata: {data}\n\n"))
}

/// The data of a `reset` message: events were missed. What they are about must be fetched again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reset)]
pub(super) struct ResetBody {
    /// Why they were missed.
    reason: String,
    /// The sequence number of the newest event.
    newest: u64,
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn event_ids_have_an_optional_epoch_and_a_sequence() {
        assert_eq!(Position::parse("3-105"), Some(Position { epoch: Some(3), seq: 105 }));
        assert_eq!(Position::parse("105"), Some(Position { epoch: None, seq: 105 }));
        for bad in ["", "-", "3-", "-5", "3-x", "a", "1-2-3", "+"] {
            assert_eq!(Position::parse(bad), None, "{bad}");
        }
    }
}
