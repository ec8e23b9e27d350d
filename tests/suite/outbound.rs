//! Requests over the network in a real host: secrets that the host adds, TLS, and the resulting
//! records.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::tls::UNTRUSTED;
use crate::support::upstream::Upstream;

/// The secret. No output or file of the host may contain it.
const TOKEN: &str = "tok-5f3a9c2e71";

/// A pipeline with one action, `fetch`, with these lines in its table.
fn app(lines: &str) -> TestApp {
    let manifest = format!(
        r#"
manifest_version = 1
[pipeline]
name = "outbound"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[actions.fetch]
component = "fetcher.wasm"
after = ["raw"]
reads = ["raw"]
{lines}
"#
    );
    let mut app = TestApp::new(&manifest).with_guest("fetcher");
    app.set_env("API_TOKEN", TOKEN);
    app
}

/// Runs the pipeline once, and returns the run and the log of the action.
fn run(app: &mut TestApp) -> (Value, Vec<String>) {
    app.start();
    app.drop_file("raw/a.csv", b"1\n");
    app.wait_for_runs(1);
    let lines = app.get_all("/api/v1/runs/1/logs");
    let text = |line: &Value| line["text"].as_str().unwrap_or_default().to_owned();
    (app.get("/api/v1/runs/1"), lines.iter().map(text).collect())
}

fn attempt(run: &Value) -> &Value {
    &run["actions"][0]["attempts"][0]
}

/// Returns the responses that the guest logged.
fn answers(lines: &[String]) -> Vec<Value> {
    let json = |line: &String| Some(line.strip_prefix("answer ")?.split_once(": ")?.1.to_owned());
    lines.iter().filter_map(json).map(|json| serde_json::from_str(&json).unwrap()).collect()
}

/// Returns every file below `folder` that contains the secret.
fn files_with_the_secret(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with_the_secret(&path));
        } else if fs::read(&path).unwrap().windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn a_secret_header_is_sent_only_to_its_host_and_never_shown() {
    let (ours, other) = (Upstream::plain(), Upstream::plain());
    let (at, elsewhere) = (ours.authority(), other.authority());
    let mut app = app(&format!(
        r#"
http = ["{at}", "{elsewhere}"]
secrets = {{ TOKEN = {{ from = "env:API_TOKEN", header = "Authorization", host = "{at}", prefix = "Bearer " }} }}
params = {{ asks = [
    {{ host = "{at}", path = "/one" }},
    {{ host = "{at}", path = "/two", headers = {{ authorization = "Bearer mine" }} }},
    {{ host = "{elsewhere}", path = "/three" }},
    {{ host = "{at}", path = "/redirect?http://{elsewhere}/four", follow = true }},
    {{ host = "{at}", path = "/reflect" }},
    {{ host = "example.com" }},
] }}
"#
    ));
    let (run, lines) = run(&mut app);
    assert_eq!(run["state"], "succeeded", "{run}");
    let sent = format!("authorization: bearer {TOKEN}\r\n");
    let heads = ours.heads();
    assert_eq!(heads.len(), 4);
    assert!(heads.iter().all(|head| head.contains(&sent) && head.matches("authorization").count() == 1), "{heads:?}");
    let heads = other.heads();
    assert_eq!(heads.len(), 2);
    assert!(heads.iter().all(|head| !head.contains("authorization") && !head.contains(TOKEN)), "{heads:?}");

    assert!(lines.iter().all(|line| !line.contains(TOKEN)), "{lines:?}");
    assert!(!lines.iter().any(|line| line.starts_with("variable TOKEN")), "the guest has no such variable: {lines:?}");
    let seen = answers(&lines);
    assert_eq!(seen[5]["headers"]["x-sent"], "***", "removed from the response: {seen:?}");
    assert!(seen[6]["error"].as_str().unwrap().contains("HttpRequestDenied"));
    let attempt = attempt(&run);
    assert_eq!(attempt["grants"]["secrets"], serde_json::json!(["TOKEN"]));
    assert_eq!(attempt["grants"]["http"], serde_json::json!([at, elsewhere]));
    let node = app.get("/api/v1/nodes/fetch");
    assert_eq!(node["action"]["grants"]["http"], serde_json::json!([at, elsewhere]));
    assert_eq!(node["action"]["grants"]["header_secrets"], serde_json::json!(["TOKEN"]));
    assert!(!run.to_string().contains(TOKEN) && !node.to_string().contains(TOKEN));
    assert!(!app.said().contains(TOKEN));
    app.kill();
    assert_eq!(files_with_the_secret(app.folder()), Vec::<String>::new());
}

