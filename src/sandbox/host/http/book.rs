//! What an attempt asked for over the network: every request is counted, those that came first are
//! kept one by one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::base::bounds::cut;
use crate::base::escape;
use crate::model::{Denial, HttpRequest, RequestOutcome};
use crate::sandbox::mask::Masker;
use crate::sandbox::order::{MAX_DENIALS, MAX_REQUESTS};

/// Most requests of an attempt at once.
pub(super) const MAX_CONCURRENT: usize = 16;

/// Longest text of a request that is kept, in bytes.
const MAX_TEXT_BYTES: usize = 200;
/// Longest error of a request that is kept, in bytes.
const MAX_ERROR_BYTES: usize = 1_000;

/// The book of one attempt.
#[derive(Default)]
pub(super) struct Book {
    masker: Arc<Masker>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: Vec<Entry>,
    denials: Vec<Denial>,
    totals: Totals,
}

struct Entry {
    request: HttpRequest,
    began: Instant,
    ended: bool,
}

/// All requests of an attempt together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::sandbox) struct Totals {
    /// How many.
    pub(in crate::sandbox) requests: u64,
    /// Bytes of their bodies.
    pub(in crate::sandbox) sent: u64,
    /// Bytes of the bodies of the answers.
    pub(in crate::sandbox) received: u64,
}

/// What the book holds in the end.
#[derive(Default)]
pub(in crate::sandbox) struct Requests {
    /// Those that are kept.
    pub(in crate::sandbox) kept: Vec<HttpRequest>,
    /// All of them.
    pub(in crate::sandbox) totals: Totals,
    /// Those that were refused, with the manifest lines that would grant them.
    pub(in crate::sandbox) denials: Vec<Denial>,
}

impl Book {
    /// An empty book, whose texts are without these secrets.
    pub(super) fn new(masker: Arc<Masker>) -> Arc<Self> {
        Arc::new(Self { masker, state: Mutex::default() })
    }

    /// A request begins. Also says how many there are with it.
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
        let place = (state.kept.len() < MAX_REQUESTS).then_some(state.kept.len());
        if place.is_some() {
            state.kept.push(Entry { request, began: Instant::now(), ended: false });
        }
        let count = state.totals.requests;
        drop(state);
        (Ticket { book: Arc::clone(self), place }, count)
    }

    /// Whoever is not at an end by now never will be: what the book holds.
    pub(super) fn close(&self) -> Requests {
        let State { mut kept, denials, totals } = std::mem::take(&mut *self.state());
        for entry in kept.iter_mut().filter(|entry| !entry.ended) {
            entry.request.duration_us = micros(entry.began);
        }
        Requests { kept: kept.into_iter().map(|entry| entry.request).collect(), totals, denials }
    }

    /// `text` without secrets and control characters.
    pub(super) fn clean(&self, text: &str, max: usize) -> String {
        cut(&escape(self.masker.mask_cut(text, max).as_bytes()), max).into_owned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request of the book. When it goes without an end, nobody waited for the answer.
pub(super) struct Ticket {
    book: Arc<Book>,
    /// Where it is kept, if it is.
    place: Option<usize>,
}

impl Ticket {
    /// Bytes of the body are handed to the network.
    pub(super) fn sent(&self, bytes: u64) {
        let mut state = self.book.state();
        state.totals.sent = state.totals.sent.saturating_add(bytes);
        self.note(&mut state, |request| request.bytes_sent += bytes);
    }

    /// Bytes of the answer came.
    pub(super) fn received(&self, bytes: u64) {
        let mut state = self.book.state();
        state.totals.received = state.totals.received.saturating_add(bytes);
        self.note(&mut state, |request| request.bytes_received += bytes);
    }

    /// The head of the answer came.
    pub(super) fn status(&self, status: u16) {
        self.note(&mut self.book.state(), |request| request.status = Some(status));
    }

    /// Nothing more of the answer is wanted, or there is nothing more.
    pub(super) fn answered(&self) {
        self.end(RequestOutcome::Answered, None);
    }

    /// It failed. Whether that is kept, so that it is worth a line in the log.
    pub(super) fn failed(&self, why: &str) -> bool {
        self.end(RequestOutcome::Failed, Some(self.book.clean(why, MAX_ERROR_BYTES)))
    }

    /// It was refused: `message` says what would grant it.
    pub(super) fn denied(&self, call: &str, target: &str, message: &str) {
        let message = self.book.masker.mask(message).into_owned();
        let target = self.book.masker.mask(target).into_owned();
        self.end(RequestOutcome::Denied, Some(cut(&message, MAX_ERROR_BYTES).into_owned()));
        let mut state = self.book.state();
        if state.denials.len() < MAX_DENIALS {
            state.denials.push(Denial { call: call.to_owned(), target, message });
        }
    }

    /// Sets the end, once.
    fn end(&self, outcome: RequestOutcome, error: Option<String>) -> bool {
        let mut state = self.book.state();
        let Some(entry) = self.place.and_then(|place| state.kept.get_mut(place)).filter(|entry| !entry.ended) else {
            return false;
        };
        entry.ended = true;
        entry.request.outcome = outcome;
        entry.request.error = error;
        entry.request.duration_us = micros(entry.began);
        true
    }

    fn note(&self, state: &mut State, change: impl FnOnce(&mut HttpRequest)) {
        if let Some(entry) = self.place.and_then(|place| state.kept.get_mut(place)) {
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
