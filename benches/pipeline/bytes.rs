//! Throughput of reads in a guest.

use anyhow::{Context as _, Result};

use crate::Bench;
use crate::floor;
use crate::table::{Figure, Row, quantile};

/// Measures, by the guest's clock, how fast a guest reads one large file in chunks of 1 MiB. The
/// file is in the page cache: the host has hashed it.
pub(crate) fn read(bench: &Bench) -> Result<Vec<Row>> {
    let size = bench.effort.of(512, 128) << 20;
    let pipeline = bench.workspace.pipeline("{}", 1, &["act"], "read")?;
    let host = pipeline.start()?;
    let mut rates = Vec::new();
    let mut content: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).unwrap_or_default()).collect();
    for n in 0..bench.effort.of(5, 3) {
        // The same bytes again would not be a new version.
        if let Some(first) = content.first_mut() {
            *first = u8::try_from(n)?;
        }
        pipeline.drop_file("large.bin", &content)?;
        host.wait_for_runs(1)?;
    }
    host.stop()?;
    for text in pipeline.logged()? {
        let (bytes, ns) = text.split_once(' ').context("not what the guest logs")?;
        rates.push(bytes.parse::<f64>()? / f64::from(1 << 20) / (ns.parse::<f64>()? / 1e9));
    }
    let bare = floor::file_read(&pipeline.path("raw/large.bin"))?;
    Ok(vec![
        Row::new("bytes through a guest, chunks of 1 MiB", Figure::Throughput(quantile(&mut rates, 0.5)))
            .floor(Figure::Throughput(bare))
            .goal(Figure::Throughput(4096.0)),
    ])
}
