//! A guest that misbehaves as the param `mode` says. `tests/guests/README.md` lists the modes.
//!
//! Some modes never return: the host has to stop them, and its own error says why. The others try what must be refused, check that it
//! was refused with the right code, then check that what is allowed still works, and end with a text that lists what they saw. When
//! anything is not as it must be, they fail with the code `failed`.

mod checks;
mod flood;
mod forbidden;
mod runaway;

use anacostia_guest::{Error, Outcome, Result, run_context};
use serde::Deserialize;

anacostia_guest::action!(run);

/// What to do, with the names of the resources to do it to.
#[derive(Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
enum Mode {
    Spin,
    SpinInHost,
    SleepForever,
    Allocate,
    Trap,
    OutOfBounds,
    Panic,
    Recurse,
    RecurseInMemory,
    Write { to: String, bytes: Option<u64> },
    WriteStubbornly { to: String },
    Log,
    LogHuge,
    Paths { from: String, to: String, known: String },
    Ungranted { from: String, to: String, other: String, artifact: Option<String> },
    Denials { other: String, times: u64 },
    Misuse { from: String, to: String },
    MetricNames,
    Facts,
    Readers { from: String },
    Writers { to: String },
    Wasi,
}

fn run() -> Result<Outcome> {
    let params = run_context::params();
    let mode: Mode =
        serde_json::from_str(&params).map_err(|error| Error::permanent(format!("bad params {params}: {error}")))?;
    let seen = match &mode {
        Mode::Spin => runaway::spin(),
        Mode::SpinInHost => runaway::spin_in_host(),
        Mode::SleepForever => runaway::sleep_forever(),
        Mode::Allocate => runaway::allocate(),
        Mode::Trap => runaway::trap(),
        Mode::OutOfBounds => runaway::out_of_bounds(),
        Mode::Panic => panic!("this guest panics, as its params say"),
        Mode::Recurse => runaway::recurse(),
        Mode::RecurseInMemory => runaway::recurse_in_memory(),
        Mode::Write { to, bytes } => flood::write(to, bytes.unwrap_or(10 << 30)),
        Mode::WriteStubbornly { to } => flood::write_stubbornly(to),
        Mode::Log => flood::log_forever(),
        Mode::LogHuge => flood::log_huge(),
        Mode::Paths { from, to, known } => forbidden::paths(from, to, known),
        Mode::Ungranted { from, to, other, artifact } => forbidden::ungranted(from, to, other, artifact.as_deref()),
        Mode::Denials { other, times } => forbidden::denials(other, *times),
        Mode::Misuse { from, to } => forbidden::misuse(from, to),
        Mode::MetricNames => flood::metric_names(),
        Mode::Facts => forbidden::facts(),
        Mode::Readers { from } => flood::readers(from),
        Mode::Writers { to } => flood::writers(to),
        Mode::Wasi => forbidden::wasi(),
    }?;
    Ok(Outcome::Done(Some(seen)))
}
