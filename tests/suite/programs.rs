//! Programs as actions: an ordinary Go program, and two that were not written for Anacostia,
//! SQLite's shell and comrak. Built from source by their own scripts.

use std::fs;

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::guests::action;

/// A program with these manifest lines, whose input is `raw`.
fn pipeline(language: &str, name: &str, lines: &str) -> TestApp {
    let app = TestApp::new(&format!(
        r#"
manifest_version = 1
[pipeline]
name = "programs"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.out]
kind = "folder"
path = "out"
[actions.work]
component = "program.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["out"]
{lines}
"#
    ));
    fs::copy(action(language, name), app.path("program.wasm")).unwrap();
    app
}

/// Processes the dropped files, and returns the action of the first run.
fn process_files(app: &mut TestApp) -> Value {
    // The first time, compiling takes longer than a test should wait for a host to start. The
    // result of the run is checked below.
    app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
    app.start();
    app.get("/api/v1/runs/1")["actions"][0].clone()
}

fn log(app: &TestApp) -> Vec<String> {
    let lines = app.get_all("/api/v1/runs/1/logs");
    lines
        .iter()
        .map(|line| format!("{} {}", line["stream"].as_str().unwrap_or("-"), line["text"].as_str().unwrap()))
        .collect()
}

#[test]
fn an_ordinary_go_program_walks_its_inputs() {
    let mut app = pipeline("go", "ingest-command", r#"args = ["/in/raw", "/out/out"]"#);
    app.drop_file("raw/a.csv", b"sensor,value\r\nattic,21.5\r\ncellar,warm\n\nattic,nan\nattic,.5");
    app.drop_file("raw/deep/down/b.csv", b"sensor,value\nhall,1\n");
    let action = process_files(&mut app);
    assert_eq!(action["state"], "succeeded", "{action:#}");
    assert_eq!(fs::read_to_string(app.path("out/a.csv")).unwrap(), "sensor,value\nattic,21.5\nattic,.5\n");
    assert_eq!(fs::read_to_string(app.path("out/deep/down/b.csv")).unwrap(), "sensor,value\nhall,1\n");
    let log = log(&app);
    for line in [
        "stderr dropped line 3 of /in/raw/a.csv: \"warm\" is not a finite number",
        "stderr dropped line 5 of /in/raw/a.csv: \"nan\" is not a finite number",
        "stdout kept 3 rows of 2 files, dropped 2",
    ] {
        assert!(log.contains(&line.to_owned()), "{line} is not in {log:#?}");
    }
    let metrics = app.get_all("/api/v1/metrics?run=1");
    let values: Vec<Value> = metrics.iter().map(|metric| json!([metric["name"], metric["value"]])).collect();
    assert!(
        values.contains(&json!(["rows_kept", 3.0])) && values.contains(&json!(["rows_dropped", 2.0])),
        "{values:?}"
    );
}

#[test]
fn an_ordinary_go_program_fails_with_its_own_message_and_publishes_nothing() {
    let mut app = pipeline("go", "ingest-command", r#"args = ["/in/raw", "/out/out"]"#);
    app.drop_file("raw/a.csv", b"sensor,value\nhall,1\n");
    app.drop_file("raw/b.csv", b"time,value\n");
    let action = process_files(&mut app);
    assert_eq!(action["state"], "failed", "{action:#}");
    let message = action["attempts"][0]["error"]["message"].as_str().unwrap();
    assert!(message.contains("/in/raw/b.csv begins with \"time,value\", not with \"sensor,value\""), "{message}");
    assert!(!app.path("out/a.csv").exists());
}

#[test]
fn sqlite_answers_a_query_over_files() {
    let args = r#"args = ["-bail", ":memory:", ".import --csv /in/raw/a.csv rows", ".headers on", ".mode csv", ".once /out/out/sum.csv",
        "select name, sum(value) as total from rows group by name order by name"]"#;
    let mut app = pipeline("programs", "sqlite3", args);
    app.drop_file("raw/a.csv", b"name,value\nb,2\na,\"1\"\nb,40\n");
    let action = process_files(&mut app);
    assert_eq!(action["state"], "succeeded", "{action:#}\n{:#?}", log(&app));
    assert_eq!(fs::read_to_string(app.path("out/sum.csv")).unwrap().replace('\r', ""), "name,total\na,1\nb,42\n");
}

#[test]
fn sqlite_creates_a_database_that_the_next_action_opens() {
    let sql = "create table t(a integer primary key, b text); insert into t(b) select hex(randomblob(200)) from generate_series(1, 2000); \
        create index i on t(b); update t set b = 'x' || b; delete from t where a > 1500; vacuum;";
    let mut app = pipeline(
        "programs",
        "sqlite3",
        &format!(
            r#"args = ["-bail", "/out/out/a.db", "{sql}", ".save /out/out/copy.db", ".open /out/out/copy.db",
    "insert into t(b) values ('one more')"]
[actions.reads]
component = "program.wasm"
after = ["work"]
reads = ["out"]
args = ["-bail", "-readonly", "/in/out/a.db", "pragma integrity_check", "select count(*) from t"]
[actions.reads_immutable]
component = "program.wasm"
after = ["work"]
reads = ["out"]
args = ["-bail", "file:/in/out/copy.db?immutable=1", "pragma integrity_check", "select count(*) from t"]"#
        ),
    );
    app.drop_file("raw/go", b"x");
    let action = process_files(&mut app);
    assert_eq!(action["state"], "succeeded", "{action:#}\n{:#?}", log(&app));
    let run = app.get("/api/v1/runs/1");
    assert_eq!(run["state"], "succeeded", "{run:#}\n{:#?}", log(&app));
    let mut said: Vec<String> = log(&app).into_iter().filter(|line| line.starts_with("stdout")).collect();
    said.sort();
    assert_eq!(said, ["stdout 1500", "stdout 1501", "stdout ok", "stdout ok"]);
    let mut published: Vec<_> = fs::read_dir(app.path("out")).unwrap().map(|file| file.unwrap().file_name()).collect();
    published.retain(|name| name != ".anacostia");
    published.sort();
    assert_eq!(published, ["a.db", "copy.db"], "no journal is left");
}

