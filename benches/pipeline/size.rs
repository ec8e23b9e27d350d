//! What a long history costs: 1,000,000 runs with five attempts each, over each kind of store on
//! disk, beside an empty store.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
use rusqlite::Connection;
use tokio_postgres::NoTls;

use crate::Bench;
use crate::history::{self, copy_the_run};
use crate::host::{ANACOSTIA, Host, Pipeline, agent, chain, small};
use crate::pages;
use crate::servers::TestServer;
use crate::table::{Figure, Row, quantile};

const RUNS: u64 = 1_000_000;
const ACTIONS: [&str; 5] = ["one", "two", "three", "four", "five"];
/// Runs that warm everything up, and are not measured.
const WARM_UP: usize = 20;

pub(crate) fn sqlite(bench: &Bench) -> Result<Vec<Row>> {
    let pipeline = pipeline(bench, "")?;
    measure(bench, "SQLite", &pipeline, |runs| {
        copy_the_run(&mut Connection::open(pipeline.path("state/metadata.db"))?, runs)
    })
}

pub(crate) fn postgres(bench: &Bench) -> Result<Vec<Row>> {
    let server = TestServer::postgres()?;
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", server.port);
    let pipeline = pipeline(bench, &format!("[metadata_store]\nkind = \"postgres\"\nurl = \"{url}\"\n"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (client, connection) = runtime.block_on(tokio_postgres::connect(&url, NoTls))?;
    runtime.spawn(connection);
    measure(bench, "PostgreSQL", &pipeline, |runs| {
        runtime.block_on(client.batch_execute("SET search_path TO anacostia"))?;
        copy_the_run(&mut history::Postgres { runtime: &runtime, client: &client }, runs)?;
        // As autovacuum does after some minutes.
        Ok(runtime.block_on(client.batch_execute("VACUUM ANALYZE"))?)
    })
}

fn pipeline(bench: &Bench, store: &str) -> Result<Pipeline> {
    bench.workspace.pipeline_of("{}", 1, &(chain(&ACTIONS, "nothing") + store))
}

fn measure(bench: &Bench, store: &str, pipeline: &Pipeline, fill: impl FnOnce(u64) -> Result<()>) -> Result<Vec<Row>> {
    let runs = if bench.effort.of(1, 0) == 1 { RUNS } else { RUNS / 50 };
    let host = pipeline.start()?;
    pipeline.drop_file("first.csv", b"the run that is copied\n")?;
    host.wait_for_runs(1)?;
    host.stop()?;
    // Not beside the run that is copied: the history has to be like that of the empty store.
    let host = pipeline.start()?;
    let mut empty = one_by_one(bench, pipeline, &host, "empty")?;
    host.stop()?;
    fill(runs)?;

    let host = pipeline.start()?;
    let mut full = one_by_one(bench, pipeline, &host, "full")?;
    let agent = agent();
    let mut page = pages::spans(bench, || host.request(&agent, "GET", "/api/v1/runs?limit=50").map(drop))?;
    host.stop()?;
    let (removed, mut beside) = remove_half(pipeline, runs)?;

    let seconds = |spans: &mut [f64], part| Figure::Seconds(quantile(spans, part));
    let before = seconds(&mut empty, 0.5);
    Ok(vec![
        Row::new(
            format!("{store}: file closed → its run of five actions ended, {runs} runs recorded, p50"),
            seconds(&mut full, 0.5),
        )
        .peer("empty", before),
        Row::new("… page of 50 runs", seconds(&mut page, 0.5)).goal(Figure::Seconds(20e-3)),
        Row::new(format!("… `anacostia gc` of {} runs", runs / 2), Figure::Seconds(removed)),
        Row::new("… runs beside it, p50", seconds(&mut beside, 0.5)).peer("empty", before),
        Row::new("… runs beside it, longest", seconds(&mut beside, 1.0)),
    ])
}

/// Drops files one by one, each when the run of the previous one has ended, and returns how long
/// each run took from its file.
fn one_by_one(bench: &Bench, pipeline: &Pipeline, host: &Host, prefix: &str) -> Result<Vec<f64>> {
    let spans = (0..WARM_UP + bench.effort.of(500, 100)).map(|n| one(pipeline, host, &format!("{prefix}{n}")));
    spans.skip(WARM_UP).collect()
}

fn one(pipeline: &Pipeline, host: &Host, name: &str) -> Result<f64> {
    let file = pipeline.open_file(&format!("{name}.csv"), &small(name, 1))?;
    let closed = Instant::now();
    drop(file);
    Ok((host.wait_for_runs(1)? - closed).as_secs_f64())
}

/// Has a host remove the older half of the runs, while new ones go on. Returns how long that took,
/// and the new runs.
fn remove_half(pipeline: &Pipeline, runs: u64) -> Result<(f64, Vec<f64>)> {
    let manifest = pipeline.path("anacostia.toml");
    let text = std::fs::read_to_string(&manifest)?;
    std::fs::write(&manifest, format!("{text}\n[retention]\nruns = {{ keep_last = {} }}\n", runs / 2))?;
    let host = pipeline.start()?;
    let mut gc = Command::new(ANACOSTIA);
    gc.arg("gc").arg(pipeline.path("")).stdout(std::process::Stdio::null());
    let (began, mut gc, mut spans) = (Instant::now(), gc.spawn()?, Vec::new());
    loop {
        if let Some(status) = gc.try_wait()? {
            ensure!(status.success(), "`anacostia gc` failed");
            host.stop()?;
            return Ok((began.elapsed().as_secs_f64(), spans));
        }
        spans.push(one(pipeline, &host, &format!("beside{}", spans.len()))?);
    }
}
