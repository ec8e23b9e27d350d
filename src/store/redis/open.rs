//! Opens a store: for a host (or for a verb that writes while no host is running), or for reading
//! while a host is running.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use redis::{ServerErrorKind, Value};
use tokio::sync::watch;

use super::connect::{Link, Place};
use super::lease::{self, Renewal, Taken};
use super::reply::reason;
use super::{RedisStore, Writing};
use crate::base::Timestamp;
use crate::manifest::SecretSource;
use crate::store::keeper::Kept;
use crate::store::{Holder, Result, StoreError};

/// The oldest version that has all that the scripts use, and does not begin a script that it could
/// not complete for want of memory.
const OLDEST: (u32, u32) = (7, 0);

/// The settings without which a confirmed write could be lost, or a record be dropped.
const SETTINGS: [(&str, &str); 3] =
    [("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction")];

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
        check_version(&link, &place).await?;
        check_settings(&link, &place).await?;
        let holder = Holder::this_host(now);
        let Taken { epoch, writes, event } = lease::take(&link, &place, &holder, now).await?;
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

/// Refuses a server that is too old.
async fn check_version(link: &Link, place: &Place) -> Result<()> {
    let info = link.command(redis::cmd("INFO").arg("server")).await;
    let info = info.map_err(|error| place.unreachable(reason(&error)))?;
    let text = match info {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::VerbatimString { text, .. } => text,
        _ => String::new(),
    };
    let version = text.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("unknown").trim();
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found >= OLDEST {
        return Ok(());
    }
    Err(StoreError::Invalid(format!(
        "{place} cannot be the metadata store: the server's version is {version}; it must be {}.{} or newer",
        OLDEST.0, OLDEST.1
    )))
}

/// Refuses a server that may lose what it has confirmed, or drop records when its memory is full.
async fn check_settings(link: &Link, place: &Place) -> Result<()> {
    let mut wrong = Vec::new();
    for (name, wanted) in SETTINGS {
        let found = link.command(redis::cmd("CONFIG").arg("GET").arg(name)).await;
        let found = found.map_err(|error| match error.kind() {
            redis::ErrorKind::Server(ServerErrorKind::NoPerm | ServerErrorKind::ResponseError) => {
                StoreError::Invalid(unknown_settings(place, &reason(&error)))
            }
            _ => place.unreachable(reason(&error)),
        })?;
        let found: Vec<String> = redis::from_redis_value(found).unwrap_or_default();
        match found.get(1) {
            Some(value) if value == wanted => {}
            Some(value) => wrong.push(format!("`{name}` is `{value}`, and must be `{wanted}`")),
            None => return Err(StoreError::Invalid(unknown_settings(place, "it does not answer CONFIG GET"))),
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(StoreError::Invalid(format!(
        "{place} cannot be the metadata store, because the server may lose what it has confirmed: {}; set this in \
         redis.conf, or by `redis-cli CONFIG SET` and then `CONFIG REWRITE`",
        wrong.join("; ")
    )))
}

fn unknown_settings(place: &Place, why: &str) -> String {
    format!(
        "{place} cannot be the metadata store, because the server does not tell its settings: {why}; permit `CONFIG GET` to \
         this user: Anacostia has to see that `appendonly` is `yes`, `appendfsync` is `always` and `maxmemory-policy` is \
         `noeviction`"
    )
}
