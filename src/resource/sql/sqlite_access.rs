//! Queries and changes of actions in SQLite.
//!
//! SQLite's authorizer decides what a statement may do: SQLite asks it about each table while it
//! prepares the statement. It asks about the tables of a view or a trigger too, and the grant has
//! to name them. SQLite also names the view or trigger that accesses a table, but that name is not
//! used, because it may come from a `with` clause of the statement itself.
//!
//! Calls block, so they run on blocking threads, and end when nobody waits for them any more.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Batch, Connection, ErrorCode, OpenFlags, OptionalExtension as _, ffi, params_from_iter};
use tokio_util::sync::CancellationToken;

use super::journal::Journal;
use super::outcome::{Changes, Collector, MARKERS, Outcome, Part, Refusal, Sender, check_count, oldest_marker};
use super::source::Failure;
use crate::base::AttemptId;
use crate::resource::{Bytes, Double, SqlGrant, SqlStatement, SqlTables, SqlValue};

/// How long to wait for another program that writes.
const BUSY: Duration = Duration::from_secs(5);
/// After this many steps of its virtual machine, which take well below a millisecond, SQLite asks
/// whether to continue.
const STEPS: i32 = 10_000;

/// A file of SQLite.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error_code();
        let is_syntax = matches!(error, rusqlite::Error::SqlInputError { .. });
        let is_count = matches!(error, rusqlite::Error::InvalidParameterCount(..));
        let Failure(why) = error.into();
        match code {
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::DiskFull
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted,
            ) => Self::Unavailable(why),
            Some(ErrorCode::AuthorizationForStatementDenied | ErrorCode::ReadOnly) => {
                Self::Statement { code: "denied", why }
            }
            _ if is_syntax || is_count => Self::invalid(why),
            _ => Self::Statement { code: "failed", why },
        }
    }
}

impl ToSql for SqlValue {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Null => Ok(ToSqlOutput::Borrowed(ValueRef::Null)),
            Self::Boolean(value) => value.to_sql(),
            Self::Integer(value) => value.to_sql(),
            Self::Real(Double(value)) => Ok(ToSqlOutput::Borrowed(ValueRef::Real(*value))),
            Self::Text(value) => value.to_sql(),
            Self::Bytes(Bytes(value)) => value.to_sql(),
        }
    }
}

fn value(value: ValueRef<'_>) -> SqlValue {
    match value {
        ValueRef::Null => SqlValue::Null,
        ValueRef::Integer(value) => SqlValue::Integer(value),
        ValueRef::Real(value) => SqlValue::Real(Double(value)),
        // Text that is not UTF-8 is given as the bytes that it has.
        ValueRef::Text(text) => std::str::from_utf8(text)
            .map_or_else(|_| SqlValue::Bytes(Bytes(text.to_vec())), |text| SqlValue::Text(text.to_owned())),
        ValueRef::Blob(bytes) => SqlValue::Bytes(Bytes(bytes.to_vec())),
    }
}

/// The table that was refused last, and whether it was to be changed.
type Refused = Arc<Mutex<Option<(String, bool)>>>;

/// Decides what a statement of a guest may do.
fn authorize(context: &AuthContext<'_>, grant: &SqlGrant, refused: &Refused) -> Authorization {
    let (table, writes) = match context.action {
        AuthAction::Select | AuthAction::Recursive => return Authorization::Allow,
        AuthAction::Function { function_name } if !function_name.eq_ignore_ascii_case("load_extension") => {
            return Authorization::Allow;
        }
        AuthAction::Read { table_name, .. } => (table_name, false),
        AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::Update { table_name, .. } => (table_name, true),
        _ => return Authorization::Deny,
    };
    // No check for the schema tables: only actions that are denied above can change them.
    let is_named =
        if writes { grant.write.contains(table) } else { grant.read.contains(table) || grant.write.contains(table) };
    if is_named && !table.eq_ignore_ascii_case(MARKERS) {
        return Authorization::Allow;
    }
    *refused.lock().unwrap_or_else(PoisonError::into_inner) = Some((table.to_owned(), writes));
    Authorization::Deny
}

