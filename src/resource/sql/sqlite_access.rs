//! Queries and changes of actions in SQLite.
//!
//! SQLite's authorizer decides what a statement may do: SQLite asks it about each table while it
//! prepares the statement. It asks about the tables of a view or a trigger too, and the grant has
//! to name them. SQLite also names the view or trigger that accesses a table, but that name is not
//! used, because it may come from a `with` clause of the statement itself.
//! SQLite also asks about the names of a `with` clause and about functions that return rows, which
//! need no grant: see `Session::needs_no_grant`.
//!
//! Calls block, so they run on blocking threads, and end when nobody waits for them any more.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// Functions that return rows, as a table does, and that read their arguments only.
const ROW_FUNCTIONS: [&str; 2] = ["json_each", "json_tree"];
/// The most names of a `with` in one statement that are looked up.
const MOST_NAMES: usize = 100;

/// Why SQLite was told to refuse a statement.
enum Reason {
    /// The grant does not name the table. `bare` if no column of it is read, and the statement does
    /// not say of which database it is: then it may be a name of a `with`.
    Table { table: String, writes: bool, bare: bool },
    /// A query was to change rows.
    Writes,
    /// The schema was to be changed.
    Schema,
    /// It uses the host's own table.
    Own,
}

/// What the authorizer and its session tell each other about a statement.
#[derive(Default)]
struct Asked {
    refused: Option<Reason>,
    /// Names that lead to nothing in the database, so they are those of a `with`.
    names: Vec<String>,
    /// [`ROW_FUNCTIONS`] that no table of the database hides.
    functions: Vec<String>,
    /// Whether the host itself asks.
    is_host: bool,
}

/// What a session may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Query,
    Change,
}

/// Decides what a statement of a guest may do.
fn authorize(context: &AuthContext<'_>, grant: &SqlGrant, purpose: Purpose, asked: &mut Asked) -> Authorization {
    if asked.is_host {
        return Authorization::Allow;
    }
    let is = |names: &[String], name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    let (table, writes, bare) = match context.action {
        AuthAction::Select | AuthAction::Recursive => return Authorization::Allow,
        AuthAction::Function { function_name } if !function_name.eq_ignore_ascii_case("load_extension") => {
            return Authorization::Allow;
        }
        AuthAction::Read { table_name, column_name } => {
            let bare = column_name.is_empty() && context.database_name.is_none();
            if (bare && is(&asked.names, table_name)) || is(&asked.functions, table_name) {
                return Authorization::Allow;
            }
            (table_name, false, bare)
        }
        AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::Update { table_name, .. } => (table_name, true, false),
        AuthAction::AlterTable { .. } | AuthAction::Reindex { .. } => {
            asked.refused = Some(Reason::Schema);
            return Authorization::Deny;
        }
        _ => return Authorization::Deny,
    };
    let is_schema = ["sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_temp_schema"]
        .iter()
        .any(|name| table.eq_ignore_ascii_case(name));
    let is_named =
        if writes { grant.write.contains(table) } else { grant.read.contains(table) || grant.write.contains(table) };
    let reason = match purpose {
        _ if writes && is_schema => Reason::Schema,
        Purpose::Query if writes => Reason::Writes,
        _ if table.eq_ignore_ascii_case(MARKERS) => Reason::Own,
        _ if is_named => return Authorization::Allow,
        _ => Reason::Table { table: table.to_owned(), writes, bare },
    };
    asked.refused = Some(reason);
    Authorization::Deny
}

