//! OpenLineage events: the real binary, real runs, endpoints on sockets and files; every event fits
//! the published schemas, and the reference client reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use jsonschema::{Registry, Validator};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::receiver::{Answer, Receiver};
use crate::support::wait::{wait_for, wait_until};

const KEY: &str = "a-key-that-nobody-guesses";
const CORE: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json";

/// A pipeline of two actions. Each file that is dropped leads to a run, in which `clean` copies it,
/// and `train` takes `steps`.
fn pipeline(steps: &str, receivers: &str) -> TestApp {
    let manifest = format!(
        r#"
manifest_version = 1
[pipeline]
name = "traced"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.tidy]
kind = "folder"
path = "tidy"
[actions.clean]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["tidy"]
params = {{ steps = [{{ do = "copy", from = "raw", to = "tidy", overwrite = true }}] }}
[actions.train]
component = "worker.wasm"
after = ["clean"]
reads = ["tidy"]
params = {{ steps = [{steps}] }}
{receivers}
"#
    );
    let mut app = TestApp::new(&manifest).with_guest("worker");
    app.set_env("LINEAGE_KEY", KEY);
    // Receivers are on this machine.
    app.set_env("NO_PROXY", "127.0.0.1");
    app
}

const FILE: &str = "[openlineage.file]\npath = \"lineage/events.jsonl\"\nnamespace = \"tests\"\n";
const DONE: &str = "{ do = \"read\", from = \"tidy\" }";
const FAILS: &str = "{ do = \"fail\", code = \"bad_input\", message = \"no column `species`\" }";

fn endpoint(url: &str) -> String {
    format!("[openlineage.server]\nurl = \"{url}\"\napi_key = \"env:LINEAGE_KEY\"\n")
}

/// Returns the events in the file.
fn in_file(app: &TestApp) -> Vec<Value> {
    let text = fs::read_to_string(app.path("lineage/events.jsonl")).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn at_endpoint(receiver: &Receiver) -> Vec<Value> {
    receiver.received().iter().map(|request| serde_json::from_str(&request.body).unwrap()).collect()
}

/// Returns the last part of the job's name and the type of each event.
fn told(events: &[Value]) -> Vec<String> {
    let one =
        |event: &Value| format!("{} {}", event["job"]["name"].as_str().unwrap(), event["eventType"].as_str().unwrap());
    events.iter().map(one).collect()
}

const SUCCESS: [&str; 6] = [
    "traced START",
    "traced.clean START",
    "traced.clean COMPLETE",
    "traced.train START",
    "traced.train COMPLETE",
    "traced COMPLETE",
];

#[track_caller]
fn wait_for_events(app: &TestApp, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} events"), || Some(in_file(app)).filter(|events| events.len() >= count))
}

/// Returns the schema of an event, and those of the facets on which the tests have one.
fn schemas() -> (Validator, BTreeMap<String, Validator>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openlineage");
    let read = |path: &Path| serde_json::from_str::<Value>(&fs::read_to_string(path).unwrap()).unwrap();
    let core = read(&folder.join("OpenLineage.json"));
    let build = |schema: &Value| {
        let registry = Registry::new().add(CORE, &core).unwrap().prepare().unwrap();
        jsonschema::options().with_registry(&registry).should_validate_formats(true).build(schema).unwrap()
    };
    let mut facets = BTreeMap::new();
    for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if name.ends_with("Facet") {
            let schema = read(&path);
            let url = format!("{}#/$defs/{name}", schema["$id"].as_str().unwrap());
            let mut own = schema["$defs"][&name].clone();
            own["$defs"] = schema["$defs"].clone();
            facets.insert(url, build(&own));
        }
    }
    (build(&json!({ "$ref": format!("{CORE}#/$defs/RunEvent") })), facets)
}

