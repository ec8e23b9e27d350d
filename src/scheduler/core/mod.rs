//! The decisions, and nothing else: no clock, no I/O, no randomness of their own.
//!
//! [`RunCore`] decides about one run, [`plan`] about when the next run starts. Both are told what
//! happened and what time it is, and answer with what is to be done; the dispatcher and the drivers
//! do it. So thousands of runs can be simulated in a second, and the same decision is made again
//! after a crash.

mod run;
#[cfg(test)]
mod simulation;
mod trigger;
mod waiting;

pub use run::{CRASH_LOOP, Event, Rule, RunCore, Start};
pub use trigger::{Fire, Plan, Situation, plan};
pub use waiting::Waiting;
