//! A pipeline whose metadata store is in Redis: runs, commands beside a host and without one, a
//! second host, hosts that die, stand still or are cut off, and a server that is away, starts again
//! or has other settings.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::app::TestApp;
use crate::support::preload::library;
use crate::support::proxy::Proxy;
use crate::support::redis_server::{Server, server};
use crate::support::wait::{wait_for, wait_until};

/// Keys of their own for one test.
struct Keys {
    port: u16,
    prefix: String,
}

impl Keys {
    fn new() -> Self {
        Self::on(server())
    }

    fn on(server: &Server) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        Self { port: server.port, prefix: format!("lab-{}", NUMBER.fetch_add(1, Ordering::Relaxed)) }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// How errors name them.
    fn place(&self, url: &str) -> String {
        format!("the keys `{{{}}}:*` in {url}", self.prefix)
    }

    /// The answer to a command about one of the keys.
    fn ask<T: redis::FromRedisValue>(&self, command: &str, key: &str, more: &[&str]) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        redis::cmd(command).arg(format!("{{{}}}:{key}", self.prefix)).arg(more).query(&mut connection).unwrap()
    }

    /// The number of members of a sorted set.
    fn count(&self, key: &str) -> u32 {
        self.ask("ZCARD", key, &[])
    }

    /// A counter.
    fn counter(&self, name: &str) -> u32 {
        self.ask("HGET", "meta", &[name])
    }

    fn app(&self) -> TestApp {
        self.app_at(&self.url())
    }

    fn app_at(&self, url: &str) -> TestApp {
        TestApp::new(&manifest(url, &format!("prefix = \"{}\"", self.prefix))).with_guest("worker")
    }
}

