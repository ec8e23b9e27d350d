//! Hostile actions in a real host, beside an honest one: each ends within its limit, with its own
//! error, and the honest one is not affected. Also with the whole host on one core.

use std::fs;

use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::wait::wait_until;

/// The hostile actions: a name, the params of the guest, its limits, and the code and words of the
/// error with which the host ends it.
const HOSTILE: &[(&str, &str, &str, &str, &str)] = &[
    (
        "floods",
        r#"steps = [{ do = "write", to = "out", path = "10-gib.bin", bytes = 10737418240 }]"#,
        r#"output = "2MiB""#,
        "output_limit",
        "2 MiB",
    ),
    ("spins", r#"mode = "spin""#, r#"cpu = "300ms""#, "cpu_limit", "300ms"),
    ("spins_in_host_calls", r#"mode = "spin_in_host""#, r#"cpu = "300ms""#, "cpu_limit", "300ms"),
    ("sleeps", r#"mode = "sleep_forever""#, r#"wall = "500ms""#, "wall_limit", "500ms"),
    ("allocates", r#"mode = "allocate""#, r#"memory = "48MiB""#, "memory_limit", "48 MiB"),
    ("traps", r#"mode = "trap""#, "", "trap", "unreachable"),
    ("panics", r#"mode = "panic""#, "", "trap", "unreachable"),
    ("recurses", r#"mode = "recurse""#, "", "stack_overflow", "stack"),
    ("writes", r#"mode = "write_stubbornly", to = "out""#, r#"output = "2MiB", cpu = "2s""#, "cpu_limit", "2s"),
    ("logs", r#"mode = "log""#, r#"log = "1MiB""#, "log_limit", "1 MiB"),
];

/// The resident memory in bytes that the host must never reach: all guests together may use a large
/// part of it, but a leak or an unlimited guest would use more.
const MOST_RESIDENT: u64 = 400 << 20;

fn manifest() -> String {
    let mut text = String::from(
        r#"
manifest_version = 1
[pipeline]
name = "limits"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.out]
kind = "folder"
path = "out"
[actions.honest]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["out"]
params = { steps = [{ do = "copy", from = "raw", to = "out" }, { do = "spin", rounds = 20000000 }] }
[actions.asks]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = { steps = [{ do = "expect", code = "denied", step = { do = "write", to = "out", path = "x" } }] }
[actions.escapes]
component = "hostile.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["out"]
params = { mode = "paths", from = "raw", to = "out", known = "a.csv" }
"#,
    );
    for (name, params, limits, _, _) in HOSTILE {
        let guest = if params.starts_with("mode") { "hostile" } else { "worker" };
        text.push_str(&format!(
            r#"
[actions.{name}]
component = "{guest}.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["out"]
params = {{ {params} }}
limits = {{ {limits} }}
"#
        ));
    }
    text
}

#[test]
fn each_hostile_action_ends_within_its_limit_and_does_not_affect_its_sibling() {
    let mut app = TestApp::new(&manifest()).with_guest("hostile").with_guest("worker");
    app.start();
    check(&app);
}

#[test]
fn hostile_actions_end_within_their_limits_on_one_core() {
    let mut app = TestApp::new(&manifest()).with_guest("hostile").with_guest("worker");
    app.start_on_one_core();
    check(&app);
}

fn check(app: &TestApp) {
    app.drop_file("raw/a.csv", b"1,2,3\n");
    app.wait_for_runs(1);
    let run = app.get("/api/v1/runs/1");
    for (name, _, _, code, words) in HOSTILE {
        let attempt = &action(&run, name)["attempts"][0];
        let state = if *code == "wall_limit" { "timed_out" } else { "failed" };
        assert_eq!(
            (&attempt["state"], &attempt["error"]["code"]),
            (&state.into(), &(*code).into()),
            "{name}: {attempt:#}"
        );
        let message = attempt["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{name}: {message}");
        // Although the guest ignores errors, it never wrote more than its limit.
        assert!(attempt["usage"]["bytes_written"].as_u64().unwrap() <= 2 << 20, "{name}: {attempt:#}");
    }
    for name in ["honest", "escapes", "asks"] {
        assert_eq!(action(&run, name)["state"], "succeeded", "{name}: {:#}", action(&run, name));
    }
    assert_eq!(fs::read(app.path("out/a.csv")).unwrap(), b"1,2,3\n");
    let denial = &action(&run, "asks")["attempts"][0]["denials"][0];
    assert_eq!((&denial["call"], &denial["target"]), (&"resources.create".into(), &"out".into()), "{denial:#}");
    assert!(denial["message"].as_str().unwrap().contains("[actions.asks]\nwrites = [\"out\"]"), "{denial:#}");
    let imports = app.get("/api/v1/nodes/honest")["action"]["component"]["imports"].to_string();
    assert!(imports.contains("anacostia:pipeline/resources@0.1.0"), "{imports}");
    assert!(!app.path("x").exists());

    // The next run works like the first: nothing of the hostile actions is left, including memory.
    let before = app.most_resident();
    app.drop_file("raw/a.csv", b"4,5,6\n");
    app.wait_for_runs(2);
    let again = app.get("/api/v1/runs/2");
    assert_eq!(action(&again, "asks")["state"], "succeeded", "{:#}", action(&again, "asks"));
    let resident = app.most_resident();
    assert!(resident < before + (64 << 20), "repeating the run took {} more bytes", resident - before);
    assert!(resident < MOST_RESIDENT, "the host had {resident} bytes in memory");
    wait_until("nothing to be staged any more", || {
        fs::read_dir(app.path("out/.anacostia/staging")).map_or(0, Iterator::count) == 0
    });
}

fn action<'a>(run: &'a Value, name: &str) -> &'a Value {
    run["actions"].as_array().unwrap().iter().find(|action| action["name"] == name).unwrap()
}
