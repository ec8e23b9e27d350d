//! The page of a trigger of the pipeline: what it waits for, and what it decided.

use crate::support::app::TestApp;
use crate::support::pages::{has, html, obeys, page};
use crate::support::wait::wait_until;

const PIPELINE: &str = r#"
manifest_version = 1
[pipeline]
name = "triggers"
[resources.raw]
kind = "folder"
path = "raw"
[triggers.often]
every = "1s"
[triggers.yearly]
cron = "@yearly"
[actions.work]
component = "worker.wasm"
reads = ["raw"]
params = { steps = [] }
"#;

#[test]
fn a_trigger_of_the_pipeline_has_a_page_with_what_it_waits_for_and_decided() {
    let mut app = TestApp::new(PIPELINE).with_guest("worker");
    app.start();
    has(&page(&app, "/"), &["href=\"/triggers/often\"", "href=\"/triggers/yearly\""]);
    let waiting = page(&app, "/triggers/yearly");
    obeys(&waiting);
    has(&waiting, &["<h1>yearly</h1>", "<code>cron @yearly", "data-countdown=\""]);
    wait_until("a run", || !app.get_all("/api/v1/runs").is_empty());
    assert_eq!(app.post("/api/v1/pipeline/pause").0, 200);
    let fired = page(&app, "/triggers/often");
    obeys(&fired);
    has(
        &fired,
        &["</svg> fired</span>", "<a href=\"/runs/1\">run 1</a>", "href=\"/runs?trigger=often\"", "over time\""],
    );
    let (status, missing) = html(&app, "/triggers/%3Cb%3E");
    assert_eq!(status, 404);
    has(&missing, &["The manifest has no trigger &lt;b&gt;."]);
}
