//! The pages of people: how long the server takes for each over a history, and what clients that
//! follow the events cost.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Bench;
use crate::host::{DEADLINE, agent};
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
    let pipeline = bench.workspace.pipeline(&trigger, 4, &["lines", "size"], "measure")?;
    let failing = runs / 10;
    pipeline.drop_many("known", (runs - failing) * EACH)?;
    pipeline.drop_many("broken", failing * EACH)?;
    let host = pipeline.start()?;
    pipeline.wait_for_processed(runs * EACH, DEADLINE)?;
    let agent = agent();
    let newest: Value = serde_json::from_str(&host.text(&agent, "/api/v1/artifacts?limit=1")?)?;
    let artifact = newest.pointer("/items/0/id").and_then(Value::as_str).context("there is no artifact")?.to_owned();
    let failed: Value = serde_json::from_str(&host.text(&agent, "/api/v1/runs?state=failed&limit=1")?)?;
    let failed = failed.pointer("/items/0/number").context("no run has failed")?.to_string();
    let middle = runs / 2;
    let compared = |count: usize| (0..count).map(|n| format!("run={}", middle - n)).collect::<Vec<_>>().join("&");
    let pages = [
        ("the pipeline", "/".to_owned()),
        ("runs", "/runs".to_owned()),
        ("failed runs", "/runs?state=failed".to_owned()),
        ("the longest runs", "/runs?sort=longest".to_owned()),
        ("a failed run", format!("/runs/{failed}")),
        ("a run", format!("/runs/{middle}")),
        ("… its graph", format!("/runs/{middle}/graph")),
        ("… its logs", format!("/runs/{middle}/logs")),
        ("… its artifacts", format!("/runs/{middle}/artifacts")),
        ("… its metrics", format!("/runs/{middle}/metrics")),
        ("… its events", format!("/runs/{middle}/events")),
        ("two runs compared", format!("/runs/compare?{}", compared(2))),
        ("six runs compared", format!("/runs/compare?{}", compared(6))),
        ("a resource", "/resources/raw".to_owned()),
        ("an action", "/actions/lines".to_owned()),
        ("an artifact with its lineage", format!("/artifacts/{artifact}")),
        ("metrics", "/runs/metrics".to_owned()),
        ("approvals", "/approvals".to_owned()),
        ("the API", "/api".to_owned()),
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
