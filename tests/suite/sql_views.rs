//! `anacostia sql`: the views that `docs/SQL.md` describes, in each form of output.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::postgres::Database;

/// Its first action records all that the views show; its second one fails.
const PIPELINE: &str = r#"
manifest_version = 1
[pipeline]
name = "queried"
[resources.inbox]
kind = "folder"
path = "inbox"
watch = true
[resources.out]
kind = "folder"
path = "out"
[actions.measure]
component = "worker.wasm"
after = ["inbox"]
reads = ["inbox"]
writes = ["out"]
params = { steps = [
    { do = "copy", from = "inbox", to = "out", overwrite = true },
    { do = "metrics", name = "loss", values = [0.5, 0.25], first_step = 1 },
    { do = "params", entries = { model = "tree" } },
    { do = "tags", entries = { stage = "test" } },
] }
[actions.publish]
component = "worker.wasm"
after = ["measure"]
reads = ["inbox"]
params = { steps = [{ do = "fail", message = "no, \"never\"" }] }
"#;

fn queried() -> TestApp {
    queried_in("")
}

/// The table of the manifest for a store in PostgreSQL.
fn in_postgres(data: &Database) -> String {
    format!("[metadata_store]\nkind = \"postgres\"\nurl = \"{}\"\n", data.url())
}

/// The pipeline with this table of the manifest for its store.
fn queried_in(store: &str) -> TestApp {
    let mut app = TestApp::new(&PIPELINE.replace("[resources.inbox]", &format!("{store}[resources.inbox]")));
    app = app.with_guest("worker");
    fs::create_dir(app.path("inbox")).unwrap();
    app.start();
    app.drop_file("inbox/a.csv", b"12345");
    app.wait_for_runs(1);
    app
}

/// Runs a query, and returns what it prints.
#[track_caller]
fn sql(app: &TestApp, query: &str, options: &[&str]) -> String {
    let Output { status, stdout, stderr } = app.cli(&[&["sql", query, "PATH"], options].concat());
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(status.success() && stderr.is_empty(), "{status}: {stderr}");
    String::from_utf8(stdout).unwrap()
}

/// Runs a query that is refused, and returns why.
#[track_caller]
fn refused(app: &TestApp, query: &str, options: &[&str]) -> String {
    let Output { status, stdout, stderr } = app.cli(&[&["sql", query, "PATH"], options].concat());
    assert_eq!((status.code(), stdout), (Some(2), Vec::new()), "{query}");
    String::from_utf8(stderr).unwrap().trim_end().strip_prefix("error: ").expect("an error").to_owned()
}

