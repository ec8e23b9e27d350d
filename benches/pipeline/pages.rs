//! A long history: 1,000,000 runs on record.

use std::time::Instant;

use anyhow::Result;
use rusqlite::Connection;

use crate::Bench;
use crate::history::copy_the_run;
use crate::host::{Host, Pipeline, agent};
use crate::latency;
use crate::table::{Figure, Row, quantile};

const RUNS: u64 = 1_000_000;

fn with_history(bench: &Bench) -> Result<(Pipeline, Host)> {
    let pipeline = bench.workspace.pipeline("{}", 1, &["stamp"], "stamp")?;
    let host = pipeline.start()?;
    pipeline.drop_file("first.csv", b"the run that is copied\n")?;
    host.wait_for_runs(1)?;
    host.stop()?;
    copy_the_run(&mut Connection::open(pipeline.path("state/metadata.db"))?, RUNS)?;
    let host = pipeline.start()?;
    Ok((pipeline, host))
}

/// Measures pages of the list of runs as JSON, and the home page.
pub(crate) fn runs(bench: &Bench) -> Result<Vec<Row>> {
    let (pipeline, host) = with_history(bench)?;
    let db = pipeline.database()?;
    let mut rows = Vec::new();
    let mut bare = spans(bench, || {
        let mut page = db.prepare_cached("SELECT * FROM runs ORDER BY number DESC LIMIT 51")?;
        let mut found = page.query([])?;
        while let Some(row) = found.next()? {
            std::hint::black_box(row.get_ref(3)?);
        }
        Ok(())
    })?;
    let bare = Figure::Seconds(quantile(&mut bare, 0.5));
    let agent = agent();
    let middle = format!("/api/v1/runs?limit=50&state=succeeded&cursor={}", RUNS / 2);
    for (name, path) in [
        ("page of 50 runs, 1,000,000 recorded", "/api/v1/runs?limit=50"),
        ("… from the middle, filtered by state", middle.as_str()),
        ("… the home page", "/"),
    ] {
        let mut ours = spans(bench, || host.request(&agent, "GET", path).map(drop))?;
        rows.push(Row::new(name, Figure::Seconds(quantile(&mut ours, 0.5))).floor(bare).goal(Figure::Seconds(20e-3)));
    }
    host.stop()?;
    Ok(rows)
}

/// Measures whether a long history makes new runs slower.
pub(crate) fn latency(bench: &Bench) -> Result<Vec<Row>> {
    let (pipeline, host) = with_history(bench)?;
    latency::rows(bench, &pipeline, host, "1,000,000 runs recorded")
}

/// Returns how long the work takes each time, in seconds.
pub(crate) fn spans(bench: &Bench, mut work: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let mut spans = Vec::new();
    for _ in 0..bench.effort.of(300, 50) {
        let began = Instant::now();
        work()?;
        spans.push(began.elapsed().as_secs_f64());
    }
    Ok(spans)
}
