//! The errors for limits that are reached. Each names the limit, its value, and what to write in
//! the manifest to raise it.

use std::time::Duration;

use crate::base::{ByteSize, TimeSpan};
use crate::manifest::Limits;
use crate::model::ErrorInfo;

/// Maximum number of bytes that a guest passes in one call: enough for a chunk, and for a thousand
/// params of maximum length.
pub(super) const MAX_PAYLOAD_BYTES: usize = 16 << 20;

/// Returns the error `memory_limit`.
pub(super) fn memory(action: &str, limits: &Limits) -> ErrorInfo {
    reached(
        "memory_limit",
        &format!("{} of memory", size(limits.memory_bytes)),
        action,
        "memory",
        &suggested_value(limits.memory_bytes),
    )
}

/// Returns the error `cpu_limit`.
pub(super) fn cpu(action: &str, limits: &Limits) -> ErrorInfo {
    reached("cpu_limit", &format!("{} of CPU time", TimeSpan(limits.cpu)), action, "cpu", &longer(limits.cpu))
}

/// Returns the error `wall_limit`. It is retryable, because what the attempt waited for may be
/// faster next time.
pub(super) fn wall(action: &str, limits: &Limits) -> ErrorInfo {
    let error =
        reached("wall_limit", &format!("{} of wall time", TimeSpan(limits.wall)), action, "wall", &longer(limits.wall));
    ErrorInfo { retryable: true, ..error }
}

/// Returns the error `output_limit`.
pub(super) fn output(action: &str, limits: &Limits) -> ErrorInfo {
    reached(
        "output_limit",
        &format!("{} of output", size(limits.output_bytes)),
        action,
        "output",
        &suggested_value(limits.output_bytes),
    )
}

/// Returns the error `log_limit`.
pub(super) fn log(action: &str, limits: &Limits) -> ErrorInfo {
    reached(
        "log_limit",
        &format!("{} of log lines", size(limits.log_bytes)),
        action,
        "log",
        &suggested_value(limits.log_bytes),
    )
}

/// Returns the error `handles_limit`.
pub(super) fn handles(action: &str, limits: &Limits) -> ErrorInfo {
    let raised = limits.handles.saturating_mul(2).to_string();
    reached(
        "handles_limit",
        &format!("{} readers and writers open at once", limits.handles),
        action,
        "handles",
        &raised,
    )
}

/// Returns the error `metric_names_limit`.
pub(super) fn metric_names(action: &str, limits: &Limits) -> ErrorInfo {
    let raised = limits.metric_names.saturating_mul(2).to_string();
    reached("metric_names_limit", &format!("{} names of metrics", limits.metric_names), action, "metric_names", &raised)
}

/// Returns the error `http_body_limit`. `place` says which body.
pub(super) fn http_body(action: &str, limits: &Limits, place: &str) -> ErrorInfo {
    let most = limits.http_body_bytes;
    reached("http_body_limit", &format!("{} {place}", size(most)), action, "http_body", &suggested_value(most))
}

/// Returns the error `http_requests_limit`.
pub(super) fn http_requests(action: &str, limits: &Limits) -> ErrorInfo {
    let raised = limits.http_requests.saturating_mul(2).to_string();
    let what = format!("{} requests over the network", limits.http_requests);
    reached("http_requests_limit", &what, action, "http_requests", &raised)
}

/// Returns the error for the bound on open files of the host. It is not a limit of one action: all
/// actions together have opened all files that the host reserves for them, and others may close
/// theirs.
pub(super) fn files_of_host(most: usize) -> ErrorInfo {
    let message = format!(
        "all actions together have {most} readers and writers open, and the host cannot have more; close some, or raise its limit of open files (`ulimit -n`)"
    );
    ErrorInfo::retryable("unavailable", message)
}

/// Returns the error for a bound that cannot be configured.
pub(super) fn fixed(code: &str, what: &str) -> ErrorInfo {
    ErrorInfo::permanent(code, format!("the bound of {what} is reached; it is the same for every action"))
}

fn reached(code: &str, what: &str, action: &str, key: &str, raised: &str) -> ErrorInfo {
    ErrorInfo::permanent(
        code,
        format!(
            "the limit of {what} is reached; to raise it, set `{key}` in `limits` of {} in anacostia.toml, for example to {raised}",
            place(action)
        ),
    )
}

/// Returns the table of the manifest with the limits. A trigger component is named after its table,
/// which has a dot, unlike the name of an action.
fn place(action: &str) -> String {
    if action.contains('.') { format!("the `component` of `[{action}]`") } else { format!("`[actions.{action}]`") }
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

/// Returns twice `bytes`, formatted for the manifest.
fn suggested_value(bytes: u64) -> String {
    format!("\"{}\"", ByteSize(bytes.saturating_mul(2)).to_string().replace(' ', ""))
}

fn longer(span: Duration) -> String {
    format!("\"{}\"", TimeSpan(span.saturating_mul(2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_error_names_the_limit_and_how_to_raise_it() {
        let limits = Limits::default();
        assert_eq!(
            memory("train", &limits).message,
            "the limit of 256 MiB of memory is reached; to raise it, set `memory` in `limits` of `[actions.train]` \
             in anacostia.toml, for example to \"512MiB\""
        );
        assert_eq!(
            handles("train", &limits).message,
            "the limit of 256 readers and writers open at once is reached; to raise it, set `handles` in `limits` of \
             `[actions.train]` in anacostia.toml, for example to 512"
        );
        assert!(cpu("a", &limits).message.ends_with("for example to \"2m\""));
        assert!(wall("a", &limits).message.contains("10m of wall time"));
        assert_eq!(
            cpu("resources.raw.trigger", &limits).message,
            "the limit of 1m of CPU time is reached; to raise it, set `cpu` in `limits` of the `component` of \
             `[resources.raw.trigger]` in anacostia.toml, for example to \"2m\""
        );
    }
}
