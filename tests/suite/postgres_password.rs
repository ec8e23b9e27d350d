//! The password of a store in PostgreSQL is in the environment of the host, and in nothing that the
//! host says, serves or keeps.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::support::app::TestApp;
use crate::support::pages::page;
use crate::support::postgres::Database;

const PASSWORD: &str = "s3cr3t-w0rd";
const WRONG: &str = "wr0ng-s3cr3t";
/// A part of both.
const SECRET: &str = "s3cr3t";

fn manifest(url: &str) -> String {
    format!(
        r#"
manifest_version = 1
[pipeline]
name = "lab"
[metadata_store]
kind = "postgres"
url = "{url}"
password = "env:LAB_PASSWORD"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[actions.read]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = {{ steps = [{{ do = "read", from = "raw" }}] }}
"#
    )
}

/// Commands that open the store, in their arguments `BACKUP` for a folder that is not there, and
/// first one that only looks at the manifest.
const COMMANDS: [&[&str]; 14] = [
    &["check", "PATH"],
    &["runs", "list", "PATH", "--json"],
    &["runs", "show", "1", "PATH", "--json"],
    &["runs", "logs", "1", "PATH"],
    &["artifacts", "list", "PATH", "--json"],
    &["sql", "SELECT * FROM runs", "PATH", "--json"],
    &["sql", "SELECT nothing FROM nowhere", "PATH"],
    &["triggers", "PATH", "--json"],
    &["notifications", "PATH", "--json"],
    &["store", "stats", "PATH", "--json"],
    &["store", "check", "PATH", "--json"],
    &["store", "backup", "BACKUP", "PATH"],
    &["run", "PATH", "--once", "--listen", "127.0.0.1:0"],
    &["gc", "PATH"],
];

/// Executes the commands, and returns what each has said.
#[track_caller]
fn ask(app: &TestApp) -> Vec<String> {
    let backup = app.path("backup").to_str().unwrap().to_owned();
    let ask = |args: &&[&str]| {
        let args: Vec<&str> = args.iter().map(|arg| if *arg == "BACKUP" { &backup } else { *arg }).collect();
        let output = app.cli(&args);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!said.contains(SECRET), "{args:?}: {said}");
        said
    };
    COMMANDS.iter().map(ask).collect()
}

#[test]
fn the_password_is_shown_nowhere() {
    let data = Database::new();
    data.execute(&format!("create role guarded login password '{PASSWORD}'"));
    data.execute("do $$ begin execute format('grant create on database %I to guarded', current_database()); end $$");
    let url = data.url().replace("postgres@", "guarded@");
    let mut app = TestApp::new(&manifest(&url)).with_guest("worker");

    app.set_env("LAB_PASSWORD", WRONG);
    let refused = format!(
        "error: the metadata store failed to connect to {url}: password authentication failed for user \"guarded\"\n"
    );
    // `check` looks only at the manifest.
    assert!(ask(&app)[1..].iter().all(|said| *said == refused));

    app.set_env("LAB_PASSWORD", PASSWORD);
    app.set_env("ANACOSTIA_LOG", "trace");
    app.start();
    app.drop_file("raw/a.csv", b"1");
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    let said = ask(&app);
    assert!(said[12].contains("is in use by process") && said[1].contains("succeeded"), "{said:#?}");
    let pages =
        ["/", "/runs", "/runs/1", "/runs/1/logs", "/runs/1/events", "/resources/raw", "/actions/read", "/settings"];
    for path in pages {
        let html = page(&app, path);
        assert!(!html.contains(SECRET), "{path}: {html}");
    }
    assert!(page(&app, "/settings").contains("LAB_PASSWORD"), "the manifest is there");
    for path in ["/api/v1/pipeline", "/api/v1/nodes", "/api/v1/runs/1", "/api/v1/runs/1/events", "/readyz"] {
        let body = app.get(path).to_string();
        assert!(!body.contains(SECRET), "{path}: {body}");
    }
    assert!(!app.page_at("/metrics").contains(SECRET));
    app.signal(Signal::TERM);
    assert!(app.wait_for_end().success());

    let log = app.said();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "{log}");
    assert!(!log.contains(SECRET), "{log}");
    check_records(&data);
    check_files(app.folder());
}

#[track_caller]
fn check_records(data: &Database) {
    let tables = data.query("select tablename::text from pg_tables where schemaname = 'anacostia'", &[]);
    assert!(tables.len() > 20);
    for table in tables {
        let table: String = table.get(0);
        let with = data.query(&format!("select 1 from anacostia.{table} t where t::text like '%{SECRET}%'"), &[]);
        assert!(with.is_empty(), "{table}");
    }
}

#[track_caller]
fn check_files(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            check_files(&path);
        } else if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            let found = bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
}

/// The environment may also have a whole URL, and with it a password, which is refused.
#[test]
fn a_password_in_a_url_from_the_environment_is_refused_and_not_shown() {
    let text = manifest("${LAB_URL}").replace("password = \"env:LAB_PASSWORD\"\n", "");
    let mut app = TestApp::new(&text).with_guest("worker");
    let urls = [
        format!("postgres://anna:{PASSWORD}@127.0.0.1:9/lab"),
        format!("postgres://anna:{PASSWORD}@127.0.0.1:port/lab"),
        format!("postgres://anna:{PASSWORD}/@127.0.0.1/lab?wrong=1"),
        format!("postgres://anna@127.0.0.1:9/lab?password={PASSWORD}"),
        format!("host=127.0.0.1 user=anna password={PASSWORD} dbname=lab"),
    ];
    for url in urls {
        app.set_env("LAB_URL", &url);
        for said in ask(&app) {
            assert!(said.contains("${LAB_URL}") || said.contains("anacostia check"), "{url}: {said}");
        }
    }
}
