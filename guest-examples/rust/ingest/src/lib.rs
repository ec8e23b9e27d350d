//! Removes the rows from sensor readings whose value is not a finite number.

use anacostia_guest::metadata::{self, Metric};
use anacostia_guest::{Artifact, Error, Outcome, Result, create, lines, log, resources, run_context};

anacostia_guest::action!(run);

const HEADER: &str = "sensor,value";

#[derive(serde::Deserialize)]
#[serde(default)]
struct Params {
    from: String,
    to: String,
}

impl Default for Params {
    fn default() -> Self {
        Self { from: "readings".to_owned(), to: "clean".to_owned() }
    }
}

fn run() -> Result<Outcome> {
    let params: Params =
        serde_json::from_str(&run_context::params()).map_err(|why| Error::permanent(why.to_string()))?;
    let inputs = resources::inputs(&params.from)?;
    if inputs.is_empty() {
        return Ok(Outcome::Skip(format!("no inputs in {}", params.from)));
    }

    let (mut kept, mut dropped) = (0, 0);
    for artifact in &inputs {
        let (more_kept, more_dropped) = clean(artifact, &params.to)?;
        kept += more_kept;
        dropped += more_dropped;
    }

    let metric = |name: &str, value: u32| Metric { name: name.to_owned(), value: value.into(), step: None };
    metadata::log_metrics(&[metric("rows_kept", kept), metric("rows_dropped", dropped)])?;
    Ok(Outcome::Done(Some(format!("kept {kept} rows of {} files, dropped {dropped}", inputs.len()))))
}

/// Writes the rows of a file that are kept. Returns the numbers of kept and of dropped rows.
fn clean(artifact: &Artifact, to: &str) -> Result<(u32, u32)> {
    let reader = resources::open(&artifact.id)?;
    let mut lines = lines(&reader);
    let header = lines.next().transpose()?.unwrap_or_default();
    if header != HEADER {
        return Err(Error::invalid(format!("{} begins with \"{header}\", not with \"{HEADER}\"", artifact.path)));
    }
    let mut writer = create(to, &artifact.path)?;
    writer.line(HEADER)?;
    let (mut kept, mut dropped) = (0, 0);
    for (line, number) in lines.zip(2..) {
        let line = line?;
        if line.is_empty() {
            continue;
        }
        let (_, value) = line.split_once(',').unwrap_or((&line, ""));
        if value.parse().is_ok_and(f64::is_finite) {
            kept += 1;
            writer.line(&line)?;
        } else {
            dropped += 1;
            let reason = format!("dropped line {number} of {}: \"{value}\" is not a finite number", artifact.path);
            log::warn(&reason, &[("path", &artifact.path), ("line", &number)]);
        }
    }
    writer.finish()?;
    Ok((kept, dropped))
}
