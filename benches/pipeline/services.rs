//! Resources that lie elsewhere, over the real servers of the tests: a bucket in SeaweedFS, a table
//! in PostgreSQL.

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, WriteMultipart};
use tokio::runtime::Runtime;

use crate::Bench;
use crate::host::{DEADLINE, Host, Pipeline, small};
use crate::support::postgres::Database;
use crate::support::s3::{KEY_ID, SECRET, Service, TestBucket};
use crate::table::{Figure, Row, quantile};

/// Number of arrivals that warm code and caches and are not measured.
const WARM_UP: usize = 5;
/// How often a bucket is listed.
const POLL: Duration = Duration::from_secs(1);

/// An object arrives in a bucket that has many: from the answer to its upload to the guest's first
/// instruction, and what one poll of such a bucket costs.
pub(crate) fn bucket(bench: &Bench) -> Result<Vec<Row>> {
    let objects = bench.effort.of(100_000, 5_000);
    let runtime = Runtime::new()?;
    let bucket = runtime.block_on(TestBucket::new(Service::SeaweedFs));
    let put = |key: String, n: usize| {
        let store = bucket.store.clone();
        async move { store.put(&Path::from(key), small("object", n).into()).await.map(drop) }
    };
    let all = stream::iter((0..objects).map(|n| put(format!("known/{n}.csv"), n)));
    runtime.block_on(all.buffer_unordered(16).try_collect::<Vec<()>>())?;

    let keys = bucket.keys(&bucket.endpoint);
    // The objects that are there already start no run of their own.
    let pipeline = bench.workspace.pipeline_over(
        &format!("{keys}interval = \"1s\"\ntrigger = {{ max_artifacts = 1_000_000 }}"),
        "[actions.act]\ncomponent = \"../bench.wasm\"\nafter = [\"raw\"]\nparams = { mode = \"stamp\" }\n",
    )?;
    let host = pipeline.start_with(&[("S3_KEY_ID", KEY_ID), ("S3_SECRET_KEY", SECRET)])?;
    pipeline.wait_for_processed(objects, DEADLINE)?;
    settle(&host);
    let (began, before) = (Instant::now(), host.cpu()?);
    std::thread::sleep(POLL * 15);
    let share = (host.cpu()? - before) / began.elapsed().as_secs_f64();
    let (rss, _) = host.memory()?;

    let mut spans = arrivals(bench.effort.of(60, 10), &pipeline, host, |n| {
        // Not in step with the polls.
        std::thread::sleep(POLL.mul_f64(fastrand::f64()));
        runtime.block_on(put(format!("new/{n}.csv"), n))?;
        now()
    })?;
    let pages = objects.div_ceil(1_000);
    Ok(vec![
        Row::new(
            format!("object put → guest's first instruction, p50, poll of 1 s, {objects} objects"),
            Figure::Seconds(quantile(&mut spans, 0.5)),
        )
        .goal(Figure::Seconds(0.6)),
        Row::new(format!("… p95, {objects} objects"), Figure::Seconds(quantile(&mut spans, 0.95))),
        Row::new(format!("… CPU time of the host for one poll, {pages} requests"), Figure::Seconds(share)),
        Row::new(format!("… memory, RSS, {objects} objects"), Figure::Mebibytes(rss)),
    ])
}

/// A row is inserted: from just before the statement is sent to the guest's first instruction.
pub(crate) fn database(bench: &Bench) -> Result<Vec<Row>> {
    let database = Database::new();
    database.execute(
        "create table readings (id bigint primary key, value double precision);\
         create function announce() returns trigger language plpgsql as \
         $$ begin notify readings; return null; end $$;\
         create trigger announce after insert on readings for each statement execute function announce();",
    );
    let url = database.url();
    let pipeline = bench.workspace.pipeline_over(
        &format!("kind = \"sql\"\nurl = \"{url}\"\ntable = \"readings\"\nhigh_water = \"id\"\nnotify = \"readings\""),
        "[actions.act]\ncomponent = \"../bench.wasm\"\nafter = [\"raw\"]\nparams = { mode = \"stamp\" }\n",
    )?;
    let host = pipeline.start_with(&[])?;
    let mut spans = arrivals(bench.effort.of(300, 50), &pipeline, host, |n| {
        // The host is idle in between, and its threads sleep.
        std::thread::sleep(Duration::from_millis(20));
        let sent = now()?;
        database.execute(&format!("insert into readings values ({n}, {n}.5)"));
        Ok(sent)
    })?;
    Ok(vec![
        Row::new(
            "row inserted, NOTIFY → guest's first instruction, p50".to_owned(),
            Figure::Seconds(quantile(&mut spans, 0.5)),
        )
        .goal(Figure::Seconds(5e-3)),
        Row::new("… p95".to_owned(), Figure::Seconds(quantile(&mut spans, 0.95))),
    ])
}

