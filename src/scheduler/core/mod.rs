//! The pure decisions of the scheduler, without a clock, I/O or randomness of their own.
//!
//! [`RunCore`] decides about one run, [`plan`] about when the next run starts. Both receive what
//! happened and what time it is, and return what to do; the dispatcher and the drivers do it. So a
//! test can simulate thousands of runs in a second, and a restarted host makes the same decision
//! again after a crash.

mod answers;
mod condition;
mod evaluation;
mod groups;
mod history;
mod run;
#[cfg(test)]
mod simulation;
mod situation;
mod slots;
mod trigger;
#[cfg(test)]
mod trigger_simulation;
#[cfg(test)]
mod trigger_tests;
mod waiting;
mod waits;

pub use answers::{Asked, Basis, Said};
pub use groups::{Added, GroupSeen, Groups, Look};
pub use history::{AfterRunCondition, History};
pub use run::{CRASH_LOOP, Event, Rule, RunCore, Start};
pub use situation::{BEING_SCANNED, Situation};
pub use slots::{SlotUse, Slots, TicketId, WAITS_FOR};
pub use trigger::{Ask, Fire, Plan, Preview, all_new, plan, preview};
pub use waiting::Waiting;
