//! Triggers on time, metrics and runs, in the real binary, also when it is killed.
//!
//! No test waits for hours: while no host is running, it moves the marks of the triggers into the
//! past, as if the host had been down for that long.

use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::records::Records;
use crate::support::wait::{wait_for, wait_until};

/// A pipeline with a resource whose own trigger never fires, these triggers, and an action with
/// these steps.
fn manifest(triggers: &str, steps: &str) -> String {
    format!(
        r#"
manifest_version = 1
[pipeline]
name = "triggers"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
trigger = {{ min_artifacts = 1000 }}
{triggers}
[actions.work]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = {{ steps = [{steps}] }}
"#
    )
}

pub(super) fn app(triggers: &str, steps: &str) -> TestApp {
    let app = TestApp::new(&manifest(triggers, steps)).with_guest("worker");
    std::fs::create_dir(app.path("raw")).unwrap();
    app
}

pub(super) const DONE: &str = "{ do = \"done\" }";

/// Starts a host for the first time, which sees the triggers, and kills it; then moves what they
/// have accounted for into the past.
pub(super) fn down_for(app: &mut TestApp, hours: i64) {
    app.start();
    wait_until("the triggers to be on record", || !marks(app).is_empty());
    app.kill();
    age(app, hours);
}

fn marks(app: &TestApp) -> Vec<(String, i64)> {
    Records::of(app).marks()
}

pub(super) fn age(app: &TestApp, hours: i64) {
    Records::of(app).age_marks(hours * 60);
}

/// Starts a run by hand, which the host handles after it has looked at its triggers. Returns all
/// runs, oldest first, once they have ended.
pub(super) fn after_one_by_hand(app: &TestApp) -> Vec<Value> {
    let output = app.cli(&["trigger", "PATH"]);
    assert!(output.status.success(), "{output:?}");
    app.wait_for_runs(1)
}

/// Why each run started.
pub(super) fn reasons(runs: &[Value]) -> Vec<&str> {
    runs.iter().map(|run| run["trigger"].as_str().unwrap().split(':').next().unwrap()).collect()
}

#[test]
fn a_trigger_that_waits_for_time_claims_what_is_new() {
    let mut app = app("[triggers.often]\nevery = \"1s\"", DONE);
    app.drop_file("raw/a.csv", b"a");
    app.drop_file("raw/b.csv", b"b");
    app.start();
    let run = app.wait_for_runs(1).remove(0);
    assert!(run["trigger"].as_str().unwrap().starts_with("often: every 1s: due since "), "{run}");
    assert_eq!(run["fired_by"], serde_json::json!(["often"]));
    let inputs = app.get("/api/v1/runs/1")["inputs"].as_array().unwrap().len();
    assert_eq!(inputs, 2);
    let runs = app.wait_for_runs(2);
    assert_eq!(app.get(&format!("/api/v1/runs/{}", runs[1]["number"]))["inputs_count"], 0, "a run of nothing");
    let ticks = app.get_all("/api/v1/triggers?trigger=often");
    let fired: Vec<&Value> = ticks.iter().filter(|tick| tick["outcome"] == "fired").collect();
    assert!(fired.len() >= 2 && fired.iter().all(|tick| tick["run_id"].is_string()), "{ticks:?}");
    let condition = &fired[0]["conditions"][0];
    assert_eq!(
        (&condition["condition"], &condition["wanted"], &condition["met"]),
        (&"every".into(), &"1s".into(), &true.into())
    );
    assert!(condition["seen"].as_str().unwrap().starts_with("due since "), "{condition}");
}

#[test]
fn what_was_missed_while_the_host_was_down_is_made_up_for_as_the_manifest_says() {
    let mut app = app(
        "[triggers.every]\nevery = \"2d\"\n\
         [triggers.once]\ncron = \"0 0 * * *\"\n\
         [triggers.all]\ncron = { schedule = \"0 0 * * *\", time_zone = \"America/New_York\", missed = \"all\" }\n\
         [triggers.none]\ncron = { schedule = \"0 0 * * *\", missed = \"none\" }",
        DONE,
    );
    down_for(&mut app, 5 * 24);
    app.start();
    let runs = app.wait_for_runs(7);
    let count = |name: &str| reasons(&runs).iter().filter(|reason| **reason == name).count();
    // Five days contain five midnights; the clock may pass another during the test.
    assert_eq!((count("every"), count("none")), (1, 0), "{runs:#?}");
    assert!((1..=2).contains(&count("once")) && (5..=6).contains(&count("all")), "{runs:#?}");
    app.kill();
    app.start();
    let again = after_one_by_hand(&app);
    assert!(again.len() <= runs.len() + 3, "it is made up for once: {:?}", reasons(&again));
}