#[test]
fn requests_are_shown_in_text_and_json() {
    let server = Upstream::plain();
    let at = server.authority();
    let mut app = app(&format!(
        r#"
http = ["{at}"]
limits = {{ http_wait = "2s" }}
params = {{ asks = [{{ host = "{at}", path = "/items?page=1" }}, {{ host = "{at}", path = "/silent" }}, {{ host = "example.com:80" }}] }}
"#
    ));
    let (run, lines) = run(&mut app);
    let attempt = attempt(&run);
    let facts: Vec<_> = attempt["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            (
                it["method"].as_str().unwrap(),
                it["path"].as_str().unwrap(),
                it["outcome"].as_str().unwrap(),
                &it["status"],
            )
        })
        .collect();
    let (ok, none) = (Value::from(200), Value::Null);
    assert_eq!(
        facts,
        [("GET", "/items?…", "answered", &ok), ("GET", "/silent", "failed", &none), ("GET", "/", "denied", &none)]
    );
    assert_eq!(attempt["usage"]["http_requests"], 3);
    assert_eq!(attempt["denials"][0]["target"], "http://example.com:80");
    assert!(
        lines.contains(&"a request failed: the server did not answer within 2s (`http_wait`)".to_owned()),
        "{lines:?}"
    );
    assert!(lines.iter().any(|line| line.starts_with("denied: wasi:http/outgoing-handler on http://example.com:80")));

    let printed = app.cli_json(&["runs", "show", "1", "PATH", "--json"]);
    assert_eq!(self::attempt(&printed)["requests"], attempt["requests"]);
    let shown = app.cli(&["runs", "show", "1", "PATH"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    let line =
        |text: &str| shown.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text}:\n{shown}"));
    assert!(line("/items").contains("200") && line("/items").contains("received 17 B"), "{shown}");
    assert!(line("/silent").contains("failed") && line("/silent").contains("did not answer"), "{shown}");
    assert!(shown.contains(&format!("http = [\"{at}\", \"example.com:80\"]")), "{shown}");
}

#[test]
fn tls_certificates_must_be_trusted_and_match_the_name() {
    let (server, certificate) = Upstream::tls("localhost");
    let (stranger, _) = Upstream::tls("localhost");
    let (port, strange) = (server.port(), stranger.port());
    let mut app = app(&format!(
        r#"
http = ["localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "localhost:{strange}", "127.0.0.1:{strange}", "[::1]:{strange}"]
secrets = {{ TOKEN = {{ from = "env:API_TOKEN", header = "x-api-key", host = "localhost:{port}" }} }}
params = {{ asks = [
    {{ scheme = "https", host = "localhost:{port}", path = "/one" }},
    {{ scheme = "https", host = "127.0.0.1:{port}", path = "/two" }},
    {{ scheme = "https", host = "localhost:{strange}", path = "/three" }},
    {{ scheme = "http", host = "localhost:{port}", path = "/four" }},
] }}
"#
    ));
    app.trust(&certificate);
    let (run, lines) = run(&mut app);
    let seen = answers(&lines);
    assert_eq!(
        (&seen[0]["status"], &seen[0]["body"]),
        (&Value::from(200), &Value::from("hello from /one")),
        "{seen:?}"
    );
    for place in [1, 2] {
        assert!(seen[place]["error"].as_str().unwrap_or_default().contains("TlsCertificateError"), "{place}: {seen:?}");
    }
    assert!(seen[3]["error"].is_string(), "{seen:?}");
    let heads = server.heads();
    assert!(
        heads[0].contains(&format!("x-api-key: {TOKEN}\r\n")) && heads[0].contains(&format!("host: localhost:{port}"))
    );
    assert_eq!((heads.len(), stranger.heads().len()), (1, 0), "nothing is sent to an untrusted server: {heads:?}");
    let requests = &attempt(&run)["requests"];
    assert_eq!((&requests[0]["scheme"], &requests[0]["outcome"]), (&Value::from("https"), &Value::from("answered")));
    assert_eq!(requests[2]["error"], format!("TLS failed: {UNTRUSTED}"), "{requests}");
    let plain = format!("the secret for `localhost:{port}` is not put into a request over plain http: use https");
    assert!(lines.contains(&plain), "{lines:?}");
}

#[test]
fn a_missing_or_invalid_secret_fails_the_attempt_with_the_reason() {
    let server = Upstream::plain();
    let at = server.authority();
    let mut app = app(&format!(
        r#"
http = ["{at}"]
secrets = {{ TOKEN = {{ from = "env:API_TOKEN", header = "authorization", host = "{at}" }} }}
params = {{ asks = [{{ host = "{at}" }}] }}
"#
    ));
    app.set_env("API_TOKEN", "two\nlines");
    let (run, _) = run(&mut app);
    let error = &attempt(&run)["error"];
    assert_eq!(error["code"], "secret_invalid", "{error}");
    assert!(error["message"].as_str().unwrap().contains("`API_TOKEN`") && !error.to_string().contains("lines\""));
    assert_eq!(server.accepted(), 0);
}
