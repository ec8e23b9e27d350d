//! Floor 5: running one component, within its grants and limits.
//!
//! A [`Sandbox`] owns one engine, the thread that ticks the engine's epochs, and a few executor
//! threads. Each attempt, and each hook of an attempt, runs in a fresh store and a fresh instance,
//! so no state passes from one to the next. A guest runs in slices of a few milliseconds. Between
//! two slices, the other guests of its thread run, timers fire, and stop requests are handled, so a
//! guest that spins does not starve the others, even on one core.
//!
//! Where each limit is enforced: memory in `limiter`; CPU time in `cpu`; wall time and stopping in
//! `watch`; output, handles and grants in `host::access`; log in `logs`; compilation in `compile`;
//! payload and handles of the component model in wasmtime. When a limit is reached, the error names
//! the limit and the manifest key that raises it (`limits`).
//!
//! Rejected: one process for each guest, because a fresh instance takes microseconds and a process
//! takes a millisecond and memory of its own; and fuel (see `cpu`).

mod attempt;
mod bindings;
mod cache;
mod command;
mod compile;
mod cpu;
mod decision;
mod decision_order;
mod ended;
mod engine;
mod error;
mod executor;
mod halt;
mod handles;
mod hook;
mod hooks;
mod host;
mod limiter;
mod limits;
mod logs;
mod mask;
mod order;
mod outcome;
mod output_tail;
mod progress;
mod ready;
mod recheck;
mod services;
mod setup;
mod tape;
mod version;
mod watch;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::base::Digest;
use crate::manifest::Grant;
use crate::model::{ErrorInfo, Outcome};
use crate::store::logs::LogStore;

use cache::Cache;
use decision::Lines;
use engine::Ticker;
use executor::Executors;
use host::GuestState;
use host::http::Outbound;
use ready::ReadyComponent;
use setup::Attempt;

pub use cache::trim_compiled_code;
pub use compile::{COMPILE_VERB, CompileBounds, compiler_main, this_program};
pub use decision_order::{Decision, DecisionOrder, DecisionReport};
pub use error::SandboxError;
pub use order::{
    AttemptOrder, AttemptReport, CANCEL_GRACE, HeaderSecret, MAX_DENIALS, MAX_REQUESTS, Progress, Stop, StopSignal,
    Trace,
};
pub use recheck::{Recheck, Same};
pub use services::Services;
pub use version::open_version;

/// The maximum number of components that are loaded at once. Others wait.
const MAX_LOADS: usize = 2;
/// The number of trigger components that run at once while every slot for actions is taken.
pub const DECIDING_AT_ONCE: u32 = 48;

/// Configures a [`Sandbox`].
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// The folder for compiled code. The sandbox creates it if needed, and closes it to other
    /// users.
    pub cache_folder: PathBuf,
    /// The folder for compiled code if `cache_folder` cannot be used, for example because the home
    /// directory is read-only.
    pub fallback_cache_folder: Option<PathBuf>,
    /// The number of threads that guests run on, at least 1.
    pub executors: usize,
    /// The number of guests that run at once, 1 to 1,000. Others wait.
    pub max_instances: u32,
    /// The program that is started as the compiler (see [`compiler_main`]). The `anacostia` binary
    /// sets it to [`this_program`]. If it is `None`, components are compiled on a thread of this
    /// process, without bounds on time and memory.
    pub compiler: Option<PathBuf>,
    /// Bounds on one compilation.
    pub compile: CompileBounds,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            cache_folder: default_cache_folder(),
            fallback_cache_folder: None,
            executors: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
            max_instances: 16 + DECIDING_AT_ONCE,
            compiler: None,
            compile: CompileBounds::default(),
        }
    }
}

/// Returns `$XDG_CACHE_HOME/anacostia/compiled`, or `~/.cache/anacostia/compiled`. Without a home
/// directory, returns a folder for this user under the folder for temporary files.
pub fn default_cache_folder() -> PathBuf {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let user = rustix::process::geteuid().as_raw();
    let cache = cache.unwrap_or_else(|| std::env::temp_dir().join(format!("cache-{user}")));
    cache.join("anacostia").join("compiled")
}

fn open_cache(config: &SandboxConfig, engine: &Engine) -> Result<Cache, SandboxError> {
    match (Cache::open(&config.cache_folder, engine), &config.fallback_cache_folder) {
        (Err(why), Some(fallback)) => {
            tracing::warn!("{why}; compiled code is kept in {} instead", fallback.display());
            Cache::open(fallback, engine)
        }
        (opened, _) => opened,
    }
}

