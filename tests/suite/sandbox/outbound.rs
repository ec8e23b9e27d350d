//! Requests over the network: granted requests succeed, and all others are refused.

use std::time::Duration;

use anacostia::manifest::Limits;
use anacostia::model::{HttpRequest, Outcome, RequestOutcome};
use anacostia::sandbox::{AttemptOrder, AttemptReport, MAX_REQUESTS, Stop};
use serde_json::{Value, json};

use super::{Bench, done, failure, lines};
use crate::support::upstream::{Upstream, free_port};
use crate::support::wait::wait_until;

/// Returns an order for these requests, with these grants.
async fn order(bench: &Bench, http: &[&str], params: Value) -> AttemptOrder {
    let mut order = bench.order(bench.guest("fetcher").await, &params);
    order.http = http.iter().map(|host| host.parse().unwrap()).collect();
    order
}

/// The responses that an attempt got, and the resulting records.
struct Sent {
    answers: Vec<Value>,
    report: AttemptReport,
}

async fn send_with(bench: &Bench, http: &[&str], asks: Value, limits: impl FnOnce(&mut Limits)) -> Sent {
    let mut order = order(bench, http, asks).await;
    limits(&mut order.limits);
    let report = bench.run(order.clone()).await;
    done(&report);
    let answers = lines(bench, &order)
        .iter()
        .filter_map(|line| Some(line.text.strip_prefix("answer ")?.split_once(": ")?.1.to_owned()))
        .map(|json| serde_json::from_str(&json).unwrap_or_else(|why| panic!("{why}: {json}")))
        .collect();
    Sent { answers, report }
}

async fn send(bench: &Bench, http: &[&str], asks: Value) -> Sent {
    send_with(bench, http, json!({ "asks": asks }), |_| ()).await
}

fn only_request(report: &AttemptReport) -> &HttpRequest {
    assert_eq!(report.requests.len(), 1, "{:?}", report.requests);
    &report.requests[0]
}

fn error(answer: &Value) -> &str {
    answer["error"].as_str().unwrap_or_else(|| panic!("no error: {answer}"))
}

#[tokio::test]
async fn a_granted_address_is_reached_and_the_request_is_recorded() {
    let (bench, server) = (Bench::new(), Upstream::plain());
    let at = server.authority();
    let ask = json!([{ "host": at, "path": "/items?key=1234", "method": "POST", "body": "12 ÄÖÜ bytes" }]);
    let Sent { answers, report } = send(&bench, &[&at], ask).await;
    assert_eq!((answers[0]["status"].as_u64(), answers[0]["body"].as_str()), (Some(200), Some("hello from /items")));
    let request = only_request(&report);
    let expected = HttpRequest {
        method: "POST".into(),
        scheme: "http".into(),
        authority: at.clone(),
        path: "/items?…".into(),
        outcome: RequestOutcome::Answered,
        status: Some(200),
        bytes_sent: 15,
        bytes_received: 17,
        duration_us: request.duration_us,
        error: None,
    };
    assert_eq!(*request, expected);
    assert!(request.duration_us > 0);
    assert_eq!(
        (report.usage.http_requests, report.usage.http_bytes_sent, report.usage.http_bytes_received),
        (1, 15, 17)
    );
    assert_eq!((server.bytes(), server.accepted()), (15, 1));
    assert!(report.denials.is_empty());
    let head = server.heads().remove(0);
    assert!(head.starts_with("post /items?key=1234 http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {at}\r\n")), "{head}");
}

#[tokio::test]
async fn ungranted_hosts_are_denied_and_recorded_with_the_lines_that_would_grant_them() {
    let (bench, server) = (Bench::new(), Upstream::plain());
    let (at, other) = (server.authority(), free_port());
    let asks = json!([
        { "host": "example.com", "scheme": "https" },
        { "host": format!("127.0.0.1:{other}") },
        { "host": format!("localhost:{}", server.port()) },
        { "host": format!("127.1:{}", server.port()) },
        { "host": format!("me@{at}") },
        { "host": at },
    ]);
    let Sent { answers, report } = send(&bench, &[&at], asks).await;
    let errors: Vec<&str> = answers[..5].iter().map(error).collect();
    for (place, code) in
        ["HttpRequestDenied", "HttpRequestDenied", "HttpRequestDenied", "UriInvalid", "UriInvalid"].iter().enumerate()
    {
        assert!(errors[place].contains(code), "{place}: {errors:?}");
    }
    assert_eq!(answers[5]["status"], 200, "granted calls work");
    let outcomes: Vec<_> = report.requests.iter().map(|request| request.outcome).collect();
    let (answered, denied, failed) = (RequestOutcome::Answered, RequestOutcome::Denied, RequestOutcome::Failed);
    assert_eq!(outcomes, [denied, denied, denied, failed, failed, answered]);
    let denial = &report.denials[0];
    assert_eq!(
        (denial.call.as_str(), denial.target.as_str()),
        ("wasi:http/outgoing-handler", "https://example.com:443")
    );
    assert_eq!(
        denial.message,
        format!(
            "`train` may not send requests to `example.com:443`; to grant it, write in anacostia.toml:\n\
             [actions.train]\nhttp = [\"{at}\", \"example.com:443\"]"
        )
    );
    let message = &report.denials[1].message;
    assert!(message.contains(&format!("`127.0.0.1:{other}` (its port {} is allowed)", server.port())), "{message}");
    assert_eq!((report.denials.len(), server.accepted()), (3, 1), "no other request was sent");
}

