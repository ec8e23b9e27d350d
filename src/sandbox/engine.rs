//! The wasmtime engine, its settings, and the thread that ticks its epochs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails, WasmFeatures,
};

use super::SandboxError;
use crate::base::{ByteSize, fault};

/// How long a guest runs before it yields to the other guests of its thread.
pub(super) const TICK: Duration = Duration::from_millis(2);
/// The number of ticks without a running guest after which the ticking thread sleeps.
const IDLE_TICKS: u32 = 25;
/// Stack size for the frames of a guest. A guest that exceeds it fails with `stack_overflow`.
const MAX_WASM_STACK_BYTES: usize = 1 << 20;
/// Stack size for a guest together with the host functions that it calls.
const STACK_BYTES: usize = 2 << 20;
/// Address space of a memory, and of the guard region after it. With these sizes, most accesses
/// need no bounds check.
const MEMORY_RESERVATION_BYTES: u64 = 4 << 30;
const MEMORY_GUARD_BYTES: u64 = 32 << 20;
/// Minimum address space for a pool: with less, the memories of two guests do not fit next to
/// everything else.
const MIN_ADDRESS_SPACE_BYTES: u64 = 3 * MEMORY_RESERVATION_BYTES;
/// The maximum number of core instances and of tables in one component. Python needs about 14,
/// JavaScript several.
const MAX_CORE_INSTANCES: u32 = 60;
/// The maximum number of memories in one component.
const MAX_MEMORIES: u32 = 4;
/// The maximum number of elements in a table.
const MAX_TABLE_ELEMENTS: usize = 40_000;
/// Bytes that an unused slot keeps resident, so that the next guest in it has no page faults.
const KEEP_MEMORY_BYTES: usize = 1 << 20;
const KEEP_TABLE_BYTES: usize = 64 << 10;
const KEEP_STACK_BYTES: usize = 64 << 10;
/// The maximum number of unused slots that keep memory resident. Bounds what an idle process holds.
const MAX_WARM_SLOTS: u32 = 8;
/// The maximum number of frames that are recorded for a trap.
pub(super) const MAX_FRAMES: usize = 20;

/// Returns the engine that guests run on. It uses a pool of slots if the machine has enough address
/// space, and allocates on demand otherwise.
pub(super) fn running(max_instances: u32) -> Result<Engine, SandboxError> {
    let mut pooled = settings();
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(max_instances)));
    match Engine::new(&pooled) {
        Ok(engine) => Ok(engine),
        Err(why) => {
            if let Some(limit) = address_space_limit().filter(|limit| *limit < MIN_ADDRESS_SPACE_BYTES) {
                return Err(SandboxError::Engine(format!(
                    "the address space of the process is limited to {} (`ulimit -v`), and guests need {}; raise the limit, or lift it",
                    ByteSize(limit),
                    ByteSize(MIN_ADDRESS_SPACE_BYTES)
                )));
            }
            tracing::warn!("guests run without a pool of memories, and start more slowly: {why:#}");
            compiling()
        }
    }
}

fn address_space_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::As).current
}

/// Returns an engine for compilation. Its code is compatible with the engine that guests run on,
/// but it reserves nothing for guests.
pub(super) fn compiling() -> Result<Engine, SandboxError> {
    Engine::new(&settings()).map_err(|why| SandboxError::Engine(format!("{why:#}")))
}

/// Returns the settings that determine the compiled code. They are the same for every engine.
fn settings() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .memory_init_cow(true)
        .memory_reservation(MEMORY_RESERVATION_BYTES)
        .memory_guard_size(MEMORY_GUARD_BYTES)
        .max_wasm_stack(MAX_WASM_STACK_BYTES)
        .async_stack_size(STACK_BYTES)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(MAX_FRAMES));
    // Shared memory would bypass the memory limit, and 64-bit memories would exceed the address
    // space of a slot.
    for feature in [
        WasmFeatures::THREADS,
        WasmFeatures::SHARED_EVERYTHING_THREADS,
        WasmFeatures::MEMORY64,
        WasmFeatures::CUSTOM_PAGE_SIZES,
        WasmFeatures::STACK_SWITCHING,
    ] {
        config.wasm_features(feature, false);
    }
    config
}

