//! A pipeline whose metadata store is in PostgreSQL: runs, commands beside a host and without one,
//! a second host, hosts that die, stand still or are cut off, and a server that is away or starts
//! again.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::app::TestApp;
use crate::support::postgres::Database;
use crate::support::postgres_server::Server;
use crate::support::proxy::Proxy;
use crate::support::wait::{wait_for, wait_until};

/// Two actions, one after the other, for up to two files at a time.
fn manifest(url: &str, keys: &str) -> String {
    format!(
        r#"
manifest_version = 1
[pipeline]
name = "lab"
max_concurrent_runs = 2
[metadata_store]
kind = "postgres"
url = "{url}"
{keys}
[resources.raw]
kind = "folder"
path = "raw"
watch = true
trigger = {{ max_artifacts = 2 }}
[resources.cleaned]
kind = "folder"
path = "cleaned"
[resources.out]
kind = "folder"
path = "out"
[actions.clean]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["cleaned"]
retry = {{ max_attempts = 20, backoff = "5ms", max_backoff = "20ms" }}
params = {{ steps = [{{ do = "copy", from = "raw", to = "cleaned", append = "+clean" }}] }}
[actions.report]
component = "worker.wasm"
after = ["clean"]
reads = ["cleaned"]
writes = ["out"]
retry = {{ max_attempts = 20, backoff = "5ms", max_backoff = "20ms" }}
params = {{ steps = [{{ do = "copy", from = "cleaned", to = "out", append = "+report" }}] }}
"#
    )
}

fn app(url: &str) -> TestApp {
    TestApp::new(&manifest(url, "")).with_guest("worker")
}

fn drop_files(app: &TestApp, numbers: std::ops::Range<u32>) {
    for number in numbers {
        app.drop_file(&format!("raw/{number:03}.txt"), format!("file {number}").as_bytes());
    }
}

/// The names of the files in a folder, without those that the host keeps for itself.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

/// Waits until all files are processed, and checks the disk and the records: each file was claimed
/// by one run, each run has succeeded, and each output was written once.
#[track_caller]
fn check_all_done(app: &TestApp, data: &Database, count: u32) {
    let done = |folder: &str| names(&app.path(folder)).len() == count as usize;
    wait_until("all files to be processed", || done("out"));
    app.wait_for_runs(1);
    check_outputs(app, count);
    check_records(data, count);
}

#[track_caller]
fn check_outputs(app: &TestApp, count: u32) {
    for number in 0..count {
        let text = fs::read_to_string(app.path(&format!("out/{number:03}.txt"))).unwrap();
        assert_eq!(text, format!("file {number}+clean+report"));
    }
}

#[track_caller]
fn check_records(data: &Database, count: u32) {
    let one = |sql: &str| data.query(&format!("select ({sql})::bigint"), &[])[0].get::<_, i64>(0);
    assert_eq!(one("select count(*) from anacostia.claims"), i64::from(count), "claims");
    assert_eq!(one("select count(*) from anacostia.runs where state <> 'succeeded'"), 0, "runs");
    assert_eq!(one("select count(*) from anacostia.artifacts where resource = 'out'"), i64::from(count), "outputs");
    assert_eq!(one("select count(*) from anacostia.intents"), 0, "intents");
    assert_eq!(
        one("select max(seq) - min(seq) + 1 - count(*) from anacostia.events"),
        0,
        "numbers of events are dense"
    );
}

#[test]
fn a_pipeline_runs_and_commands_work_beside_its_host_and_without_it() {
    let data = Database::new();
    let mut app = app(&data.url());
    let before = app.cli(&["runs", "list", "PATH"]);
    let place = format!("the schema `anacostia` in {}", data.url());
    let said = String::from_utf8(before.stderr).unwrap();
    assert!(said.contains(&format!("nothing is on record yet: {place} does not exist")), "{said}");
    app.start();
    drop_files(&app, 0..6);
    check_all_done(&app, &data, 6);
    let beside = app.cli_json(&["runs", "list", "PATH", "--json"]);
    assert!(beside["items"].as_array().unwrap().len() >= 3, "{beside:#}");
    assert_eq!(app.cli_json(&["pause", "PATH", "--json"])["state"], "paused");
    app.signal(Signal::TERM);
    assert!(app.wait_for_end().success());
    assert_eq!(app.cli_json(&["runs", "list", "PATH", "--json"]), beside);
    assert_eq!(app.cli_json(&["resume", "PATH", "--json"])["state"], "running");
    let run = app.cli_json(&["runs", "show", "1", "PATH", "--json"]);
    assert_eq!(run["state"], "succeeded", "{run:#}");
    assert!(app.cli(&["runs", "logs", "1", "PATH"]).status.success());
    assert!(app.path("state/logs").exists() && !app.path("state/metadata.db").exists());
    app.start();
    drop_files(&app, 6..8);
    check_all_done(&app, &data, 8);
}

