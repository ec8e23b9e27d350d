//! The kinds of resources that are watched, as the programs use them that put something there.
//!
//! A source has items, numbered from 1. Each becomes an artifact: a file, an object, a page of a
//! list, an upload, a batch of one row.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::http_resource::origin::{Document, Origin};
use crate::support::app::TestApp;
use crate::support::postgres::Database;
use crate::support::proxy::{Fault, Proxy};
use crate::support::s3::{KEY_ID, SECRET, Service, TestBucket};
use crate::support::wait::DEADLINE;

/// What a kind promises about what arrives. `docs/RESOURCES.md` says it in words.
#[expect(clippy::struct_excessive_bools, reason = "each is one promise")]
pub(super) struct Promises {
    /// Other content of an item is the next version at its path.
    pub(super) replaces: bool,
    /// The end of an item is recorded.
    pub(super) removes: bool,
    /// A version can be read after it was replaced.
    pub(super) keeps: bool,
    /// Something can arrive while no host is there.
    pub(super) arrives_without_host: bool,
    /// Actions can write to a resource that is watched.
    pub(super) writes: bool,
}

/// A place where items arrive.
pub(super) trait Source {
    fn promises(&self) -> Promises;

    /// Returns the keys of the resource, for the manifest.
    fn keys(&self) -> String;

    /// Is called before the first host.
    fn prepare(&mut self, _: &mut TestApp) {}

    /// Is called when a host has started.
    fn connect(&mut self, _: &TestApp) {}

    /// Puts items there, new ones or other content of old ones, all at once if the kind can.
    /// Repeats what fails.
    fn put(&mut self, app: &TestApp, items: &[(u32, String)]);

    /// Puts items there, once; the host may die of it.
    fn try_put(&mut self, app: &TestApp, items: &[(u32, String)]) {
        self.put(app, items);
    }

    /// Removes the last item.
    fn remove(&mut self, app: &TestApp, item: u32);

    /// Returns the number of the item at a path.
    fn item_at(&self, path: &str) -> u32 {
        digits(path)
    }

    /// Returns the content of an artifact with this item.
    fn bytes(&self, _item: u32, text: &str) -> Vec<u8> {
        text.into()
    }

    /// Makes the place unreachable. Returns whether the kind has such a place.
    fn take_away(&mut self) -> bool {
        self.proxy().is_some_and(|proxy| {
            proxy.refuse();
            true
        })
    }

    fn bring_back(&mut self) {
        self.proxy().unwrap().heal();
    }

    /// Says whether a host that starts makes the place if it is not there.
    fn is_made_at_start(&self) -> bool {
        false
    }

    /// Returns the proxy through which the service is used.
    fn proxy(&self) -> Option<&Proxy> {
        None
    }

    /// Returns faults of the network, each with the requests that it applies to.
    fn faults(&self) -> Vec<(&'static str, Fault)> {
        Vec::new()
    }

    /// Returns the fault points of this kind between an item and its record.
    fn points(&self) -> &'static [&'static str];
}

fn digits(text: &str) -> u32 {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no item is at `{text}`"))
}

fn name(item: u32) -> String {
    format!("item-{item:04}.txt")
}

struct Folder {
    path: PathBuf,
    away: PathBuf,
}

pub(super) fn folder() -> Box<dyn Source> {
    Box::new(Folder { path: PathBuf::new(), away: PathBuf::new() })
}

impl Source for Folder {
    fn promises(&self) -> Promises {
        Promises { replaces: true, removes: true, keeps: false, arrives_without_host: true, writes: true }
    }

    fn keys(&self) -> String {
        "kind = \"folder\"\npath = \"in\"".to_owned()
    }

    fn prepare(&mut self, app: &mut TestApp) {
        (self.path, self.away) = (app.path("in"), app.path("in-away"));
        std::fs::create_dir(&self.path).unwrap();
    }

    fn put(&mut self, _: &TestApp, items: &[(u32, String)]) {
        let folder = if self.path.exists() { &self.path } else { &self.away };
        for (item, text) in items {
            let draft = folder.with_extension("draft");
            std::fs::write(&draft, text).unwrap();
            std::fs::rename(draft, folder.join(name(*item))).unwrap();
        }
    }

