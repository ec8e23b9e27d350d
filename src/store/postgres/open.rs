//! Opens a store: for a host (or for a verb that writes while no host is running), or for reading
//! while a host is running.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::connect::{Place, Use};
use super::db::Db;
use super::holder;
use super::lease::{self, Renewal};
use super::migrations::{self, Standing};
use super::writer::Writer;
use super::{PostgresStore, Writing};
use crate::base::Timestamp;
use crate::manifest::SecretSource;
use crate::model::Durability;
use crate::store::keeper::Kept;
use crate::store::{Holder, Result};

impl PostgresStore {
    /// Opens the store in the schema `schema` of the database at `url` for reading and writing, as
    /// its only host: makes or migrates the schema, takes the lease, and durably raises the epoch.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another host has it; [`StoreError::Corrupt`] if it is not a store,
    /// or a newer one; [`StoreError::Unavailable`] if the server cannot be reached.
    pub async fn open(
        url: &str,
        password: Option<&SecretSource>,
        schema: &str,
        durability: Durability,
        now: Timestamp,
    ) -> Result<Arc<Self>> {
        let place = Place::of(url, password, schema).await?;
        let pool = place.pool(Use::Write(durability))?;
        let client = place.first(&pool).await?;
        migrations::migrate(&client, &place).await?;
        drop(client);
        let holder = Holder::this_host(now);
        let (epoch, counters) = lease::take(&pool, &place, &holder, now).await?;
        let lease = Kept::keep(Renewal::of(place.clone(), epoch))?;
        let (newest, told) = watch::channel(counters.event);
        let readers = place.pool(Use::Read)?;
        let confirmed = Arc::new(Mutex::new(counters));
        let writer =
            Writer { pool, place: place.clone(), epoch, newest, confirmed, forgotten: watch::Sender::new(false) };
        let writing = Some(Writing { writer, lease, holder: Mutex::new(holder) });
        Ok(Arc::new(Self { place, epoch, newest: told, readers, writing }))
    }

    /// Opens the store for reading only, with or without a running host. `None` if nothing was ever
    /// recorded there. Its writing methods return [`StoreError::Conflict`];
    /// [`crate::store::MetadataStore::newest_event`] stays where it was at opening.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the server cannot be reached; [`StoreError::Corrupt`] if it
    /// is not a store, or has another version.
    pub async fn open_read_only(url: &str, password: Option<&SecretSource>, schema: &str) -> Result<Option<Arc<Self>>> {
        let place = Place::of(url, password, schema).await?;
        let readers = place.pool(Use::Read)?;
        let client = place.first(&readers).await?;
        if !migrations::is_newest(&client, &place).await? {
            return Ok(None);
        }
        let db = Db::new(client, None);
        let counted = db.one("SELECT epoch, event FROM meta WHERE one", &[]).await;
        let counted = counted.and_then(|row| Ok((row.get(0)?, row.get(1)?)));
        let (epoch, event): (u64, u64) = counted.map_err(|fail| place.name(fail.into_store("read the counters")))?;
        // If this fails, the connection is closed.
        let _ = db.end(None).await;
        // There is no sender: the value does not change.
        let (_, newest) = watch::channel(event);
        Ok(Some(Arc::new(Self { place, epoch, newest, readers, writing: None })))
    }
}

/// The host that has the store in the schema `schema` of the database at `url` open for writing;
/// `None` if there is none.
///
/// # Errors
/// When that cannot be found out.
pub async fn read_holder(url: &str, password: Option<&SecretSource>, schema: &str) -> Result<Option<Holder>> {
    let place = Place::of(url, password, schema).await?;
    let readers = place.pool(Use::Read)?;
    let client = place.first(&readers).await?;
    if matches!(migrations::look(&client, &place).await?, Standing::Missing | Standing::Empty) {
        return Ok(None);
    }
    let db = Db::new(client, None);
    holder::on_record(&db).await.map_err(|fail| place.name(fail.into_store("read who has it")))
}
