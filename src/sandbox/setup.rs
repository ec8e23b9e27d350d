//! Builds the state of an attempt and the stores for its calls.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::WasiCtx;

use crate::base::Digest;
use crate::model::LogStream;

use super::Services;
use super::cpu::CpuMeter;
use super::engine::Ticker;
use super::halt::Halt;
use super::host::access::Gate;
use super::host::files::Files;
use super::host::http::{HeaderValues, Http, Outbound};
use super::host::output::OutputLines;
use super::host::{GuestState, Work, wasi};
use super::limiter::MemoryMeter;
use super::limits;
use super::logs::AttemptLog;
use super::mask::Masker;
use super::order::{AttemptOrder, StopSignal};
use super::progress::ProgressTap;
use super::ready::ReadyComponent;
use super::tape::Tape;

/// WASI handles (streams, pollables) that a guest may hold in addition to its readers and writers.
const WASI_HANDLES: usize = 1_000;

/// The environment variable that holds the merged params of a command, as JSON.
const PARAMS_VARIABLE: &str = "ANACOSTIA_PARAMS";

/// One attempt, ready to run.
pub(super) struct Attempt {
    pub(super) engine: Engine,
    pub(super) ticker: Arc<Ticker>,
    pub(super) component: ReadyComponent,
    pub(super) order: Arc<AttemptOrder>,
    pub(super) tape: Arc<Tape>,
    pub(super) outbound: Arc<Outbound>,
    pub(super) services: Services,
    pub(super) stop: StopSignal,
    /// Cancelled when the caller no longer waits for the report.
    pub(super) gone: CancellationToken,
}

impl Attempt {
    /// Returns the initial state of the attempt, with its standard output and standard error.
    pub(super) fn state(
        &self,
        secrets: &[(String, String)],
        headers: &Arc<HeaderValues>,
    ) -> (GuestState, [Arc<OutputLines>; 2]) {
        let (order, services) = (&self.order, &self.services);
        let attempt = order.fence.attempt_id;
        let masker = Arc::new(Masker::new(secrets.iter().map(|(_, value)| value.as_str()).chain(headers.values())));
        let log = Arc::new(AttemptLog::new(
            attempt,
            Arc::clone(&services.logs),
            Arc::clone(&services.clock),
            Arc::clone(&masker),
            order.limits.log_bytes,
        ));
        let began = self.tape.began(services.clock.now());
        let outputs = [LogStream::Stdout, LogStream::Stderr].map(|stream| OutputLines::new(&log, stream));
        let state = GuestState {
            order: Arc::clone(order),
            services: services.clone(),
            began,
            tape: Arc::clone(&self.tape),
            stop: self.stop.clone(),
            started: false,
            memory: MemoryMeter::new(order.limits.memory_bytes),
            cpu: Arc::new(CpuMeter::new(order.limits.cpu)),
            gate: Gate::new(order),
            http: Http::new(order, &self.outbound, headers, &log, &masker),
            log,
            masker,
            progress: Arc::new(ProgressTap::new(attempt, Arc::clone(&services.progress))),
            table: self.table(),
            wasi: self.wasi(secrets, &outputs),
            work: Work::default(),
            files: Files::default(),
            question: None,
            stderr: Arc::clone(&outputs[1]),
        };
        (state, outputs)
    }

    /// Returns the WASI context for one instance.
    pub(super) fn wasi(&self, secrets: &[(String, String)], outputs: &[Arc<OutputLines>; 2]) -> WasiCtx {
        let order = &self.order;
        let env = order.env.iter().chain(secrets.iter().map(|(name, value)| (name, value)));
        let env = env.map(|(name, value)| (name.as_str(), value.as_str()));
        if !self.component.is_command() {
            return wasi::context(env, &[], outputs, &self.tape);
        }
        // Components that export `action` read params through `run-context`, so only commands get
        // the variable. A variable of the manifest with the same name takes precedence.
        let own = order.env.contains_key(PARAMS_VARIABLE) || order.secrets.contains_key(PARAMS_VARIABLE);
        let params = (!own).then_some((PARAMS_VARIABLE, order.params.as_str()));
        let args: Vec<&str> =
            [order.action.as_str()].into_iter().chain(order.args.iter().map(String::as_str)).collect();
        wasi::context(env.chain(params), &args, outputs, &self.tape)
    }

    /// Returns an empty handle table for one instance.
    pub(super) fn table(&self) -> ResourceTable {
        let mut table = ResourceTable::new();
        table.set_max_capacity(handles(&self.order));
        table
    }

    /// Returns a fresh store for one call.
    pub(super) fn store(&self, state: GuestState) -> Store<GuestState> {
        let cpu = Arc::clone(&state.cpu);
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(limits::MAX_PAYLOAD_BYTES);
        store.set_max_component_handles(handles(&self.order));
        store.set_epoch_deadline(1);
        // At every tick the guest yields to the other guests of its thread and to stop requests.
        store.epoch_deadline_callback(move |_| {
            if cpu.is_over() { Err(wasmtime::Error::new(Halt::Cpu)) } else { Ok(UpdateDeadline::Yield(1)) }
        });
        store
    }
}

/// Returns what the clocks and the insecure random numbers of an attempt answer.
pub(super) fn tape(order: &AttemptOrder) -> Arc<Tape> {
    let seed = hash_seed(order).unwrap_or_else(fresh_seed);
    Arc::new(Tape::new(seed, order.replay.as_ref()))
}

/// Returns a seed that nobody can guess, so that nobody can craft keys that all meet in one place
/// of a hash table. The keys of the standard library's hashes come from the system.
fn fresh_seed() -> u128 {
    let [low, high] = [(); 2].map(|()| u128::from(RandomState::new().hash_one(())));
    low | (high << 64)
}

/// Returns the seed for the hash tables of a cached action: always the same for the same component
/// and params, because in Rust and other languages it decides in which order a table is walked. It
/// is on no record, but can be computed, so it protects against crafted keys only those who keep
/// their params to themselves; the limit of CPU time protects all.
fn hash_seed(order: &AttemptOrder) -> Option<u128> {
    order.cache.as_ref()?;
    let digest = Digest::of(format!("{} {}", order.component, order.params).as_bytes());
    let (seed, _) = digest.as_bytes().split_first_chunk()?;
    Some(u128::from_le_bytes(*seed))
}

fn handles(order: &AttemptOrder) -> usize {
    usize::try_from(order.limits.handles).unwrap_or(usize::MAX).saturating_add(WASI_HANDLES)
}
