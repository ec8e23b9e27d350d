//! End-to-end figures over the release binary: `cargo bench --bench pipeline -- [--quick]
//! [FILTER]…`.
//!
//! Each row is measured on its own host: the real binary in its own folder, started as a user would
//! start it. Its floor is measured in the same run, by bare code that does only the work that the
//! machine must do. A busy machine slows both down, so the ratio says more than the figure; the
//! load is printed below the table. All files are removed at the end.
//!
//! Criterion is not used: these are not functions to call a million times, and most rows take
//! seconds.

mod browser;
mod burst;
mod bytes;
mod cached;
mod floor;
mod history;
mod host;
mod idle;
mod kernels;
mod languages;
mod latency;
mod million;
mod pages;
mod remote;
mod screens;
mod servers;
mod size;
mod start;
mod stores;
mod submit;
mod table;

use std::process::ExitCode;

use anyhow::{Result, bail};

use floor::Floors;
use host::Workspace;
use table::Row;

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    quick: bool,
}

impl Effort {
    /// Returns the full number, or the quick one.
    pub(crate) fn of(self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

/// What a subject needs.
pub(crate) struct Bench {
    pub(crate) effort: Effort,
    pub(crate) floors: Floors,
    pub(crate) workspace: Workspace,
}

type Subject = fn(&Bench) -> Result<Vec<Row>>;

/// Names that a filter chooses from, in the order of the table.
const SUBJECTS: [(&str, Subject); 28] = [
    ("latency", latency::nothing_known),
    ("latency-10000", latency::ten_thousand_known),
    ("runs", burst::one_action),
    ("submit", submit::over_http),
    ("burst", burst::three_actions),
    ("record", burst::record),
    ("idle-0", idle::nothing_known),
    ("idle-10000", idle::ten_thousand_known),
    ("idle-100000", idle::hundred_thousand_known),
    ("start", start::cached),
    ("stores", stores::all),
    ("million", million::files),
    ("bytes", bytes::read),
    ("cached", cached::again),
    ("languages", languages::all),
    ("size-sqlite", size::sqlite),
    ("size-postgres", size::postgres),
    ("page", pages::runs),
    ("page-latency", pages::latency),
    ("screens", screens::all),
    ("long-log", screens::log),
    ("browser", browser::seen),
    ("browser-burst", burst::page_open),
    ("clients", screens::clients),
    ("kernels", kernels::all),
    ("bucket", remote::bucket),
    ("notify", remote::notify),
    ("large", remote::large),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    if cfg!(debug_assertions) {
        bail!("this is a debug build, whose figures mean nothing: use `cargo bench --bench pipeline`");
    }
    let (mut quick, mut filters) = (false, Vec::new());
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => quick = true,
            "--bench" => {} // cargo says so
            flag if flag.starts_with('-') => {
                bail!("unknown option {flag}; the usage is: cargo bench --bench pipeline -- [--quick] [FILTER]…")
            }
            _ => filters.push(argument),
        }
    }
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let subjects: Vec<_> = SUBJECTS.into_iter().filter(|(name, _)| wanted(name)).collect();
    if subjects.is_empty() {
        let names: Vec<&str> = SUBJECTS.iter().map(|(name, _)| *name).collect();
        bail!("nothing is called so; there are: {}", names.join(" "));
    }
    let effort = Effort { quick };
    let before = table::load();
    let workspace = Workspace::new()?;
    eprintln!("measuring the floor");
    let floors = Floors::measure(effort, &workspace)?;
    let bench = Bench { effort, floors, workspace };
    let (mut rows, mut failed) = (Vec::new(), Ok(()));
    for (name, subject) in subjects {
        eprintln!("measuring {name}");
        match subject(&bench) {
            Ok(found) => rows.extend(found),
            // Rows that were measured before took minutes, so they are still printed.
            Err(error) => failed = Err(error.context(name)),
        }
    }
    table::print(&bench.floors, &rows, &before);
    failed
}
