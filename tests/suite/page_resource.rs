//! The page of a resource: what is in it, what its trigger decided, and the forms that steer.

use anacostia::base::AttemptId;
use anacostia::model::Denial;
use anacostia::store::{AccessSum, ResourceAccess};

use crate::http_support::Server;
use crate::support::app::TestApp;
use crate::support::pages::{has, html, new_run, obeys, page, submit, submit_from};
use crate::support::wait::{wait_for, wait_until};

const PIPELINE: &str = r#"
manifest_version = 1
[pipeline]
name = "resources"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
include = ["*.csv"]
trigger = { min_artifacts = 2 }
[resources.pushed]
kind = "http"
push = true
watch = true
[resources.out]
kind = "folder"
path = "out"
[actions.copy]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["out"]
params = { steps = [{ do = "copy", from = "raw", to = "out" }] }
[actions.look]
component = "worker.wasm"
after = ["pushed"]
reads = ["pushed"]
"#;

fn started() -> TestApp {
    let mut app = TestApp::new(&PIPELINE.replace("name = \"resources\"", "name = \"resources\"\njoin = \"any\""))
        .with_guest("worker");
    std::fs::create_dir(app.path("raw")).unwrap();
    app.start();
    wait_until("the host to be ready", || app.try_get("/readyz").is_ok_and(|(status, _)| status == 200));
    app
}

#[test]
fn artifacts_are_listed_by_version_with_their_state() {
    let app = started();
    let empty = page(&app, "/resources/raw");
    has(&empty, &["There are none.", "It has decided nothing yet.", "<a href=\"/actions/copy\">copy</a>", "*.csv"]);
    app.drop_file("raw/<b>.csv", b"a");
    let waiting = wait_for("the artifact to wait", || {
        let html = page(&app, "/resources/raw");
        let parts = ["1 of 2 artifacts", "not yet", "action=\"/resources/raw/trigger\""];
        parts.iter().all(|part| html.contains(part)).then_some(html)
    });
    obeys(&waiting);
    has(
        &waiting,
        &["&lt;b&gt;.csv</a>", "<code>min_artifacts 2</code>", "action=\"/resources/raw/trigger\"", "not yet"],
    );
    assert!(!waiting.contains("<b>"), "{waiting}");
    app.drop_file("raw/b.csv", b"b");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    let html = page(&app, "/resources/raw");
    has(&html, &["2 new artifacts", "</svg> fired</span>", "aria-label=\"Download b.csv\""]);
    // Each decision is a mark that leads to its line.
    let decisions = app.get("/api/v1/triggers?trigger=raw")["items"].as_array().unwrap().clone();
    for decision in &decisions {
        let seq = &decision["seq"];
        has(&html, &[&format!("href=\"#tick-{seq}\" aria-label=\"20"), &format!("id=\"tick-{seq}\"")]);
    }
    has(&html, &["aria-label=\"fired, 1 over time\"", "UTC: fired, 2 new artifacts\""]);
    // A mark whose line is on another page leads there.
    let [newest, .., oldest] = &decisions[..] else { panic!("{decisions:?}") };
    let page_of_oldest = page(&app, &format!("/resources/raw?ticks={}", oldest["seq"].as_u64().unwrap() + 1));
    let (newest, oldest) = (newest["seq"].as_u64().unwrap(), &oldest["seq"]);
    has(
        &page_of_oldest,
        &[&format!("id=\"tick-{oldest}\""), &format!("href=\"/resources/raw?ticks={}#tick-{newest}\"", newest + 1)],
    );
    assert_eq!(html.matches("</svg> old</span>").count(), 2, "{html}");
    has(
        &page(&app, "/resources/out"),
        &["</svg> published</span>", "Written by</dt><dd><a href=\"/actions/copy\">copy</a>"],
    );
    // The filter keeps to one state.
    has(&page(&app, "/resources/raw?state=new"), &["There are none.", "aria-current=\"true\">new</a>"]);
    let (status, body) = self::html(&app, "/resources/raw?state=%3Cb%3E");
    assert!(status == 400 && !body.contains("<b>"), "{status} {body}");
}

#[test]
fn forms_pause_resume_and_trigger() {
    let app = started();
    let (status, location, _) = submit(&app, "/resources/raw/pause", "reason=%3Cb%3Ebad+sensor");
    assert_eq!((status, location.as_str()), (303, "/resources/raw"));
    let paused = page(&app, "/resources/raw");
    has(&paused, &["&lt;b&gt;bad sensor", "action=\"/resources/raw/resume\"", "</svg> paused</span>"]);
    obeys(&paused);
    has(&page(&app, "/"), &["resource raw: paused, &lt;b&gt;bad sensor"]);
    assert_eq!(submit_from(&app, "null", "/resources/raw/resume", "").0, 403);
    assert_eq!(submit(&app, "/resources/raw/resume", "").0, 303);
    assert!(page(&app, "/resources/raw").contains("action=\"/resources/raw/pause\""));
    let id = anacostia::base::RunId::new();
    let (status, _, body) = submit(&app, "/resources/raw/trigger", &format!("id={id}"));
    assert!(status == 409 && body.contains("Not recorded:"), "nothing is new: {status} {body}");
    app.drop_file("raw/a.csv", b"a");
    wait_until("the artifact to wait", || page(&app, "/resources/raw").contains("1 of 2 artifacts"));
    let (status, _, body) = submit(&app, "/resources/raw/trigger", "id=1");
    assert!(status == 400 && body.contains("the form could not be read"), "{status} {body}");
    // Sent twice, it starts one run.
    let form = format!("id={}", new_run(&page(&app, "/resources/raw"), "/resources/raw/trigger"));
    for _ in 0..2 {
        let (status, location, _) = submit(&app, "/resources/raw/trigger", &form);
        assert_eq!((status, location.as_str()), (303, "/runs/1"));
    }
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
}