/// Checks that each event, and each of its facets, fits the schema that it names.
#[track_caller]
fn check(events: &[Value]) {
    let (event, facets) = schemas();
    let mut without = Vec::new();
    for it in events {
        let problems: Vec<String> = event.iter_errors(it).map(|problem| problem.to_string()).collect();
        assert!(problems.is_empty(), "{problems:?} in {it:#}");
        each_facet(it, &mut |name, facet| {
            let url = facet["_schemaURL"].as_str().unwrap();
            let Some(schema) = facets.get(url) else { return without.push(name.to_owned()) };
            let problems: Vec<String> = schema.iter_errors(facet).map(|problem| problem.to_string()).collect();
            assert!(problems.is_empty(), "{problems:?} in {facet:#}");
        });
    }
    without.sort();
    without.dedup();
    // These are checked by the classes of the reference client only.
    assert!(without.iter().all(|name| ["tags", "version"].contains(&&**name)), "{without:?} have no schema here");
}

fn each_facet(value: &Value, then: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if value.get("_schemaURL").is_some() {
                    then(name, value);
                } else {
                    each_facet(value, then);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| each_facet(item, then)),
        _ => {}
    }
}

/// Has the reference client read a file of events and send them again.
///
/// The test says so and goes on on a machine that cannot install it, unless `CI` is set.
#[track_caller]
fn read_by_the_reference_client(app: &TestApp) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test-openlineage");
    let output = Command::new(script).arg(app.path("lineage/events.jsonl")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if said.contains("cannot be installed into") && std::env::var_os("CI").is_none() {
        eprintln!("NOT RUN: the reference client:\n{said}");
        return;
    }
    let count = in_file(app).len();
    assert!(output.status.success() && said.contains(&format!("{count} events were read and sent again")), "{said}");
}

#[test]
fn a_run_and_its_actions_are_told_with_what_they_read_and_wrote() {
    let mut app = pipeline(DONE, FILE);
    app.start();
    app.drop_file("raw/a.csv", b"species,\"mass, g\"\nadelie,3700\n");
    let events = wait_for_events(&app, SUCCESS.len());
    assert_eq!(told(&events), SUCCESS);
    check(&events);
    read_by_the_reference_client(&app);

    let run = &app.get_all("/api/v1/runs")[0];
    assert!(events.iter().all(|event| event["job"]["namespace"] == "tests"));
    for event in [&events[0], &events[5]] {
        assert_eq!(event["run"]["runId"], run["id"]);
        assert_eq!(event["run"]["facets"]["parent"], Value::Null);
    }
    for event in &events[1..5] {
        let parent = &event["run"]["facets"]["parent"];
        assert_eq!((&parent["run"]["runId"], &parent["job"]["name"]), (&run["id"], &"traced".into()));
        assert_eq!((&parent["root"]["run"], &parent["root"]["job"]), (&parent["run"], &parent["job"]));
    }
    assert_eq!(events[1]["run"]["runId"], events[2]["run"]["runId"]);
    assert_ne!(events[1]["run"]["runId"], events[3]["run"]["runId"]);

    let [input] = &events[2]["inputs"].as_array().unwrap()[..] else { panic!("{:#}", events[2]) };
    let [output] = &events[2]["outputs"].as_array().unwrap()[..] else { panic!("{:#}", events[2]) };
    let name = |path: &str| Value::from(fs::canonicalize(app.path(path)).unwrap().to_str().unwrap());
    assert_eq!((&input["namespace"], &input["name"]), (&"file".into(), &name("raw/a.csv")));
    assert_eq!(output["name"], name("tidy/a.csv"));
    assert_eq!(events[4]["inputs"][0]["name"], output["name"]);
    for set in [input, output] {
        let facets = &set["facets"];
        assert_eq!(facets["version"]["datasetVersion"], "1");
        assert_eq!(facets["schema"]["fields"], json!([{ "name": "species" }, { "name": "mass, g" }]));
        let digest = &facets["tags"]["tags"][0];
        assert!(digest["key"] == "digest" && digest["value"].as_str().unwrap().starts_with("sha256:"), "{digest}");
    }
    assert_eq!(
        (&input["facets"]["dataSource"]["name"], &output["facets"]["dataSource"]["name"]),
        (&"raw".into(), &"tidy".into())
    );
    assert_eq!(input["inputFacets"]["inputStatistics"]["size"], 30);
    assert_eq!(output["outputFacets"]["outputStatistics"]["size"], 30);
}

