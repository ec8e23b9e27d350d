//! Outputs are sent to a server.

use std::collections::BTreeSet;
use std::time::Duration;

use anacostia::base::Digest;
use serde_json::Value;

use super::origin::Origin;
use crate::support::app::TestApp;
use crate::support::proxy::{Fault, Proxy};
use crate::support::upstream::Upstream;
use crate::support::wait::{wait_for, wait_until};

fn sends(proxy: &Proxy, method: &str) -> TestApp {
    sends_to(&proxy.url(), method, "30s")
}

pub(super) fn sends_to(server: &str, method: &str, timeout: &str) -> TestApp {
    sends_with(server, method, timeout, "")
}

fn sends_with(server: &str, method: &str, timeout: &str, keys: &str) -> TestApp {
    let manifest = format!(
        r#"
manifest_version = 1
[pipeline]
name = "sends"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.api]
kind = "http"
url = "{server}/models/"
method = "{method}"
timeout = "{timeout}"
headers = {{ authorization = "env:TOKEN" }}
{keys}
[actions.copy]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["api"]
params = {{ steps = [{{ do = "copy", from = "raw", to = "api", overwrite = true }}] }}
[actions.read]
component = "worker.wasm"
after = ["copy"]
reads = ["api"]
params = {{ steps = [{{ do = "list", from = "api" }}] }}
"#
    );
    let mut app = TestApp::new(&manifest).with_guest("worker");
    app.set_env("TOKEN", "Bearer tops3cret");
    app
}