/// The host dies at each step around a fire. The fire is neither lost nor doubled.
#[test]
fn a_fire_happens_once_wherever_the_host_is_killed() {
    for fault in ["claim.in_transaction", "claim.committed", "run.created", "finish.in_transaction"] {
        let mut app = app("[triggers.yearly]\nevery = \"365d\"", DONE);
        down_for(&mut app, 366 * 24);
        app.die_at(fault);
        app.start();
        assert_eq!(reasons(&app.wait_for_runs(1)), ["yearly"], "{fault}");
        app.restart();
        assert_eq!(reasons(&after_one_by_hand(&app)), ["yearly", "started by hand"], "{fault}");
    }
}

/// The schedule of a resource's trigger comes while nothing is there: what arrives later waits for
/// the next time, also if the host dies while it records that.
#[test]
fn a_time_of_a_schedule_passes_if_nothing_is_there() {
    let text = manifest("", DONE).replace("min_artifacts = 1000", "cron = \"0 0 1 1 *\"");
    let mut app = TestApp::new(&text).with_guest("worker");
    std::fs::create_dir(app.path("raw")).unwrap();
    down_for(&mut app, 366 * 24);
    let last_year = marks(&app);
    app.die_at("marks.in_transaction");
    assert_eq!(marks(&app), last_year, "nothing of it is on record");
    app.start();
    wait_until("the time to be accounted for", || marks(&app) != last_year);
    let passed = app.get_all("/api/v1/triggers?resource=raw").remove(0);
    assert_eq!((&passed["outcome"], &passed["reason"]), (&"not_ready".into(), &"nothing new".into()));
    let cron = &passed["conditions"][1];
    assert!(cron["met"] == true && cron["seen"].as_str().unwrap().starts_with("due since "), "{passed}");
    app.drop_file("raw/a.csv", b"a");
    let tick = wait_for("the artifact to be seen", || {
        let ticks = app.get_all("/api/v1/triggers?resource=raw");
        ticks.into_iter().find(|tick| tick["reason"].as_str().unwrap().contains("1 new artifact"))
    });
    assert_eq!(tick["outcome"], "not_ready", "{tick}");
    assert!(tick["reason"].as_str().unwrap().contains("waits for cron 0 0 1 1 * UTC: next at "), "{tick}");
    let conditions = tick["conditions"].as_array().unwrap();
    let seen: Vec<_> =
        conditions.iter().map(|it| (it["condition"].as_str().unwrap(), it["met"].as_bool().unwrap())).collect();
    assert_eq!(seen, [("min_artifacts", true), ("cron", false)]);
    app.kill();
    age(&app, 366 * 24);
    app.start();
    let run = app.wait_for_runs(1).remove(0);
    assert!(
        run["trigger"].as_str().unwrap().starts_with("raw: 1 new artifact, cron 0 0 1 1 * UTC: due since "),
        "{run}"
    );
}

#[test]
fn a_metric_starts_one_run_and_not_another_for_what_that_run_records() {
    let steps = "{ do = \"metrics\", name = \"accuracy\", values = [0.95, 0.5] }";
    let mut app = app("[triggers.retrain]\nmetric = { name = \"accuracy\", below = 0.9 }", steps);
    app.start();
    after_one_by_hand(&app);
    let runs = app.wait_for_runs(2);
    assert_eq!(reasons(&runs), ["started by hand", "retrain"]);
    assert_eq!(runs[1]["trigger"], "retrain: metric accuracy below 0.9: 0.5 in run #1");
    app.kill();
    app.start();
    after_one_by_hand(&app);
    let runs = app.wait_for_runs(4);
    assert_eq!(reasons(&runs), ["started by hand", "retrain", "started by hand", "retrain"]);
    let seen = "0.5 in run #4, which this trigger led to";
    wait_until("the last run to be seen", || {
        let ticks = app.get_all("/api/v1/triggers?trigger=retrain");
        ticks.first().is_some_and(|last| last["conditions"][0]["seen"] == seen && last["outcome"] == "not_ready")
    });
}

