//! Opens a store: for a host (or for a verb that writes while no host is running), or for reading
//! while a host is running.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::connect::{Link, Place};
use super::fitness::Unfit;
use super::lease::{self, Renewal, Taken};
use super::reply::reason;
use super::{RedisStore, Writing};
use crate::base::Timestamp;
use crate::manifest::SecretSource;
use crate::store::keeper::Kept;
use crate::store::{Holder, Result, StoreError};

impl RedisStore {
    /// Opens the store with the prefix `prefix` in the database at `url` for reading and writing,
    /// as its only host: checks the server's settings, takes the lease, and raises the epoch.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another host has it; [`StoreError::Corrupt`] if the records have
    /// another version; [`StoreError::Invalid`] if the server may lose what it has confirmed;
    /// [`StoreError::Unavailable`] if it cannot be reached.
    pub async fn open(url: &str, password: Option<&SecretSource>, prefix: &str, now: Timestamp) -> Result<Arc<Self>> {
        let place = Place::of(url, password, prefix)?;
        let link = Link::open(place.clone()).await?;
        check_server(&link, &place).await?;
        let holder = Holder::this_host(now);
        let Taken { epoch, writes, event } = lease::take(&link, &place, &holder, now).await?;
        link.keep_for(epoch);
        let renewal = Renewal { place: place.clone(), epoch, renewals: 0, connection: None };
        let (newest, told) = watch::channel(event);
        let writing = Writing {
            newest,
            confirmed: AtomicU64::new(writes),
            forgotten: watch::Sender::new(false),
            lease: Kept::keep(renewal)?,
            holder: Mutex::new(holder),
        };
        Ok(Arc::new(Self { place, link, epoch, newest: told, writing: Some(writing) }))
    }

    /// Opens the store for reading only, with or without a running host. `None` if nothing was ever
    /// recorded there. Its writing methods return [`StoreError::Conflict`];
    /// [`crate::store::MetadataStore::newest_event`] stays where it was at opening.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the server cannot be reached; [`StoreError::Corrupt`] if the
    /// records have another version.
    pub async fn open_read_only(url: &str, password: Option<&SecretSource>, prefix: &str) -> Result<Option<Arc<Self>>> {
        let place = Place::of(url, password, prefix)?;
        let link = Link::open(place.clone()).await?;
        let standing = lease::look(&link).await.map_err(|fail| place.name(fail.into_store("read the counters")))?;
        let Some(standing) = standing else { return Ok(None) };
        // There is no sender: the value does not change.
        let (_, newest) = watch::channel(standing.event);
        Ok(Some(Arc::new(Self { place, link, epoch: standing.epoch, newest, writing: None })))
    }
}

/// Refuses a server that may lose what it has confirmed.
pub(super) async fn check_server(link: &Link, place: &Place) -> Result<()> {
    link.check_server().await.map_err(|unfit| match unfit {
        Unfit::Unreachable(error) => place.unreachable(reason(&error)),
        Unfit::Because(why) => StoreError::Invalid(format!("{place} cannot be the metadata store, because {why}")),
    })
}

/// The host that has the store with the prefix `prefix` in the database at `url` open for writing;
/// `None` if there is none.
///
/// # Errors
/// When that cannot be found out.
pub async fn read_holder(url: &str, password: Option<&SecretSource>, prefix: &str) -> Result<Option<Holder>> {
    let place = Place::of(url, password, prefix)?;
    let link = Link::open(place.clone()).await?;
    let standing = lease::look(&link).await.map_err(|fail| place.name(fail.into_store("read who has it")))?;
    Ok(standing.and_then(|standing| standing.holder))
}