#[test]
fn a_second_host_is_refused_and_told_about_the_first() {
    let data = Database::new();
    let mut app = app(&data.url());
    app.start();
    let other = self::app(&data.url());
    let start = Instant::now();
    let refused = other.cli(&["run", "PATH", "--listen", "127.0.0.1:0"]);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let (pid, machine, url) = (app.pid(), machine.trim(), data.url());
    let begin = format!("error: the schema `anacostia` in {url} is in use by process {pid} on {machine} since ");
    let end = format!(" (listening on {})\n", app.url().trim_start_matches("http://"));
    assert!(said.starts_with(&begin) && said.ends_with(&end), "{said}");
    drop_files(&app, 0..2);
    check_all_done(&app, &data, 2);
}

/// The host dies at points before and after commits. The next one, on the same files, waits until
/// the lease has ended, and completes what was begun, exactly once.
#[test]
fn the_next_host_takes_over_within_seconds_and_completes_each_run_once() {
    let data = Database::new();
    let mut app = app(&data.url());
    let points = [
        "claim.in_transaction:1",
        "claim.committed:1",
        "intent.committed:2",
        "publish.renamed:1",
        "published.in_transaction:2",
    ];
    let mut count = 0;
    for point in points {
        drop_files(&app, count..count + 4);
        count += 4;
        app.die_at(point);
        let start = Instant::now();
        app.start();
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
        check_all_done(&app, &data, count);
        app.kill();
    }
    app.start();
    check_all_done(&app, &data, count);
    let epochs = data.query("select count(distinct epoch) from anacostia.events", &[])[0].get::<_, i64>(0);
    assert_eq!(epochs, 2 * i64::try_from(points.len()).unwrap() + 1);
}

/// Between the host and the server is a proxy that resets connections, also in the middle of a
/// commit, and refuses them for a while.
#[test]
fn a_server_that_goes_away_and_comes_back_loses_nothing() {
    let data = Database::new();
    let proxy = Proxy::tcp(SocketAddr::from(([127, 0, 0, 1], Database::port())));
    let mut app = app(&data.url_by_port(proxy.address().port()));
    app.start();
    let mut count = 0;
    for round in 0..12 {
        drop_files(&app, count..count + 4);
        count += 4;
        if round % 4 == 3 {
            proxy.refuse();
            wait_until("the host to notice", || app.try_get("/readyz").is_ok_and(|(status, _)| status == 503));
            drop_files(&app, count..count + 4);
            count += 4;
            proxy.accept();
        } else {
            let before = names(&app.path("out")).len();
            wait_until("the host to work", || names(&app.path("out")).len() > before);
            proxy.reset_open();
        }
    }
    check_all_done(&app, &data, count);
    wait_until("the host to be ready", || app.try_get("/readyz").is_ok_and(|(status, _)| status == 200));
}

/// The server is stopped as for maintenance, and killed, while the host works, and starts again. It
/// has a moment's commits in memory only unless each is synced, as it is here.
#[test]
fn a_server_that_stops_or_dies_and_starts_again_loses_nothing() {
    let mut server = Server::start();
    let mut data = Database::on(&server);
    let mut app = TestApp::new(&manifest(&data.url(), "durability = \"full\"")).with_guest("worker");
    app.start();
    let mut count = 0;
    for how in ["stop", "kill", "stop", "kill"] {
        let before = names(&app.path("out")).len();
        drop_files(&app, count..count + 6);
        wait_until("the host to work", || names(&app.path("out")).len() > before);
        server.tell(how);
        drop_files(&app, count + 6..count + 8);
        count += 8;
        wait_until("the host to say why it is not ready", || {
            app.try_get("/readyz")
                .is_ok_and(|(status, body)| status == 503 && body.to_string().contains("Connection refused"))
        });
        server.tell("start");
        wait_until("the host to be ready", || app.try_get("/readyz").is_ok_and(|(status, _)| status == 200));
    }
    data.reconnect();
    check_all_done(&app, &data, count);
    let epochs = data.query("select count(distinct epoch) from anacostia.events", &[])[0].get::<_, i64>(0);
    assert_eq!(epochs, 1, "the host went on by itself");
}

/// Without `synchronous_commit`, a server that has crashed may have forgotten its last commits.
#[test]
fn a_host_ends_when_its_server_has_forgotten_commits_and_the_next_one_goes_on() {
    let data = Database::new();
    let mut app = app(&data.url());
    app.start();
    drop_files(&app, 0..2);
    check_all_done(&app, &data, 2);
    data.execute(
        "update anacostia.meta set event = event - 1;
        delete from anacostia.events where seq > (select event from anacostia.meta)",
    );
    drop_files(&app, 2..4);
    let status = wait_for("the host to end", || app.has_ended());
    let said = app.said();
    assert_eq!(status.code(), Some(1), "{said}");
    let expected = format!(
        "error: the schema `anacostia` in {} has less on record than it had confirmed, because its server crashed, or was \
         restored from a backup; this host has stopped",
        data.url()
    );
    assert!(said.contains(&expected), "{said}");
    app.start();
    check_all_done(&app, &data, 4);
}

