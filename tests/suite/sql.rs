//! Databases as resources: the real binary over files of SQLite and a real PostgreSQL server.

mod actions;
mod crash;
mod late;
mod swapped;
mod trouble;
mod values;
mod watching;

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::postgres::Database;
use crate::support::wait::{DEADLINE, wait_for};

/// A pipeline that watches the table `readings` of its own database, and copies what comes to the
/// folder `out`.
struct Lab {
    app: TestApp,
    data: Data,
}

/// A database that a test shares with the host.
pub(crate) enum Data {
    Sqlite(rusqlite::Connection),
    Postgres(Database),
}

impl Data {
    #[track_caller]
    fn execute(&self, sql: &str) {
        match self {
            Self::Sqlite(data) => data.execute_batch(sql).unwrap_or_else(|why| panic!("{sql}: {why}")),
            Self::Postgres(data) => data.execute(sql),
        }
    }
}

/// A table with a column that grows.
const TABLE: &str = "create table readings (id integer primary key, value text)";

/// Returns a manifest. `keys` are lines of the resource.
fn manifest(url: &str, keys: &str) -> String {
    format!(
        r#"
manifest_version = 1
[pipeline]
name = "lab"
[resources.readings]
kind = "sql"
url = "{url}"
watch = true
{keys}
[resources.out]
kind = "folder"
path = "out"
[actions.copy]
component = "worker.wasm"
after = ["readings"]
reads = ["readings"]
writes = ["out"]
params = {{ steps = [{{ do = "copy", from = "readings", to = "out" }}] }}
"#
    )
}

/// The usual lines of the resource: found soon, also without a notification.
const KEYS: &str = "table = \"readings\"\nhigh_water = \"id\"\ninterval = \"50ms\"";

impl Lab {
    fn sqlite(keys: &str) -> Self {
        let app = TestApp::new(&manifest("sqlite:lab.db", keys)).with_guest("worker");
        let data = rusqlite::Connection::open(app.path("lab.db")).unwrap();
        data.pragma_update(None, "journal_mode", "wal").unwrap();
        data.busy_timeout(DEADLINE).unwrap();
        Self { app, data: Data::Sqlite(data) }
    }

    fn postgres(keys: &str) -> Self {
        let data = Database::new();
        let app = TestApp::new(&manifest(&data.url(), keys)).with_guest("worker");
        Self { app, data: Data::Postgres(data) }
    }

    /// Both, with these lines of the resource, and with the table [`TABLE`].
    fn both(keys: &str) -> [Self; 2] {
        let labs = [Self::sqlite(keys), Self::postgres(keys)];
        for lab in &labs {
            lab.execute(TABLE);
        }
        labs
    }

    #[track_caller]
    fn execute(&self, sql: &str) {
        self.data.execute(sql);
    }

    /// Adds rows with these ids, in one transaction.
    #[track_caller]
    fn add(&self, ids: impl IntoIterator<Item = i64>) {
        let values: Vec<String> = ids.into_iter().map(|id| format!("({id}, 'value {id}')")).collect();
        self.execute(&format!("insert into readings (id, value) values {}", values.join(", ")));
    }

    /// Returns the lines that the pipeline has copied, in the order of the batches.
    fn lines(&self) -> Vec<Value> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(self.app.path("out")).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                files.insert(path.file_name().unwrap().to_owned(), fs::read_to_string(path).unwrap());
            }
        }
        let lines = files.values().flat_map(|text| text.lines());
        lines.map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{line}: {why}"))).collect()
    }

    /// Returns the `id` of each copied row, sorted.
    fn ids(&self) -> Vec<i64> {
        let mut ids: Vec<i64> = self.lines().iter().map(|line| line["id"].as_i64().unwrap()).collect();
        ids.sort_unstable();
        ids
    }

    /// Waits until so many rows are copied and every run has ended, and returns the ids.
    #[track_caller]
    fn wait_for_rows(&self, count: usize) -> Vec<i64> {
        let found = wait_for(&format!("{count} rows"), || {
            let ids = self.ids();
            (ids.len() >= count).then_some(ids)
        });
        self.app.wait_for_runs(1);
        found
    }

    /// Waits until the rows with these ids, and no others, are copied.
    #[track_caller]
    fn wait_for_exactly(&self, expected: impl IntoIterator<Item = i64>) {
        let expected: Vec<i64> = expected.into_iter().collect();
        assert_eq!(self.wait_for_rows(expected.len()), expected);
    }

    /// Waits until the resource shows something that waits, and returns the first of it.
    #[track_caller]
    fn wait_for_waiting(&self) -> Value {
        wait_for("rows to wait", || {
            let item = self.app.get("/api/v1/nodes/readings")["resource"]["waiting"]["items"][0].clone();
            item.is_object().then_some(item)
        })
    }

    /// Waits until the host is not ready for a reason that contains this text, and returns it.
    #[track_caller]
    fn wait_for_trouble(&self, text: &str) -> String {
        wait_for(text, || {
            let (_, body) = self.app.try_get("/readyz").ok()?;
            let reasons = body["reasons"].as_array()?.iter().filter_map(Value::as_str);
            reasons.filter(|reason| reason.contains(text)).map(str::to_owned).next()
        })
    }
}
