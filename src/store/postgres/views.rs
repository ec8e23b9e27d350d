//! SQL over the records: one connection, and one read-only transaction for all of its queries.
//!
//! The server decides what a query may do. It takes one statement, executes it as a subquery, and
//! so only if it is a query, in a transaction that it keeps from writing. Names lead to the
//! temporary views, because the search path has nothing else; a query that names the schema reads
//! the tables behind them. That is no protection either: who can run this has the password.

use std::ops::ControlFlow;

use futures_util::{TryStreamExt as _, pin_mut};
use tokio::runtime::Runtime;
use tokio_postgres::error::{DbError, ErrorPosition, SqlState};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Column, Error};

use super::connect::{Place, Use, quoted, runtime};
use super::migrations;
use super::sql::{Fail, Row, from_postgres};
use crate::manifest::SecretSource;
use crate::store::views::{EMPTY, MORE_THAN_ONE, ONLY_READS, RowSink, VIEWS, Value, Views, place};
use crate::store::{Result, StoreError};

/// Begins the transaction of all queries. The first statement in it takes the snapshot. A query
/// that fails ends the part of the transaction since the savepoint.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT 1; SAVEPOINT start;";

/// A connection that answers queries, and the runtime on which it does so.
#[derive(Debug)]
pub(in crate::store) struct PostgresViews {
    client: Client,
    runtime: Runtime,
}

impl PostgresViews {
    /// Connects to the store, and begins the transaction of the queries. `None` if nothing was ever
    /// recorded there. Not for work on a runtime.
    ///
    /// # Errors
    /// As [`PostgresStore::open_read_only`](super::PostgresStore::open_read_only).
    pub(in crate::store) fn open(url: &str, password: Option<&SecretSource>, schema: &str) -> Result<Option<Self>> {
        let runtime = runtime("make the views")?;
        let client = runtime.block_on(connect(url, password, schema))?;
        Ok(client.map(|client| Self { client, runtime }))
    }

    async fn run(&self, sql: &str, sink: &mut dyn RowSink) -> std::result::Result<(), Wrong> {
        // One `;` may end the query. In a subquery it would be a mistake.
        let sql = sql.trim();
        let sql = sql.strip_suffix(';').unwrap_or(sql);
        if sql.is_empty() {
            return Err(Wrong::Statement(EMPTY));
        }
        let statement = self.client.prepare(sql).await?;
        if !statement.params().is_empty() {
            return Err(Wrong::Statement("the query has a parameter, such as `$1`: write the value itself"));
        }
        let columns = statement.columns();
        let query = self.client.prepare(&as_subquery(sql, columns)).await.map_err(|error| match error.code() {
            // It is a statement of another kind, or its `WITH` changes rows.
            Some(&SqlState::SYNTAX_ERROR | &SqlState::FEATURE_NOT_SUPPORTED) => Wrong::Statement(ONLY_READS),
            _ => error.into(),
        })?;
        if columns.is_empty() {
            return Err(Wrong::Statement("the query has no columns"));
        }
        let names: Vec<&str> = columns.iter().map(Column::name).collect();
        if sink.columns(&names).is_break() {
            return Ok(());
        }
        let rows = self.client.query_raw(&query, std::iter::empty::<&str>()).await?;
        pin_mut!(rows);
        while let Some(row) = rows.try_next().await? {
            let row = Row::new(row);
            let cells: Vec<Cell> =
                columns.iter().enumerate().map(|(at, column)| cell(&row, at, column.type_())).collect::<Result<_>>()?;
            let values: Vec<Value<'_>> = cells.iter().map(Cell::value).collect();
            if sink.row(&values) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }
}

/// Connects, makes the views, and begins the transaction.
async fn connect(url: &str, password: Option<&SecretSource>, schema: &str) -> Result<Option<Client>> {
    let place = Place::of(url, password, schema).await?;
    let connected = place.connect(Use::Query).await;
    let (client, _) = connected.map_err(|error| place.failed(&error, "connect"))?;
    if !migrations::is_newest(&client, &place).await? {
        return Ok(None);
    }
    let views = include_str!("views.sql").replace("{schema}", &quoted(schema));
    for sql in [&views, "SET default_transaction_read_only = on", BEGIN] {
        client.batch_execute(sql).await.map_err(|error| place.failed(&error, "make the views"))?;
    }
    Ok(Some(client))
}

impl Views for PostgresViews {
    fn query(&mut self, sql: &str, sink: &mut dyn RowSink) -> Result<()> {
        self.runtime.block_on(async {
            let done = self.run(sql, sink).await;
            if done.is_err() {
                // If this fails, so does the next query, with the reason.
                let _ = self.client.batch_execute("ROLLBACK TO SAVEPOINT start").await;
            }
            done.map_err(|wrong| match wrong {
                Wrong::Statement(why) => StoreError::Invalid(why.to_owned()),
                Wrong::Value(error) => error,
                Wrong::Server(error) => explain(&error, sql.trim()),
            })
        })
    }
}

/// What is wrong with a query.
enum Wrong {
    Statement(&'static str),
    Value(StoreError),
    Server(Error),
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

impl From<StoreError> for Wrong {
    fn from(error: StoreError) -> Self {
        Self::Value(error)
    }
}

/// Returns the statement that executes a query, with columns of the types that [`cell`] reads. As a
/// subquery, the server takes nothing but a query.
fn as_subquery(sql: &str, columns: &[Column]) -> String {
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for (at, column) in columns.iter().enumerate() {
        names.push(format!("c{at}"));
        values.push(match column.type_() {
            &Type::BOOL => format!("c{at}::int::bigint"),
            kind if is_integer(kind) => format!("c{at}::bigint"),
            kind if is_real(kind) => format!("c{at}::double precision"),
            _ => format!("c{at}::text"),
        });
    }
    let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    // The query may end in a comment.
    format!("SELECT {} FROM (\n{sql}\n) q{names}", values.join(", "))
}

fn is_integer(kind: &Type) -> bool {
    [Type::BOOL, Type::INT2, Type::INT4, Type::INT8, Type::OID].contains(kind)
}

fn is_real(kind: &Type) -> bool {
    [Type::FLOAT4, Type::FLOAT8].contains(kind)
}

/// A value that a query returned.
enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
}

impl Cell {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Integer(value) => Value::Integer(*value),
            Self::Real(value) => Value::Real(*value),
            Self::Text(value) => Value::Text(value),
        }
    }
}

