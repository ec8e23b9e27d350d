//! `anacostia runs`: shows runs, and cancels or retries them.

mod list;
mod logs;
mod show;
mod steer;

use super::{End, Failure};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// List runs, newest first
    List(list::Args),
    /// Show one run: inputs, actions, attempts
    Show(show::Args),
    /// Show what a run's actions logged
    Logs(logs::Args),
    /// Ask a run to end
    Cancel(steer::Args),
    /// Retry a failed or cancelled run: what failed or was skipped, or all of it with `--current`
    Retry(steer::RetryArgs),
}

pub(crate) fn runs(verb: Verb) -> Result<End, Failure> {
    match verb {
        Verb::List(args) => list::list(args),
        Verb::Show(args) => show::show(&args),
        Verb::Logs(args) => logs::logs(&args),
        Verb::Cancel(args) => steer::steer(&args, steer::What::Cancel),
        Verb::Retry(args) => steer::retry(&args),
    }
}
