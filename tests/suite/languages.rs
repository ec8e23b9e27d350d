//! The same three actions in every language (`guest-examples/README.md`), built from source by
//! their own scripts, in one pipeline over the same files: their results must be equal, byte for
//! byte. Also tests the errors of failing guests: the guest's own message, and the location in its
//! source.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::guests::{action, guest};

/// The languages: the folders of `guest-examples`, and the error of `metric` about a value that is
/// not a number, with its source location.
const LANGUAGES: [(&str, &[&str]); 6] = [
    ("rust", &["first.csv: \"warm\": invalid float literal"]),
    (
        "python",
        &["ValueError: could not convert string to float: 'warm'\n  at app.py:", " in values\n  at app.py:", " in run"],
    ),
    (
        "javascript",
        &["TypeError: \"warm\" is not a number\n  at app.js:", " in number\n  at app.js:", " in values\n", " in run"],
    ),
    (
        "typescript",
        &["TypeError: \"warm\" is not a number\n  at app.ts:", " in number\n  at app.ts:", " in values\n", " in run"],
    ),
    ("c", &["line 3 of first.csv: \"warm\" is not a number"]),
    ("go", &["line 3 of first.csv: strconv.ParseFloat: parsing \"warm\": invalid syntax"]),
];

const ACTIONS: [&str; 3] = ["ingest", "metric", "report"];

/// Readings with every possible error in a row.
const FIRST: &str = "sensor,value\r\nattic,21.5\r\ncellar,warm\nattic,1e1\n\ncellar,\nno comma\nattic,nan\nattic,inf\nhall,0x10\nhall,1_0\nhall, 7\nhall,.5\nhall,1e999\ncellar,-3.25,4\nkitchen,+2.\nкухня,-0.125";
/// The rows that are kept.
const FIRST_CLEAN: &str = "sensor,value\nattic,21.5\nattic,1e1\nhall,.5\nkitchen,+2.\nкухня,-0.125\n";
/// The line and the value of each dropped row.
const FIRST_DROPPED: [(u32, &str); 10] = [
    (3, "warm"),
    (6, ""),
    (7, ""),
    (8, "nan"),
    (9, "inf"),
    (10, "0x10"),
    (11, "1_0"),
    (12, " 7"),
    (14, "1e999"),
    (15, "-3.25,4"),
];

/// The rows of the second file. They fill several chunks, so that rows cross the ends of chunks.
const MANY: u32 = 150_000;

fn second() -> String {
    (0..MANY).fold("sensor,value\n".to_owned(), |mut text, row| {
        let _ = writeln!(text, "room-{:02},{}.25", row % 40, row % 1_000);
        text
    })
}

/// One watched resource, and three actions for each language.
static MANIFEST: LazyLock<String> = LazyLock::new(|| {
    let mut text = String::from(
        r#"
manifest_version = 1
[pipeline]
name = "languages"
[resources.readings]
kind = "folder"
path = "readings"
watch = true
[resources.reports]
kind = "folder"
path = "reports"
"#,
    );
    for (language, _) in LANGUAGES {
        text.push_str(&format!(
            r#"
[resources.clean-{language}]
kind = "folder"
path = "clean/{language}"
[actions.{language}-ingest]
component = "{language}-ingest.wasm"
after = ["readings"]
reads = ["readings"]
writes = ["clean-{language}"]
params = {{ to = "clean-{language}" }}
[actions.{language}-metric]
component = "{language}-metric.wasm"
after = ["{language}-ingest"]
reads = ["clean-{language}"]
params = {{ from = "clean-{language}" }}
[actions.{language}-report]
component = "{language}-report.wasm"
after = ["{language}-ingest"]
reads = ["clean-{language}"]
writes = ["reports"]
params = {{ from = "clean-{language}" }}
"#
        ));
    }
    text
});

