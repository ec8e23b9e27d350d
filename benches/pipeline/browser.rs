//! What a browser sees of a host, and what its open page costs.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::Bench;
use crate::host::{Host, small};
use crate::latency;
use crate::table::{Figure, Row, quantile};

/// A browser that has the first page of a host open.
pub(crate) struct Browser {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    /// When each page had its first paint, in milliseconds.
    paints: Vec<f64>,
    /// Bytes of all scripts, styles, fonts and pictures of the pages, as they were sent.
    assets: f64,
}

impl Browser {
    /// Opens the page `count` times to see how fast it appears, and once more to stay.
    pub(crate) fn open(host: &Host, count: usize) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self::start(Command::new(root.join("scripts/test-browser")), host, count)
    }

    /// Opens the page to stay, in a browser that works only while a processor has nothing else to
    /// do. The host then has the processors as if the browser were on another machine.
    pub(crate) fn open_at_idle_priority(host: &Host) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new("chrt");
        command.args(["--idle", "0"]).arg(root.join("scripts/test-browser"));
        Self::start(command, host, 0)
    }

    fn start(mut command: Command, host: &Host, count: usize) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut process = command
            .arg(root.join("benches/browser.mjs"))
            .arg(&host.url)
            .arg(count.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} does not start", command.get_program().display()))?;
        let stdout = process.stdout.take().context("the browser has no standard output")?;
        let lines = BufReader::new(stdout).lines();
        let mut browser = Self { process, lines, paints: Vec::new(), assets: 0.0 };
        (browser.paints, browser.assets) = serde_json::from_value(browser.next()?)?;
        Ok(browser)
    }

    /// Reads the next line that its script prints, which is JSON.
    fn next(&mut self) -> Result<Value> {
        let line = self.lines.next().context("the script of the browser has ended")??;
        serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))
    }

    /// Returns when each run was first seen to have succeeded, in milliseconds since 1970, and
    /// closes the browser.
    pub(crate) fn close(mut self) -> Result<HashMap<String, f64>> {
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

/// Measures what a browser sees: the first paint, how much it fetches, how soon the end of a run is
/// on an open page, and whether that page makes runs slower.
pub(crate) fn seen(bench: &Bench) -> Result<Vec<Row>> {
    let pipeline = bench.workspace.pipeline("{}", 1, &["stamp"], "stamp")?;
    let host = pipeline.start()?;
    for n in 0..40 {
        pipeline.drop_file(&format!("known{n}.csv"), &small("known", n))?;
        host.wait_for_runs(1)?;
    }
    let mut browser = Browser::open(&host, bench.effort.of(20, 5))?;
    let (mut paints, assets) = (std::mem::take(&mut browser.paints), browser.assets);
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
        Row::new("all that the pages load besides themselves, compressed", Figure::Kilobytes(assets / 1e3))
            .goal(Figure::Kilobytes(150.0)),
        Row::new("end of a run → on an open page, p50", Figure::Seconds(quantile(&mut spans, 0.5))),
        Row::new("… p95", Figure::Seconds(quantile(&mut spans, 0.95))).goal(Figure::Seconds(50e-3)),
    ];
    let _open = Browser::open(&host, 1)?;
    host.forget_runs();
    rows.extend(latency::rows(bench, &pipeline, host, "a page open")?);
    Ok(rows)
}
