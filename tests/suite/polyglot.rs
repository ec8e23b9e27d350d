//! The example `polyglot`: every language and every program built from source by the example's own
//! scripts, in one graph. All actions succeed, their results are equal, and lineage connects them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::guests::action;

const LANGUAGES: [&str; 6] = ["rust", "python", "javascript", "typescript", "c", "go"];

/// Returns the content of a file in the example's folder.
fn example(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-examples/pipelines/polyglot").join(path);
    fs::read_to_string(&file).unwrap_or_else(|why| panic!("{}: {why}", file.display()))
}

/// The component that a manifest line names: its language, its folder and its file.
fn component(line: &str) -> Option<(&str, &str, &str)> {
    let path = line.strip_prefix("component = \"../../")?.strip_suffix('"')?;
    let mut parts = path.splitn(3, '/');
    Some((parts.next()?, parts.next()?, parts.next()?))
}

/// Creates the example in its own folder, with its built components.
fn polyglot() -> TestApp {
    let manifest = example("anacostia.toml");
    let mut text = String::new();
    for line in manifest.lines().filter(|line| !line.starts_with("build =")) {
        match component(line) {
            Some((language, name, _)) => text.push_str(&format!("component = \"{language}-{name}.wasm\"\n")),
            None => text.push_str(&format!("{line}\n")),
        }
    }
    let app = TestApp::new(&text);
    for (language, name, _) in manifest.lines().filter_map(component) {
        fs::copy(action(language, name), app.path(&format!("{language}-{name}.wasm"))).unwrap();
    }
    app
}

#[test]
fn every_build_command_makes_the_component_of_its_action() {
    let manifest = example("anacostia.toml");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-examples/pipelines/polyglot");
    let mut lines = manifest.lines();
    let mut seen = 0;
    while let Some((language, name, file)) = lines.find_map(component) {
        let build = lines.next().unwrap();
        let script = format!("../../{language}/{name}/build.sh");
        assert!(build.starts_with(&format!("build = {{ command = \"{script}\", watch = [")), "{build}");
        let says = fs::read_to_string(folder.join(&script)).unwrap();
        assert!(says.contains(&format!("\"${{1:-{file}}}\"")), "{script} does not write {file}");
        let (_, watched) = build.split_once("watch = [").unwrap();
        for path in watched.trim_end_matches("] }").split(", ").map(|path| path.trim_matches('"')) {
            assert!(folder.join(path).exists(), "{path} is watched but does not exist");
        }
        seen += 1;
    }
    assert_eq!(seen, 16);
}

#[test]
fn six_languages_and_two_programs_work_in_one_graph() {
    let mut app = polyglot();
    for name in ["north.csv", "south.csv", "west.csv"] {
        app.drop_file(&format!("data/readings/{name}"), example(&format!("samples/{name}")).as_bytes());
    }
    // The first time, compiling takes minutes, which no test should spend waiting for a host to
    // start.
    let output = app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    app.start();
    let run = app.get("/api/v1/runs/1");
    assert_eq!(run["state"], "succeeded", "{run:#}");
    let actions = run["actions"].as_array().unwrap();
    assert_eq!(actions.len(), 16);
    for action in actions {
        assert_eq!(action["state"], "succeeded", "{action:#}");
    }
    check_results_agree(&app);
    check_page_is_complete(&app);
    check_lineage(&app);
}

fn check_results_agree(app: &TestApp) {
    let metrics = app.get_all("/api/v1/metrics?run=1");
    let of = |action: &str| -> BTreeMap<String, u64> {
        let own = metrics.iter().filter(|metric| metric["action"] == action);
        let bits = |metric: &Value| metric["value"].as_f64().unwrap().to_bits();
        own.map(|metric| (metric["name"].as_str().unwrap().to_owned(), bits(metric))).collect()
    };
    let report = |name: &str| fs::read_to_string(app.path(&format!("data/reports/{name}.md"))).unwrap();
    for language in LANGUAGES {
        assert_eq!(of(&format!("metric_{language}")), of("metric_rust"), "{language}");
        assert_eq!(report(&format!("report-{language}")), report("report-rust"), "{language}");
    }
    assert_eq!(of("metric_rust")["count"], 14.0_f64.to_bits());

    // The Go program, which passes its metrics in a file.
    assert_eq!(of("ingest_command"), of("ingest"));
    assert_eq!(of("ingest")["rows_dropped"], 4.0_f64.to_bits());
    for name in ["north.csv", "south.csv", "west.csv"] {
        let clean = |folder: &str| fs::read(app.path(&format!("data/{folder}/{name}"))).unwrap();
        assert_eq!(clean("tidy"), clean("clean"), "{name}");
    }

    // SQLite counts the same.
    let cells = |line: &str| -> Vec<String> { line.split('|').map(|cell| cell.trim().to_owned()).collect() };
    let rows = |text: &str| -> Vec<[String; 3]> {
        let rows = text.lines().filter(|line| line.starts_with('|') && !line.contains("--"));
        rows.map(|line| [1, 2, 3].map(|at| cells(line)[at].clone())).collect()
    };
    assert_eq!(rows(&report("summary")), rows(&report("report-rust")));
}

fn check_page_is_complete(app: &TestApp) {
    let page = fs::read_to_string(app.path("data/pages/index.html")).unwrap();
    assert_eq!(page.matches("<table>").count(), 1 + LANGUAGES.len(), "{page}");
    assert_eq!(page.matches("<td>garage</td>").count(), 1 + LANGUAGES.len(), "{page}");
}

/// Follows the lineage that the host has recorded, from the page back to the readings.
fn check_lineage(app: &TestApp) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut readers: BTreeMap<String, Vec<String>> = BTreeMap::new(); // what an action read
    let mut writers: BTreeMap<String, String> = BTreeMap::new(); // who wrote it
    for access in app.get_all("/api/v1/runs/1/lineage") {
        let artifact = &access["artifact"];
        let (action, path) =
            (text(&access["action"]), format!("{}/{}", text(&artifact["resource"]), text(&artifact["path"])));
        match access["kind"].as_str().unwrap() {
            "read" => readers.entry(action).or_default().push(path),
            _ => drop(writers.insert(path, action)),
        }
    }
    let mut found: BTreeSet<String> = BTreeSet::new();
    let mut open = vec!["pages/index.html".to_owned()];
    while let Some(path) = open.pop() {
        let Some(writer) = writers.get(&path) else {
            found.insert(path);
            continue;
        };
        if found.insert(writer.clone()) {
            open.extend(readers[writer].clone());
        }
    }
    let mut wanted: BTreeSet<String> = LANGUAGES.map(|language| format!("report_{language}")).into();
    wanted.extend(["ingest", "ingest_command", "summarize", "publish"].map(str::to_owned));
    wanted.extend(["readings/north.csv", "readings/south.csv", "readings/west.csv"].map(str::to_owned));
    assert_eq!(found, wanted);
    assert_eq!(json!(readers["metric_c"]), json!(["clean/north.csv", "clean/south.csv", "clean/west.csv"]));
}
