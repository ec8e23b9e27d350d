//! Runs that are retried from one of their actions on. The real binary, real files, a real guest.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::app::TestApp;

/// `first`, `middle` (which writes `middle.txt`) and `last`, which copies what `middle` has made,
/// one after another.
const MANIFEST: &str = r#"
manifest_version = 1
[pipeline]
name = "again"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.made]
kind = "folder"
path = "made"
[resources.out]
kind = "folder"
path = "out"
[actions.first]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = { steps = [{ do = "read", from = "raw" }] }
[actions.middle]
component = "worker.wasm"
after = ["first"]
writes = ["made"]
params = { steps = [{ do = "write", to = "made", path = "middle.txt", text = "attempt {attempt}" }, { do = "write", to = "made", path = "of-{attempt}.txt", text = "x" }] }
[actions.last]
component = "worker.wasm"
after = ["middle"]
reads = ["made"]
writes = ["out"]
params = { steps = [{ do = "copy", from = "made", to = "out" }] }
"#;

/// Creates the pipeline, whose first run has succeeded.
fn done() -> TestApp {
    let mut app = TestApp::new(MANIFEST).with_guest("worker");
    app.start();
    app.drop_file("raw/a.txt", b"1");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    app
}

fn retry(app: &TestApp, from: &str) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let mut response =
        agent.post(format!("{}/api/v1/runs/1/retry", app.url())).send_json(json!({ "from": from })).unwrap();
    (response.status().as_u16(), response.body_mut().read_json().unwrap())
}

/// How many attempts each action of the first run has had.
fn attempts(app: &TestApp) -> Vec<usize> {
    let run = app.get("/api/v1/runs/1");
    let actions = run["actions"].as_array().unwrap();
    assert!(actions.iter().all(|action| action["state"] == "succeeded"), "{run:#}");
    actions.iter().map(|action| action["attempts"].as_array().unwrap().len()).collect()
}

fn text(app: &TestApp, path: &str) -> String {
    fs::read_to_string(app.path(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

#[test]
fn an_action_and_those_after_it_are_done_again_and_replace_what_they_published() {
    let app = done();
    assert_eq!(attempts(&app), [1, 1, 1]);
    let page = app.page_at("/runs/1");
    let form = "<input type=\"hidden\" name=\"from\" value=\"middle\">\n<p><code>middle</code>, <code>last</code> will run again. \
                What 1 other action has done stays.</p>";
    assert!(page.contains(form), "{page}");

    let (status, run) = retry(&app, "middle");
    assert_eq!((status, &run["number"]), (200, &json!(1)), "{run}");
    let runs = app.wait_for_runs(1);
    assert_eq!((runs.len(), &runs[0]["state"]), (1, &json!("succeeded")), "{runs:#?}");
    assert_eq!(attempts(&app), [1, 2, 2]);
    assert_eq!((text(&app, "made/middle.txt"), text(&app, "out/middle.txt")), ("attempt 2".into(), "attempt 2".into()));
    // `last` got the outputs of the second attempt only, and what the first has left stays.
    assert!(app.path("out/of-2.txt").exists() && app.path("made/of-1.txt").exists());
    let lineage = app.get("/api/v1/runs/1/lineage")["items"].as_array().unwrap().clone();
    let read = lineage.iter().filter(|edge| edge["kind"] == "read" && edge["action"] == "last");
    let mut read: Vec<_> = read.map(|edge| edge["artifact"]["path"].as_str().unwrap()).collect();
    read.sort_unstable();
    assert_eq!(read, ["middle.txt", "middle.txt", "of-1.txt", "of-2.txt"]);
    let versions = app.get_all("/api/v1/artifacts?resource=made");
    let middle = versions.iter().filter(|it| it["path"] == "middle.txt").map(|it| (&it["version"], &it["present"]));
    assert_eq!(middle.collect::<Vec<_>>(), [(&json!(2), &json!(true)), (&json!(1), &json!(false))]);

    // From the last one on, only that.
    assert_eq!(retry(&app, "last").0, 200);
    app.wait_for_runs(1);
    assert_eq!(attempts(&app), [1, 2, 3]);
}

#[test]
fn a_retry_from_an_action_that_cannot_be_is_refused() {
    let app = done();
    let (status, problem) = retry(&app, "midle");
    assert_eq!(
        (status, problem["detail"].as_str().unwrap()),
        (400, "run #1 has no action `midle`: its actions are `first`, `middle`, `last`")
    );
    let (status, problem) = app.post("/api/v1/runs/1/retry");
    assert_eq!(
        (status, problem["detail"].as_str().unwrap()),
        (409, "run 1 has succeeded: there is nothing to retry, except from one of its actions on")
    );
    let output = app.cli(&["runs", "retry", "1", "PATH", "--from", "midle"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("run #1 has no action `midle`"), "{output:?}");
    // What the action needs is gone.
    fs::write(app.path("raw/a.txt"), b"other bytes").unwrap();
    app.wait_for_runs(2);
    assert_eq!(retry(&app, "first").0, 200);
    let runs = app.wait_for_runs(2);
    assert_eq!(runs[0]["state"], "failed", "{runs:#?}");
    let run = app.get("/api/v1/runs/1");
    assert_eq!(run["actions"][0]["attempts"][1]["error"]["code"], "changed", "{run:#}");
}

/// Also in a folder that is not watched: nothing on record says that somebody was there.
#[test]
fn what_somebody_else_has_put_in_the_place_of_an_output_is_not_replaced() {
    let app = done();
    fs::write(app.path("made/middle.txt"), "by hand").unwrap();
    assert_eq!(retry(&app, "middle").0, 200);
    assert_eq!(app.wait_for_runs(1)[0]["state"], "failed");
    assert_eq!(text(&app, "made/middle.txt"), "by hand");
    let run = app.get("/api/v1/runs/1");
    let attempt = &run["actions"][1]["attempts"][1];
    assert_eq!(attempt["error"]["code"], "already-exists", "{run:#}");
    // Once it is gone, the retry goes on.
    fs::remove_file(app.path("made/middle.txt")).unwrap();
    assert_eq!(app.post("/api/v1/runs/1/retry").0, 200);
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    assert_eq!(text(&app, "out/middle.txt"), "attempt 3");
}

#[test]
fn a_host_that_dies_while_actions_are_done_again_continues() {
    let mut app = done();
    app.signal(Signal::TERM);
    assert!(app.wait_for_end().success());
    let output = app.cli(&["runs", "retry", "1", "PATH", "--from", "middle"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(
        said.ends_with("is running; no host is running, so the rest happens at the next `anacostia run`\n"),
        "{said}"
    );
    for fault in
        ["attempt.begin:1", "publish.begin:1", "publish.before_rename:1", "publish.renamed:2", "publish.begin:2"]
    {
        app.die_at(fault);
    }
    app.start();
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    assert_eq!(text(&app, "made/middle.txt"), text(&app, "out/middle.txt"));
    assert_ne!(text(&app, "made/middle.txt"), "attempt 1");
}