/// A connection for the statements of a guest.
struct Session {
    db: Connection,
    asked: Arc<Mutex<Asked>>,
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
        Ok(Self { db, asked: Arc::default() })
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Restricts the following statements to what the grant allows.
    fn restrict(&mut self, grant: SqlGrant, purpose: Purpose) -> Outcome<()> {
        let asked = Arc::clone(&self.asked);
        let decide = move |context: AuthContext<'_>| {
            authorize(&context, &grant, purpose, &mut asked.lock().unwrap_or_else(PoisonError::into_inner))
        };
        Ok(self.db.authorizer(Some(decide))?)
    }

    /// Prepares the only statement in a text, and checks the number of its parameters.
    ///
    /// SQLite does not say whether a name of which no column is read is that of a table or of a
    /// `with`. So what is refused for such a name is looked up, and prepared again.
    fn prepare(&self, statement: &SqlStatement) -> Outcome<rusqlite::Statement<'_>> {
        *self.asked() = Asked::default();
        loop {
            let mut batch = Batch::new(&self.db, &statement.text);
            let prepared = match batch.next() {
                Ok(prepared) => prepared,
                Err(error) => {
                    let refused = self.asked().refused.take();
                    if let Some(Reason::Table { table, writes: false, bare }) = &refused
                        && self.needs_no_grant(table, *bare)?
                    {
                        continue;
                    }
                    return Err(explain(error, refused));
                }
            };
            let prepared = prepared.ok_or_else(|| Refusal::invalid("the statement is empty"))?;
            if !matches!(batch.next(), Ok(None)) {
                return Err(Refusal::invalid("there is more than one statement: pass each in a call of its own"));
            }
            check_count(prepared.parameter_count(), statement.parameters.len())?;
            return Ok(prepared);
        }
    }

    /// Returns whether a name that a statement reads is that of a `with` or of a function, and has
    /// the authorizer allow it from now on. A table or view of this name always needs its grant.
    fn needs_no_grant(&self, name: &str, bare: bool) -> Outcome<bool> {
        self.asked().is_host = true;
        let found = self.look_up(name);
        let mut asked = self.asked();
        asked.is_host = false;
        let known = match found? {
            Meaning::Function => &mut asked.functions,
            Meaning::Nothing if bare => &mut asked.names,
            Meaning::Nothing | Meaning::Table => return Ok(false),
        };
        let is_new = known.len() < MOST_NAMES && !known.iter().any(|it| it.eq_ignore_ascii_case(name));
        if is_new {
            known.push(name.to_owned());
        }
        Ok(is_new)
    }

    fn look_up(&self, name: &str) -> Outcome<Meaning> {
        let sql = "select count(*) from main.sqlite_schema where name = ?1 collate nocase";
        if self.db.query_row(sql, [name], |row| row.get::<_, i64>(0))? > 0 {
            return Ok(Meaning::Table);
        }
        if ROW_FUNCTIONS.iter().any(|function| function.eq_ignore_ascii_case(name)) {
            return Ok(Meaning::Function);
        }
        // SQLite has tables that are not in the schema, such as `sqlite_schema` itself.
        let missing = format!("no such table: {name}");
        let quoted = name.replace('"', "\"\"");
        Ok(match self.db.prepare(&format!("select 1 from \"{quoted}\"")) {
            Err(rusqlite::Error::SqlInputError { msg, .. }) if msg == missing => Meaning::Nothing,
            Err(rusqlite::Error::SqliteFailure(_, Some(msg))) if msg == missing => Meaning::Nothing,
            _ => Meaning::Table,
        })
    }
}

/// What a name means outside of a statement.
enum Meaning {
    Table,
    Function,
    Nothing,
}

/// Says why a statement was refused, if the authorizer refused it.
fn explain(error: rusqlite::Error, refused: Option<Reason>) -> Refusal {
    let denied = |why: String| Refusal::Statement { code: "denied", why };
    match (Refusal::from(error), refused) {
        (Refusal::Statement { code: "denied", .. }, Some(reason)) => match reason {
            Reason::Table { table, writes, .. } => Refusal::Table { table, writes },
            Reason::Writes => denied("a query never writes; pass the statement to `execute`".to_owned()),
            Reason::Schema => {
                denied("actions cannot change the schema of a database, only read and change its rows".to_owned())
            }
            Reason::Own => denied(format!("`{MARKERS}` is a table of the host, which actions cannot use")),
        },
        (refusal, _) => refusal,
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
            session.restrict(grant, Purpose::Change)?;
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
    // The schema is the same for as long as the transaction lasts.
    session.db.execute_batch("begin")?;
    session.restrict(grant, Purpose::Query)?;
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
    session.restrict(journal.grant.clone(), Purpose::Change)?;
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
