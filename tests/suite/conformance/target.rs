//! The kinds of resources that actions write to, as the programs see them that use what is there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::http_resource::origin::Origin;
use crate::sql::Data;
use crate::support::app::TestApp;
use crate::support::postgres::Database;
use crate::support::proxy::{Fault, Proxy};
use crate::support::s3::{KEY_ID, SECRET, Service, TestBucket};

/// What a kind promises about outputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Promises {
    /// Outputs are files, each on record as an artifact. Otherwise they are the statements of an
    /// attempt, which are one artifact together.
    pub(super) files: bool,
    /// What is there is known, so that nothing is replaced without `overwrite`.
    pub(super) guards: bool,
    /// What is written can be watched too.
    pub(super) watches: bool,
}

/// A place where outputs are published.
pub(super) trait Target {
    fn promises(&self) -> Promises;

    /// Returns the keys of the resource, for the manifest.
    fn keys(&self) -> String;

    /// Returns the further keys with which it is watched.
    fn watch(&self) -> &'static str {
        "watch = true"
    }

    /// Is called before the first host.
    fn prepare(&mut self, _: &mut TestApp) {}

    /// Returns the steps that write two outputs for each input: `x-NAME` with its content and `!`,
    /// `y-NAME` with its content and `?`.
    fn steps(&self) -> String {
        let step = |prefix, append| {
            format!(r#"{{ do = "copy", from = "in", to = "out", prefix = "{prefix}", append = "{append}" }}"#)
        };
        format!("{}, {}", step("x-", '!'), step("y-", '?'))
    }

    /// Puts something there as another program does. Only for kinds that know what is there.
    fn put(&mut self, path: &str, bytes: &[u8]);

    /// Returns all that is there, by path. A request that is sent again counts once if it has the
    /// key of the first one, because then the server can tell.
    fn published(&self) -> BTreeMap<String, Vec<Vec<u8>>>;

    fn proxy(&self) -> Option<&Proxy> {
        None
    }

    /// Returns faults of the network, each with the requests that it applies to.
    fn faults(&self) -> Vec<(&'static str, Fault)> {
        Vec::new()
    }

    /// Returns the fault points of this kind while it publishes.
    fn points(&self) -> &'static [&'static str];
}

struct Folder {
    path: PathBuf,
}

pub(super) fn folder() -> Box<dyn Target> {
    Box::new(Folder { path: PathBuf::new() })
}

impl Target for Folder {
    fn promises(&self) -> Promises {
        Promises { files: true, guards: true, watches: true }
    }

    fn keys(&self) -> String {
        "kind = \"folder\"\npath = \"out\"".to_owned()
    }

    fn prepare(&mut self, app: &mut TestApp) {
        self.path = app.path("out");
        std::fs::create_dir(&self.path).unwrap();
    }

    fn put(&mut self, path: &str, bytes: &[u8]) {
        std::fs::write(self.path.join(path), bytes).unwrap();
    }

    fn published(&self) -> BTreeMap<String, Vec<Vec<u8>>> {
        let files = std::fs::read_dir(&self.path).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.is_file());
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        files.map(|path| (name(&path), vec![std::fs::read(&path).unwrap()])).collect()
    }

    fn points(&self) -> &'static [&'static str] {
        &["publish.before_rename", "publish.renamed", "publish.done"]
    }
}

struct Bucket {
    runtime: Runtime,
    objects: TestBucket,
    proxy: Proxy,
}

fn bucket(service: Service) -> Box<dyn Target> {
    let runtime = Runtime::new().unwrap();
    let objects = runtime.block_on(TestBucket::new(service));
    let proxy = Proxy::http(objects.endpoint.strip_prefix("http://").unwrap().parse().unwrap());
    Box::new(Bucket { runtime, objects, proxy })
}

pub(super) fn seaweedfs() -> Box<dyn Target> {
    bucket(Service::SeaweedFs)
}

pub(super) fn moto() -> Box<dyn Target> {
    bucket(Service::Moto)
}

impl Target for Bucket {
    fn promises(&self) -> Promises {
        Promises { files: true, guards: true, watches: true }
    }

    fn keys(&self) -> String {
        self.objects.keys(&self.proxy.url())
    }

    fn prepare(&mut self, app: &mut TestApp) {
        app.set_env("S3_KEY_ID", KEY_ID);
        app.set_env("S3_SECRET_KEY", SECRET);
    }

    fn put(&mut self, path: &str, bytes: &[u8]) {
        self.runtime.block_on(self.objects.put(path, bytes));
    }

    fn published(&self) -> BTreeMap<String, Vec<Vec<u8>>> {
        self.runtime.block_on(async {
            let mut found = BTreeMap::new();
            for key in self.objects.list().await {
                let bytes = self.objects.get(&key).await.unwrap();
                found.insert(key, vec![bytes]);
            }
            found
        })
    }

    fn proxy(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }

    fn faults(&self) -> Vec<(&'static str, Fault)> {
        vec![
            ("PUT /", Fault::status(500)),
            ("PUT /", Fault::retry_after(503, 1)),
            ("PUT /", Fault::ResetRequestAfter(3)),
            ("PUT /", Fault::Slow(1, Duration::from_millis(2))),
            ("PUT /", Fault::LoseAnswer),
            ("HEAD /", Fault::status(500)),
            ("HEAD /", Fault::LoseAnswer),
        ]
    }

    fn points(&self) -> &'static [&'static str] {
        &["s3.before_put", "s3.put", "s3.noted"]
    }
}

/// A server that takes what is sent to it.
struct Server {
    origin: Origin,
    proxy: Proxy,
}

