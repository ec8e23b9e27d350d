//! Many at once: runs one after another, bursts of runs, bursts of files.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::Bench;
use crate::browser::Browser;
use crate::floor;
use crate::host::{Host, Pipeline, agent, chain, small};
use crate::table::{Figure, Row, quantile};

/// Number of files of a burst.
pub(crate) const BURST: usize = 500;
/// Most runs of a burst that may be active at once.
pub(crate) const CONCURRENT_RUNS: usize = 16;

/// Measures runs of one action that does nothing, one at a time. All inputs wait from the
/// beginning.
pub(crate) fn one_action(bench: &Bench) -> Result<Vec<Row>> {
    let count = bench.effort.of(3_000, 500);
    let pipeline = bench.workspace.pipeline("{ max_artifacts = 1 }", 1, &["act"], "nothing")?;
    let host = pipeline.start()?;
    pipeline.drop_file("first.csv", b"wakes everything up\n")?;
    host.wait_for_runs(1)?;
    let agent = agent();
    host.request(&agent, "POST", "/api/v1/pipeline/pause")?;
    pipeline.drop_many("one", count)?;
    pipeline.wait_for_waiting(count)?;
    let (began, used) = (Instant::now(), host.cpu()?);
    host.request(&agent, "POST", "/api/v1/pipeline/resume")?;
    let ended = host.wait_for_runs(count)?;
    let cpu = each(host.cpu()? - used, count);
    host.stop()?;
    // A run's record takes two transactions: created and started, ended.
    let bare = 2.0 * bench.floors.commit + bench.floors.instance;
    Ok(vec![
        Row::new("one-action runs, one after another", Figure::PerSecond(per_second(count, began, ended)))
            .floor(Figure::PerSecond(1.0 / bare))
            .goal(Figure::PerSecond(1_500.0)),
        cpu,
    ])
}

/// Measures bursts of files, with a run of three actions for each file. The script gets bursts of
/// the same size in turn.
pub(crate) fn three_actions(bench: &Bench) -> Result<Vec<Row>> {
    let (pipeline, host) = awake(bench, "")?;
    let (count, used) = (bench.effort.of(15, 3), host.cpu()?);
    let mut rounds = Vec::new();
    for round in 0..count {
        rounds.push((of_host(&pipeline, &host, &format!("burst{round}-"))?, of_script(bench)?));
    }
    let (ours, script) = middle(rounds)?;
    let cpu = each(host.cpu()? - used, count * BURST);
    host.stop()?;
    let bare = floor::burst(bench.workspace.scratch()?.path(), BURST, CONCURRENT_RUNS, bench.floors.instance)?;
    Ok(vec![
        Row::new("three-action runs, burst of 500 files, one file a run", Figure::PerSecond(ours))
            .floor(Figure::PerSecond(bare))
            .peer("script", Figure::PerSecond(script))
            .goal(Figure::PerSecond(script)),
        cpu,
    ])
}

/// Measures the same bursts while a browser has the first page open, in turns with bursts without
/// it. Once the browser competes for the processors, once it gets what is left of them: that shows
/// what the page costs the host itself.
pub(crate) fn page_open(bench: &Bench) -> Result<Vec<Row>> {
    let (pipeline, host) = awake(bench, "")?;
    let (mut beside, mut idle) = (Vec::new(), Vec::new());
    for round in 0..bench.effort.of(15, 3) {
        let without = of_host(&pipeline, &host, &format!("without{round}-"))?;
        let browser = Browser::open(&host, 0)?;
        beside.push((of_host(&pipeline, &host, &format!("beside{round}-"))?, without));
        browser.close()?;
        let without = of_host(&pipeline, &host, &format!("again{round}-"))?;
        let browser = Browser::open_at_idle_priority(&host)?;
        idle.push((of_host(&pipeline, &host, &format!("idle{round}-"))?, without));
        browser.close()?;
    }
    host.stop()?;
    let row =
        |name, (with, without)| Row::new(name, Figure::PerSecond(with)).peer("no page", Figure::PerSecond(without));
    Ok(vec![
        row("three-action runs, burst of 500 files, a page open", middle(beside)?),
        row("… in a browser that takes only processor time that is left", middle(idle)?),
    ])
}

