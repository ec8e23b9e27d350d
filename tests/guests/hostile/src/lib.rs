//! A guest that misbehaves as the param `mode` says. `tests/guests/README.md` lists the modes.
//!
//! Some modes never return: the host has to stop them, and its own error says why. The others try
//! what must be refused, check that it was refused with the right code, then check that what is
//! allowed still works, and end with a text that lists the results. If a check fails, they fail
//! with the code `failed`.

mod calls;
mod checks;
mod flood;
mod forbidden;
mod runaway;

use anacostia_guest::{Error, Outcome, Result, run_context};
use serde::Deserialize;

anacostia_guest::action!(run);

/// The act, and the names of the resources that it uses. If there is a `times`, a small number
/// makes the act harmless; if it is absent, the act continues forever, or until the host stops it.
#[derive(Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
enum Mode {
    Allocate { times: Option<u64> },
    Artifacts { to: String },
    Call(calls::Call),
    Denials { other: String, times: u64 },
    Facts,
    Fill { bytes: usize, times: Option<u64> },
    Haystack { text: String, times: u64 },
    HugeError { times: u64 },
    List { from: String, times: Option<u64> },
    Log { times: Option<u64> },
    LogHuge { times: Option<u64> },
    MetricNames,
    Misuse { from: String, to: String },
    OutOfBounds,
    Panic,
    ParamsFlood { times: Option<u64> },
    Paths { from: String, to: String, known: String },
    PollList { times: u64 },
    Pollables { times: u64 },
    Progress { times: u64 },
    Random { times: u64 },
    Readers { from: String },
    Recurse { times: Option<u64> },
    RecurseInMemory { times: Option<u64> },
    SleepForever { times: Option<u64> },
    Spin { times: Option<u64> },
    SpinInHost { times: Option<u64> },
    Stderr { times: Option<u64> },
    Stdout { times: Option<u64> },
    Tags { from: String },
    Trap,
    Ungranted { from: String, to: String, other: String, artifact: Option<String> },
    Wasi,
    Write { to: String, bytes: Option<u64> },
    WriteStubbornly { to: String, times: Option<u64> },
    Writers { to: String },
}

fn run() -> Result<Outcome> {
    let params = run_context::params();
    let mode: Mode =
        serde_json::from_str(&params).map_err(|error| Error::permanent(format!("bad params {params}: {error}")))?;
    let endless = |times: &Option<u64>| times.unwrap_or(u64::MAX);
    let seen = match &mode {
        Mode::Allocate { times } => runaway::allocate(endless(times)),
        Mode::Artifacts { to } => flood::artifacts(to),
        Mode::Call(call) => calls::make(call),
        Mode::Denials { other, times } => forbidden::denials(other, *times),
        Mode::Facts => forbidden::facts(),
        Mode::Fill { bytes, times } => runaway::fill(*bytes, endless(times)),
        Mode::Haystack { text, times } => flood::haystack(text, *times),
        Mode::HugeError { times } => flood::huge_error(*times),
        Mode::List { from, times } => runaway::list(from, endless(times)),
        Mode::Log { times } => flood::log_lines(endless(times)),
        Mode::LogHuge { times } => flood::log_huge(times.unwrap_or(32)),
        Mode::MetricNames => flood::metric_names(),
        Mode::Misuse { from, to } => forbidden::misuse(from, to),
        Mode::OutOfBounds => runaway::out_of_bounds(),
        Mode::Panic => panic!("this guest panics, as its params say"),
        Mode::ParamsFlood { times } => flood::params(endless(times)),
        Mode::Paths { from, to, known } => forbidden::paths(from, to, known),
        Mode::PollList { times } => flood::poll_list(*times),
        Mode::Pollables { times } => flood::pollables(*times),
        Mode::Progress { times } => flood::progress(*times),
        Mode::Random { times } => flood::random(*times),
        Mode::Readers { from } => flood::readers(from),
        Mode::Recurse { times } => runaway::recurse(endless(times)),
        Mode::RecurseInMemory { times } => runaway::recurse_in_memory(endless(times)),
        Mode::SleepForever { times } => runaway::sleep(endless(times)),
        Mode::Spin { times } => runaway::spin(endless(times)),
        Mode::SpinInHost { times } => runaway::spin_in_host(endless(times)),
        Mode::Stderr { times } => flood::stderr(times.unwrap_or(1 << 40)),
        Mode::Stdout { times } => flood::stdout(endless(times)),
        Mode::Tags { from } => flood::tags(from),
        Mode::Trap => runaway::trap(),
        Mode::Ungranted { from, to, other, artifact } => forbidden::ungranted(from, to, other, artifact.as_deref()),
        Mode::Wasi => forbidden::wasi(),
        Mode::Write { to, bytes } => flood::write(to, bytes.unwrap_or(10 << 30)),
        Mode::WriteStubbornly { to, times } => flood::write_stubbornly(to, endless(times)),
        Mode::Writers { to } => flood::writers(to),
    }?;
    Ok(Outcome::Done(Some(seen)))
}
