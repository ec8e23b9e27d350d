//! `anacostia store`: sizes, checks and backups of the records.

use std::fs;
use std::path::Path;
use std::process::Output;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::postgres::Database;
use crate::support::postgres_server::Server;

/// Its action writes, reads and logs.
const PIPELINE: &str = r#"
manifest_version = 1
[pipeline]
name = "kept"
[resources.inbox]
kind = "folder"
path = "inbox"
watch = true
[resources.out]
kind = "folder"
path = "out"
[actions.copy]
component = "worker.wasm"
after = ["inbox"]
reads = ["inbox"]
writes = ["out"]
params = { steps = [
    { do = "copy", from = "inbox", to = "out", overwrite = true },
    { do = "metrics", name = "loss", values = [0.5, 0.25], first_step = 1 },
    { do = "log", message = "a line to keep", times = 3 },
] }
"#;

/// The same pipeline, with its records in a database on a server.
fn in_postgres(data: &Database) -> String {
    format!("{PIPELINE}[metadata_store]\nkind = \"postgres\"\nurl = \"{}\"\n", data.url())
}

fn with_a_run() -> TestApp {
    with_a_run_of(PIPELINE)
}

fn with_a_run_of(manifest: &str) -> TestApp {
    let mut app = TestApp::new(manifest).with_guest("worker");
    fs::create_dir(app.path("inbox")).unwrap();
    app.start();
    app.drop_file("inbox/a.csv", b"12345");
    app.wait_for_runs(1);
    app
}

