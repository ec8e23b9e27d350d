//! Counts the rows of each CSV file that arrived, and computes the mean of one of its columns.

use anacostia_guest::metadata::{self, Metric};
use anacostia_guest::{Artifact, Error, Outcome, Result, lines, log, resources, run_context, write_all};

anacostia_guest::action!(run);

fn run() -> Result<Outcome> {
    let column = column()?;
    let (mut rows, mut total) = (0_u32, 0.0);
    for file in resources::inputs("readings")? {
        let values = values(&file, &column)?;
        let (count, sum) = (u32::try_from(values.len()).unwrap_or(u32::MAX), values.iter().sum::<f64>());
        log::info("summed up", &[("file", &file.path), ("rows", &count)]);
        if count > 0 {
            let text = format!("{{\"rows\": {count}, \"mean\": {:.3}}}\n", sum / f64::from(count));
            write_all("summaries", &format!("{}.json", file.path), text.as_bytes())?;
        }
        rows += count;
        total += sum;
    }
    if rows == 0 {
        return Ok(Outcome::Skip("no rows".to_owned()));
    }
    let mean = total / f64::from(rows);
    let metric = |name: &str, value: f64| Metric { name: name.to_owned(), value, step: None };
    metadata::log_metrics(&[metric("rows", rows.into()), metric("mean", mean)])?;
    Ok(Outcome::Done(Some(format!("{rows} rows, mean {mean:.3}"))))
}

/// The param `column`: which one to sum up.
fn column() -> Result<String> {
    let params: serde_json::Value =
        serde_json::from_str(&run_context::params()).map_err(|why| Error::permanent(why.to_string()))?;
    Ok(params["column"].as_str().unwrap_or("value").to_owned())
}

/// The values of a column, read line by line.
fn values(file: &Artifact, column: &str) -> Result<Vec<f64>> {
    let reader = resources::open(&file.id)?;
    let mut lines = lines(&reader);
    let header = lines.next().transpose()?.unwrap_or_default();
    let place = header
        .split(',')
        .position(|name| name.trim() == column)
        .ok_or_else(|| Error::permanent(format!("{} has no column `{column}`", file.path)))?;
    let mut values = Vec::new();
    for (number, line) in (2..).zip(lines) {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let text = line.split(',').nth(place).unwrap_or_default().trim();
        let value = text
            .parse()
            .map_err(|_| Error::permanent(format!("line {number} of {}: `{text}` is not a number", file.path)))?;
        values.push(value);
    }
    Ok(values)
}
