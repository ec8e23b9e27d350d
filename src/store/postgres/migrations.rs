//! The schema, and the migrations from older versions to it.
//!
//! Migrations are numbered scripts. `schema_version` has the number of the last one that was
//! applied. A released script is never changed.

use tokio_postgres::Client;

use super::connect::{Place, quoted};
use crate::store::{Result, StoreError};

/// From nothing to version 1, from 1 to 2, and so on.
pub(super) const SCRIPTS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
];

/// Whether this program can use a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is no such schema.
    Missing,
    /// It has no tables.
    Empty,
    /// It is ours, of this version, which is at most our own.
    Ours(usize),
}

/// Checks a schema, and refuses one that is not ours, or was written by a newer version.
pub(super) async fn look(client: &Client, place: &Place) -> Result<Standing> {
    let failed = |error: tokio_postgres::Error| place.failed(&error, "read the schema");
    let sql = "SELECT n.oid IS NOT NULL, count(c.oid),
        count(c.oid) FILTER (WHERE c.relname IN ('schema_version', 'meta', 'host'))
        FROM (SELECT $1::text) wanted (name) LEFT JOIN pg_namespace n ON n.nspname = wanted.name
        LEFT JOIN pg_class c ON c.relnamespace = n.oid GROUP BY n.oid";
    let row = client.query_one(sql, &[&place.schema]).await.map_err(failed)?;
    match row.try_get(0).and_then(|exists| Ok((exists, row.try_get(1)?, row.try_get(2)?))).map_err(failed)? {
        (false, ..) => return Ok(Standing::Missing),
        (true, 0_i64, _) => return Ok(Standing::Empty),
        (true, _, 3_i64) => {}
        (true, ..) => {
            return Err(place.name(StoreError::Corrupt(
                "it belongs to another program; set `metadata_store.schema` to a name that is not in use yet"
                    .to_owned(),
            )));
        }
    }
    let sql = format!("SELECT max(version) FROM {}.schema_version", quoted(&place.schema));
    let row = client.query_one(&sql, &[]).await.map_err(failed)?;
    let version: Option<i64> = row.try_get(0).map_err(failed)?;
    match version.map(usize::try_from) {
        Some(Ok(version @ 1..)) if version <= SCRIPTS.len() => Ok(Standing::Ours(version)),
        _ => Err(place.name(StoreError::Corrupt(format!(
            "it has version {} of the schema, and this anacostia knows up to {}; use the newer anacostia that wrote it",
            version.unwrap_or(0),
            SCRIPTS.len()
        )))),
    }
}

/// Returns whether there is a store in a schema. Refuses one that has to be migrated first.
pub(super) async fn is_newest(client: &Client, place: &Place) -> Result<bool> {
    match look(client, place).await? {
        Standing::Ours(version) if version == SCRIPTS.len() => Ok(true),
        Standing::Ours(version) => Err(place.name(StoreError::Corrupt(format!(
            "its schema has version {version}, and this anacostia needs {}; run `anacostia run` once to migrate it",
            SCRIPTS.len()
        )))),
        Standing::Missing | Standing::Empty => Ok(false),
    }
}

/// Brings a schema to the newest version, in one transaction. Hosts that start at the same time
/// wait for each other.
pub(super) async fn migrate(client: &Client, place: &Place) -> Result<()> {
    if look(client, place).await? == Standing::Ours(SCRIPTS.len()) {
        return Ok(());
    }
    let failed = |error: tokio_postgres::Error| place.failed(&error, "migrate the schema");
    client.batch_execute("BEGIN").await.map_err(failed)?;
    let lock = "SELECT pg_advisory_xact_lock(hashtext('anacostia ' || $1::text))";
    client.query(lock, &[&place.schema]).await.map_err(failed)?;
    let at = match look(client, place).await? {
        Standing::Missing => {
            client.batch_execute(&format!("CREATE SCHEMA {}", quoted(&place.schema))).await.map_err(failed)?;
            0
        }
        Standing::Empty => 0,
        Standing::Ours(version) => version,
    };
    for (number, script) in (1..).zip(SCRIPTS).skip(at) {
        let noted = format!("DELETE FROM schema_version; INSERT INTO schema_version VALUES ({number});");
        client.batch_execute(&format!("{script}\n{noted}")).await.map_err(failed)?;
    }
    client.batch_execute("SET LOCAL synchronous_commit = on; COMMIT").await.map_err(failed)
}