/// Runs a verb of `anacostia store`; returns its exit code, its result and its messages.
fn store(app: &TestApp, args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = app.cli(&[&["store"], args].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn stop(app: &mut TestApp) {
    app.signal(rustix::process::Signal::TERM);
    assert!(app.wait_for_end().success());
}

#[test]
fn stats_name_each_part_with_its_size_beside_a_running_host() {
    let app = with_a_run();
    let stats = app.cli_json(&["store", "stats", "PATH", "--json"]);
    let items = stats["items"].as_array().unwrap();
    let part = |name: &str| items.iter().find(|item| item["name"] == name).unwrap_or_else(|| panic!("{name}"));
    assert_eq!(part("runs")["count"], 1);
    assert_eq!(part("attempts")["count"], 1);
    assert_eq!(part("artifacts")["count"], 2);
    assert_eq!(part("metrics")["count"], 2);
    assert!(part("events")["count"].as_u64().unwrap() > 5, "{stats}");
    let page = 4096;
    assert!(items.iter().all(|item| item["bytes"].as_u64().unwrap() % page == 0), "whole pages: {stats}");
    assert!(part("runs")["bytes"].as_u64().unwrap() >= page);

    let (code, table, _) = store(&app, &["stats", "PATH"]);
    assert_eq!(code, 0);
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["PART", "COUNT", "SIZE"]);
    assert_eq!(lines[1][..2], ["runs", "1"]);
    assert_eq!(lines.last().unwrap()[0], "all");
}

#[test]
fn stats_of_a_store_in_postgres_name_the_same_parts() {
    let data = Database::new();
    let mut app = with_a_run_of(&in_postgres(&data));
    let items =
        |app: &TestApp| app.cli_json(&["store", "stats", "PATH", "--json"])["items"].as_array().unwrap().clone();
    let names =
        |items: &[Value]| items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let beside = items(&app);
    let mut expected = names(&items(&with_a_run()));
    assert_eq!(expected.pop().unwrap(), "free space");
    assert_eq!(names(&beside), expected);
    let counts: Vec<u64> = beside.iter().map(|item| item["count"].as_u64().unwrap()).collect();
    assert_eq!(counts[..5], [1, 1, 2, 2, 2], "{beside:?}");

    stop(&mut app);
    let bytes: u64 = items(&app).iter().map(|item| item["bytes"].as_u64().unwrap()).sum();
    let all = "select sum(pg_total_relation_size(oid))::bigint from pg_class
        where relkind = 'r' and relnamespace = 'anacostia'::regnamespace";
    assert_eq!(i64::try_from(bytes).unwrap(), data.query(all, &[])[0].get::<_, i64>(0), "every table is in one part");
}

#[test]
fn a_check_finds_damaged_pages_contradictions_and_components() {
    let mut app = with_a_run();
    let whole = "The records and the kept components are whole.\n";
    assert_eq!(store(&app, &["check", "PATH"]), (0, whole.to_owned(), String::new()), "beside a host");
    stop(&mut app);

    let database = app.path("state/metadata.db");
    let change = |sql: &str| assert_eq!(Connection::open(&database).unwrap().execute(sql, []).unwrap(), 1, "{sql}");
    change("UPDATE artifacts SET state = 'new' WHERE resource = 'inbox'");
    change("UPDATE attempts SET run = 7");
    let wrong = [
        "1 attempts belong to no run",
        "1 artifacts are new although a run has claimed them",
        "1 resources count wrongly how many artifacts are new",
    ];
    assert_eq!(store(&app, &["check", "PATH"]), (1, wrong.map(|line| format!("{line}\n")).concat(), String::new()));

    let components = fs::read_dir(app.path("state/components")).unwrap();
    let component = components.map(|entry| entry.unwrap().path()).next().unwrap();
    fs::write(&component, b"no component").unwrap();
    let json = app.cli(&["store", "check", "PATH", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let digest = component.file_stem().unwrap().to_str().unwrap();
    let damaged = format!("the kept component sha256:{digest} is damaged: its bytes have another digest");
    assert_eq!(json, json!({"whole": false, "wrong": [wrong[0], wrong[1], wrong[2], damaged]}));
}

#[test]
fn a_check_of_a_store_in_postgres_finds_damaged_tables_and_contradictions() {
    let mut server = Server::start();
    let data = Database::on(&server);
    let mut app = with_a_run_of(&in_postgres(&data));
    let whole = "The records and the kept components are whole.\n";
    assert_eq!(store(&app, &["check", "PATH"]), (0, whole.to_owned(), String::new()), "beside a host");
    stop(&mut app);

    data.execute("update anacostia.artifacts set state = 'new' where resource = 'inbox'");
    data.execute("update anacostia.attempts set run = 7");
    let wrong = "1 attempts belong to no run\n1 artifacts are new although a run has claimed them\n\
                 1 resources count wrongly how many artifacts are new\n";
    assert_eq!(store(&app, &["check", "PATH"]), (1, wrong.to_owned(), String::new()));

    let place = "select current_setting('data_directory'), pg_relation_filepath('anacostia.metrics')";
    let place = &data.query(place, &[])[0];
    let (folder, table): (String, String) = (place.get(0), place.get(1));
    server.tell("stop");
    fs::write(Path::new(&folder).join(&table), [0xff; 8192]).unwrap();
    server.tell("start");
    let wrong = format!("the table `metrics` is damaged: invalid page in block 0 of relation {table}\n");
    assert_eq!(store(&app, &["check", "PATH"]), (1, wrong, String::new()));
}

#[test]
fn a_backup_of_a_running_host_has_all_its_history_and_runs_on() {
    let app = with_a_run();
    let folder = app.path("monday");
    let name = folder.to_str().unwrap();
    let (code, said, then) = store(&app, &["backup", name, "PATH"]);
    assert_eq!(code, 0, "{then}");
    assert!(said.starts_with(&format!("Backed up to {name}: the records (")), "{said}");
    assert!(said.contains("1 log segment (") && said.contains("and 1 kept component ("), "{said}");
    let state = app.path("state");
    assert_eq!(
        then,
        format!(
            "To go back to it: stop the host, move {} away, and copy {name} to its place.\n",
            state.canonicalize().unwrap().display()
        )
    );
    // What comes after the backup is not in it.
    app.drop_file("inbox/b.csv", b"after");
    app.wait_for_runs(2);

    let again = format!("error: {name} exists already; name a folder that does not\n");
    assert_eq!(store(&app, &["backup", name, "PATH"]), (2, String::new(), again));

    let mut other = TestApp::new(PIPELINE).with_guest("worker");
    fs::create_dir(other.path("inbox")).unwrap();
    fs::rename(&folder, other.path("state")).unwrap();
    let runs = other.cli_json(&["runs", "list", "PATH", "--json"]);
    assert_eq!(runs["items"].as_array().unwrap().len(), 1);
    let log = other.cli(&["runs", "logs", "1", "PATH"]);
    assert_eq!(String::from_utf8(log.stdout).unwrap().matches("a line to keep").count(), 3);
    assert_eq!(store(&other, &["check", "PATH"]).0, 0);
    other.start();
    other.drop_file("inbox/c.csv", b"678");
    assert_eq!(other.wait_for_runs(2).last().unwrap()["number"], 2, "numbers go on");
}

/// The records of a store on a server are copied by the server's own programs. The message has the
/// command, and what it copies is enough to go on.
#[test]
fn a_backup_of_a_store_in_postgres_is_made_by_the_command_in_the_message() {
    let mut server = Server::start();
    let data = Database::on(&server);
    let mut app = with_a_run_of(&in_postgres(&data));
    let folder = app.path("monday");
    let url = data.url();
    let command = format!("pg_dump --format=custom --schema=anacostia --file=records.dump '{url}'");
    let said = format!(
        "error: the records are in the schema `anacostia` in {url}, which only PostgreSQL's own programs copy: run \
         `{command}`, and then copy `logs` and `components` in the state folder; all of that may be done while a host is \
         running\n"
    );
    assert_eq!(store(&app, &["backup", folder.to_str().unwrap(), "PATH"]), (2, String::new(), said));
    assert_eq!(left_of_backups(&app), [""; 0]);
    server.tell(&command);
    // What comes after the backup is not in it.
    app.drop_file("inbox/b.csv", b"after");
    app.wait_for_runs(2);
    stop(&mut app);

    let restored = Database::on(&server);
    server.tell(&format!("pg_restore --single-transaction --dbname='{}' records.dump", restored.url()));
    let mut other = TestApp::new(&in_postgres(&restored)).with_guest("worker");
    fs::create_dir(other.path("inbox")).unwrap();
    fs::rename(app.path("state"), other.path("state")).unwrap();
    let runs = other.cli_json(&["runs", "list", "PATH", "--json"]);
    assert_eq!(runs["items"].as_array().unwrap().len(), 1);
    let log = other.cli(&["runs", "logs", "1", "PATH"]);
    assert_eq!(String::from_utf8(log.stdout).unwrap().matches("a line to keep").count(), 3);
    assert_eq!(store(&other, &["check", "PATH"]).0, 0);
    other.start();
    other.drop_file("inbox/c.csv", b"678");
    assert_eq!(other.wait_for_runs(2).last().unwrap()["number"], 2, "numbers go on");
}

/// Returns the names of what backups have left in the folder of a pipeline.
fn left_of_backups(app: &TestApp) -> Vec<String> {
    let names = fs::read_dir(app.folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("backup") || name == "monday").collect()
}

#[test]
fn a_backup_that_fails_leaves_nothing() {
    let app = with_a_run();
    let (code, said, why) = store(&app, &["backup", app.path("no/such/folder").to_str().unwrap(), "PATH"]);
    assert_eq!((code, said.as_str()), (1, ""));
    assert!(why.contains("failed to back up to ") && why.contains("No such file or directory"), "{why}");

    let components = fs::read_dir(app.path("state/components")).unwrap();
    let component = components.map(|entry| entry.unwrap().path()).next().unwrap();
    fs::write(component, b"no component").unwrap();
    let (code, _, why) = store(&app, &["backup", app.path("monday").to_str().unwrap(), "PATH"]);
    assert_eq!(code, 1);
    assert!(why.ends_with("is damaged: its bytes have another digest\n"), "{why}");
    assert_eq!(left_of_backups(&app), [""; 0]);
}

#[test]
fn a_pipeline_without_records_says_so() {
    let data = Database::new();
    for manifest in [PIPELINE, &in_postgres(&data)] {
        let app = TestApp::new(manifest).with_guest("worker");
        for verb in [&["stats", "PATH"][..], &["check", "PATH"], &["backup", "b", "PATH"]] {
            let (code, _, why) = store(&app, verb);
            assert_eq!(code, 2);
            assert!(why.starts_with("error: nothing is on record yet: "), "{why}");
        }
        assert!(!app.path("state").exists());
    }
}
