//! `anacostia runs`: shows runs, cancels or retries them, and decides about approvals.

mod decide;
mod diff;
mod list;
mod logs;
mod show;
mod steer;

use super::{End, Failure};
use crate::model::Verdict;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// List runs, newest first
    List(list::Args),
    /// Show one run: inputs, actions, attempts
    Show(show::Args),
    /// Show what differs between two runs
    Diff(diff::Args),
    /// Show what a run's actions logged
    Logs(logs::Args),
    /// Request that a run be cancelled
    Cancel(steer::Args),
    /// Approve an action that waits for it
    Approve(decide::Args),
    /// Reject an action that waits for approval: it has failed
    Reject(decide::Args),
    /// Retry a failed or cancelled run: what failed or was skipped, or all of it with `--current`
    Retry(steer::RetryArgs),
}

pub(crate) fn runs(verb: Verb) -> Result<End, Failure> {
    match verb {
        Verb::List(args) => list::list(&args),
        Verb::Show(args) => show::show(&args),
        Verb::Diff(args) => diff::diff(&args),
        Verb::Logs(args) => logs::logs(&args),
        Verb::Cancel(args) => steer::steer(&args, steer::What::Cancel),
        Verb::Approve(args) => decide::decide(&args, Verdict::Approved),
        Verb::Reject(args) => decide::decide(&args, Verdict::Rejected),
        Verb::Retry(args) => steer::retry(&args),
    }
}