/// Runs components. Dropping it stops its guests and its threads.
pub struct Sandbox {
    // Dropped before the ticker, which ends the last slices of the guests.
    executors: Executors,
    shared: Arc<Shared>,
    slots: Semaphore,
    loads: Arc<Semaphore>,
    /// Allows one compilation at a time, because a compiler uses all cores that it gets.
    compiling: Arc<Semaphore>,
}

/// The parts that loading threads and attempts share.
struct Shared {
    engine: Engine,
    ticker: Arc<Ticker>,
    linker: Linker<GuestState>,
    /// Also links `wasi:http`. Used for components that import it.
    linker_with_http: Linker<GuestState>,
    /// Links what a trigger component may import, and nothing else.
    linker_for_triggers: Linker<GuestState>,
    outbound: Arc<Outbound>,
    cache: Cache,
    compiler: Option<PathBuf>,
    bounds: CompileBounds,
    components: RwLock<HashMap<Digest, ReadyComponent>>,
}

impl Sandbox {
    /// Creates a sandbox without components.
    ///
    /// # Errors
    /// If this machine cannot run it, or if the cache folder cannot be used.
    pub fn new(config: SandboxConfig) -> Result<Self, SandboxError> {
        let max_instances = config.max_instances.clamp(1, 1_000);
        let engine = engine::running(max_instances)?;
        let mut linker = Linker::new(&engine);
        host::link(&mut linker)?;
        let mut linker_with_http = linker.clone();
        host::http::link(&mut linker_with_http)
            .map_err(|why| SandboxError::Engine(format!("`wasi:http` cannot be linked: {why:#}")))?;
        let mut linker_for_triggers = Linker::new(&engine);
        host::link_for_triggers(&mut linker_for_triggers)?;
        let ticker = Ticker::start(engine.clone())
            .map_err(|why| SandboxError::Engine(format!("the epoch thread cannot be started: {why}")))?;
        let shared = Shared {
            cache: open_cache(&config, &engine)?,
            engine,
            ticker: Arc::new(ticker),
            linker,
            linker_with_http,
            linker_for_triggers,
            outbound: Arc::new(Outbound::new()),
            compiler: config.compiler,
            bounds: config.compile,
            components: RwLock::default(),
        };
        Ok(Self {
            executors: Executors::start(config.executors)?,
            shared: Arc::new(shared),
            slots: Semaphore::new(usize::try_from(max_instances).unwrap_or(1)),
            loads: Arc::new(Semaphore::new(MAX_LOADS)),
            compiling: Arc::new(Semaphore::new(1)),
        })
    }

    /// Prepares the component in `file`, from the cache or by compiling it. Afterwards orders may
    /// name it. Time, memory and size are bounded, and no thread of the caller is blocked. Does
    /// nothing if the component is already prepared.
    ///
    /// # Errors
    /// If the code is not in the cache and the file does not have this digest, or if the component
    /// cannot run here.
    pub async fn load(&self, digest: Digest, file: &Path) -> Result<(), SandboxError> {
        if self.shared.component(digest).is_some() {
            return Ok(());
        }
        if self.in_turn(&self.loads, digest, file, Shared::load_compiled).await? {
            return Ok(());
        }
        // Compilations have their own queue, so components that are already compiled are loaded in
        // the meantime.
        self.in_turn(&self.compiling, digest, file, Shared::load).await
    }