#[test]
fn a_run_that_failed_starts_another_once_also_when_the_host_is_killed_between() {
    let mut app =
        app("[triggers.repair]\nafter_run = \"failed\"\n[triggers.report]\nafter_run = \"ended\"", "{ do = \"fail\" }");
    app.set_env("ANACOSTIA_FAULT", "claim.in_transaction:2");
    app.start();
    app.cli(&["trigger", "PATH"]);
    app.wait_for_end();
    app.unset_env("ANACOSTIA_FAULT");
    app.start();
    // The first run fails, and `repair` answers it. While that run is at work, `report` waits; then
    // it answers both. What it starts was led to by both, so neither answers that.
    let runs = app.wait_for_runs(3);
    let why: Vec<String> = runs.iter().map(|run| run["fired_by"].to_string()).collect();
    assert_eq!(why, ["[]", "[\"repair\"]", "[\"report\",\"repair\"]"], "{runs:#?}");
    app.restart();
    assert!(runs.iter().all(|run| run["state"] == "failed"));
    assert_eq!(app.get_all("/api/v1/runs").len(), 3, "and no run more");
}

#[test]
fn a_pipeline_that_is_paused_fires_when_it_is_resumed() {
    let mut app = app("[triggers.yearly]\nevery = \"365d\"", DONE);
    app.start();
    wait_until("the trigger to be on record", || !marks(&app).is_empty());
    assert_eq!(app.post("/api/v1/pipeline/pause").0, 200);
    app.kill();
    age(&app, 366 * 24);
    app.start();
    let held = wait_for("it to be held", || {
        app.get_all("/api/v1/triggers?trigger=yearly").into_iter().find(|tick| tick["outcome"] == "held")
    });
    assert!(held["reason"].as_str().unwrap().ends_with(", but the pipeline is paused"), "{held}");
    let preview = app.get("/api/v1/triggers/preview")["items"][1].clone();
    assert_eq!((&preview["outcome"], &preview["held"]), (&"held".into(), &"the pipeline is paused".into()));
    assert_eq!(app.post("/api/v1/pipeline/resume").0, 200);
    app.wait_for_runs(1);
}

#[test]
fn run_once_fires_what_is_due_and_waits_for_nothing() {
    let mut app =
        app("[triggers.yearly]\nevery = \"365d\"\n[triggers.again]\nafter_run = \"ended\"\nretrigger = true", DONE);
    let once = |app: &TestApp| {
        let output = app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
        assert!(output.status.success(), "{output:?}");
        app.cli_json(&["runs", "list", "PATH", "--json"])["items"].as_array().unwrap().clone()
    };
    assert_eq!(once(&app).len(), 0, "nothing is due");
    age(&app, 366 * 24);
    let runs = once(&app);
    // `again` answers the first run, and not its own, which would never end.
    assert_eq!(reasons(&runs), ["again", "yearly"]);
    assert_eq!(once(&app).len(), 2);
    app.kill();
}