    fn remove(&mut self, _: &TestApp, item: u32) {
        std::fs::remove_file(self.path.join(name(item))).unwrap();
    }

    fn take_away(&mut self) -> bool {
        std::fs::rename(&self.path, &self.away).unwrap();
        true
    }

    fn is_made_at_start(&self) -> bool {
        true
    }

    fn bring_back(&mut self) {
        std::fs::rename(&self.away, &self.path).unwrap();
    }

    fn points(&self) -> &'static [&'static str] {
        &["observe.hashed", "observe.told"]
    }
}

struct Bucket {
    runtime: Runtime,
    objects: TestBucket,
    proxy: Proxy,
}

fn bucket(service: Service) -> Box<dyn Source> {
    let runtime = Runtime::new().unwrap();
    let objects = runtime.block_on(TestBucket::new(service));
    let proxy = Proxy::http(objects.endpoint.strip_prefix("http://").unwrap().parse().unwrap());
    Box::new(Bucket { runtime, objects, proxy })
}

pub(super) fn seaweedfs() -> Box<dyn Source> {
    bucket(Service::SeaweedFs)
}

pub(super) fn moto() -> Box<dyn Source> {
    bucket(Service::Moto)
}

impl Source for Bucket {
    fn promises(&self) -> Promises {
        Promises { replaces: true, removes: true, keeps: false, arrives_without_host: true, writes: true }
    }

    fn keys(&self) -> String {
        format!("{}prefix = \"in\"\ninterval = \"100ms\"", self.objects.keys(&self.proxy.url()))
    }

    fn prepare(&mut self, app: &mut TestApp) {
        app.set_env("S3_KEY_ID", KEY_ID);
        app.set_env("S3_SECRET_KEY", SECRET);
    }

    fn put(&mut self, _: &TestApp, items: &[(u32, String)]) {
        use futures_util::StreamExt as _;
        let puts = items.iter().map(|(item, text)| {
            let (bucket, key) = (&self.objects, format!("in/{}", name(*item)));
            async move { bucket.put(&key, text.as_str()).await }
        });
        self.runtime.block_on(futures_util::stream::iter(puts).buffer_unordered(16).collect::<Vec<_>>());
    }

    fn remove(&mut self, _: &TestApp, item: u32) {
        self.runtime.block_on(self.objects.delete(&format!("in/{}", name(item))));
    }

    fn proxy(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }

    fn faults(&self) -> Vec<(&'static str, Fault)> {
        vec![
            ("list-type=2", Fault::status(500)),
            ("list-type=2", Fault::retry_after(503, 1)),
            ("list-type=2", Fault::TruncateAfter(300)),
            ("list-type=2", Fault::ResetAfter(300)),
            ("list-type=2", Fault::LoseAnswer),
            ("list-type=2", Fault::Slow(200, Duration::from_millis(5))),
            ("list-type=2", Fault::Repeat("list-type=2")),
            ("/in/", Fault::status(503)),
            ("/in/", Fault::TruncateAfter(5)),
            ("/in/", Fault::ResetAfter(5)),
            ("/in/", Fault::Slow(1, Duration::from_millis(2))),
        ]
    }

    fn points(&self) -> &'static [&'static str] {
        &["s3.told", "s3.listed"]
    }
}

/// A list whose pages are linked, each with one item.
struct Polled {
    origin: Origin,
    proxy: Proxy,
    items: BTreeMap<u32, String>,
}

pub(super) fn http_polled() -> Box<dyn Source> {
    let origin = Origin::start();
    let proxy = Proxy::http(origin.address);
    Box::new(Polled { origin, proxy, items: BTreeMap::new() })
}

impl Polled {
    /// Puts the pages, the last one first, so that no link leads to a page that is not there.
    fn show(&self) {
        for (item, text) in self.items.iter().rev() {
            let target = if *item == 1 { "/list.json".to_owned() } else { format!("/list.json?page={item}") };
            let is_last = !self.items.contains_key(&(item + 1));
            let link = format!("Link: </list.json?page={}>; rel=\"next\"", item + 1);
            let headers = if is_last { Vec::new() } else { vec![link] };
            let etag = Some(format!("\"{text}-{is_last}\""));
            self.origin.put(&target, Document { body: text.clone().into(), etag, modified: None, headers });
        }
    }
}

