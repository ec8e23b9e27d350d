//! Looking after a database: the sizes of its tables, its integrity, and a copy of it.

use std::path::Path;

use rusqlite::Connection;

use super::backup;
use super::open::connect_to_newest;
use super::sql::Work;
use crate::store::Result;
use crate::store::upkeep::{CONTRADICTIONS, StorePart, Upkeep, counted, divided};

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
                for (what, count) in CONTRADICTIONS {
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
        backup::copy(&self.db, to)
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
    let bytes = look.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    let count = |table| db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| Ok((table, row.get(0)?)));
    let counts = counted().map(count).collect::<rusqlite::Result<_>>()?;
    let mut parts = divided(&counts, bytes);
    let free: u64 =
        db.query_row("SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size", [], |row| {
            row.get(0)
        })?;
    parts.push(StorePart { name: "free space", count: 0, bytes: free });
    Ok(parts)
}
