//! The page of the pipeline: the graph and what it says, and the forms that steer.

use std::fmt::Write as _;

use anacostia::model::{ActionState, RunAction, RunDetail, RunState};
use serde_json::json;

use crate::http_support::{Server, a_run};
use crate::support::app::TestApp;
use crate::support::pages::{has, new_run, obeys, page, submit, submit_from};
use crate::support::wait::{wait_for, wait_until};

/// An input, two actions after each other, and an output that the first of them reads too.
const PIPELINE: &str = r#"
manifest_version = 1
[pipeline]
name = "graphs"
params = { seed = 7 }
[pipeline.params_schema]
type = "object"
[pipeline.params_schema.properties.seed]
type = "integer"
maximum = 99
description = "Where <chance> begins"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
trigger = { min_artifacts = 2 }
[resources.models]
kind = "folder"
path = "models"
[actions.train]
component = "worker.wasm"
after = ["raw"]
reads = ["raw", "models"]
params = { steps = [{ do = "metrics", name = "accuracy", values = [0.75] }] }
[actions.publish]
component = "worker.wasm"
after = ["train"]
writes = ["models"]
params = { steps = [{ do = "write", to = "models", path = "m.txt", text = "m", overwrite = true }] }
"#;

fn started(manifest: &str) -> TestApp {
    let mut app = TestApp::new(manifest).with_guest("worker");
    std::fs::create_dir(app.path("raw")).unwrap();
    app.start();
    wait_until("the host to be ready", || app.try_get("/readyz").is_ok_and(|(status, _)| status == 200));
    app
}

#[test]
fn the_graph_shows_what_waits_and_how_each_action_ended() {
    let app = started(PIPELINE);
    let before = page(&app, "/");
    has(
        &before,
        &["No runs yet.", "<title>action train: not run yet</title>", "<title>resource raw: watching</title>"],
    );
    assert!(!app.said().to_lowercase().contains("layout"), "the log is about the pipeline: {}", app.said());
    app.drop_file("raw/a.csv", b"a");
    // One of two: it waits, on the node, on the edge and at the trigger.
    let waiting = wait_for("the artifact to wait", || {
        let html = page(&app, "/");
        html.contains("resource raw: watching, 1 waiting").then_some(html)
    });
    has(&waiting, &["<path class=\"edge reads waiting\"", "<code>min_artifacts 2</code>", "1 artifact, 1 B"]);
    app.drop_file("raw/b.csv", b"b");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    let html = page(&app, "/");
    obeys(&html);
    has(
        &html,
        &[
            "<svg class=\"graph\" role=\"group\" aria-label=\"Graph of the pipeline\"",
            "<title>action train: succeeded, ",
            "<a class=\"node action ok\" href=\"/actions/train\"",
            "<title>resource models: not watched</title>",
            "<title>metadata store metadata_store: ready, sqlite</title>",
            // What the first action reads is written by the second: that edge leads back.
            "<path class=\"edge reads back\"",
            "<path class=\"edge after\"",
            // The same as a list.
            "<th scope=\"row\" data-label=\"Node\"><a href=\"/actions/publish\">publish</a></th>",
            "<td data-label=\"Leads to\"><span><a href=\"/resources/models\">models</a></span></td>",
            // The run as a bar, and the metric as a line.
            "href=\"/runs/1\" aria-label=\"run 1: succeeded, ",
            "aria-label=\"accuracy: from 0.75 to 0.75 over 1 run\"",
            "<a href=\"/runs/1\">1</a>",
        ],
    );
    // Wide and narrow windows have a drawing each.
    assert_eq!(html.matches("<svg class=\"graph\"").count(), 2);
}

#[test]
fn a_form_pauses_and_resumes_the_pipeline() {
    let app = started(PIPELINE);
    has(&page(&app, "/"), &["action=\"/pipeline/pause\""]);
    assert_eq!(submit_from(&app, "http://evil.example.com", "/pipeline/pause", "").0, 403);
    assert_eq!(app.get("/api/v1/pipeline")["state"], "running");
    let (status, location, _) = submit(&app, "/pipeline/pause", "");
    assert_eq!((status, location.as_str()), (303, "/"));
    assert_eq!(app.get("/api/v1/pipeline")["state"], "paused");
    let paused = page(&app, "/");
    has(&paused, &["action=\"/pipeline/resume\"", "<strong>Paused.</strong>"]);
    assert!(!paused.contains("action=\"/pipeline/pause\""));
    assert_eq!(submit(&app, "/pipeline/resume", "").0, 303);
    assert_eq!(app.get("/api/v1/pipeline")["state"], "running");
}