#[track_caller]
fn rows(app: &TestApp, query: &str) -> Vec<Value> {
    sql(app, query, &["--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_views_show_what_the_api_shows_beside_a_running_host() {
    compare_with_the_api(&queried());
}

#[test]
fn the_views_over_postgres_show_what_the_api_shows() {
    let data = Database::new();
    compare_with_the_api(&queried_in(&in_postgres(&data)));
}

#[track_caller]
fn compare_with_the_api(app: &TestApp) {
    let run = &app.get("/api/v1/runs")["items"][0];
    let members = ["id", "state", "created_at", "started_at", "ended_at"];
    let same: Vec<&Value> = members.iter().map(|name| &run[*name]).collect();
    let query = "SELECT id, state, created_at, started_at, ended_at FROM runs WHERE run = 1";
    let [row] = &rows(app, query)[..] else { panic!("one run") };
    assert_eq!(members.iter().map(|name| &row[*name]).collect::<Vec<_>>(), same);
    assert_eq!(
        rows(
            app,
            "SELECT action, attempt, state, error_code, error, seconds >= 0 AS timed FROM attempts ORDER BY started_at"
        ),
        [
            json!({"action": "measure", "attempt": 1, "state": "succeeded", "error_code": null, "error": null, "timed": 1}),
            json!({"action": "publish", "attempt": 1, "state": "failed", "error_code": "failed", "error": "no, \"never\"", "timed": 1}),
        ]
    );
    assert_eq!(
        rows(app, "SELECT name, step, value, action FROM metrics ORDER BY step"),
        [
            json!({"name": "loss", "step": 1, "value": 0.5, "action": "measure"}),
            json!({"name": "loss", "step": 2, "value": 0.25, "action": "measure"}),
        ]
    );
    assert_eq!(rows(app, "SELECT run, name, value FROM tags"), [json!({"run": 1, "name": "stage", "value": "test"})]);
    assert_eq!(rows(app, "SELECT name, value FROM params WHERE name = 'model'").len(), 1);
    assert_eq!(
        rows(app, "SELECT kind, resource, path, version, bytes FROM lineage ORDER BY kind"),
        [
            json!({"kind": "read", "resource": "inbox", "path": "a.csv", "version": 1, "bytes": 5}),
            json!({"kind": "wrote", "resource": "out", "path": "a.csv", "version": 1, "bytes": 5}),
        ]
    );
    let artifacts =
        "SELECT a.resource, a.present, a.claimed_by, a.made_by, a.made_by_action, a.size, l.digest = a.digest AS same
        FROM artifacts a JOIN lineage l ON l.artifact = a.id ORDER BY 1";
    assert_eq!(
        rows(app, artifacts),
        [
            json!({"resource": "inbox", "present": 1, "claimed_by": 1, "made_by": null, "made_by_action": null, "size": 5, "same": 1}),
            json!({"resource": "out", "present": 1, "claimed_by": null, "made_by": 1, "made_by_action": "measure", "size": 5, "same": 1}),
        ]
    );
}

#[test]
fn rows_are_printed_as_a_table_as_csv_and_as_json() {
    let mut app = queried();
    app.kill();
    let query = "SELECT action, error, attempt * 1.5 AS half FROM attempts ORDER BY action";
    assert_eq!(
        sql(&app, query, &[]),
        "action   error        half\nmeasure  NULL          1.5\npublish  no, \"never\"   1.5\n"
    );
    assert_eq!(sql(&app, query, &["--csv"]), "action,error,half\nmeasure,,1.5\npublish,\"no, \"\"never\"\"\",1.5\n");
    assert_eq!(
        sql(&app, query, &["--json"]),
        "{\"action\":\"measure\",\"error\":null,\"half\":1.5}\n{\"action\":\"publish\",\"error\":\"no, \\\"never\\\"\",\"half\":1.5}\n"
    );
    // What SQL can do beyond reading a view.
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1001) SELECT i FROM n";
    assert_eq!(sql(&app, many, &["--csv"]).lines().count(), 1_002);
    let output = app.cli(&["sql", many, "PATH"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1_001);
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "Only the first 1000 rows are shown: add `LIMIT`, or print all with `--json`, `--csv` or `--parquet`.\n"
    );
    let output = app.cli(&["sql", "SELECT run FROM runs WHERE run = 7", "PATH"]);
    assert_eq!((output.stdout, output.stderr), (Vec::new(), b"The query has no rows.\n".to_vec()));
    let triggers = "SELECT t.value AS name FROM runs r, json_each(r.triggers) t";
    assert_eq!(rows(&app, triggers), [json!({"name": "inbox"})]);
}

#[test]
fn parquet_is_read_by_apache_arrow() {
    let app = queried();
    let query =
        "SELECT action, attempt, CASE attempt WHEN 1 THEN 0.5 END AS real, iif(action = 'publish', 2, 'two') AS mixed,
        iif(action = 'publish', 2, 0.5) AS number, error, NULL AS missing FROM attempts ORDER BY action";
    let output = app.cli(&["sql", query, "PATH", "--parquet"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(app.path("rows.parquet"), output.stdout).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test-parquet");
    let Output { status, stdout, stderr } = Command::new(script).arg(app.path("rows.parquet")).output().unwrap();
    let said = String::from_utf8_lossy(&stderr);
    if said.contains("cannot be installed into") && std::env::var_os("CI").is_none() {
        eprintln!("NOT RUN: no reader of Parquet can be had here:\n{said}");
        return;
    }
    assert!(status.success(), "{said}");
    let lines: Vec<Value> = stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(
        lines,
        [
            json!({"action": "string", "attempt": "int64", "real": "double", "mixed": "string", "number": "double", "error": "string", "missing": "string"}),
            json!({"action": "measure", "attempt": 1, "real": 0.5, "mixed": "two", "number": 0.5, "error": null, "missing": null}),
            json!({"action": "publish", "attempt": 1, "real": 0.5, "mixed": "2", "number": 2.0, "error": "no, \"never\"", "missing": null}),
        ]
    );
}

#[test]
fn what_is_no_query_over_the_views_is_refused_with_the_reason() {
    let app = queried();
    let views = "the views are artifacts, attempts, lineage, metrics, params, runs, tags";
    let only_reads = "the records can only be read here: pass one statement that begins with SELECT or WITH";
    for (query, why) in [
        ("SELECT * FROM models", format!("there is no view `models`; {views}")),
        ("SELECT * FROM events", format!("there is no view `events`; {views}")),
        ("SELECT * FROM main.runs", format!("there is no view `main.runs`; {views}")),
        ("SELECT * FROM sqlite_schema", format!("there is no view `sqlite_master`; {views}")),
        ("DELETE FROM runs", "cannot modify runs because it is a view".to_owned()),
        ("DELETE FROM events", only_reads.to_owned()),
        ("PRAGMA journal_mode = DELETE", only_reads.to_owned()),
        ("ATTACH 'other.db' AS other", only_reads.to_owned()),
        ("COMMIT", only_reads.to_owned()),
        ("SELECT runs FROM runs", "no such column: runs, at `runs FROM runs`".to_owned()),
        ("SELECT FROM runs", "near \"FROM\": syntax error, at `FROM runs`".to_owned()),
        ("SELECT 1; SELECT 2", "there is more than one statement: pass one query".to_owned()),
        ("SELECT ?", "the query has a parameter, such as `?`: write the value itself".to_owned()),
        (" -- nothing", "the query is empty".to_owned()),
        ("SELECT x'ff'", "a value is not text: show bytes with `hex(…)`".to_owned()),
        ("SELECT '{' ->> 'a'", "malformed JSON".to_owned()),
    ] {
        assert_eq!(refused(&app, query, &[]), why, "{query}");
    }
    let twice = "SELECT a.run, b.run FROM runs a, runs b";
    for form in ["--json", "--parquet"] {
        assert_eq!(refused(&app, twice, &[form]), "two columns are named `run`: give one another name with `AS`");
    }
    assert_eq!(sql(&app, twice, &["--csv"]), "run,run\n1,1\n");
    assert!(!app.path("other.db").exists());
}

#[test]
fn what_is_no_query_is_refused_by_postgres_and_changes_nothing() {
    let data = Database::new();
    let app = queried_in(&in_postgres(&data));
    let views = "the views are artifacts, attempts, lineage, metrics, params, runs, tags";
    let only_reads = "the records can only be read here: pass one statement that begins with SELECT or WITH";
    let events = || data.query("select count(*) from anacostia.events", &[])[0].get::<_, i64>(0);
    let before = events();
    for (query, why) in [
        ("SELECT * FROM models", format!("relation \"models\" does not exist, at `models`; {views}")),
        ("SELECT * FROM events e", format!("relation \"events\" does not exist, at `events e`; {views}")),
        ("DELETE FROM tags", only_reads.to_owned()),
        ("DELETE FROM anacostia.events", only_reads.to_owned()),
        ("DELETE FROM anacostia.events RETURNING seq", only_reads.to_owned()),
        ("WITH gone AS (DELETE FROM anacostia.events RETURNING 1) SELECT * FROM gone", only_reads.to_owned()),
        ("SELECT * FROM anacostia.events FOR UPDATE", only_reads.to_owned()),
        ("SELECT nextval('anacostia.attempts_seq_seq')", only_reads.to_owned()),
        ("SET default_transaction_read_only = off", only_reads.to_owned()),
        (
            "SELECT set_config('transaction_read_only', 'off', false)",
            "cannot set transaction read-write mode inside a read-only transaction".to_owned(),
        ),
        ("COMMIT", only_reads.to_owned()),
        ("EXPLAIN SELECT 1", only_reads.to_owned()),
        ("SELECT runs.x FROM runs", "column runs.x does not exist, at `runs.x FROM runs`".to_owned()),
        ("SELECT FROM runs WHERE", "syntax error at end of input".to_owned()),
        ("SELECT FROM runs", "the query has no columns".to_owned()),
        ("SELECT 1; SELECT 2", "there is more than one statement: pass one query".to_owned()),
        ("COMMIT; DELETE FROM anacostia.events", "there is more than one statement: pass one query".to_owned()),
        ("SELECT $1", "the query has a parameter, such as `$1`: write the value itself".to_owned()),
        (" ;", "the query is empty".to_owned()),
        ("SELECT 1 / (run - run) FROM runs", "division by zero".to_owned()),
    ] {
        assert_eq!(refused(&app, query, &[]), why, "{query}");
    }
    assert_eq!(events(), before);
    assert_eq!(
        sql(&app, "SELECT sum(size) AS bytes, avg(size) AS mean FROM artifacts;", &["--csv"]),
        "bytes,mean\n10,5\n"
    );
}

#[test]
fn before_the_first_start_there_is_nothing_to_query() {
    let data = Database::new();
    for store in [String::new(), in_postgres(&data)] {
        let app = TestApp::new(&PIPELINE.replace("[resources.inbox]", &format!("{store}[resources.inbox]")));
        let why = refused(&app, "SELECT 1", &[]);
        assert!(
            why.starts_with("nothing is on record yet: ") && why.contains("start the pipeline with `anacostia run "),
            "{why}"
        );
    }
}

#[test]
fn the_columns_are_those_that_the_docs_describe() {
    compare_with_the_docs(&queried());
}

#[test]
fn the_columns_of_the_views_over_postgres_are_those_that_the_docs_describe() {
    let data = Database::new();
    compare_with_the_docs(&queried_in(&in_postgres(&data)));
}

#[track_caller]
fn compare_with_the_docs(app: &TestApp) {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/SQL.md")).unwrap();
    let mut described: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut view = None;
    for line in page.lines().skip_while(|line| *line != "## Views").take_while(|line| *line != "## Examples") {
        let Some((first, second)) = line.strip_prefix("| ").and_then(|rest| rest.split_once(" | ")) else { continue };
        let names = first.split(", ").map(|name| name.trim_matches('`').to_owned());
        if second == "|" {
            view = names.last();
        } else if let Some(view) = &view {
            described.entry(view.clone()).or_default().extend(names);
        }
    }
    assert_eq!(described.keys().map(String::as_str).collect::<Vec<_>>(), anacostia::store::VIEWS);
    for (view, columns) in described {
        let header = sql(app, &format!("SELECT * FROM {view} LIMIT 0"), &["--csv"]);
        assert_eq!(header.trim_end().split(',').collect::<Vec<_>>(), columns, "{view}");
    }
    // The examples of the page are queries.
    let examples: Vec<&str> = page.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 3);
    for query in examples {
        sql(app, query, &["--json"]);
    }
}
