//! The errors for limits that are reached. Each names the limit, its value, and what to write in
//! the manifest to raise it, or what to do if it is as high as it can be.

use std::time::Duration;

use crate::base::{ByteSize, TimeSpan};
use crate::manifest::Limits;
use crate::model::ErrorInfo;

/// Maximum number of bytes that a guest passes in one call: enough for a chunk, and for a thousand
/// params of maximum length.
pub(super) const MAX_PAYLOAD_BYTES: usize = 16 << 20;

/// Returns the error `memory_limit`.
pub(super) fn memory(action: &str, limits: &Limits) -> ErrorInfo {
    let (now, most) = (limits.memory_bytes, Limits::most().memory_bytes);
    let setting = Setting { key: "memory", raised: larger(now, most), instead: "work on less at once" };
    setting.reached("memory_limit", &format!("{} of memory", ByteSize(now)), action)
}

/// Returns the error `cpu_limit`.
pub(super) fn cpu(action: &str, limits: &Limits) -> ErrorInfo {
    let (now, most) = (limits.cpu, Limits::most().cpu);
    let setting = Setting { key: "cpu", raised: longer(now, most), instead: "divide the work" };
    setting.reached("cpu_limit", &format!("{} of CPU time", TimeSpan(now)), action)
}

/// Returns the error `wall_limit`. It is retryable, because what the attempt waited for may be
/// faster next time.
pub(super) fn wall(action: &str, limits: &Limits) -> ErrorInfo {
    let (now, most) = (limits.wall, Limits::most().wall);
    let setting = Setting { key: "wall", raised: longer(now, most), instead: "divide the work" };
    let error = setting.reached("wall_limit", &format!("{} of wall time", TimeSpan(now)), action);
    ErrorInfo { retryable: true, ..error }
}

/// Returns the error `output_limit`.
pub(super) fn output(action: &str, limits: &Limits) -> ErrorInfo {
    let (now, most) = (limits.output_bytes, Limits::most().output_bytes);
    let setting = Setting { key: "output", raised: larger(now, most), instead: "write less in one attempt" };
    setting.reached("output_limit", &format!("{} of output", ByteSize(now)), action)
}

/// Returns the error `log_limit`.
pub(super) fn log(action: &str, limits: &Limits) -> ErrorInfo {
    let (now, most) = (limits.log_bytes, Limits::most().log_bytes);
    let setting = Setting { key: "log", raised: larger(now, most), instead: "log less, or write it as an artifact" };
    setting.reached("log_limit", &format!("{} of log lines", ByteSize(now)), action)
}

/// Returns the error `handles_limit`.
pub(super) fn handles(action: &str, limits: &Limits) -> ErrorInfo {
    let (now, most) = (limits.handles, Limits::most().handles);
    let instead = "close each reader and writer when it is done";
    let setting = Setting { key: "handles", raised: higher(now, most), instead };
    setting.reached("handles_limit", &format!("{now} readers and writers open at once"), action)
}

/// Returns the error `metric_names_limit`.
pub(super) fn metric_names(action: &str, limits: &Limits) -> ErrorInfo {
    let (now, most) = (limits.metric_names, Limits::most().metric_names);
    let instead = "record what changes over time under one name, with steps";
    let setting = Setting { key: "metric_names", raised: higher(now, most), instead };
    setting.reached("metric_names_limit", &format!("{now} names of metrics"), action)
}

/// Returns the error `http_body_limit`. `place` says which body.
pub(super) fn http_body(action: &str, limits: &Limits, place: &str) -> ErrorInfo {
    let (now, most) = (limits.http_body_bytes, Limits::most().http_body_bytes);
    let setting = Setting { key: "http_body", raised: larger(now, most), instead: "transfer it in parts" };
    setting.reached("http_body_limit", &format!("{} {place}", ByteSize(now)), action)
}

