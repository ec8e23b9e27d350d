//! Floor 6: what runs when.
//!
//! One decides, others do. [`core`] is pure: it is told what happened and says what is to be done.
//! The *dispatcher*, one task, decides when runs start; a *driver*, one task a run, puts each step
//! of it on record and starts what the step says; an *executor*, one task an attempt, runs the
//! guest and publishes. They share no state and talk by bounded channels. The store is the truth: a
//! step is written before it is acted on, so that after a `kill -9` the next host begins from the
//! record and nothing else.
//!
//! Rejected: one loop for all runs (it would wait for each of its transactions, where drivers wait
//! side by side and share one commit), and a queue table that executors poll (milliseconds of
//! latency, and work when there is none).

mod abandon;
mod at_work;
mod control;
mod control_impl;
pub mod core;
mod definition;
mod dispatcher;
mod driver;
mod error;
mod executor;
mod health;
mod host;
mod library;
mod messages;
mod parts;
mod recorder;
mod reload;
mod retention;
mod shared;
mod space;
mod stepper;
mod supervise;
mod tidy;

pub use at_work::Tally;
pub use control::{Control, InForce, View};
pub use error::StartError;
pub use host::{Host, Options};
pub use parts::Parts;
pub use reload::ReloadError;
pub use space::{GivenBack, Space};
