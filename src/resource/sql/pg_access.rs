//! Queries and changes of actions in PostgreSQL.
//!
//! The server decides what a statement may do: by the rights of the user, by a read-only
//! transaction for queries, and by its own `PREPARE`, which takes nothing but statements that read
//! and change rows. So no statement can end the transaction that it is executed in.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod};
use futures_util::{StreamExt as _, pin_mut};
use tokio::sync::{OnceCell, mpsc};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{CancelToken, Client, Row, Statement};

use super::journal::Journal;
use super::outcome::{Changes, Collector, MARKERS, Outcome, Part, Refusal, Sender, check_count, oldest_marker};
use super::postgres::{VALUES, config};
use super::source::{Failure, quoted};
use crate::base::AttemptId;
use crate::base::postgres::Connector;
use crate::manifest::SecretSource;
use crate::resource::{Bytes, Double, SqlStatement, SqlValue};

/// The most connections for the queries of one resource. Further queries wait.
const MAX_CONNECTIONS: usize = 16;
/// How long they wait.
const WAIT: Duration = Duration::from_secs(30);
/// The most statements of a journal that are prepared at once.
const MAX_PREPARED: usize = 100;
/// The most statements of a journal that are read ahead.
const AHEAD: usize = 16;

/// A database on a server.
#[derive(Debug)]
pub(super) struct Pg {
    url: String,
    password: Option<SecretSource>,
    /// Made when an action first needs it.
    pool: OnceCell<(Pool, Connector)>,
}

impl From<tokio_postgres::Error> for Refusal {
    fn from(error: tokio_postgres::Error) -> Self {
        let code = error.code().map(|state| state.code().to_owned());
        let is_lost = error.is_closed()
            || std::error::Error::source(&error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
        let Failure(why) = error.into();
        match code.as_deref() {
            // Classes of temporary errors: of connections, resources, an operator, the system, and
            // conflicts between transactions.
            Some(code) if ["08", "53", "57", "58", "40"].iter().any(|class| code.starts_with(class)) => {
                Self::Unavailable(why)
            }
            // Missing rights, and a write in a read-only transaction.
            Some("42501" | "25006") => Self::Statement { code: "denied", why },
            Some(code) if code.starts_with("42") => Self::invalid(why),
            None if is_lost => Self::Unavailable(why),
            None => Self::invalid(why),
            Some(_) => Self::Statement { code: "failed", why },
        }
    }
}

impl From<Failure> for Refusal {
    fn from(Failure(why): Failure) -> Self {
        Self::Unavailable(why)
    }
}

/// A value as a parameter: as text, which the server converts to the type that it needs.
#[derive(Debug)]
struct Parameter<'a>(&'a SqlValue);

impl ToSql for Parameter<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut tokio_util::bytes::BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self.0 {
            SqlValue::Null => return Ok(IsNull::Yes),
            SqlValue::Boolean(value) => out.extend_from_slice(if *value { b"t" } else { b"f" }),
            SqlValue::Integer(value) => out.extend_from_slice(value.to_string().as_bytes()),
            SqlValue::Real(Double(value)) => out.extend_from_slice(value.to_string().as_bytes()),
            SqlValue::Text(value) => out.extend_from_slice(value.as_bytes()),
            SqlValue::Bytes(Bytes(value)) => out.extend_from_slice(value),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        if matches!(self.0, SqlValue::Bytes(_)) { Format::Binary } else { Format::Text }
    }

    to_sql_checked!();
}

/// How a column reaches the guest.
#[derive(Debug, Clone, Copy)]
enum Form {
    Boolean,
    Integer,
    Real,
    Bytes,
    Text,
}

impl Form {
    /// Returns the form for a type, and the expression that gives it.
    fn of(kind: &Type, column: &str) -> (Self, String) {
        match *kind {
            Type::BOOL => (Self::Boolean, column.to_owned()),
            Type::INT2 | Type::INT4 | Type::INT8 => (Self::Integer, format!("{column}::int8")),
            Type::FLOAT4 | Type::FLOAT8 => (Self::Real, format!("{column}::float8")),
            Type::BYTEA => (Self::Bytes, column.to_owned()),
            // RFC 3339.
            Type::TIMESTAMP | Type::TIMESTAMPTZ => (Self::Text, format!("to_json({column}) #>> '{{}}'")),
            _ => (Self::Text, format!("{column}::text")),
        }
    }