    /// Loads on a separate thread, so that no thread of the caller is blocked. The turn ends with
    /// that thread, even if the caller no longer waits for it.
    async fn in_turn<T: Send + 'static>(
        &self,
        turns: &Arc<Semaphore>,
        digest: Digest,
        file: &Path,
        load: fn(&Shared, Digest, &Path) -> Result<T, SandboxError>,
    ) -> Result<T, SandboxError> {
        let turn = Arc::clone(turns).acquire_owned().await.map_err(|_| SandboxError::Closing)?;
        let (done, wait) = oneshot::channel();
        let (shared, file) = (Arc::clone(&self.shared), file.to_owned());
        std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || {
                let loaded = load(&shared, digest, &file);
                // Dropped before the answer is sent. A caller may drop the sandbox as soon as it
                // has the answer, and the sandbox must then be the last owner of the code and its
                // mapped file.
                drop(shared);
                drop(turn);
                let _ = done.send(loaded);
            })
            .map_err(|why| SandboxError::Engine(format!("no thread for loading can be started: {why}")))?;
        wait.await.unwrap_or(Err(SandboxError::Closing))
    }

    /// Drops a component. Running attempts that use it continue.
    pub fn forget(&self, digest: Digest) {
        self.shared.components.write().unwrap_or_else(PoisonError::into_inner).remove(&digest);
    }

    /// Runs one attempt on an executor thread as soon as a slot is free.
    ///
    /// Never fails: errors are part of the report. Unless the outcome is `Done` or `Skip`, no
    /// staged files remain when this returns. Dropping the future stops the guest and discards the
    /// staged files.
    pub async fn run(&self, order: AttemptOrder, services: &Services, mut stop: StopSignal) -> AttemptReport {
        let slot = tokio::select! {
            biased;
            asked = watch::asked_to_stop(&mut stop, false) => {
                let outcome = if asked == Stop::Cancel { Outcome::Cancelled } else { Outcome::HandedBack };
                return attempt::ended_early(services, outcome);
            }
            slot = self.slots.acquire() => slot,
        };
        let (Ok(_slot), Some(component)) = (slot, self.shared.component(order.component)) else {
            let message = format!("the component {} is not loaded", order.component);
            return attempt::ended_early(services, Outcome::Failed(ErrorInfo::permanent("failed", message)));
        };
        if component.imports_http() && order.http.is_empty() {
            return attempt::ended_early(services, Outcome::Failed(no_network(&order.action)));
        }
        let order = Arc::new(order);
        let gone = CancellationToken::new();
        let _gone_when_dropped = gone.clone().drop_guard();
        let attempt = Attempt {
            engine: self.shared.engine.clone(),
            ticker: Arc::clone(&self.shared.ticker),
            component,
            tape: setup::tape(&order),
            order: Arc::clone(&order),
            services: services.clone(),
            outbound: Arc::clone(&self.shared.outbound),
            stop,
            gone,
        };
        // The future of an attempt is 14 KiB. It is boxed here so that it is not moved from frame
        // to frame.
        let failed = match self.executors.spawn(async move { Box::pin(attempt.run()).await }) {
            Some(work) => match work.await {
                Ok(report) => return report,
                Err(why) => why.is_panic(),
            },
            None => false,
        };
        attempt::discard(&order, services, order.writes.iter()).await;
        let message = "the host failed while it ran the attempt: this is a bug in Anacostia, please report it";
        let outcome =
            if failed { Outcome::Failed(ErrorInfo::permanent("failed", message)) } else { Outcome::HandedBack };
        attempt::ended_early(services, outcome)
    }
}

impl Sandbox {
    /// Asks a trigger component on an executor thread as soon as a slot is free.
    ///
    /// Never fails: errors are part of the report. Dropping the future stops the guest.
    pub async fn decide(&self, order: DecisionOrder, services: &Services) -> DecisionReport {
        let slot = self.slots.acquire().await;
        let (Ok(_slot), Some(component)) = (slot, self.shared.component(order.component)) else {
            let message = format!("the component {} is not loaded", order.component);
            return DecisionReport::not_asked(ErrorInfo::permanent("failed", message));
        };
        let (asked, lines) = (Arc::new(order.attempt()), Arc::new(Lines::default()));
        let gone = CancellationToken::new();
        let _gone_when_dropped = gone.clone().drop_guard();
        let attempt = Attempt {
            engine: self.shared.engine.clone(),
            ticker: Arc::clone(&self.shared.ticker),
            component,
            tape: setup::tape(&asked),
            order: asked,
            services: Services { logs: Arc::clone(&lines) as Arc<dyn LogStore>, ..services.clone() },
            outbound: Arc::clone(&self.shared.outbound),
            // Nobody asks it to stop: the caller drops the future instead.
            stop: tokio::sync::watch::channel(Stop::No).1,
            gone,
        };
        match self.executors.spawn(async move { Box::pin(attempt.decide(&order, lines)).await }) {
            Some(work) => match work.await {
                Ok(report) => report,
                Err(why) if why.is_panic() => DecisionReport::not_asked(ErrorInfo::permanent(
                    "failed",
                    "the host failed while it asked the component: this is a bug in Anacostia, please report it",
                )),
                Err(_) => DecisionReport::not_asked(decision::stopping()),
            },
            None => DecisionReport::not_asked(decision::stopping()),
        }
    }
}