/// A pipeline with all components, built, and compiled into the cache of this machine. The first
/// time, that takes minutes, which no test should spend waiting for a host to start.
fn pipeline(manifest: &str) -> TestApp {
    static COMPILED: LazyLock<()> = LazyLock::new(|| {
        let app = with_components(&MANIFEST);
        let output = app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    LazyLock::force(&COMPILED);
    with_components(manifest)
}

fn with_components(manifest: &str) -> TestApp {
    let app = TestApp::new(manifest);
    fs::create_dir(app.path("readings")).unwrap();
    for (language, _) in LANGUAGES {
        for name in ACTIONS {
            fs::copy(action(language, name), app.path(&format!("{language}-{name}.wasm"))).unwrap();
        }
    }
    app
}

#[test]
fn every_language_gives_the_same_results() {
    let mut app = pipeline(&MANIFEST);
    let second = second();
    fs::write(app.path("readings/first.csv"), FIRST).unwrap();
    fs::write(app.path("readings/second.csv"), &second).unwrap();
    app.start();
    let runs = app.wait_for_runs(1);
    let run = app.get("/api/v1/runs/1");
    assert_eq!((runs.len(), &runs[0]["state"]), (1, &json!("succeeded")), "{run:#}");

    let (report, mean) = expected(&second);
    for (language, _) in LANGUAGES {
        check_outcomes(&run, language, mean);
        let clean = |name: &str| fs::read_to_string(app.path(&format!("clean/{language}/{name}"))).unwrap();
        assert_eq!(clean("first.csv"), FIRST_CLEAN, "{language}");
        assert!(clean("second.csv") == second, "{language}: rows are missing or different");
        assert_eq!(fs::read_to_string(app.path(&format!("reports/report-{language}.md"))).unwrap(), report);
        check_facts(&app, language, mean);
        check_dropped_rows_are_logged(&app, language);
        check_lineage(&app, language);
    }
    let reports = app.get_all("/api/v1/artifacts?resource=reports&tag=report");
    assert_eq!(reports.len(), LANGUAGES.len(), "{reports:#?}");
    // Each of them does the same again.
    let output = app.cli(&["replay", "1", "PATH", "--json"]);
    let replayed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = replayed["actions"].as_array().unwrap();
    assert_eq!(all.len(), LANGUAGES.len() * ACTIONS.len());
    assert!(all.iter().all(|it| it["result"] == "identical") && output.status.success(), "{replayed:#}");
}

/// The report, and the mean of all values, computed as one sum in the order of the files.
fn expected(second: &str) -> (String, f64) {
    let mut sensors: BTreeMap<&str, (u32, f64)> = BTreeMap::new();
    let mut total = 0.0;
    for line in FIRST_CLEAN.lines().chain(second.lines()).filter(|line| *line != "sensor,value") {
        let (sensor, value) = line.split_once(',').unwrap();
        let value: f64 = value.parse().unwrap();
        let sum = sensors.entry(sensor).or_default();
        *sum = (sum.0 + 1, sum.1 + value);
        total += value;
    }
    let rows = sensors
        .iter()
        .map(|(sensor, (count, total))| format!("| {sensor} | {count} | {:.3} |\n", total / f64::from(*count)));
    let report =
        rows.fold("# Sensors\n\n| sensor | count | mean |\n|---|---:|---:|\n".to_owned(), |all, row| all + &row);
    (report, total / f64::from(MANY + 5))
}

fn check_outcomes(run: &Value, language: &str, mean: f64) {
    let values = MANY + 5;
    for (name, message) in [
        ("ingest", format!("kept {values} rows of 2 files, dropped 10")),
        ("metric", format!("mean {mean:.3} of {values} values")),
        ("report", format!("44 sensors, {values} values")),
    ] {
        let name = format!("{language}-{name}");
        let action = run["actions"].as_array().unwrap().iter().find(|action| action["name"] == *name).unwrap();
        assert_eq!(action["reason"], *message, "{name}");
    }
}

fn check_facts(app: &TestApp, language: &str, mean: f64) {
    let metrics = app.get_all("/api/v1/metrics?run=1");
    let of = |action: &str| -> BTreeMap<String, f64> {
        let name = format!("{language}-{action}");
        let own = metrics.iter().filter(|metric| metric["action"] == *name);
        own.map(|metric| (metric["name"].as_str().unwrap().to_owned(), metric["value"].as_f64().unwrap())).collect()
    };
    let count = f64::from(MANY + 5);
    let wanted = |pairs: &[(&str, f64)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    assert_eq!(of("ingest"), wanted(&[("rows_dropped", 10.0), ("rows_kept", count)]), "{language}");
    assert_eq!(
        of("metric"),
        wanted(&[("count", count), ("max", 999.25), ("mean", mean), ("min", -0.125)]),
        "{language}"
    );

    let params = app.get_all("/api/v1/params?run=1");
    let name = format!("{language}-metric");
    let own: Vec<&Value> = params.iter().filter(|param| param["action"] == *name).collect();
    assert_eq!(own.len(), 1, "{params:#?}");
    assert_eq!((&own[0]["name"], &own[0]["value"]), (&json!("language"), &json!(language)));
}

/// Returns the lines of an action's log: level, text and fields.
fn log(app: &TestApp, action: &str) -> Vec<Value> {
    let lines = app.get_all("/api/v1/runs/1/logs").into_iter().filter(|line| line["action"] == action);
    lines.map(|line| json!([line["level"], line["text"], line["fields"]])).collect()
}

fn check_dropped_rows_are_logged(app: &TestApp, language: &str) {
    let dropped = FIRST_DROPPED.map(|(line, value)| {
        let text = format!("dropped line {line} of first.csv: \"{value}\" is not a finite number");
        json!(["warn", text, { "path": "first.csv", "line": line.to_string() }])
    });
    assert_eq!(log(app, &format!("{language}-ingest")), dropped, "{language}");
    let report = format!("report-{language}.md has 44 sensors, {} values", MANY + 5);
    assert_eq!(log(app, &format!("{language}-report")), [json!(["info", report, null])], "{language}");
}

fn check_lineage(app: &TestApp, language: &str) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut seen: Vec<[String; 3]> = app
        .get_all("/api/v1/runs/1/lineage")
        .iter()
        .filter_map(|access| {
            let action = access["action"].as_str().unwrap().strip_prefix(language)?.strip_prefix('-')?.to_owned();
            let artifact = &access["artifact"];
            Some([
                action,
                text(&access["kind"]),
                format!("{}/{}", text(&artifact["resource"]), text(&artifact["path"])),
            ])
        })
        .collect();
    seen.sort();
    let clean = format!("clean-{language}");
    let mut wanted = Vec::new();
    for path in ["first.csv", "second.csv"] {
        wanted.push(["ingest", "read", &format!("readings/{path}")].map(str::to_owned));
        wanted.push(["ingest", "wrote", &format!("{clean}/{path}")].map(str::to_owned));
        wanted.push(["metric", "read", &format!("{clean}/{path}")].map(str::to_owned));
        wanted.push(["report", "read", &format!("{clean}/{path}")].map(str::to_owned));
    }
    wanted.push(["report", "wrote", &format!("reports/report-{language}.md")].map(str::to_owned));
    wanted.sort();
    assert_eq!(seen, wanted, "{language}");
}

/// Returns the error of the last attempt of an action in the first run.
fn error(run: &Value, action: &str) -> (String, String) {
    let action = run["actions"].as_array().unwrap().iter().find(|found| found["name"] == action).unwrap();
    let error = &action["attempts"][0]["error"];
    (error["code"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
}

/// Checks that the text contains the parts, one after the other.
#[track_caller]
fn assert_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is missing or out of order in {text:?}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn guest_errors_are_shown_with_their_source_location() {
    // `metric` relies on its input being valid. Here it reads raw input; and a panicking guest
    // shows how a trap is reported.
    let mut manifest = MANIFEST.split_once("\n[resources.clean-").unwrap().0.to_owned();
    for (language, _) in LANGUAGES {
        // An interpreter imports the whole contract, so its import of `resources` requires no
        // grant.
        let interpreted = ["python", "javascript", "typescript"].contains(&language);
        let grants = if interpreted { "" } else { r#"reads = ["readings"]"# };
        manifest.push_str(&format!(
            r#"
[actions.{language}-fails]
component = "{language}-metric.wasm"
after = ["readings"]
reads = ["readings"]
params = {{ from = "readings" }}
[actions.{language}-denied]
component = "{language}-metric.wasm"
after = ["readings"]
{grants}
params = {{ from = "reports" }}
"#
        ));
    }
    manifest.push_str(
        r#"
[actions.panics]
component = "worker.wasm"
after = ["readings"]
reads = ["readings"]
params = { steps = [{ do = "panic" }] }
"#,
    );
    let mut app = pipeline(&manifest);
    fs::copy(guest("worker"), app.path("worker.wasm")).unwrap();
    fs::write(app.path("readings/first.csv"), FIRST).unwrap();
    app.start();
    app.wait_for_runs(1);
    let run = app.get("/api/v1/runs/1");
    for (language, parts) in LANGUAGES {
        let (code, message) = error(&run, &format!("{language}-fails"));
        assert_eq!(code, "failed", "{language}: {message}");
        assert!(message.starts_with(parts[0]), "{language}: {message}");
        assert_in_order(&message, parts);

        // An error of the host keeps its code, and shows the manifest lines that would help.
        let (code, message) = error(&run, &format!("{language}-denied"));
        assert_eq!(code, "denied", "{language}: {message}");
        assert!(message.contains("reads = ["), "{language}: {message}");
    }
    let (code, message) = error(&run, "panics");
    assert_eq!(code, "trap");
    assert_in_order(
        &message,
        &[
            "it reached `unreachable`: a panic or an abort. Its last output:\n",
            "panicked: attempt 1 panics, as its params say  at=worker/src/flow.rs:",
            "\n  at ",
        ],
    );
}