#[test]
fn a_form_made_of_the_schema_starts_a_run() {
    let app = started(PIPELINE);
    has(
        &page(&app, "/"),
        &[
            "name=\"p.seed\" type=\"number\" step=\"1\" max=\"99\" value=\"\" placeholder=\"7\"",
            "Where &lt;chance&gt; begins",
        ],
    );
    // What was typed is still there, with what is wrong with it.
    let form = |seed: &str| format!("id={}&p.seed={seed}", new_run(&page(&app, "/"), "/pipeline/run"));
    let (status, _, body) = submit(&app, "/pipeline/run", &form("%3Cb%3E"));
    assert_eq!(status, 400, "{body}");
    has(
        &body,
        &["the param <code>seed</code> is not a number: <code>&lt;b&gt;</code>", "value=\"&lt;b&gt;\"", " open>"],
    );
    obeys(&body);
    let (status, _, body) = submit(&app, "/pipeline/run", &form("100"));
    assert!(status == 400 && body.contains("the param <code>seed</code> does not fit"), "{status} {body}");
    assert!(app.get_all("/api/v1/runs").is_empty());
    let (status, _, body) = submit(&app, "/pipeline/run", "p.seed=8");
    assert!(status == 400 && body.contains("the form could not be read"), "{status} {body}");
    // A form that is sent twice starts one run.
    let eight = form("8");
    for _ in 0..2 {
        let (status, location, _) = submit(&app, "/pipeline/run", &eight);
        assert_eq!((status, location.as_str()), (303, "/runs/1"));
    }
    assert_eq!(app.wait_for_runs(1)[0]["params"], json!({ "seed": 8 }));
    // A field that is left empty leaves the value of the manifest.
    assert_eq!(submit(&app, "/pipeline/run", &form("")).1, "/runs/2");
    assert_eq!(app.wait_for_runs(2)[1]["params"], json!({}));
}

#[test]
fn three_hundred_nodes_are_drawn_and_more_are_listed() {
    let manifest = |actions: usize, after: &dyn Fn(usize) -> String| {
        let mut text = "manifest_version = 1\n[pipeline]\nname = \"large\"\n".to_owned();
        text += "[resources.raw]\nkind = \"folder\"\npath = \"raw\"\nwatch = true\n";
        for action in 0..actions {
            let after = after(action);
            let _ = writeln!(
                text,
                "[actions.a{action}]\ncomponent = \"worker.wasm\"\nafter = [{after}]\nreads = [\"raw\"]"
            );
        }
        text
    };
    let tree = |action: usize| if action == 0 { "\"raw\"".to_owned() } else { format!("\"a{}\"", (action - 1) / 3) };
    let app = started(&manifest(298, &tree));
    let html = page(&app, "/");
    assert_eq!(html.matches("<a class=\"node ").count(), 300);
    assert_eq!(html.matches("<svg class=\"graph\"").count(), 1, "too large for narrow windows");
    drop(app);
    // Two layers in which everything is connected with everything.
    let dense = |action: usize| match action {
        0..90 => "\"raw\"".to_owned(),
        _ => (0..90).map(|before| format!("\"a{before}\"")).collect::<Vec<_>>().join(", "),
    };
    let app = started(&manifest(180, &dense));
    let html = page(&app, "/");
    has(&html, &["The graph is too large to be drawn.", "<details class=\"graph-list\" data-key=\"graph-list\" open>"]);
    assert_eq!(html.matches("<svg class=\"graph\"").count(), 0);
}

#[test]
fn the_graph_shows_each_action_in_the_run_in_which_it_is_most_active() {
    let server = Server::start();
    let add = |number: u64, state: RunState, of_train: ActionState| {
        let actions = vec![RunAction { state: of_train, ..RunAction::pending("train") }];
        server.store.runs.lock().unwrap().push(RunDetail { run: a_run(number, state), actions, attempts: vec![] });
    };
    let says = |what: &str| {
        let page = server.get("/").text();
        assert!(page.contains(&format!("<title>action train: {what}</title>")), "{what}: {page}");
    };
    add(1, RunState::Running, ActionState::Running);
    says("running");
    add(2, RunState::Running, ActionState::AwaitingApproval);
    says("running in 1, waits in 1");
    add(3, RunState::Running, ActionState::Running);
    add(4, RunState::Running, ActionState::Ready);
    // The newest run is that of a queue, in which nothing has happened yet.
    add(5, RunState::Queued, ActionState::Pending);
    says("running in 2, waits in 2");
    // What has ended is shown if nothing is active.
    server.store.runs.lock().unwrap().clear();
    add(6, RunState::Running, ActionState::Failed);
    says("failed");
}
