//! Sends requests to a running host over HTTP.

use std::time::Duration;

use serde_json::Value;

use super::failure::Failure;
use crate::base::RunId;

/// How long a host may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of an answer.
const MAX_ANSWER_BYTES: u64 = 8 << 20;

/// What a host answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It did what it was asked for; the run as it is now.
    Run(Value),
    /// It refused, with its message.
    Refused(String),
    /// The request is invalid, with the reason.
    Invalid(String),
}

/// What the host at `address` answers to a `GET` below `/api/v1/`.
pub(crate) fn get(address: &str, path: &str) -> Result<Value, Failure> {
    let request = with_token(agent().get(format!("http://{address}/api/v1/{path}")));
    match read(address, request.call())? {
        Ok(value) => Ok(value),
        Err((_, why)) => Err(Failure::work(format!("the host at {address} refused to answer: {why}"))),
    }
}

/// Asks the host at `address` to start the run `run` as `how` says (`params`, `rerun_of`). Asked
/// again, the host answers with the same run.
pub(crate) fn start(address: &str, run: RunId, how: &Value) -> Result<Answer, Failure> {
    let request = with_token(agent().put(format!("http://{address}/api/v1/runs/{run}")));
    Ok(answer(read(address, request.send_json(how))?))
}

/// Asks the host at `address` to do something with a run (`cancel`, `retry`).
pub(crate) fn ask(address: &str, run: RunId, what: &str) -> Result<Answer, Failure> {
    let request = with_token(agent().post(format!("http://{address}/api/v1/runs/{run}/{what}")));
    Ok(answer(read(address, request.send_empty())?))
}

/// Adds the token of the environment, if there is one.
fn with_token<Body>(request: ureq::RequestBuilder<Body>) -> ureq::RequestBuilder<Body> {
    match std::env::var("ANACOSTIA_TOKEN") {
        Ok(token) => request.header("authorization", format!("Bearer {token}")),
        Err(_) => request,
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).proxy(None);
    config.build().into()
}

fn answer(read: Result<Value, (u16, String)>) -> Answer {
    match read {
        Ok(run) => Answer::Run(run),
        Err((400, why)) => Answer::Invalid(why),
        Err((_, why)) => Answer::Refused(why),
    }
}

/// The body of an answer, or the status and the reason of the host's refusal.
fn read(
    address: &str,
    response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<Result<Value, (u16, String)>, Failure> {
    let mut response = response
        .map_err(|error| Failure::work(format!("the host at {address} did not answer: {error}; is it stopping?")))?;
    let status = response.status();
    let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string().unwrap_or_default();
    let value: Value = serde_json::from_str(&body).unwrap_or_default();
    if status.is_success() {
        return Ok(Ok(value));
    }
    let detail = ["detail", "title"].iter().find_map(|key| value.get(key).and_then(Value::as_str));
    let hint = if status == 401 { "; put the token into ANACOSTIA_TOKEN" } else { "" };
    Ok(Err((status.as_u16(), format!("{}{hint}", detail.unwrap_or(status.as_str())))))
}
