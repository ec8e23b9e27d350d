//! A long history: 1,000,000 runs on record.

use std::time::Instant;

use anyhow::Result;
use rusqlite::Connection;

use crate::Bench;
use crate::host::{Host, Pipeline, agent};
use crate::latency;
use crate::table::{Figure, Row, quantile};

const RUNS: u64 = 1_000_000;

/// A table of which a run has rows, where to copy them from, and the columns that differ from copy
/// to copy. All other columns are copied, whichever there are.
type Copies = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const COPIES: [Copies; 5] = [
    (
        "runs",
        "n, runs WHERE number = 1",
        &[
            ("number", "n"),
            ("id", "randomblob(16)"),
            ("created_at", "created_at + n * 1000"),
            ("started_at", "started_at + n * 1000"),
            ("ended_at", "ended_at + n * 1000"),
        ],
    ),
    ("run_actions", "n, run_actions WHERE run = 1", &[("run", "n")]),
    ("attempts", "n, attempts WHERE run = 1", &[("seq", "10000000 + n"), ("id", "randomblob(16)"), ("run", "n")]),
    (
        "artifacts",
        "n, artifacts WHERE seq = (SELECT min(seq) FROM artifacts)",
        &[
            ("seq", "20000000 + n"),
            ("id", "randomblob(16)"),
            ("path", "'gone' || n"),
            ("run_id", "(SELECT id FROM runs WHERE number = n)"),
            ("placed", "20000000 + n"),
            ("ended", "20000000 + n"),
        ],
    ),
    (
        "events",
        "n, events WHERE run_id IS NOT NULL",
        &[("seq", "10000000 + n * 8 + seq % 8"), ("run_id", "(SELECT id FROM runs WHERE number = n)")],
    ),
];

/// Copies the run on record, with its input, action, attempt and events, until there are [`RUNS`].
/// Ids are made up.
fn copy_the_run(db: &Connection) -> Result<()> {
    db.execute_batch(&format!(
        "CREATE TEMP TABLE n AS WITH RECURSIVE n (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < {RUNS}) SELECT n FROM n"
    ))?;
    for (table, from, differ) in COPIES {
        let columns: Vec<String> = db
            .prepare("SELECT name FROM pragma_table_info(?1) ORDER BY cid")?
            .query_map([table], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let values: Vec<&str> = columns
            .iter()
            .map(|column| differ.iter().find(|(name, _)| name == column).map_or(column.as_str(), |(_, value)| value))
            .collect();
        db.execute_batch(&format!("INSERT INTO {table} SELECT {} FROM {from}", values.join(", ")))?;
    }
    db.execute_batch(&format!(
        "INSERT INTO claims SELECT a.id, r.number FROM runs r JOIN artifacts a ON a.run_id = r.id WHERE r.number > 1;
         UPDATE meta SET run = {RUNS}, seq = 40000000, event = 40000000;"
    ))?;
    Ok(())
}

fn with_history(bench: &Bench) -> Result<(Pipeline, Host)> {
    let pipeline = bench.workspace.pipeline("{}", 1, &["stamp"], "stamp")?;
    let host = pipeline.start()?;
    pipeline.drop_file("first.csv", b"the run that is copied\n")?;
    host.wait_for_runs(1)?;
    host.stop()?;
    let mut db = Connection::open(pipeline.path("state/metadata.db"))?;
    let copies = db.transaction()?;
    copy_the_run(&copies)?;
    copies.commit()?;
    drop(db);
    let host = pipeline.start()?;
    Ok((pipeline, host))
}

/// Measures pages of the list of runs as JSON, and the home page.
pub(crate) fn runs(bench: &Bench) -> Result<Vec<Row>> {
    let (pipeline, host) = with_history(bench)?;
    let db = pipeline.database()?;
    let mut rows = Vec::new();
    let mut bare = spans(bench, || {
        let mut page = db.prepare_cached("SELECT * FROM runs ORDER BY number DESC LIMIT 51")?;
        let mut found = page.query([])?;
        while let Some(row) = found.next()? {
            std::hint::black_box(row.get_ref(3)?);
        }
        Ok(())
    })?;
    let bare = Figure::Seconds(quantile(&mut bare, 0.5));
    let agent = agent();
    let middle = format!("/api/v1/runs?limit=50&state=succeeded&cursor={}", RUNS / 2);
    for (name, path) in [
        ("page of 50 runs, 1,000,000 recorded", "/api/v1/runs?limit=50"),
        ("… from the middle, filtered by state", middle.as_str()),
        ("… the home page", "/"),
    ] {
        let mut ours = spans(bench, || host.request(&agent, "GET", path).map(drop))?;
        rows.push(Row::new(name, Figure::Seconds(quantile(&mut ours, 0.5))).floor(bare).goal(Figure::Seconds(20e-3)));
    }
    host.stop()?;
    Ok(rows)
}

/// Measures whether a long history makes new runs slower.
pub(crate) fn latency(bench: &Bench) -> Result<Vec<Row>> {
    let (pipeline, host) = with_history(bench)?;
    latency::rows(bench, &pipeline, host, "1,000,000 runs recorded")
}

/// Returns how long the work takes each time, in seconds.
pub(crate) fn spans(bench: &Bench, mut work: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let mut spans = Vec::new();
    for _ in 0..bench.effort.of(300, 50) {
        let began = Instant::now();
        work()?;
        spans.push(began.elapsed().as_secs_f64());
    }
    Ok(spans)
}
