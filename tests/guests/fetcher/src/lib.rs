//! A guest that sends the requests in its params. `tests/guests/README.md` lists the keys.
//!
//! A failed request does not fail the action: the guest logs the result of each request as
//! `answer N: JSON`, and the test checks these lines.

mod exchange;

use anacostia_guest::{Error, Outcome, Result, log, run_context};
use exchange::{Ask, Exchange, Seen};
use serde::Deserialize;

anacostia_guest::action!(run);

/// The params.
#[derive(Deserialize)]
struct Params {
    /// The requests.
    asks: Vec<Ask>,
    /// Whether to send all requests before waiting for the first response.
    #[serde(default)]
    together: bool,
    /// Whether to spin forever while the responses are outstanding.
    #[serde(default)]
    then_spin: bool,
    /// Whether to fail with the first error.
    #[serde(default)]
    strict: bool,
}

fn run() -> Result<Outcome> {
    let params = run_context::params();
    let Params { asks, together, then_spin, strict } =
        serde_json::from_str(&params).map_err(|error| Error::permanent(format!("bad params {params}: {error}")))?;
    let asks: Vec<&Ask> = asks.iter().flat_map(|ask| std::iter::repeat_n(ask, ask.times.unwrap_or(1))).collect();
    for (name, value) in wasip2::cli::environment::get_environment() {
        log::info(&format!("variable {name}={value}"), &[]);
    }
    let mut seen = Vec::new();
    if together || then_spin {
        let open: Vec<_> = asks.iter().map(|ask| Exchange::begin(ask)).collect();
        if then_spin {
            log::info("spinning", &[]);
            spin();
        }
        seen.extend(open.into_iter().map(|begun| begun.map_or_else(Seen::failed, Exchange::finish)));
    } else {
        for ask in asks {
            let answer = Exchange::begin(ask).map_or_else(Seen::failed, Exchange::finish);
            let next = answer.redirect.clone().filter(|_| ask.follow);
            seen.push(answer);
            if let Some(location) = next {
                let again = ask.at(&location);
                seen.push(Exchange::begin(&again).map_or_else(Seen::failed, Exchange::finish));
            }
        }
    }
    for (place, answer) in seen.iter().enumerate().take(50) {
        let json = serde_json::to_string(answer).unwrap_or_default();
        log::info(&format!("answer {place}: {json}"), &[]);
    }
    match seen.iter().find_map(|answer| answer.error.clone()).filter(|_| strict) {
        Some(error) => Err(Error::permanent(error)),
        None => Ok(Outcome::Done(Some(format!("{} answers", seen.len())))),
    }
}

fn spin() -> ! {
    let mut number = 0_u64;
    loop {
        number = std::hint::black_box(number.wrapping_add(1));
    }
}
