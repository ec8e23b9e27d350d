//! Triggers that ask a component, in the real binary.

use std::fs;

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::dev::DevSession;
use crate::support::guests::guest;
use crate::support::wait::{wait_for, wait_until};

/// A pipeline whose resource has this trigger, and an action that succeeds at once.
fn app(trigger: &str, triggers: &str) -> TestApp {
    let manifest = format!(
        r#"
manifest_version = 1
[pipeline]
name = "deciders"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
trigger = {trigger}
{triggers}
[actions.work]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = {{ steps = [{{ do = "metrics", name = "accuracy", values = [0.5] }}] }}
"#
    );
    TestApp::new(&manifest).with_guest("worker").with_guest("decider")
}

/// A trigger that asks the component with these params, besides these keys.
fn asks(params: &str, more: &str) -> String {
    format!("{{ component = {{ file = \"decider.wasm\", params = {{ {params} }} }}{more} }}")
}

fn by_name(limits: &str) -> TestApp {
    let component = format!(
        "{{ component = {{ file = \"decider.wasm\", params = {{ do = \"by_name\" }}, limits = {{ {limits} }} }} }}"
    );
    app(&component, "")
}

pub(crate) fn ticks(app: &TestApp, trigger: &str) -> Vec<Value> {
    app.get_all(&format!("/api/v1/triggers?trigger={trigger}"))
}

/// Returns a condition of a tick; `null` while the resource is being looked through, when a tick
/// says only that.
fn condition(tick: &Value, name: &str) -> Value {
    let all = tick["conditions"].as_array().unwrap();
    all.iter().find(|it| it["condition"] == name).cloned().unwrap_or_default()
}

/// Returns the condition of the component in a tick, as [`condition`] does.
pub(crate) fn component(tick: &Value) -> Value {
    condition(tick, "component")
}

/// Waits for the newest tick of the resource's trigger to say this of the component.
#[track_caller]
fn wait_for_answer(app: &TestApp, seen: &str) -> Value {
    wait_for(seen, || {
        let newest = ticks(app, "raw").into_iter().next()?;
        component(&newest)["seen"].as_str()?.contains(seen).then_some(newest)
    })
}

#[test]
fn a_component_fires_or_skips_with_a_reason_that_is_on_record() {
    let mut app = app(&asks("do = \"count\", least = 3", ""), "");
    app.start();
    app.drop_file("raw/a.txt", b"a");
    let tick = wait_for_answer(&app, "1 of 3");
    assert_eq!((&tick["outcome"], &tick["run_id"]), (&json!("not_ready"), &Value::Null));
    let wanted = "decider.wasm {\"do\":\"count\",\"least\":3}";
    assert_eq!(component(&tick), json!({"condition": "component", "wanted": wanted, "seen": "1 of 3", "met": false}));
    let preview = &app.get("/api/v1/triggers/preview")["items"][0];
    assert_eq!((&preview["outcome"], &component(preview)["seen"]), (&json!("not_ready"), &json!("1 of 3")));
    let list = app.cli(&["triggers", "list", "PATH"]);
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(list.contains("component decider.wasm") && list.contains("1 of 3"), "{list}");

    app.drop_file("raw/b.txt", b"b");
    wait_for_answer(&app, "2 of 3");
    app.drop_file("raw/c.txt", b"c");
    let run = app.wait_for_runs(1).remove(0);
    assert_eq!(run["trigger"], json!(format!("raw: 3 new artifacts, component {wanted}: 3 are enough")));
    assert_eq!(app.get("/api/v1/runs/1")["inputs_count"], 3);
    let fired = ticks(&app, "raw").into_iter().find(|tick| tick["outcome"] == "fired").unwrap();
    assert_eq!((&fired["run_id"], &component(&fired)["met"]), (&run["id"], &json!(true)));

    // The fire is used up.
    app.drop_file("raw/d.txt", b"d");
    wait_for_answer(&app, "1 of 3");
    assert_eq!(app.get_all("/api/v1/runs").len(), 1);
}