impl Source for Polled {
    fn promises(&self) -> Promises {
        Promises { replaces: true, removes: true, keeps: true, arrives_without_host: true, writes: false }
    }

    fn keys(&self) -> String {
        let url = self.proxy.url();
        format!("kind = \"http\"\nurl = \"{url}/list.json\"\ninterval = \"100ms\"\npaging = \"link\"")
    }

    fn put(&mut self, _: &TestApp, items: &[(u32, String)]) {
        self.items.extend(items.iter().cloned());
        self.show();
    }

    fn remove(&mut self, _: &TestApp, item: u32) {
        self.items.remove(&item);
        self.show();
    }

    fn proxy(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }

    fn faults(&self) -> Vec<(&'static str, Fault)> {
        vec![
            ("GET /list", Fault::status(500)),
            ("GET /list", Fault::retry_after(503, 1)),
            ("GET /list", Fault::TruncateAfter(3)),
            ("GET /list", Fault::ResetAfter(3)),
            ("GET /list", Fault::LoseAnswer),
            ("GET /list", Fault::Slow(1, Duration::from_millis(2))),
            // Each page after the first is answered with the first one.
            ("GET /list.json?page", Fault::Repeat("GET /list.json HTTP")),
        ]
    }

    fn points(&self) -> &'static [&'static str] {
        &["http.kept", "http.recorded"]
    }
}

/// Uploads to the host itself.
struct Pushed {
    proxy: Option<Proxy>,
    /// What the host is called; it does not answer to the name of the proxy.
    host: String,
}

pub(super) fn http_pushed() -> Box<dyn Source> {
    Box::new(Pushed { proxy: None, host: String::new() })
}

impl Pushed {
    fn request(&self, method: &str, item: u32, text: &str) -> Result<u16, ureq::Error> {
        let url = format!("{}/api/v1/resources/in/artifacts?path={}", self.proxy().unwrap().url(), name(item));
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
        let answer = match method {
            "POST" => agent.post(url).header("host", &self.host).send(text),
            _ => agent.delete(url).header("host", &self.host).call(),
        };
        Ok(answer?.status().as_u16())
    }
}

impl Source for Pushed {
    fn promises(&self) -> Promises {
        Promises { replaces: true, removes: false, keeps: true, arrives_without_host: false, writes: false }
    }

    fn keys(&self) -> String {
        "kind = \"http\"\npush = true".to_owned()
    }

    fn connect(&mut self, app: &TestApp) {
        self.host = app.url().strip_prefix("http://").unwrap().to_owned();
        self.proxy = Some(Proxy::http(self.host.parse().unwrap()));
    }

