//! The example `alert`: the real pipeline, in its own folder.

use std::fs;

use crate::support::app::TestApp;

#[test]
fn an_alert_is_written_only_when_a_value_leaves_its_range() {
    let mut app = TestApp::example("alert", &[("alert.wasm", "alert")]);
    app.start();
    app.drop_file("readings/fine.csv", b"01:00,2.0\n01:30,8.0\n");
    app.wait_for_runs(1);
    app.drop_file("readings/warm.csv", b"02:00,8.1\n02:30,7.9\n03:00,offline\n");
    let runs = app.wait_for_runs(2);
    assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{runs:?}");

    let alerts: Vec<_> =
        app.get_all("/api/v1/artifacts?resource=alerts").iter().map(|alert| alert["path"].clone()).collect();
    assert_eq!(alerts, ["warm.csv.txt"]);
    let text = fs::read_to_string(app.path("alerts/warm.csv.txt")).unwrap();
    assert_eq!(text, "02:00: 8.1 is not from 2 to 8\n03:00: offline is not from 2 to 8\n");
    let reason = |run: u64| app.get(&format!("/api/v1/runs/{run}"))["actions"][0]["reason"].clone();
    assert_eq!([reason(1), reason(2)], ["every value is in its range", "alerts written: 1"]);
}
