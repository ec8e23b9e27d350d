//! SQL over the records: one connection, and one read transaction for all of its queries.
//!
//! SQLite's authorizer refuses everything but reading the views, while it prepares a statement. It
//! keeps a query from relying on tables that the next version may change. It is no protection: who
//! can run this can read the file.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::functions::FunctionFlags;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::{FromSql, ValueRef};
use rusqlite::{Batch, Connection, ErrorCode};

use super::open::connect_to_newest;
use super::sql::{Work, from_sqlite};
use crate::base::{Digest, RunId, Timestamp};
use crate::store::views::{EMPTY, MORE_THAN_ONE, ONLY_READS, RowSink, VIEWS, Value, Views, place};
use crate::store::{Result, StoreError};

/// The tables that the views read.
const TABLES: [&str; 7] = ["accesses", "artifacts", "attempts", "metrics", "params", "runs", "tags"];

/// A connection that answers queries.
#[derive(Debug)]
pub(in crate::store) struct SqliteViews {
    db: Connection,
    /// What the statement that is being prepared must not do.
    refused: Arc<Mutex<Option<Refused>>>,
}

/// What a statement must not do.
#[derive(Debug)]
enum Refused {
    /// Read a table that is not one of the views.
    Table(String),
    /// Anything but reading.
    Write,
}

impl SqliteViews {
    /// Opens the database at `path`, and begins the transaction of the queries.
    ///
    /// # Errors
    /// As [`SqliteStore::open_read_only`](super::SqliteStore::open_read_only).
    pub(in crate::store) fn open(path: &Path) -> Result<Self> {
        let mut db = connect_to_newest(path)?;
        let refused = Arc::default();
        prepare(&mut db, Arc::clone(&refused)).map_err(|fail| fail.into_store("make the views"))?;
        Ok(Self { db, refused })
    }

    /// Makes the error of a statement that cannot be prepared or executed.
    fn explain(&self, error: &rusqlite::Error) -> StoreError {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (why, place) = match (refused, error) {
            (Some(Refused::Table(name)), _) => return no_such_view(&name),
            (Some(Refused::Write), _) => return StoreError::Invalid(ONLY_READS.to_owned()),
            (None, rusqlite::Error::SqlInputError { msg, sql, offset, .. }) => {
                // No place has a negative offset.
                let rest = usize::try_from(*offset).ok().and_then(|at| sql.get(at..)).unwrap_or_default();
                (msg, place(rest))
            }
            (None, rusqlite::Error::SqliteFailure(code, Some(why))) if code.code == ErrorCode::Unknown => {
                (why, String::new())
            }
            (None, other) => return from_sqlite(other, "execute the query"),
        };
        match why.strip_prefix("no such table: ") {
            Some(name) => no_such_view(name),
            None => StoreError::Invalid(format!("{why}{place}")),
        }
    }
}

fn no_such_view(name: &str) -> StoreError {
    StoreError::Invalid(format!("there is no view `{name}`; the views are {}", VIEWS.join(", ")))
}

/// Makes the views, and has SQLite refuse everything else from then on.
fn prepare(db: &mut Connection, refused: Arc<Mutex<Option<Refused>>>) -> Work<()> {
    add_function::<RunId>(db, "uuid")?;
    add_function::<Digest>(db, "digest")?;
    add_function::<Timestamp>(db, "moment")?;
    db.execute_batch(include_str!("views.sql"))?;
    db.execute_batch("PRAGMA query_only = ON; BEGIN")?;
    // A transaction of SQLite begins with its first read.
    db.query_row("SELECT one FROM meta", [], |_| Ok(()))?;
    Ok(db.authorizer(Some(move |context: AuthContext<'_>| {
        let Some(why) = refuses(&context) else { return Authorization::Allow };
        *refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        Authorization::Deny
    }))?)
}

/// Adds a function of one argument that shows a stored value as the HTTP API does. It returns
/// `NULL` for `NULL`.
fn add_function<T: FromSql + ToString>(db: &Connection, name: &str) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    db.create_scalar_function(name, 1, flags, |call| Ok(call.get::<Option<T>>(0)?.map(|value| value.to_string())))
}

/// Returns why a statement must not do something; `None` if it may.
fn refuses(context: &AuthContext<'_>) -> Option<Refused> {
    match context.action {
        AuthAction::Select | AuthAction::Recursive | AuthAction::Function { .. } => None,
        // What a view reads is its own business.
        AuthAction::Read { .. } if context.accessor.is_some() => None,
        // A table of a view of which the query needs no column.
        AuthAction::Read { table_name, column_name: "" } if TABLES.contains(&table_name) => None,
        AuthAction::Read { table_name, .. } => {
            let is_view = context.database_name != Some("main") && VIEWS.contains(&table_name);
            let is_other = context.database_name.is_none() || matches!(table_name, "json_each" | "json_tree");
            let of_main = if VIEWS.contains(&table_name) { "main." } else { "" };
            (!is_view && !is_other).then(|| Refused::Table(format!("{of_main}{table_name}")))
        }
        _ => Some(Refused::Write),
    }
}

impl Views for SqliteViews {
    fn query(&mut self, sql: &str, sink: &mut dyn RowSink) -> Result<()> {
        self.run(sql, sink).map_err(|error| match error {
            Wrong::Statement(why) => StoreError::Invalid(why.to_owned()),
            Wrong::Sqlite(error) => self.explain(&error),
        })
    }
}

/// What is wrong with a query.
enum Wrong {
    Statement(&'static str),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Wrong {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl SqliteViews {
    fn run(&self, sql: &str, sink: &mut dyn RowSink) -> std::result::Result<(), Wrong> {
        // What an earlier query must not do says nothing about this one.
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut batch = Batch::new(&self.db, sql);
        let mut statement = batch.next()?.ok_or(Wrong::Statement(EMPTY))?;
        if !matches!(batch.next(), Ok(None)) {
            return Err(Wrong::Statement(MORE_THAN_ONE));
        }
        if statement.parameter_count() > 0 {
            return Err(Wrong::Statement("the query has a parameter, such as `?`: write the value itself"));
        }
        let names: Vec<&str> = statement.column_names().collect();
        let width = names.len();
        if sink.columns(&names).is_break() {
            return Ok(());
        }
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            let values =
                (0..width).map(|at| value(row.get_ref(at)?)).collect::<std::result::Result<Vec<_>, Wrong>>()?;
            if sink.row(&values) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }
}

fn value(value: ValueRef<'_>) -> std::result::Result<Value<'_>, Wrong> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Real(value),
        // The views have no bytes. An expression can make some, which are shown if they are text.
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Value::Text(
            std::str::from_utf8(bytes)
                .map_err(|_| Wrong::Statement("a value is not text: show bytes with `hex(…)`"))?,
        ),
    })
}