/// A large object is copied by an action from a bucket to a folder.
pub(crate) fn large_object(bench: &Bench) -> Result<Vec<Row>> {
    let bytes = bench.effort.of(5 << 30, 256 << 20);
    let runtime = Runtime::new()?;
    let bucket = runtime.block_on(TestBucket::new(Service::SeaweedFs));
    runtime.block_on(async {
        let mut upload = WriteMultipart::new(bucket.store.put_multipart(&Path::from("large.bin")).await?);
        let piece = vec![7; 8 << 20];
        for _ in 0..bytes.div_ceil(piece.len()) {
            upload.wait_for_capacity(4).await?;
            upload.write(&piece);
        }
        upload.finish().await
    })?;
    let pipeline = bench.workspace.pipeline_over(
        &bucket.keys(&bucket.endpoint),
        "[resources.out]\nkind = \"folder\"\npath = \"out\"\n\
         [actions.copy]\ncomponent = \"../bench.wasm\"\nafter = [\"raw\"]\nreads = [\"raw\"]\nwrites = [\"out\"]\n\
         params = { mode = \"copy\" }\nlimits = { output = \"8GiB\", wall = \"1h\", cpu = \"30m\" }\n",
    )?;
    let began = Instant::now();
    let host = pipeline.start_with(&[("S3_KEY_ID", KEY_ID), ("S3_SECRET_KEY", SECRET)])?;
    host.wait_for_runs(1)?;
    let took = began.elapsed().as_secs_f64();
    let peak = host.peak_memory()?;
    host.stop()?;
    let copied = fs::metadata(pipeline.path("out/large.bin"))?.len();
    ensure!(copied == bytes as u64, "{copied} bytes were copied of {bytes}");
    let mebibytes = bytes >> 20;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let rate = mebibytes as f64 / took;
    Ok(vec![
        Row::new(
            format!("object of {mebibytes} MiB → action → folder: peak memory of the host, RSS"),
            Figure::Mebibytes(peak),
        )
        .goal(Figure::Mebibytes(200.0)),
        Row::new("… throughput".to_owned(), Figure::Throughput(rate)),
    ])
}

/// Lets the ends of the runs so far pass by.
fn settle(host: &Host) {
    std::thread::sleep(Duration::from_secs(3));
    host.forget_runs();
}

/// Returns the time since 1970.
fn now() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}

/// Lets things arrive one by one, each when the run of the one before has ended. Returns the spans,
/// in seconds, from the moments that `arrive` returns to the guest's first instruction.
fn arrivals(
    count: usize,
    pipeline: &Pipeline,
    host: Host,
    arrive: impl Fn(usize) -> Result<Duration>,
) -> Result<Vec<f64>> {
    let count = WARM_UP + count;
    let mut arrived = Vec::new();
    for n in 0..count {
        arrived.push(arrive(n)?);
        host.wait_for_runs(1)?;
    }
    host.stop()?;
    let logged = pipeline.logged()?;
    let first = logged.len().checked_sub(count).context("runs have logged nothing")?;
    let spans = logged
        .iter()
        .skip(first)
        .zip(&arrived)
        .skip(WARM_UP)
        .map(|(text, arrived)| Ok(Duration::from_nanos(text.parse()?).saturating_sub(*arrived).as_secs_f64()));
    spans.collect()
}
