//! A folder of 1,000,000 files: the first start on it, and a host that knows them.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::Bench;
use crate::host::{Host, Pipeline, agent};
use crate::latency;
use crate::table::{Figure, Row, quantile};

/// Timeout of the runs over all files.
const DEADLINE: Duration = Duration::from_mins(30);

/// The first host records and processes all files, with the default `max_artifacts`. The next one
/// finds them known.
pub(crate) fn files(bench: &Bench) -> Result<Vec<Row>> {
    let count = bench.effort.of(1_000_000, 100_000);
    let pipeline = bench.workspace.pipeline("{}", 1, &["stamp"], "stamp")?;
    pipeline.drop_many("known", count)?;
    let mut rows = first_start(bench, &pipeline, count)?;
    rows.extend(next_start(bench, &pipeline, count)?);
    Ok(rows)
}

fn first_start(bench: &Bench, pipeline: &Pipeline, count: usize) -> Result<Vec<Row>> {
    let began = Instant::now();
    let host = pipeline.start()?;
    let first = host.wait_for_runs(1)? - began;
    let page = page(bench, &host)?;
    let all = pipeline.wait_for_processed(count, DEADLINE)? - began;
    let peak = host.peak_memory()?;
    host.stop()?;
    let with = format!("first start on {count} files");
    Ok(vec![
        Row::new(format!("{with}: until the first run has ended"), Figure::Seconds(first.as_secs_f64())),
        Row::new("… until the last run has ended", Figure::Seconds(all.as_secs_f64())),
        Row::new("… a request for the pipeline meanwhile, p50", page).goal(Figure::Seconds(20e-3)),
        Row::new("… most memory of the host, RSS", Figure::Mebibytes(peak)),
    ])
}

/// `GET /api/v1/pipeline` while a run over many files is active.
fn page(bench: &Bench, host: &Host) -> Result<Figure> {
    let agent = agent();
    let mut spans = Vec::new();
    for _ in 0..bench.effort.of(100, 20) {
        let began = Instant::now();
        host.request(&agent, "GET", "/api/v1/pipeline")?;
        spans.push(began.elapsed().as_secs_f64());
    }
    Ok(Figure::Seconds(quantile(&mut spans, 0.5)))
}

fn next_start(bench: &Bench, pipeline: &Pipeline, count: usize) -> Result<Vec<Row>> {
    let host = pipeline.start()?;
    let ready = host.ready_after.as_secs_f64();
    // The host is ready before it has compared the whole folder with its records. A file that is
    // dropped now waits until the comparison is done.
    pipeline.drop_file("after-the-restart.csv", b"found when the folder was compared\n")?;
    let began = Instant::now();
    let reconciled = host.wait_for_runs(1)? - began;
    let peak = host.peak_memory()?;
    let mut rows = vec![
        Row::new(format!("start to ready, {count} known files"), Figure::Seconds(ready)),
        Row::new("… until a new file has been worked on", Figure::Seconds(reconciled.as_secs_f64())),
        Row::new("… most memory of the host, RSS", Figure::Mebibytes(peak)),
    ];
    rows.extend(latency::rows(bench, pipeline, host, &format!("{count} known files"))?);
    Ok(rows)
}
