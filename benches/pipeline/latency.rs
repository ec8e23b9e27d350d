//! Latency from closing a file to the guest's first instruction.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};

use crate::Bench;
use crate::host::{DEADLINE, Host, Pipeline, small};
use crate::table::{Figure, Row, quantile};

/// Number of warm-up files, which warm code and caches and are not measured.
const WARM_UP: usize = 20;

pub(crate) fn nothing_known(bench: &Bench) -> Result<Vec<Row>> {
    known(bench, 0)
}

pub(crate) fn ten_thousand_known(bench: &Bench) -> Result<Vec<Row>> {
    known(bench, 10_000)
}

fn known(bench: &Bench, known: usize) -> Result<Vec<Row>> {
    let pipeline = bench.workspace.pipeline("{}", 1, &["stamp"], "stamp")?;
    pipeline.drop_many("known", known)?;
    let host = pipeline.start()?;
    if known > 0 {
        settle(&pipeline, &host, known)?;
    }
    rows(bench, &pipeline, host, &format!("{known} known files"))
}

/// Waits until the files that were there from the beginning are processed, in however many runs.
fn settle(pipeline: &Pipeline, host: &Host, known: usize) -> Result<()> {
    pipeline.wait_for_processed(known, DEADLINE)?;
    // The ends of those runs are on the way.
    std::thread::sleep(Duration::from_millis(200));
    host.forget_runs();
    Ok(())
}

/// Measures the latency, and returns its rows.
pub(crate) fn rows(bench: &Bench, pipeline: &Pipeline, host: Host, with: &str) -> Result<Vec<Row>> {
    let mut spans = spans(bench, pipeline, host)?;
    let (bare, bare_p95) = bench.floors.latency(bench.floors.commit);
    Ok(vec![
        Row::new(
            format!("file closed → guest's first instruction, p50, {with}"),
            Figure::Seconds(quantile(&mut spans, 0.5)),
        )
        .floor(Figure::Seconds(bare))
        .goal(Figure::Seconds(1e-3)),
        Row::new(format!("… p95, {with}"), Figure::Seconds(quantile(&mut spans, 0.95)))
            .floor(Figure::Seconds(bare_p95))
            .goal(Figure::Seconds(3e-3)),
    ])
}

/// Drops files one by one, each when the run of the previous one has ended, and compares the times
/// that guests logged with the times at which files were closed. In seconds.
pub(crate) fn spans(bench: &Bench, pipeline: &Pipeline, host: Host) -> Result<Vec<f64>> {
    let mut closed = Vec::new();
    let count = WARM_UP + bench.effort.of(500, 100);
    for n in 0..count {
        let file = pipeline.open_file(&format!("new{n}.csv"), &small("new", n))?;
        closed.push(SystemTime::now().duration_since(UNIX_EPOCH)?);
        drop(file);
        host.wait_for_runs(1)?;
        // Simulates a user who drops a file now and then: the host is idle in between, and its
        // threads sleep.
        std::thread::sleep(Duration::from_millis(5));
    }
    host.stop()?;
    let logged = pipeline.logged()?;
    let stamps = logged.len().checked_sub(count).context("runs have logged nothing")?;
    let mut spans = Vec::new();
    for (text, closed) in logged.iter().skip(stamps).zip(&closed).skip(WARM_UP) {
        let began = Duration::from_nanos(text.parse()?);
        let span = began
            .checked_sub(*closed)
            .context("a guest began before its file was closed: the clock was set, or another run came between")?;
        spans.push(span.as_secs_f64());
    }
    ensure!(spans.len() == count - WARM_UP, "some runs have logged nothing");
    Ok(spans)
}