/// Returns the error `http_requests_limit`.
pub(super) fn http_requests(action: &str, limits: &Limits) -> ErrorInfo {
    let (now, most) = (limits.http_requests, Limits::most().http_requests);
    let setting = Setting { key: "http_requests", raised: higher(now, most), instead: "ask for more with each" };
    setting.reached("http_requests_limit", &format!("{now} requests over the network"), action)
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

/// A limit in the manifest.
struct Setting {
    key: &'static str,
    /// A higher value, as the manifest has it; `None` if there is none.
    raised: Option<String>,
    /// What to do if it cannot be raised.
    instead: &'static str,
}

impl Setting {
    fn reached(&self, code: &str, what: &str, action: &str) -> ErrorInfo {
        let Self { key, raised, instead } = self;
        let advice = match raised {
            Some(raised) => format!(
                "to raise it, set `{key}` in `limits` of {} in anacostia.toml, for example to {raised}",
                place(action)
            ),
            None => format!("this is the most that `{key}` can be: {instead}"),
        };
        ErrorInfo::permanent(code, format!("the limit of {what} is reached; {advice}"))
    }
}

/// Returns the table of the manifest with the limits. A trigger component is named after its table,
/// which has a dot, unlike the name of an action.
fn place(action: &str) -> String {
    if action.contains('.') { format!("the `component` of `[{action}]`") } else { format!("`[actions.{action}]`") }
}

/// Returns twice as many bytes, if they can be, for the manifest; `None` if there can be no more.
fn larger(now: u64, most: u64) -> Option<String> {
    let bytes = ByteSize(now.saturating_mul(2).min(most));
    (now < most).then(|| format!("\"{}\"", bytes.to_string().replace(' ', "")))
}

/// The same for a time.
fn longer(now: Duration, most: Duration) -> Option<String> {
    (now < most).then(|| format!("\"{}\"", TimeSpan(now.saturating_mul(2).min(most))))
}

/// The same for a number.
fn higher(now: u32, most: u32) -> Option<String> {
    (now < most).then(|| now.saturating_mul(2).min(most).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All errors for these limits.
    fn errors(limits: &Limits) -> Vec<String> {
        let of_request = |action: &str, limits: &Limits| http_body(action, limits, "in the body of a request");
        let all: [fn(&str, &Limits) -> ErrorInfo; 9] =
            [memory, cpu, wall, output, log, handles, metric_names, of_request, http_requests];
        all.map(|error| error("train", limits).message).to_vec()
    }

    /// What an error says if the limit can be raised.
    fn raise(what: &str, key: &str, raised: &str) -> String {
        format!(
            "the limit of {what} is reached; to raise it, set `{key}` in `limits` of `[actions.train]` in \
             anacostia.toml, for example to {raised}"
        )
    }

    #[test]
    fn a_limit_error_names_the_limit_and_how_to_raise_it() {
        let limits = Limits { metric_names: 300, ..Limits::default() };
        let expected = [
            raise("256 MiB of memory", "memory", "\"512MiB\""),
            raise("1m of CPU time", "cpu", "\"2m\""),
            raise("10m of wall time", "wall", "\"20m\""),
            raise("1 GiB of output", "output", "\"2GiB\""),
            raise("16 MiB of log lines", "log", "\"32MiB\""),
            raise("256 readers and writers open at once", "handles", "512"),
            raise("300 names of metrics", "metric_names", "600"),
            raise("64 MiB in the body of a request", "http_body", "\"128MiB\""),
            raise("1000 requests over the network", "http_requests", "2000"),
        ];
        assert_eq!(errors(&limits), expected);
        assert_eq!(
            cpu("resources.raw.trigger", &limits).message,
            "the limit of 1m of CPU time is reached; to raise it, set `cpu` in `limits` of the `component` of \
             `[resources.raw.trigger]` in anacostia.toml, for example to \"2m\""
        );
    }

    #[test]
    fn no_more_is_suggested_than_the_manifest_takes() {
        let most = Limits::most();
        let nearly = Limits {
            memory_bytes: 3 << 30,
            cpu: most.cpu / 4 * 3,
            wall: most.wall / 4 * 3,
            output_bytes: most.output_bytes / 4 * 3,
            log_bytes: 768 << 20,
            handles: 9_000,
            metric_names: 900,
            http_body_bytes: most.http_body_bytes / 4 * 3,
            http_requests: 900_000,
            ..most
        };
        let expected = [
            raise("3 GiB of memory", "memory", "\"4GiB\""),
            raise("540h of CPU time", "cpu", "\"30d\""),
            raise("540h of wall time", "wall", "\"30d\""),
            raise("768 TiB of output", "output", "\"1024TiB\""),
            raise("768 MiB of log lines", "log", "\"1GiB\""),
            raise("9000 readers and writers open at once", "handles", "10000"),
            raise("900 names of metrics", "metric_names", "1000"),
            raise("768 GiB in the body of a request", "http_body", "\"1TiB\""),
            raise("900000 requests over the network", "http_requests", "1000000"),
        ];
        assert_eq!(errors(&nearly), expected);
    }

    #[test]
    fn a_limit_that_cannot_be_raised_says_what_to_do() {
        let most = |what: &str, key: &str, instead: &str| {
            format!("the limit of {what} is reached; this is the most that `{key}` can be: {instead}")
        };
        let expected = [
            most("4 GiB of memory", "memory", "work on less at once"),
            most("30d of CPU time", "cpu", "divide the work"),
            most("30d of wall time", "wall", "divide the work"),
            most("1024 TiB of output", "output", "write less in one attempt"),
            most("1 GiB of log lines", "log", "log less, or write it as an artifact"),
            most("10000 readers and writers open at once", "handles", "close each reader and writer when it is done"),
            most("1000 names of metrics", "metric_names", "record what changes over time under one name, with steps"),
            most("1 TiB in the body of a request", "http_body", "transfer it in parts"),
            most("1000000 requests over the network", "http_requests", "ask for more with each"),
        ];
        assert_eq!(errors(&Limits::most()), expected);
    }
}