#[test]
fn a_component_is_asked_again_when_it_wants_to_be() {
    let mut app = by_name("");
    app.start();
    app.drop_file("raw/later-1", b"a");
    wait_for_answer(&app, "later-1 is too young");
    let run = app.wait_for_runs(1).remove(0);
    assert!(run["trigger"].as_str().unwrap().ends_with("later-1 is old enough"), "{run}");
}

#[test]
fn a_component_that_fails_is_an_error_and_is_asked_again() {
    let limits = "cpu = \"200ms\", wall = \"5s\", log = \"8KiB\", memory = \"16MiB\"";
    let raise = |what: &str, key: &str| {
        format!(
            "{key}_limit: the limit of {what} is reached; to raise it, set `{key}` in `limits` of the `component` of `[resources.raw.trigger]` in anacostia.toml"
        )
    };
    for (file, why) in [
        ("error-1", "sensor: the sensor is broken".to_owned()),
        ("panic-1", "trap: it reached `unreachable`: a panic or an abort".to_owned()),
        ("spin-1", raise("200ms of CPU time", "cpu")),
        ("flood-1", raise("8 KiB of log lines", "log")),
        ("allocate-1", raise("16 MiB of memory", "memory")),
    ] {
        let mut app = by_name(limits);
        app.start();
        app.drop_file(&format!("raw/{file}"), file.as_bytes());
        let tick = wait_for_answer(&app, &why);
        assert_eq!((&tick["outcome"], &component(&tick)["met"]), (&json!("error"), &json!(false)), "{file}");
        assert_eq!(app.get("/api/v1/triggers/preview")["items"][0]["outcome"], "error", "{file}");
        let list = app.cli(&["triggers", "list", "PATH"]);
        assert!(String::from_utf8_lossy(&list.stdout).contains("fails"), "{list:?}");
        // The host lives, and the next answer counts.
        app.drop_file("raw/fire-1", b"fire");
        let run = app.wait_for_runs(1).remove(0);
        assert!(run["trigger"].as_str().unwrap().ends_with("fire-1 says so"), "{run}");
        assert_eq!(app.get("/api/v1/runs/1")["inputs_count"], 2);
        app.wait_to_say(") failed to decide, and will be asked again: ");
        let said = app.said();
        let failed = said.lines().any(|line| {
            line.contains("trigger raw (") && line.contains(") failed to decide, and will be asked again: ")
        });
        assert!(failed, "{said}");
        assert!(said.contains("trigger raw: asked trigger=raw"), "{said}");
        assert_eq!(said.contains("trigger raw: panicked: no idea at="), file == "panic-1", "{said}");
    }
}

#[test]
fn other_triggers_go_on_while_a_component_spins() {
    let limits = "limits = { cpu = \"20s\", wall = \"20s\" }";
    let component = format!("{{ file = \"decider.wasm\", params = {{ do = \"by_name\" }}, {limits} }}");
    let mut app = app(&format!("{{ component = {component} }}"), "[triggers.often]\nevery = \"1s\"");
    app.start();
    app.drop_file("raw/spin-1", b"a");
    let runs = app.wait_for_runs(3);
    assert!(runs.iter().any(|run| run["fired_by"] == json!(["often"])), "{runs:?}");
}

#[test]
fn a_component_is_asked_only_when_the_other_conditions_are_met() {
    let mut app = app(&asks("do = \"skip\"", ", min_artifacts = 2"), "");
    app.start();
    app.drop_file("raw/a.txt", b"a");
    wait_until("the first file to be evaluated", || {
        ticks(&app, "raw").first().is_some_and(|tick| tick["reason"].as_str().unwrap().starts_with("1 of 2 artifacts"))
    });
    assert_eq!(component(&ticks(&app, "raw")[0])["seen"], "not asked yet");
    app.drop_file("raw/b.txt", b"b");
    wait_for_answer(&app, "as always");
}

