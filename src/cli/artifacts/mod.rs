//! `anacostia artifacts`: the records of data, and the data itself.

mod cat;
mod find;
mod lineage;
mod list;
mod show;
mod waiting;

use super::{End, Failure};
pub(crate) use find::{ArtifactRef, find};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// List artifacts, newest first
    List(list::Args),
    /// Show one artifact: its record, who wrote it and who read it
    Show(show::Args),
    /// Show what an artifact was made from, and what was made from it
    Lineage(lineage::Args),
    /// Write the bytes of an artifact to standard output, if they are still there
    Cat(cat::Args),
}

pub(crate) fn artifacts(verb: Verb) -> Result<End, Failure> {
    match verb {
        Verb::List(args) => list::list(args),
        Verb::Show(args) => show::show(&args),
        Verb::Lineage(args) => lineage::lineage(&args),
        Verb::Cat(args) => cat::cat(&args),
    }
}
