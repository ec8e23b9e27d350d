//! Triggers on metrics, in the real binary, also when it is killed: what they compare with is on
//! record.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::events::{DONE, after_one_by_hand, age, app, down_for, reasons};
use crate::support::app::TestApp;
use crate::support::records::Records;
use crate::support::wait::wait_for;

/// Runs the action once, which records this value.
fn record(app: &TestApp, value: &str) {
    let steps = format!("steps=[{{\"do\":\"metrics\",\"name\":\"loss\",\"values\":[{value}]}}]");
    let output = app.cli(&["trigger", "PATH", "-p", &steps, "--wait"]);
    assert!(output.status.success(), "{output:?}");
}

/// Waits until an evaluation of the trigger that started no run has seen this.
fn sees(app: &TestApp, trigger: &str, seen: &str) -> Value {
    wait_for(&format!("{trigger} to see {seen}"), || {
        let ticks = app.get_all(&format!("/api/v1/triggers?trigger={trigger}"));
        let is = |tick: &Value| {
            tick["outcome"] == "not_ready" && tick["conditions"][0]["seen"].as_str().unwrap().starts_with(seen)
        };
        ticks.into_iter().find(is)
    })
}

fn kill_and_start(app: &mut TestApp) {
    app.kill();
    app.start();
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

/// Returns when the newest value was recorded.
fn recorded_at(app: &TestApp) -> Timestamp {
    time(&app.get_all("/api/v1/metrics?name=loss")[0]["recorded_at"])
}

/// Returns when the value of a run was recorded.
fn recorded_in(app: &TestApp, run: u64) -> Timestamp {
    let values = app.get_all("/api/v1/metrics?name=loss");
    time(&values.iter().find(|value| value["run_number"] == run).unwrap()["recorded_at"])
}

#[test]
fn a_metric_above_its_bound_starts_one_run_for_each_value() {
    let mut app = app("[triggers.alarm]\nmetric = { name = \"loss\", above = 1 }", DONE);
    app.start();
    record(&app, "1");
    sees(&app, "alarm", "1 in run #1");
    record(&app, "1.5");
    let runs = app.wait_for_runs(3);
    assert_eq!(runs[2]["trigger"], "alarm: metric loss above 1: 1.5 in run #2");
    sees(&app, "alarm", "1.5 in run #2, unchanged since it last fired");
    kill_and_start(&mut app);
    record(&app, "2");
    let runs = app.wait_for_runs(5);
    assert_eq!(runs[4]["trigger"], "alarm: metric loss above 1: 2 in run #4");
    assert_eq!(reasons(&runs), ["started by hand", "started by hand", "alarm", "started by hand", "alarm"]);
}

#[test]
fn a_metric_is_compared_with_its_value_at_the_last_fire_also_by_the_next_host() {
    let mut app = app("[triggers.drift]\nmetric = { name = \"loss\", changed_by = 0.5 }", DONE);
    app.start();
    record(&app, "1");
    sees(&app, "drift", "1 in run #1, after 1");
    record(&app, "1.25");
    sees(&app, "drift", "1.25 in run #2, after 1");
    // The newest value is not what the next host compares with.
    kill_and_start(&mut app);
    record(&app, "1.5");
    let runs = app.wait_for_runs(4);
    assert_eq!(runs[3]["trigger"], "drift: metric loss changed by 0.5: 1.5 in run #3, after 1");
    record(&app, "1.75");
    sees(&app, "drift", "1.75 in run #5, after 1.5");
    kill_and_start(&mut app);
    record(&app, "1");
    let runs = app.wait_for_runs(7);
    assert_eq!(runs[6]["trigger"], "drift: metric loss changed by 0.5: 1 in run #6, after 1.5");
    let by_hand = "started by hand";
    assert_eq!(reasons(&runs), [by_hand, by_hand, by_hand, "drift", by_hand, by_hand, "drift"]);
    sees(&app, "drift", "1 in run #6, after 1");
}

#[test]
fn a_metric_that_is_not_updated_starts_a_run_also_after_time_without_a_host() {
    let mut app = app("[triggers.stale]\nmetric = { name = \"loss\", no_update_for = \"1h\" }", DONE);
    app.start();
    record(&app, "1");
    sees(&app, "stale", "1 in run #1 at ");
    let preview = app.get("/api/v1/triggers/preview")["items"][1].clone();
    let wait = time(&preview["next_at"]).duration_since(recorded_at(&app));
    assert!((wait - SignedDuration::from_hours(1)).abs() < SignedDuration::from_secs(1), "{wait:?}: {preview:#}");
    // The trigger was seen first two hours ago; the value is new.
    app.kill();
    age(&app, 2);
    app.start();
    assert_eq!(reasons(&after_one_by_hand(&app)), ["started by hand", "started by hand"]);
    app.kill();
    Records::of(&app).age_metrics(120);
    app.start();
    let runs = app.wait_for_runs(3);
    let at = recorded_at(&app).strftime("%F %T UTC");
    assert_eq!(runs[2]["trigger"], format!("stale: metric loss not updated for 1h: 1 in run #1 at {at}"));
    kill_and_start(&mut app);
    let again = after_one_by_hand(&app);
    assert_eq!(reasons(&again), ["started by hand", "started by hand", "stale", "started by hand"], "once an hour");
}

#[test]
fn a_metric_without_a_value_counts_from_when_the_trigger_was_first_seen() {
    let trigger = |span: &str| format!("[triggers.stale]\nmetric = {{ name = \"loss\", no_update_for = \"{span}\" }}");
    let mut old = app(&trigger("1h"), DONE);
    down_for(&mut old, 2);
    old.start();
    assert_eq!(old.wait_for_runs(1)[0]["trigger"], "stale: metric loss not updated for 1h: no value yet");
    // The runs of this one record a value, so each comes a second after the one before.
    let mut new = app(&trigger("1s"), "{ do = \"metrics\", name = \"loss\", values = [1] }");
    new.start();
    let run = new.wait_for_runs(2).remove(1);
    let at = recorded_in(&new, 1);
    let why = format!("stale: metric loss not updated for 1s: 1 in run #1 at {}", at.strftime("%F %T UTC"));
    assert_eq!(run["trigger"], why);
    let ticks = new.get_all("/api/v1/triggers?trigger=stale");
    let fired = ticks.iter().find(|tick| tick["run_id"] == run["id"]).unwrap();
    let waited = time(&fired["time"]).duration_since(at);
    assert!(waited + SignedDuration::from_millis(10) >= SignedDuration::from_secs(1), "{waited:?}");
}