    /// Uploads again until the host says that it has the upload, as its clients must.
    fn put(&mut self, _: &TestApp, items: &[(u32, String)]) {
        for (item, text) in items {
            let end = Instant::now() + DEADLINE;
            while !matches!(self.request("POST", *item, text), Ok(200 | 201)) {
                assert!(Instant::now() < end, "item {item} is not taken");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    fn try_put(&mut self, app: &TestApp, items: &[(u32, String)]) {
        // The host answers before it takes uploads.
        let end = Instant::now() + DEADLINE;
        while app.try_get("/readyz").is_ok_and(|(status, _)| status != 200) {
            assert!(Instant::now() < end, "the host is not ready");
            std::thread::sleep(Duration::from_millis(5));
        }
        for (item, text) in items {
            let _ = self.request("POST", *item, text);
        }
    }

    fn remove(&mut self, _: &TestApp, item: u32) {
        let status = self.request("DELETE", item, "").unwrap();
        assert!(matches!(status, 404 | 405), "an upload is not taken back: {status}");
    }

    /// The place is the host itself.
    fn take_away(&mut self) -> bool {
        false
    }

    fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    fn faults(&self) -> Vec<(&'static str, Fault)> {
        vec![
            ("POST ", Fault::status(500)),
            ("POST ", Fault::retry_after(503, 1)),
            ("POST ", Fault::ResetRequestAfter(3)),
            ("POST ", Fault::SlowRequest(1, Duration::from_millis(20))),
            ("POST ", Fault::Slow(16, Duration::from_millis(5))),
            ("POST ", Fault::TruncateAfter(3)),
            ("POST ", Fault::ResetAfter(3)),
            ("POST ", Fault::LoseAnswer),
        ]
    }

    fn points(&self) -> &'static [&'static str] {
        &["http.uploaded", "http.upload_kept"]
    }
}

/// A table of which each row is an artifact.
struct Table {
    data: Data,
    proxy: Option<Proxy>,
}

enum Data {
    Sqlite { file: PathBuf, away: PathBuf },
    Postgres(Box<Database>),
}

const TABLE: &str = "create table readings (id integer primary key, value text)";

pub(super) fn sqlite() -> Box<dyn Source> {
    Box::new(Table { data: Data::Sqlite { file: PathBuf::new(), away: PathBuf::new() }, proxy: None })
}

pub(super) fn postgres() -> Box<dyn Source> {
    let data = Database::new();
    data.execute(TABLE);
    let proxy = Proxy::postgres(([127, 0, 0, 1], Database::port()).into());
    Box::new(Table { data: Data::Postgres(Box::new(data)), proxy: Some(proxy) })
}

impl Table {
    fn execute(&self, sql: &str) {
        match &self.data {
            Data::Sqlite { file, away } => {
                let file = if away.exists() { away } else { file };
                let data = rusqlite::Connection::open(file).unwrap();
                data.busy_timeout(DEADLINE).unwrap();
                data.execute_batch(sql).unwrap_or_else(|why| panic!("{sql}: {why}"));
            }
            Data::Postgres(data) => data.execute(sql),
        }
    }
}

impl Source for Table {
    fn promises(&self) -> Promises {
        Promises { replaces: false, removes: false, keeps: true, arrives_without_host: true, writes: false }
    }

    fn keys(&self) -> String {
        let url = match &self.data {
            Data::Sqlite { .. } => "sqlite:in.db".to_owned(),
            Data::Postgres(data) => data.url_by_port(self.proxy.as_ref().unwrap().address().port()),
        };
        format!(
            "kind = \"sql\"\nurl = \"{url}\"\ntable = \"readings\"\nhigh_water = \"id\"\nkey = [\"id\"]\n\
             interval = \"50ms\"\nmax_rows = 1"
        )
    }

    fn prepare(&mut self, app: &mut TestApp) {
        if let Data::Sqlite { file, away } = &mut self.data {
            (*file, *away) = (app.path("in.db"), app.path("in-away.db"));
            self.execute(TABLE);
        }
    }

    fn put(&mut self, _: &TestApp, items: &[(u32, String)]) {
        let rows: Vec<String> = items.iter().map(|(item, text)| format!("({item}, '{text}')")).collect();
        self.execute(&format!(
            "insert into readings values {} on conflict (id) do update set value = excluded.value",
            rows.join(", ")
        ));
    }

    fn remove(&mut self, _: &TestApp, item: u32) {
        self.execute(&format!("delete from readings where id = {item}"));
    }

    /// The path of a batch ends with its first and its last value.
    fn item_at(&self, path: &str) -> u32 {
        digits(path.rsplit_once("..").unwrap().1)
    }

    fn bytes(&self, item: u32, text: &str) -> Vec<u8> {
        format!("{{\"id\":{item},\"value\":\"{text}\"}}\n").into()
    }

    fn take_away(&mut self) -> bool {
        match &self.data {
            Data::Sqlite { file, away } => std::fs::rename(file, away).unwrap(),
            Data::Postgres(_) => self.proxy.as_ref().unwrap().refuse(),
        }
        true
    }

    fn bring_back(&mut self) {
        match &self.data {
            Data::Sqlite { file, away } => std::fs::rename(away, file).unwrap(),
            Data::Postgres(_) => self.proxy.as_ref().unwrap().heal(),
        }
    }

    fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    fn faults(&self) -> Vec<(&'static str, Fault)> {
        if self.proxy.is_none() {
            return Vec::new();
        }
        vec![
            // The rows, which contain the text of an item.
            ("item", Fault::Slow(1, Duration::from_millis(1))),
            ("item", Fault::ResetAfter(20)),
            ("item", Fault::TruncateAfter(20)),
            ("item", Fault::LoseAnswer),
            // The end of the transaction that reads them.
            ("CommandComplete COMMIT", Fault::LoseAnswer),
        ]
    }

    fn points(&self) -> &'static [&'static str] {
        &["sql.read", "sql.kept", "sql.told"]
    }
}
