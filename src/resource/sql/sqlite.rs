//! SQLite as a source of rows.
//!
//! All calls block; the watch has a thread of its own.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::source::{Answer, Failure, Look, Mark, Row, Source, Take, quoted, table_expression};
use crate::manifest::SqlRows;

/// How long to wait for another program that writes.
const BUSY: Duration = Duration::from_secs(5);
/// How often to look whether another program has written. It costs a few microseconds.
const PULSE: Duration = Duration::from_millis(50);

/// An open database.
pub(super) struct Sqlite {
    db: Connection,
    path: PathBuf,
    /// The device and inode of the file.
    file: (u64, u64),
    table: String,
    column: String,
    /// The last `data_version`, which changes when another program has committed something.
    version: i64,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self(match error {
            // Leaves out the text of the statement, because the host wrote most of it.
            rusqlite::Error::SqlInputError { msg, .. } => msg,
            error => error.to_string(),
        })
    }
}

impl ToSql for Mark {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Integer(value) => value.to_sql(),
            Self::Real(value) => value.to_sql(),
            Self::Text(value) => value.to_sql(),
        }
    }
}

impl Sqlite {
    /// Opens the file, which must exist.
    pub(super) fn open(path: &Path, rows: &SqlRows) -> Answer<Self> {
        let file = file_at(path)?;
        // Not read-only, because the first connection after a crash of another program has to
        // repair the database.
        let db =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        db.busy_timeout(BUSY)?;
        db.pragma_update(None, "query_only", true)?;
        let (table, column) = (table_expression(&rows.from), rows.high_water.clone());
        let version = data_version(&db)?;
        Ok(Self { db, path: path.to_owned(), file, table, column, version })
    }
}

impl Sqlite {
    fn greatest_where(&self, condition: &str, values: (Option<&Mark>, Option<&Mark>)) -> Answer<Option<Mark>> {
        let (table, column) = (&self.table, quoted(&self.column));
        let sql = format!(
            "select q.{column} from {table} q where q.{column} is not null and {condition} \
             order by q.{column} desc limit 1"
        );
        let mut statement = self.db.prepare(&sql)?;
        let mut rows = statement.query(values)?;
        match rows.next()? {
            Some(row) => mark(row.get_ref(0)?),
            None => Ok(None),
        }
    }
}

/// Returns the device and inode of the file at a path.
fn file_at(path: &Path) -> Answer<(u64, u64)> {
    let found = std::fs::metadata(path).map_err(|why| match why.kind() {
        std::io::ErrorKind::NotFound => Failure(format!("there is no database {}", path.display())),
        _ => Failure(format!("the database {} cannot be opened: {why}", path.display())),
    })?;
    Ok((found.dev(), found.ino()))
}

fn data_version(db: &Connection) -> Answer<i64> {
    Ok(db.pragma_query_value(None, "data_version", |row| row.get(0))?)
}

fn mark(value: ValueRef<'_>) -> Answer<Option<Mark>> {
    Ok(Some(match value {
        ValueRef::Null => return Ok(None),
        ValueRef::Integer(value) => Mark::Integer(value),
        ValueRef::Real(value) => Mark::Real(value),
        ValueRef::Text(text) => Mark::Text(utf8(text, "the high-water column")?.to_owned()),
        ValueRef::Blob(_) => {
            return Err(Failure(
                "the high-water column contains a blob: choose a column of numbers or text".to_owned(),
            ));
        }
    }))
}

fn utf8<'a>(text: &'a [u8], column: &str) -> Answer<&'a str> {
    std::str::from_utf8(text).map_err(|_| {
        Failure(format!("a row has text in {column} that is not UTF-8: select it as `cast({column} as blob)`"))
    })
}

/// Returns a value as JSON: a blob as base64, and infinity as text.
fn json(value: ValueRef<'_>, column: &str) -> Answer<Value> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => value.into(),
        ValueRef::Real(value) if value.is_finite() => value.into(),
        ValueRef::Real(value) => Value::from(if value > 0.0 { "Infinity" } else { "-Infinity" }),
        ValueRef::Text(text) => utf8(text, column)?.into(),
        ValueRef::Blob(bytes) => base64(bytes).into(),
    })
}

