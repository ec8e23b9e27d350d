//! `anacostia models`: the model registry.
//!
//! As with `runs approve`, a running host is asked over HTTP to change it; without one, the change
//! is recorded in the store.

mod card;
mod list;
mod promote;
mod register;
mod show;
mod target;

use super::{End, Failure};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// List the registered models, and what their aliases name
    List(list::Args),
    /// Show one model: its versions, the moves of its aliases, its card
    Show(show::Args),
    /// Register an artifact as the next version of a model
    Register(register::Args),
    /// Give a model a card: what it is for and how far it can be trusted, in Markdown
    Card(card::Args),
    /// Make an alias of a model, such as `production`, name a version
    Promote(promote::PromoteArgs),
    /// Make an alias name the version again that it named before the last promotion
    Rollback(promote::RollbackArgs),
}

pub(crate) fn models(verb: Verb) -> Result<End, Failure> {
    match verb {
        Verb::List(args) => list::list(args),
        Verb::Show(args) => show::show(&args),
        Verb::Register(args) => register::register(&args),
        Verb::Card(args) => card::card(&args),
        Verb::Promote(args) => promote::promote(args),
        Verb::Rollback(args) => promote::roll_back(args),
    }
}
