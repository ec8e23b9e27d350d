//! What a guest sees of the host: one file per interface of `wit/pipeline.wit`, all of them through
//! the [gate](access).

pub(super) mod access;
pub(super) mod files;
pub(super) mod http;
mod inputs;
mod lines;
mod log;
mod metadata;
pub(super) mod resources;
mod run_context;
pub(super) mod wasi;
mod wasi_drafts;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::base::{ArtifactId, Timestamp};
use crate::model::{Artifact, StagedFile};

use super::bindings::GuestWithHooks;
use super::bindings::anacostia::pipeline::types;
use super::cpu::CpuMeter;
use super::limiter::MemoryMeter;
use super::logs::AttemptLog;
use super::mask::Masker;
use super::order::{AttemptOrder, StopSignal};
use super::progress::ProgressTap;
use super::{SandboxError, Services};
use access::{CallError, Gate};
use files::Files;
use wasi::OutputLines;

/// What belongs to one attempt: the data of its store. Handed from call to call when there are
/// several (see [`GuestState::renew`]).
pub(super) struct GuestState {
    pub(super) order: Arc<AttemptOrder>,
    pub(super) services: Services,
    /// When the attempt is stopped if it still runs.
    pub(super) deadline: Timestamp,
    pub(super) stop: StopSignal,
    /// Whether the instance of this call was made.
    pub(super) started: bool,
    pub(super) memory: MemoryMeter,
    pub(super) cpu: Arc<CpuMeter>,
    pub(super) gate: Gate,
    pub(super) log: Arc<AttemptLog>,
    pub(super) masker: Arc<Masker>,
    pub(super) progress: Arc<ProgressTap>,
    pub(super) table: ResourceTable,
    pub(super) wasi: WasiCtx,
    pub(super) http: http::Http,
    pub(super) work: Work,
    pub(super) files: Files,
    /// What it says on standard error.
    pub(super) stderr: Arc<OutputLines>,
}

/// What a guest has done that is not on record yet, and what it was shown.
#[derive(Default)]
pub(super) struct Work {
    /// What may be read, as far as it was looked up: some of it, so that it need not be looked up
    /// again.
    visible: BTreeMap<ArtifactId, Artifact>,
    /// The inputs that were asked for last.
    inputs: Option<inputs::Inputs>,
    /// Where in the order each claimed input stands, once one was asked for by id: looking through
    /// all for each would take a time that grows with the square.
    claimed: Option<HashMap<ArtifactId, usize>>,
    /// Paths that are being written or are finished, by resource.
    paths: BTreeSet<(String, String)>,
    /// Resources in which something was begun.
    pub(super) touched: BTreeSet<String>,
    /// What is finished.
    pub(super) staged: Vec<StagedFile>,
    /// Tags to put on artifacts, and whether each is unique.
    pub(super) tags: BTreeMap<(ArtifactId, String), bool>,
    metric_names: BTreeSet<String>,
    facts: u64,
    fact_bytes: u64,
}

impl Work {
    /// Where an input stands among those that the run claimed.
    fn place_of_claimed(&mut self, inputs: &[Artifact], id: ArtifactId) -> Option<usize> {
        let places = || inputs.iter().enumerate().map(|(place, input)| (input.id, place)).collect();
        self.claimed.get_or_insert_with(places).get(&id).copied()
    }
}

impl GuestState {
    /// The instance is gone, and another call of the same attempt follows, in a fresh one. What the
    /// attempt has used, seen and staged stays; what belonged to the instance goes, and what it had
    /// not finished writing with it. `read_only` names the hook that follows if it may not write.
    pub(super) fn renew(&mut self, table: ResourceTable, wasi: WasiCtx, read_only: Option<&'static str>) {
        self.table = table;
        self.wasi = wasi;
        self.started = false;
        self.memory.renew();
        self.gate.renew(read_only);
        self.log.begin_call();
        let finished = self.work.staged.iter().map(|staged| (staged.resource.clone(), staged.path.clone()));
        self.work.paths = finished.collect();
    }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for GuestState {
    fn convert_error(&mut self, error: CallError) -> wasmtime::Result<types::Error> {
        error.into_wit(&self.gate)
    }
}

/// Links every interface that any guest may import. What needs a grant of its own is linked
/// besides: see [`http::link`].
pub(super) fn link(linker: &mut Linker<GuestState>) -> Result<(), SandboxError> {
    let failed = |why: wasmtime::Error| SandboxError::Engine(format!("the host functions cannot be linked: {why:#}"));
    GuestWithHooks::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state).map_err(failed)?;
    wasi::link(linker).map_err(failed)?;
    files::link(linker).map_err(failed)?;
    wasi_drafts::link(linker).map_err(failed)
}
