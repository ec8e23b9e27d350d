//! A summary of the HTTP requests of a run's attempts.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Cell, Column, Table, duration, styles};
use crate::base::{AttemptId, ByteSize};
use crate::model::{HttpRequest, RequestOutcome, RunDetail};

/// Most requests that are shown one by one.
const MAX_SHOWN: usize = 20;

/// Formats the requests, one line each. Empty if there are none.
pub(super) fn requests(detail: &RunDetail, requests: &[(AttemptId, HttpRequest)], width: usize) -> String {
    let all: u64 = detail.attempts.iter().map(|attempt| attempt.usage.http_requests).sum();
    if requests.is_empty() {
        return String::new();
    }
    let columns = [
        ("", Column::Text),
        ("", Column::Word),
        ("", Column::Text),
        ("", Column::Word),
        ("", Column::Number),
        ("", Column::Word),
        ("", Column::Prose),
    ];
    let mut table = Table::new(&columns).indent(2);
    let actions = detail.attempts.iter().map(|attempt| (attempt.id, attempt.action.as_str()));
    let actions: std::collections::BTreeMap<AttemptId, &str> = actions.collect();
    for (attempt, request) in requests.iter().take(MAX_SHOWN) {
        table.row(row(actions.get(attempt).copied().unwrap_or_default(), request));
    }
    let mut text = format!("\n{}\n{}", Cell::new("Requests").style(styles::STRONG), table.render(width));
    let shown = requests.len().min(MAX_SHOWN) as u64;
    if let Some(more) = all.checked_sub(shown).filter(|more| *more > 0) {
        let kept = if requests.len() > MAX_SHOWN { "; `--json` has those that are kept" } else { "" };
        let _ = writeln!(text, "  {}", Cell::new(format!("… and {more} more{kept}")).style(styles::FAINT));
    }
    text
}

fn row(action: &str, request: &HttpRequest) -> Vec<Cell> {
    let HttpRequest { method, scheme, authority, path, outcome, status, error, .. } = request;
    let (style, answer) = match (outcome, status) {
        (RequestOutcome::Answered, Some(status)) => (styles::PLAIN, status.to_string()),
        (RequestOutcome::Answered, None) => (styles::PLAIN, String::new()),
        (outcome, _) => (styles::WARN, outcome.to_string()),
    };
    let mut bytes = Vec::new();
    if request.bytes_sent > 0 {
        bytes.push(format!("sent {}", ByteSize(request.bytes_sent)));
    }
    if request.bytes_received > 0 {
        bytes.push(format!("received {}", ByteSize(request.bytes_received)));
    }
    // Denied requests are explained below, with the manifest lines that would grant them.
    let error = error.as_deref().filter(|_| *outcome != RequestOutcome::Denied).unwrap_or_default();
    vec![
        Cell::new(action).style(styles::FAINT),
        Cell::new(method),
        Cell::new(format!("{scheme}://{authority}{path}")),
        Cell::new(answer).style(style),
        Cell::new(duration(Duration::from_micros(request.duration_us))),
        Cell::new(bytes.join(", ")),
        Cell::new(error),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::requests;
    use crate::model::{HttpRequest, RequestOutcome};

    fn request(path: &str, outcome: RequestOutcome, status: Option<u16>, error: Option<&str>) -> HttpRequest {
        HttpRequest {
            method: "GET".to_owned(),
            scheme: "https".to_owned(),
            authority: "api.example.com:443".to_owned(),
            path: path.to_owned(),
            outcome,
            status,
            bytes_sent: 0,
            bytes_received: if status.is_some() { 2_048 } else { 0 },
            duration_us: 34_567,
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn requests_are_listed_and_the_rest_is_counted() {
        let mut detail = samples::detail();
        let attempt = samples::attempt_id(2);
        detail.attempts[1].usage.http_requests = 120;
        let list = [
            request("/v1/items", RequestOutcome::Answered, Some(200), None),
            request("/v1/\u{1b}[31m", RequestOutcome::Failed, None, Some("the server did not answer within 30s")),
            request("/metadata", RequestOutcome::Denied, None, Some("`prepare` may not …")),
        ];
        let list = list.map(|request| (attempt, request));
        let text = anstream::adapter::strip_str(&requests(&detail, &list, 120)).to_string();
        assert_eq!(requests(&detail, &[], 120), "");
        insta::assert_snapshot!(text);
    }
}
