//! One attempt, from a fresh store to a report.

use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::WasiCtx;

use crate::base::fault;
use crate::model::{ArtifactTag, Denial, ErrorInfo, LogLevel, LogStream, Outcome, Usage};

use super::Services;
use super::cpu::CpuMeter;
use super::engine::Ticker;
use super::halt::Halt;
use super::hooks::Calls;
use super::host::access::Gate;
use super::host::files::Files;
use super::host::http::{HeaderValues, Http, Outbound, Requests};
use super::host::wasi::{self, OutputLines};
use super::host::{GuestState, Work};
use super::limiter::MemoryMeter;
use super::limits;
use super::logs::AttemptLog;
use super::mask::Masker;
use super::order::{AttemptOrder, AttemptReport, StopSignal};
use super::progress::ProgressTap;
use super::ready::ReadyComponent;
use super::watch::Watch;

/// Handles of WASI (streams, pollables) that a guest may have besides its readers and writers.
const WASI_HANDLES: usize = 1_000;

/// The variable in which a command finds the merged params, as JSON.
const PARAMS_VARIABLE: &str = "ANACOSTIA_PARAMS";

/// What an attempt runs with.
pub(super) struct Attempt {
    pub(super) engine: Engine,
    pub(super) ticker: Arc<Ticker>,
    pub(super) component: ReadyComponent,
    pub(super) order: Arc<AttemptOrder>,
    pub(super) outbound: Arc<Outbound>,
    pub(super) services: Services,
    pub(super) stop: StopSignal,
    /// Cancelled when nobody waits for the report any more.
    pub(super) gone: CancellationToken,
}

impl Attempt {
    /// Runs it. When it ends neither `Done` nor `Skip`, nothing of it is staged any more.
    pub(super) async fn run(self) -> AttemptReport {
        let began = Instant::now();
        let secrets = match secrets(&self.order) {
            Ok(secrets) => secrets,
            Err(error) => return ended_early(&self.services, Outcome::Failed(error)),
        };
        let headers = match HeaderValues::read(&self.order) {
            Ok(headers) => Arc::new(headers),
            Err(error) => return ended_early(&self.services, Outcome::Failed(error)),
        };
        let (state, outputs) = self.state(&secrets, &headers);
        let watch = Watch::new(self.order.limits.wall, self.stop.clone(), self.gone.clone());
        let calls = Calls { attempt: &self, secrets: &secrets, outputs: &outputs, watch };
        // On the heap: it holds all that a call of a guest needs.
        let (state, outcome) = Box::pin(calls.make(state)).await;
        fault::point("attempt.guest_done");
        report(state, outcome, began).await
    }

    fn state(&self, secrets: &[(String, String)], headers: &Arc<HeaderValues>) -> (GuestState, [Arc<OutputLines>; 2]) {
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
        let outputs = [LogStream::Stdout, LogStream::Stderr].map(|stream| OutputLines::new(&log, stream));
        let state = GuestState {
            order: Arc::clone(order),
            services: services.clone(),
            deadline: services.clock.now().after(order.limits.wall),
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
            stderr: Arc::clone(&outputs[1]),
        };
        (state, outputs)
    }

    /// What an instance finds of WASI.
    pub(super) fn wasi(&self, secrets: &[(String, String)], outputs: &[Arc<OutputLines>; 2]) -> WasiCtx {
        let order = &self.order;
        let env = order.env.iter().chain(secrets.iter().map(|(name, value)| (name, value)));
        let env = env.map(|(name, value)| (name.as_str(), value.as_str()));
        if !self.component.is_command() {
            return wasi::context(env, &[], &outputs[0], &outputs[1]);
        }
        // A program of its own kind asks `run-context` for them.
        let own = order.env.contains_key(PARAMS_VARIABLE) || order.secrets.contains_key(PARAMS_VARIABLE);
        let params = (!own).then_some((PARAMS_VARIABLE, order.params.as_str()));
        let args: Vec<&str> =
            [order.action.as_str()].into_iter().chain(order.args.iter().map(String::as_str)).collect();
        wasi::context(env.chain(params), &args, &outputs[0], &outputs[1])
    }

