//! The records of a pipeline, as code that is not the product's reads and changes them: by SQL, or
//! by the keys in Redis.

use std::collections::BTreeMap;

use redis::Commands as _;
use serde_json::Value;

use super::any_store::Place;
use super::app::TestApp;
use super::postgres::Connection;

/// A connection to the records of a pipeline.
pub(crate) enum Records {
    Sqlite(rusqlite::Connection),
    Postgres(Connection),
    Redis(Keys),
}

/// A connection to Redis, and the prefix of the keys.
pub(crate) struct Keys {
    connection: std::cell::RefCell<redis::Connection>,
    prefix: String,
}

impl Keys {
    fn name(&self, key: &str) -> String {
        format!("{{{}}}:{key}", self.prefix)
    }

    /// Returns the fields of a hash.
    pub(crate) fn hash(&self, key: &str) -> BTreeMap<String, String> {
        self.connection.borrow_mut().hgetall(self.name(key)).unwrap()
    }

    fn set(&self, key: &str, field: &str, value: &str) {
        self.connection.borrow_mut().hset::<_, _, _, ()>(self.name(key), field, value).unwrap();
    }

    /// Returns the members of a sorted set.
    pub(crate) fn members(&self, key: &str) -> Vec<String> {
        self.connection.borrow_mut().zrange(self.name(key), 0, -1).unwrap()
    }

    /// Returns the numbers of all events.
    pub(crate) fn events(&self) -> Vec<u64> {
        let mut all = redis::cmd("XRANGE");
        all.arg(self.name("events")).arg("-").arg("+");
        let events: Vec<(String, Vec<String>)> = all.query(&mut self.connection.borrow_mut()).unwrap();
        events.iter().map(|(id, _)| id.split('-').next().unwrap().parse().unwrap()).collect()
    }
}

impl Records {
    /// Connects to the records of a pipeline.
    pub(crate) fn of(app: &TestApp) -> Self {
        match app.place() {
            Place::Manifest => Self::Sqlite(rusqlite::Connection::open(app.path("state/metadata.db")).unwrap()),
            Place::Postgres { port, schema } => {
                let connection = Connection::new(*port, "postgres");
                connection.execute(&format!("SET search_path TO {schema}"));
                Self::Postgres(connection)
            }
            Place::Redis { port, prefix } => {
                let connection = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
                let connection = connection.get_connection().unwrap().into();
                Self::Redis(Keys { connection, prefix: prefix.clone() })
            }
        }
    }

    /// Returns the rows of a query in a database, as texts. A value that is absent is empty.
    pub(crate) fn rows<const N: usize>(&self, sql: &str) -> Vec<[String; N]> {
        // Both databases give any value as a text.
        let columns: Vec<String> = (0..N).map(|at| format!("coalesce(CAST(c{at} AS TEXT), '')")).collect();
        let names: Vec<String> = (0..N).map(|at| format!("c{at}")).collect();
        let sql = format!("WITH found({}) AS ({sql}) SELECT {} FROM found", names.join(", "), columns.join(", "));
        match self {
            Self::Sqlite(database) => {
                let mut statement = database.prepare(&sql).unwrap();
                let rows = statement.query_map([], |row| Ok(std::array::from_fn(|at| row.get(at).unwrap()))).unwrap();
                rows.map(Result::unwrap).collect()
            }
            Self::Postgres(database) => {
                let rows = database.query(&sql, &[]);
                rows.iter().map(|row| std::array::from_fn(|at| row.get(at))).collect()
            }
            Self::Redis(_) => panic!("Redis answers no SQL"),
        }
    }

    /// Returns the conditions of triggers, each with the time until which it has accounted for what
    /// happened, in microseconds.
    pub(crate) fn marks(&self) -> Vec<(String, i64)> {
        const SQL: &str = "SELECT condition, at FROM trigger_marks ORDER BY condition";
        match self {
            Self::Sqlite(database) => {
                let mut statement = database.prepare(SQL).unwrap();
                statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
            }
            Self::Postgres(database) => database.query(SQL, &[]).iter().map(|row| (row.get(0), row.get(1))).collect(),
            Self::Redis(keys) => {
                let marks = keys.hash("marks").into_values().map(|mark| serde_json::from_str::<Value>(&mark).unwrap());
                let mut marks: Vec<_> =
                    marks.map(|mark| (mark[1].as_str().unwrap().to_owned(), mark[2].as_i64().unwrap())).collect();
                marks.sort();
                marks
            }
        }
    }

    /// Makes what triggers have accounted for older by this many minutes.
    pub(crate) fn age_marks(&self, minutes: i64) {
        self.age("trigger_marks", "at", minutes, |keys, by| {
            for (field, mark) in keys.hash("marks") {
                let mut mark: Value = serde_json::from_str(&mark).unwrap();
                mark[2] = (mark[2].as_i64().unwrap() - by).into();
                keys.set("marks", &field, &mark.to_string());
            }
        });
    }

    /// Makes all metrics older by this many minutes.
    pub(crate) fn age_metrics(&self, minutes: i64) {
        self.age("metrics", "recorded_at", minutes, |keys, by| {
            for (field, metric) in keys.hash("metrics") {
                let mut metric: Value = serde_json::from_str(&metric).unwrap();
                metric["at"] = (older(metric["at"].as_str().unwrap(), by)).into();
                keys.set("metrics", &field, &metric.to_string());
            }
        });
    }

    /// Makes all artifacts older by this many minutes.
    pub(crate) fn age_artifacts(&self, minutes: i64) {
        self.age("artifacts", "created_at", minutes, |keys, by| {
            for seq in keys.members("artifacts") {
                let artifact = format!("artifact:{seq}");
                let created = keys.hash(&artifact)["created"].clone();
                keys.set(&artifact, "created", &older(&created, by));
            }
        });
    }

    fn age(&self, table: &str, column: &str, minutes: i64, in_redis: impl FnOnce(&Keys, i64)) {
        let by = minutes * 60_000_000;
        let sql = format!("UPDATE {table} SET {column} = {column} - {by}");
        match self {
            Self::Sqlite(database) => database.execute_batch(&sql).unwrap(),
            Self::Postgres(database) => database.execute(&sql),
            Self::Redis(keys) => in_redis(keys, by),
        }
    }
}

fn older(micros: &str, by: i64) -> String {
    (micros.parse::<i64>().unwrap() - by).to_string()
}