/// Returns a pool with slots for `max_instances` components of any shape, so that every guest that
/// may run finds a slot.
fn pool(max_instances: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(max_instances)
        .total_stacks(max_instances)
        .total_core_instances(max_instances.saturating_mul(MAX_CORE_INSTANCES))
        .total_tables(max_instances.saturating_mul(MAX_CORE_INSTANCES))
        .total_memories(max_instances.saturating_mul(MAX_MEMORIES))
        .max_core_instances_per_component(MAX_CORE_INSTANCES)
        .max_tables_per_component(MAX_CORE_INSTANCES)
        .max_tables_per_module(8)
        .max_memories_per_component(MAX_MEMORIES)
        .max_memories_per_module(MAX_MEMORIES)
        .table_elements(MAX_TABLE_ELEMENTS)
        .linear_memory_keep_resident(KEEP_MEMORY_BYTES)
        .table_keep_resident(KEEP_TABLE_BYTES)
        .async_stack_keep_resident(KEEP_STACK_BYTES)
        .max_unused_warm_slots(MAX_WARM_SLOTS)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Ticks the engine's epochs on a separate thread while a guest runs, and sleeps while none does.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The number of guests that are running a slice.
    running: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

impl Ticker {
    /// Starts the thread.
    pub(super) fn start(engine: Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let ticks = move || {
            // Nothing else stops a guest that spins, so the thread goes on after a panic.
            while catch_unwind(AssertUnwindSafe(|| tick(&engine, &of_thread))).is_err() {}
        };
        let thread = thread::Builder::new().name("epochs".to_owned()).spawn(ticks)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Begins a slice of a guest. The slice ends when the guard is dropped, even if the guest's
    /// code panics in the host.
    pub(super) fn enter(&self) -> Slice<'_> {
        self.shared.running.fetch_add(1, SeqCst);
        // The ticking thread sets `asleep` before it reads `running` for the last time, so at least
        // one of the two threads sees the other's change.
        if self.shared.asleep.load(SeqCst)
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
        Slice(&self.shared)
    }

    #[cfg(test)]
    fn sleeps(&self) -> bool {
        self.shared.asleep.load(SeqCst)
    }
}

/// A guest runs a slice while this value lives.
pub(super) struct Slice<'t>(&'t Shared);

impl Drop for Slice<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn tick(engine: &Engine, shared: &Shared) {
    let mut idle = 0;
    while !shared.stop.load(SeqCst) {
        idle = if shared.running.load(SeqCst) == 0 { idle + 1 } else { 0 };
        if idle >= IDLE_TICKS {
            shared.asleep.store(true, SeqCst);
            while shared.running.load(SeqCst) == 0 && !shared.stop.load(SeqCst) {
                thread::park();
            }
            shared.asleep.store(false, SeqCst);
            idle = 0;
        }
        thread::sleep(TICK);
        fault::panic_point("epochs.tick");
        engine.increment_epoch();
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};
    use std::time::Instant;

    use super::*;

    fn compatibility(engine: &Engine) -> u64 {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn compiled_code_is_compatible_with_the_running_engine() {
        assert_eq!(compatibility(&compiling().unwrap()), compatibility(&running(4).unwrap()));
    }

    #[test]
    fn the_ticker_sleeps_while_no_guest_runs_and_wakes_when_one_does() {
        let ticker = Ticker::start(compiling().unwrap()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let wait_until = |asleep: bool| {
            while ticker.sleeps() != asleep {
                assert!(Instant::now() < deadline);
                thread::sleep(Duration::from_millis(1));
            }
        };
        wait_until(true);
        let slice = ticker.enter();
        wait_until(false);
        drop(slice);
        wait_until(true);
        let slice = || {
            let _slice = ticker.enter();
            panic!("a host function fails");
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(slice)).is_err());
        wait_until(true);
        assert_eq!(ticker.shared.running.load(SeqCst), 0, "the slice has ended nevertheless");
    }
}
