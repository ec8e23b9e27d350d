//! PostgreSQL as a source of rows.
//!
//! The server itself writes the rows as JSON, because it knows every type that it has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::{StreamExt as _, pin_mut};
use tokio::sync::Notify;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Statement};

use super::source::{Answer, Failure, Look, Mark, Row, Source, Take, quoted, table_expression};
use crate::base::postgres::{Connector, reason, set_defaults};
use crate::manifest::{SecretSource, SqlDatabase, SqlRows};

/// How long to use prepared statements before looking for columns that were added.
const PLAN_FOR: Duration = Duration::from_secs(10);
/// Rows that are requested at a time.
const ROWS_AT_ONCE: i32 = 1_000;
/// Determines how values are written as text.
pub(super) const VALUES: &str =
    "set time zone 'UTC'; set datestyle = 'ISO'; set intervalstyle = 'iso_8601'; set extra_float_digits = 1";
/// Makes the session read-only. A statement that waits for a lock of the table fails after a time,
/// so that the reason is shown.
const READ_ONLY: &str = "set lock_timeout = '10s'; set session characteristics as transaction read only";

/// An open connection.
pub(super) struct Postgres {
    client: Client,
    /// Notified when a notification has come, or the connection has ended.
    news: Arc<Notify>,
    table: String,
    column: String,
    plan: Option<Plan>,
}

/// The statements that read rows.
struct Plan {
    made: Instant,
    /// Reads all rows.
    from_start: Statement,
    /// Reads the rows from a value on.
    from_value: Statement,
    /// The type of the high-water column.
    kind: String,
    /// An SQL expression for the latest value that is not in the future, if the column has times.
    now: Option<&'static str>,
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self(reason(&error))
    }
}

impl Postgres {
    /// Connects to the database, and listens for its notifications.
    pub(super) async fn open(url: &str, password: Option<&SecretSource>, rows: &SqlRows) -> Answer<Self> {
        let config = config(url, password)?;
        let news = Arc::new(Notify::new());
        let (client, _) = Connector::of(&config).await.map_err(Failure)?.connect(&config, Arc::clone(&news)).await?;
        client.batch_execute(&format!("{VALUES}; {READ_ONLY}")).await?;
        if let Some(channel) = &rows.notify {
            client.batch_execute(&format!("listen {}", quoted(channel))).await?;
        }
        let (table, column) = (table_expression(&rows.from), rows.high_water.clone());
        Ok(Self { client, news, table, column, plan: None })
    }

    async fn greatest_where(&self, condition: &str, values: &[String]) -> Answer<Option<Mark>> {
        let (table, column) = (&self.table, quoted(&self.column));
        let sql = format!("select q.{column}::text from {table} q where {condition} order by q.{column} desc limit 1");
        let values: Vec<(&(dyn ToSql + Sync), Type)> =
            values.iter().map(|value| (value as &(dyn ToSql + Sync), Type::TEXT)).collect();
        // This takes one message; a prepared statement takes more.
        let row = self.client.query_typed_opt(&sql, &values).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?.map(Mark::Text))
    }

    /// Asks for the columns, which may have changed, and prepares the statements that read them.
    async fn prepare(&self) -> Answer<Plan> {
        let rows = self.client.prepare(&format!("select * from {} q", self.table)).await?;
        let Some(high_water) = rows.columns().iter().find(|column| column.name() == self.column) else {
            return Err(Failure(format!("the rows have no column `{}`, which `high_water` names", self.column)));
        };
        let kind = format!("{}.{}", quoted(high_water.type_().schema()), quoted(high_water.type_().name()));
        let each = rows.columns().iter().map(|column| {
            let name = quoted(column.name());
            match *column.type_() {
                // Removes the line breaks that `encode` inserts.
                Type::BYTEA => format!("translate(encode(q.{name}, 'base64'), E'\\n', '') as {name}"),
                _ => format!("q.{name}"),
            }
        });
        let list = each.collect::<Vec<_>>().join(", ");
        let (table, column) = (&self.table, quoted(&self.column));
        let sql = |start: &str| {
            format!(
                "select q.{column}::text, coalesce(q.{column} <= $2::text::{kind}, false), row_to_json(r)::text \
                 from {table} q cross join lateral (select {list}) r where {start} \
                 order by q.{column} limit $3::text::bigint"
            )
        };
        let from_start = self.client.prepare(&sql(&format!("q.{column} is not null and $1::text is null"))).await?;
        let from_value = self.client.prepare(&sql(&format!("q.{column} >= $1::text::{kind}"))).await?;
        let now = now(high_water.type_());
        Ok(Plan { made: Instant::now(), from_start, from_value, kind, now })
    }
}

