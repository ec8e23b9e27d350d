//! A guest that computes the kernel in its param `kernel`, and logs how long that took by the
//! monotonic clock.

mod kernels;

use anacostia_guest::{Error, Outcome, Result, run_context};
use serde::Deserialize;
use wasip2::clocks::monotonic_clock;

use kernels::{Data, KERNELS};

anacostia_guest::action!(run);

#[derive(Deserialize)]
struct Params {
    kernel: String,
    /// How often to compute it. The shortest time counts.
    times: u32,
}

fn run() -> Result<Outcome> {
    let params = run_context::params();
    let params: Params =
        serde_json::from_str(&params).map_err(|error| Error::permanent(format!("bad params {params}: {error}")))?;
    let (_, kernel) = KERNELS
        .into_iter()
        .find(|(name, _)| *name == params.kernel)
        .ok_or_else(|| Error::permanent(format!("there is no kernel `{}`", params.kernel)))?;
    let data = Data::new();
    let (mut shortest, mut result) = (u64::MAX, 0.0);
    for _ in 0..params.times {
        let began = monotonic_clock::now();
        result = kernel(&data);
        shortest = shortest.min(monotonic_clock::now() - began);
    }
    Ok(Outcome::Done(Some(format!("{shortest} {result}"))))
}
