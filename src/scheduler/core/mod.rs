//! The pure decisions of the scheduler, without a clock, I/O or randomness of their own.
//!
//! [`RunCore`] decides about one run, [`plan`] about when the next run starts. Both receive what
//! happened and what time it is, and return what to do; the dispatcher and the drivers do it. So a
//! test can simulate thousands of runs in a second, and a restarted host makes the same decision
//! again after a crash.

mod run;
#[cfg(test)]
mod simulation;
mod trigger;
mod waiting;

pub use run::{CRASH_LOOP, Event, Rule, RunCore, Start};
pub use trigger::{Fire, Plan, Situation, plan};
pub use waiting::Waiting;