#[tokio::test]
async fn a_name_that_resolves_to_loopback_is_refused_unless_the_address_is_granted() {
    let (bench, server) = (Bench::new(), Upstream::plain());
    let name = format!("localhost:{}", server.port());
    let ask = json!([{ "host": name }]);
    let Sent { answers, report } = send(&bench, &[&name], ask.clone()).await;
    assert!(error(&answers[0]).contains("DestinationIpProhibited"), "{answers:?}");
    assert_eq!(only_request(&report).outcome, RequestOutcome::Denied);
    let message = &report.denials[0].message;
    assert!(message.contains("because the name resolves to") && message.contains("a loopback address"), "{message}");
    assert!(message.contains(&format!("http = [\"{name}\", \"")), "{message}");
    assert_eq!(server.accepted(), 0);

    let listed = [name.clone(), server.authority(), format!("[::1]:{}", server.port())];
    let listed: Vec<&str> = listed.iter().map(String::as_str).collect();
    let Sent { answers, .. } = send(&bench, &listed, ask).await;
    assert_eq!(answers[0]["status"], 200, "{answers:?}");
    assert!(server.heads()[0].contains(&format!("host: {name}\r\n")), "the name is recorded, not the address");
}

#[tokio::test]
async fn a_redirect_is_left_to_the_guest_and_checked_like_any_request() {
    let (bench, server, inside) = (Bench::new(), Upstream::plain(), Upstream::plain());
    let at = server.authority();
    for target in
        [format!("http://{}/secret", inside.authority()), "http://169.254.169.254/latest/meta-data".to_owned()]
    {
        let asks = json!([{ "host": at, "path": format!("/redirect?{target}"), "follow": true }]);
        let Sent { answers, report } = send(&bench, &[&at], asks).await;
        assert_eq!(
            (answers[0]["status"].as_u64(), answers[0]["redirect"].as_str()),
            (Some(302), Some(target.as_str()))
        );
        assert!(error(&answers[1]).contains("HttpRequestDenied"), "{answers:?}");
        assert_eq!(report.requests[1].outcome, RequestOutcome::Denied);
        assert_eq!(report.denials.len(), 1);
    }
    assert_eq!((inside.accepted(), server.accepted()), (0, 2));
}

#[tokio::test]
async fn headers_for_request_smuggling_are_refused() {
    let (bench, server) = (Bench::new(), Upstream::plain());
    let at = server.authority();
    let forbidden = [
        "host",
        "Host",
        "connection",
        "transfer-encoding",
        "upgrade",
        "te",
        "expect",
        "proxy-authorization",
        "keep-alive",
    ];
    let mut asks: Vec<Value> =
        forbidden.iter().map(|name| json!({ "host": at, "headers": { *name: "evil.example" } })).collect();
    asks.push(json!({ "host": at, "headers": { "x-a": "b\r\nhost: evil.example" } }));
    asks.push(json!({ "host": at, "path": "/a b" }));
    asks.push(json!({ "host": at, "path": "http://evil.example/" }));
    asks.push(json!({ "host": at, "path": "/a\r\nhost: evil.example" }));
    asks.push(json!({ "host": format!("{at}\r\nx: y") }));
    asks.push(json!({ "host": at, "headers": { "content-length": "5, 6" }, "method": "POST", "body": "hello" }));
    asks.push(json!({ "host": at, "method": "CONNECT" }));
    asks.push(json!({ "host": at, "method": "TRACE" }));
    let count = asks.len();
    asks.push(json!({ "host": at, "headers": { "x-fine": "yes" } }));
    let Sent { answers, .. } = send(&bench, &[&at], json!(asks)).await;
    for answer in &answers[..count] {
        error(answer);
    }
    assert_eq!(answers[count]["status"], 200, "{:?}", answers[count]);
    let heads = server.heads();
    assert_eq!(heads.len(), 1, "{heads:?}");
    assert_eq!(heads[0].matches("host:").count(), 1, "{heads:?}");
}