/// A host that stands still in the middle of its work, perhaps of a transaction, is replaced within
/// seconds. When it goes on, it writes nothing.
#[test]
fn a_host_that_stood_still_is_replaced_and_writes_nothing_when_it_goes_on() {
    let data = Database::new();
    let mut old = app(&data.url());
    old.start();
    drop_files(&old, 0..40);
    wait_until("the host to work", || names(&old.path("out")).len() > 2);
    old.signal(Signal::STOP);
    let start = Instant::now();
    // The other machine has folders of its own, so it completes none of the runs that it finds.
    let others = manifest(&data.url(), "").replace("max_concurrent_runs = 2", "max_concurrent_runs = 10");
    let mut new = TestApp::new(&others).with_guest("worker");
    new.start();
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    let written = || {
        let of_old = "select count(*) from anacostia.events where epoch = 1";
        let seen_late = "select count(*) from anacostia.artifacts where path like '9%'";
        [of_old, seen_late].map(|sql| data.query(sql, &[])[0].get::<_, i64>(0))
    };
    let before = written();
    drop_files(&old, 900..904);
    old.signal(Signal::CONT);
    let status = wait_for("the old host to end", || old.has_ended());
    let said = old.said();
    assert_eq!(status.code(), Some(1), "{said}");
    let expected =
        format!("another host has taken over the schema `anacostia` in {}: process {}", data.url(), new.pid());
    assert!(said.contains(&expected), "{said}");
    drop_files(&new, 100..102);
    wait_until("the new host to work", || {
        let out = names(&new.path("out"));
        out.contains("100.txt") && out.contains("101.txt")
    });
    assert_eq!(written(), before);
}

#[test]
fn a_store_is_reached_by_tls_if_the_certificate_is_trusted() {
    let data = Database::new();
    let url = format!("{}?sslmode=require", data.url());
    let mut app = app(&url);
    let refused = app.cli(&["run", "PATH", "--once", "--listen", "127.0.0.1:0"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.starts_with(&format!("error: the metadata store failed to connect to {url}: ")), "{said}");
    assert!(said.contains("certificate"), "{said}");
    app.trust(Database::certificate());
    app.start();
    drop_files(&app, 0..2);
    check_all_done(&app, &data, 2);
    let by_tls = "select count(*) filter (where ssl), count(*) from pg_stat_ssl join pg_stat_activity using (pid)
        where datname = current_database() and application_name = 'anacostia'";
    let row = &data.query(by_tls, &[])[0];
    let (by_tls, all): (i64, i64) = (row.get(0), row.get(1));
    assert!(by_tls == all && all >= 2, "{by_tls} of {all} connections");
    let rows = app.cli(&["sql", "SELECT count(*) AS runs FROM runs", "PATH", "--csv"]);
    // One run takes both files, or two runs take one each.
    let runs = app.get_all("/api/v1/runs").len();
    assert_eq!(String::from_utf8(rows.stdout).unwrap(), format!("runs\n{runs}\n"));
}

/// A host that cannot reach the server for so long that another one takes over writes nothing once
/// it can, and ends.
#[test]
fn a_host_that_was_cut_off_ends_when_another_one_has_taken_over() {
    let data = Database::new();
    let proxy = Proxy::tcp(SocketAddr::from(([127, 0, 0, 1], Database::port())));
    let mut old = app(&data.url_by_port(proxy.address().port()));
    old.start();
    drop_files(&old, 0..2);
    check_all_done(&old, &data, 2);
    proxy.refuse();
    let mut new = app(&data.url());
    new.start();
    proxy.accept();
    let status = wait_for("the old host to end", || old.has_ended());
    assert_eq!(status.code(), Some(1), "{}", old.said());
    let (url, pid) = (data.url_by_port(proxy.address().port()), new.pid());
    let said = old.said();
    let expected = format!("another host has taken over the schema `anacostia` in {url}: process {pid} on ");
    assert!(said.contains(&expected), "{said}");
    drop_files(&new, 2..4);
    wait_until("the new host to work", || names(&new.path("out")).len() == 2);
}

#[test]
fn a_server_that_is_away_at_the_start_is_named_and_no_password_is_shown() {
    let keys = "password = \"env:LAB_PASSWORD\"\nschema = \"penguins\"";
    let mut app = TestApp::new(&manifest("postgres://anna@127.0.0.1:9/lab", keys)).with_guest("worker");
    app.set_env("LAB_PASSWORD", "s3cr3t-w0rd");
    for args in [&["run", "PATH", "--once", "--listen", "127.0.0.1:0"][..], &["runs", "list", "PATH"]] {
        let output = app.cli(args);
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = "error: the metadata store failed to connect to postgres://anna@127.0.0.1:9/lab: error connecting to \
                        server: Connection refused (os error 111)\n";
        assert_eq!(said, expected, "{args:?}");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
    }
    app.unset_env("LAB_PASSWORD");
    let output = app.cli(&["runs", "list", "PATH"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("LAB_PASSWORD"), "{said}");
}
