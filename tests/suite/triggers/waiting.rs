//! Triggers that wait until nothing new comes, and for so long only: what was waited for is in the
//! records.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::manifest;
use crate::support::app::TestApp;
use crate::support::records::Records;
use crate::support::wait::wait_for;

/// The host reads the two clocks one after the other.
const BETWEEN_CLOCKS: SignedDuration = SignedDuration::from_millis(10);

fn started(trigger: &str) -> TestApp {
    let mut app = TestApp::new(&manifest(1, trigger)).with_guest("worker");
    std::fs::create_dir(app.path("raw")).unwrap();
    app.start();
    app
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

/// Waits until an evaluation with this reason is on record. It has started no run.
fn wait_for_reason(app: &TestApp, reason: &str) {
    let tick = wait_for(reason, || {
        app.get_all("/api/v1/triggers?resource=raw").into_iter().find(|tick| tick["reason"] == reason)
    });
    assert_eq!(tick["outcome"], "not_ready", "{tick}");
}

/// Returns the evaluation that started a run, and how long the oldest and the newest input of the
/// run had been on record then.
fn fired(app: &TestApp, run: &Value) -> (Value, [SignedDuration; 2]) {
    let ticks = app.get_all("/api/v1/triggers?resource=raw");
    let fired = ticks.iter().find(|tick| tick["run_id"] == run["id"]).unwrap_or_else(|| panic!("{ticks:#?}"));
    let inputs = app.get(&format!("/api/v1/runs/{}", run["number"]))["inputs"].as_array().unwrap().clone();
    let recorded = || inputs.iter().map(|input| time(&input["created_at"]));
    let since = |recorded: Option<Timestamp>| time(&fired["time"]).duration_since(recorded.unwrap());
    (fired.clone(), [since(recorded().min()), since(recorded().max())])
}

/// Kills the host, makes all that it has recorded older, and starts the next one.
fn resume_later(app: &mut TestApp, minutes: i64) {
    app.kill();
    Records::of(app).age_artifacts(minutes);
    app.start();
}

#[test]
fn a_run_waits_until_nothing_new_has_come_for_as_long_as_quiet_for_says() {
    let mut app = started("{ quiet_for = \"3s\" }");
    app.drop_file("raw/a.csv", b"a");
    wait_for_reason(&app, "1 new artifact, waits until none has arrived for 3s");
    app.drop_file("raw/b.csv", b"b");
    let run = app.wait_for_runs(1).remove(0);
    assert_eq!(run["trigger"], "raw: 2 new artifacts", "the second has begun the wait anew");
    let (tick, [_, newest]) = fired(&app, &run);
    assert!(newest + BETWEEN_CLOCKS >= SignedDuration::from_secs(3), "{newest:?}: {tick:#}");
    let quiet =
        json!({ "condition": "quiet_for", "wanted": "3s", "seen": "no new artifact for that long", "met": true });
    assert_eq!(tick["conditions"][1], quiet);
    // What was waited while no host ran counts.
    app.drop_file("raw/c.csv", b"c");
    wait_for_reason(&app, "1 new artifact, waits until none has arrived for 3s");
    resume_later(&mut app, 60);
    let run = app.wait_for_runs(2).remove(1);
    assert_eq!(run["trigger"], "raw: 1 new artifact");
}

#[test]
fn a_run_starts_with_too_few_once_the_oldest_has_waited_for_max_wait() {
    let mut app = started("{ min_artifacts = 3, quiet_for = \"1s\", max_wait = \"2s\" }");
    app.drop_file("raw/a.csv", b"a");
    wait_for_reason(&app, "1 of 3 artifacts");
    app.drop_file("raw/b.csv", b"b");
    let run = app.wait_for_runs(1).remove(0);
    assert!(run["trigger"].as_str().unwrap().ends_with(", the oldest of which has waited for 2s"), "{run}");
    let (tick, [oldest, _]) = fired(&app, &run);
    assert!(oldest + BETWEEN_CLOCKS >= SignedDuration::from_secs(2), "{oldest:?}: {tick:#}");
    let [least, patience] = [0, 2].map(|at| &tick["conditions"][at]);
    assert_eq!((&least["condition"], &least["met"]), (&"min_artifacts".into(), &false.into()), "{tick:#}");
    let waited =
        json!({ "condition": "max_wait", "wanted": "2s", "seen": "the oldest has waited longer", "met": true });
    assert_eq!(*patience, waited);
    // A long wait goes on while no host runs.
    let text = manifest(1, "{ min_artifacts = 3, max_wait = \"1h\" }");
    app.write_manifest(&text);
    app.restart();
    app.drop_file("raw/c.csv", b"c");
    wait_for_reason(&app, "1 of 3 artifacts");
    resume_later(&mut app, 30);
    // A new artifact does not begin it anew.
    app.drop_file("raw/d.csv", b"d");
    let next_at = wait_for("the second to be seen", || {
        let raw = app.get("/api/v1/triggers/preview")["items"][0].clone();
        (raw["conditions"][0]["seen"] == "2 new artifacts").then(|| time(&raw["next_at"]))
    });
    let first = app.get_all("/api/v1/artifacts?resource=raw&path=c.csv").remove(0);
    let wait = next_at.duration_since(time(&first["created_at"]));
    assert!((wait - SignedDuration::from_hours(1)).abs() < SignedDuration::from_secs(1), "{wait:?}");
    resume_later(&mut app, 60);
    let run = app.wait_for_runs(2).remove(1);
    assert_eq!(run["trigger"], "raw: 2 new artifacts, the oldest of which has waited for 1h");
}
