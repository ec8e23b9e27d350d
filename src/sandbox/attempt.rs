//! One attempt, from a fresh store to a report.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, UpdateDeadline};

use crate::base::fault;
use crate::model::{ArtifactTag, ErrorInfo, LogLevel, LogStream, Outcome, Usage};

use super::bindings::GuestPre;
use super::cpu::CpuMeter;
use super::engine::Ticker;
use super::halt::Halt;
use super::host::access::Gate;
use super::host::wasi::{self, OutputLines};
use super::host::{GuestState, Work};
use super::limiter::MemoryMeter;
use super::logs::AttemptLog;
use super::mask::Masker;
use super::order::{AttemptOrder, AttemptReport, CANCEL_GRACE, Stop, StopSignal};
use super::outcome::{self, Ended};
use super::progress::ProgressTap;
use super::{Services, limits};

/// Most bytes that a guest hands over in one call: enough for a chunk, and for a thousand params of the longest kind.
pub(super) const MAX_PAYLOAD_BYTES: usize = 16 << 20;
/// Handles of WASI (streams, pollables) that a guest may have besides its readers and writers.
const WASI_HANDLES: usize = 1_000;

/// What an attempt runs with.
pub(super) struct Attempt {
    pub(super) engine: Engine,
    pub(super) ticker: Arc<Ticker>,
    pub(super) component: GuestPre<GuestState>,
    pub(super) order: Arc<AttemptOrder>,
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
        let (state, outputs) = self.state(&secrets);
        let mut store = self.store(state);
        let ending = self.drive(&mut store).await;
        fault::point("attempt.guest_done");
        let state = store.into_data();
        for output in &outputs {
            output.finish();
        }
        let outcome = match ending {
            Ending::Guest(ended) => outcome::of(ended, &state),
            Ending::WallTime => Outcome::TimedOut(limits::wall(&state.order.action, &state.order.limits)),
            Ending::Cancelled => Outcome::Cancelled,
            Ending::HandedBack => Outcome::HandedBack,
        };
        report(state, outcome, began).await
    }

    fn state(&self, secrets: &[(String, String)]) -> (GuestState, [Arc<OutputLines>; 2]) {
        let (order, services) = (&self.order, &self.services);
        let attempt = order.fence.attempt_id;
        let masker = Arc::new(Masker::new(secrets.iter().map(|(_, value)| value.as_str())));
        let log = Arc::new(AttemptLog::new(
            attempt,
            Arc::clone(&services.logs),
            Arc::clone(&services.clock),
            Arc::clone(&masker),
            order.limits.log_bytes,
        ));
        let outputs = [LogStream::Stdout, LogStream::Stderr].map(|stream| OutputLines::new(&log, stream));
        let env = order.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let secret = secrets.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let wasi = wasi::context(env.chain(secret), &outputs[0], &outputs[1]);
        let mut table = ResourceTable::new();
        table.set_max_capacity(handles(order));
        let state = GuestState {
            order: Arc::clone(order),
            services: services.clone(),
            deadline: services.clock.now().after(order.limits.wall),
            stop: self.stop.clone(),
            memory: MemoryMeter::new(order.limits.memory_bytes),
            cpu: Arc::new(CpuMeter::new(order.limits.cpu)),
            gate: Gate::new(order),
            log,
            masker,
            progress: Arc::new(ProgressTap::new(attempt, Arc::clone(&services.progress))),
            table,
            wasi,
            work: Work::default(),
        };
        (state, outputs)
    }

    fn store(&self, state: GuestState) -> Store<GuestState> {
        let cpu = Arc::clone(&state.cpu);
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(MAX_PAYLOAD_BYTES);
        store.set_max_component_handles(handles(&self.order));
        store.set_epoch_deadline(1);
        // Every tick a guest makes way for the others of its thread, and for whoever wants to stop it.
        store.epoch_deadline_callback(move |_| {
            if cpu.is_over() { Err(wasmtime::Error::new(Halt::Cpu)) } else { Ok(UpdateDeadline::Yield(1)) }
        });
        store
    }

    /// Runs the guest until it ends or is stopped.
    async fn drive(&self, store: &mut Store<GuestState>) -> Ending {
        let deadline = tokio::time::Instant::now() + self.order.limits.wall;
        let slices = Slices::of(store.data(), &self.ticker);
        let mut guest = pin!(slices.poll(async {
            fault::point("attempt.before_guest");
            let guest = self.component.instantiate_async(&mut *store).await?;
            guest.anacostia_pipeline_action().call_run(&mut *store).await
        }));
        let mut stop = self.stop.clone();
        let mut grace = None;
        loop {
            // Whoever is ready first in this order counts: a guest that ends after it was told to stop is stopped.
            tokio::select! {
                biased;
                () = self.gone.cancelled() => return Ending::HandedBack,
                asked = asked_to_stop(&mut stop, grace.is_some()) => match asked {
                    Stop::HandBack => return Ending::HandedBack,
                    _ => grace = Some(tokio::time::Instant::now() + CANCEL_GRACE),
                },
                () = sleep_until(grace.unwrap_or(deadline)), if grace.is_some() => return Ending::Cancelled,
                () = sleep_until(deadline) => {
                    return if grace.is_some() { Ending::Cancelled } else { Ending::WallTime };
                }
                ended = &mut guest => {
                    return if grace.is_some() { Ending::Cancelled } else { Ending::Guest(ended) };
                }
            }
        }
    }
}

