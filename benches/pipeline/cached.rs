//! Time of a run whose actions are all cached: a second run on the same data.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::Bench;
use crate::host::agent;
use crate::table::{Figure, Row, quantile};

/// Three actions, one after another: each reads what the one before it has made, and writes 1 MiB.
const MANIFEST: &str = r#"
manifest_version = 1
[pipeline]
name = "bench"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
trigger = { min_artifacts = 100 }
[resources.made]
kind = "folder"
path = "made"
[actions.first]
component = "../worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["made"]
cache = true
params = { steps = [{ do = "read", from = "raw" }, { do = "write", to = "made", path = "first.bin", bytes = 1048576, overwrite = true }] }
[actions.second]
component = "../worker.wasm"
after = ["first"]
reads = ["made"]
writes = ["made"]
cache = true
params = { steps = [{ do = "read", from = "made" }, { do = "write", to = "made", path = "second.bin", bytes = 1048576, overwrite = true }] }
[actions.third]
component = "../worker.wasm"
after = ["second"]
reads = ["made"]
writes = ["made"]
cache = true
params = { steps = [{ do = "read", from = "made" }, { do = "write", to = "made", path = "third.bin", bytes = 1048576, overwrite = true }, { do = "metrics", name = "loss", values = [0.5, 0.25] }] }
"#;

/// How many inputs the first action has.
const INPUTS: usize = 100;

pub(crate) fn again(bench: &Bench) -> Result<Vec<Row>> {
    bench.workspace.build("worker", "build-rust-guest")?;
    let pipeline = bench.workspace.pipeline_with(MANIFEST)?;
    std::fs::create_dir(pipeline.path("raw"))?;
    pipeline.drop_many("in", INPUTS)?;
    let host = pipeline.start()?;
    host.wait_for_runs(1)?;
    let agent = agent();
    let mut spans = Vec::new();
    for _ in 0..bench.effort.of(200, 40) {
        let url = format!("{}/api/v1/runs/{}?wait=30s", host.url, anacostia::base::RunId::new());
        let began = Instant::now();
        let mut answer = agent.put(&url).send_json(serde_json::json!({ "rerun_of": "1" }))?;
        let run: serde_json::Value = answer.body_mut().read_json()?;
        spans.push(began.elapsed().as_secs_f64());
        let number = run.get("number").context("a run without a number")?;
        let text = host.text(&agent, &format!("/api/v1/runs/{number}"))?;
        ensure!(text.matches(r#""state":"cached""#).count() == 3, "not all is cached: {text}");
    }
    host.stop()?;
    let name = format!("a second run on {INPUTS} files, 3 actions, all cached, submit → result, p50");
    Ok(vec![
        Row::new(name, Figure::Seconds(quantile(&mut spans, 0.5))).goal(Figure::Seconds(20e-3)),
        Row::new("… p95", Figure::Seconds(quantile(&mut spans, 0.95))),
    ])
}