    /// The handles of an instance: none yet.
    pub(super) fn table(&self) -> ResourceTable {
        let mut table = ResourceTable::new();
        table.set_max_capacity(handles(&self.order));
        table
    }

    /// A fresh store, for one call.
    pub(super) fn store(&self, state: GuestState) -> Store<GuestState> {
        let cpu = Arc::clone(&state.cpu);
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(limits::MAX_PAYLOAD_BYTES);
        store.set_max_component_handles(handles(&self.order));
        store.set_epoch_deadline(1);
        // Every tick a guest makes way for the others of its thread, and for whoever wants to stop
        // it.
        store.epoch_deadline_callback(move |_| {
            if cpu.is_over() { Err(wasmtime::Error::new(Halt::Cpu)) } else { Ok(UpdateDeadline::Yield(1)) }
        });
        store
    }
}

/// The secrets of an attempt: the name that the guest sees, and the value.
fn secrets(order: &AttemptOrder) -> Result<Vec<(String, String)>, ErrorInfo> {
    order
        .secrets
        .iter()
        .map(|(name, variable)| match std::env::var(variable) {
            Ok(value) => Ok((name.clone(), value)),
            Err(_) => Err(ErrorInfo::permanent(
                "secret_missing",
                format!(
                    "the secret `{name}` of `{}` is the variable `{variable}` of the host's environment, which is not set",
                    order.action
                ),
            )),
        })
        .collect()
}

fn handles(order: &AttemptOrder) -> usize {
    usize::try_from(order.limits.handles).unwrap_or(usize::MAX).saturating_add(WASI_HANDLES)
}

/// The report of an attempt whose guest never ran.
pub(super) fn ended_early(services: &Services, outcome: Outcome) -> AttemptReport {
    AttemptReport {
        outcome,
        usage: Usage::default(),
        accesses: Vec::new(),
        denials: Vec::new(),
        requests: Vec::new(),
        tags: Vec::new(),
        staged: Vec::new(),
        log_to: services.logs.end(),
    }
}

async fn report(state: GuestState, outcome: Outcome, began: Instant) -> AttemptReport {
    let GuestState { order, services, memory, cpu, mut gate, http, log, table, work, .. } = state;
    let Requests { kept: requests, totals, denials } = http.close();
    for Denial { call, target, message } in denials {
        gate.deny(&call, &target, message);
    }
    // Open readers and writers go first: a writer that is not finished takes its file away.
    drop(table);
    let succeeded = matches!(outcome, Outcome::Done(_) | Outcome::Skip(_));
    let staged = if succeeded { work.staged } else { Vec::new() };
    if !succeeded {
        discard(&order, &services, work.touched.iter()).await;
    }
    for denial in gate.denials() {
        log.host(LogLevel::Warn, &format!("denied: {} on {}: {}", denial.call, denial.target, denial.message));
    }
    if let Outcome::Failed(error) | Outcome::TimedOut(error) = &outcome {
        log.host(LogLevel::Error, &format!("{}: {}", error.code, error.message));
    }
    log.flush();
    let (host_calls, bytes_read, bytes_written) = gate.counts();
    let usage = Usage {
        peak_memory_bytes: memory.peak(),
        cpu_time_us: micros(cpu.used()),
        wall_time_us: micros(began.elapsed()),
        bytes_read,
        bytes_written,
        log_bytes: log.counted(),
        host_calls,
        http_requests: totals.requests,
        http_bytes_sent: totals.sent,
        http_bytes_received: totals.received,
    };
    let tags = work.tags.into_iter().map(|((artifact_id, tag), unique)| ArtifactTag { artifact_id, tag, unique });
    let (tags, (accesses, denials)) = (tags.collect(), gate.into_records());
    AttemptReport { outcome, usage, accesses, denials, requests, tags, staged, log_to: log.end() }
}

/// Removes what an attempt has staged. What cannot be removed now is swept at the next start.
pub(super) async fn discard(order: &AttemptOrder, services: &Services, resources: impl Iterator<Item = &String>) {
    for name in resources {
        if let Some(resource) = services.resources.get(name)
            && let Err(why) = resource.discard(order.fence.attempt_id).await
        {
            tracing::warn!("staged files of attempt {} are left until the next start: {why}", order.fence.attempt_id);
        }
    }
}

fn micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