/// How the guest's part ended.
enum Ending {
    Guest(Ended),
    WallTime,
    Cancelled,
    HandedBack,
}

/// Waits until the attempt is to stop; for being handed back only if it knows of being cancelled.
pub(super) async fn asked_to_stop(stop: &mut StopSignal, cancelled: bool) -> Stop {
    let wanted = |stop: &Stop| *stop == Stop::HandBack || (*stop == Stop::Cancel && !cancelled);
    let asked = stop.wait_for(wanted).await.map(|stop| *stop);
    match asked {
        Ok(asked) => asked,
        // Nobody is left to say stop.
        Err(_) => std::future::pending().await,
    }
}

/// Does around each slice of a guest what must be done: the ticker runs, CPU time is counted, lines are written.
struct Slices {
    ticker: Arc<Ticker>,
    cpu: Arc<CpuMeter>,
    log: Arc<AttemptLog>,
    progress: Arc<ProgressTap>,
}

impl Slices {
    fn of(state: &GuestState, ticker: &Arc<Ticker>) -> Self {
        Self {
            ticker: Arc::clone(ticker),
            cpu: Arc::clone(&state.cpu),
            log: Arc::clone(&state.log),
            progress: Arc::clone(&state.progress),
        }
    }

    async fn poll(self, guest: impl Future<Output = Ended>) -> Ended {
        let mut guest = pin!(guest);
        std::future::poll_fn(|context| self.slice(guest.as_mut(), context)).await
    }

    fn slice(&self, guest: Pin<&mut impl Future<Output = Ended>>, context: &mut Context<'_>) -> Poll<Ended> {
        self.ticker.enter();
        self.cpu.begin();
        let answer = guest.poll(context);
        self.cpu.end();
        self.ticker.leave();
        self.log.flush();
        self.progress.flush();
        match self.log.halt() {
            // A guest that ignores that its output is closed, or whose lines can not be written, is stopped here.
            Some(halt) => Poll::Ready(Err(wasmtime::Error::new(halt))),
            None => answer,
        }
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
        tags: Vec::new(),
        staged: Vec::new(),
        log_to: services.logs.end(),
    }
}

async fn report(state: GuestState, outcome: Outcome, began: Instant) -> AttemptReport {
    let GuestState { order, services, memory, cpu, gate, log, table, work, .. } = state;
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
    };
    let tags = work.tags.into_iter().map(|((artifact_id, tag), unique)| ArtifactTag { artifact_id, tag, unique });
    let (tags, (accesses, denials)) = (tags.collect(), gate.into_records());
    AttemptReport { outcome, usage, accesses, denials, tags, staged, log_to: log.end() }
}

/// Removes what an attempt has staged. What can not be removed now is swept at the next start.
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