    fn value(self, row: &Row, at: usize) -> std::result::Result<SqlValue, tokio_postgres::Error> {
        let value = match self {
            Self::Boolean => row.try_get::<_, Option<bool>>(at)?.map(SqlValue::Boolean),
            Self::Integer => row.try_get::<_, Option<i64>>(at)?.map(SqlValue::Integer),
            Self::Real => row.try_get::<_, Option<f64>>(at)?.map(|value| SqlValue::Real(Double(value))),
            Self::Bytes => row.try_get::<_, Option<Vec<u8>>>(at)?.map(|value| SqlValue::Bytes(Bytes(value))),
            Self::Text => row.try_get::<_, Option<String>>(at)?.map(SqlValue::Text),
        };
        Ok(value.unwrap_or(SqlValue::Null))
    }
}

/// A connection of the pool. If it is dropped in the middle of a statement, the server is asked to
/// cancel the statement, and the connection is closed.
struct Session {
    client: Option<Object>,
    /// What has made the connection.
    connector: Connector,
}

impl Session {
    /// Begins a read-only transaction.
    async fn begin(&self) -> Outcome<&Client> {
        let client: &Client = self.client.as_ref().ok_or_else(|| Refusal::Unavailable("it is closed".to_owned()))?;
        client.batch_execute(&format!("{VALUES}; begin read only")).await?;
        // After the first snapshot, no function can make the transaction writable.
        client.batch_execute("select 1").await?;
        Ok(client)
    }

    /// Ends the transaction, with everything that a statement has set in it, and gives the
    /// connection back.
    async fn end(mut self) {
        if let Some(client) = &self.client
            && client.batch_execute("rollback").await.is_ok()
        {
            drop(self.client.take());
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            let unfinished = Unfinished::of(&self.connector, &client);
            drop(Object::take(client));
            drop(unfinished);
        }
    }
}

/// Asks the server to cancel what a connection is executing, when this is dropped. Otherwise the
/// server would continue, and keep its locks, until it has an answer to send.
struct Unfinished(Option<(Connector, CancelToken)>);

impl Unfinished {
    fn of(connector: &Connector, client: &Client) -> Self {
        Self(Some((connector.clone(), client.cancel_token())))
    }

    /// Cancels nothing, because the server has answered.
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some((connector, token)) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(connector.cancel(token));
        }
    }
}

/// Lets the server check that a text is one statement that reads or changes rows.
async fn check_kind(client: &Client, text: &str) -> Outcome<()> {
    client.execute(&format!("prepare anacostia_check as\n{text}\n"), &[]).await?;
    client.batch_execute("deallocate anacostia_check").await?;
    Ok(())
}

/// A query whose rows have the forms of the contract.
struct Query {
    statement: Statement,
    columns: Vec<String>,
    forms: Vec<Form>,
}

async fn prepare_query(client: &Client, text: &str) -> Outcome<Query> {
    check_kind(client, text).await?;
    let plain = client.prepare(text).await?;
    if plain.columns().is_empty() {
        return Err(Refusal::invalid("it returns no rows: `execute` is for changes"));
    }
    let columns: Vec<String> = plain.columns().iter().map(|column| column.name().to_owned()).collect();
    // By number, because names may be missing or appear twice.
    let names: Vec<String> = (1..=columns.len()).map(|at| quoted(&format!("c{at}"))).collect();
    let each = plain.columns().iter().zip(&names);
    let (forms, list): (Vec<Form>, Vec<String>) = each.map(|(column, name)| Form::of(column.type_(), name)).unzip();
    let text = text.trim_end().trim_end_matches(';');
    let sql = format!("select {} from (\n{text}\n) as q({})", list.join(", "), names.join(", "));
    let statement = client.prepare_typed(&sql, plain.params()).await;
    let statement = statement.map_err(|why| match Refusal::from(why) {
        Refusal::Statement { why, .. } => {
            Refusal::Statement { code: "denied", why: format!("this is not a query that only reads: {why}") }
        }
        other => other,
    })?;
    Ok(Query { statement, columns, forms })
}

