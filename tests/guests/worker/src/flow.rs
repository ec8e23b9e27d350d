//! Steps about the attempt itself: its duration, its log, and how it ends.

use std::collections::HashSet;
use std::hint::black_box;

use anacostia_guest::log::Level;
use anacostia_guest::{Error, Outcome, Result, log, run_context, write_all};
use serde::Deserialize;
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::random::{insecure, random};

use crate::text::fill;
use crate::{Step, perform};

/// Logs `message`, `times` times, at `level`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    message: String,
    #[serde(default = "info")]
    level: String,
    #[serde(default = "once")]
    times: u64,
}

fn info() -> String {
    "info".to_owned()
}

fn once() -> u64 {
    1
}

impl Log {
    pub fn perform(&self) {
        let level = match self.level.as_str() {
            "debug" => Level::Debug,
            "warn" => Level::Warn,
            "error" => Level::Error,
            _ => Level::Info,
        };
        for n in 1..=self.times {
            log::line(level, &fill(&self.message), &[("n", &n)]);
        }
    }
}

/// Reports progress.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    fraction: f64,
    #[serde(default)]
    message: String,
}

impl Progress {
    pub fn perform(&self) {
        run_context::progress(self.fraction, &self.message);
    }
}

/// Fails on the first `attempts` attempts (by default on all). With `one_in`, fails only in about
/// one of that many runs and attempts, always the same ones.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fail {
    attempts: Option<u32>,
    one_in: Option<u64>,
    #[serde(default)]
    retryable: bool,
    code: Option<String>,
    message: Option<String>,
}

impl Fail {
    pub fn perform(&self) -> Result<()> {
        let info = run_context::info();
        let early = self.attempts.is_none_or(|attempts| info.attempt <= attempts);
        let unlucky = self.one_in.is_none_or(|one_in| {
            lot(&[info.action.as_bytes(), &info.run_number.to_le_bytes(), &info.attempt.to_le_bytes()])
                .is_multiple_of(one_in.max(1))
        });
        if !(early && unlucky) {
            return Ok(());
        }
        let message = self.message.as_deref().unwrap_or("attempt {attempt} fails, as its params say");
        Err(Error {
            code: self.code.clone().unwrap_or_else(|| "failed".to_owned()),
            message: fill(message),
            retryable: self.retryable,
        })
    }
}

/// FNV-1a, with its high bits mixed into the low ones: the result for the same parts is the same on
/// every machine.
fn lot(parts: &[&[u8]]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for &byte in parts.iter().copied().flatten() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^ (hash >> 32)
}

/// Reads the clock, and logs `it is SECONDS`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {}

impl Clock {
    pub fn perform(&self) {
        log::info(&format!("it is {}", wall_clock::now().seconds), &[]);
    }
}

/// Asks for a random number, and logs `drawn NUMBER`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Random {}

impl Random {
    pub fn perform(&self) {
        log::info(&format!("drawn {}", random::get_random_u64()), &[]);
    }
}

/// Writes what the clocks, the insecure random numbers and the host say, and the order of a hash
/// table; with `secure`, also a secure random number.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    to: String,
    path: String,
    #[serde(default)]
    secure: bool,
}

impl Told {
    pub fn perform(&self) -> Result<()> {
        let [one, other] = [(); 2].map(|()| (wall_clock::now(), monotonic_clock::now()));
        let numbers = [insecure::get_insecure_random_u64(), insecure::get_insecure_random_u64()];
        let bytes = insecure::get_insecure_random_bytes(5);
        let order: Vec<u32> = (0..50).collect::<HashSet<_>>().into_iter().collect();
        let secret = self.secure.then(random::get_random_u64);
        let deadline = run_context::info().deadline;
        let text = format!("{one:?} {other:?}\n{numbers:?} {bytes:?}\n{order:?}\n{deadline:?}\n{secret:?}\n");
        write_all(&self.to, &self.path, text.as_bytes()).map(drop)
    }
}

/// Panics on the first `attempts` attempts (by default on all).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Panic {
    attempts: Option<u32>,
}

impl Panic {
    pub fn perform(&self) {
        let attempt = run_context::info().attempt;
        assert!(
            self.attempts.is_some_and(|attempts| attempt > attempts),
            "attempt {attempt} panics, as its params say"
        );
    }
}

/// Ends the action with a skip.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skip {
    reason: String,
}

impl Skip {
    pub fn perform(&self) -> Outcome {
        Outcome::Skip(fill(&self.reason))
    }
}

/// Ends the action with `text`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    text: Option<String>,
}

impl Done {
    pub fn perform(&self) -> Outcome {
        Outcome::Done(self.text.as_deref().map(fill))
    }
}

/// Uses the CPU for `rounds` rounds of a loop, about a nanosecond each.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spin {
    rounds: u64,
}

impl Spin {
    pub fn perform(&self) {
        let mut x = 0_u64;
        for n in 0..self.rounds {
            x = black_box(x.wrapping_add(n));
        }
    }
}

/// Waits without using the CPU. Calls WASI directly, because the standard library of some targets
/// has no clocks, and panics.
pub fn sleep_ms(ms: u64) {
    monotonic_clock::subscribe_duration(ms.saturating_mul(1_000_000)).block();
}

/// Waits without using the CPU.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sleep {
    ms: u64,
}

impl Sleep {
    pub fn perform(&self) {
        sleep_ms(self.ms);
    }
}

/// Allocates `bytes` bytes of memory, and frees them (inside the guest: its memory does not
/// shrink).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allocate {
    bytes: usize,
}

impl Allocate {
    pub fn perform(&self) {
        black_box(vec![1_u8; self.bytes]);
    }
}

/// Waits until the run is being cancelled, then ends with the error `cancelled`, or with
/// `then = "done"` as if it had not been cancelled. Logs `awaiting cancel` at the beginning. With
/// `deaf = true` does not check, and waits forever.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwaitCancel {
    then: Option<String>,
    #[serde(default)]
    deaf: bool,
}

impl AwaitCancel {
    pub fn perform(&self) -> Result<Outcome> {
        log::info("awaiting cancel", &[]);
        while self.deaf || !run_context::cancelled() {
            sleep_ms(5);
        }
        match self.then.as_deref() {
            Some("done") => Ok(Outcome::Done(Some("done, though cancelled".to_owned()))),
            _ => {
                let message = "stopped as asked".to_owned();
                Err(Error { code: "cancelled".to_owned(), message, retryable: false })
            }
        }
    }
}

/// Executes `step`, and fails unless it fails with `code`. Logs the message of its error as
/// `expected CODE: MESSAGE`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    code: String,
    step: Box<Step>,
}

impl Expect {
    pub fn perform(&self) -> Result<()> {
        match perform(&self.step) {
            Err(error) if error.code == self.code => {
                log::info(&format!("expected {}: {}", error.code, error.message), &[]);
                Ok(())
            }
            Err(error) => {
                Err(Error::permanent(format!("expected {}, saw {}: {}", self.code, error.code, error.message)))
            }
            Ok(_) => Err(Error::permanent(format!("expected {}, and nothing failed", self.code))),
        }
    }
}