/// Returns the error for a component that imports `wasi:http` in an action that is granted no host.
/// A checked manifest never leads to it.
fn no_network(action: &str) -> ErrorInfo {
    let lines = Grant::Http.lines(action, "");
    let message = format!(
        "the component imports `wasi:http`, and `{action}` is granted no host; to grant it, write in anacostia.toml:\n{lines}"
    );
    ErrorInfo::permanent("denied", message)
}

impl Shared {
    fn component(&self, digest: Digest) -> Option<ReadyComponent> {
        self.components.read().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned()
    }

    /// Prepares a component whose code is in the cache. Returns `false` if the cache does not have
    /// it. The file is not read again (20 MB for a component with an interpreter): it was checked
    /// when it was compiled, and the cache finds the code by the file's digest.
    fn load_compiled(&self, digest: Digest, _: &Path) -> Result<bool, SandboxError> {
        let Some(component) = self.cache.load(digest, &self.engine) else { return Ok(false) };
        self.link(digest, &component).map(|()| true)
    }

    /// Prepares a component, and compiles it if the cache does not have it.
    fn load(&self, digest: Digest, file: &Path) -> Result<(), SandboxError> {
        let bytes = compile::read(file, digest)?;
        // Another caller may have compiled it while this one waited for its turn.
        let component = match self.cache.load(digest, &self.engine) {
            Some(component) => component,
            None => self.compile(digest, &bytes)?,
        };
        self.link(digest, &component)
    }

    fn link(&self, digest: Digest, component: &Component) -> Result<(), SandboxError> {
        let misfit = |why: wasmtime::Error| SandboxError::Link { component: digest, why: format!("{why:#}") };
        let linker = match component {
            decider if ready::is_decider(decider) => &self.linker_for_triggers,
            action if ready::imports_http(action, &self.engine) => &self.linker_with_http,
            _ => &self.linker,
        };
        let ready = linker.instantiate_pre(component).and_then(ReadyComponent::new).map_err(misfit)?;
        self.components.write().unwrap_or_else(PoisonError::into_inner).insert(digest, ready);
        Ok(())
    }

    fn compile(&self, digest: Digest, bytes: &[u8]) -> Result<Component, SandboxError> {
        let failed = |why: String| SandboxError::Compile { component: digest, why };
        let scratch = self.cache.scratch();
        let compiled = compile::compile(&self.engine, self.compiler.as_deref(), self.bounds, bytes, &scratch);
        if let Err(why) = compiled {
            let _ = std::fs::remove_file(&scratch);
            return Err(failed(why));
        }
        self.cache.keep(&scratch, digest, &self.engine).map_err(|why| failed(why.to_string()))
    }
}

/// Runs attempts. The scheduler depends on this trait only, so attempts can run outside this
/// process.
#[async_trait]
pub trait Executor: Send + Sync {
    /// Prepares the component in `file`, and compiles it if needed. Does nothing if it is already
    /// prepared.
    ///
    /// # Errors
    /// If the file cannot be read, does not have this digest, or is not a component that can run.
    async fn load(&self, digest: Digest, file: &Path) -> Result<(), SandboxError>;

    /// Drops a component. Running attempts that use it continue.
    fn forget(&self, digest: Digest);

    /// Runs one attempt as soon as a slot is free.
    ///
    /// Never fails: errors are part of the report. Unless the outcome is `Done` or `Skip`, no
    /// staged files remain when this returns. Dropping the future stops the guest and discards the
    /// staged files.
    async fn run(&self, order: AttemptOrder, services: &Services, stop: StopSignal) -> AttemptReport;

    /// Asks a trigger component as soon as a slot is free. It reads what `services` has, and writes
    /// nothing: its log lines are part of the report.
    ///
    /// Never fails: errors are part of the report. Dropping the future stops the guest.
    async fn decide(&self, order: DecisionOrder, services: &Services) -> DecisionReport;
}

#[async_trait]
impl Executor for Sandbox {
    async fn load(&self, digest: Digest, file: &Path) -> Result<(), SandboxError> {
        Sandbox::load(self, digest, file).await
    }

    fn forget(&self, digest: Digest) {
        Sandbox::forget(self, digest);
    }

    async fn run(&self, order: AttemptOrder, services: &Services, stop: StopSignal) -> AttemptReport {
        Sandbox::run(self, order, services, stop).await
    }

    async fn decide(&self, order: DecisionOrder, services: &Services) -> DecisionReport {
        Sandbox::decide(self, order, services).await
    }
}