impl Pg {
    pub(super) fn new(url: &str, password: Option<SecretSource>) -> Self {
        Self { url: url.to_owned(), password, pool: OnceCell::new() }
    }

    async fn session(&self) -> Outcome<Session> {
        let make = || async {
            let config = config(&self.url, self.password.as_ref())?;
            // A function may have changed settings of its session.
            let recycling = ManagerConfig { recycling_method: RecyclingMethod::Clean };
            let connector = Connector::of(&config).await.map_err(Failure)?;
            let manager = Manager::from_connect(config, connector.clone(), recycling);
            let pool = Pool::builder(manager).max_size(MAX_CONNECTIONS).build();
            pool.map(|pool| (pool, connector)).map_err(|why| Refusal::Unavailable(why.to_string()))
        };
        let (pool, connector) = self.pool.get_or_try_init(make).await?;
        match tokio::time::timeout(WAIT, pool.get()).await {
            Ok(Ok(client)) => Ok(Session { client: Some(client), connector: connector.clone() }),
            Ok(Err(PoolError::Backend(error))) => Err(Refusal::Unavailable(Failure::from(error).0)),
            Ok(Err(why)) => Err(Refusal::Unavailable(why.to_string())),
            Err(_) => Err(Refusal::Unavailable(format!("{MAX_CONNECTIONS} queries are running there already"))),
        }
    }

    /// Starts a query, in a task that ends when nobody receives its parts any more.
    pub(super) async fn query(&self, statement: SqlStatement, sender: Sender) {
        let session = match self.session().await {
            Ok(session) => session,
            Err(refusal) => return drop(sender.send(Err(refusal)).await),
        };
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = stream(&session, &statement, &sender) => ended,
                // Dropping the session cancels the query.
                () = sender.closed() => return,
            };
            session.end().await;
            let _ = sender.send(ended.map(|()| Part::End)).await;
        });
    }

    /// See [`super::access::Access::check`].
    pub(super) async fn check(&self, statement: &SqlStatement) -> Outcome<()> {
        let session = self.session().await?;
        let check = async {
            let client = session.begin().await?;
            check_kind(client, &statement.text).await?;
            let prepared = client.prepare(&statement.text).await?;
            check_count(prepared.params().len(), statement.parameters.len())
        };
        let checked = check.await;
        session.end().await;
        checked
    }

    /// See [`super::access::Access::change`].
    pub(super) async fn change(&self, attempt: AttemptId, journal: &Path) -> Outcome<Option<Box<dyn Changes>>> {
        let config = config(&self.url, self.password.as_ref())?;
        let connector = Connector::of(&config).await.map_err(Failure)?;
        // A connection of its own, because the transaction stays open.
        let (client, _) = connector.connect(&config, Arc::default()).await?;
        let unfinished = Unfinished::of(&connector, &client);
        let changed = change(&client, attempt, journal).await;
        unfinished.done();
        Ok(changed?.then(|| Box::new(Open(client)) as Box<dyn Changes>))
    }
}

/// Begins a transaction, and executes the statements of a journal in it. Returns whether there was
/// anything to do.
async fn change(client: &Client, attempt: AttemptId, journal: &Path) -> Outcome<bool> {
    make_markers(client).await?;
    client.batch_execute(&format!("{VALUES}; begin; set local synchronous_commit = on")).await?;
    client.execute(&format!("delete from {MARKERS} where attempt < $1::text::uuid"), &[&oldest_marker()]).await?;
    let marker = format!("insert into {MARKERS} (attempt) values ($1::text::uuid) on conflict do nothing");
    if client.execute(&marker, &[&attempt.to_string()]).await? == 0 {
        return Ok(false);
    }
    execute_all(client, journal).await?;
    // Check deferred constraints now, while the attempt can still be refused.
    client.batch_execute("set constraints all immediate").await?;
    Ok(true)
}

