//! The reports of a running host: its log on standard error, and the events of runs on standard
//! output.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::base::{RunId, Timestamp, fault};
use crate::cli::{Failure, out, show};
use crate::model::{Event, EventKind, Page, Run, RunState};
use crate::scheduler::supervise;
use crate::store::{MetadataStore, named_inputs};

/// Most events of one query.
const BATCH: u32 = 500;
/// From one look at the store to the next, at least. A single event is reported at once; a burst is
/// reported in batches, instead of a query for each commit.
const PAUSE: Duration = Duration::from_millis(5);
/// How long the host waits at its end for a reader of the report that reads nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most runs whose start time is kept in memory, to report how long they took. For other runs it is
/// read from the store.
const MAX_REMEMBERED: usize = 10_000;

/// Sends the host's log to standard error, as much of it as `ANACOSTIA_LOG` asks for (default
/// `info`).
pub(crate) fn start_logging() -> Result<(), Failure> {
    let level = match std::env::var("ANACOSTIA_LOG") {
        Ok(text) => text.parse::<LevelFilter>().map_err(|_| {
            Failure::usage(format!("ANACOSTIA_LOG is `{text}`; it must be off, error, warn, info, debug or trace"))
        })?,
        Err(_) => LevelFilter::INFO,
    };
    // The library that verifies certificates logs each that it refuses. Whoever connects says so
    // too, once and with the resource. The library that lays out graphs logs each of its steps,
    // with targets that do not name it.
    let is_quiet = |name: &str| ["rustls_platform_verifier", "rust_sugiyama"].iter().any(|it| name.starts_with(it));
    let is_told = filter_fn(move |about| !is_quiet(about.module_path().unwrap_or(about.target())));
    // This fails only if a subscriber is already set; that one is then used.
    let _ = tracing_subscriber::fmt()
        .with_writer(|| out::Log)
        .with_max_level(level)
        .with_ansi(out::colours_wanted())
        .with_target(false)
        .finish()
        .with(is_told)
        .try_init();
    // The default hook writes to standard error itself, and blocks until that is read.
    std::panic::set_hook(Box::new(|panic| tracing::error!("a bug in Anacostia, please report it: {panic}")));
    Ok(())
}

/// Reports events after the one with the sequence number `after`, until closed. `path` is the PATH
/// that leads to the pipeline, for the proposed commands.
pub(crate) fn follow(store: Arc<dyn MetadataStore>, after: u64, json: bool, path: &str) -> Reporter {
    let path: Arc<str> = path.into();
    let stop = CancellationToken::new();
    let (told, stopped) =
        (Arc::new(Told { taken: AtomicU64::new(after), reported: AtomicU64::new(after) }), stop.clone());
    let task = tokio::spawn(async move {
        let begin = || {
            let (store, told, stop, path) = (Arc::clone(&store), Arc::clone(&told), stopped.clone(), Arc::clone(&path));
            async move {
                tell(store, &told, json, &path, stop).await;
                Ok(())
            }
        };
        supervise("the report on standard output", stopped.clone(), begin, |_| {}).await;
    });
    Reporter { stop, task }
}

/// Reports events in the background.
#[derive(Debug)]
pub(crate) struct Reporter {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Reporter {
    /// Reports the events that are there, then ends. Gives up on a reader that reads nothing for a
    /// while.
    pub(crate) async fn close(mut self) {
        self.stop.cancel();
        let mut before = out::reported_bytes();
        while tokio::time::timeout(PATIENCE, &mut self.task).await.is_err() {
            let now = out::reported_bytes();
            if now == before {
                self.task.abort();
                return;
            }
            before = now;
        }
    }
}

/// How far the report has come: numbers of events.
struct Told {
    /// The last event that it began to report.
    taken: AtomicU64,
    /// The last event that it has reported, or has counted as lost.
    reported: AtomicU64,
}

/// Reports the events after those that were taken, until `stop`. It begins again after a panic: the
/// events at which it panicked count as lost, because it would panic at them again.
async fn tell(store: Arc<dyn MetadataStore>, told: &Told, json: bool, path: &str, stop: CancellationToken) {
    let taken = told.taken.load(Ordering::Relaxed);
    out::count_lost_report(taken - told.reported.swap(taken, Ordering::Relaxed));
    let mut newest = store.newest_event();
    let mut starts = Starts { store: Arc::clone(&store), known: HashMap::new() };
    loop {
        newest.mark_unchanged();
        let last_round = stop.is_cancelled();
        loop {
            let after = told.taken.load(Ordering::Relaxed);
            let Ok(events) = store.events(after, None, BATCH).await else { break };
            let (Some(first), Some(last)) = (events.first(), events.last()) else { break };
            // The store keeps the newest events only. A reader that falls so far behind has missed
            // the others.
            out::count_lost_report(first.seq.saturating_sub(after + 1));
            told.taken.store(last.seq, Ordering::Relaxed);
            fault::panic_point("report.events");
            let written = if json {
                out::report_json(&events).await
            } else {
                out::report(&lines(&events, &mut starts, path).await).await
            };
            told.reported.store(last.seq, Ordering::Relaxed);
            if written.is_err() {
                // The receiver is gone.
                return stop.cancelled().await;
            }
            if events.len() < BATCH as usize {
                break;
            }
        }
        if last_round {
            return;
        }
        let quiet = async {
            tokio::time::sleep(PAUSE).await;
            newest.changed().await
        };
        tokio::select! {
            // Without the store's writer there are no events any more.
            changed = quiet => if changed.is_err() { return stop.cancelled().await },
            () = stop.cancelled() => {}
        }
    }
}

/// The events as text: a line for each that is of interest.
async fn lines(events: &[Event], starts: &mut Starts, path: &str) -> String {
    let mut lines = String::new();
    for event in events {
        let took = starts.took(event).await;
        let next = what_to_do(event, starts.store.as_ref(), path).await;
        lines.extend(show::event_line(event, took, next, out::result_width()));
    }
    lines
}

/// Says what to do about a run if the event is its failure.
async fn what_to_do(event: &Event, store: &dyn MetadataStore, path: &str) -> Option<String> {
    let state = event.data.get("state").filter(|_| event.kind == EventKind::RunState)?;
    let (run, number) = (event.run_id.filter(|_| state == "failed")?, event.data.get("number")?.as_u64()?);
    let none = Page { items: Vec::new(), next_cursor: None };
    let inputs = named_inputs(store, run).await.unwrap_or(none);
    Some(Run::what_next(number, &show::beside(path), &inputs))
}

/// The start times of runs. A run's duration is measured from its start to its end, as everywhere
/// else.
struct Starts {
    store: Arc<dyn MetadataStore>,
    /// Runs that have started under this host and have not ended.
    known: HashMap<RunId, Timestamp>,
}

impl Starts {
    /// Returns how long a run took, if the event is its end.
    async fn took(&mut self, event: &Event) -> Option<Duration> {
        let run = event.run_id.filter(|_| event.kind == EventKind::RunState)?;
        let state: RunState = event.data.get("state")?.as_str()?.parse().ok()?;
        let retried = event.data.get("retried").is_some();
        if state == RunState::Running && !retried && self.known.len() < MAX_REMEMBERED {
            self.known.insert(run, event.time);
        }
        if !state.ended() {
            return None;
        }
        let started = match self.known.remove(&run) {
            Some(started) => started,
            // It started under an earlier host, or had ended before.
            None => self.store.run_summary(run).await.ok()??.started_at?,
        };
        Some(event.time.since(started))
    }
}
