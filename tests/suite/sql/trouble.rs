//! Databases that do not answer, or not as expected: the reason is shown, and nothing is lost.

use std::fs;
use std::net::SocketAddr;

use super::{Data, KEYS, Lab, manifest};
use crate::support::app::TestApp;
use crate::support::postgres::Database;
use crate::support::proxy::Proxy;
use crate::support::tls::{UNTRUSTED, certificate};
use crate::support::wait::wait_until;

#[test]
fn a_database_that_is_not_there_yet_is_waited_for() {
    let mut lab = Lab::sqlite(KEYS);
    fs::remove_file(lab.app.path("lab.db")).unwrap();
    lab.app.start();
    let place = lab.app.path("lab.db");
    let why = lab.wait_for_trouble("readings cannot be reached");
    assert_eq!(why, format!("readings cannot be reached: there is no database {}", place.display()));
    let data = rusqlite::Connection::open(&place).unwrap();
    assert_eq!(lab.wait_for_trouble("no such table"), "readings cannot be reached: no such table: readings");
    data.execute_batch(&format!("{}; insert into readings values (1, 'a')", super::TABLE)).unwrap();
    lab.wait_for_exactly([1]);
}

#[test]
fn another_file_in_the_place_of_the_database_is_opened() {
    let mut lab = Lab::sqlite(KEYS);
    // A write-ahead log beside the file would not fit to the other one.
    lab.execute("pragma journal_mode = delete");
    lab.execute(super::TABLE);
    lab.add(1..=1);
    lab.app.start();
    lab.wait_for_exactly([1]);
    let other = rusqlite::Connection::open(lab.app.path("other.db")).unwrap();
    other.execute_batch(&format!("{}; insert into readings values (2, 'b')", super::TABLE)).unwrap();
    drop(other);
    fs::rename(lab.app.path("other.db"), lab.app.path("lab.db")).unwrap();
    lab.wait_for_exactly([1, 2]);
}

#[test]
fn what_is_wrong_with_the_rows_is_said_in_the_words_of_the_database() {
    let mut lab = Lab::postgres(KEYS);
    lab.app.start();
    let why = lab.wait_for_trouble("does not exist");
    assert_eq!(why, "readings cannot be reached: relation \"readings\" does not exist");
    lab.execute("create table readings (number int)");
    let why = lab.wait_for_trouble("high_water");
    assert_eq!(why, "readings cannot be reached: the rows have no column `id`, which `high_water` names");
    lab.execute("drop table readings");
    lab.execute(super::TABLE);
    lab.add(1..=1);
    lab.wait_for_exactly([1]);

    let mut lab = Lab::sqlite(&format!("{KEYS}\nkey = [\"nope\"]"));
    lab.execute(super::TABLE);
    lab.add(1..=1);
    lab.app.start();
    let why = lab.wait_for_trouble("key");
    assert_eq!(why, "readings cannot be reached: the rows have no column `nope`, which `key` names");
}

/// A function that a query calls may try to write.
#[test]
fn the_watch_of_a_database_writes_nothing() {
    let keys = "query = \"select take() as id\"\nhigh_water = \"id\"\ninterval = \"50ms\"";
    let mut lab = Lab::postgres(keys);
    lab.execute(
        "create table taken (id int);
         create function take() returns int language sql as 'insert into taken values (1) returning id'",
    );
    lab.app.start();
    let why = lab.wait_for_trouble("read-only");
    assert_eq!(why, "readings cannot be reached: cannot execute INSERT in a read-only transaction");
    let Data::Postgres(data) = &lab.data else { unreachable!() };
    assert!(data.query("select 1 from taken", &[]).is_empty());
}

#[test]
fn a_server_that_closes_connections_is_connected_to_again() {
    let mut lab = Lab::postgres("table = \"readings\"\nhigh_water = \"id\"\ninterval = \"1h\"\nnotify = \"new\"");
    lab.execute(super::TABLE);
    lab.app.start();
    lab.add(1..=1);
    lab.execute("notify new");
    lab.wait_for_exactly([1]);
    let Data::Postgres(data) = &lab.data else { unreachable!() };
    data.disconnect_others();
    wait_until("the host to notice", || lab.app.said().contains("readings cannot be reached: "));
    lab.add(2..=2);
    lab.wait_for_exactly([1, 2]);
    wait_until("the host to be ready", || lab.app.try_get("/readyz").is_ok_and(|(status, _)| status == 200));
    lab.add(3..=3);
    lab.execute("notify new");
    lab.wait_for_exactly([1, 2, 3]);
}

