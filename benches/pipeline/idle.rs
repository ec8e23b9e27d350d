//! CPU time and memory of a host while nothing happens.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::Bench;
use crate::table::{Figure, Row};

pub(crate) fn nothing_known(bench: &Bench) -> Result<Vec<Row>> {
    known(bench, 0)
}

pub(crate) fn ten_thousand_known(bench: &Bench) -> Result<Vec<Row>> {
    known(bench, 10_000)
}

pub(crate) fn hundred_thousand_known(bench: &Bench) -> Result<Vec<Row>> {
    known(bench, 100_000)
}

/// One host records the files. The next one, which finds them known, is measured.
fn known(bench: &Bench, known: usize) -> Result<Vec<Row>> {
    let pipeline = bench.workspace.pipeline("{ min_artifacts = 1_000_000 }", 1, &["act"], "nothing")?;
    pipeline.drop_many("known", known)?;
    let host = pipeline.start()?;
    pipeline.wait_for_waiting(known)?;
    host.stop()?;
    let host = pipeline.start()?;
    let ready = host.ready_after.as_secs_f64();
    // Waits for the background work of a start: scanning the folder, and putting the ticker of
    // guests to sleep.
    let mut used = host.cpu()?;
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let now = host.cpu()?;
        if now - used < 10e-3 {
            break;
        }
        used = now;
    }
    let (began, before) = (Instant::now(), host.cpu()?);
    std::thread::sleep(Duration::from_secs(if bench.effort.of(20, 5) > 5 { 20 } else { 5 }));
    let share = (host.cpu()? - before) / began.elapsed().as_secs_f64();
    let (rss, pss) = host.memory()?;
    host.stop()?;
    let with = format!("{known} known files");
    Ok(vec![
        Row::new(format!("idle CPU, {with}"), Figure::Percent(share * 100.0)).goal(Figure::Percent(0.2)),
        Row::new(format!("idle memory, RSS, {with}"), Figure::Mebibytes(rss)).goal(Figure::Mebibytes(40.0)),
        Row::new(format!("… PSS, {with}"), Figure::Mebibytes(pss)),
        Row::new(format!("start to ready, {with}"), Figure::Seconds(ready)),
    ])
}
