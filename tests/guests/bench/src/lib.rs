//! The guest of the benchmarks: does as little work as its param `mode` allows, so that the
//! benchmark measures the host.

use anacostia_guest::metadata::{self, Metric};
use anacostia_guest::{CHUNK_BYTES, Error, Outcome, Result, chunks, log, resources, run_context};
use serde::Deserialize;
use wasip2::clocks::{monotonic_clock, wall_clock};

// Does not use `action!`, whose panic hook would run before our first instruction.
struct Action;

impl anacostia_guest::generated::Guest for Action {
    fn run() -> Result<Outcome> {
        let began = wall_clock::now();
        run(began.seconds * 1_000_000_000 + u64::from(began.nanoseconds))
    }
}

anacostia_guest::generated::export!(Action with_types_in anacostia_guest::generated);

/// Steps of the metric that is recorded.
const STEPS: u32 = 20;

#[derive(Deserialize)]
struct Params {
    mode: Mode,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// Does nothing.
    Nothing,
    /// Logs when it started: nanoseconds since 1970.
    Stamp,
    /// Reads its inputs in `raw`, and returns their number of lines. Fails if a file says that it
    /// is broken.
    Count,
    /// Same as `count`, and records a metric of [`STEPS`] steps.
    Measure,
    /// Reads its inputs in `raw` in chunks of 1 MiB, and logs `BYTES NANOSECONDS`.
    Read,
}

fn run(began_ns: u64) -> Result<Outcome> {
    let params = run_context::params();
    let params: Params =
        serde_json::from_str(&params).map_err(|error| Error::permanent(format!("bad params {params}: {error}")))?;
    match params.mode {
        Mode::Nothing => Ok(Outcome::Done(None)),
        Mode::Stamp => {
            log::info(&began_ns.to_string(), &[]);
            Ok(Outcome::Done(None))
        }
        Mode::Count => Ok(Outcome::Done(Some(format!("{} lines", count()?)))),
        Mode::Measure => measure(),
        Mode::Read => read(),
    }
}

/// Returns the number of lines of its inputs in `raw`.
fn count() -> Result<usize> {
    let mut lines = 0;
    for artifact in resources::inputs("raw")? {
        for chunk in chunks(&resources::open(&artifact.id)?, CHUNK_BYTES) {
            let chunk = chunk?;
            if chunk.starts_with(b"file,broken") {
                return Err(Error::permanent(format!("{} is broken", artifact.path)));
            }
            lines += chunk.iter().filter(|byte| **byte == b'\n').count();
        }
    }
    Ok(lines)
}

/// Records a curve that falls, as training does.
fn measure() -> Result<Outcome> {
    let lines = count()?;
    let curve: Vec<Metric> = (1..=STEPS)
        .map(|step| Metric { name: "loss".to_owned(), value: 1.0 / f64::from(step), step: Some(step.into()) })
        .collect();
    metadata::log_metrics(&curve)?;
    Ok(Outcome::Done(Some(format!("{lines} lines"))))
}

fn read() -> Result<Outcome> {
    for artifact in resources::inputs("raw")? {
        let reader = resources::open(&artifact.id)?;
        let began = monotonic_clock::now();
        let mut bytes = 0;
        for chunk in chunks(&reader, CHUNK_BYTES) {
            bytes += chunk?.len();
        }
        let took = monotonic_clock::now() - began;
        log::info(&format!("{bytes} {took}"), &[]);
    }
    Ok(Outcome::Done(None))
}
