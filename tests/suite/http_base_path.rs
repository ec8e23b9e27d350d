//! A server below a path: every address that a browser follows has it.

use anacostia::model::{ArtifactState, RunDetail, RunState};

use crate::http_support::{Answer, Server, a_run, an_artifact};

const BASE: &str = "/ml/anacostia";
const BROWSER: (&str, &str) = ("accept", "text/html,*/*;q=0.8");

/// The attributes of a page that hold addresses.
const ADDRESSES: [&str; 8] =
    ["href", "src", "action", "formaction", "poster", "data-events", "data-source", "data-upload"];

/// Starts a server with a run that has failed, and an artifact.
fn start(token: Option<&str>) -> Server {
    let server = Server::below(BASE, token);
    for (number, state) in [(1, RunState::Failed), (2, RunState::Running)] {
        let detail = RunDetail { run: a_run(number, state), actions: vec![], attempts: vec![] };
        server.store.runs.lock().unwrap().push(detail);
    }
    let artifact = an_artifact("a \" href=\"/x", b"1", ArtifactState::New);
    server.store.artifacts.lock().unwrap().push(artifact);
    server
}

/// Returns the addresses on a page, whatever stands before their attribute.
fn addresses(page: &str) -> Vec<String> {
    let attribute = regex_lite::Regex::new("\\s([a-z-]+)=\"([^\"]*)\"").unwrap();
    let tag = regex_lite::Regex::new("<[a-z][^>]*>").unwrap();
    let mut found = Vec::new();
    for tag in tag.find_iter(page) {
        for captures in attribute.captures_iter(tag.as_str()) {
            if ADDRESSES.contains(&&captures[1]) {
                found.push(captures[2].replace("&#x2f;", "/").replace("&amp;", "&"));
            }
        }
    }
    found
}

fn assert_all_below(path: &str, answer: &Answer) {
    let found = addresses(&answer.text());
    assert!(!found.is_empty(), "{path}");
    for address in found {
        let below = address.starts_with(&format!("{BASE}/"));
        let relative = address.is_empty() || address.starts_with(['#', '?']);
        assert!(below || relative, "{path} leads to {address}");
    }
}

#[test]
fn no_page_leads_out_of_the_path() {
    let server = start(None);
    let id = server.store.artifacts.lock().unwrap()[0].id;
    let pages = [
        "/",
        "/runs",
        "/runs?state=failed&q=1",
        "/runs/metrics",
        "/runs/compare?run=1&run=2",
        "/runs/1",
        "/runs/1/logs",
        "/runs/1/artifacts",
        "/runs/1/metrics",
        "/runs/1/events",
        "/runs/2",
        "/resources/raw",
        "/resources/models",
        "/actions/train",
        "/approvals",
        "/settings",
        "/api",
        "/nowhere",
        "/runs/99",
    ];
    let artifact = format!("/artifacts/{id}");
    for path in pages.into_iter().chain([artifact.as_str()]) {
        // Also if a proxy takes the path off.
        for asked in [format!("{BASE}{path}"), path.to_owned()] {
            let answer = server.send("GET", &asked, &[BROWSER], b"");
            assert_eq!(answer.header("content-type"), "text/html; charset=utf-8", "{asked}");
            assert_all_below(&asked, &answer);
        }
    }
    assert!(
        server
            .get(&format!("{BASE}/"))
            .text()
            .contains("data-events=\"/ml/anacostia&#x2f;api&#x2f;v1&#x2f;events?newest=true\"")
    );
    // Each time a page is made, its forms have the id of another run.
    let id = regex_lite::Regex::new("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").unwrap();
    let text = |path: &str| id.replace_all(&server.get(path).text(), "ID").into_owned();
    assert_eq!(text(BASE), text(&format!("{BASE}/")));
}

#[test]
fn what_a_page_leads_to_is_there() {
    let server = start(None);
    for address in addresses(&server.get(&format!("{BASE}/")).text()) {
        if address.starts_with(BASE) && !address.contains("/pipeline/") && !address.contains("/api/v1/events") {
            assert_eq!(server.get(&address).status, 200, "{address}");
        }
    }
    let document = server.get(&format!("{BASE}/openapi.json")).json();
    assert_eq!(document["servers"], serde_json::json!([{ "url": BASE }]));
    assert_eq!(Server::start().get("/openapi.json").json()["servers"], serde_json::json!([{ "url": "/" }]));
    for outside in ["/ml/runs", "/ml/anacostiax/runs", "/x/ml/anacostia/runs"] {
        assert_eq!(server.get(outside).status, 404, "{outside}");
    }
    let events = server.send("HEAD", &format!("{BASE}/api/v1/events"), &[], b"");
    assert_eq!((events.status, events.header("content-type")), (200, "text/event-stream"));
}

#[test]
fn redirects_lead_below_the_path() {
    let server = start(None);
    let paused = server.send("POST", &format!("{BASE}/pipeline/pause"), &[BROWSER], b"");
    assert_eq!((paused.status, paused.header("location")), (303, "/ml/anacostia/"));
    let id = anacostia::base::RunId::new();
    let body = br#"{"params": {}}"#;
    let json = [("content-type", "application/json")];
    let started = server.send("PUT", &format!("{BASE}/api/v1/runs/{id}"), &json, body);
    assert_eq!((started.status, started.header("location")), (201, format!("{BASE}/api/v1/runs/{id}").as_str()));
}

#[test]
fn a_login_stays_below_the_path() {
    let server = start(Some("open sesame"));
    let asked = server.send("GET", &format!("{BASE}/runs"), &[BROWSER], b"");
    assert_eq!(asked.status, 401);
    assert_all_below("/runs", &asked);
    assert!(asked.text().contains("name=\"next\" value=\"&#x2f;runs\""), "{}", asked.text());
    let entered = server.send("POST", &format!("{BASE}/login"), &[], b"token=open+sesame&next=%2Fruns");
    assert_eq!((entered.status, entered.header("location")), (303, "/ml/anacostia/runs"));
    assert!(entered.header("set-cookie").contains("; Path=/ml/anacostia; "), "{entered:?}");
}
