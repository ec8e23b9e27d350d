//! A long history, made of one run that is copied in the tables of the store. Ids are made up.

use anyhow::{Context as _, Result};
use rusqlite::Connection;
use tokio::runtime::Runtime;
use tokio_postgres::Client;

/// A database with the records of one run.
pub(crate) trait Database {
    /// Executes statements.
    fn execute(&mut self, sql: &str) -> Result<()>;

    /// Returns the columns of a table.
    fn columns(&mut self, table: &str) -> Result<Vec<String>>;

    /// An expression that makes an id.
    fn id(&self) -> &'static str;
}

impl Database for Connection {
    fn execute(&mut self, sql: &str) -> Result<()> {
        Ok(self.execute_batch(sql)?)
    }

    fn columns(&mut self, table: &str) -> Result<Vec<String>> {
        let mut statement = self.prepare("SELECT name FROM pragma_table_info(?1) ORDER BY cid")?;
        Ok(statement.query_map([table], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    fn id(&self) -> &'static str {
        "randomblob(16)"
    }
}

/// A connection to PostgreSQL whose search path is the schema of the records.
pub(crate) struct Postgres<'r> {
    pub(crate) runtime: &'r Runtime,
    pub(crate) client: &'r Client,
}

impl Database for Postgres<'_> {
    fn execute(&mut self, sql: &str) -> Result<()> {
        Ok(self.runtime.block_on(self.client.batch_execute(sql))?)
    }

    fn columns(&mut self, table: &str) -> Result<Vec<String>> {
        let ask = "select column_name::text from information_schema.columns \
                   where table_schema = current_schema and table_name = $1 order by ordinal_position";
        let rows = self.runtime.block_on(self.client.query(ask, &[&table]))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    fn id(&self) -> &'static str {
        "gen_random_uuid()"
    }
}

/// A table of which a run has rows, where to copy them from, and the columns that differ from copy
/// to copy. All other columns are copied, whichever there are.
type Copies = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// `ID` stands for a new id. An attempt of the copied run has a sequence below 16, and so has each
/// of its reads.
const COPIES: [Copies; 7] = [
    (
        "runs",
        "n, runs WHERE number = 1",
        &[
            ("number", "n"),
            ("id", "ID"),
            ("created_at", "created_at + n * 1000"),
            ("started_at", "started_at + n * 1000"),
            ("ended_at", "ended_at + n * 1000"),
            ("ended_seq", "ended_seq + n * 64"),
        ],
    ),
    ("run_triggers", "n, run_triggers WHERE run = 1", &[("run", "n")]),
    ("run_actions", "n, run_actions WHERE run = 1", &[("run", "n")]),
    ("attempts", "n, attempts WHERE run = 1", &[("seq", "100000000 + n * 16 + seq"), ("id", "ID"), ("run", "n")]),
    (
        "artifacts",
        "n, artifacts WHERE seq = (SELECT min(seq) FROM artifacts)",
        &[
            ("seq", "200000000 + n"),
            ("id", "ID"),
            ("path", "'gone' || n"),
            ("run_id", "(SELECT id FROM runs WHERE number = n)"),
            ("placed", "200000000 + n"),
            ("ended", "200000000 + n"),
        ],
    ),
    (
        "accesses",
        "n, accesses WHERE run = 1",
        &[
            ("seq", "100000000 + n * 16 + seq"),
            ("run", "n"),
            ("attempt", "100000000 + n * 16 + attempt"),
            ("artifact", "200000000 + n"),
        ],
    ),
    (
        "events",
        "n, events WHERE run_id = (SELECT id FROM runs WHERE number = 1) AND n > FIRST",
        &[("seq", "seq + n * 64"), ("run_id", "(SELECT id FROM runs WHERE number = n)")],
    ),
];

/// How many runs have events: a host keeps about a million events.
const WITH_EVENTS: u64 = 40_000;

/// Copies the first run on record, with its input, actions, attempts, reads and events, until there
/// are this many.
pub(crate) fn copy_the_run(db: &mut dyn Database, runs: u64) -> Result<()> {
    db.execute(&format!(
        "BEGIN; CREATE TEMP TABLE n AS WITH RECURSIVE n (n) AS \
         (SELECT CAST((SELECT max(number) + 1 FROM runs) AS BIGINT) UNION ALL SELECT n + 1 FROM n WHERE n < {runs}) SELECT n FROM n"
    ))?;
    let first = runs.saturating_sub(WITH_EVENTS).to_string();
    for (table, from, differ) in COPIES {
        let columns = db.columns(table)?;
        let values: Vec<&str> = columns
            .iter()
            .map(|column| differ.iter().find(|(name, _)| name == column).map_or(column.as_str(), |(_, value)| value))
            .map(|value| if value == "ID" { db.id() } else { value })
            .collect();
        let (columns, values, from) = (columns.join(", "), values.join(", "), from.replace("FIRST", &first));
        let copy = format!("INSERT INTO {table} ({columns}) SELECT {values} FROM {from}");
        db.execute(&copy).with_context(|| format!("failed to copy rows of {table}"))?;
    }
    db.execute(&format!(
        "INSERT INTO claims SELECT a.id, r.number FROM runs r JOIN artifacts a ON a.run_id = r.id WHERE r.number IN (SELECT n FROM n);
         UPDATE meta SET run = {runs}, seq = 400000000, event = 400000000;
         COMMIT"
    ))
}