pub(super) fn http_sent() -> Box<dyn Target> {
    let origin = Origin::start();
    let proxy = Proxy::http(origin.address);
    Box::new(Server { origin, proxy })
}

impl Target for Server {
    fn promises(&self) -> Promises {
        Promises { files: true, guards: false, watches: false }
    }

    fn keys(&self) -> String {
        format!("kind = \"http\"\nurl = \"{}/models/\"\nmethod = \"PUT\"", self.proxy.url())
    }

    fn put(&mut self, _: &str, _: &[u8]) {
        panic!("only the server knows what is there");
    }

    /// A request that repeats another has its key, and the same body.
    fn published(&self) -> BTreeMap<String, Vec<Vec<u8>>> {
        let mut by_key = BTreeMap::new();
        for request in self.origin.brought() {
            let length = request.headers.get("content-length").and_then(|length| length.parse().ok());
            assert_eq!(length, Some(request.body.len()), "the server has taken part of a body");
            let key = request.headers["idempotency-key"].clone();
            let what = (request.headers["anacostia-path"].clone(), request.body);
            assert_eq!(by_key.entry(key).or_insert_with(|| what.clone()), &what, "another output with the same key");
        }
        let mut found: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for (path, body) in by_key.into_values() {
            found.entry(path).or_default().push(body);
        }
        found
    }

    fn proxy(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }

    fn faults(&self) -> Vec<(&'static str, Fault)> {
        vec![
            ("PUT /", Fault::status(500)),
            ("PUT /", Fault::retry_after(503, 1)),
            ("PUT /", Fault::ResetRequestAfter(3)),
            ("PUT /", Fault::Slow(1, Duration::from_millis(2))),
            ("PUT /", Fault::LoseAnswer),
        ]
    }

    fn points(&self) -> &'static [&'static str] {
        &["http.before_send", "http.sent", "http.marked"]
    }
}

/// A table that actions insert into.
struct Table {
    data: Option<Data>,
    proxy: Option<Proxy>,
}

/// Without a key, so that a row that is inserted twice is there twice.
const TABLE: &str = "create table outputs (path text not null, content text not null)";

pub(super) fn sqlite() -> Box<dyn Target> {
    Box::new(Table { data: None, proxy: None })
}

pub(super) fn postgres() -> Box<dyn Target> {
    let data = Database::new();
    data.execute(TABLE);
    let proxy = Proxy::postgres(([127, 0, 0, 1], Database::port()).into());
    Box::new(Table { data: Some(Data::Postgres(data)), proxy: Some(proxy) })
}

impl Target for Table {
    fn promises(&self) -> Promises {
        Promises { files: false, guards: false, watches: false }
    }

    fn keys(&self) -> String {
        let url = match &self.data {
            Some(Data::Postgres(data)) => data.url_by_port(self.proxy.as_ref().unwrap().address().port()),
            _ => "sqlite:out.db".to_owned(),
        };
        format!("kind = \"sql\"\nurl = \"{url}\"")
    }

    fn watch(&self) -> &'static str {
        "watch = true\ntable = \"outputs\"\nhigh_water = \"path\"\nkey = [\"path\"]"
    }

    fn prepare(&mut self, app: &mut TestApp) {
        if self.data.is_none() {
            let data = rusqlite::Connection::open(app.path("out.db")).unwrap();
            data.pragma_update(None, "journal_mode", "wal").unwrap();
            data.execute_batch(TABLE).unwrap();
            self.data = Some(Data::Sqlite(data));
        }
    }

    fn steps(&self) -> String {
        let mark = if matches!(self.data, Some(Data::Postgres(_))) { '$' } else { '?' };
        let step = |prefix, append| {
            format!(
                r#"{{ do = "execute", to = "out", inputs = "in",
                sql = "insert into outputs values ('{prefix}' || {mark}1, {mark}2 || '{append}')" }}"#
            )
            .replace("\n                ", " ")
        };
        format!("{}, {}", step("x-", '!'), step("y-", '?'))
    }

    fn put(&mut self, _: &str, _: &[u8]) {
        panic!("statements have no path");
    }

    fn published(&self) -> BTreeMap<String, Vec<Vec<u8>>> {
        let query = "select path, content from outputs";
        let rows: Vec<(String, String)> = match self.data.as_ref().unwrap() {
            Data::Sqlite(data) => {
                let mut rows = data.prepare(query).unwrap();
                let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
                rows.map(Result::unwrap).collect()
            }
            Data::Postgres(data) => data.query(query, &[]).iter().map(|row| (row.get(0), row.get(1))).collect(),
        };
        let mut found: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for (path, content) in rows {
            found.entry(path).or_default().push(content.into_bytes());
        }
        found
    }

    fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    fn faults(&self) -> Vec<(&'static str, Fault)> {
        if self.proxy.is_none() {
            return Vec::new();
        }
        vec![
            ("DataRow", Fault::ResetAfter(7)),
            ("CommandComplete INSERT", Fault::Slow(1, Duration::from_millis(2))),
            ("CommandComplete INSERT", Fault::ResetAfter(7)),
            ("CommandComplete INSERT", Fault::LoseAnswer),
            // The work is done, and the host does not learn of it.
            ("CommandComplete COMMIT", Fault::LoseAnswer),
            ("CommandComplete COMMIT", Fault::TruncateAfter(7)),
            ("CommandComplete COMMIT", Fault::Slow(1, Duration::from_millis(2))),
        ]
    }

    fn points(&self) -> &'static [&'static str] {
        &["sql.prepared", "sql.before_commit", "sql.committed", "sql.published"]
    }
}
