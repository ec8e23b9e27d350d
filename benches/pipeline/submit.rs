//! Time of a run of an action that does nothing, for a client that starts it over HTTP and waits
//! for its result.

use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::Bench;
use crate::floor::cores;
use crate::host::{agent, submit};
use crate::table::{Figure, Row, quantile};

/// Number of concurrent clients, for the row with several clients.
const CLIENTS: u32 = 8;
/// Number of warm-up runs, which warm code, connections and caches and are not measured.
const WARM_UP: usize = 100;

pub(crate) fn over_http(bench: &Bench) -> Result<Vec<Row>> {
    let pipeline = bench.workspace.pipeline("{}", CLIENTS as usize, &["act"], "nothing")?;
    let host = pipeline.start()?;
    let mut spans = sequential(&host.url, bench.effort.of(2_000, 300))?;
    let rate = concurrent(&host.url, bench.effort.of(1_000, 100))?;
    host.stop()?;
    let floors = &bench.floors;
    // A run takes two commits: created and started, ended. At best all clients share a commit. The
    // other work keeps every core busy.
    let bare = floors.round_trip + 2.0 * floors.commit + floors.instance;
    let bare_each = (floors.round_trip + floors.instance) / cores() + 2.0 * floors.commit / f64::from(CLIENTS);
    Ok(vec![
        Row::new("no-op action over HTTP, submit → result, p50, 1 client", Figure::Seconds(quantile(&mut spans, 0.5)))
            .floor(Figure::Seconds(bare))
            .goal(Figure::Seconds(1e-3)),
        Row::new("… p95", Figure::Seconds(quantile(&mut spans, 0.95))),
        Row::new(format!("… runs, {CLIENTS} clients"), Figure::PerSecond(rate))
            .floor(Figure::PerSecond(1.0 / bare_each))
            .goal(Figure::PerSecond(2_000.0)),
    ])
}

/// Returns how long each run took, from before the request to after the response.
fn sequential(url: &str, count: usize) -> Result<Vec<f64>> {
    let agent = agent();
    let mut spans = Vec::new();
    for n in 0..WARM_UP + count {
        let began = Instant::now();
        submit(url, &agent)?;
        if n >= WARM_UP {
            spans.push(began.elapsed().as_secs_f64());
        }
    }
    Ok(spans)
}

/// Returns the runs per second. Each client has its own connection, and starts its next run when
/// the previous one has ended.
fn concurrent(url: &str, each: usize) -> Result<f64> {
    let began = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(move || {
                    let agent = agent();
                    (0..each).try_for_each(|_| submit(url, &agent))
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| client.join().ok().context("a client failed")?)
    })?;
    #[expect(clippy::cast_precision_loss, reason = "a count of some thousands")]
    let count = each as f64 * f64::from(CLIENTS);
    Ok(count / began.elapsed().as_secs_f64())
}