#[test]
fn sqlite_fails_with_its_own_message() {
    let mut app = pipeline("programs", "sqlite3", r#"args = ["-bail", ":memory:", "select * from nowhere"]"#);
    app.drop_file("raw/a.csv", b"x");
    let action = process_files(&mut app);
    assert_eq!(action["state"], "failed", "{action:#}");
    let message = action["attempts"][0]["error"]["message"].as_str().unwrap();
    assert!(message.contains("no such table: nowhere"), "{message}");
}

#[test]
fn comrak_renders_standard_input_to_html() {
    let lines = "args = [\"--gfm\", \"--output\", \"/out/out/page.html\"]\nstdin = \"raw/*.md\"";
    let mut app = pipeline("programs", "comrak", lines);
    app.drop_file("raw/a.md", "# Käse\n\n| a | b |\n|---|--:|\n| 1 | ~~2~~ |\n".as_bytes());
    let action = process_files(&mut app);
    assert_eq!(action["state"], "succeeded", "{action:#}\n{:#?}", log(&app));
    let page = fs::read_to_string(app.path("out/page.html")).unwrap();
    for part in ["<h1>Käse</h1>", "<th align=\"right\">b</th>", "<td>1</td>", "<del>2</del>"] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    let lineage = app.get_all("/api/v1/runs/1/lineage");
    let edges: Vec<Value> = lineage.iter().map(|edge| json!([edge["kind"], edge["artifact"]["path"]])).collect();
    assert!(edges.contains(&json!(["read", "a.md"])) && edges.contains(&json!(["wrote", "page.html"])), "{edges:?}");
}