#[test]
fn failures_and_retries_are_told_with_the_reason_and_a_retry_is_another_run() {
    let mut app = pipeline(FAILS, FILE);
    app.start();
    app.drop_file("raw/a.csv", b"1,2\n");
    let events = wait_for_events(&app, 6);
    assert_eq!(told(&events)[3..], ["traced.train START", "traced.train FAIL", "traced FAIL"]);
    assert_eq!(events[4]["run"]["facets"]["errorMessage"]["message"], "no column `species`");
    assert_eq!(events[2]["inputs"][0]["facets"]["schema"], Value::Null, "numbers are no names");
    // The host that sends the rest does not know what the first has sent.
    app.restart();
    assert_eq!(app.post("/api/v1/runs/1/retry").0, 200);
    let events = wait_for_events(&app, 10);
    assert_eq!(told(&events)[6..], ["traced START", "traced.train START", "traced.train FAIL", "traced FAIL"]);
    let id = |at: usize| &events[at]["run"]["runId"];
    assert_ne!(id(0), id(6), "a run of OpenLineage ends once");
    assert_eq!((id(6), &events[7]["run"]["facets"]["parent"]["run"]["runId"]), (id(9), id(9)));
    check(&events);
    read_by_the_reference_client(&app);
}

#[test]
fn what_is_cancelled_is_told_as_aborted() {
    let mut app = pipeline("{ do = \"await_cancel\" }", FILE);
    app.start();
    app.drop_file("raw/a.csv", b"a,b\n1,2\n");
    wait_for_events(&app, 4);
    assert_eq!(app.post("/api/v1/runs/1/cancel").0, 200);
    let events = wait_for_events(&app, 6);
    assert_eq!(told(&events)[3..], ["traced.train START", "traced.train ABORT", "traced ABORT"]);
    check(&events);
    read_by_the_reference_client(&app);
}

#[test]
fn many_artifacts_are_told_in_several_events_before_the_end() {
    let mut app = pipeline(DONE, FILE);
    let manifest = fs::read_to_string(app.path("anacostia.toml")).unwrap();
    let all_at_once = manifest.replace("watch = true", "watch = true\ntrigger.min_artifacts = 501");
    fs::write(app.path("anacostia.toml"), all_at_once).unwrap();
    for at in 0..501 {
        app.drop_file(&format!("raw/{at}.csv"), format!("species,n{at}\n").as_bytes());
    }
    app.start();
    let events = wait_for_events(&app, SUCCESS.len() + 1);
    assert_eq!(told(&events)[1..4], ["traced.clean START", "traced.clean RUNNING", "traced.clean COMPLETE"]);
    assert_eq!(events[2]["run"], events[3]["run"]);
    let sets = |side: &str| {
        let of = |event: &Value| event[side].as_array().unwrap().clone();
        events[2..4].iter().flat_map(of).collect::<Vec<_>>()
    };
    let (inputs, outputs) = (sets("inputs"), sets("outputs"));
    let names: BTreeSet<&str> = inputs.iter().chain(&outputs).map(|set| set["name"].as_str().unwrap()).collect();
    assert_eq!((inputs.len(), outputs.len(), names.len()), (501, 501, 1002));
    let with_columns = |set: &&Value| set["facets"]["schema"] != Value::Null;
    assert_eq!(inputs.iter().chain(&outputs).filter(with_columns).count(), 100);
    check(&events);
    read_by_the_reference_client(&app);
}

#[test]
fn an_endpoint_that_is_down_or_busy_gets_all_events_in_order_once_it_is_back() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut app = pipeline(DONE, &(endpoint(&format!("http://{address}/api/v1/lineage")) + FILE));
    app.start();
    app.drop_file("raw/a.csv", b"a,b\n1,2\n");
    wait_for_events(&app, SUCCESS.len());
    app.wait_to_say("server does not take lineage");
    // A host that ends and its successor lose nothing either.
    app.restart();
    let receiver = Receiver::listen(TcpListener::bind(address).unwrap(), &[Answer::Status(503), Answer::Status(401)]);
    let events = wait_for("all events", || Some(at_endpoint(&receiver)).filter(|events| events.len() >= 8));
    // The first was sent three times.
    assert_eq!((&events[0], &events[1]), (&events[1], &events[2]));
    assert_eq!(told(&events[2..]), SUCCESS);
    check(&events);
    let request = &receiver.received()[0];
    assert_eq!((&*request.path, &*request.headers["content-type"]), ("/api/v1/lineage", "application/json"));
    assert_eq!(request.headers["authorization"], format!("Bearer {KEY}"));
    assert_eq!(events[2]["job"]["namespace"], "anacostia");
}

