//! The state that every interface of the host is implemented on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::base::{ArtifactId, Timestamp};
use crate::model::{Artifact, StagedFile};
use crate::sandbox::Services;
use crate::sandbox::cpu::CpuMeter;
use crate::sandbox::limiter::MemoryMeter;
use crate::sandbox::logs::AttemptLog;
use crate::sandbox::mask::Masker;
use crate::sandbox::order::{AttemptOrder, StopSignal};
use crate::sandbox::progress::ProgressTap;

use super::access::Gate;
use super::files::Files;
use super::http::Http;
use super::inputs::Inputs;
use super::output::OutputLines;

/// What belongs to one attempt: the data of its store. Handed from call to call when there are
/// several (see [`GuestState::renew`]).
pub(in crate::sandbox) struct GuestState {
    pub(in crate::sandbox) order: Arc<AttemptOrder>,
    pub(in crate::sandbox) services: Services,
    /// When the attempt is stopped if it still runs.
    pub(in crate::sandbox) deadline: Timestamp,
    pub(in crate::sandbox) stop: StopSignal,
    /// Whether the instance of this call was made.
    pub(in crate::sandbox) started: bool,
    pub(in crate::sandbox) memory: MemoryMeter,
    pub(in crate::sandbox) cpu: Arc<CpuMeter>,
    pub(in crate::sandbox) gate: Gate,
    pub(in crate::sandbox) log: Arc<AttemptLog>,
    pub(in crate::sandbox) masker: Arc<Masker>,
    pub(in crate::sandbox) progress: Arc<ProgressTap>,
    pub(in crate::sandbox) table: ResourceTable,
    pub(in crate::sandbox) wasi: WasiCtx,
    pub(in crate::sandbox) http: Http,
    pub(in crate::sandbox) work: Work,
    pub(in crate::sandbox) files: Files,
    /// What it says on standard error.
    pub(in crate::sandbox) stderr: Arc<OutputLines>,
}

/// What a guest has done that is not on record yet, and what it was shown.
#[derive(Default)]
pub(in crate::sandbox) struct Work {
    /// What may be read, as far as it was looked up: some of it, so that it need not be looked up
    /// again.
    pub(super) visible: BTreeMap<ArtifactId, Artifact>,
    /// The inputs that were asked for last.
    pub(super) inputs: Option<Inputs>,
    /// Where in the order each claimed input stands, once one was asked for by id: looking through
    /// all for each would take a time that grows with the square.
    pub(super) claimed: Option<HashMap<ArtifactId, usize>>,
    /// Paths that are being written or are finished, by resource.
    pub(super) paths: BTreeSet<(String, String)>,
    /// Resources in which something was begun.
    pub(in crate::sandbox) touched: BTreeSet<String>,
    /// What is finished.
    pub(in crate::sandbox) staged: Vec<StagedFile>,
    /// Tags to put on artifacts, and whether each is unique.
    pub(in crate::sandbox) tags: BTreeMap<(ArtifactId, String), bool>,
    pub(super) metric_names: BTreeSet<String>,
    pub(super) facts: u64,
    pub(super) fact_bytes: u64,
}

impl Work {
    /// Where an input stands among those that the run claimed.
    pub(super) fn place_of_claimed(&mut self, inputs: &[Artifact], id: ArtifactId) -> Option<usize> {
        let places = || inputs.iter().enumerate().map(|(place, input)| (input.id, place)).collect();
        self.claimed.get_or_insert_with(places).get(&id).copied()
    }
}

impl GuestState {
    /// The instance is gone, and another call of the same attempt follows, in a fresh one. What the
    /// attempt has used, seen and staged stays; what belonged to the instance goes, and what it had
    /// not finished writing with it. `read_only` names the hook that follows if it may not write.
    pub(in crate::sandbox) fn renew(&mut self, table: ResourceTable, wasi: WasiCtx, read_only: Option<&'static str>) {
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
