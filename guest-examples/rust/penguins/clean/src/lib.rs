//! Checks every row of the files that arrived, writes the valid ones to `cleaned`, and the others
//! with the reason to `rejected`.
//!
//! An invalid row is not a failure: it is counted, logged, and kept, so that somebody can correct
//! it. A file that is not CSV is a failure.

mod check;

use std::collections::BTreeMap;

use anacostia_guest::metadata::{self, Metric};
use anacostia_guest::{Artifact, Error, Outcome, Result, log, resources, run_context, write_all};
use csv::StringRecord;
use penguins::row::Penguin;
use penguins::{because, content};

use check::{Columns, Reason};

anacostia_guest::action!(run);

/// For each reason, at most this many rejected rows are logged. All of them are counted, and
/// written to `rejected`.
const LOGGED_ROWS: u32 = 20;

#[derive(Default)]
struct Counts {
    clean: u32,
    rejected: BTreeMap<Reason, u32>,
}

fn run() -> Result<Outcome> {
    let mut counts = Counts::default();
    let arrived = resources::inputs("raw")?;
    for (done, file) in arrived.iter().enumerate() {
        clean(file, &mut counts)?;
        run_context::progress((done + 1) as f64 / arrived.len() as f64, &file.path);
    }
    let rejected: u32 = counts.rejected.values().sum();
    log::info("checked", &[("files", &arrived.len()), ("clean", &counts.clean), ("rejected", &rejected)]);
    record(&counts, rejected)?;
    if counts.clean == 0 {
        return Ok(Outcome::Skip(format!("no clean row has arrived, rejected: {rejected}")));
    }
    Ok(Outcome::Done(Some(format!("clean rows: {}, rejected: {rejected}", counts.clean))))
}

/// Separates the rows of one file into valid and rejected ones.
fn clean(file: &Artifact, counts: &mut Counts) -> Result<()> {
    let bytes = content(file)?;
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes.as_slice());
    let header = reader.headers().map_err(because(&file.path))?.clone();
    let columns = Columns::find(&header).map_err(|column| {
        Error::permanent(format!("{} has no column \"{column}\": is it a file of penguins?", file.path))
    })?;
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for row in reader.records() {
        let row = row.map_err(because(&file.path))?;
        match columns.check(&row) {
            Ok(penguin) if good.contains(&penguin) => bad.push((row, Reason::Duplicate)),
            Ok(penguin) => good.push(penguin),
            Err(reason) => bad.push((row, reason)),
        }
    }
    counts.clean += good.len() as u32;
    for (row, reason) in &bad {
        reject(file, row, *reason, counts);
    }
    if !good.is_empty() {
        write_all("cleaned", &file.path, &clean_table(&good)?)?;
    }
    if !bad.is_empty() {
        write_all("rejected", &file.path, &rejected_table(&header, &bad)?)?;
    }
    Ok(())
}

/// Counts a rejected row, and logs it.
fn reject(file: &Artifact, row: &StringRecord, reason: Reason, counts: &mut Counts) {
    let count = counts.rejected.entry(reason).or_default();
    *count += 1;
    if *count <= LOGGED_ROWS {
        let line = row.position().map_or(0, csv::Position::line);
        log::warn("a row is rejected", &[("file", &file.path), ("line", &line), ("reason", &reason.name())]);
    }
}

fn clean_table(rows: &[Penguin]) -> Result<Vec<u8>> {
    let mut table = csv::Writer::from_writer(Vec::new());
    for row in rows {
        table.serialize(row).map_err(because("a row does not turn into CSV"))?;
    }
    table.into_inner().map_err(because("the clean rows do not turn into CSV"))
}

/// Writes the rejected rows unchanged, with one more column: the reason.
fn rejected_table(header: &StringRecord, rows: &[(StringRecord, Reason)]) -> Result<Vec<u8>> {
    let failed = "a rejected row does not turn into CSV";
    let mut table = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    table.write_record(header.iter().chain(["reason"])).map_err(because(failed))?;
    for (row, reason) in rows {
        table.write_record(row.iter().chain([reason.name()])).map_err(because(failed))?;
    }
    table.into_inner().map_err(because(failed))
}

/// Records the counts as metrics: one name for each reason, including those with a count of 0, so
/// that each metric has a value in every run.
fn record(counts: &Counts, rejected: u32) -> Result<()> {
    let metric = |name: String, value: u32| Metric { name, value: value.into(), step: None };
    let by_reason = Reason::ALL
        .iter()
        .map(|reason| metric(format!("rejected_{}", reason.name()), counts.rejected.get(reason).copied().unwrap_or(0)));
    let mut metrics: Vec<Metric> = by_reason.collect();
    metrics.push(metric("rows_clean".to_owned(), counts.clean));
    metrics.push(metric("rows_rejected".to_owned(), rejected));
    metadata::log_metrics(&metrics)
}