/// Returns an SQL expression for the present in this type, if it is a type of times. A time without
/// a time zone may be in any zone, up to 14 hours ahead of UTC.
fn now(kind: &Type) -> Option<&'static str> {
    match *kind {
        Type::TIMESTAMPTZ => Some("now()"),
        Type::TIMESTAMP => Some("now()::timestamp + interval '14 hours'"),
        Type::DATE => Some("(now()::timestamp + interval '14 hours')::date"),
        _ => None,
    }
}

/// Returns how to connect.
pub(super) fn config(url: &str, password: Option<&SecretSource>) -> Answer<Config> {
    let mut config = SqlDatabase::server(url)?;
    if let Some(SecretSource::Env(variable)) = password {
        let value = std::env::var(variable)
            .map_err(|_| Failure(format!("the environment variable `{variable}`, its password, is not set")))?;
        config.password(value);
    }
    set_defaults(&mut config);
    Ok(config)
}

fn as_text(mark: Option<&Mark>) -> Option<String> {
    mark.map(ToString::to_string)
}

#[async_trait]
impl Source for Postgres {
    async fn greatest(&mut self, up_to_now: bool) -> Answer<Option<Mark>> {
        if self.plan.as_ref().is_none_or(|plan| plan.made.elapsed() >= PLAN_FOR) {
            self.plan = Some(self.prepare().await?);
        }
        let column = quoted(&self.column);
        let condition = match self.plan.as_ref().and_then(|plan| plan.now).filter(|_| up_to_now) {
            Some(now) => format!("q.{column} <= {now}"),
            None => format!("q.{column} is not null"),
        };
        self.greatest_where(&condition, &[]).await
    }

    async fn greatest_between(&mut self, above: Option<&Mark>, below: &Mark) -> Answer<Option<Mark>> {
        let plan = match self.plan.take() {
            Some(plan) => plan,
            None => self.prepare().await?,
        };
        let (column, kind) = (quoted(&self.column), &plan.kind);
        let mut condition = format!("q.{column} < $1::text::{kind}");
        if above.is_some() {
            condition = format!("{condition} and q.{column} > $2::text::{kind}");
        }
        let values: Vec<String> = [Some(below), above].into_iter().flatten().map(ToString::to_string).collect();
        self.plan = Some(plan);
        self.greatest_where(&condition, &values).await
    }

    async fn read(&mut self, look: Look<'_>, take: &mut Take<'_>) -> Answer<()> {
        let plan = match self.plan.take() {
            Some(plan) => plan,
            None => self.prepare().await?,
        };
        let statement = if look.from.is_some() { &plan.from_value } else { &plan.from_start };
        let limit = look.limit.to_string();
        let transaction = self.client.transaction().await?;
        let portal = transaction.bind(statement, &[&as_text(look.from), &as_text(look.settled), &limit]).await?;
        self.plan = Some(plan);
        loop {
            let rows = transaction.query_portal_raw(&portal, ROWS_AT_ONCE).await?;
            pin_mut!(rows);
            let mut count = 0;
            while let Some(row) = rows.next().await {
                let row = row?;
                count += 1;
                // Line breaks in JSON are white space; those in strings are escaped.
                let line = row.try_get::<_, String>(2)?.replace(['\n', '\r'], " ");
                let row = Row { mark: Mark::Text(row.try_get(0)?), is_settled: row.try_get(1)?, line };
                if take(row).is_break() {
                    return Ok(());
                }
            }
            if count < ROWS_AT_ONCE {
                return Ok(transaction.commit().await?);
            }
        }
    }

    async fn may_have_changed(&mut self) -> Answer<bool> {
        Ok(true)
    }

    async fn changed(&mut self) -> Answer<()> {
        self.news.notified().await;
        if self.client.is_closed() {
            return Err(Failure("the server has closed the connection".to_owned()));
        }
        Ok(())
    }
}