/// Sends the parts of a query.
async fn stream(session: &Session, statement: &SqlStatement, sender: &Sender) -> Outcome<()> {
    let client = session.begin().await?;
    let query = prepare_query(client, &statement.text).await?;
    check_count(query.statement.params().len(), statement.parameters.len())?;
    let parameters: Vec<Parameter<'_>> = statement.parameters.iter().map(Parameter).collect();
    let rows = client.query_raw(&query.statement, &parameters).await?;
    // If the channel is closed, the caller drops this future.
    let send = async |part| drop(sender.send(Ok(part)).await);
    send(Part::Columns(query.columns)).await;
    pin_mut!(rows);
    let mut collector = Collector::default();
    while let Some(row) = rows.next().await {
        let row = row?;
        let values = query.forms.iter().enumerate().map(|(at, form)| form.value(&row, at));
        if let Some(chunk) = collector.push(values.collect::<Result<_, _>>()?) {
            send(Part::Rows(chunk)).await;
        }
    }
    let rest = collector.take();
    if !rest.is_empty() {
        send(Part::Rows(rest)).await;
    }
    Ok(())
}

/// Creates the table of the attempts whose changes are committed, if it does not exist.
async fn make_markers(client: &Client) -> Outcome<()> {
    let exists = async || {
        let row = client.query_one(&format!("select to_regclass('{MARKERS}') is not null"), &[]).await?;
        Ok::<bool, Refusal>(row.try_get(0)?)
    };
    if exists().await? {
        return Ok(());
    }
    let create = format!("create table {MARKERS} (attempt uuid primary key, at timestamptz not null default now())");
    let Err(why) = client.batch_execute(&create).await else { return Ok(()) };
    // Another host may have been faster.
    if exists().await? {
        return Ok(());
    }
    let Failure(why) = why.into();
    let why = format!(
        "the table in which the host records its changes cannot be created: {why}; ask a user with that right to \
         execute `{create}`, and to grant `select, insert, delete` on it to the user of `url`"
    );
    Err(Refusal::Statement { code: "denied", why })
}

/// Executes the statements of a journal.
async fn execute_all(client: &Client, journal: &Path) -> Outcome<()> {
    let mut statements = read_ahead(journal);
    let mut prepared: HashMap<String, Statement> = HashMap::new();
    let mut number = 0;
    while let Some(statement) = statements.recv().await {
        number += 1;
        execute(client, statement?, &mut prepared).await.map_err(|refusal| refusal.of_statement(number))?;
    }
    Ok(())
}

/// Reads the statements of a journal on a blocking thread.
fn read_ahead(journal: &Path) -> mpsc::Receiver<std::io::Result<SqlStatement>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let journal = journal.to_owned();
    tokio::task::spawn_blocking(move || match Journal::open(&journal) {
        Ok(statements) => {
            let _ = statements.map(|statement| sender.blocking_send(statement)).find(Result::is_err);
        }
        Err(error) => drop(sender.blocking_send(Err(error))),
    });
    receiver
}

async fn execute(client: &Client, statement: SqlStatement, prepared: &mut HashMap<String, Statement>) -> Outcome<()> {
    let SqlStatement { text, parameters } = statement;
    let known = if let Some(known) = prepared.get(&text) {
        known.clone()
    } else {
        check_kind(client, &text).await?;
        let made = client.prepare(&text).await?;
        if prepared.len() >= MAX_PREPARED {
            prepared.clear();
        }
        prepared.insert(text, made.clone());
        made
    };
    check_count(known.params().len(), parameters.len())?;
    client.execute_raw(&known, parameters.iter().map(Parameter).collect::<Vec<_>>()).await?;
    Ok(())
}

/// A connection with an open transaction, which closing it rolls back.
struct Open(Client);

#[async_trait]
impl Changes for Open {
    async fn commit(self: Box<Self>) -> Outcome<()> {
        Ok(self.0.batch_execute("commit").await?)
    }
}
