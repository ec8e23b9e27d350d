//! The schema, and the migrations from older versions to it.
//!
//! Migrations are numbered scripts. `schema_version` has the number of the last one that was
//! applied. A released script is never changed.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::connect::{Place, quoted};
use crate::store::{Result, StoreError, copy};

/// From nothing to version 1, from 1 to 2, and so on.
pub(super) const SCRIPTS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
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

/// Checks a schema, and refuses one that is not ours, was written by a newer version, or is not a
/// whole copy.
pub(super) async fn look(client: &Client, place: &Place) -> Result<Standing> {
    standing(client, place).await?.map_err(|from| place.name(copy::incomplete(&from)))
}

/// Does the same, and returns the other store if the schema is to become a copy of it.
async fn standing(client: &Client, place: &Place) -> Result<std::result::Result<Standing, String>> {
    let failed = |error: tokio_postgres::Error| place.failed(&error, "read the schema");
    let sql = "SELECT n.oid IS NOT NULL, count(c.oid),
        count(c.oid) FILTER (WHERE c.relname IN ('schema_version', 'meta', 'host')),
        count(c.oid) FILTER (WHERE c.relname = 'copy_of')
        FROM (SELECT $1::text) wanted (name) LEFT JOIN pg_namespace n ON n.nspname = wanted.name
        LEFT JOIN pg_class c ON c.relnamespace = n.oid GROUP BY n.oid";
    let row = client.query_one(sql, &[&place.schema]).await.map_err(failed)?;
    let found = row.try_get(0).and_then(|exists| Ok((exists, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?)));
    match found.map_err(failed)? {
        (false, ..) => return Ok(Ok(Standing::Missing)),
        (true, 0_i64, ..) => return Ok(Ok(Standing::Empty)),
        (true, _, 0_i64, 1_i64) => {
            let sql = format!("SELECT store FROM {}.copy_of", quoted(&place.schema));
            let row = client.query_one(&sql, &[]).await.map_err(failed)?;
            return row.try_get(0).map(Err).map_err(failed);
        }
        (true, _, 3_i64, _) => {}
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
        Some(Ok(version @ 1..)) if version <= SCRIPTS.len() => Ok(Ok(Standing::Ours(version))),
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
    apply(client, at).await.map_err(failed)?;
    client.batch_execute("SET LOCAL synchronous_commit = on; COMMIT").await.map_err(failed)
}

/// Applies the scripts after version `at`, in the transaction that is open.
async fn apply(client: &Client, at: usize) -> std::result::Result<(), tokio_postgres::Error> {
    for (number, script) in (1..).zip(SCRIPTS).skip(at) {
        let noted = format!("DELETE FROM schema_version; INSERT INTO schema_version VALUES ({number});");
        client.batch_execute(&format!("{script}\n{noted}")).await?;
    }
    Ok(())
}

/// Makes a schema without tables, or one that is not a whole copy, the place of a copy of the store
/// `from`. Another version of this program refuses it too. Then begins the transaction of the copy,
/// with empty tables. No other session copies to it or migrates it until this one ends.
pub(super) async fn begin_copy(client: &Client, place: &Place, from: &str) -> Result<()> {
    let failed = |error: tokio_postgres::Error| place.failed(&error, copy::DOING);
    // A session that was killed in the middle of a copy ends some moments later.
    client.batch_execute("SET lock_timeout = '10s'").await.map_err(failed)?;
    let lock = "SELECT pg_advisory_lock(hashtext('anacostia ' || $1::text))";
    client.query(lock, &[&place.schema]).await.map_err(|error| match error.code() {
        Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => StoreError::InUse {
            store: place.to_string(),
            holder: "another process, which copies to it or makes its tables".to_owned(),
        },
        _ => failed(error),
    })?;
    let make = match standing(client, place).await? {
        Ok(Standing::Missing) => format!("CREATE SCHEMA {};", quoted(&place.schema)),
        Ok(Standing::Empty) => String::new(),
        Err(_) => "DROP TABLE copy_of;".to_owned(),
        Ok(Standing::Ours(_)) => return Err(copy::not_empty(&place.to_string())),
    };
    let reserve = format!("BEGIN READ WRITE; {make} CREATE TABLE copy_of (store text NOT NULL);");
    client.batch_execute(&reserve).await.map_err(failed)?;
    client.execute("INSERT INTO copy_of VALUES ($1)", &[&from]).await.map_err(failed)?;
    client.batch_execute("SET LOCAL synchronous_commit = on; COMMIT").await.map_err(failed)?;
    client.batch_execute("BEGIN READ WRITE").await.map_err(failed)?;
    apply(client, 0).await.map_err(failed)
}

/// Commits the transaction of a copy: the schema is a store from then on.
pub(super) async fn complete_copy(client: &Client) -> std::result::Result<(), tokio_postgres::Error> {
    // Not before: whoever looks at the schema meanwhile would wait for the copy.
    client.batch_execute("DROP TABLE copy_of; SET LOCAL synchronous_commit = on; COMMIT").await
}
