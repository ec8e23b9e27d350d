//! A connection while a method uses it: statements are sent in groups, because a round trip to the
//! server costs more than most statements.
//!
//! A statement whose answer is not needed is only noted ([`Db::later`]). The next one whose answer
//! is needed takes all noted ones along, in their order, and so does the end of the transaction.
//! The server executes them one after the other; the first error is the result.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use deadpool_postgres::{ClientWrapper, Object};
use futures_util::{TryStreamExt as _, pin_mut};
use tokio_postgres::Statement;

use super::sql::{Fail, Row, Value, Work};

/// The most statements that are sent before the answers to them are read.
const TOGETHER: usize = 64;

/// A statement with its values.
#[derive(Debug)]
struct Noted {
    sql: Cow<'static, str>,
    values: Vec<Value>,
}

/// What the server answered to a statement: rows, and how many it changed.
type Answer = Result<(Vec<Row>, u64), tokio_postgres::Error>;

/// A connection of a pool. Unless [`Db::end`] gives it back, it is closed when this is dropped, and
/// the server rolls back what is not committed.
#[derive(Debug)]
pub(super) struct Db {
    client: Option<Object>,
    later: Mutex<Vec<Noted>>,
    /// Held while statements are sent. Several may be asked at once, with `try_join!`, and what was
    /// noted before comes before all of them.
    sending: tokio::sync::Mutex<()>,
}

impl Db {
    /// Uses a connection for single statements, or for a transaction if `begin` begins one.
    pub(super) fn new(client: Object, begin: Option<&'static str>) -> Self {
        let db = Self { client: Some(client), later: Mutex::default(), sending: tokio::sync::Mutex::default() };
        if let Some(begin) = begin {
            db.later(begin, &[]);
        }
        db
    }

    /// Notes a statement. It is sent with the next one whose answer is needed.
    pub(super) fn later(&self, sql: impl Into<Cow<'static, str>>, values: &[Value]) {
        let noted = Noted { sql: sql.into(), values: values.to_vec() };
        self.later.lock().unwrap_or_else(PoisonError::into_inner).push(noted);
    }

    /// Executes a statement, and returns how many rows it changed.
    pub(super) async fn execute(&self, sql: &str, values: &[Value]) -> Work<u64> {
        Ok(self.send(sql, values).await?.1)
    }

    /// Returns the rows of a query.
    pub(super) async fn rows(&self, sql: &str, values: &[Value]) -> Work<Vec<Row>> {
        Ok(self.send(sql, values).await?.0)
    }

    /// Returns the first row of a query; `None` if it has none.
    pub(super) async fn row(&self, sql: &str, values: &[Value]) -> Work<Option<Row>> {
        Ok(self.send(sql, values).await?.0.into_iter().next())
    }

    /// Returns the row of a query that always has one.
    pub(super) async fn one(&self, sql: &str, values: &[Value]) -> Work<Row> {
        self.row(sql, values).await?.ok_or_else(|| Fail::Column("a row is missing".to_owned()))
    }

    /// Returns whether a query has rows.
    pub(super) async fn exists(&self, sql: &str, values: &[Value]) -> Work<bool> {
        Ok(!self.send(sql, values).await?.0.is_empty())
    }

    /// Ends with a statement, such as `COMMIT`, if there is one, and gives the connection back to
    /// the pool.
    pub(super) async fn end(mut self, with: Option<&'static str>) -> Work<()> {
        if let Some(sql) = with {
            self.send(sql, &[]).await?;
        }
        drop(self.client.take());
        Ok(())
    }

    /// Undoes the transaction, and gives the connection back to the pool. If the server does not
    /// answer, the connection is closed, which undoes the transaction too.
    pub(super) async fn undo(self) {
        self.later.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let _ = self.end(Some("ROLLBACK")).await;
    }

    fn client(&self) -> Work<&ClientWrapper> {
        self.client.as_deref().ok_or_else(|| Fail::Connection("the connection is closed".to_owned()))
    }

    /// Sends what is noted, and this statement, and returns the answer to it.
    async fn send(&self, sql: &str, values: &[Value]) -> Work<(Vec<Row>, u64)> {
        let sending = self.sending.lock().await;
        let mut all = std::mem::take(&mut *self.later.lock().unwrap_or_else(PoisonError::into_inner));
        all.push(Noted { sql: sql.to_owned().into(), values: values.to_vec() });
        if let Some(number) = all.iter().flat_map(|it| &it.values).find_map(too_large) {
            return Err(Fail::invalid(format!("{number} is too large: numbers are at most {}", i64::MAX)));
        }
        let client = self.client()?;
        let mut prepared = Vec::with_capacity(all.len());
        for it in &all {
            #[cfg(test)]
            super::plans::note(&it.sql);
            prepared.push(client.prepare_cached(&it.sql).await?);
        }
        let groups = all.chunks(TOGETHER).len();
        for (at, (noted, statements)) in all.chunks(TOGETHER).zip(prepared.chunks(TOGETHER)).enumerate() {
            let mut requests = Vec::with_capacity(noted.len());
            for (it, statement) in noted.iter().zip(statements) {
                requests.push(run(client, statement, &it.values));
            }
            let mut group = Group::send(requests).await;
            if at + 1 == groups {
                // All is sent: a statement that another future sends now comes after it.
                drop(sending);
                return group.answers().await?.pop().ok_or_else(no_answer);
            }
            group.answers().await?;
        }
        Err(no_answer())
    }
}

fn no_answer() -> Fail {
    Fail::Connection("the server did not answer".to_owned())
}

impl Drop for Db {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
        }
    }
}

fn too_large(value: &Value) -> Option<u64> {
    if let Value::TooLarge(number) = value { Some(*number) } else { None }
}

/// Executes a statement. It is sent when the future is first polled.
async fn run(client: &ClientWrapper, statement: &Statement, values: &[Value]) -> Answer {
    let answer = client.query_raw(statement, values.iter()).await?;
    pin_mut!(answer);
    let mut rows = Vec::new();
    while let Some(row) = answer.try_next().await? {
        rows.push(Row::new(row));
    }
    Ok((rows, answer.rows_affected().unwrap_or(0)))
}

/// A request, and its answer once it has come.
type Sent<F> = (Pin<Box<F>>, Option<<F as Future>::Output>);

/// Requests that were sent together.
struct Group<F: Future>(Vec<Sent<F>>);

impl<T, F: Future<Output = Result<T, tokio_postgres::Error>>> Group<F> {
    /// Sends requests in this order.
    async fn send(requests: Vec<F>) -> Self {
        let mut group = Self(requests.into_iter().map(|request| (Box::pin(request), None)).collect());
        poll_fn(|context| {
            group.poll(context);
            Poll::Ready(())
        })
        .await;
        group
    }

    /// Waits for the answers. Returns the first error, if there is one.
    async fn answers(&mut self) -> Result<Vec<T>, tokio_postgres::Error> {
        poll_fn(|context| if self.poll(context) { Poll::Ready(()) } else { Poll::Pending }).await;
        self.0.drain(..).filter_map(|(_, answer)| answer).collect()
    }

    /// Polls all requests without an answer, in their order. Returns whether none is left.
    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        let mut is_done = true;
        for (request, answer) in self.0.iter_mut().filter(|(_, answer)| answer.is_none()) {
            match request.as_mut().poll(context) {
                Poll::Ready(value) => *answer = Some(value),
                Poll::Pending => is_done = false,
            }
        }
        is_done
    }
}