/// Starts a host for bursts, and has it work once.
/// `more` is what else the manifest has.
pub(crate) fn awake(bench: &Bench, more: &str) -> Result<(Pipeline, Host)> {
    let text = chain(&["lines", "words", "size"], "count") + more;
    let pipeline = bench.workspace.pipeline_of("{ max_artifacts = 1 }", CONCURRENT_RUNS, &text)?;
    let host = pipeline.start()?;
    pipeline.drop_file("first.csv", b"wakes everything up\n")?;
    host.wait_for_runs(1)?;
    Ok((pipeline, host))
}

/// Returns the rates of the round whose ratio is the median: a slow phase of the machine slows both
/// down.
fn middle(mut rounds: Vec<(f64, f64)>) -> Result<(f64, f64)> {
    rounds.sort_by(|one, other| (one.1 / one.0).total_cmp(&(other.1 / other.0)));
    rounds.get(rounds.len() / 2).copied().context("no rounds")
}

/// Returns the runs per second of one burst.
pub(crate) fn of_host(pipeline: &Pipeline, host: &Host, prefix: &str) -> Result<f64> {
    let began = Instant::now();
    move_in(&pipeline.path("draft"), &pipeline.path("raw"), prefix)?;
    Ok(per_second(BURST, began, host.wait_for_runs(BURST)?))
}

fn of_script(bench: &Bench) -> Result<f64> {
    let scratch = bench.workspace.scratch()?;
    let folder = scratch.path().join("raw");
    std::fs::create_dir(&folder)?;
    let mut script = Reaped(
        Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/script.py"))
            .arg(&folder)
            .arg(scratch.path().join("script.db"))
            .arg(BURST.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .context("python3 does not start")?,
    );
    let mut lines = BufReader::new(script.0.stdout.take().context("the script has no standard output")?).lines();
    ensure!(lines.next().context("the script ended")?? == "ready", "the script is not ready");
    let began = Instant::now();
    move_in(&scratch.path().join("draft"), &folder, "burst")?;
    ensure!(lines.next().context("the script ended")?? == "done", "the script is not done");
    Ok(per_second(BURST, began, Instant::now()))
}

/// Writes the files of a burst, each moved into place when complete, because the script would read
/// a half-written one.
fn move_in(draft: &Path, folder: &Path, prefix: &str) -> Result<()> {
    for n in 0..BURST {
        std::fs::write(draft, small(prefix, n))?;
        std::fs::rename(draft, folder.join(format!("{prefix}{n}.csv")))?;
    }
    Ok(())
}

/// A child that does not outlive us.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures the time from the first write until all files are on record.
pub(crate) fn record(bench: &Bench) -> Result<Vec<Row>> {
    let count = 10_000;
    let pipeline = bench.workspace.pipeline("{ min_artifacts = 1_000_000 }", 1, &["act"], "nothing")?;
    let host = pipeline.start()?;
    let (mut ours, mut before, used) = (Vec::new(), 0, host.cpu()?);
    for round in 0..bench.effort.of(3, 1) {
        let began = Instant::now();
        pipeline.drop_many(&format!("record{round}-"), count)?;
        before += count;
        ours.push((pipeline.wait_for_waiting(before)? - began).as_secs_f64());
    }
    let cpu = each(host.cpu()? - used, before);
    host.stop()?;
    let bare = floor::record(bench.workspace.scratch()?.path(), count)?;
    Ok(vec![
        Row::new("10,000 files until all are recorded", Figure::Seconds(quantile(&mut ours, 0.5)))
            .floor(Figure::Seconds(bare))
            .goal(Figure::Seconds(1.0)),
        cpu,
    ])
}

/// Reports CPU time, which does not depend on the other load of the machine.
#[expect(clippy::cast_precision_loss, reason = "counts of some thousands")]
fn each(cpu: f64, count: usize) -> Row {
    Row::new("… CPU time of the host for each", Figure::Seconds(cpu / count as f64))
}

#[expect(clippy::cast_precision_loss, reason = "counts of some thousands")]
fn per_second(count: usize, began: Instant, ended: Instant) -> f64 {
    count as f64 / (ended - began).as_secs_f64()
}