#[test]
fn an_event_that_an_endpoint_refuses_by_itself_does_not_hold_up_the_others() {
    let receiver = Receiver::start(&[Answer::Status(422)]);
    let mut app = pipeline(DONE, &endpoint(&receiver.url()));
    app.start();
    app.drop_file("raw/a.csv", b"a,b\n1,2\n");
    wait_until("all events", || receiver.received().len() == SUCCESS.len());
    assert_eq!(told(&at_endpoint(&receiver)), SUCCESS);
    app.wait_to_say("server refused an event of lineage, which is given up: the receiver answered 422");
}

#[test]
fn kill_9_between_a_run_and_its_lineage_loses_nothing() {
    for point in ["openlineage.derived:3", "openlineage.delivered:3", "openlineage.delivered:6", "record.committed:2"] {
        let mut app = pipeline(DONE, FILE);
        app.drop_file("raw/a.csv", b"a,b\n1,2\n");
        app.die_at(point);
        app.start();
        // The last events of the run come when the next host has finished it.
        let events = wait_for("the end of the run", || {
            Some(in_file(&app)).filter(|events| told(events).last().is_some_and(|last| last == "traced COMPLETE"))
        });
        let mut seen = Vec::new();
        for event in &events {
            // What is sent again is the same.
            if !seen.contains(event) {
                seen.push(event.clone());
            }
        }
        let mut expected = told(&seen);
        // An attempt that died with the host is told too, and the one after it.
        expected.dedup_by(|one, other| one == other);
        for told in SUCCESS {
            assert!(expected.iter().any(|it| it == told), "{point}: {expected:?}");
        }
        check(&events);
    }
}

#[test]
fn a_receiver_gets_what_happens_after_it_was_added() {
    let mut app = pipeline(DONE, "");
    app.start();
    app.drop_file("raw/a.csv", b"a,b\n1,2\n");
    wait_until("the run to end", || app.get_all("/api/v1/runs").iter().any(|run| run["state"] == "succeeded"));
    let manifest = fs::read_to_string(app.path("anacostia.toml")).unwrap();
    fs::write(app.path("anacostia.toml"), manifest + FILE).unwrap();
    app.restart();
    app.drop_file("raw/b.csv", b"a,b\n1,2\n");
    let events = wait_for_events(&app, SUCCESS.len());
    assert_eq!(told(&events), SUCCESS);
    assert!(events[2]["inputs"][0]["name"].as_str().unwrap().ends_with("/raw/b.csv"), "{events:#?}");
}

#[test]
fn the_secrets_of_receivers_are_in_no_record_and_no_log() {
    const TOKEN: &str = "T0K3N-of-the-address";
    let receiver = Receiver::start(&[Answer::Status(503)]);
    let secret = endpoint("env:LINEAGE_URL");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let other = "[openlineage.away]\nurl = \"env:LINEAGE_AWAY\"\n";
    let mut app = pipeline(DONE, &(secret + other));
    app.set_env("LINEAGE_URL", &format!("{}/{TOKEN}", receiver.url()));
    app.set_env("LINEAGE_AWAY", &format!("http://{closed}/{TOKEN}"));
    app.start();
    app.drop_file("raw/a.csv", b"a,b\n1,2\n");
    wait_until("all events", || receiver.received().len() == SUCCESS.len() + 1);
    app.wait_to_say("away does not take lineage");
    let shown = format!("{}{}", app.said(), app.get("/api/v1/nodes"));
    app.signal(Signal::TERM);
    app.wait_for_end();
    let mut places = vec![shown.into_bytes()];
    for entry in fs::read_dir(app.path("state")).unwrap().map(|entry| entry.unwrap().path()) {
        places.extend(entry.is_file().then(|| fs::read(&entry).unwrap()));
    }
    for place in places {
        for secret in [KEY, TOKEN] {
            assert!(!String::from_utf8_lossy(&place).contains(secret), "a secret is on record");
        }
    }
}