#[test]
fn an_output_is_put_with_its_digest_and_a_key() {
    let origin = Origin::start();
    let proxy = Proxy::http(origin.address);
    let mut app = sends(&proxy, "PUT");
    app.drop_file("raw/ä b/model.bin", b"weights");
    app.start();
    let runs = app.wait_for_runs(1);
    assert_eq!(runs[0]["state"], "succeeded", "{}", app.said());
    let brought = origin.brought();
    assert_eq!(brought.len(), 1);
    let request = &brought[0];
    assert_eq!(request.line, "PUT /models/%C3%A4%20b/model.bin HTTP/1.1");
    assert_eq!(request.body, b"weights");
    assert_eq!(request.headers["content-digest"], Digest::of(b"weights").to_content_digest());
    assert_eq!(request.headers["authorization"], "Bearer tops3cret");
    assert_eq!(request.headers["anacostia-path"], "%C3%A4%20b/model.bin");
    let artifact = app.get("/api/v1/artifacts?resource=api")["items"][0].clone();
    assert_eq!(artifact["id"].as_str(), Some(request.headers["idempotency-key"].as_str()));
    let id = artifact["id"].as_str().unwrap();
    let (code, _) = app.try_get(&format!("/api/v1/artifacts/{id}/content")).unwrap();
    assert_eq!(code, 200, "what was sent can be read here");
    let left = std::fs::read_dir(app.path("state/spool/api/.anacostia/staging")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing stays in the spool");
}

/// The folder of what is kept of outputs.
fn kept(app: &TestApp) -> usize {
    std::fs::read_dir(app.path("state/resources/api")).map_or(0, Iterator::count)
}

#[test]
fn an_output_is_kept_for_the_actions_after_it_and_removed_when_the_run_has_ended() {
    let origin = Origin::start();
    let mut app = sends_with(&format!("http://{}", origin.address), "PUT", "30s", "keep = \"0B\"");
    let manifest = std::fs::read_to_string(app.path("anacostia.toml")).unwrap();
    // Long after the host has done with the attempt that wrote it.
    let reads = r#"writes = ["out"]
params = { steps = [{ do = "sleep", ms = 700 }, { do = "copy", from = "api", to = "out", overwrite = true }] }
[resources.out]
kind = "folder"
path = "out"
"#;
    let lists = "params = { steps = [{ do = \"list\", from = \"api\" }] }\n";
    assert!(manifest.contains(lists));
    std::fs::write(app.path("anacostia.toml"), manifest.replace(lists, reads)).unwrap();
    app.drop_file("raw/model.bin", b"weights");
    app.start();
    let runs = app.wait_for_runs(1);
    assert_eq!(runs[0]["state"], "succeeded", "{}", app.said());
    assert_eq!(std::fs::read(app.path("out/model.bin")).unwrap(), b"weights");
    wait_until("the content to be removed", || kept(&app) == 0);
}

#[test]
fn an_output_is_sent_once_while_its_answer_cannot_be_noted() {
    let origin = Origin::start();
    let mut app = sends_to(&format!("http://{}", origin.address), "POST", "30s");
    origin.take_with(500);
    app.drop_file("raw/model.bin", b"weights");
    app.start();
    wait_until("a first try", || !origin.brought().is_empty());
    let staging = app.path("state/spool/api/.anacostia/staging");
    let is_staged = |path: &std::path::PathBuf| path.is_file() && path.metadata().unwrap().len() == 7;
    let staged = super::polling::walk(&staging).into_iter().find(is_staged).unwrap();
    // Where the note would be written.
    let mut draft = staged.into_os_string();
    draft.push(".answer-draft");
    std::fs::create_dir(&draft).unwrap();
    origin.take_with(201);
    wait_until("the note to fail again", || {
        app.said().matches("the server's answer cannot be written to").count() >= 2
    });
    let taken = origin.brought().len();
    std::fs::remove_dir(&draft).unwrap();
    let runs = app.wait_for_runs(1);
    assert_eq!(runs[0]["state"], "succeeded", "{}", app.said());
    assert_eq!(origin.brought().len(), taken);
    let failed = || app.said().matches("an output was not taken").count();
    wait_until("every failure to be logged", || failed() + 1 >= taken);
    assert_eq!(taken, failed() + 1, "it was sent again although the server has it");
}

#[test]
fn an_output_that_takes_longer_than_the_timeout_is_sent_as_long_as_the_server_takes_it() {
    let origin = Origin::start();
    let mut app = sends_to(&format!("http://{}", origin.address), "PUT", "2s");
    // Far more than the buffers between the two hold, taken in 6 seconds.
    origin.read_slowly(Duration::from_millis(100));
    let model: Vec<u8> = b"weights!".repeat(60 << 17);
    app.drop_file("raw/model.bin", &model);
    app.start();
    let runs = app.wait_for_runs(1);
    assert_eq!(runs[0]["state"], "succeeded", "{}", app.said());
    let brought = origin.brought();
    assert_eq!(brought.len(), 1);
    assert!(brought[0].body == model);
}

/// Outputs are read as the server takes them.
#[test]
fn a_large_output_is_never_whole_in_memory() {
    const BYTES: usize = 192 << 20;
    let server = Upstream::plain();
    let mut app = sends_to(&format!("http://{}", server.address), "PUT", "30s");
    app.drop_file("raw/model.bin", &vec![b'x'; BYTES]);
    app.start();
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded", "{}", app.said());
    assert_eq!(server.bytes(), BYTES);
    let most = app.most_resident();
    assert!(most < 160 << 20, "the host took {} MiB", most >> 20);
}

#[test]
fn a_server_that_takes_nothing_more_is_silent() {
    let origin = Origin::start();
    let mut app = sends_to(&format!("http://{}", origin.address), "PUT", "200ms");
    origin.read_slowly(Duration::from_secs(2));
    app.drop_file("raw/model.bin", b"weights");
    app.start();
    wait_until("the host says why", || app.said().contains("an output was not taken: the server was silent for 200ms"));
    origin.read_slowly(Duration::ZERO);
    let runs = app.wait_for_runs(1);
    assert_eq!(runs[0]["state"], "succeeded", "{}", app.said());
}

#[test]
fn an_output_is_sent_until_the_server_takes_it_always_with_the_same_key() {
    let origin = Origin::start();
    let proxy = Proxy::http(origin.address);
    proxy.next(1, "POST ", Fault::status(500));
    proxy.next(1, "POST ", Fault::retry_after(429, 1));
    proxy.next(1, "POST ", Fault::ResetRequestAfter(3));
    proxy.next(1, "POST ", Fault::LoseAnswer);
    let mut app = sends(&proxy, "POST");
    app.drop_file("raw/model.bin", b"weights");
    app.start();
    let runs = app.wait_for_runs(1);
    assert_eq!((runs[0]["state"].as_str(), proxy.struck()), (Some("succeeded"), 4));
    let brought: Vec<_> = origin.brought().into_iter().filter(|request| request.body == b"weights").collect();
    assert_eq!(brought.len(), 2, "the server has it twice, because its answer was lost");
    assert!(brought.iter().all(|request| request.line == "POST /models/ HTTP/1.1"));
    let keys: BTreeSet<_> = brought.iter().map(|request| &request.headers["idempotency-key"]).collect();
    assert_eq!(keys.len(), 1);
    app.wait_to_say("an output was not taken: the server answers 500 Internal Server Error; it is sent again in");
    assert!(!app.said().contains("tops3cret"));
}

#[test]
fn a_host_that_dies_sends_the_rest_and_what_was_noted_only_once() {
    for (fault, times) in [
        ("publish.begin:1", 1),
        ("http.before_send:1", 1),
        ("http.sent:1", 2),
        ("http.marked:1", 1),
        ("publish.visible:1", 1),
    ] {
        let origin = Origin::start();
        let proxy = Proxy::http(origin.address);
        let mut app = sends(&proxy, "PUT");
        app.drop_file("raw/model.bin", b"weights");
        app.die_at(fault);
        app.start();
        let runs = app.wait_for_runs(1);
        assert_eq!(runs[0]["state"], "succeeded", "{fault}: {}", app.said());
        let brought = origin.brought();
        assert_eq!(brought.len(), times, "{fault}");
        let keys: BTreeSet<_> = brought.iter().map(|request| &request.headers["idempotency-key"]).collect();
        assert_eq!(keys.len(), 1, "{fault}");
        assert_eq!(app.get("/api/v1/artifacts?resource=api")["items"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn an_output_that_the_server_never_takes_fails_its_attempt_and_holds_up_nothing() {
    let origin = Origin::start();
    origin.take_with(422);
    let proxy = Proxy::http(origin.address);
    let mut app = sends(&proxy, "PUT");
    app.drop_file("raw/bad.bin", b"bad");
    app.die_at("http.marked:1");
    app.start();
    let runs = app.wait_for_runs(1);
    assert_eq!(runs[0]["state"], "failed");
    let run = app.get("/api/v1/runs/1");
    let attempt = &run["actions"][0]["attempts"][0];
    assert_eq!(attempt["state"], "failed", "{run}");
    assert_eq!(attempt["error"]["code"], "refused", "{run}");
    assert_eq!(attempt["error"]["message"], "api does not take `bad.bin`: the server answers 422 Unprocessable Entity");
    assert_eq!(origin.brought().len(), 1, "the refusal is noted, so it is not sent again");
    origin.take_with(200);
    app.drop_file("raw/good.bin", b"good");
    assert_eq!(app.wait_for_runs(2)[1]["state"], "succeeded");
    let retried = app.post("/api/v1/runs/1/retry");
    assert_eq!(retried.0, 200, "{}", retried.1);
    wait_until("the retry to succeed", || app.get("/api/v1/runs/1")["state"] == "succeeded");
    let bad: Vec<_> = origin.brought().into_iter().filter(|request| request.body == b"bad").collect();
    assert_eq!(bad.len(), 2);
}

/// Has the guest make outputs only where nothing is.
fn without_overwrite(app: &TestApp) {
    let manifest = std::fs::read_to_string(app.path("anacostia.toml")).unwrap();
    assert!(manifest.contains(", overwrite = true"));
    std::fs::write(app.path("anacostia.toml"), manifest.replace(", overwrite = true", "")).unwrap();
}

/// What is on record in `api`: path, version, state, reason and whether it is there, in this order.
fn on_record(app: &TestApp) -> Vec<(String, u64, String, String, bool)> {
    let text = |artifact: &Value, key: &str| artifact[key].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<_> = app
        .get_all("/api/v1/artifacts?resource=api")
        .iter()
        .map(|it| {
            let (version, present) = (it["version"].as_u64().unwrap(), it["present"].as_bool().unwrap());
            (text(it, "path"), version, text(it, "state"), text(it, "reason"), present)
        })
        .collect();
    all.sort();
    all
}

fn row(path: &str, version: u64, state: &str, reason: &str, present: bool) -> (String, u64, String, String, bool) {
    (path.to_owned(), version, state.to_owned(), reason.to_owned(), present)
}

const REFUSED: &str = "the server answers 422 Unprocessable Entity";
const GIVEN_UP: &str = "the run was cancelled before the server took it";

#[test]
fn a_refused_output_holds_no_path_so_it_can_be_made_again() {
    for again in [
        &["runs", "retry", "1", "PATH"][..],
        &["runs", "retry", "1", "PATH", "--current"],
        &["trigger", "PATH", "--inputs", "raw/*"],
    ] {
        let origin = Origin::start();
        let proxy = Proxy::http(origin.address);
        proxy.next(1, "PUT /models/m.bin", Fault::status(422));
        let mut app = sends(&proxy, "PUT");
        without_overwrite(&app);
        app.drop_file("raw/m.bin", b"weights");
        app.start();
        assert_eq!(app.wait_for_runs(1)[0]["state"], "failed");
        assert_eq!(on_record(&app), [row("m.bin", 1, "not_taken", REFUSED, false)]);
        let shown = String::from_utf8(app.cli(&["runs", "show", "1", "PATH"]).stdout).unwrap();
        assert!(shown.contains("\nNot taken\n  api/m.bin") && !shown.contains("\nPublished\n"), "{shown}");
        let id = app.get("/api/v1/artifacts?resource=api")["items"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!(app.try_get(&format!("/api/v1/artifacts/{id}/content")).unwrap().0, 200, "it can be read");
        let done = app.cli(again);
        assert!(done.status.success(), "{again:?}: {done:?}");
        wait_until("the output to be taken", || {
            let runs = app.get_all("/api/v1/runs");
            runs.iter().any(|run| run["state"] == "succeeded")
        });
        let both = [row("m.bin", 1, "not_taken", REFUSED, false), row("m.bin", 2, "published", "", true)];
        assert_eq!(on_record(&app), both, "{again:?}");
        assert_eq!(origin.brought().len(), 1, "{again:?}");
    }
}

#[test]
fn what_was_taken_beside_a_refused_output_stays_and_so_does_what_it_would_have_replaced() {
    let origin = Origin::start();
    let proxy = Proxy::http(origin.address);
    let mut app = sends(&proxy, "PUT");
    app.drop_file("raw/a.bin", b"first");
    app.start();
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    proxy.all("PUT /models/a.bin", Fault::status(422));
    // Both belong to one run.
    assert!(app.cli(&["pause", "PATH"]).status.success());
    app.drop_file("raw/a.bin", b"second");
    app.drop_file("raw/b.bin", b"other");
    wait_until("both to wait", || app.get("/api/v1/nodes/raw")["resource"]["pending"]["count"] == 2);
    assert!(app.cli(&["resume", "PATH"]).status.success());
    assert_eq!(app.wait_for_runs(2)[1]["state"], "failed");
    let error = &app.get("/api/v1/runs/2")["actions"][0]["attempts"][0]["error"];
    assert_eq!(error["message"], format!("api does not take `a.bin`: {REFUSED}"));
    let all = [
        row("a.bin", 1, "published", "", true),
        row("a.bin", 2, "not_taken", REFUSED, false),
        row("b.bin", 1, "published", "", true),
    ];
    assert_eq!(on_record(&app), all);
    let put = |path: &str| origin.brought().iter().filter(|it| it.line.contains(path)).count();
    assert_eq!((put("a.bin"), put("b.bin")), (1, 1));
}

#[test]
fn a_cancelled_run_gives_up_the_outputs_that_its_server_has_not_taken() {
    for restarted in [false, true] {
        let origin = Origin::start();
        let proxy = Proxy::http(origin.address);
        proxy.all("PUT /models/b.bin", Fault::status(500));
        let mut app = sends(&proxy, "PUT");
        without_overwrite(&app);
        app.drop_file("raw/a.bin", b"weights");
        app.drop_file("raw/b.bin", b"more");
        app.start();
        let waits = |app: &TestApp| {
            let run = app.try_get("/api/v1/runs/1");
            run.is_ok_and(|(_, run)| run["actions"][0]["attempts"][0]["outage"].is_object())
        };
        wait_until("the output to wait", || waits(&app));
        if restarted {
            app.kill();
            app.start();
            wait_until("the output to wait again", || waits(&app));
        }
        assert!(app.cli(&["runs", "cancel", "1", "PATH"]).status.success());
        assert_eq!(app.wait_for_runs(1)[0]["state"], "cancelled", "{}", app.said());
        let run = app.get("/api/v1/runs/1");
        let attempt = &run["actions"][0]["attempts"][0];
        assert_eq!((&run["actions"][0]["state"], &attempt["state"]), (&"cancelled".into(), &"cancelled".into()));
        assert_eq!(attempt["error"]["code"], "cancelled");
        assert_eq!(attempt["error"]["message"], format!("api did not take `b.bin`: {GIVEN_UP}"));
        let all = [row("a.bin", 1, "published", "", true), row("b.bin", 1, "not_taken", GIVEN_UP, false)];
        assert_eq!(on_record(&app), all);
        proxy.heal();
        app.restart();
        app.drop_file("raw/c.bin", b"next");
        assert_eq!(app.wait_for_runs(2)[1]["state"], "succeeded", "it holds up nothing");
        assert!(origin.brought().iter().all(|it| !it.line.contains("b.bin")), "it is not sent any more");
    }
}

#[test]
fn a_run_that_was_cancelled_before_its_host_died_is_ended_by_the_next() {
    let origin = Origin::start();
    let proxy = Proxy::http(origin.address);
    proxy.all("PUT ", Fault::status(500));
    let mut app = sends(&proxy, "PUT");
    app.drop_file("raw/b.bin", b"more");
    app.start();
    wait_until("the output to wait", || app.said().contains("an output was not taken"));
    app.kill();
    assert!(app.cli(&["runs", "cancel", "1", "PATH"]).status.success());
    app.start();
    assert_eq!(app.wait_for_runs(1)[0]["state"], "cancelled", "{}", app.said());
    assert_eq!(on_record(&app), [row("b.bin", 1, "not_taken", GIVEN_UP, false)]);
}

#[test]
fn a_host_stops_while_a_server_is_away_and_the_next_one_sends_the_output() {
    let origin = Origin::start();
    let proxy = Proxy::http(origin.address);
    proxy.refuse();
    let mut app = sends(&proxy, "PUT");
    app.drop_file("raw/model.bin", b"weights");
    app.start();
    wait_for("the output to fail", || app.said().contains("an output was not taken").then_some(()));
    app.signal(rustix::process::Signal::TERM);
    assert!(app.wait_for_end().success());
    proxy.heal();
    app.start();
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    assert_eq!(origin.brought().len(), 1);
}