#[test]
fn a_form_says_how_much_the_run_takes_that_it_starts() {
    let one = PIPELINE
        .replace("trigger = { min_artifacts = 2 }", "trigger = { max_artifacts = 1, quiet_for = \"1h\" }")
        .replace("[actions.look]", "[actions.look]\nparams = { steps = [] }");
    let mut app = TestApp::new(&one).with_guest("worker");
    std::fs::create_dir(app.path("raw")).unwrap();
    app.start();
    let bounds = "It takes what is new: at most 1 of <code>raw</code>, ";
    has(&page(&app, "/"), &["Start a run on what is new", bounds, "the oldest first."]);
    for name in ["a.csv", "b.csv", "c.csv"] {
        app.drop_file(&format!("raw/{name}"), b"a");
    }
    let says = "It takes the oldest 1 of 3 artifacts, whatever the trigger waits for.";
    let html =
        wait_for("three artifacts to wait", || Some(page(&app, "/resources/raw")).filter(|it| it.contains(says)));
    let form = format!("id={}", new_run(&html, "/resources/raw/trigger"));
    assert_eq!(submit(&app, "/resources/raw/trigger", &form).0, 303);
    app.wait_for_runs(1);
    assert_eq!(app.get_all("/api/v1/runs/1/inputs").len(), 1, "the run takes what the form has said");
    let says = "It takes the oldest 1 of 2 artifacts,";
    wait_until("two artifacts to be left", || page(&app, "/resources/raw").contains(says));
}

#[test]
fn the_access_log_says_that_it_goes_on_and_shows_calls_that_were_denied() {
    let server = Server::start();
    let access = |run_number: u64| ResourceAccess {
        run_number,
        attempt_id: AttemptId::new(),
        action: "train".to_owned(),
        attempt: 1,
        ended_at: None,
        read: AccessSum { artifacts: 2, bytes: 20 },
        wrote: AccessSum::default(),
        denied: vec![Denial {
            call: "resources.create".to_owned(),
            target: "raw".to_owned(),
            message: "<b>raw</b> is not granted".to_owned(),
        }],
    };
    let row = |html: &str, run: u64| html.contains(&format!("class=\"number\"><a href=\"/runs/{run}\">{run}</a></th>"));
    *server.store.accesses.lock().unwrap() = (1..=15).rev().map(access).collect();
    let html = server.get("/resources/raw").text().replace("&#x2f;", "/");
    has(&html, &["resources.create: &lt;b&gt;raw&lt;/b&gt; is not granted", "2 artifacts, 20 B"]);
    assert!(row(&html, 1) && row(&html, 15) && !html.contains("newest attempts that used it"), "{html}");
    server.store.accesses.lock().unwrap().insert(0, access(16));
    let html = server.get("/resources/raw").text().replace("&#x2f;", "/");
    has(&html, &["These are the 15 newest attempts that used it."]);
    assert!(row(&html, 16) && row(&html, 2) && !row(&html, 1), "{html}");
}

#[test]
fn what_a_resource_does_not_take_is_refused() {
    let app = started();
    let (status, _, body) = submit(&app, "/resources/out/pause", "reason=");
    assert!(
        status == 409 && body.contains("<code>out</code> is not watched, so nothing in it waits for a run"),
        "{status} {body}"
    );
    let (status, _, body) = submit(&app, "/resources/out/trigger", "");
    assert!(
        status == 409 && body.contains("<code>out</code> is not watched, so it has no new artifacts"),
        "{status} {body}"
    );
    for path in ["/resources/nobody", "/resources/copy", "/resources/%3Cb%3E"] {
        let (status, body) = html(&app, path);
        assert!(status == 404 && body.contains("The manifest has no resource ") && !body.contains("<b>"), "{body}");
    }
    assert_eq!(submit(&app, "/resources/nobody/pause", "reason=").0, 404);
    let (status, _, body) = submit(&app, "/resources/raw/pause", &format!("reason={}", "x".repeat(1_001)));
    assert!(status == 400 && body.contains("the reason has 1001 bytes"), "{status} {body}");
    // Only where programs upload there is a form for it.
    has(
        &page(&app, "/resources/pushed"),
        &["data-upload=\"/api/v1/resources/pushed/artifacts\"", "/assets/upload.js?v="],
    );
    assert!(!page(&app, "/resources/raw").contains("data-upload"));
}
