//! Reads all records of a database, and makes a database from those of another store.
//!
//! A copy grows in a file beside its place, without a journal. Meanwhile a small database is in its
//! place, which says that the copy is not complete. In the end, one file replaces the other.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OpenFlags, Row, ToSql, params_from_iter};

use super::migrations;
use super::open::{beside, connect, connect_to_newest, folder_of, lock_path, name, sync_folder};
use super::sql::Work;
use crate::base::Timestamp;
use crate::store::copy::{
    COUNTERS, DOING, Field, FieldKind, KINDS, PAGE, Record, RecordKind, RecordSource, RecordTarget,
};
use crate::store::lock::HostLock;
use crate::store::{Result, StoreError, writable};

/// The counters, which what is on record may be ahead of.
const LAST_NUMBERS: [(&str, &str); 2] = [
    ("event", "max(event, ifnull((SELECT max(seq) FROM events), 0))"),
    ("run", "max(run, ifnull((SELECT max(number) FROM runs), 0))"),
];

/// A connection that reads all records as of one moment.
#[derive(Debug)]
pub(in crate::store) struct SqliteRecords {
    db: Connection,
    reading: Option<Reading>,
}

/// Where the reading is.
#[derive(Debug)]
struct Reading {
    kind: &'static RecordKind,
    /// The key of the last record that was read.
    after: Option<Record>,
    is_done: bool,
}

impl SqliteRecords {
    /// Opens the database at `path`.
    ///
    /// # Errors
    /// As [`SqliteStore::open_read_only`](super::SqliteStore::open_read_only).
    pub(in crate::store) fn open(path: &Path) -> Result<Self> {
        let db = connect_to_newest(path)?;
        work(|| Ok(db.execute_batch("BEGIN")?))?;
        Ok(Self { db, reading: None })
    }