#[test]
fn any_of_several_components_is_enough() {
    let skip = "{ component = { file = \"decider.wasm\", params = { do = \"skip\" } } }";
    let count = "{ component = { file = \"decider.wasm\", params = { do = \"count\", least = 2 } } }";
    let mut app = app(&format!("{{ any = [{skip}, {count}] }}"), "");
    app.start();
    app.drop_file("raw/a.txt", b"a");
    wait_until("both to be asked", || {
        ticks(&app, "raw").first().is_some_and(|tick| {
            let any = condition(tick, "any");
            any["conditions"][0]["seen"] == "as always" && any["conditions"][1]["seen"] == "1 of 2"
        })
    });
    app.drop_file("raw/b.txt", b"b");
    assert_eq!(app.wait_for_runs(1).len(), 1);
}

/// A trigger that always fires has one run for what is new, and does not answer its own runs.
#[test]
fn a_trigger_of_the_pipeline_does_not_answer_itself() {
    let mut app = app("{ min_artifacts = 1000 }", &format!("[triggers.eager]\n{}", table("do = \"fire\"")));
    app.drop_file("raw/a.txt", b"a");
    app.start();
    let run = app.wait_for_runs(1).remove(0);
    assert_eq!((&run["fired_by"], &app.get("/api/v1/runs/1")["inputs_count"]), (&json!(["eager"]), &json!(1)));
    // Also after a restart, and after a run that does not count.
    app.kill();
    app.start();
    app.drop_file("raw/b.txt", b"b");
    let runs = app.wait_for_runs(2);
    assert_eq!(runs[1]["fired_by"], json!(["eager"]));
    assert_eq!(app.get("/api/v1/runs/2")["inputs_count"], 1, "{runs:?}");
    app.kill();
    app.start();
    // A run that is started by hand counts, and leads to one more.
    assert!(app.cli(&["trigger", "PATH"]).status.success());
    let runs = app.wait_for_runs(4);
    assert_eq!((&runs[2]["trigger"], &runs[3]["fired_by"]), (&json!("started by hand"), &json!(["eager"])));
}

/// The table of a component with these params, as a key of `[triggers.NAME]`.
fn table(params: &str) -> String {
    format!("component = {{ file = \"decider.wasm\", params = {{ {params} }} }}\n")
}

#[test]
fn a_component_reads_the_record_and_writes_nothing() {
    let mut app = app(
        &asks("do = \"look\"", ""),
        &format!("[triggers.fallen]\n{}", table("do = \"metric\", name = \"accuracy\", below = 0.9")),
    );
    app.start();
    for file in ["a", "b", "c"] {
        app.drop_file(&format!("raw/{file}"), file.as_bytes());
    }
    wait_for_answer(&app, "3 with 3 bytes: ");
    let answer = component(&ticks(&app, "raw")[0])["seen"].clone();
    assert!(
        answer.as_str().unwrap().ends_with("in 2 pages; invalid; a new, b new, c new; 0 runs; fired false"),
        "{answer}"
    );
    assert!(app.cli(&["trigger", "PATH"]).status.success());
    let runs = app.wait_for_runs(2);
    assert_eq!(runs[1]["fired_by"], json!(["fallen"]), "{runs:?}");
    assert!(runs[1]["trigger"].as_str().unwrap().ends_with("accuracy is 0.5"), "{runs:?}");
}

#[test]
fn a_component_sees_what_runs_have_claimed_before() {
    let mut app = app(&asks("do = \"look\"", ""), "");
    app.start();
    for file in ["a", "b", "c"] {
        app.drop_file(&format!("raw/{file}"), file.as_bytes());
    }
    wait_for_answer(&app, "3 with 3 bytes: ");
    for count in 1..=2 {
        assert!(app.cli(&["trigger", "PATH"]).status.success());
        app.wait_for_runs(count);
    }
    app.drop_file("raw/d", b"d");
    wait_for_answer(&app, "1 with 1 bytes: ");
    let answer = component(&ticks(&app, "raw")[0])["seen"].clone();
    assert!(answer.as_str().unwrap().contains("; a old, b old, c old, d new; 2 runs; "), "{answer}");
}