#[test]
fn a_column_that_begins_again_is_warned_of() {
    for mut lab in Lab::both(&format!("{KEYS}\noverlap = \"0s\"")) {
        lab.add(100..=100);
        lab.app.start();
        lab.wait_for_exactly([100]);
        lab.add(101..=101);
        lab.wait_for_exactly([100, 101]);
        lab.execute("delete from readings");
        lab.add(1..=1);
        let waiting = lab.wait_for_waiting();
        assert_eq!(waiting["path"], "rows up to 1", "{waiting}");
        let reason = waiting["reason"].as_str().unwrap();
        assert!(reason.starts_with("not read, because `id` had already reached 10"), "{waiting}");
        assert!(reason.ends_with(": if its values started over, rename the resource"), "{waiting}");
        let warning = format!("rows of readings with `id` up to 1 are {reason}");
        wait_until("the warning", || lab.app.said().contains(&warning));
    }
}

#[test]
fn a_lock_of_the_table_is_waited_for_and_said() {
    let mut lab = Lab::postgres(KEYS);
    lab.execute(super::TABLE);
    lab.add(1..=1);
    let Data::Postgres(data) = &lab.data else { unreachable!() };
    let other = data.connect();
    other.execute("begin; lock table readings in access exclusive mode");
    lab.app.start();
    let why = lab.wait_for_trouble("lock");
    assert_eq!(why, "readings cannot be reached: canceling statement due to lock timeout");
    other.execute("commit");
    lab.wait_for_exactly([1]);
}

/// A password is in the host's environment, and nowhere else.
#[test]
fn the_password_is_shown_nowhere() {
    let keys = format!("{KEYS}\npassword = \"env:LAB_PASSWORD\"");
    let mut app = TestApp::new(&manifest("postgres://anna@127.0.0.1:9/lab", &keys)).with_guest("worker");
    app.set_env("LAB_PASSWORD", "s3cr3t-w0rd");
    app.start();
    wait_until("the host to try", || app.said().contains("readings cannot be reached: "));
    let node = app.get("/api/v1/nodes/readings");
    assert_eq!(node["resource"]["path"], "postgres://anna@127.0.0.1:9/lab", "{node:#}");
    for text in [app.said(), node.to_string(), app.get("/api/v1/pipeline").to_string()] {
        assert!(!text.contains("s3cr3t"), "{text}");
    }
    app.kill();
    let state = fs::read(app.path("state/metadata.db")).unwrap();
    assert!(!String::from_utf8_lossy(&state).contains("s3cr3t"));
}

/// Between the host and the server is a proxy that resets connections, also in the middle of rows.
#[test]
fn connections_that_break_lose_no_row_and_double_none() {
    let data = Database::new();
    let proxy = Proxy::tcp(SocketAddr::from(([127, 0, 0, 1], Database::port())));
    let keys = format!("{KEYS}\nnotify = \"new\"\nmax_rows = 400");
    let url = data.url_by_port(proxy.address().port());
    let mut lab = Lab { app: TestApp::new(&manifest(&url, &keys)).with_guest("worker"), data: Data::Postgres(data) };
    lab.execute(super::TABLE);
    proxy.refuse();
    lab.app.start();
    let why = lab.wait_for_trouble("readings cannot be reached");
    assert_eq!(why, "readings cannot be reached: error connecting to server: Connection refused (os error 111)");
    proxy.accept();
    let mut last = 0;
    for round in 0..20_i64 {
        lab.add(last + 1..=last + 500);
        last += 500;
        lab.execute("notify new");
        if round % 5 == 4 {
            proxy.refuse();
            lab.wait_for_trouble("readings cannot be reached");
            lab.add(last + 1..=last + 1);
            last += 1;
            proxy.accept();
        } else {
            proxy.reset_open();
        }
    }
    lab.wait_for_exactly(1..=last);
    wait_until("the host to be ready", || lab.app.try_get("/readyz").is_ok_and(|(status, _)| status == 200));
}

#[test]
fn with_tls_the_certificate_of_the_server_is_verified() {
    let data = Database::new();
    let url = format!("{}?sslmode=require", data.url());
    let mut lab = Lab { app: TestApp::new(&manifest(&url, KEYS)).with_guest("worker"), data: Data::Postgres(data) };
    lab.execute(super::TABLE);
    lab.add(1..=1);
    // Some other certificate.
    lab.app.trust(&certificate("127.0.0.1").1);
    lab.app.start();
    let why = lab.wait_for_trouble("readings cannot be reached");
    assert!(why.contains(&format!("error performing TLS handshake: {UNTRUSTED}")), "{why}");
    lab.app.kill();
    lab.app.trust(Database::certificate());
    lab.app.start();
    lab.wait_for_exactly([1]);
    let Data::Postgres(data) = &lab.data else { unreachable!() };
    let encrypted = "select 1 from pg_stat_ssl s join pg_stat_activity a using (pid) \
                     where a.application_name = 'anacostia' and a.datname = current_database() and s.ssl";
    assert_eq!(data.query(encrypted, &[]).len(), 1);
}