    fn page(&self, reading: &Reading) -> Work<Vec<Record>> {
        let kind = reading.kind;
        let mut statement = self.db.prepare_cached(&select(kind, reading.after.is_some()))?;
        let after = reading.after.iter().flatten();
        let rows = statement.query_map(params_from_iter(after), |row| record(row, kind))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

impl RecordSource for SqliteRecords {
    fn count(&mut self) -> Result<u64> {
        let count = |kind: &RecordKind| {
            let sql = format!("SELECT count(*) FROM {}", kind.name);
            work(|| Ok(self.db.query_row(&sql, [], |row| row.get::<_, u64>(0))?))
        };
        KINDS.iter().map(count).sum()
    }

    fn begin(&mut self, kind: &'static RecordKind) -> Result<()> {
        self.reading = Some(Reading { kind, after: None, is_done: false });
        Ok(())
    }

    fn next(&mut self) -> Result<Vec<Record>> {
        let Some(reading) = self.reading.as_ref().filter(|reading| !reading.is_done) else { return Ok(Vec::new()) };
        let page = work(|| self.page(reading))?;
        let kind = reading.kind;
        let after = page.last().map(|last| last.iter().take(kind.key).cloned().collect());
        self.reading = Some(Reading { kind, after, is_done: page.len() < PAGE });
        Ok(page)
    }
}

/// Returns the query for a page of records, `after` a key or from the beginning.
fn select(kind: &RecordKind, after: bool) -> String {
    let last_number = |name: &str| LAST_NUMBERS.iter().find(|(counter, _)| *counter == name).map(|(_, last)| *last);
    let column = |(name, _): &(&str, FieldKind)| match last_number(name).filter(|_| kind.name == COUNTERS) {
        Some(last) => last.to_owned(),
        None => format!("\"{name}\""),
    };
    let columns = kind.fields.iter().map(column).collect::<Vec<_>>().join(", ");
    let (key, marks) = (kind.key_columns().join(", "), marks(kind.key));
    let after = if after { format!("WHERE ({key}) > ({marks})") } else { String::new() };
    let order = if kind.key == 0 { String::new() } else { format!("ORDER BY {key}") };
    format!("SELECT {columns} FROM {} {after} {order} LIMIT {PAGE}", kind.name)
}

fn marks(count: usize) -> String {
    (1..=count).map(|at| format!("?{at}")).collect::<Vec<_>>().join(", ")
}

fn record(row: &Row<'_>, kind: &RecordKind) -> rusqlite::Result<Record> {
    let field = |(at, (_, kind)): (usize, &(&str, FieldKind))| {
        Ok(match kind {
            FieldKind::Bool => row.get::<_, Option<bool>>(at)?.map_or(Field::None, Field::Bool),
            FieldKind::Int => row.get::<_, Option<i64>>(at)?.map_or(Field::None, Field::Int),
            FieldKind::Real => row.get::<_, Option<f64>>(at)?.map_or(Field::None, Field::real),
            FieldKind::Measure => Field::real(row.get::<_, Option<f64>>(at)?.unwrap_or(f64::NAN)),
            FieldKind::Text => row.get::<_, Option<String>>(at)?.map_or(Field::None, Field::Text),
            FieldKind::Bytes => row.get::<_, Option<Vec<u8>>>(at)?.map_or(Field::None, Field::Bytes),
        })
    };
    kind.fields.iter().enumerate().map(field).collect()
}

impl ToSql for Field {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::None => ToSqlOutput::Owned(Value::Null),
            Self::Bool(value) => ToSqlOutput::Owned(Value::Integer(i64::from(*value))),
            Self::Int(value) => ToSqlOutput::Owned(Value::Integer(*value)),
            // SQLite stores a NaN as NULL.
            Self::Real(value) => ToSqlOutput::Owned(Value::Real(*value)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

/// A database that takes the records of another store.
#[derive(Debug)]
pub(in crate::store) struct SqliteCopy {
    records: SqliteRecords,
    path: PathBuf,
    _lock: HostLock,
}

impl SqliteCopy {
    /// Begins a copy of the store `from` at `path`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if there are records already; [`StoreError::InUse`] if another
    /// process has the place.
    pub(in crate::store) fn begin(path: &Path, from: &str, now: Timestamp) -> Result<Self> {
        writable::make_folder(folder_of(path))?;
        writable::check([folder_of(path), path])?;
        let in_use = |holder| StoreError::InUse { store: path.display().to_string(), holder };
        let lock = HostLock::take(&lock_path(path), now, in_use)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        migrations::reserve(&connect(path, flags)?, path, from).map_err(|error| name(error, path))?;
        sync_folder(path)?;
        let half = half(path);
        match fs::remove_file(&half) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(&error)),
            _ => {}
        }
        let db = connect(&half, flags)?;
        work(|| {
            Ok(db.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536")?)
        })?;
        migrations::migrate(&db)?;
        work(|| Ok(db.execute_batch("BEGIN")?))?;
        Ok(Self { records: SqliteRecords { db, reading: None }, path: path.to_owned(), _lock: lock })
    }
}

impl RecordTarget for SqliteCopy {
    fn records(&mut self) -> &mut dyn RecordSource {
        &mut self.records
    }

    fn write(&mut self, kind: &'static RecordKind, records: &[Record]) -> Result<()> {
        let (columns, marks) = (kind.columns().join(", "), marks(kind.fields.len()));
        let sql = if kind.name == COUNTERS {
            format!("UPDATE {} SET ({columns}) = ({marks})", kind.name)
        } else {
            format!("INSERT INTO {} ({columns}) VALUES ({marks})", kind.name)
        };
        work(|| {
            let mut statement = self.records.db.prepare_cached(&sql)?;
            for record in records {
                statement.execute(params_from_iter(record))?;
            }
            Ok(())
        })
    }

    fn complete(self: Box<Self>) -> Result<()> {
        let Self { records, path, _lock } = *self;
        work(|| Ok(records.db.execute_batch("COMMIT")?))?;
        drop(records);
        let half = half(&path);
        let replace = File::open(&half).and_then(|file| file.sync_all()).and_then(|()| fs::rename(&half, &path));
        replace.map_err(|error| failed(&error))?;
        sync_folder(&path)
    }
}

/// The file in which a copy to `path` grows.
fn half(path: &Path) -> PathBuf {
    beside(path, "-copy")
}

fn work<T>(work: impl FnOnce() -> Work<T>) -> Result<T> {
    work().map_err(|fail| fail.into_store(DOING))
}

fn failed(error: &std::io::Error) -> StoreError {
    StoreError::Unavailable { doing: DOING.to_owned(), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rusqlite::Connection;

    use super::{COUNTERS, migrations};
    use crate::store::copy;

    #[test]
    fn every_column_of_every_table_is_copied() {
        let db = Connection::open_in_memory().unwrap();
        migrations::migrate(&db).unwrap();
        let sql = "SELECT t.name, c.name FROM pragma_table_list t, pragma_table_info(t.name) c
            WHERE t.schema = 'main' AND t.name NOT LIKE 'sqlite_%'";
        let mut all = db.prepare(sql).unwrap();
        let all = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let mut columns: BTreeSet<(String, String)> = all.map(Result::unwrap).collect();
        // What makes it one row.
        assert!(columns.remove(&(COUNTERS.to_owned(), "one".to_owned())));
        copy::assert_copied(&columns);
    }
}