#[tokio::test]
async fn oversized_request_and_response_bodies_are_cut_off() {
    let (bench, server) = (Bench::new(), Upstream::plain());
    let at = server.authority();
    let most = 1 << 20;
    for (ask, code, text) in [
        (
            json!({ "host": at, "path": "/up", "method": "PUT", "body_bytes": 64 << 20 }),
            "HttpRequestBodySize",
            "in the body of a request",
        ),
        (json!({ "host": at, "path": "/endless" }), "HttpResponseBodySize", "in the body of an answer"),
        (
            json!({ "host": at, "path": format!("/announced?{}", most + 1) }),
            "HttpResponseBodySize",
            "in the body of an answer",
        ),
    ] {
        let Sent { answers, report } =
            send_with(&bench, &[&at], json!({ "asks": [ask] }), |limits| limits.http_body_bytes = most).await;
        assert!(error(&answers[0]).contains(code), "{answers:?}");
        let request = only_request(&report);
        assert_eq!(request.outcome, RequestOutcome::Failed);
        let said = request.error.as_deref().unwrap();
        assert!(
            said.starts_with(&format!("the limit of 1 MiB {text} is reached")) && said.contains("`http_body`"),
            "{said}"
        );
        assert!(request.bytes_sent <= most && request.bytes_received <= most, "{request:?}");
        wait_until("the server to close the connection", || server.open() == 0);
        assert!(server.bytes() as u64 <= most, "the server received {} bytes", server.bytes());
    }
    let exactly = json!({ "asks": [{ "host": at, "path": "/up", "method": "PUT", "body_bytes": most }] });
    let Sent { answers, .. } = send_with(&bench, &[&at], exactly, |limits| limits.http_body_bytes = most).await;
    assert_eq!(answers[0]["status"], 200, "bodies within the limit arrive: {answers:?}");
    wait_until("the server to close all connections", || server.open() == 0);
}

#[tokio::test]
async fn a_slow_or_broken_server_is_a_typed_error() {
    let (bench, server) = (Bench::new(), Upstream::plain());
    let (at, nobody) = (server.authority(), format!("127.0.0.1:{}", free_port()));
    for (host, path, code, text) in [
        (&at, "/silent", "ConnectionReadTimeout", "the server did not answer within 2s"),
        (&at, "/deaf", "ConnectionReadTimeout", "the server did not answer within 2s"),
        (&at, "/stalls", "ConnectionReadTimeout", "the response stalled for 2s"),
        (&at, "/headers", "HttpResponseHeaderSectionSize", "the head of the answer is too large"),
        (&at, "/not-http", "HttpProtocolError", "the connection broke"),
        (&nobody, "/", "ConnectionRefused", "there is no connection"),
    ] {
        // More than the system's buffers hold, so that the guest notices while sending that the
        // server does not read.
        let body = (path == "/deaf").then_some(32 << 20);
        let ask = json!({ "asks": [{ "host": host, "path": path, "method": "PUT", "body_bytes": body }] });
        let limits = |limits: &mut Limits| limits.http_wait = Duration::from_secs(2);
        let Sent { answers, report } = send_with(&bench, &[host], ask, limits).await;
        assert!(error(&answers[0]).contains(code), "{path}: {answers:?}");
        let request = only_request(&report);
        let said = request.error.as_deref().unwrap_or_default();
        assert!(request.outcome == RequestOutcome::Failed && said.starts_with(text), "{path}: {request:?}");
    }
    let Sent { answers, report } = send(&bench, &[&at], json!([{ "host": at, "path": "/cut" }])).await;
    assert!(
        error(&answers[0]).contains("HttpResponseIncomplete") || error(&answers[0]).contains("ConnectionTerminated")
    );
    assert_eq!((only_request(&report).status, only_request(&report).bytes_received), (Some(200), 5));
    // A guest may request a shorter wait, but not a longer one.
    let hasty = json!({ "asks": [{ "host": at, "path": "/silent", "first_byte_ms": 50 }] });
    let Sent { report, .. } = send_with(&bench, &[&at], hasty, |_| ()).await;
    assert_eq!(only_request(&report).error.as_deref().unwrap(), "the server did not answer within 50ms (`http_wait`)");
    let patient = json!({ "asks": [{ "host": at, "path": "/silent", "first_byte_ms": 3_600_000 }] });
    let limits = |limits: &mut Limits| limits.http_wait = Duration::from_secs(1);
    let Sent { report, .. } = send_with(&bench, &[&at], patient, limits).await;
    assert_eq!(only_request(&report).error.as_deref().unwrap(), "the server did not answer within 1s (`http_wait`)");
}

