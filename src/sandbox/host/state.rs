//! The state of one attempt, on which every interface of the host is implemented.

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
use crate::sandbox::tape::Tape;

use super::access::Gate;
use super::entries::JournalEntry;
use super::files::Files;
use super::http::Http;
use super::inputs::Inputs;
use super::output::OutputLines;
use super::question::Question;

/// The data of one attempt, stored in its wasmtime store. When an attempt makes several calls, the
/// state is passed from one call to the next (see [`GuestState::renew`]).
pub(in crate::sandbox) struct GuestState {
    pub(in crate::sandbox) order: Arc<AttemptOrder>,
    pub(in crate::sandbox) services: Services,
    /// When the attempt began.
    pub(in crate::sandbox) began: Timestamp,
    /// What its clocks and its insecure random numbers answer.
    pub(in crate::sandbox) tape: Arc<Tape>,
    pub(in crate::sandbox) stop: StopSignal,
    /// Whether the instance for this call has been created.
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
    /// What a trigger component is asked. Absent for an attempt.
    pub(in crate::sandbox) question: Option<Question>,
    /// The guest's standard error.
    pub(in crate::sandbox) stderr: Arc<OutputLines>,
}

/// The guest's work that is not recorded yet, and caches of the artifacts that it looked up.
#[derive(Default)]
pub(in crate::sandbox) struct Work {
    /// Artifacts that the guest may read, cached so that they are not looked up again. Not
    /// complete.
    pub(super) visible: BTreeMap<ArtifactId, Artifact>,
    /// The inputs that were requested last.
    pub(super) inputs: Option<Inputs>,
    /// The index in the order of each claimed input. Built when an input is first opened by id,
    /// because a linear search for each id would take quadratic time.
    pub(super) claimed: Option<HashMap<ArtifactId, usize>>,
    /// Paths that are being written or are finished, with their resources.
    pub(super) paths: BTreeSet<(String, String)>,
    /// What earlier attempts of the action have published in the run and is still there: by
    /// resource, the path and the stamp. Read when an attempt after the first creates an output.
    pub(super) earlier: BTreeMap<String, BTreeMap<String, String>>,
    /// Resources in which the attempt has created a staged file.
    pub(in crate::sandbox) touched: BTreeSet<String>,
    /// Finished staged files.
    pub(in crate::sandbox) staged: Vec<StagedFile>,
    /// The statements that change databases, by resource.
    pub(in crate::sandbox) journals: BTreeMap<String, JournalEntry>,
    /// Tags to put on artifacts, with whether each is unique.
    pub(in crate::sandbox) tags: BTreeMap<(ArtifactId, String), bool>,
    pub(super) metric_names: BTreeSet<String>,
    pub(in crate::sandbox) facts: u64,
    pub(super) fact_bytes: u64,
}

impl Work {
    /// Returns the index of an input among those that the run claimed.
    pub(super) fn place_of_claimed(&mut self, inputs: &[Artifact], id: ArtifactId) -> Option<usize> {
        let places = || inputs.iter().enumerate().map(|(place, input)| (input.id, place)).collect();
        self.claimed.get_or_insert_with(places).get(&id).copied()
    }
}

impl GuestState {
    /// Prepares the state for the next call of the same attempt, in a fresh instance.
    ///
    /// Usage, accesses and finished files are kept. Handles and unfinished files of the old
    /// instance are dropped. `read_only` names the next hook if that hook may not write.
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