#[test]
fn what_a_trigger_may_not_do_is_denied() {
    let mut app = app(&asks("do = \"forbidden\", other = \"elsewhere\"", ""), "");
    app.start();
    app.drop_file("raw/a.txt", b"a");
    let denied = "count denied, list denied, present denied, metrics denied, params denied, tags denied, tag denied";
    wait_for_answer(&app, denied);
    assert_eq!(app.get("/api/v1/metrics")["items"], json!([]));
}

#[test]
fn a_reason_is_cut_and_stands_on_one_line() {
    let mut app = by_name("");
    app.start();
    app.drop_file("raw/empty-1", b"a");
    wait_for_answer(&app, "it gave no reason");
    app.drop_file("raw/long-1", b"b");
    let seen = component(&wait_for_answer(&app, "first second"))["seen"].clone();
    assert!(seen.as_str().unwrap().len() <= 1_000 && !seen.as_str().unwrap().contains('\u{1b}'), "{seen}");
}

/// A fire that waits for a slot or for `resume` stands, and starts one run.
#[test]
fn a_fire_is_used_up_by_one_run() {
    let mut app = by_name("");
    app.start();
    assert_eq!(app.post("/api/v1/pipeline/pause").0, 200);
    app.drop_file("raw/fire-1", b"a");
    wait_until("the file to be evaluated", || !ticks(&app, "raw").is_empty());
    app.post("/api/v1/pipeline/resume");
    assert_eq!(app.wait_for_runs(1).len(), 1);
    app.drop_file("raw/skip-1", b"b");
    wait_for_answer(&app, "skip-1 says so");
    assert_eq!(app.get_all("/api/v1/runs").len(), 1);
}

/// The host dies between the decision and the run, and right after the run was created.
#[test]
fn a_fire_has_one_run_wherever_the_host_is_killed() {
    for fault in ["claim.in_transaction", "claim.committed", "run.created"] {
        let mut app = by_name("");
        app.drop_file("raw/fire-1", b"a");
        app.die_at(fault);
        app.start();
        let run = app.wait_for_runs(1).remove(0);
        assert!(run["trigger"].as_str().unwrap().ends_with("fire-1 says so"), "{fault}: {run}");
        app.restart();
        app.drop_file("raw/skip-1", b"b");
        wait_for_answer(&app, "skip-1 says so");
        assert_eq!(app.get_all("/api/v1/runs").len(), 1, "{fault}");
    }
}

#[test]
fn draining_waits_for_the_answer_and_not_for_the_next_question() {
    for (file, runs) in [("fire-1", 1), ("skip-1", 0), ("later-1", 0), ("panic-1", 0)] {
        let app = by_name("");
        app.drop_file(&format!("raw/{file}"), b"a");
        let output = app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
        assert!(output.status.success(), "{file}: {output:?}");
        let recorded = app.cli_json(&["runs", "list", "PATH", "--json"]);
        assert_eq!(recorded["items"].as_array().unwrap().len(), runs, "{file}");
        let list = app.cli_json(&["triggers", "list", "PATH", "--json"]);
        let shown = component(&list["items"][0])["seen"].as_str().unwrap().to_owned();
        if file != "fire-1" {
            assert!(shown != "not asked yet", "the answer is shown without a host too: {list}");
        }
    }
}

