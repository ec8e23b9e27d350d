//! The page of an action: its component, its limits and what was used, how it failed.

use std::fs;

use crate::support::app::TestApp;
use crate::support::pages::{has, html, obeys, page, submit};
use crate::support::wait::wait_until;

const PIPELINE: &str = r#"
manifest_version = 1
[pipeline]
name = "actions"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.out]
kind = "folder"
path = "out"
[actions.train]
component = "train/worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["out"]
params = { steps = [{ do = "fail", attempts = 1, retryable = true, code = "flaky", message = "<b>not yet</b>" }, { do = "write", to = "out", path = "x", text = "12345678", overwrite = true }] }
limits = { memory = "32MiB", output = "10B" }
retry = { max_attempts = 2, backoff = "1ms" }
env = { MODE = "a secret value" }
"#;

#[test]
fn attempts_are_summed_up_and_compared_with_limits() {
    let mut app = TestApp::new(PIPELINE).with_guest("worker");
    fs::create_dir(app.path("raw")).unwrap();
    fs::create_dir(app.path("train")).unwrap();
    fs::rename(app.path("worker.wasm"), app.path("train/worker.wasm")).unwrap();
    fs::write(app.path("train/README.md"), "# Train\n<script>alert(1)</script>\n").unwrap();
    app.start();
    let before = page(&app, "/actions/train");
    has(&before, &["It has not run yet.", "</svg> not run yet</span>"]);
    app.drop_file("raw/a.csv", b"a");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    let html = page(&app, "/actions/train");
    obeys(&html);
    let node = app.get("/api/v1/nodes/train");
    let digest = node["action"]["component"]["digest"].as_str().unwrap();
    has(
        &html,
        &[
            digest,
            "train/worker.wasm",
            "<code>anacostia:pipeline/resources@0.1.0</code>",
            // The imports with their types, escaped.
            "<summary>Imports and exports as WIT</summary>\n<pre tabindex=\"0\"><code>package root:component;\n",
            "  import anacostia:pipeline/log@0.1.0;\n",
            "  export anacostia:pipeline/action@0.1.0;\n",
            "    set-tags: func(tags: list&lt;entry&gt;) -&gt; result&lt;_, error&gt;;\n",
            "<dt>Language</dt><dd>Rust",
            // Both attempts, with what they have used.
            "aria-label=\"run 1, attempt 1: failed, ",
            "aria-label=\"run 1, attempt 2: succeeded, ",
            "Succeeded</dt><dd class=\"big\">1 <small>of 2</small>",
            "<code>memory</code></th><td class=\"number\">32 MiB</td>",
            "aria-label=\"80 %\"",
            // Failures by their code.
            "<code>flaky</code>",
            "&lt;b&gt;not yet&lt;/b&gt;",
            // Grants by name only.
            "<a href=\"/resources/raw\">raw</a>",
            "<code>MODE</code>",
            "2 tries, after 1 ms to ",
            "train/README.md",
            "<h3>Train</h3>",
            "&lt;script&gt;alert(1)&lt;/script&gt;",
            // Where it stands: it is marked in the graph.
            "class=\"node action ok here\"",
        ],
    );
    assert!(!html.contains("a secret value"), "{html}");
    let wit = node["action"]["component"]["wit"].as_str().unwrap();
    assert!(wit.starts_with("package root:component;\n\nworld root {\n  import "), "{wit}");
    assert!(
        app.get("/api/v1/nodes")["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|node| node["action"]["component"]["wit"].is_null())
    );
    has(&page(&app, "/actions/train?cursor=1"), &["Newest"]);
}

#[test]
fn a_form_pauses_and_resumes_an_action() {
    let mut app = TestApp::new(&PIPELINE.replace("train/worker.wasm", "worker.wasm")).with_guest("worker");
    fs::create_dir(app.path("raw")).unwrap();
    app.start();
    let (status, location, _) = submit(&app, "/actions/train/pause", "reason=the+GPU+is+away");
    assert_eq!((status, location.as_str()), (303, "/actions/train"));
    has(&page(&app, "/actions/train"), &["the GPU is away", "action=\"/actions/train/resume\""]);
    app.drop_file("raw/a.csv", b"a");
    wait_until("the action to wait", || {
        app.try_get("/api/v1/runs/1").is_ok_and(|(_, run)| run["actions"][0]["state"] == "ready")
    });
    assert_eq!(submit(&app, "/actions/train/resume", "").0, 303);
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    for (path, form) in [("/actions/nobody/pause", "reason="), ("/actions/raw/pause", "reason=")] {
        let (status, _, body) = submit(&app, path, form);
        assert!(status == 404 && body.contains("The manifest has no action "), "{status} {body}");
    }
    assert_eq!(html(&app, "/actions/raw").0, 404);
}
