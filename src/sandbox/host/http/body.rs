//! The bodies of a request and its response. Both are counted, bounded, and checked for stalls.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::bytes::Bytes;
use wasmtime_wasi_http::{Error, WasiBody};

use super::request_error::RequestError;
use super::request_log::Ticket;

/// The error that the sender of a request gets if the body ends early. The guest gets the reason
/// from [`UploadWatch::broke`].
#[derive(Debug, thiserror::Error)]
#[error("the body of the request ended early")]
pub(super) struct BrokenOff;

/// The state of a request's body, as seen by the task that waits for the response.
#[derive(Debug)]
pub(super) struct UploadWatch(Mutex<Upload>);

#[derive(Debug)]
struct Upload {
    /// When the network last accepted data.
    last: Instant,
    /// Whether the guest must provide more data before the request can continue.
    waits_for_guest: bool,
    broke: Option<Broke>,
}

/// Why the body of a request ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broke {
    /// The body exceeds its limit.
    TooLarge,
    /// The guest dropped the body before its end.
    GivenUp,
}

impl UploadWatch {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Upload { last: Instant::now(), waits_for_guest: false, broke: None })))
    }

    /// Returns why the body ended early, if it did.
    pub(super) fn broke(&self) -> Option<Broke> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).broke
    }

    /// Returns when the network has been stalled for `wait`. Time in which the request waits for
    /// the guest does not count, because the guest's own limits cover it.
    pub(super) async fn stands_still(&self, wait: Duration) {
        loop {
            let (last, waits_for_guest) = {
                let upload = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                (upload.last, upload.waits_for_guest)
            };
            let still = last.elapsed();
            match wait.checked_sub(still).filter(|left| !left.is_zero()) {
                _ if waits_for_guest => sleep(wait).await,
                Some(left) => sleep(left).await,
                None => return,
            }
        }
    }

    fn note(&self, waits_for_guest: bool, broke: Option<Broke>) {
        let mut upload = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        upload.last = Instant::now();
        upload.waits_for_guest = waits_for_guest;
        upload.broke = upload.broke.or(broke);
    }
}

/// The body of a request, produced by the guest.
pub(super) struct RequestBody {
    pub(super) inner: WasiBody,
    /// Bytes that may still come.
    pub(super) left: u64,
    pub(super) ticket: Arc<Ticket>,
    pub(super) watch: Arc<UploadWatch>,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
            self.watch.note(true, None);
            return Poll::Pending;
        };
        let broke = match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                match self.left.checked_sub(bytes) {
                    Some(left) => {
                        self.left = left;
                        self.ticket.sent(bytes);
                        None
                    }
                    None => Some(Broke::TooLarge),
                }
            }
            Some(Err(_)) => Some(Broke::GivenUp),
            None => None,
        };
        self.watch.note(false, broke);
        Poll::Ready(match (broke, frame) {
            (None, Some(Ok(frame))) => Some(Ok(frame)),
            (None, _) => None,
            (Some(_), _) => Some(Err(BrokenOff)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of a response, consumed by the guest.
pub(super) struct AnswerBody {
    pub(super) inner: Incoming,
    /// Bytes that may still come.
    pub(super) left: u64,
    /// The maximum wait for the next part.
    pub(super) wait: Duration,
    /// The timer, active while the guest waits.
    pub(super) waiting: Option<Pin<Box<Sleep>>>,
    pub(super) ticket: Arc<Ticket>,
    pub(super) reporter: super::request_error::ErrorReporter,
    /// Holds the place of the request among the concurrent requests of the attempt.
    pub(super) _slot: OwnedSemaphorePermit,
}

impl AnswerBody {
    fn fail(&mut self, error: RequestError) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Poll::Ready(Some(Err(self.reporter.report(&self.ticket, error))))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.waiting = None;
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                let Some(left) = self.left.checked_sub(bytes) else { return self.fail(RequestError::AnswerTooLarge) };
                self.left = left;
                self.ticket.received(bytes);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(why))) => self.fail(RequestError::Broken(why)),
            Poll::Ready(None) => {
                self.ticket.answered();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let wait = self.wait;
                let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(wait)));
                match waiting.as_mut().poll(context) {
                    Poll::Ready(()) => self.fail(RequestError::Silent(wait)),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        // If the guest drops the body before its end, the response counts as complete.
        self.ticket.answered();
    }
}