/// Two actions, one after the other, for up to two files at a time.
fn manifest(url: &str, keys: &str) -> String {
    format!(
        r#"
manifest_version = 1
[pipeline]
name = "lab"
max_concurrent_runs = 2
[metadata_store]
kind = "redis"
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
fn check_all_done(app: &TestApp, keys: &Keys, count: u32) {
    wait_until("all files to be processed", || names(&app.path("out")).len() == count as usize);
    app.wait_for_runs(1);
    for number in 0..count {
        let text = fs::read_to_string(app.path(&format!("out/{number:03}.txt"))).unwrap();
        assert_eq!(text, format!("file {number}+clean+report"));
    }
    assert_eq!((keys.count("artifacts:raw"), keys.count("artifacts:raw:old")), (count, count), "claims");
    assert_eq!(keys.count("runs"), keys.count("runs:state:succeeded"), "runs");
    assert_eq!(keys.counter("run"), keys.count("runs"), "numbers of runs are dense");
    assert_eq!(keys.count("artifacts:out"), count, "outputs");
    assert_eq!(keys.count("intents"), 0, "intents");
    assert_eq!(keys.ask::<u32>("XLEN", "events", &[]), keys.counter("event"), "numbers of events are dense");
}

#[test]
fn a_pipeline_runs_and_commands_work_beside_its_host_and_without_it() {
    let keys = Keys::new();
    let mut app = keys.app();
    let before = app.cli(&["runs", "list", "PATH"]);
    let said = String::from_utf8(before.stderr).unwrap();
    let place = keys.place(&keys.url());
    assert!(said.contains(&format!("nothing is on record yet: {place} does not exist")), "{said}");
    app.start();
    drop_files(&app, 0..6);
    check_all_done(&app, &keys, 6);
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
    let sql = app.cli(&["sql", "SELECT 1", "PATH"]);
    let said = String::from_utf8(sql.stderr).unwrap();
    let expected = "error: a metadata store in Redis answers no SQL: read its records with `anacostia runs list --json` and \
                    the other commands, or keep them in SQLite or PostgreSQL\n";
    assert_eq!(said, expected);
    app.start();
    drop_files(&app, 6..8);
    check_all_done(&app, &keys, 8);
}

#[test]
fn a_second_host_is_refused_and_told_about_the_first() {
    let keys = Keys::new();
    let mut app = keys.app();
    app.start();
    let start = Instant::now();
    let refused = keys.app().cli(&["run", "PATH", "--listen", "127.0.0.1:0"]);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let (pid, machine, place) = (app.pid(), machine.trim(), keys.place(&keys.url()));
    let begin = format!("error: {place} is in use by process {pid} on {machine} since ");
    let end = format!(" (listening on {})\n", app.url().trim_start_matches("http://"));
    assert!(said.starts_with(&begin) && said.ends_with(&end), "{said}");
    drop_files(&app, 0..2);
    check_all_done(&app, &keys, 2);
}

/// The host dies at points before and after writes. The next one, on the same files, waits until
/// the lease has ended, and completes what was begun, exactly once.
#[test]
fn the_next_host_takes_over_within_seconds_and_completes_each_run_once() {
    let keys = Keys::new();
    let mut app = keys.app();
    let points = [
        "record.committed:1",
        "claim.in_transaction:1",
        "claim.committed:1",
        "stage.finished:2",
        "intent.in_transaction:1",
        "intent.committed:2",
        "publish.renamed:1",
        "published.in_transaction:2",
        "published.committed:1",
    ];
    let mut count = 0;
    for point in points {
        drop_files(&app, count..count + 4);
        count += 4;
        app.die_at(point);
        let start = Instant::now();
        app.start();
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
        check_all_done(&app, &keys, count);
        app.kill();
    }
    app.start();
    check_all_done(&app, &keys, count);
    assert_eq!(keys.counter("epoch"), 2 * u32::try_from(points.len()).unwrap() + 1);
}

/// Between the host and the server is a proxy that resets connections, also in the middle of a
/// write, and refuses them for a while.
#[test]
fn a_server_that_goes_away_and_comes_back_loses_nothing() {
    let keys = Keys::new();
    let proxy = Proxy::tcp(SocketAddr::from(([127, 0, 0, 1], keys.port)));
    let mut app = keys.app_at(&format!("redis://{}", proxy.address()));
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
    check_all_done(&app, &keys, count);
    wait_until("the host to be ready", || app.try_get("/readyz").is_ok_and(|(status, _)| status == 200));
}

/// The server is stopped as for maintenance, and killed, while the host works, and starts again.
#[test]
fn a_server_that_stops_or_dies_and_starts_again_loses_nothing() {
    let mut server = Server::start();
    let keys = Keys::on(&server);
    let mut app = keys.app();
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
    check_all_done(&app, &keys, count);
    assert_eq!(keys.counter("epoch"), 1, "the host went on by itself");
}

/// A host that stands still in the middle of its work is replaced within seconds. When it goes on,
/// it writes nothing.
#[test]
fn a_host_that_stood_still_is_replaced_and_writes_nothing_when_it_goes_on() {
    let keys = Keys::new();
    let mut old = keys.app();
    old.start();
    drop_files(&old, 0..40);
    wait_until("the host to work", || names(&old.path("out")).len() > 2);
    old.signal(Signal::STOP);
    let start = Instant::now();
    // The other machine has folders of its own, so it completes none of the runs that it finds.
    let others = manifest(&keys.url(), &format!("prefix = \"{}\"", keys.prefix));
    let others = others.replace("max_concurrent_runs = 2", "max_concurrent_runs = 10");
    let mut new = TestApp::new(&others).with_guest("worker");
    new.start();
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    drop_files(&old, 900..904);
    old.signal(Signal::CONT);
    let status = wait_for("the old host to end", || old.has_ended());
    let said = old.said();
    assert_eq!(status.code(), Some(1), "{said}");
    let expected = format!("another host has taken over {}: process {}", keys.place(&keys.url()), new.pid());
    assert!(said.contains(&expected), "{said}");
    drop_files(&new, 100..102);
    wait_until("the new host to work", || {
        let out = names(&new.path("out"));
        out.contains("100.txt") && out.contains("101.txt")
    });
    assert_eq!(keys.count("path:900.txt"), 0, "the old host recorded nothing more");
    assert_eq!(keys.ask::<u32>("XLEN", "events", &[]), keys.counter("event"));
}

#[test]
fn a_store_is_reached_by_tls_if_the_certificate_is_trusted() {
    let keys = Keys::new();
    let url = format!("rediss://127.0.0.1:{}", server().tls_port);
    let mut app = keys.app_at(&url);
    let refused = app.cli(&["run", "PATH", "--once", "--listen", "127.0.0.1:0"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.starts_with(&format!("error: the metadata store failed to connect to {url}: ")), "{said}");
    assert!(said.contains("certificate"), "{said}");
    app.trust(&server().certificate);
    app.start();
    drop_files(&app, 0..2);
    check_all_done(&app, &keys, 2);
}

/// A host that cannot reach the server for so long that another one takes over writes nothing once
/// it can, and ends.
#[test]
fn a_host_that_was_cut_off_ends_when_another_one_has_taken_over() {
    let keys = Keys::new();
    let proxy = Proxy::tcp(SocketAddr::from(([127, 0, 0, 1], keys.port)));
    let url = format!("redis://{}", proxy.address());
    let mut old = keys.app_at(&url);
    old.start();
    drop_files(&old, 0..2);
    check_all_done(&old, &keys, 2);
    proxy.refuse();
    let mut new = keys.app();
    new.start();
    proxy.accept();
    let status = wait_for("the old host to end", || old.has_ended());
    assert_eq!(status.code(), Some(1), "{}", old.said());
    let said = old.said();
    let expected = format!("another host has taken over {}: process {} on ", keys.place(&url), new.pid());
    assert!(said.contains(&expected), "{said}");
    drop_files(&new, 2..4);
    wait_until("the new host to work", || names(&new.path("out")).len() == 2);
}

#[test]
fn a_server_that_is_away_or_may_lose_records_is_named_and_no_password_is_shown() {
    let mut app =
        TestApp::new(&manifest("redis://anna@127.0.0.1:9/1", "password = \"env:LAB_PASSWORD\"")).with_guest("worker");
    app.set_env("LAB_PASSWORD", "s3cr3t-w0rd");
    for args in [&["run", "PATH", "--once", "--listen", "127.0.0.1:0"][..], &["runs", "list", "PATH"]] {
        let output = app.cli(args);
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = "error: the metadata store failed to connect to redis://anna@127.0.0.1:9/1: Connection refused (os error \
                        111)\n";
        assert_eq!(said, expected, "{args:?}");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
    }
    app.unset_env("LAB_PASSWORD");
    let output = app.cli(&["runs", "list", "PATH"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("LAB_PASSWORD"), "{said}");

    let server = Server::start();
    let keys = Keys::on(&server);
    let client = redis::Client::open(keys.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    redis::cmd("CONFIG").arg(&["SET", "appendfsync", "everysec"]).exec(&mut connection).unwrap();
    let output = keys.app().cli(&["run", "PATH", "--once", "--listen", "127.0.0.1:0"]);
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = format!(
        "error: {} cannot be the metadata store, because the server may lose what it has confirmed: `appendfsync` is \
         `everysec`, and must be `always`; set this in redis.conf, or by `redis-cli CONFIG SET` and then `CONFIG REWRITE`\n",
        keys.place(&keys.url())
    );
    assert_eq!(said, expected);
}

/// A server whose machine loses its power: of each file, only what was synced is left.
struct Cut {
    server: Server,
    library: TempDir,
}

impl Cut {
    fn new() -> Self {
        let library = library(include_str!("redis_store/synced.c"));
        let [code, log] = ["library.so", "log"].map(|name| library.path().join(name).to_str().unwrap().to_owned());
        let env = [("ANACOSTIA_TEST_REDIS_PRELOAD", code.as_str()), ("SYNCED", log.as_str())];
        Self { server: Server::start_with(&env), library }
    }

    /// Cuts the power, and starts the server again.
    fn cut(&mut self) {
        self.server.tell("kill");
        let log = fs::read_to_string(self.library.path().join("log")).unwrap();
        let synced: BTreeMap<&str, u64> = log
            .lines()
            .map(|line| line.split_once(' ').unwrap())
            .map(|(size, path)| (path, size.parse().unwrap()))
            .collect();
        let (file, size) = synced.iter().find(|(path, _)| path.ends_with(".incr.aof")).unwrap();
        fs::OpenOptions::new().write(true).open(file).unwrap().set_len(*size).unwrap();
        self.server.tell("start");
    }
}

#[test]
fn a_power_cut_of_the_server_loses_nothing_that_was_confirmed() {
    let mut cut = Cut::new();
    let keys = Keys::on(&cut.server);
    let mut app = keys.app();
    app.start();
    for round in 0..3 {
        let before = names(&app.path("out")).len();
        drop_files(&app, round * 8..round * 8 + 8);
        wait_until("the host to work", || names(&app.path("out")).len() > before + 3);
        cut.cut();
    }
    check_all_done(&app, &keys, 24);
    assert_eq!(keys.counter("epoch"), 1, "the host went on by itself");

    // A server that does not sync loses records in the same test, and the host notices it.
    let client = redis::Client::open(keys.url()).unwrap();
    redis::cmd("CONFIG").arg(&["SET", "appendfsync", "no"]).exec(&mut client.get_connection().unwrap()).unwrap();
    drop_files(&app, 24..32);
    check_all_done(&app, &keys, 32);
    cut.cut();
    drop_files(&app, 32..33);
    assert_eq!(wait_for("the host to end", || app.has_ended()).code(), Some(1));
    app.wait_to_say("has less on record than it had confirmed");
}
