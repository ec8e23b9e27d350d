//! The guest of the benchmarks: does as little work as its param `mode` allows, so that the
//! benchmark measures the host.

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
    /// Reads its inputs in `raw`, and returns their number of lines.
    Count,
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
        Mode::Count => {
            let mut lines = 0;
            for artifact in resources::inputs("raw")? {
                for chunk in chunks(&resources::open(&artifact.id)?, CHUNK_BYTES) {
                    lines += chunk?.iter().filter(|byte| **byte == b'\n').count();
                }
            }
            Ok(Outcome::Done(Some(format!("{lines} lines"))))
        }
        Mode::Read => read(),
    }
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
