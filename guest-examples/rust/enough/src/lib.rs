//! Decides whether a run is worth its cost: when enough bytes are new, or when the newest value of
//! a metric is too low to wait for more.

use anacostia_guest::trigger::{self, Decision};
use anacostia_guest::{Error, Result, log, metadata};

anacostia_guest::decider!(decide);

#[derive(serde::Deserialize)]
struct Params {
    /// So many new bytes are enough.
    bytes: u64,
    /// The metric, and the least value that leaves time to wait.
    metric: String,
    least: f64,
}

fn decide() -> Result<Decision> {
    let Params { bytes, metric, least } =
        serde_json::from_str(&trigger::params()).map_err(|why| Error::permanent(why.to_string()))?;
    if let Some(newest) = metadata::latest_metric(&metric)?
        && newest.value < least
    {
        return Ok(trigger::fire(format!("{metric} is {} since run #{}", newest.value, newest.run_number)));
    }
    let mut new = 0;
    for resource in trigger::info().resources {
        for artifact in trigger::all_new(&resource)? {
            log::debug("new", &[("path", &artifact.path), ("bytes", &artifact.size)]);
            new += artifact.size;
        }
    }
    if new < bytes {
        return Ok(trigger::skip(format!("{new} of {bytes} bytes are new, and {metric} is high enough")));
    }
    Ok(trigger::fire(format!("{new} bytes are new")))
}
