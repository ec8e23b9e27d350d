//! The tests of the scheduler, and those that kill the host, once more over records in PostgreSQL.
//! The name of this module gives their pipelines the store: see `support::any_store`.

#[path = "approvals.rs"]
mod approvals;
#[path = "concurrency.rs"]
mod concurrency;
#[path = "crash.rs"]
mod crash;
#[path = "faults.rs"]
mod faults;
#[path = "pauses.rs"]
mod pauses;
#[path = "publishing.rs"]
mod publishing;
#[path = "restart.rs"]
mod restart;
#[path = "retention.rs"]
mod retention;
#[path = "retry_from.rs"]
mod retry_from;
#[path = "runs.rs"]
mod runs;
#[path = "triggers.rs"]
mod triggers;
