//! Resources that lie elsewhere: a bucket with many objects, a large object, a table.

use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use tokio_postgres::NoTls;

use crate::Bench;
use crate::host::{DEADLINE, Host, Pipeline, agent, small};
use crate::servers::{Seaweed, TestServer};
use crate::table::{Figure, Row, quantile};

/// Number of warm-up artifacts.
const WARM_UP: usize = 5;
/// Clients that put objects at the same time.
const CLIENTS: usize = 8;
/// The size of the large object.
const LARGE: u64 = 5 << 30;
/// Its object is put in parts of this size.
const PART: usize = 64 << 20;

fn now() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}

/// Returns a manifest that watches `raw`, with these keys of the resource and of the action.
fn manifest(keys: &str, action: &str) -> String {
    format!(
        "manifest_version = 1\n[pipeline]\nname = \"bench\"\n[resources.raw]\n{keys}watch = true\n\
         [actions.act]\nafter = [\"raw\"]\nreads = [\"raw\"]\n{action}"
    )
}

const STAMP: &str = "component = \"../bench.wasm\"\nparams = { mode = \"stamp\" }\n";

/// Returns the spans, in seconds, from each time to what the guest of its run has logged.
fn spans(pipeline: &Pipeline, put: &[Duration]) -> Result<Vec<f64>> {
    let logged = pipeline.logged()?;
    let earlier = logged.len().checked_sub(put.len()).context("runs have logged nothing")?;
    let begun = logged.iter().skip(earlier).zip(put).skip(WARM_UP);
    begun
        .map(|(text, put)| {
            let span = Duration::from_nanos(text.parse()?).checked_sub(*put);
            Ok(span.context("a guest began too early: another run came between")?.as_secs_f64())
        })
        .collect()
}

