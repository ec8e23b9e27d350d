//! The cost, for numerical code, of the checks for the end of a guest's slice: the same kernels as
//! native code, as a guest without the checks, and as a guest with them.
//!
//! Figures are CPU time of one thread, the shortest of several measurements: other processes on the
//! machine do not add to it. The engines differ only in the checks; the host's other settings do
//! not change the code of a loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::time::{ClockId, clock_gettime};
use wasmtime::component::{Component, InstancePre, Linker, Val};
use wasmtime::{Config, Engine, Store, UpdateDeadline};

use crate::Bench;
use crate::floor::answer;
use crate::table::{Figure, Row};

#[path = "../../tests/guests/kernels/src/kernels.rs"]
#[expect(
    clippy::indexing_slicing,
    clippy::inline_always,
    reason = "what a guest may do: a trap ends it, and what is inlined decides"
)]
mod code;

/// The host's tick.
const TICK: Duration = Duration::from_millis(2);

/// Each kernel twice: with checks, its floor being native code, and without, for comparison.
pub(crate) fn all(bench: &Bench) -> Result<Vec<Row>> {
    let file = bench.workspace.build("kernels", "build-rust-guest")?;
    let (bare, checked) = (Guest::new(&file, false)?, Guest::new(&file, true)?);
    let stop = Arc::new(AtomicBool::new(false));
    let ticker = {
        let (stop, engine) = (Arc::clone(&stop), checked.engine.clone());
        std::thread::spawn(move || {
            while !stop.load(SeqCst) {
                std::thread::sleep(TICK);
                engine.increment_epoch();
            }
        })
    };
    let data = code::Data::new();
    let mut rows = Vec::new();
    for (name, kernel) in code::KERNELS {
        let mut shortest = [f64::INFINITY; 3];
        // In turns, so that a busy moment affects all three.
        for _ in 0..bench.effort.of(12, 3) {
            let began = thread_cpu_ns();
            let expected = std::hint::black_box(kernel(&data));
            let native = Duration::from_nanos(thread_cpu_ns() - began).as_secs_f64();
            let runs = [(native, expected), bare.run(name)?, checked.run(name)?];
            for (shortest, (now, result)) in shortest.iter_mut().zip(runs) {
                *shortest = shortest.min(now);
                // Equal up to rounding: `exp` comes from another library.
                ensure!((result - expected).abs() <= 1e-9 * expected.abs(), "{name}: {result} instead of {expected}");
            }
        }
        let [native, bare, checked] = shortest.map(Figure::Seconds);
        rows.push(Row::new(format!("kernel {name}"), checked).floor(native).peer("without checks", bare));
    }
    stop.store(true, SeqCst);
    ticker.join().ok().context("the thread that ticks failed")?;
    Ok(rows)
}

/// The guest on an engine of its own.
struct Guest {
    engine: Engine,
    component: Component,
    checks: bool,
}

impl Guest {
    fn new(file: &std::path::Path, checks: bool) -> Result<Self> {
        let mut config = Config::new();
        config.epoch_interruption(checks);
        let engine = Engine::new(&config)?;
        let component = Component::from_file(&engine, file)?;
        Ok(Self { engine, component, checks })
    }

    /// Runs a kernel twice. Returns the shorter time in seconds, and the result.
    fn run(&self, kernel: &str) -> Result<(f64, f64)> {
        let mut store = Store::new(&self.engine, ());
        if self.checks {
            store.set_epoch_deadline(1);
            store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Continue(1)));
        }
        let (_, action) = self
            .component
            .get_export(None, "anacostia:pipeline/action@0.1.0")
            .context("the guest exports no action")?;
        let (_, run) = self.component.get_export(Some(&action), "run").context("the guest exports no `run`")?;
        let instance = self.linked(kernel)?.instantiate(&mut store)?;
        let mut results = [Val::Bool(false)];
        instance.get_func(&mut store, run).context("`run` is no function")?.call(&mut store, &[], &mut results)?;
        let [Val::Result(Ok(Some(outcome)))] = &results else { bail!("the guest failed: {results:?}") };
        let Val::Variant(_, Some(done)) = &**outcome else { bail!("no outcome: {outcome:?}") };
        let Val::Option(Some(text)) = &**done else { bail!("no text: {done:?}") };
        let Val::String(text) = &**text else { bail!("no text: {text:?}") };
        let (ns, result) = text.split_once(' ').context("not what the guest says")?;
        Ok((Duration::from_nanos(ns.parse()?).as_secs_f64(), result.parse()?))
    }

    /// Replaces the monotonic clock with one that counts CPU time.
    fn linked(&self, kernel: &str) -> Result<InstancePre<()>> {
        let mut linker: Linker<()> = Linker::new(&self.engine);
        linker.define_unknown_imports_as_traps(&self.component)?;
        linker.allow_shadowing(true);
        for (name, _) in self.component.component_type().imports(&self.engine) {
            let mut imported = linker.instance(name)?;
            if name.starts_with("wasi:clocks/monotonic-clock") {
                imported.func_new("now", |_, _, _, results| answer(results, Val::U64(thread_cpu_ns())))?;
            } else if name.starts_with("anacostia:pipeline/run-context") {
                let text = Val::String(format!(r#"{{"kernel":"{kernel}","times":2}}"#));
                imported.func_new("params", move |_, _, _, results| answer(results, text.clone()))?;
            }
        }
        Ok(linker.instantiate_pre(&self.component)?)
    }
}

fn thread_cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let part = |count: i64| u64::try_from(count).unwrap_or_default();
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}