/// Reads a column of the statement that [`as_subquery`] makes, whose type in the query is `kind`.
fn cell(row: &Row, at: usize, kind: &Type) -> Result<Cell> {
    let read = || {
        Ok(if is_integer(kind) {
            row.get::<Option<i64>>(at)?.map(Cell::Integer)
        } else if is_real(kind) {
            // NaN is no value here, as in the views over SQLite.
            row.get::<Option<f64>>(at)?.filter(|value| !value.is_nan()).map(Cell::Real)
        } else if *kind == Type::NUMERIC {
            row.get::<Option<String>>(at)?.and_then(|text| number(&text))
        } else {
            row.get::<Option<String>>(at)?.map(Cell::Text)
        })
    };
    let value = read().map_err(|fail: Fail| fail.into_store("read a row"))?;
    Ok(value.unwrap_or(Cell::Null))
}

/// Reads the text of a decimal number: sums of whole numbers are whole, means are not.
fn number(text: &str) -> Option<Cell> {
    if let Ok(whole) = text.parse() {
        return Some(Cell::Integer(whole));
    }
    text.parse().ok().filter(|value: &f64| !value.is_nan()).map(Cell::Real)
}

/// Makes the error of a query that the server refuses, or that fails while it is executed.
fn explain(error: &Error, sql: &str) -> StoreError {
    let Some(said) = error.as_db_error() else { return from_postgres(error, "execute the query") };
    match said.code() {
        &SqlState::READ_ONLY_SQL_TRANSACTION => StoreError::Invalid(ONLY_READS.to_owned()),
        // All other mistakes in the syntax have a place.
        &SqlState::SYNTAX_ERROR if said.position().is_none() => StoreError::Invalid(MORE_THAN_ONE.to_owned()),
        &SqlState::UNDEFINED_TABLE => {
            StoreError::Invalid(format!("{}; the views are {}", in_place(said, sql), VIEWS.join(", ")))
        }
        // The query is wrong, or the records have a value that it does not expect.
        code if ["0A", "21", "22", "25", "2F", "3F", "42", "54"].iter().any(|class| code.code().starts_with(class)) => {
            StoreError::Invalid(in_place(said, sql))
        }
        _ => from_postgres(error, "execute the query"),
    }
}

/// Says what the server said, and where in the query it stopped.
fn in_place(said: &DbError, sql: &str) -> String {
    let skipped = match said.position() {
        Some(ErrorPosition::Original(at)) => usize::try_from(*at).ok().and_then(|at| at.checked_sub(1)),
        _ => None,
    };
    let rest = skipped.map(|skipped| sql.chars().skip(skipped).collect::<String>()).unwrap_or_default();
    format!("{}{}", said.message(), place(&rest))
}