/// An object that is put into a bucket of 100,000 others.
pub(crate) fn bucket(bench: &Bench) -> Result<Vec<Row>> {
    let folder = bench.workspace.scratch()?;
    let service = Seaweed::start(folder.path())?;
    let known = bench.effort.of(100_000, 10_000);
    std::thread::scope(|scope| -> Result<()> {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let service = &service;
                scope.spawn(move || {
                    let agent = agent();
                    let mut mine = (client..known).step_by(CLIENTS);
                    mine.try_for_each(|n| service.put(&agent, &format!("known-{n:06}.csv"), &small("known", n)))
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| client.join().ok().context("a client failed")?)
    })?;
    let pipeline =
        bench.workspace.pipeline_with(&manifest(&format!("{}interval = \"1s\"\n", service.keys()), STAMP))?;
    let host = pipeline.start()?;
    pipeline.wait_for_processed(known, DEADLINE)?;
    host.stop()?;
    // The next host knows the objects.
    let host = pipeline.start()?;
    let mut rows = cost(&service, &host, known)?;
    let (agent, mut put) = (agent(), Vec::new());
    for n in 0..WARM_UP + bench.effort.of(60, 20) {
        // At any moment of a poll, and anywhere in the listing.
        std::thread::sleep(Duration::from_millis(fastrand::u64(..1_000)));
        put.push(now()?);
        service.put(&agent, &format!("known-{:06}-new-{n}.csv", fastrand::usize(..known)), &small("new", n))?;
        host.wait_for_runs(1)?;
    }
    host.stop()?;
    let mut spans = spans(&pipeline, &put)?;
    let figure = |spans: &mut [f64], part| Figure::Seconds(quantile(spans, part));
    let with = format!("S3 object put → guest's first instruction, 1 s poll, {known} objects");
    rows.insert(0, Row::new(format!("{with}, p50"), figure(&mut spans, 0.5)).goal(Figure::Seconds(0.6)));
    rows.insert(1, Row::new("… p95", figure(&mut spans, 0.95)));
    Ok(rows)
}

/// What one poll costs when there is nothing new.
fn cost(service: &Seaweed, host: &Host, known: usize) -> Result<Vec<Row>> {
    // Waits for the end of the first listing.
    std::thread::sleep(Duration::from_secs(5));
    let (began, cpu, listings) = (Instant::now(), host.cpu()?, service.listings()?);
    std::thread::sleep(Duration::from_secs(20));
    let (span, cpu) = (began.elapsed().as_secs_f64(), host.cpu()? - cpu);
    #[expect(clippy::cast_precision_loss, reason = "a count of some hundreds")]
    let pages = known.div_ceil(1_000) as f64;
    let polls = (service.listings()? - listings) / pages;
    ensure!(polls > 0.0, "the service counts no listings");
    Ok(vec![
        Row::new(format!("… one poll: {pages} requests, CPU time of the host"), Figure::Seconds(cpu / polls)),
        Row::new("… from poll to poll", Figure::Seconds(span / polls)),
        Row::new("… memory of the host, RSS", Figure::Mebibytes(host.memory()?.0)),
    ])
}

/// A row that a transaction adds, whose trigger notifies the host.
pub(crate) fn notify(bench: &Bench) -> Result<Vec<Row>> {
    let server = TestServer::postgres()?;
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", server.port);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (client, connection) = runtime.block_on(tokio_postgres::connect(&url, NoTls))?;
    runtime.spawn(connection);
    runtime.block_on(client.batch_execute(
        "create table readings (id bigserial primary key, value text);
         create function announce() returns trigger language plpgsql as $$ begin notify readings; return null; end $$;
         create trigger announce after insert on readings for each statement execute function announce()",
    ))?;
    let keys = format!(
        "kind = \"sql\"\nurl = \"{url}\"\ntable = \"readings\"\nhigh_water = \"id\"\ninterval = \"1h\"\n\
         notify = \"readings\"\n"
    );
    let pipeline = bench.workspace.pipeline_with(&manifest(&keys, STAMP))?;
    let host = pipeline.start()?;
    // The host listens before it looks for the first time.
    runtime.block_on(client.execute("insert into readings (value) values ('first')", &[]))?;
    host.wait_for_runs(1)?;
    let mut put = Vec::new();
    for _ in 0..WARM_UP + bench.effort.of(300, 50) {
        std::thread::sleep(Duration::from_millis(5));
        put.push(now()?);
        runtime.block_on(client.execute("insert into readings (value) values ('a row')", &[]))?;
        host.wait_for_runs(1)?;
    }
    host.stop()?;
    let mut spans = spans(&pipeline, &put)?;
    Ok(vec![
        Row::new(
            "PostgreSQL insert → guest's first instruction, by NOTIFY, p50",
            Figure::Seconds(quantile(&mut spans, 0.5)),
        )
        .goal(Figure::Seconds(5e-3)),
        Row::new("… p95", Figure::Seconds(quantile(&mut spans, 0.95))),
    ])
}

/// An object of 5 GiB that an action copies to a folder. Needs 11 GiB of disk.
pub(crate) fn large(bench: &Bench) -> Result<Vec<Row>> {
    let folder = bench.workspace.scratch()?;
    let service = Seaweed::start(folder.path())?;
    let size = if bench.effort.of(1, 0) == 1 { LARGE } else { LARGE / 20 };
    put_large(&service, size)?;
    let worker = bench.workspace.build("worker", "build-rust-guest")?;
    let action = format!(
        "component = \"{}\"\nwrites = [\"out\"]\nlimits = {{ output = \"6GiB\" }}\n\
         params = {{ steps = [{{ do = \"copy\", from = \"raw\", to = \"out\" }}] }}\n\
         [resources.out]\nkind = \"folder\"\npath = \"out\"\n",
        worker.display()
    );
    let pipeline = bench.workspace.pipeline_with(&manifest(&service.keys(), &action))?;
    let began = Instant::now();
    let host = pipeline.start()?;
    host.wait_for_runs(1)?;
    let span = began.elapsed().as_secs_f64();
    let peak = host.peak_memory()?;
    host.stop()?;
    let copied = std::fs::metadata(pipeline.path("out/large.bin"))?.len();
    ensure!(copied == size, "{copied} of {size} bytes were copied");
    #[expect(clippy::cast_precision_loss, reason = "some gigabytes")]
    let rate = size as f64 / f64::from(1 << 20) / span;
    Ok(vec![
        Row::new(format!("S3 object of {} MiB → action → folder", size >> 20), Figure::Throughput(rate)),
        Row::new("… most memory of the host, RSS", Figure::Mebibytes(peak)).goal(Figure::Mebibytes(200.0)),
    ])
}

/// Puts the object `large.bin` in parts, as no client holds all of it.
fn put_large(service: &Seaweed, size: u64) -> Result<()> {
    let (agent, url) = (agent(), format!("{}/bench/large.bin", service.url));
    let begun = agent.post(&format!("{url}?uploads")).send_empty()?.body_mut().read_to_string()?;
    let id = begun.split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next()).context("no upload id")?;
    let (mut parts, mut left) = (String::new(), size);
    let mut number = 0;
    while left > 0 {
        number += 1;
        let length = usize::try_from(left)?.min(PART);
        let mut part = vec![0; length];
        fastrand::Rng::with_seed(number).fill(&mut part);
        let answer = agent.put(&format!("{url}?partNumber={number}&uploadId={id}")).send(&part)?;
        let etag = answer.headers().get("etag").context("a part has no entity tag")?.to_str()?.to_owned();
        write!(parts, "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")?;
        left -= length as u64;
    }
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    agent.post(&format!("{url}?uploadId={id}")).send(&body)?;
    Ok(())
}
