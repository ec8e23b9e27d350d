//! `anacostia store`: looks after the metadata store.

mod backup;
mod check;
mod copy;
mod stats;

use super::{End, Failure};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Show what each part of the records takes on disk
    Stats(stats::Args),
    /// Look for damage, and for records that contradict each other
    Check(check::Args),
    /// Copy records, logs and components to a new folder, also while a host is running
    Backup(backup::Args),
    /// Copy all records to another store, which may be of another kind
    Copy(copy::Args),
}

pub(crate) fn upkeep(verb: &Verb) -> Result<End, Failure> {
    match verb {
        Verb::Stats(args) => stats::stats(args),
        Verb::Check(args) => check::check(args),
        Verb::Backup(args) => backup::backup(args),
        Verb::Copy(args) => copy::copy(args),
    }
}