/// Returns bytes as base64, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letter = |bits: u32| LETTERS.get((bits & 63) as usize).copied().map_or('=', char::from);
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| chunk.get(at).copied().map_or(0, u32::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            text.push(if at > chunk.len() { '=' } else { letter(bits >> (18 - 6 * at)) });
        }
    }
    text
}

#[async_trait]
impl Source for Sqlite {
    // SQLite has no times, only numbers and text.
    async fn greatest(&mut self, _: bool) -> Answer<Option<Mark>> {
        self.greatest_where("?1 is null and ?2 is null", (None, None))
    }

    async fn greatest_between(&mut self, above: Option<&Mark>, below: &Mark) -> Answer<Option<Mark>> {
        let column = quoted(&self.column);
        let start = if above.is_some() { format!("q.{column} > ?1") } else { "?1 is null".to_owned() };
        self.greatest_where(&format!("{start} and q.{column} < ?2"), (above, Some(below)))
    }

    async fn read(&mut self, look: Look<'_>, take: &mut Take<'_>) -> Answer<()> {
        let (table, column, limit) = (&self.table, quoted(&self.column), look.limit);
        let sql = format!(
            "select q.{column}, coalesce(q.{column} <= ?2, 0), q.* from {table} q \
             where q.{column} is not null and (?1 is null or q.{column} >= ?1) order by q.{column} limit {limit}"
        );
        // A statement with `or` would not use an index.
        let sql = if look.from.is_some() { sql.replace("?1 is null or ", "") } else { sql };
        let mut statement = self.db.prepare(&sql)?;
        let names: Vec<String> = statement.column_names().skip(2).map(str::to_owned).collect();
        let mut rows = statement.query((look.from, look.settled))?;
        while let Some(row) = rows.next()? {
            let Some(mark) = mark(row.get_ref(0)?)? else { continue };
            let is_settled = row.get(1)?;
            let mut members = Vec::with_capacity(names.len());
            for (at, name) in names.iter().enumerate() {
                members.push(format!("{}:{}", Value::from(name.as_str()), json(row.get_ref(at + 2)?, name)?));
            }
            let line = format!("{{{}}}", members.join(","));
            if take(Row { mark, is_settled, line }).is_break() {
                break;
            }
        }
        Ok(())
    }

    async fn may_have_changed(&mut self) -> Answer<bool> {
        if file_at(&self.path)? != self.file {
            return Err(Failure(format!("{} was replaced by another file: opening the new one", self.path.display())));
        }
        let version = data_version(&self.db)?;
        Ok(std::mem::replace(&mut self.version, version) != version)
    }

    async fn changed(&mut self) -> Answer<()> {
        while data_version(&self.db)? == self.version {
            tokio::time::sleep(PULSE).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::types::ValueRef;

    use super::{base64, json};

    #[test]
    fn bytes_are_written_as_base64_with_padding() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn values_keep_their_type_and_digits() {
        let text = |value| json(value, "x").unwrap().to_string();
        assert_eq!(text(ValueRef::Integer(i64::MIN)), "-9223372036854775808");
        assert_eq!(text(ValueRef::Real(0.1)), "0.1");
        assert_eq!(text(ValueRef::Real(5.0)), "5.0");
        assert_eq!(text(ValueRef::Real(f64::NEG_INFINITY)), "\"-Infinity\"");
        assert_eq!(text(ValueRef::Text("a\n\"ä".as_bytes())), "\"a\\n\\\"ä\"");
        assert_eq!(text(ValueRef::Blob(&[0, 255])), "\"AP8=\"");
        assert_eq!(text(ValueRef::Null), "null");
        let error = json(ValueRef::Text(&[0xff]), "note").unwrap_err();
        assert_eq!(error.0, "a row has text in note that is not UTF-8: select it as `cast(note as blob)`");
    }
}
