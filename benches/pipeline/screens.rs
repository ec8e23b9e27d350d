//! The pages of people: how long the server takes for each over a history, and what a browser sees.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Bench;
use crate::host::{DEADLINE, Host, agent, small};
use crate::latency;
use crate::pages::spans;
use crate::table::{Figure, Row, quantile};

/// Artifacts of each run.
const EACH: usize = 10;
/// What each page may take.
const GOAL: Figure = Figure::Seconds(30e-3);

/// Measures all pages over 10,000 runs with 10 artifacts each.
pub(crate) fn all(bench: &Bench) -> Result<Vec<Row>> {
    let runs = bench.effort.of(10_000, 500);
    let trigger = format!("{{ min_artifacts = {EACH}, max_artifacts = {EACH} }}");
    let pipeline = bench.workspace.pipeline(&trigger, 4, &["lines", "size"], "count")?;
    pipeline.drop_many("known", runs * EACH)?;
    let host = pipeline.start()?;
    pipeline.wait_for_processed(runs * EACH, DEADLINE)?;
    let agent = agent();
    let newest: Value = serde_json::from_str(&host.text(&agent, "/api/v1/artifacts?limit=1")?)?;
    let artifact = newest.pointer("/items/0/id").and_then(Value::as_str).context("there is no artifact")?.to_owned();
    let (middle, older) = (runs / 2, runs / 2 - 1);
    let pages = [
        ("the pipeline", "/".to_owned()),
        ("runs", "/runs".to_owned()),
        ("failed runs", "/runs?state=failed".to_owned()),
        ("the longest runs", "/runs?sort=longest".to_owned()),
        ("a run", format!("/runs/{middle}")),
        ("… its graph", format!("/runs/{middle}/graph")),
        ("… its logs", format!("/runs/{middle}/logs")),
        ("… its artifacts", format!("/runs/{middle}/artifacts")),
        ("… its events", format!("/runs/{middle}/events")),
        ("two runs compared", format!("/runs/compare?run={older}&run={middle}")),
        ("a resource", "/resources/raw".to_owned()),
        ("an action", "/actions/lines".to_owned()),
        ("an artifact with its lineage", format!("/artifacts/{artifact}")),
        ("metrics", "/runs/metrics".to_owned()),
        ("settings", "/settings".to_owned()),
    ];
    let mut rows = Vec::new();
    for (name, path) in pages {
        let mut taken = spans(bench, || host.request(&agent, "GET", &path).map(drop))?;
        let name = format!("page, p95, {runs} runs of {EACH} files: {name}");
        rows.push(Row::new(name, Figure::Seconds(quantile(&mut taken, 0.95))).goal(GOAL));
    }
    host.stop()?;
    Ok(rows)
}

/// Measures the pages of a log of 1 GB.
pub(crate) fn log(bench: &Bench) -> Result<Vec<Row>> {
    let lines = bench.effort.of(5_400_000, 400_000);
    let worker = bench.workspace.build("worker", "build-rust-guest")?;
    let text = "0123456789".repeat(6);
    let pipeline = bench.workspace.pipeline_with(&format!(
        "manifest_version = 1\n[pipeline]\nname = \"bench\"\nlogs = \"8GiB\"\n\
         [resources.raw]\nkind = \"folder\"\npath = \"raw\"\n\
         [actions.talk]\ncomponent = \"{}\"\nreads = [\"raw\"]\nlimits = {{ log = \"1GiB\", cpu = \"10m\", wall = \"20m\" }}\n\
         params = {{ steps = [{{ do = \"log\", message = \"{text}\", times = {lines} }}] }}\n",
        worker.display()
    ))?;
    let host = pipeline.start()?;
    let agent = agent();
    let url = format!("{}/api/v1/runs/{}", host.url, anacostia::base::RunId::new());
    agent.put(&url).send_empty()?;
    host.wait_for_runs(1)?;
    let mut bytes = 0;
    for segment in std::fs::read_dir(pipeline.path("state/logs"))? {
        bytes += segment?.metadata()?.len();
    }
    let size = format!("{}.{} GB", bytes / 1_000_000_000, bytes / 100_000_000 % 10);
    let mut rows = Vec::new();
    for (name, path) in [("its end", "/runs/1/logs"), ("its beginning", "/runs/1/logs?from=start")] {
        let mut taken = spans(bench, || host.request(&agent, "GET", path).map(drop))?;
        let name = format!("page of a log of {size}, p95: {name}");
        rows.push(Row::new(name, Figure::Seconds(quantile(&mut taken, 0.95))).goal(GOAL));
    }
    host.stop()?;
    Ok(rows)
}

