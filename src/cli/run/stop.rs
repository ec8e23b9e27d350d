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
            let stop = self.signal().await;
            let before = self.last.replace((stop, Instant::now()));
            if before.is_none_or(|(kind, at)| kind != stop || at.elapsed() > SAME_REQUEST) {
                return stop;
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

/// Whether the parent process made this process ignore SIGHUP (`nohup`).
fn hang_up_is_ignored() -> bool {
    // SAFETY: all zero bytes are a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: no action is set, and the current one is written to a valid local variable.
    let asked = unsafe { libc::sigaction(libc::SIGHUP, std::ptr::null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}
