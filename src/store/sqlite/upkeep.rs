//! Looking after a database: the sizes of its tables, its integrity, and a copy of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use rusqlite::Connection;

use super::open::connect_to_newest;
use super::sql::Work;
use crate::store::upkeep::{StorePart, Upkeep};
use crate::store::{Result, StoreError};

/// The parts of the records: a name, the tables whose bytes are in it, and the one whose rows are
/// counted. All other tables are in the last part.
const PARTS: [(&str, &[&str]); 10] = [
    ("runs", &["runs", "run_actions", "run_triggers", "run_params", "claims", "given", "outputs", "revisions"]),
    ("attempts", &["attempts", "intents", "denials", "requests"]),
    ("artifacts", &["artifacts", "old_places", "artifact_tags"]),
    ("reads and writes", &["accesses"]),
    ("metrics", &["metrics"]),
    ("remembered attempts", &["memories"]),
    ("params", &["params"]),
    ("tags of runs", &["tags"]),
    ("trigger evaluations", &["ticks"]),
    ("events", &["events"]),
];

/// Records that contradict each other: what is wrong, and a query that counts them.
const RULES: [(&str, &str); 13] = [
    ("actions belong to no run", "SELECT count(*) FROM run_actions WHERE run NOT IN (SELECT number FROM runs)"),
    ("attempts belong to no run", "SELECT count(*) FROM attempts WHERE run NOT IN (SELECT number FROM runs)"),
    (
        "attempts have not ended although their run has",
        "SELECT count(*) FROM attempts a JOIN runs r ON r.number = a.run
         WHERE a.ended_at IS NULL AND r.ended_at IS NOT NULL",
    ),
    (
        "remembered attempts are not on record",
        "SELECT count(*) FROM memories WHERE attempt NOT IN (SELECT seq FROM attempts)",
    ),
    ("claims belong to no run", "SELECT count(*) FROM claims WHERE run NOT IN (SELECT number FROM runs)"),
    (
        "claims name an artifact that is not on record",
        "SELECT count(*) FROM claims WHERE artifact_id NOT IN (SELECT id FROM artifacts)",
    ),
    (
        "artifacts are new although a run has claimed them",
        "SELECT count(*) FROM claims c JOIN artifacts a ON a.id = c.artifact_id WHERE a.state = 'new'",
    ),
    (
        "resources count wrongly how many artifacts are new",
        "SELECT count(*) FROM waiting w WHERE count <>
         (SELECT count(*) FROM artifacts a WHERE a.resource = w.resource AND a.state = 'new')",
    ),
    (
        "reads and writes belong to no attempt",
        "SELECT count(*) FROM accesses WHERE attempt NOT IN (SELECT seq FROM attempts)",
    ),
    (
        "reads and writes name an artifact that is not on record",
        "SELECT count(*) FROM accesses WHERE artifact NOT IN (SELECT seq FROM artifacts)",
    ),
    (
        "outputs name an artifact that is not on record",
        "SELECT count(*) FROM outputs WHERE artifact NOT IN (SELECT seq FROM artifacts)",
    ),
    (
        "metrics, params and tags belong to no run",
        "SELECT count(*) FROM (SELECT run FROM metrics UNION ALL SELECT run FROM params UNION ALL SELECT run FROM tags)
         WHERE run NOT IN (SELECT number FROM runs)",
    ),
    ("events are missing between others", "SELECT ifnull(max(seq) - min(seq) + 1, 0) - count(*) FROM events"),
];

/// A connection that looks after the records.
#[derive(Debug)]
pub(in crate::store) struct SqliteUpkeep {
    db: Connection,
}

impl SqliteUpkeep {
    /// Opens the database at `path`.
    ///
    /// # Errors
    /// As [`SqliteStore::open_read_only`](super::SqliteStore::open_read_only).
    pub(in crate::store) fn open(path: &Path) -> Result<Self> {
        Ok(Self { db: connect_to_newest(path)? })
    }

    fn read<T>(&self, doing: &'static str, work: impl FnOnce(&Connection) -> Work<T>) -> Result<T> {
        // One transaction: all that is read is of one moment.
        let read = || -> Work<T> {
            let transaction = self.db.unchecked_transaction()?;
            work(&transaction)
        };
        read().map_err(|fail| fail.into_store(doing))
    }
}

impl Upkeep for SqliteUpkeep {
    fn parts(&self) -> Result<Vec<StorePart>> {
        self.read("read the sizes of the records", parts)
    }

    fn check(&self) -> Result<Vec<String>> {
        self.read("check the records", |db| {
            let mut wrong = damage(db)?;
            // Queries over a damaged database say nothing.
            if wrong.is_empty() {
                for (what, count) in RULES {
                    match db.query_row(count, [], |row| row.get::<_, i64>(0))? {
                        0 => {}
                        count => wrong.push(format!("{count} {what}")),
                    }
                }
            }
            Ok(wrong)
        })
    }

    fn back_up(&self, to: &Path) -> Result<()> {
        let name = to.to_str().ok_or_else(|| StoreError::Invalid(format!("{} is not UTF-8", to.display())))?;
        let copied = self.db.execute("VACUUM INTO ?1", [name]).map(drop).map_err(super::sql::Fail::from);
        copied.map_err(|fail| fail.into_store("copy the records"))?;
        File::open(to).and_then(|copy| copy.sync_all()).map_err(|error| StoreError::Unavailable {
            doing: format!("sync {}", to.display()),
            why: error.to_string(),
        })
    }
}

/// Returns what SQLite finds wrong with the file.
fn damage(db: &Connection) -> Work<Vec<String>> {
    let mut look = db.prepare("PRAGMA integrity_check(100)")?;
    let found: Vec<String> = look.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(found.into_iter().filter(|line| line != "ok").collect())
}

fn parts(db: &Connection) -> Work<Vec<StorePart>> {
    let mut look = db.prepare(
        "SELECT m.tbl_name, sum(s.pgsize) FROM dbstat s JOIN sqlite_schema m ON m.name = s.name
         WHERE s.aggregate = TRUE GROUP BY m.tbl_name",
    )?;
    let mut bytes: BTreeMap<String, u64> =
        look.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    let mut parts = Vec::new();
    for (name, tables) in PARTS {
        let counted = tables.first().copied().unwrap_or_default();
        let count = db.query_row(&format!("SELECT count(*) FROM {counted}"), [], |row| row.get(0))?;
        parts.push(StorePart { name, count, bytes: tables.iter().filter_map(|table| bytes.remove(*table)).sum() });
    }
    let count = db.query_row("SELECT count(*) FROM notifications", [], |row| row.get(0))?;
    parts.push(StorePart { name: "notifications and others", count, bytes: bytes.values().sum() });
    let free: u64 =
        db.query_row("SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size", [], |row| {
            row.get(0)
        })?;
    parts.push(StorePart { name: "free space", count: 0, bytes: free });
    Ok(parts)
}