/// A browser that has the first page of a host open.
struct Browser {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Browser {
    /// Opens the page `count` times, and once more to stay. Returns when each had its first paint,
    /// in milliseconds.
    fn open(host: &Host, count: usize) -> Result<(Self, Vec<f64>)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut process = Command::new(root.join("scripts/test-browser"))
            .arg(root.join("benches/browser.mjs"))
            .arg(&host.url)
            .arg(count.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("scripts/test-browser does not start")?;
        let stdout = process.stdout.take().context("the browser has no standard output")?;
        let mut browser = Self { process, lines: BufReader::new(stdout).lines() };
        let paints = serde_json::from_value(browser.next()?)?;
        Ok((browser, paints))
    }

    /// Reads the next line that its script prints, which is JSON.
    fn next(&mut self) -> Result<Value> {
        let line = self.lines.next().context("the script of the browser has ended")??;
        serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))
    }

    /// Returns when each run was first seen to have succeeded, in milliseconds since 1970, and
    /// closes the browser.
    fn close(mut self) -> Result<HashMap<String, f64>> {
        drop(self.process.stdin.take());
        let seen = serde_json::from_value(self.next()?)?;
        ensure!(self.process.wait()?.success(), "the script of the browser has failed");
        Ok(seen)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The script closes its browser when its input ends.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Measures what a browser sees: the first paint, how soon the end of a run is on an open page, and
/// whether that page makes runs slower.
pub(crate) fn in_browser(bench: &Bench) -> Result<Vec<Row>> {
    let pipeline = bench.workspace.pipeline("{}", 1, &["stamp"], "stamp")?;
    let host = pipeline.start()?;
    for n in 0..40 {
        pipeline.drop_file(&format!("known{n}.csv"), &small("known", n))?;
        host.wait_for_runs(1)?;
    }
    let (browser, mut paints) = Browser::open(&host, bench.effort.of(20, 5))?;
    let mut ended = Vec::new();
    for n in 0..bench.effort.of(200, 30) {
        pipeline.drop_file(&format!("seen{n}.csv"), &small("seen", n))?;
        host.wait_for_runs(1)?;
        ended.push((41 + n, SystemTime::now().duration_since(UNIX_EPOCH)?));
        // Longer than the page waits between two looks, as if files came now and then.
        std::thread::sleep(Duration::from_millis(150));
    }
    let seen = browser.close()?;
    let mut spans = Vec::new();
    for (run, ended) in ended {
        let seen =
            seen.get(&run.to_string()).with_context(|| format!("the page has not shown the end of run {run}"))?;
        spans.push((seen / 1e3 - ended.as_secs_f64()).max(0.0));
    }
    let seconds = |paints: &mut Vec<f64>, at| Figure::Seconds(quantile(paints, at) / 1e3);
    let mut rows = vec![
        Row::new("first paint in Chromium, p50", seconds(&mut paints, 0.5)).goal(Figure::Seconds(0.3)),
        Row::new("… p95", seconds(&mut paints, 0.95)),
        Row::new("end of a run → on an open page, p50", Figure::Seconds(quantile(&mut spans, 0.5))),
        Row::new("… p95", Figure::Seconds(quantile(&mut spans, 0.95))).goal(Figure::Seconds(50e-3)),
    ];
    let _open = Browser::open(&host, 1)?;
    host.forget_runs();
    rows.extend(latency::rows(bench, &pipeline, host, "a page open")?);
    Ok(rows)
}

/// Clients of the event stream, besides one that never reads.
const CLIENTS: usize = 999;

/// Measures whether 1,000 clients that follow the events make runs slower, and the memory that they
/// cost.
pub(crate) fn clients(bench: &Bench) -> Result<Vec<Row>> {
    let pipeline = bench.workspace.pipeline("{}", 1, &["stamp"], "stamp")?;
    let host = pipeline.start()?;
    let address = host.url.strip_prefix("http://").context("not an address")?.to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_io().build()?;
    let silent = runtime.block_on(follow(&address))?;
    for _ in 0..CLIENTS {
        let mut client = runtime.block_on(follow(&address))?;
        runtime.spawn(async move { tokio::io::copy(&mut client, &mut tokio::io::sink()).await });
    }
    let (idle, _) = host.memory()?;
    let mut rows = vec![Row::new("memory with 1,000 clients of the event stream, RSS", Figure::Mebibytes(idle))];
    rows.extend(latency::rows(bench, &pipeline, host, "1,000 clients of the event stream")?);
    drop(silent);
    Ok(rows)
}

/// Asks for the event stream, and returns the connection once the answer has begun.
async fn follow(address: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET /api/v1/events HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await?;
    ensure!(begin.ends_with(b" 200"), "the event stream answers {}", String::from_utf8_lossy(&begin));
    Ok(stream)
}
