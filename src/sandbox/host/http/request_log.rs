//! Records the HTTP requests of an attempt. All requests are counted; the first ones are also
//! recorded one by one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::base::bounds::cut;
use crate::base::escape;
use crate::model::{Denial, HttpRequest, RequestOutcome};
use crate::sandbox::mask::Masker;
use crate::sandbox::order::{MAX_DENIALS, MAX_REQUESTS};

/// The maximum number of concurrent requests of an attempt.
pub(super) const MAX_CONCURRENT: usize = 16;

/// Maximum length of a recorded text of a request, in bytes.
const MAX_TEXT_BYTES: usize = 200;
/// Maximum length of a recorded error of a request, in bytes.
const MAX_ERROR_BYTES: usize = 1_000;

/// The record of the requests of one attempt.
#[derive(Default)]
pub(super) struct RequestLog {
    masker: Arc<Masker>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    recorded: Vec<Entry>,
    denials: Vec<Denial>,
    totals: Totals,
}

struct Entry {
    request: HttpRequest,
    began: Instant,
    ended: bool,
}

/// The totals over all requests of an attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::sandbox) struct Totals {
    /// The number of requests.
    pub(in crate::sandbox) requests: u64,
    /// Bytes of request bodies.
    pub(in crate::sandbox) sent: u64,
    /// Bytes of response bodies.
    pub(in crate::sandbox) received: u64,
}

/// The final record.
#[derive(Default)]
pub(in crate::sandbox) struct Requests {
    /// The requests that are recorded one by one.
    pub(in crate::sandbox) recorded: Vec<HttpRequest>,
    /// The totals over all requests.
    pub(in crate::sandbox) totals: Totals,
    /// Denied requests, with the manifest lines that would grant them.
    pub(in crate::sandbox) denials: Vec<Denial>,
}

impl RequestLog {
    /// Creates an empty record. Its texts are masked by `masker`.
    pub(super) fn new(masker: Arc<Masker>) -> Arc<Self> {
        Arc::new(Self { masker, state: Mutex::default() })
    }

    /// Starts a request. Also returns the number of requests so far, including this one.
    pub(super) fn begin(self: &Arc<Self>, request: &hyper::http::request::Parts) -> (Ticket, u64) {
        let (uri, text) = (&request.uri, |text: &str| self.clean(text, MAX_TEXT_BYTES));
        let query = if uri.query().is_some() { "?…" } else { "" };
        let request = HttpRequest {
            method: text(request.method.as_str()),
            scheme: text(uri.scheme_str().unwrap_or_default()),
            authority: text(uri.authority().map_or("", |authority| authority.as_str())),
            path: format!("{}{query}", text(uri.path())),
            outcome: RequestOutcome::Unfinished,
            status: None,
            bytes_sent: 0,
            bytes_received: 0,
            duration_us: 0,
            error: None,
        };
        let mut state = self.state();
        state.totals.requests += 1;
        let place = (state.recorded.len() < MAX_REQUESTS).then_some(state.recorded.len());
        if place.is_some() {
            state.recorded.push(Entry { request, began: Instant::now(), ended: false });
        }
        let count = state.totals.requests;
        drop(state);
        (Ticket { request_log: Arc::clone(self), place }, count)
    }

    /// Closes the record and returns it. Requests that have not ended by now will not end.
    pub(super) fn close(&self) -> Requests {
        let State { mut recorded, denials, totals } = std::mem::take(&mut *self.state());
        for entry in recorded.iter_mut().filter(|entry| !entry.ended) {
            entry.request.duration_us = micros(entry.began);
        }
        Requests { recorded: recorded.into_iter().map(|entry| entry.request).collect(), totals, denials }
    }

    /// Returns `text` without secrets and control characters.
    pub(super) fn clean(&self, text: &str, max: usize) -> String {
        cut(&escape(self.masker.mask_cut(text, max).as_bytes()), max).into_owned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One recorded request. If it is dropped before it ends, the guest did not wait for the response.
pub(super) struct Ticket {
    request_log: Arc<RequestLog>,
    /// Its index among the recorded requests, if it is one of them.
    place: Option<usize>,
}

impl Ticket {
    /// Counts bytes of the request body that were passed to the network.
    pub(super) fn sent(&self, bytes: u64) {
        let mut state = self.request_log.state();
        state.totals.sent = state.totals.sent.saturating_add(bytes);
        self.note(&mut state, |request| request.bytes_sent += bytes);
    }

    /// Counts bytes of the response body.
    pub(super) fn received(&self, bytes: u64) {
        let mut state = self.request_log.state();
        state.totals.received = state.totals.received.saturating_add(bytes);
        self.note(&mut state, |request| request.bytes_received += bytes);
    }

    /// Records the status of the response.
    pub(super) fn status(&self, status: u16) {
        self.note(&mut self.request_log.state(), |request| request.status = Some(status));
    }

    /// Ends the request: the response is complete, or the guest does not want the rest.
    pub(super) fn answered(&self) {
        self.end(RequestOutcome::Answered, None);
    }

    /// Ends the request with an error. Returns whether the error was recorded, and should also be
    /// logged.
    pub(super) fn failed(&self, why: &str) -> bool {
        self.end(RequestOutcome::Failed, Some(self.request_log.clean(why, MAX_ERROR_BYTES)))
    }

    /// Ends the request with a denial. `message` says how to grant it.
    pub(super) fn denied(&self, call: &str, target: &str, message: &str) {
        let message = self.request_log.masker.mask(message).into_owned();
        let target = self.request_log.masker.mask(target).into_owned();
        self.end(RequestOutcome::Denied, Some(cut(&message, MAX_ERROR_BYTES).into_owned()));
        let mut state = self.request_log.state();
        if state.denials.len() < MAX_DENIALS {
            state.denials.push(Denial { call: call.to_owned(), target, message });
        }
    }

    /// Records the end of the request, once.
    fn end(&self, outcome: RequestOutcome, error: Option<String>) -> bool {
        let mut state = self.request_log.state();
        let Some(entry) = self.place.and_then(|place| state.recorded.get_mut(place)).filter(|entry| !entry.ended)
        else {
            return false;
        };
        entry.ended = true;
        entry.request.outcome = outcome;
        entry.request.error = error;
        entry.request.duration_us = micros(entry.began);
        true
    }

    fn note(&self, state: &mut State, change: impl FnOnce(&mut HttpRequest)) {
        if let Some(entry) = self.place.and_then(|place| state.recorded.get_mut(place)) {
            change(&mut entry.request);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.end(RequestOutcome::Unfinished, None);
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}