#[test]
fn a_trigger_says_what_it_waits_for_with_and_without_a_host() {
    let mut app = app(
        "[triggers.nightly]\ncron = { schedule = \"0 6 * * 1-5\", time_zone = \"Europe/Berlin\" }\n\
         any = [{ every = \"365d\" }, { metric = { name = \"accuracy\", below = 0.9 } }]\n\
         [triggers.yearly]\nevery = \"365d\"",
        DONE,
    );
    let before = app.cli(&["triggers", "list", "PATH"]);
    let (text, notes) = (String::from_utf8_lossy(&before.stdout), String::from_utf8_lossy(&before.stderr));
    assert!(before.status.success() && text.contains("· min_artifacts 1000"), "{text}{notes}");
    assert!(text.contains("nothing new") && text.contains("no value yet"), "{text}");
    assert_eq!(
        notes,
        format!(
            "No host is running: this is what one would do if it started now (`anacostia run {}`).\n",
            app.folder().display()
        )
    );
    assert!(!app.path(".anacostia").exists() && !app.path("state").exists(), "it only looks");
    app.start();
    app.drop_file("raw/a.csv", b"a");
    wait_until("the artifact to be recorded", || {
        app.get("/api/v1/triggers/preview")["items"][0]["conditions"][0]["seen"] == "1 new artifact"
    });
    let answered = app.get("/api/v1/triggers/preview");
    assert_eq!(app.cli_json(&["triggers", "list", "PATH", "--json"]), answered);
    let raw = &answered["items"][0];
    assert_eq!((&raw["trigger"], &raw["outcome"], &raw["next_at"]), (&"raw".into(), &"not_ready".into(), &Value::Null));
    assert_eq!(raw["reason"], "1 of 1000 artifacts");
    let nightly = &answered["items"][1];
    assert!(nightly["resource"].is_null() && nightly["held"].is_null(), "{nightly}");
    let next: jiff::Timestamp = nightly["next_at"].as_str().unwrap().parse().unwrap();
    assert!(next > jiff::Timestamp::now() + jiff::SignedDuration::from_hours(364 * 24), "both must be due: {next}");
    assert_eq!(nightly["conditions"][0]["wanted"], "0 6 * * 1-5 Europe/Berlin");
    assert_eq!(nightly["conditions"][1]["conditions"][1]["seen"], "no value yet");
    let page = app.page();
    let line = "<code>cron 0 6 * * 1-5 Europe&#x2f;Berlin</code> <span class=\"why\">next at ";
    assert!(page.contains(line), "{page}");
    let cron = nightly["conditions"][0]["seen"].as_str().unwrap();
    let there = [" 06:00 Europe/Berlin (04:00 UTC)", " 06:00 Europe/Berlin (05:00 UTC)"];
    assert!(cron.starts_with("next at 20") && there.iter().any(|it| cron.ends_with(it)), "{cron}");
    let shown = |text: &str| page.contains(&text.replace('/', "&#x2f;"));
    assert!(shown(cron), "{page}");
    let every = nightly["conditions"][1]["conditions"][0]["seen"].as_str().unwrap();
    assert!(every.ends_with(" UTC") && !every.contains('.'), "{every}");
    assert_eq!(page.matches("data-countdown=\"20").count(), 2, "{page}");
    let times = page.split("data-countdown").skip(1).filter(|it| it.split("</p>").next().unwrap().contains("<time"));
    assert_eq!(times.count(), 1, "a single condition says it itself: {page}");
    app.kill();
    let output = app.cli(&["triggers", "list", "PATH"]);
    let (text, notes) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("· cron 0 6 * * 1-5 Europe/Berlin"), "{text}{notes}");
    assert!(text.contains("· min_artifacts 1000"), "{text}");
    assert!(notes.starts_with("No host is running"), "{notes}");
    let without = app.cli_json(&["triggers", "list", "PATH", "--json"]);
    assert_eq!(without["items"][0], answered["items"][0]);
}

/// A schedule for each second, of which all are made up for, and a host that is killed again and
/// again: each second has one run.
#[test]
fn no_second_is_lost_or_doubled_by_hosts_that_are_killed() {
    let mut app = app("[triggers.tick]\ncron = { schedule = \"* * * * * *\", missed = \"all\" }", DONE);
    let count = |app: &TestApp| app.get_all("/api/v1/runs").len();
    for more in [1, 2, 1, 3, 1, 2] {
        app.start();
        let before = count(&app);
        wait_until("more runs", || count(&app) >= before + more);
        app.kill();
    }
    app.start();
    let last = jiff::Timestamp::now();
    let due = |run: &Value| {
        let text = run["trigger"].as_str().unwrap().rsplit_once("due since ").unwrap().1;
        let utc: jiff::civil::DateTime = text.strip_suffix(" UTC").unwrap().parse().unwrap();
        utc.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp()
    };
    wait_until("the host to catch up", || app.get_all("/api/v1/runs").first().is_some_and(|run| due(run) > last));
    app.post("/api/v1/pipeline/pause");
    let mut seconds: Vec<i64> = app.get_all("/api/v1/runs").iter().map(|run| due(run).as_second()).collect();
    seconds.reverse();
    assert!(seconds.len() >= 10, "{seconds:?}");
    assert!(seconds.windows(2).all(|two| two[1] == two[0] + 1), "{seconds:?}");
}
