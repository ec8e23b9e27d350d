//! The signals that stop a host.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::Failure;

/// The same signal within this time is the same request: `timeout` of the GNU core utilities sends
/// SIGTERM to its child and then to the whole group, and so the child gets it twice.
const SAME_REQUEST: Duration = Duration::from_millis(250);

/// Which signal came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// SIGINT: a person pressed Ctrl-C.
    Interrupt,
    /// SIGTERM: a supervisor.
    Terminate,
    /// SIGHUP: the terminal was closed.
    HangUp,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "interrupted",
            Self::Terminate => "asked to terminate",
            Self::HangUp => "the terminal was closed",
        })
    }
}

/// Listens for the signals. Once this exists, none of them kills the process.
#[derive(Debug)]
pub(crate) struct Stops {
    interrupt: Signal,
    terminate: Signal,
    /// `None` if SIGHUP is ignored, as under `nohup`, and after the first one: a closing terminal
    /// sends it more than once, and a second signal would stop the host at once.
    hang_up: Option<Signal>,
    last: Option<(Stop, Instant)>,
}

impl Stops {
    pub(crate) fn listen() -> Result<Self, Failure> {
        let hang_up = if hang_up_is_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hang_up, last: None })
    }

    /// Waits for the next request to stop. Safe to drop: a signal that has arrived is not lost.
    pub(crate) async fn next(&mut self) -> Stop {
        loop {
            let now = (self.signal().await, Instant::now());
            let before = self.last.replace(now);
            if !is_same_request(before, now) {
                return now.0;
            }
        }
    }

    async fn signal(&mut self) -> Stop {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
            _ = hang_up => {
                self.hang_up = None;
                Stop::HangUp
            }
        }
    }
}

/// Returns whether a signal belongs to the same request as the one before.
fn is_same_request(before: Option<(Stop, Instant)>, now: (Stop, Instant)) -> bool {
    before.is_some_and(|(stop, at)| stop == now.0 && now.1.duration_since(at) <= SAME_REQUEST)
}

/// Whether the parent process made this process ignore SIGHUP (`nohup`).
fn hang_up_is_ignored() -> bool {
    // SAFETY: all zero bytes are a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: no action is set, and the current one is written to a valid local variable.
    let asked = unsafe { libc::sigaction(libc::SIGHUP, std::ptr::null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

#[cfg(test)]
mod tests {
    use super::{Instant, SAME_REQUEST, Stop, is_same_request};

    #[test]
    fn the_same_signal_at_once_is_the_same_request() {
        let first = Instant::now();
        let before = Some((Stop::Terminate, first));
        assert!(!is_same_request(None, (Stop::Terminate, first)));
        assert!(is_same_request(before, (Stop::Terminate, first + SAME_REQUEST)));
        assert!(!is_same_request(before, (Stop::Terminate, first + 2 * SAME_REQUEST)), "someone has asked again");
        assert!(!is_same_request(before, (Stop::Interrupt, first)), "someone else asks");
    }
}
