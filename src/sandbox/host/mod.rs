//! What a guest sees of the host: one file per interface of `wit/pipeline.wit`, all of them through
//! the [gate](access).

pub(super) mod access;
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

/// Links every interface that any guest may import. What needs a grant of its own is linked
/// besides: see [`http::link`].
pub(super) fn link(linker: &mut Linker<GuestState>) -> Result<(), SandboxError> {
    let failed = |why: wasmtime::Error| SandboxError::Engine(format!("the host functions can not be linked: {why:#}"));
    GuestWithHooks::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state).map_err(failed)?;
    wasi::link(linker).map_err(failed)?;
    files::link(linker).map_err(failed)?;
    wasi_drafts::link(linker).map_err(failed)
}
