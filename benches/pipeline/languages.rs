//! What each language costs: the size of a component, its first compilation, a start from the
//! cache, and a run. Measured with the example action `metric` and a file without a single row,
//! which it opens, reads and skips. For a language with an interpreter, another row shows its
//! overhead: a run of an action that does nothing.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::Bench;
use crate::host::{Host, Pipeline, agent};
use crate::table::{Figure, Row, quantile};

const LANGUAGES: [&str; 6] = ["rust", "c", "go", "javascript", "typescript", "python"];

/// Languages with an interpreter: the script that builds for them, and how long a run that does
/// nothing may take.
const INTERPRETED: [(&str, &str, f64); 2] =
    [("javascript", "build-js-guest", 1.5e-3), ("python", "build-python-guest", 2e-3)];

/// A file that contains only the header.
const NO_ROWS: &[u8] = b"sensor,value\n";

/// Measures each language on its own, then all of them in one pipeline.
pub(crate) fn all(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut components = Vec::new();
    for language in LANGUAGES {
        let component = metric(bench, language)?;
        let size = fs::metadata(&component)?.len();
        let pipeline = pipeline(bench, &[(language, &component)])?;
        let first = pipeline.start()?;
        let compiled = first.ready_after.as_secs_f64();
        first.stop()?;
        let (start, run) = (starts(bench, &pipeline)?, runs(bench, &pipeline)?);
        #[expect(clippy::cast_precision_loss, reason = "a size in MiB with one decimal")]
        let size = size as f64 / f64::from(1 << 20);
        rows.push(Row::new(format!("{language}: component"), Figure::Mebibytes(size)));
        rows.push(Row::new(format!("{language}: first start, compiled on the way"), Figure::Seconds(compiled)));
        rows.push(Row::new(format!("{language}: start, compiled code cached"), Figure::Seconds(start)));
        rows.push(Row::new(format!("{language}: a run that finds no rows"), Figure::Seconds(run)));
        components.push((language, component));
    }
    for (language, script, goal) in INTERPRETED {
        let component = bench.workspace.build(&format!("noop_{language}"), script)?;
        let run = runs(bench, &pipeline(bench, &[(language, &component)])?)?;
        let row = Row::new(format!("{language}: a run of an action that does nothing"), Figure::Seconds(run));
        rows.push(row.goal(Figure::Seconds(goal)));
    }
    let together: Vec<(&str, &Path)> = components.iter().map(|(name, file)| (*name, file.as_path())).collect();
    let start = starts(bench, &pipeline(bench, &together)?)?;
    let row = Row::new("all languages in one pipeline: start, compiled code cached", Figure::Seconds(start));
    rows.push(row.goal(Figure::Seconds(0.2)));
    Ok(rows)
}

/// Builds the example action `metric` with its own build script.
fn metric(bench: &Bench, language: &str) -> Result<PathBuf> {
    let component = bench.workspace.path(&format!("{language}.wasm"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-examples").join(language).join("metric/build.sh");
    let built = Command::new(&script).arg(&component).status().with_context(|| script.display().to_string())?;
    ensure!(built.success(), "{} failed", script.display());
    Ok(component)
}

/// Creates a pipeline with an action for each of these components; the actions do not depend on
/// each other.
fn pipeline(bench: &Bench, components: &[(&str, &Path)]) -> Result<Pipeline> {
    let mut actions = String::new();
    for (name, component) in components {
        write!(
            actions,
            "[actions.{name}]\ncomponent = {:?}\nafter = [\"raw\"]\nreads = [\"raw\"]\nparams = {{ from = \"raw\" }}\n",
            component.to_string_lossy()
        )?;
    }
    bench.workspace.pipeline_of("{ max_artifacts = 1 }", 1, &actions)
}

/// Measures the time from starting the process to serving, with compiled code cached.
fn starts(bench: &Bench, pipeline: &Pipeline) -> Result<f64> {
    pipeline.start()?.stop()?;
    let mut all = Vec::new();
    for _ in 0..bench.effort.of(11, 5) {
        let host = pipeline.start()?;
        all.push(host.ready_after.as_secs_f64());
        host.stop()?;
    }
    Ok(quantile(&mut all, 0.5))
}

/// Measures the time from the start of an attempt to its end, as recorded.
fn runs(bench: &Bench, pipeline: &Pipeline) -> Result<f64> {
    let host = pipeline.start()?;
    let count = bench.effort.of(200, 40);
    for n in 0..count {
        let mut content = NO_ROWS.to_vec();
        // Different content, and still no row.
        content.extend(std::iter::repeat_n(b'\n', n));
        pipeline.drop_file(&format!("{n}.csv"), &content)?;
        host.wait_for_runs(1)?;
    }
    let mut all = (1..=count).map(|number| wall_time(&host, number)).collect::<Result<Vec<f64>>>()?;
    host.stop()?;
    Ok(quantile(&mut all, 0.5))
}

/// Returns how long the only attempt of a run took, in seconds.
fn wall_time(host: &Host, number: usize) -> Result<f64> {
    let text = host.text(&agent(), &format!("/api/v1/runs/{number}"))?;
    let run: Value = serde_json::from_str(&text)?;
    let took = run.pointer("/actions/0/attempts/0/usage/wall_time_us").and_then(Value::as_f64);
    Ok(took.context("a run without an attempt")? / 1e6)
}
