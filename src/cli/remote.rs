//! Sends requests to a running host over HTTP.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use serde_json::Value;
use ureq::tls::TlsConfig;

use super::failure::Failure;
use super::out;
use crate::base::RunId;

/// After which time the user is told that the host does not answer.
const NOTICE_AFTER: Duration = Duration::from_secs(3);
/// How long a host may take to answer. It answers within 6 s even while its store does not work.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of an answer.
const MAX_ANSWER_BYTES: u64 = 8 << 20;

/// What a host answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It did what it was asked for; the run as it is now.
    Run(Value),
    /// It refused, with its message.
    Refused(String),
    /// The request is invalid, or about something that is not there, with the reason.
    Invalid(String),
}

/// A running host.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    /// Where it serves HTTP: an address, or `https://` and an address.
    pub(crate) address: String,
    /// Its process.
    pub(crate) pid: u32,
}

type Response = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

impl Remote {
    /// Returns the URL of a route below `/api/v1/`.
    fn url(&self, path: &str) -> String {
        let scheme = if self.address.starts_with("https://") { "" } else { "http://" };
        format!("{scheme}{}/api/v1/{path}", self.address)
    }

    /// Returns what the host answers to a `GET` below `/api/v1/`.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.get_within(path, Duration::ZERO)
    }

    /// The same for a request that the host answers only after up to `wait`.
    pub(crate) fn get_within(&self, path: &str, wait: Duration) -> Result<Value, Failure> {
        let address = &self.address;
        let url = self.url(path);
        let ask = |agent: ureq::Agent| with_token(agent.get(url)).call();
        self.request(wait, ask)?
            .map_err(|(_, why)| Failure::work(format!("the host at {address} refused to answer: {why}")))
    }

    /// Asks the host to start the run `run` as `how` says (`params`, `rerun_of`). Asked again, the
    /// host answers with the same run.
    pub(crate) fn start(&self, run: RunId, how: &Value) -> Result<Answer, Failure> {
        let url = self.url(&format!("runs/{run}"));
        self.request(Duration::ZERO, |agent| with_token(agent.put(url)).send_json(how)).map(answer)
    }

    /// Asks the host to do something with a run (`cancel`, `retry`).
    pub(crate) fn ask(&self, run: RunId, what: &str) -> Result<Answer, Failure> {
        let url = self.url(&format!("runs/{run}/{what}"));
        self.request(Duration::ZERO, |agent| with_token(agent.post(url)).send_empty()).map(answer)
    }

    /// Sends this body to a route below `/api/v1/` that answers with a run.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        let url = self.url(path);
        self.request(Duration::ZERO, |agent| with_token(agent.post(url)).send_json(body)).map(answer)
    }

    /// Sends a change to a route below `/api/v1/`, and returns what the host answers.
    pub(crate) fn change(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.change_within(path, body, Duration::ZERO)
    }

    /// The same for a change that the host makes in up to `wait`.
    pub(crate) fn change_within(&self, path: &str, body: &Value, wait: Duration) -> Result<Value, Failure> {
        let url = self.url(path);
        self.changed(self.request(wait, |agent| with_token(agent.post(url)).send_json(body))?)
    }

    /// Puts something in the place of what a route below `/api/v1/` has, and returns what the host
    /// answers.
    pub(crate) fn replace(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let url = self.url(path);
        self.changed(self.request(Duration::ZERO, |agent| with_token(agent.put(url)).send_json(body))?)
    }

    fn changed(&self, sent: Result<Value, (u16, String)>) -> Result<Value, Failure> {
        sent.map_err(|(status, why)| match status {
            400 | 404 => Failure::usage(why),
            _ => Failure::work(format!("the host at {} refused: {why}", self.address)),
        })
    }

    /// Sends a request that the host may answer only after `wait`. Returns the body of its answer,
    /// or the status and the reason of its refusal.
    fn request(
        &self,
        wait: Duration,
        send: impl FnOnce(ureq::Agent) -> Response,
    ) -> Result<Result<Value, (u16, String)>, Failure> {
        let (answered, notice) = mpsc::channel::<()>();
        let (address, pid) = (self.address.clone(), self.pid);
        let notice = std::thread::spawn(move || {
            if notice.recv_timeout(wait + NOTICE_AFTER) == Err(RecvTimeoutError::Timeout) {
                let rest = TIMEOUT.saturating_sub(NOTICE_AFTER).as_secs();
                out::error(&format!("The host at {address} (process {pid}) does not answer; waiting {rest} s more.\n"));
            }
        });
        let read = send(agent(wait + TIMEOUT)).and_then(read);
        drop(answered);
        // It only prints.
        let _ = notice.join();
        read.map_err(|error| self.no_answer(&error))
    }

    fn no_answer(&self, error: &ureq::Error) -> Failure {
        let Self { address, pid } = self;
        if !matches!(error, ureq::Error::Timeout(_)) {
            return Failure::work(format!("the host at {address} did not answer: {error}; is it stopping?"));
        }
        let seconds = TIMEOUT.as_secs();
        let what_next = if is_stopped(*pid) {
            format!("the process is stopped (SIGSTOP, or Ctrl-Z in its terminal); `kill -CONT {pid}` continues it")
        } else {
            format!(
                "its log may say why; try again, or end it with `kill {pid}` and start `anacostia run` again, which continues its work"
            )
        };
        Failure::work(format!("the host at {address} (process {pid}) has not answered for {seconds} s: {what_next}"))
    }
}

