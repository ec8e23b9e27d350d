//! The same name for other rows: all of them are delivered.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::{Data, KEYS, Lab, manifest};
use crate::support::wait::{wait_for, wait_until};

const WARNING: &str = "the database, table, query or `high_water` of readings changed, or its kind did: all its rows \
                       are delivered, from the first on";

impl Lab {
    /// Starts the host again, with other lines of the resource.
    fn restart_with(&mut self, keys: &str) {
        let url = match &self.data {
            Data::Sqlite(_) => "sqlite:lab.db".to_owned(),
            Data::Postgres(data) => data.url(),
        };
        self.app.kill();
        fs::write(self.app.path("anacostia.toml"), manifest(&url, keys)).unwrap();
        self.app.start();
    }
}

#[test]
fn another_table_under_the_same_name_is_read_from_the_first_row_on() {
    for mut lab in Lab::both(KEYS) {
        lab.execute("create table others (id integer primary key, value text)");
        lab.execute("insert into others values (1, 'other'), (2, 'other'), (6, 'other')");
        lab.add(1..=5);
        lab.app.start();
        lab.wait_for_exactly(1..=5);
        let others = KEYS.replace("\"readings\"", "\"others\"");
        lab.restart_with(&others);
        lab.wait_for_exactly([1, 1, 2, 2, 3, 4, 5, 6]);
        wait_until("the warning", || lab.app.said().contains(WARNING));
        // The cursor is that of the other table now.
        lab.execute("insert into others values (7, 'other')");
        lab.restart_with(&others);
        lab.wait_for_exactly([1, 1, 2, 2, 3, 4, 5, 6, 7]);
        assert_eq!(lab.app.said().matches(WARNING).count(), 1, "{}", lab.app.said());
        let artifacts = lab.app.get_all("/api/v1/artifacts?resource=readings");
        let mut paths: Vec<&str> = artifacts.iter().map(|it| it["path"].as_str().unwrap()).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["000000000001_1..5.jsonl", "000000000002_1..6.jsonl", "000000000003_7..7.jsonl"]);
    }
}

/// A resource of the kind `http` that becomes a database.
#[test]
fn a_resource_may_become_a_database_and_the_numbers_of_its_batches_go_on() {
    let mut lab = Lab::sqlite(KEYS);
    lab.execute(super::TABLE);
    lab.add(1..=2);
    lab.app.start();
    lab.wait_for_exactly([1, 2]);
    lab.app.kill();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let keys = format!("url = \"http://{}/sample.txt\"\ninterval = \"1h\"\n", server.local_addr().unwrap());
    let of_http = manifest("", &keys).replace("kind = \"sql\"\nurl = \"\"", "kind = \"http\"");
    fs::write(lab.app.path("anacostia.toml"), of_http).unwrap();
    lab.app.start();
    let (mut stream, _) = server.accept().unwrap();
    assert!(stream.read(&mut [0; 4_096]).unwrap() > 0);
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nx\n").unwrap();
    drop(stream);
    wait_until("the polled file", || fs::read_dir(lab.app.path("out")).unwrap().count() > 1);
    lab.app.wait_for_runs(2);
    lab.add(3..=3);
    lab.restart_with(KEYS);
    lab.wait_for_exactly([1, 1, 2, 2, 3]);
    wait_until("the warning", || lab.app.said().contains(WARNING));
    wait_for("the batch", || lab.app.path("out/000000000002_1..3.jsonl").exists().then_some(()));
}
