//! The interfaces that a guest can import: one file for each interface of `wit/pipeline.wit`. Every
//! host function goes through the [gate](access).
//!
//! `state` holds [`GuestState`], on which all interfaces are implemented. It imports the types of
//! its parts; the implementations import it.

pub(super) mod access;
pub(super) mod database;
pub(super) mod entries;
pub(super) mod files;
pub(super) mod http;
pub(super) mod inputs;
mod lines;
mod log;
pub(super) mod metadata;
mod observed;
pub(super) mod output;
pub(super) mod question;
mod resources;
mod run_context;
mod state;
mod trigger_context;
mod types;
pub(super) mod wasi;
mod wasi_drafts;

use wasmtime::component::{HasSelf, Linker};

use super::SandboxError;
use super::bindings::anacostia::pipeline as contract;

pub(super) use state::{GuestState, Work};

/// Links every interface that any action may import. Interfaces that need a grant are linked
/// separately: see [`http::link`].
pub(super) fn link(linker: &mut Linker<GuestState>) -> Result<(), SandboxError> {
    let mut link = || {
        link_all(linker)?;
        contract::run_context::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)?;
        contract::resources::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)?;
        contract::database::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)
    };
    link().map_err(|why| unlinked(&why))
}

/// Links every interface that a trigger component may import.
pub(super) fn link_for_triggers(linker: &mut Linker<GuestState>) -> Result<(), SandboxError> {
    let mut link = || {
        link_all(linker)?;
        contract::trigger_context::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)
    };
    link().map_err(|why| unlinked(&why))
}

/// Links the interfaces that actions and triggers share.
fn link_all(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    contract::types::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)?;
    contract::metadata::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)?;
    contract::log::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)?;
    wasi::link(linker)?;
    files::link(linker)?;
    wasi_drafts::link(linker)
}

fn unlinked(why: &wasmtime::Error) -> SandboxError {
    SandboxError::Engine(format!("the host functions cannot be linked: {why:#}"))
}