/// Returns a name as a part of a path. Only valid names can be known to the host; all other
/// characters are escaped.
pub(crate) fn segment(name: &str) -> String {
    let part = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    name.bytes().map(part).collect()
}

/// Returns whether a process is stopped by a signal.
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before the state may have parentheses itself.
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['T', 't']))
}

/// Adds the token of the environment, if there is one.
fn with_token<Body>(request: ureq::RequestBuilder<Body>) -> ureq::RequestBuilder<Body> {
    match std::env::var("ANACOSTIA_TOKEN") {
        Ok(token) => request.header("authorization", format!("Bearer {token}")),
        Err(_) => request,
    }
}

fn agent(timeout: Duration) -> ureq::Agent {
    // The host's own file says where it listens on this machine. Its certificate has the name by
    // which others reach it, and not this address.
    let tls = TlsConfig::builder()
        .disable_verification(true)
        .unversioned_rustls_crypto_provider(Arc::new(tokio_rustls::rustls::crypto::ring::default_provider()));
    let config = ureq::Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false).proxy(None);
    config.tls_config(tls.build()).build().into()
}

fn answer(read: Result<Value, (u16, String)>) -> Answer {
    match read {
        Ok(run) => Answer::Run(run),
        Err((400 | 404, why)) => Answer::Invalid(why),
        Err((_, why)) => Answer::Refused(why),
    }
}

/// The body of an answer, or the status and the reason of the host's refusal.
fn read(mut response: ureq::http::Response<ureq::Body>) -> Result<Result<Value, (u16, String)>, ureq::Error> {
    let status = response.status();
    let body = match response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string() {
        Err(timeout @ ureq::Error::Timeout(_)) => return Err(timeout),
        body => body.unwrap_or_default(),
    };
    let value: Value = serde_json::from_str(&body).unwrap_or_default();
    if status.is_success() {
        return Ok(Ok(value));
    }
    let detail = ["detail", "title"].iter().find_map(|key| value.get(key).and_then(Value::as_str));
    let near = value.get("did_you_mean").and_then(Value::as_str);
    let hint = match near {
        _ if status == 401 => "; put the token into ANACOSTIA_TOKEN".to_owned(),
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    };
    Ok(Err((status.as_u16(), format!("{}{hint}", detail.unwrap_or(status.as_str())))))
}

#[cfg(test)]
mod tests {
    use super::segment;

    #[test]
    fn a_name_cannot_leave_its_part_of_the_path() {
        assert_eq!(segment("data_store-1"), "data_store-1");
        assert_eq!(segment("../a?b ä"), "%2E%2E%2Fa%3Fb%20%C3%A4");
    }
}