/// Printed with `-- --nocapture`; `docs/SANDBOX.md` has the figures.
#[tokio::test]
async fn a_request_times_out_shortly_after_its_wait() {
    let (bench, server) = (Bench::new(), Upstream::plain());
    let (at, wait) = (server.authority(), Duration::from_millis(100));
    for path in ["/silent", "/stalls"] {
        let mut times = Vec::new();
        for _ in 0..10 {
            let ask = json!({ "asks": [{ "host": at, "path": path }] });
            let Sent { report, .. } = send_with(&bench, &[&at], ask, |limits| limits.http_wait = wait).await;
            let request = only_request(&report);
            assert!(request.error.as_deref().is_some_and(|said| said.contains("`http_wait`")), "{request:?}");
            let past = Duration::from_micros(request.duration_us).checked_sub(wait);
            times.push(past.unwrap_or_else(|| panic!("timed out too early: {request:?}")));
        }
        times.sort_unstable();
        println!("http_wait, {path}: median {:?}, most {:?} past", times[5], times[9]);
    }
}

#[tokio::test]
async fn requests_are_limited_in_total_and_concurrently() {
    let (bench, server) = (Bench::new(), Upstream::plain());
    let at = server.authority();
    let many = json!({ "asks": [{ "host": at, "times": 130 }] });
    let Sent { report, .. } = send_with(&bench, &[&at], many, |limits| limits.http_requests = 120).await;
    assert_eq!((report.usage.http_requests, report.requests.len(), server.accepted()), (130, MAX_REQUESTS, 120));

    let few = json!({ "asks": [{ "host": at, "times": 3 }] });
    let Sent { answers, report } = send_with(&bench, &[&at], few, |limits| limits.http_requests = 2).await;
    assert!(error(&answers[2]).contains("ConnectionLimitReached"), "{answers:?}");
    let said = report.requests[2].error.as_deref().unwrap();
    assert!(said.starts_with("the limit of 2 requests over the network is reached; to raise it, set `http_requests`"));

    let together = json!({ "asks": [{ "host": at, "times": 20 }], "together": true });
    let Sent { answers, .. } = send_with(&bench, &[&at], together, |_| ()).await;
    let refused = answers.iter().filter(|answer| answer["error"].is_string()).count();
    assert_eq!((answers.len(), refused), (20, 4), "{answers:?}");
    assert!(answers.iter().take(16).all(|answer| answer["status"] == 200));
}

#[tokio::test]
async fn a_spinning_or_stopped_guest_keeps_no_connection_open() {
    let (bench, server) = (Bench::with(1), Upstream::plain());
    let at = server.authority();
    let params = json!({ "asks": [{ "host": at, "path": "/silent", "times": 3 }], "then_spin": true });
    let mut spins = order(&bench, &[&at], params.clone()).await;
    spins.limits.cpu = Duration::from_millis(200);
    let report = bench.run(spins).await;
    assert_eq!(failure(&report).code, "cpu_limit");
    let outcomes: Vec<_> = report.requests.iter().map(|request| request.outcome).collect();
    assert_eq!(outcomes, [RequestOutcome::Unfinished; 3]);
    assert!(report.requests.iter().all(|request| request.duration_us > 0));
    wait_until("its connections to close", || server.open() == 0);

    let waits = json!({ "asks": [{ "host": at, "path": "/silent" }] });
    let mut waits = order(&bench, &[&at], waits).await;
    waits.limits.wall = Duration::from_millis(300);
    let report = bench.run(waits).await;
    assert!(matches!(report.outcome, Outcome::TimedOut(_)), "waiting is wall time: {:?}", report.outcome);
    assert!(report.usage.cpu_time_us < 200_000, "waiting is not CPU time: {}", report.usage.cpu_time_us);
    assert_eq!(only_request(&report).outcome, RequestOutcome::Unfinished);
    wait_until("its connection to close", || server.open() == 0);

    let stopped = order(&bench, &[&at], params).await;
    let report = tokio::join!(bench.run(stopped), async {
        while server.open() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        bench.stop.send_replace(Stop::HandBack);
    });
    assert_eq!(report.0.outcome, Outcome::HandedBack);
    wait_until("its connections to close", || server.open() == 0);
}

#[tokio::test]
async fn a_component_that_imports_http_does_not_run_without_a_grant() {
    let bench = Bench::new();
    let order = order(&bench, &[], json!({ "asks": [] })).await;
    let report = bench.run(order).await;
    let error = failure(&report);
    assert_eq!(error.code, "denied");
    assert!(error.message.contains("[actions.train]\nhttp = ["), "{}", error.message);
}
