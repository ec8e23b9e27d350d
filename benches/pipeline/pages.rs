//! A long history: 1,000,000 runs on record.

use std::time::Instant;

use anyhow::Result;
use rusqlite::Connection;

use crate::Bench;
use crate::host::{Host, Pipeline, agent};
use crate::latency;
use crate::table::{Figure, Row, quantile};

const RUNS: u64 = 1_000_000;

/// One run on record, copied until there are [`RUNS`]: with its input, action, attempt and events.
/// Ids are made up.
const COPIES: &str = "
    CREATE TEMP TABLE n AS WITH RECURSIVE n (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < ?1) SELECT n FROM n;
    INSERT INTO runs SELECT n, randomblob(16), state, cause, params, revision, snapshot, created_at + n * 1000, started_at + n * 1000,
        ended_at + n * 1000, reason FROM n, runs WHERE number = 1;
    INSERT INTO run_actions SELECT n, name, position, state, reason, attempts, tries, crashes, retry_at, skipped_rest FROM n, run_actions WHERE run = 1;
    INSERT INTO attempts SELECT 10000000 + n, randomblob(16), n, action, number, state, started_at, ended_at, component, grants, error, message,
        skip, usage, log_from_segment, log_from_offset, log_to_segment, log_to_offset, epoch, token FROM n, attempts WHERE run = 1;
    INSERT INTO artifacts SELECT 20000000 + n, randomblob(16), resource, 'gone' || n, version, digest, size, state, reason,
        (SELECT id FROM runs WHERE number = n), produced_by, created_at, 20000000 + n, 20000000 + n, stamp FROM n, artifacts WHERE seq = (SELECT min(seq) FROM artifacts);
    INSERT INTO claims SELECT a.id, r.number FROM runs r JOIN artifacts a ON a.run_id = r.id WHERE r.number > 1;
    INSERT INTO events SELECT 10000000 + n * 8 + e.seq % 8, epoch, time, kind, v, (SELECT id FROM runs WHERE number = n), action, attempt, artifact_id, data
        FROM n, events e WHERE e.run_id IS NOT NULL;
    UPDATE meta SET run = ?1, seq = 40000000, event = 40000000;
";

fn with_history(bench: &Bench) -> Result<(Pipeline, Host)> {
    let pipeline = bench.workshop.pipeline("{}", 1, &["stamp"], "stamp")?;
    let host = pipeline.start()?;
    pipeline.drop_file("first.csv", b"the run that is copied\n")?;
    host.wait_for_runs(1)?;
    host.stop()?;
    let mut db = Connection::open(pipeline.path("state/metadata.db"))?;
    let copies = db.transaction()?;
    copies.execute_batch(&COPIES.replace("?1", &RUNS.to_string()))?;
    copies.commit()?;
    drop(db);
    let host = pipeline.start()?;
    Ok((pipeline, host))
}

/// The newest page of the list, as JSON; and the first page that people see.
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

/// Whether a long history makes new runs slower.
pub(crate) fn latency(bench: &Bench) -> Result<Vec<Row>> {
    let (pipeline, host) = with_history(bench)?;
    latency::rows(bench, &pipeline, host, "1,000,000 runs recorded")
}

fn spans(bench: &Bench, mut work: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let mut spans = Vec::new();
    for _ in 0..bench.effort.of(300, 50) {
        let began = Instant::now();
        work()?;
        spans.push(began.elapsed().as_secs_f64());
    }
    Ok(spans)
}
