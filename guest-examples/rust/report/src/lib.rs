//! Writes a report on sensor readings: a table with the number of values and the mean for each
//! sensor.

use std::collections::BTreeMap;
use std::fmt::Write;

use anacostia_guest::{Artifact, Error, Outcome, Result, lines, log, metadata, resources, run_context, write_all};

anacostia_guest::action!(run);

const HEADER: &str = "sensor,value";
const REPORT: &str = "report-rust.md";

#[derive(serde::Deserialize)]
#[serde(default)]
struct Params {
    from: String,
    to: String,
}

impl Default for Params {
    fn default() -> Self {
        Self { from: "clean".to_owned(), to: "reports".to_owned() }
    }
}

/// The number of values of each sensor, and their sum.
type Sensors = BTreeMap<String, (u32, f64)>;

fn run() -> Result<Outcome> {
    let params: Params =
        serde_json::from_str(&run_context::params()).map_err(|why| Error::permanent(why.to_string()))?;

    let mut sensors = Sensors::new();
    for artifact in resources::inputs(&params.from)? {
        read(&artifact, &mut sensors)?;
    }
    if sensors.is_empty() {
        return Ok(Outcome::Skip(format!("no values in {}", params.from)));
    }

    let report = write_all(&params.to, REPORT, markdown(&sensors).as_bytes())?;
    metadata::tag_artifact(&report.id, "report", false)?;
    let values: u32 = sensors.values().map(|(count, _)| count).sum();
    let summary = format!("{} sensors, {values} values", sensors.len());
    log::info(&format!("{REPORT} has {summary}"), &[]);
    Ok(Outcome::Done(Some(summary)))
}

/// Adds the rows of a file, one after the other, because the file may be larger than memory.
fn read(artifact: &Artifact, sensors: &mut Sensors) -> Result<()> {
    let reader = resources::open(&artifact.id)?;
    let mut lines = lines(&reader);
    let header = lines.next().transpose()?.unwrap_or_default();
    if header != HEADER {
        return Err(Error::invalid(format!("{} begins with \"{header}\", not with \"{HEADER}\"", artifact.path)));
    }
    for line in lines {
        let line = line?;
        if line.is_empty() {
            continue;
        }
        let (sensor, text) = line.split_once(',').unwrap_or((&line, ""));
        let value: f64 =
            text.parse().map_err(|why| Error::permanent(format!("{}: \"{text}\": {why}", artifact.path)))?;
        let (count, total) = sensors.entry(sensor.to_owned()).or_default();
        *count += 1;
        *total += value;
    }
    Ok(())
}

fn markdown(sensors: &Sensors) -> String {
    let mut table = "# Sensors\n\n| sensor | count | mean |\n|---|---:|---:|\n".to_owned();
    for (sensor, (count, total)) in sensors {
        let mean = total / f64::from(*count);
        let _ = writeln!(table, "| {sensor} | {count} | {mean:.3} |");
    }
    table
}
