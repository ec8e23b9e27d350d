//! Floor 6: decides what runs when, and runs it.
//!
//! Decisions are separate from actions. [`core`] is pure: it receives events, and returns what to
//! do. The *dispatcher*, one task, decides when runs start. A *driver*, one task for each run, puts
//! each step of the run on record, then starts the attempts of the step. An *executor*, one task
//! for each attempt, runs the guest and publishes its outputs. They communicate through bounded
//! channels. A step is written to the store before anything acts on it, so after a `kill -9` the
//! next host continues from the record alone.
//!
//! Rejected: one loop for all runs (it would wait for each of its transactions, whereas drivers
//! wait concurrently and share a commit), and a queue table that executors poll (milliseconds of
//! latency, and polling when there is no work).

mod abandon;
mod answered;
mod asking;
mod at_work;
mod cache;
mod cleanup;
mod control;
mod control_impl;
pub mod core;
mod definition;
mod disk;
mod dispatcher;
mod driver;
mod error;
mod executor;
mod groups;
mod health;
mod history;
mod host;
mod kept;
mod kept_components;
mod library;
mod log_gate;
mod messages;
mod new_run;
mod old_runs;
mod parts;
mod pauses;
mod preview;
mod recorder;
mod reload;
mod replay;
mod retention;
mod retry_from;
mod run_diff;
mod shared;
mod slots;
mod space;
mod starting;
mod stepper;
mod supervise;

pub use self::core::{GroupSeen, Preview, SlotUse};
pub use at_work::Tally;
pub use control::{Control, InForce, Inputs, View};
pub use error::StartError;
pub use host::{Host, Options};
pub use kept_components::KeptComponents;
pub use parts::Parts;
pub use preview::preview_triggers;
pub use reload::ReloadError;
pub use replay::{Difference, Replayed, Replays, Verdict};
pub use retry_from::{actions_from, graph_of_run, pipeline_of_run};
pub use run_diff::diff_runs;
pub use space::{FreedSpace, GivenBack, Space};
pub use supervise::supervise;
