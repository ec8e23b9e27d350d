//! The threads that guests run on. They are separate from HTTP, the store and the scheduler, so
//! that no guest can starve those.
//!
//! Each thread has its own scheduler. It takes turns between its guests, checks for new work before
//! each turn, and polls timers and sockets after each turn. A guest that spins therefore delays the
//! others by one slice, not by a batch of slices.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::task;
use tokio_util::sync::CancellationToken;

use super::SandboxError;

/// The executor threads.
#[derive(Debug)]
pub(super) struct Executors {
    threads: Vec<Executor>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Executor {
    handle: Handle,
    /// The number of guests on the thread.
    load: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Executors {
    /// Starts `count` threads (at least one).
    pub(super) fn start(count: usize) -> Result<Self, SandboxError> {
        let stop = CancellationToken::new();
        let failed = |why: std::io::Error| SandboxError::Engine(format!("no thread for guests can be started: {why}"));
        let threads = (0..count.max(1))
            .map(|number| {
                let runtime = Builder::new_current_thread()
                    .enable_all()
                    .event_interval(1)
                    .global_queue_interval(1)
                    .build()
                    .map_err(failed)?;
                let handle = runtime.handle().clone();
                let stop = stop.clone();
                let thread = std::thread::Builder::new()
                    .name(format!("guests-{number}"))
                    .spawn(move || runtime.block_on(stop.cancelled()))
                    .map_err(failed)?;
                Ok(Executor { handle, load: Arc::default(), thread: Some(thread) })
            })
            .collect::<Result<_, SandboxError>>()?;
        Ok(Self { threads, stop })
    }

    /// Puts `work` on the thread with the fewest guests.
    pub(super) fn spawn<F>(&self, work: F) -> Option<task::JoinHandle<F::Output>>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let executor = self.threads.iter().min_by_key(|executor| executor.load.load(SeqCst))?;
        let load = Load::on(&executor.load);
        Some(executor.handle.spawn(async move {
            let _load = load;
            work.await
        }))
    }
}

impl Drop for Executors {
    fn drop(&mut self) {
        self.stop.cancel();
        for executor in &mut self.threads {
            if let Some(thread) = executor.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

/// Counts one guest on a thread while it lives.
struct Load(Arc<AtomicUsize>);

impl Load {
    fn on(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}