/// A connection for the statements of a guest.
struct Session {
    db: Connection,
    refused: Refused,
}

impl Session {
    /// Opens the file, which must exist. `is_over` says that nobody waits for the session any more.
    fn open(path: &Path, is_over: impl Fn() -> bool + Send + 'static) -> Outcome<Self> {
        if !path.exists() {
            return Err(Refusal::Unavailable(format!("there is no database {}", path.display())));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(BUSY)?;
        db.progress_handler(STEPS, Some(is_over))?;
        Ok(Self { db, refused: Refused::default() })
    }

    /// Restricts the following statements to what the grant allows.
    fn restrict(&mut self, grant: SqlGrant) -> Outcome<()> {
        let refused = Arc::clone(&self.refused);
        Ok(self.db.authorizer(Some(move |context: AuthContext<'_>| authorize(&context, &grant, &refused)))?)
    }

    /// Prepares the only statement in a text, and checks the number of its parameters.
    fn prepare(&self, statement: &SqlStatement) -> Outcome<rusqlite::Statement<'_>> {
        let mut batch = Batch::new(&self.db, &statement.text);
        let prepared = batch.next().map_err(|error| self.explain(error))?;
        let prepared = prepared.ok_or_else(|| Refusal::invalid("the statement is empty"))?;
        if !matches!(batch.next(), Ok(None)) {
            return Err(Refusal::invalid("there is more than one statement: pass each in a call of its own"));
        }
        check_count(prepared.parameter_count(), statement.parameters.len())?;
        Ok(prepared)
    }

    /// Says which table was refused, if that is the reason.
    fn explain(&self, error: rusqlite::Error) -> Refusal {
        let refusal = Refusal::from(error);
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (refusal, refused) {
            (Refusal::Statement { code: "denied", .. }, Some((table, writes))) => Refusal::Table { table, writes },
            (refusal, _) => refusal,
        }
    }
}

/// Runs `work` on a blocking thread, with a token that is cancelled when nobody waits for it any
/// more.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce(CancellationToken) -> Outcome<T> + Send + 'static,
) -> Outcome<T> {
    let over = CancellationToken::new();
    let _guard = over.clone().drop_guard();
    let stopping = |_| Err(Refusal::Unavailable("the host is stopping".to_owned()));
    tokio::task::spawn_blocking(move || work(over)).await.unwrap_or_else(stopping)
}

impl File {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Starts a query, on a thread of its own that ends when nobody receives its parts any more.
    pub(super) fn query(&self, grant: &SqlGrant, statement: SqlStatement, sender: Sender) {
        let (path, grant) = (self.path.clone(), SqlGrant { read: grant.read.clone(), write: SqlTables::None });
        tokio::task::spawn_blocking(move || {
            let last = match query(&path, grant, &statement, &sender) {
                Ok(()) => Ok(Part::End),
                Err(refusal) => Err(refusal),
            };
            let _ = sender.blocking_send(last);
        });
    }

    /// See [`super::access::Access::check`].
    pub(super) async fn check(&self, grant: &SqlGrant, statement: SqlStatement) -> Outcome<()> {
        let (path, grant) = (self.path.clone(), grant.clone());
        blocking(move |over| {
            let mut session = Session::open(&path, move || over.is_cancelled())?;
            session.restrict(grant)?;
            session.prepare(&statement).map(drop)
        })
        .await
    }

    /// See [`super::access::Access::change`].
    pub(super) async fn change(&self, attempt: AttemptId, journal: &Path) -> Outcome<Option<Box<dyn Changes>>> {
        let (path, journal) = (self.path.clone(), journal.to_owned());
        let changed = blocking(move |over| change(&path, attempt, Journal::open(&journal)?, over)).await?;
        Ok(changed.map(|open| Box::new(open) as Box<dyn Changes>))
    }
}

fn query(path: &Path, grant: SqlGrant, statement: &SqlStatement, sender: &Sender) -> Outcome<()> {
    let parts = sender.clone();
    let mut session = Session::open(path, move || parts.is_closed())?;
    session.db.pragma_update(None, "query_only", true)?;
    session.restrict(grant)?;
    let mut prepared = session.prepare(statement)?;
    let names: Vec<String> = prepared.column_names().map(str::to_owned).collect();
    if names.is_empty() {
        return Err(Refusal::invalid("it returns no rows: `execute` is for changes"));
    }
    let width = names.len();
    let mut rows = prepared.query(params_from_iter(&statement.parameters))?;
    let send = |part| sender.blocking_send(Ok(part)).is_ok();
    let mut is_wanted = send(Part::Columns(names));
    let mut collector = Collector::default();
    while is_wanted && let Some(row) = rows.next()? {
        let values = (0..width).map(|at| row.get_ref(at).map(value)).collect::<rusqlite::Result<_>>()?;
        if let Some(chunk) = collector.push(values) {
            is_wanted = send(Part::Rows(chunk));
        }
    }
    let rest = collector.take();
    if !rest.is_empty() {
        send(Part::Rows(rest));
    }
    Ok(())
}

/// Executes the statements of a journal in a transaction, which stays open.
fn change(path: &Path, attempt: AttemptId, journal: Journal, over: CancellationToken) -> Outcome<Option<Open>> {
    let mut session = Session::open(path, move || over.is_cancelled())?;
    // The commit must survive a power cut, because nothing would repeat it.
    session.db.pragma_update(None, "synchronous", "full")?;
    session.db.execute_batch("begin immediate")?;
    let create = format!("create table if not exists {MARKERS} (attempt text primary key, at text not null) strict");
    session.db.execute_batch(&create)?;
    session.db.execute(&format!("delete from {MARKERS} where attempt < ?1"), [oldest_marker()])?;
    let marker = format!("insert into {MARKERS} values (?1, datetime('now')) on conflict do nothing");
    if session.db.execute(&marker, [attempt.to_string()])? == 0 {
        return Ok(None);
    }
    session.restrict(journal.grant.clone())?;
    for (number, statement) in (1..).zip(journal) {
        execute(&session, &statement?).map_err(|refusal| refusal.of_statement(number))?;
    }
    let mut db = session.db;
    db.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)?;
    check_foreign_keys(&db)?;
    // Remove the handler: the commit must not end when the caller of this function has gone.
    db.progress_handler(0, None::<fn() -> bool>)?;
    Ok(Some(Open(db)))
}

/// Checks the foreign keys that SQLite would check when the transaction is committed, while the
/// changes can still be refused.
fn check_foreign_keys(db: &Connection) -> Outcome<()> {
    if !has_open_foreign_keys(db) {
        return Ok(());
    }
    // The pragma reads whole tables, so it only runs to name the table of a row that breaks a key.
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(2)?));
    let why = match db.query_row("pragma foreign_key_check", [], row).optional()? {
        Some((table, parent)) => format!("a row of `{table}` refers to one of `{parent}` that does not exist"),
        None => "a row refers to one that does not exist".to_owned(),
    };
    Err(Refusal::Statement { code: "failed", why: format!("FOREIGN KEY constraint failed: {why}") })
}

/// Returns whether the open transaction has changed rows so that a commit would be refused.
fn has_open_foreign_keys(db: &Connection) -> bool {
    let (mut open, mut highest) = (0, 0);
    // SAFETY: the handle is that of an open connection, which stays borrowed, and both numbers
    // outlive the call.
    let code = unsafe {
        ffi::sqlite3_db_status(db.handle(), ffi::SQLITE_DBSTATUS_DEFERRED_FKS, &raw mut open, &raw mut highest, 0)
    };
    code == ffi::SQLITE_OK && open != 0
}

fn execute(session: &Session, statement: &SqlStatement) -> Outcome<()> {
    let mut prepared = session.prepare(statement)?;
    let mut rows = prepared.query(params_from_iter(&statement.parameters))?;
    // A statement may return rows, which nobody has asked for.
    while rows.next()?.is_some() {}
    Ok(())
}

/// A connection with an open transaction, which closing it rolls back.
struct Open(Connection);

#[async_trait]
impl Changes for Open {
    async fn commit(self: Box<Self>) -> Outcome<()> {
        blocking(move |_| Ok(self.0.execute_batch("commit")?)).await
    }
}
