//! Actions that wait for approval: decided over HTTP, on the command line and on the page, in time
//! or not, whenever the host dies.

use std::fs;
use std::process::Output;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::receiver::Receiver;
use crate::support::wait::{wait_for, wait_until};

/// A pipeline with a chain of `train`, `publish`, which needs approval, and `tell`; `regret` runs
/// if one of them fails. `approval` and `rest` are lines of the manifest.
fn pipeline(approval: &str, rest: &str) -> TestApp {
    let manifest = format!(
        r#"
manifest_version = 1
[pipeline]
name = "gate"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
trigger = {{ max_artifacts = 1 }}
[resources.out]
kind = "folder"
path = "out"
[actions.train]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = {{ steps = [{{ do = "done", text = "accuracy 0.97" }}] }}
[actions.publish]
component = "worker.wasm"
after = ["train"]
reads = ["raw"]
writes = ["out"]
{approval}
params = {{ steps = [{{ do = "copy", from = "raw", to = "out" }}] }}
[actions.tell]
component = "worker.wasm"
after = ["publish"]
reads = ["raw"]
[actions.regret]
component = "worker.wasm"
after = ["publish"]
reads = ["raw"]
run_when = "any_failed"
{rest}
"#
    );
    let mut app = TestApp::new(&manifest).with_guest("worker");
    app.set_env("USER", "ann");
    // Receivers are on this machine.
    app.set_env("NO_PROXY", "127.0.0.1");
    app
}

const ENDLESS: &str = "approval = { who = \"data team\" }";

fn actions(app: &TestApp, run: u64) -> Vec<(String, String)> {
    let run = app.get(&format!("/api/v1/runs/{run}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    run["actions"].as_array().unwrap().iter().map(|action| (text(&action["name"]), text(&action["state"]))).collect()
}

fn publish(app: &TestApp, run: u64) -> Value {
    app.get(&format!("/api/v1/runs/{run}"))["actions"][1].clone()
}

/// Waits until `publish` of this run waits for approval.
#[track_caller]
fn wait_for_approval(app: &TestApp, run: u64) {
    wait_until("an action to wait for approval", || {
        app.get_all("/api/v1/approvals").iter().any(|it| it["run_number"] == run && it["action"] == "publish")
    });
    // What waits is on record at once; the host may be about to act on it still.
    wait_until("the run to be at rest", || publish(app, run)["state"] == "awaiting_approval");
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_mins(1))).proxy(None);
    config.http_status_as_error(false).max_redirects(0).max_redirects_will_error(false).build().into()
}

/// Returns what the host answers to a GET, as text.
fn fetch(app: &TestApp, path: &str) -> String {
    agent().get(format!("{}{path}", app.url())).call().unwrap().body_mut().read_to_string().unwrap()
}

