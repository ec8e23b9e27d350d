//! The charts of a run, and the page of metrics over runs.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::pages::{has, html, obeys, page};
use crate::support::wait::wait_until;

/// An action that records a curve and a result, and one that records another result.
const PIPELINE: &str = r#"
manifest_version = 1
[pipeline]
name = "curves"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[actions.train]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = { steps = [
    { do = "metrics", name = "loss", values = [0.9, 0.0, 0.25], first_step = 10 },
    { do = "metrics", name = "accuracy", values = [0.5] },
] }
[actions.evaluate]
component = "worker.wasm"
after = ["train"]
reads = ["raw"]
params = { steps = [{ do = "metrics", name = "accuracy", values = [0.75] }, { do = "metrics", name = "<b>", values = [-1] }] }
"#;

/// Runs the pipeline this many times.
fn after_runs(count: usize) -> TestApp {
    let mut app = TestApp::new(PIPELINE).with_guest("worker");
    std::fs::create_dir(app.path("raw")).unwrap();
    app.start();
    wait_until("the host to be ready", || app.try_get("/readyz").is_ok_and(|(status, _)| status == 200));
    for run in 1..=count {
        app.drop_file(&format!("raw/{run}.csv"), b"a");
        app.wait_for_runs(run);
    }
    app
}

/// Returns the data of the charts of a page, in their order.
fn charts(html: &str) -> Vec<Value> {
    let parts = html.split("data-chart=\"").skip(1);
    parts.map(|rest| serde_json::from_str(&rest.split('"').next().unwrap().replace("&quot;", "\"")).unwrap()).collect()
}

#[test]
fn a_metric_with_steps_is_a_chart_and_a_table() {
    let app = after_runs(2);
    let alone = page(&app, "/runs/2/metrics");
    obeys(&alone);
    let loss = json!([[10, 11, 12], [0.9, 0, 0.25]]);
    assert_eq!(charts(&alone), [json!({ "over": "step", "log": false, "lines": [loss] })]);
    has(
        &alone,
        &[
            "<th scope=\"row\" class=\"number\">11</th><td class=\"number\">0</td>",
            "aria-label=\"loss: from 0.9 to 0.25\"",
            "<a href=\"/runs/metrics?name=%3Cb%3E\">&lt;b&gt;</a>",
        ],
    );
    let both = page(&app, "/runs/2/metrics?before=7&scale=log&runs=1,9");
    let over = json!([[10, 11, 12], [0.9, null, 0.25]]);
    assert_eq!(charts(&both), [json!({ "over": "step", "log": true, "lines": [over, over] })]);
    has(&both, &["There is no run 9.", "2 values are not above 0", "<a href=\"/runs/1/metrics\">run 1</a>"]);
    let time = charts(&page(&app, "/runs/2/metrics?over=time"));
    assert!(time[0]["over"] == "time" && time[0]["lines"][0][0][0].as_f64().is_some_and(|x| x < 60.0), "{time:?}");
    let (status, wrong) = html(&app, "/runs/2/metrics?scale=%3Cb%3E");
    assert!(
        status == 400 && wrong.contains("The field scale is not valid: &lt;b&gt; is not linear or log."),
        "{wrong}"
    );
}

#[test]
fn metrics_are_compared_over_runs() {
    let app = after_runs(0);
    let empty = page(&app, "/runs/metrics");
    has(&empty, &["No run has recorded a metric."]);
    assert!(charts(&empty).is_empty() && !empty.contains("<form class=\"filters\""));
    for run in 1..=3 {
        app.drop_file(&format!("raw/{run}.csv"), b"a");
        app.wait_for_runs(run);
    }
    // What the last attempt has recorded without steps, in its order.
    let first = page(&app, "/runs/metrics");
    obeys(&first);
    let line = |value: Value| json!([[1, 2, 3], [value, value, value]]);
    let [foreign, accuracy] = [vec![line(json!(-1))], vec![line(json!(0.75)), line(json!(0.5))]]
        .map(|lines| json!({ "over": "run", "log": false, "lines": lines }));
    assert_eq!(charts(&first), [accuracy, foreign]);
    has(&first, &["<a href=\"/runs/3\">3</a>", "value=\"accuracy\" checked", "value=\"loss\">"]);
    let one = page(&app, "/runs/metrics?name=accuracy&action=train&runs=10&since=1h");
    assert_eq!(charts(&one), [json!({ "over": "run", "log": false, "lines": [line(json!(0.5))] })]);
    has(&one, &["<option value=\"train\" selected>", "name=\"since\" value=\"1h\"", "±0"]);
    let loss = charts(&page(&app, "/runs/metrics?name=loss"));
    assert_eq!(loss[0]["lines"][0][1], json!([0.25, 0.25, 0.25]), "the last step of each run counts");
    let pages = page(&app, "/runs/metrics?name=loss&runs=2");
    assert_eq!(charts(&pages)[0]["lines"][0][0], json!([2, 3]));
    has(&pages, &["rel=\"next\""]);
    has(&page(&app, "/runs/metrics?name=none"), &["None of these runs has recorded it."]);
    let (status, wrong) = html(&app, "/runs/metrics?since=soon");
    assert!(status == 400 && wrong.contains("role=\"alert\">Created since is not valid: "), "{wrong}");
    has(&wrong, &["name=\"since\" value=\"soon\""]);
    // The page of the pipeline leads here.
    has(&page(&app, "/"), &["href=\"/runs/metrics?name=accuracy\""]);
    let order = page(&app, "/");
    let at = |name: &str| order.find(&format!("href=\"/runs/metrics?name={name}\"")).unwrap();
    assert!(at("accuracy") < at("%3Cb%3E") && at("%3Cb%3E") < at("loss"), "results first, then curves");
}
