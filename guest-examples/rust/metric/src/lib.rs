//! Records the mean, the minimum, the maximum and the number of the values in sensor readings.

use anacostia_guest::metadata::{self, Entry, Metric};
use anacostia_guest::{Artifact, Error, Outcome, Result, lines, log, resources, run_context};

anacostia_guest::action!(run);

const HEADER: &str = "sensor,value";

#[derive(serde::Deserialize)]
#[serde(default)]
struct Params {
    from: String,
}

impl Default for Params {
    fn default() -> Self {
        Self { from: "clean".to_owned() }
    }
}

#[derive(Default)]
struct Values {
    count: u32,
    total: f64,
    range: Option<(f64, f64)>,
}

fn run() -> Result<Outcome> {
    let params: Params =
        serde_json::from_str(&run_context::params()).map_err(|why| Error::permanent(why.to_string()))?;
    let inputs = resources::inputs(&params.from)?;

    let mut values = Values::default();
    for artifact in &inputs {
        read(artifact, &mut values)?;
    }
    let Values { count, total, range: Some((least, greatest)) } = values else {
        return Ok(Outcome::Skip(format!("no values in {}", params.from)));
    };

    let mean = total / f64::from(count);
    let metric = |name: &str, value: f64| Metric { name: name.to_owned(), value, step: None };
    metadata::log_metrics(&[
        metric("mean", mean),
        metric("min", least),
        metric("max", greatest),
        metric("count", count.into()),
    ])?;
    metadata::log_params(&[Entry { name: "language".to_owned(), value: "rust".to_owned() }])?;
    log::info(&format!("mean {mean:.3} of {count} values in {} files", inputs.len()), &[]);
    Ok(Outcome::Done(Some(format!("mean {mean:.3} of {count} values"))))
}

/// Adds the values of a file, one after the other, because the file may be larger than memory.
fn read(artifact: &Artifact, values: &mut Values) -> Result<()> {
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
        let (_, text) = line.split_once(',').unwrap_or((&line, ""));
        let value: f64 =
            text.parse().map_err(|why| Error::permanent(format!("{}: \"{text}\": {why}", artifact.path)))?;
        let (least, greatest) = values.range.unwrap_or((value, value));
        values.range = Some((least.min(value), greatest.max(value)));
        values.count += 1;
        values.total += value;
    }
    Ok(())
}
