//! Writes an alert for every file with a value out of its range. A file has lines of `time,value`.

use anacostia_guest::{Error, Outcome, Result, log, read_all, resources, run_context, write_all};

anacostia_guest::action!(run);

#[derive(serde::Deserialize)]
struct Range {
    min: f64,
    max: f64,
}

fn run() -> Result<Outcome> {
    let range: Range = serde_json::from_str(&run_context::params()).map_err(|why| Error::permanent(why.to_string()))?;
    let mut alerts = 0;
    for file in resources::inputs("readings")? {
        let bytes = read_all(&resources::open(&file.id)?)?;
        let alarming: Vec<String> =
            String::from_utf8_lossy(&bytes).lines().filter_map(|line| alarm(line, &range)).collect();
        if !alarming.is_empty() {
            log::warn("a value has left its range", &[("file", &file.path), ("count", &alarming.len())]);
            write_all("alerts", &format!("{}.txt", file.path), (alarming.join("\n") + "\n").as_bytes())?;
            alerts += 1;
        }
    }
    Ok(match alerts {
        0 => Outcome::Skip("every value is in its range".to_owned()),
        _ => Outcome::Done(Some(format!("alerts written: {alerts}"))),
    })
}

/// Returns what is wrong with a line, if anything. A value that is not a number is reported as
/// well, because the sensor may be broken.
fn alarm(line: &str, Range { min, max }: &Range) -> Option<String> {
    let (time, value) = line.split_once(',').unwrap_or((line, "nothing"));
    let fine = value.trim().parse::<f64>().is_ok_and(|value| (*min..=*max).contains(&value));
    (!fine).then(|| format!("{time}: {value} is not from {min} to {max}"))
}
