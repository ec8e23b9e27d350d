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
mod inputs;
mod lines;
mod log;
mod metadata;
pub(super) mod output;
mod resources;
mod run_context;
mod state;
mod types;
pub(super) mod wasi;
mod wasi_drafts;

use wasmtime::component::{HasSelf, Linker};

use super::SandboxError;
use super::bindings::GuestWithHooks;

pub(super) use state::{GuestState, Work};

/// Links every interface that any guest may import. Interfaces that need a grant are linked
/// separately: see [`http::link`].
pub(super) fn link(linker: &mut Linker<GuestState>) -> Result<(), SandboxError> {
    let failed = |why: wasmtime::Error| SandboxError::Engine(format!("the host functions cannot be linked: {why:#}"));
    GuestWithHooks::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state).map_err(failed)?;
    wasi::link(linker).map_err(failed)?;
    files::link(linker).map_err(failed)?;
    wasi_drafts::link(linker).map_err(failed)
}