/// A component that is replaced is asked anew, also if nothing has changed.
#[test]
fn a_replaced_component_is_asked_anew() {
    let component = "{ file = \"decide.wasm\", params = { do = \"skip\" } }";
    let app = app(&format!("{{ component = {component} }}"), "");
    let wasm = fs::read(app.path("decider.wasm")).unwrap();
    fs::write(app.path("decide.wasm"), &wasm).unwrap();
    let mut dev = DevSession::start(app.folder());
    dev.next("ready");
    app.drop_file("raw/a.txt", b"a");
    let asked = || dev_log(&app).matches("trigger raw: asked").count();
    wait_until("the component to be asked", || asked() == 1);
    // Another component, which does the same: it has one more section.
    app.drop_file("decide.wasm", &[wasm, vec![0, 3, 1, b'v', 1]].concat());
    let swapped = dev.next("swapped");
    assert_eq!(swapped["action"], "trigger raw");
    wait_until("the other component to be asked", || asked() == 2);
    let manifest = fs::read_to_string(app.path("anacostia.toml")).unwrap();
    app.drop_file("anacostia.toml", manifest.replace("do = \"skip\"", "do = \"fire\"").as_bytes());
    wait_until("the run", || app.cli_json(&["runs", "list", "PATH", "--json"])["items"].as_array().unwrap().len() == 1);
}

#[test]
fn an_answer_that_stays_the_same_writes_its_log_lines_once() {
    let mut app = app(&asks("do = \"skip\"", ""), "");
    app.start();
    app.drop_file("raw/a.txt", b"a");
    wait_for_answer(&app, "as always");
    app.drop_file("raw/b.txt", b"b");
    wait_until("the answer about both", || {
        let ticks = ticks(&app, "raw");
        ticks.first().is_some_and(|tick| tick["reason"].as_str().unwrap().starts_with("2 new artifacts"))
    });
    app.wait_to_say("trigger raw: asked");
    assert_eq!(app.said().matches("trigger raw: asked").count(), 1);
}

fn dev_log(app: &TestApp) -> String {
    fs::read_to_string(app.path(".dev.log")).unwrap_or_default()
}

/// The kept component outlives its file, and `gc` leaves it alone while a host needs it.
#[test]
fn the_component_is_kept_and_is_part_of_the_revision() {
    let mut app = by_name("");
    app.start();
    let kept = || fs::read_dir(app.path("state/components")).unwrap().count();
    assert_eq!(kept(), 2, "the action and the trigger");
    fs::remove_file(app.path("decider.wasm")).unwrap();
    app.drop_file("raw/fire-1", b"a");
    app.wait_for_runs(1);
    app.kill();
    fs::copy(guest("decider"), app.path("decider.wasm")).unwrap();
    let removed = app.cli_json(&["gc", "PATH", "--json"]);
    assert_eq!(removed["components"]["files"], 0, "{removed}");
}

#[test]
fn the_example_decides_by_bytes_and_by_the_last_result() {
    let mut app = TestApp::example("enough", &[("enough.wasm", "enough"), ("metric.wasm", "metric")]);
    app.start();
    let drop = |number: u32, value: f64| {
        let text = format!("sensor,value\nceiling,{value}\nfloor,{value}\n");
        app.drop_file(&format!("readings/room-{number:02}.csv"), text.as_bytes());
    };
    let seen = |text: &str| {
        wait_until(text, || component(&app.get("/api/v1/triggers/preview")["items"][0])["seen"] == text);
    };
    drop(1, 5.1);
    seen("35 of 100 bytes are new, and mean is high enough");
    drop(2, 5.3);
    drop(3, 4.9);
    assert!(app.wait_for_runs(1)[0]["trigger"].as_str().unwrap().ends_with("105 bytes are new"));
    drop(4, 0.7);
    drop(5, 4.8);
    drop(6, 5.0);
    app.wait_for_runs(2);
    drop(7, 5.2);
    let runs = app.wait_for_runs(3);
    assert!(runs[2]["trigger"].as_str().unwrap().ends_with("mean is 3.5 since run #2"), "{runs:?}");
    drop(8, 5.1);
    seen("35 of 100 bytes are new, and mean is high enough");
}