/// Sends a POST, and returns the status, the header `Location` and the body.
fn send(app: &TestApp, path: &str, headers: &[(&str, &str)], body: &str) -> Result<(u16, String, String), ureq::Error> {
    let mut request = agent().post(format!("{}{path}", app.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = request.send(body)?;
    let location = answer.headers().get("location").map(|it| it.to_str().unwrap().to_owned()).unwrap_or_default();
    Ok((answer.status().as_u16(), location, answer.body_mut().read_to_string()?))
}

/// Decides over HTTP, and returns the status and the body.
fn decide(app: &TestApp, run: u64, what: &str, body: &Value) -> (u16, Value) {
    let path = format!("/api/v1/runs/{run}/actions/publish/{what}");
    let (status, _, text) = send(app, &path, &[("content-type", "application/json")], &body.to_string()).unwrap();
    (status, serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}")))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn ends_with(output: &Output, code: i32) -> (String, String) {
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{error}");
    (out, error)
}

#[test]
fn an_action_starts_once_a_person_has_approved_it() {
    let mut app = pipeline("approval = { who = \"data team\", timeout = \"36h\" }", "");
    app.start();
    app.drop_file("raw/a.csv", b"x");
    wait_for_approval(&app, 1);
    let states = actions(&app, 1).into_iter().map(|(_, state)| state).collect::<Vec<_>>();
    assert_eq!(states, ["succeeded", "awaiting_approval", "pending", "pending"]);
    let waits = publish(&app, 1);
    assert_eq!((&waits["reason"], &waits["attempts"]), (&"waits for approval: data team".into(), &json!([])));
    let asked = &waits["approval"];
    assert_eq!((&asked["who"], &asked["decision"]), (&"data team".into(), &Value::Null));
    assert!(asked["since"].as_str().unwrap() < asked["until"].as_str().unwrap(), "{asked}");
    assert_eq!(app.get("/api/v1/nodes/publish")["state"], "awaiting_approval");
    let needs = json!({ "who": "data team", "timeout_ms": 36 * 3_600_000 });
    assert_eq!(app.get("/api/v1/nodes/publish")["action"]["approval"], needs);
    let (shown, _) = ends_with(&app.cli(&["runs", "show", "1", "PATH"]), 0);
    for part in ["? awaiting_approval", "waits for approval: data team · since ", " · until ", "approve it"] {
        assert!(shown.contains(part), "`{part}` is not in:\n{shown}");
    }
    assert!(shown.contains(&format!("anacostia runs approve 1 publish {}", app.folder().display())), "{shown}");
    assert!(text(&app.cli(&["runs", "list", "PATH"]).stdout).contains("? publish waits for approval: data team"));

    let (status, run) = decide(&app, 1, "approve", &json!({ "by": "ann", "note": "  better than before " }));
    assert_eq!((status, &run["number"]), (200, &1.into()), "{run}");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    assert_eq!(fs::read(app.path("out/a.csv")).unwrap(), b"x");
    let publish = publish(&app, 1);
    let decision = &publish["approval"]["decision"];
    assert_eq!((&decision["verdict"], &decision["by"]), (&"approved".into(), &"ann".into()));
    assert_eq!(decision["note"], "better than before");
    assert_eq!(publish["attempts"].as_array().unwrap().len(), 1);
    let kinds: Vec<_> = app.get_all("/api/v1/runs/1/events").into_iter().map(|event| event["type"].clone()).collect();
    let at = |kind: &str| kinds.iter().position(|it| it == kind).unwrap_or_else(|| panic!("no {kind} in {kinds:?}"));
    assert!(at("approval_requested") < at("approval_decided"));

    // The first decision stands, and may be repeated.
    assert_eq!(decide(&app, 1, "approve", &json!({ "by": "ann", "note": "better than before" })).0, 200);
    let (status, problem) = decide(&app, 1, "reject", &json!({ "by": "bob" }));
    let detail = problem["detail"].as_str().unwrap();
    assert_eq!(status, 409, "{problem}");
    assert!(detail.starts_with("`publish` of run 1 was decided already, at 20"), "{detail}");
    assert!(detail.ends_with(": approved by ann: better than before"), "{detail}");
}

#[test]
fn decisions_that_make_no_sense_are_refused() {
    let mut app = pipeline(ENDLESS, "");
    app.start();
    app.drop_file("raw/a.csv", b"x");
    wait_for_approval(&app, 1);
    let json = [("content-type", "application/json")];
    let post = |path: &str, headers: &[(&str, &str)], body: &str| {
        let (status, _, text) = send(&app, path, headers, body).unwrap();
        (status, serde_json::from_str::<Value>(&text).unwrap())
    };
    let (status, problem) = post("/api/v1/runs/1/actions/publihs/approve", &json, "{}");
    assert_eq!((status, &problem["did_you_mean"]), (404, &"publish".into()), "{problem}");
    assert_eq!(post("/api/v1/runs/9/actions/publish/approve", &json, "{}").0, 404);
    let (status, problem) = post("/api/v1/runs/1/actions/train/approve", &json, "{}");
    assert_eq!(status, 409);
    assert_eq!(problem["detail"], "`train` of run 1 does not wait for approval: it is succeeded");
    let approve = "/api/v1/runs/1/actions/publish/approve";
    assert_eq!(post(approve, &json, "{\"bye\": 1}").0, 400);
    assert_eq!(post(approve, &json, &json!({ "note": "x".repeat(2_001) }).to_string()).0, 400);
    assert_eq!(post(approve, &[("content-type", "text/plain")], "{}").0, 415);
    let foreign = [("content-type", "application/json"), ("origin", "http://evil.example.com")];
    assert_eq!(post(approve, &foreign, "{}").0, 403);
    let (_, error) = ends_with(&app.cli(&["runs", "approve", "1", "publihs", "PATH"]), 2);
    assert!(error.contains("run #1 has no action `publihs`; it has train, publish, tell, regret"), "{error}");
    assert_eq!(publish(&app, 1)["state"], "awaiting_approval");
    // Without a body, nobody is named.
    assert_eq!(app.post(approve).0, 200);
    app.wait_for_runs(1);
    let (_, error) = ends_with(&app.cli(&["runs", "approve", "1", "PATH"]), 1);
    assert!(error.contains("no action of run #1 waits for approval; the run is succeeded"), "{error}");
}

#[test]
fn a_rejection_fails_the_run_and_a_retry_asks_again() {
    let mut app = pipeline(ENDLESS, "");
    app.start();
    app.drop_file("raw/a.csv", b"x");
    wait_for_approval(&app, 1);
    let (out, _) = ends_with(&app.cli(&["runs", "reject", "1", "PATH", "--note", "too few rows"]), 0);
    assert_eq!(out, "Run #1 publish is rejected\n");
    let run = &app.wait_for_runs(1)[0];
    assert_eq!(
        (&run["state"], &run["reason"]),
        (&"failed".into(), &"publish failed: rejected by ann: too few rows".into())
    );
    let states = actions(&app, 1).into_iter().map(|(_, state)| state).collect::<Vec<_>>();
    assert_eq!(states, ["succeeded", "failed", "skipped", "succeeded"], "`regret` is told");
    assert!(!app.path("out/a.csv").exists());

    assert_eq!(app.post("/api/v1/runs/1/retry").0, 200);
    wait_for_approval(&app, 1);
    let waits = publish(&app, 1);
    assert_eq!(waits["earlier_approvals"][0]["decision"]["verdict"], "rejected", "{waits}");
    assert_eq!(waits["approval"]["decision"], Value::Null);
    let (out, _) = ends_with(&app.cli(&["runs", "approve", "latest", "publish", "PATH", "--by", "bob"]), 0);
    assert_eq!(out, "Run #1 publish is approved\n");
    wait_until("the run to succeed", || app.get("/api/v1/runs/1")["state"] == "succeeded");
    assert_eq!(publish(&app, 1)["approval"]["decision"]["by"], "bob");
}

#[test]
fn without_a_decision_in_time_the_action_fails() {
    let mut app = pipeline("approval = { who = \"data team\", timeout = \"1s\" }", "");
    app.start();
    app.drop_file("raw/a.csv", b"x");
    let run = &app.wait_for_runs(1)[0];
    assert_eq!(run["reason"], "publish failed: nobody decided within 1s");
    let approval = publish(&app, 1)["approval"].clone();
    assert_eq!((&approval["decision"]["verdict"], &approval["decision"]["by"]), (&"timed_out".into(), &Value::Null));
    assert!(approval["decision"]["at"].as_str() >= approval["until"].as_str(), "{approval}");
    let (status, problem) = decide(&app, 1, "approve", &json!({}));
    assert_eq!(status, 409);
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("it is too late to decide about `publish` of run 1: nobody decided within 1s"),
        "{detail}"
    );
}

#[test]
fn a_time_out_passes_while_no_host_runs() {
    let mut app = pipeline("approval = { who = \"data team\", timeout = \"3s\" }", "");
    app.start();
    app.drop_file("raw/a.csv", b"x");
    wait_for_approval(&app, 1);
    app.kill();
    let until = Instant::now() + Duration::from_secs(3);
    wait_until("the time to pass", || Instant::now() > until);
    app.start();
    assert_eq!(app.wait_for_runs(1)[0]["reason"], "publish failed: nobody decided within 3s");
}

#[test]
fn a_decision_without_a_host_counts_at_the_next_start() {
    let mut app = pipeline(ENDLESS, "");
    app.start();
    app.drop_file("raw/a.csv", b"x");
    wait_for_approval(&app, 1);
    let asked = publish(&app, 1)["approval"].clone();
    let stopping = Instant::now();
    app.signal(Signal::TERM);
    assert!(app.wait_for_end().success());
    assert!(stopping.elapsed() < Duration::from_secs(8), "the host waited for the approval as if for an attempt");
    app.start();
    wait_for_approval(&app, 1);
    assert_eq!(publish(&app, 1)["approval"], asked, "the restart asks nothing anew");
    app.signal(Signal::TERM);
    assert!(app.wait_for_end().success());
    let (out, _) = ends_with(&app.cli(&["runs", "approve", "1", "PATH", "--note", "fine"]), 0);
    let then = "no host is running, so the rest happens at the next `anacostia run`";
    assert_eq!(out, format!("Run #1 publish is approved; {then}\n"));
    let (again, _) = ends_with(&app.cli(&["runs", "approve", "1", "PATH", "--note", "fine"]), 0);
    assert_eq!(again, out, "the same decision once more changes nothing");
    let (shown, _) = ends_with(&app.cli(&["runs", "show", "1", "PATH"]), 0);
    assert!(shown.contains("approved by ann, ") && shown.contains("Z: fine\n"), "{shown}");
    let (_, error) = ends_with(&app.cli(&["runs", "reject", "1", "publish", "PATH", "--by", "bob"]), 1);
    assert!(error.contains("was decided already") && error.contains("approved by ann: fine"), "{error}");
    app.start();
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
}

#[test]
fn no_kill_9_loses_or_repeats_what_is_asked_or_decided() {
    for (fault, decided) in [("decide.in_transaction:1", false), ("decide.committed:1", true)] {
        let mut app = pipeline(ENDLESS, "");
        app.set_env("ANACOSTIA_FAULT", fault);
        app.start();
        app.drop_file("raw/a.csv", b"x");
        wait_for_approval(&app, 1);
        let body = json!({ "by": "ann" }).to_string();
        let path = "/api/v1/runs/1/actions/publish/approve";
        assert!(send(&app, path, &[("content-type", "application/json")], &body).is_err(), "{fault}");
        app.wait_for_end();
        app.unset_env("ANACOSTIA_FAULT");
        app.start();
        if !decided {
            wait_for_approval(&app, 1);
            assert_eq!(decide(&app, 1, "approve", &json!({ "by": "ann" })).0, 200);
        }
        assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded", "{fault}");
        assert_eq!(publish(&app, 1)["attempts"].as_array().unwrap().len(), 1, "{fault}");
    }
    // At each step that the driver records: the end of `train`, which asks; the start after the
    // decision; the ends of the others.
    for step in 1..=4 {
        let mut app = pipeline(ENDLESS, "");
        app.set_env("ANACOSTIA_FAULT", &format!("step.recorded:{step}"));
        app.start();
        app.drop_file("raw/a.csv", b"x");
        let mut approved = false;
        wait_until("the host to die", || {
            if !approved
                && app.try_get("/api/v1/approvals").is_ok_and(|(_, list)| !list["items"].as_array().unwrap().is_empty())
            {
                // The answer may be lost with the host.
                let _ = send(&app, "/api/v1/runs/1/actions/publish/approve", &[], "");
                approved = true;
            }
            app.has_ended().is_some()
        });
        app.unset_env("ANACOSTIA_FAULT");
        app.start();
        wait_for("the run to end", || {
            if !app.get_all("/api/v1/approvals").is_empty() {
                decide(&app, 1, "approve", &json!({}));
            }
            (app.get("/api/v1/runs/1")["state"] == "succeeded").then_some(())
        });
        let asked = app.get_all("/api/v1/runs/1/events").into_iter().filter(|it| it["type"] == "approval_requested");
        assert_eq!(asked.count(), 1, "step {step}");
        assert_eq!(fs::read(app.path("out/a.csv")).unwrap(), b"x");
    }
}

#[test]
fn a_run_that_waits_keeps_its_slot_and_says_so_until_it_is_cancelled() {
    let mut app = pipeline(ENDLESS, "");
    app.start();
    app.drop_file("raw/a.csv", b"x");
    wait_for_approval(&app, 1);
    app.drop_file("raw/b.csv", b"y");
    let wanted = "1 new artifact, but 1 of 1 runs active, 1 of them waits for a person";
    wait_until("the trigger to say what holds it", || {
        app.get("/api/v1/triggers?resource=raw")["items"][0]["reason"] == wanted
    });
    let preview = app.get("/api/v1/triggers/preview")["items"][0].clone();
    assert_eq!(preview["held"], "1 of 1 runs active, 1 of them waits for a person");
    assert_eq!(app.get_all("/api/v1/runs").len(), 1);
    let metrics = fetch(&app, "/metrics");
    assert!(metrics.contains("\nanacostia_actions_awaiting_approval 1\n"), "{metrics}");
    ends_with(&app.cli(&["runs", "cancel", "1", "PATH"]), 0);
    wait_for_approval(&app, 2);
    assert_eq!(app.get("/api/v1/runs/1")["state"], "cancelled");
    let cancelled = publish(&app, 1);
    assert_eq!(cancelled["state"], "cancelled");
    assert_eq!(cancelled["reason"], "cancelled while it waited for approval");
    let (status, problem) = decide(&app, 1, "approve", &json!({}));
    assert_eq!(status, 409);
    assert_eq!(problem["detail"], "`publish` of run 1 does not wait for approval: it is cancelled");
    assert_eq!(decide(&app, 2, "approve", &json!({})).0, 200);
    assert_eq!(app.wait_for_runs(2)[1]["state"], "succeeded");
}

#[test]
fn the_page_has_a_form_that_decides() {
    let mut app = pipeline("approval = { who = \"<b>data</b> team\", timeout = \"2d\" }", "");
    app.start();
    app.drop_file("raw/a.csv", b"x");
    wait_for_approval(&app, 1);
    let page = || fetch(&app, "/");
    let waiting = page();
    for part in
        ["Waiting for approval", "awaiting approval", "&lt;b&gt;data&lt;&#x2f;b&gt; team", "action=\"/approvals\""]
    {
        assert!(waiting.contains(part), "`{part}` is not in {waiting}");
    }
    let run = app.get("/api/v1/runs/1")["id"].as_str().unwrap().to_owned();
    let form = format!("run={run}&action=publish&by=ann&note=50%25+better%3F&verdict=approved");
    let origin = app.url().to_owned();
    let own = [("content-type", "application/x-www-form-urlencoded"), ("origin", origin.as_str())];
    let foreign = [own[0], ("origin", "http://evil.example.com")];
    assert_eq!(send(&app, "/approvals", &foreign, &form).unwrap().0, 403);
    let (status, _, body) = send(&app, "/approvals", &own, "run=1").unwrap();
    assert!(status == 400 && body.contains("the form could not be read"), "{status} {body}");
    let timed_out = form.replace("approved", "timed_out");
    assert_eq!(send(&app, "/approvals", &own, &timed_out).unwrap().0, 400, "only time decides that");
    assert_eq!(publish(&app, 1)["state"], "awaiting_approval");
    let (status, location, _) = send(&app, "/approvals", &own, &form).unwrap();
    assert_eq!((status, location.as_str()), (303, "/"));
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    assert_eq!(publish(&app, 1)["approval"]["decision"]["note"], "50% better?");
    assert!(!page().contains("Waiting for approval"));
    let (status, _, body) = send(&app, "/approvals", &own, &form.replace("approved", "rejected")).unwrap();
    assert!(status == 409 && body.contains("was decided already"), "{status} {body}");
    assert_eq!(send(&app, "/approvals", &own, &form).unwrap().0, 303, "the same once more");
}

#[test]
fn a_notification_says_who_should_decide_and_how() {
    let [receiver, other] = [(); 2].map(|()| Receiver::start(&[]));
    let webhook = |name: &str, url: &str, rest: &str| {
        format!(
            "[notify.{name}]\nkind = \"webhook\"\nurl = \"{url}\"\nsecret = \"env:HOOK_KEY\"\non = [\"awaiting_approval\", \"run_failed\"]\n{rest}\n"
        )
    };
    let notify =
        webhook("ops", &receiver.url(), "action = \"publish\"") + &webhook("other", &other.url(), "action = \"gate\"");
    let gate =
        format!("[actions.gate]\ncomponent = \"worker.wasm\"\nafter = [\"tell\"]\nreads = [\"raw\"]\n{ENDLESS}\n");
    let mut app = pipeline("approval = { who = \"data team\", timeout = \"36h\" }", &(gate + &notify));
    app.set_env("HOOK_KEY", "a-key");
    app.drop_file("raw/a.csv", b"x");
    // It is told from the record, so also after the host has died.
    app.die_at("notify.event:1");
    app.start();
    let told = wait_for("the message", || receiver.received().into_iter().next());
    let body: Value = serde_json::from_str(&told.body).unwrap();
    assert_eq!((&body["cause"], &body["run_number"]), (&"awaiting_approval".into(), &1.into()));
    assert_eq!(body["title"], "gate: run #1 waits for approval of publish");
    let until = publish(&app, 1)["approval"]["until"].as_str().unwrap().to_owned();
    let url = app.url();
    let wanted = format!(
        "The action publish of run #1 of the pipeline gate waits for approval: data team. Without a decision it fails at {until}.\n\n\
         train succeeded: accuracy 0.97\n\
         publish awaiting_approval: waits for approval: data team\n\
         tell pending\n\
         regret pending\n\
         gate pending\n\n\
         Approve: anacostia runs approve 1 publish, or POST {url}/api/v1/runs/1/actions/publish/approve\n\
         Reject: the same with `reject`; both take a note\n\
         Page: {url}/approvals\n\
         Trigger: raw: 1 new artifact\n\
         Run: {url}/runs/1\n"
    );
    assert_eq!(body["text"].as_str().unwrap(), wanted);
    assert_eq!(other.received().len(), 0, "it asks about another action");
    assert_eq!(decide(&app, 1, "approve", &json!({})).0, 200);
    let told = wait_for("the other message", || other.received().into_iter().next());
    assert!(told.body.contains("waits for approval of gate"), "{}", told.body);
    assert_eq!(receiver.received().len(), 1);
}

#[test]
fn run_once_ends_with_what_waits_for_approval() {
    let app = pipeline(ENDLESS, "");
    for name in ["a", "b"] {
        app.drop_file(&format!("raw/{name}.csv"), b"x");
    }
    let once = || app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
    let (out, _) = ends_with(&once(), 1);
    let command = format!("anacostia runs approve 1 publish {}", app.folder().display());
    let wanted =
        format!("1 run: 1 not finished\nrun #1: publish waits for approval: data team; `{command}`, or `reject`\n");
    assert!(out.ends_with(&wanted), "{out}");
    assert!(out.contains("publish  ? awaiting_approval  data team, see `anacostia runs show 1`"), "{out}");
    // Again, from the record.
    let (out, _) = ends_with(&once(), 1);
    assert!(out.ends_with(&wanted), "{out}");
    ends_with(&app.cli(&["runs", "approve", "1", "PATH"]), 0);
    let (out, _) = ends_with(&once(), 1);
    let wanted = "2 runs: 1 succeeded, 1 not finished\nrun #2: publish waits for approval: data team; ";
    assert!(out.contains(wanted), "{out}");
    ends_with(&app.cli(&["runs", "reject", "2", "PATH"]), 0);
    let (out, _) = ends_with(&once(), 1);
    assert!(out.ends_with("1 run: 1 failed\n"), "{out}");
    let (out, _) = ends_with(&once(), 0);
    assert!(out.ends_with("0 runs: nothing was new\n"), "{out}");
}

#[test]
fn run_once_counts_a_time_out_that_has_passed() {
    let mut app = pipeline("approval = { who = \"data team\", timeout = \"2s\" }", "");
    app.start();
    app.drop_file("raw/a.csv", b"x");
    wait_for_approval(&app, 1);
    app.kill();
    let until = Instant::now() + Duration::from_secs(2);
    wait_until("the time to pass", || Instant::now() > until);
    let (out, _) = ends_with(&app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]), 1);
    assert!(out.ends_with("1 run: 1 failed\n"), "{out}");
}
