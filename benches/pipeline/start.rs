//! Time from starting the process to serving.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::Bench;
use crate::host::{ANACOSTIA, agent};
use crate::table::{Figure, Row, quantile};

/// Measures a start with compiled code and an existing database: as on every start but the first.
pub(crate) fn cached(bench: &Bench) -> Result<Vec<Row>> {
    let pipeline = bench.workspace.pipeline("{}", 1, &["act"], "nothing")?;
    pipeline.start()?.stop()?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..bench.effort.of(21, 7) {
        let began = Instant::now();
        let host = pipeline.start()?;
        host.request(&agent(), "GET", "/healthz")?;
        ours.push(began.elapsed().as_secs_f64());
        host.stop()?;
        let began = Instant::now();
        let status = Command::new(ANACOSTIA).arg("--version").stdout(Stdio::null()).status()?;
        ensure!(status.success(), "the binary does not start");
        bare.push(began.elapsed().as_secs_f64());
    }
    Ok(vec![
        Row::new("start to serving, compiled code cached", Figure::Seconds(quantile(&mut ours, 0.5)))
            .floor(Figure::Seconds(quantile(&mut bare, 0.5)))
            .goal(Figure::Seconds(60e-3)),
    ])
}
