//! Looking after a schema: the sizes of its tables, and what is wrong in them.
//!
//! A copy of the records is the work of `pg_dump`: it belongs to the server, knows all of its
//! versions, and reads one snapshot as this would. Starting it from here would need a program that
//! is as new as the server, and would send the password over a connection whose certificate it
//! does not verify with `sslmode=require`, as the store does.

use std::collections::BTreeMap;
use std::path::Path;

use tokio::runtime::Runtime;
use tokio_postgres::{Client, Error};

use super::connect::{Place, Use, quoted, runtime};
use super::migrations;
use crate::base::postgres::reason;
use crate::manifest::SecretSource;
use crate::store::upkeep::{CONTRADICTIONS, StorePart, Upkeep, counted, divided};
use crate::store::{Result, StoreError};

/// Begins a transaction: all that is read is of one moment.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The tables of the schema, with their bytes on disk: rows, long values and indexes.
const TABLES: &str = "SELECT c.relname::text, pg_total_relation_size(c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname = current_schema() ORDER BY c.relname";

/// A connection that looks after the records, and the runtime on which it does so.
#[derive(Debug)]
pub(in crate::store) struct PostgresUpkeep {
    place: Place,
    client: Client,
    runtime: Runtime,
}

impl PostgresUpkeep {
    /// Connects to the store. `None` if nothing was ever recorded there. Not for work on a runtime.
    ///
    /// # Errors
    /// As [`PostgresStore::open_read_only`](super::PostgresStore::open_read_only).
    pub(in crate::store) fn open(url: &str, password: Option<&SecretSource>, schema: &str) -> Result<Option<Self>> {
        let runtime = runtime("look after the records")?;
        let opened: Result<_> = runtime.block_on(async {
            let place = Place::of(url, password, schema).await?;
            let connected = place.connect(Use::Upkeep).await;
            let (client, _) = connected.map_err(|error| place.failed(&error, "connect"))?;
            Ok(migrations::is_newest(&client, &place).await?.then_some((place, client)))
        });
        Ok(opened?.map(|(place, client)| Self { place, client, runtime }))
    }

    fn read<T>(&self, doing: &str, work: impl AsyncFnOnce(&Client) -> std::result::Result<T, Error>) -> Result<T> {
        self.runtime.block_on(async {
            let read = async {
                self.client.batch_execute(BEGIN).await?;
                work(&self.client).await
            };
            let found = read.await;
            // There is nothing to keep. If this fails, so does the next call, with the reason.
            let _ = self.client.batch_execute("ROLLBACK").await;
            found.map_err(|error| self.place.failed(&error, doing))
        })
    }
}

impl Upkeep for PostgresUpkeep {
    fn parts(&self) -> Result<Vec<StorePart>> {
        self.read("read the sizes of the records", async |client| {
            let bytes = tables(client).await?.into_iter().collect();
            let mut counts = BTreeMap::new();
            for table in counted() {
                counts.insert(table, number(client, &format!("SELECT count(*) FROM {table}")).await?);
            }
            Ok(divided(&counts, bytes))
        })
    }

    fn check(&self) -> Result<Vec<String>> {
        self.read("check the records", async |client| {
            for (table, _) in tables(client).await? {
                // The text of a row has all of its columns.
                let all = format!("SELECT count(t::text) FROM {} t", quoted(&table));
                match number(client, &all).await {
                    Err(error) if is_damage(&error) => {
                        // Queries over damaged tables say nothing.
                        return Ok(vec![format!("the table `{table}` is damaged: {}", reason(&error))]);
                    }
                    read => drop(read?),
                }
            }
            let mut wrong = Vec::new();
            for (what, count) in CONTRADICTIONS {
                match number(client, count).await? {
                    0 => {}
                    count => wrong.push(format!("{count} {what}")),
                }
            }
            Ok(wrong)
        })
    }

    fn back_up(&self, _: &Path) -> Result<()> {
        let Place { schema, url, .. } = &self.place;
        Err(StoreError::Invalid(format!(
            "the records are in {}, which only PostgreSQL's own programs copy: run `pg_dump --format=custom \
             --schema={schema} --file=records.dump '{url}'`, and then copy `logs` and `components` in the state folder; all \
             of that may be done while a host is running",
            self.place
        )))
    }
}

/// Returns the tables of the schema, with their bytes.
async fn tables(client: &Client) -> std::result::Result<Vec<(String, u64)>, Error> {
    let rows = client.query(TABLES, &[]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<_, i64>(1)?.unsigned_abs()))).collect()
}

/// Returns the number that a query returns.
async fn number(client: &Client, sql: &str) -> std::result::Result<u64, Error> {
    client.query_one(sql, &[]).await?.try_get::<_, i64>(0).map(i64::unsigned_abs)
}

/// Returns whether the server has found its files damaged.
fn is_damage(error: &Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with("XX"))
}
