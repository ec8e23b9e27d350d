//! Opens a store from its part of the manifest: the only place that knows every kind.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::copy::{self, CopiedRecords, CopyProgress, RecordSource, RecordTarget};
use super::lock::HostLock;
use super::logs;
use super::postgres::{self, PostgresCopy, PostgresRecords, PostgresStore, PostgresUpkeep, PostgresViews};
use super::redis::{self, NO_SQL, RedisCopy, RedisRecords, RedisStore, RedisUpkeep};
use super::sqlite::{self, SqliteCopy, SqliteRecords, SqliteStore, SqliteUpkeep, SqliteViews};
use super::upkeep::Upkeep;
use super::views::Views;
use super::writable;
use super::{Holder, HostLease, Loss, MetadataStore, Result, StoreError};
use crate::base::Timestamp;
use crate::manifest::StoreSpec;
use crate::model::Durability;

/// A store that this process alone may write.
#[derive(Debug, Clone)]
pub struct HostStore {
    /// The store.
    pub store: Arc<dyn MetadataStore>,
    /// The right to write it.
    pub lease: Arc<dyn HostLease>,
}

/// Opens a store for writing, as its only host, and makes it if there is none. Raises the epoch.
/// Blocks for some milliseconds if it is a file. One on a server may have a host that does not run
/// any more; that takes some seconds to find out.
///
/// # Errors
/// [`StoreError::InUse`], with the name of the holder, if another host has it.
pub async fn open(spec: &StoreSpec, durability: Durability, now: Timestamp) -> Result<HostStore> {
    match spec {
        StoreSpec::Sqlite { path } => {
            let store = SqliteStore::open(path, durability, now)?;
            Ok(HostStore { lease: Arc::clone(&store) as _, store })
        }
        StoreSpec::Postgres { url, password, schema } => {
            let store = PostgresStore::open(url, password.as_ref(), schema, durability, now).await?;
            Ok(HostStore { lease: Arc::clone(&store) as _, store })
        }
        StoreSpec::Redis { url, password, prefix } => {
            let store = RedisStore::open(url, password.as_ref(), prefix, now).await?;
            Ok(HostStore { lease: Arc::clone(&store) as _, store })
        }
    }
}

/// Opens a store as [`open`] does, and takes the folder `state`, in which the host keeps logs and
/// components, for this host alone. Makes the folder if there is none.
///
/// # Errors
/// As [`open`]; [`StoreError::StateInUse`], with the name of the holder, if a host with another
/// store has the folder.
pub async fn open_host(spec: &StoreSpec, state: &Path, durability: Durability, now: Timestamp) -> Result<HostStore> {
    let HostStore { store, lease } = open(spec, durability, now).await?;
    let folder = state.join(logs::FOLDER);
    writable::make_folder(&folder)?;
    let lock = folder.join("host.lock");
    writable::check([state, &folder, &lock])?;
    let in_use = |holder| StoreError::StateInUse { folder: state.display().to_string(), holder };
    let lock = HostLock::take(&lock, now, in_use)?;
    Ok(HostStore { store, lease: Arc::new(WithState { lease, lock }) })
}

/// The right to write a store, and to a state folder.
#[derive(Debug)]
struct WithState {
    lease: Arc<dyn HostLease>,
    lock: HostLock,
}

#[async_trait]
impl HostLease for WithState {
    async fn announce(&self, address: &str) -> Result<()> {
        self.lease.announce(address).await?;
        self.lock.announce(address).map_err(|error| StoreError::Unavailable {
            doing: "note the address in the lock file of the state folder".to_owned(),
            why: error.to_string(),
        })
    }

    async fn lost(&self) -> Loss {
        // Whoever removes the folder with the lock also removes the log, which reports its own
        // loss.
        self.lease.lost().await
    }
}

/// Opens a store for reading, even while a host is running. `None` if nothing was ever recorded
/// there.
///
/// # Errors
/// When it cannot be read, or another version of this program made it.
pub async fn open_read_only(spec: &StoreSpec) -> Result<Option<Arc<dyn MetadataStore>>> {
    match spec {
        StoreSpec::Sqlite { path } if !path.exists() => Ok(None),
        StoreSpec::Sqlite { path } => Ok(Some(SqliteStore::open_read_only(path)?)),
        StoreSpec::Postgres { url, password, schema } => {
            let store = PostgresStore::open_read_only(url, password.as_ref(), schema).await?;
            Ok(store.map(|store| store as _))
        }
        StoreSpec::Redis { url, password, prefix } => {
            let store = RedisStore::open_read_only(url, password.as_ref(), prefix).await?;
            Ok(store.map(|store| store as _))
        }
    }
}

/// Opens the views of a store, even while a host is running. `None` if nothing was ever recorded
/// there. Blocks, and is not for work on a runtime.
///
/// # Errors
/// As [`open_read_only`].
pub fn open_views(spec: &StoreSpec) -> Result<Option<Box<dyn Views>>> {
    match spec {
        StoreSpec::Sqlite { path } if !path.exists() => Ok(None),
        StoreSpec::Sqlite { path } => Ok(Some(Box::new(SqliteViews::open(path)?))),
        StoreSpec::Postgres { url, password, schema } => {
            let views = PostgresViews::open(url, password.as_ref(), schema)?;
            Ok(views.map(|views| Box::new(views) as _))
        }
        StoreSpec::Redis { .. } => Err(StoreError::Invalid(NO_SQL.to_owned())),
    }
}

/// Opens a store to look after it, even while a host is running. `None` if nothing was ever
/// recorded there. Blocks, and is not for work on a runtime.
///
/// # Errors
/// As [`open_read_only`].
pub fn open_upkeep(spec: &StoreSpec) -> Result<Option<Box<dyn Upkeep>>> {
    match spec {
        StoreSpec::Sqlite { path } if !path.exists() => Ok(None),
        StoreSpec::Sqlite { path } => Ok(Some(Box::new(SqliteUpkeep::open(path)?))),
        StoreSpec::Postgres { url, password, schema } => {
            let upkeep = PostgresUpkeep::open(url, password.as_ref(), schema)?;
            Ok(upkeep.map(|upkeep| Box::new(upkeep) as _))
        }
        StoreSpec::Redis { url, password, prefix } => {
            let upkeep = RedisUpkeep::open(url, password.as_ref(), prefix)?;
            Ok(upkeep.map(|upkeep| Box::new(upkeep) as _))
        }
    }
}

/// Copies all records of a store, as they are at one moment, to a store in which nothing is on
/// record yet. `None` if nothing was ever recorded in `from`. Calls `tell` now and then. Blocks,
/// and is not for work on a runtime.
///
/// Until this has returned, `to` cannot be opened, also if this process dies: then the same copy
/// can be made again, and begins anew.
///
/// # Errors
/// [`StoreError::Invalid`] if `to` has records, or a host has `from` and that kind of store cannot
/// be copied meanwhile; [`StoreError::InUse`] if another process has `to`;
/// [`StoreError::Conflict`] if other records are read back from it than were written.
pub fn copy_store(
    from: &StoreSpec,
    to: &StoreSpec,
    now: Timestamp,
    tell: &mut dyn FnMut(CopyProgress),
) -> Result<Option<Vec<CopiedRecords>>> {
    let mut source: Box<dyn RecordSource> = match from {
        StoreSpec::Sqlite { path } if !path.exists() => return Ok(None),
        StoreSpec::Sqlite { path } => Box::new(SqliteRecords::open(path)?),
        StoreSpec::Postgres { url, password, schema } => {
            let Some(records) = PostgresRecords::open(url, password.as_ref(), schema)? else { return Ok(None) };
            Box::new(records)
        }
        StoreSpec::Redis { url, password, prefix } => {
            let Some(records) = RedisRecords::open(url, password.as_ref(), prefix)? else { return Ok(None) };
            Box::new(records)
        }
    };
    let name = from.location();
    let target: Box<dyn RecordTarget> = match to {
        StoreSpec::Sqlite { path } => Box::new(SqliteCopy::begin(path, &name, now)?),
        StoreSpec::Postgres { url, password, schema } => {
            Box::new(PostgresCopy::begin(url, password.as_ref(), schema, &name)?)
        }
        StoreSpec::Redis { url, password, prefix } => {
            Box::new(RedisCopy::begin(url, password.as_ref(), prefix, &name, now)?)
        }
    };
    copy::copy(source.as_mut(), target, tell).map(Some)
}

/// Makes an empty store in `folder`, for questions about a pipeline that has not been started.
///
/// # Errors
/// [`StoreError`] if it cannot be made.
pub fn empty(folder: &Path, now: Timestamp) -> Result<Arc<dyn MetadataStore>> {
    Ok(SqliteStore::open(&folder.join("empty.db"), Durability::Normal, now)?)
}

/// The host that has a store open for writing; `None` if there is none.
///
/// # Errors
/// When that cannot be found out.
pub async fn holder(spec: &StoreSpec) -> Result<Option<Holder>> {
    let on_record = match spec {
        StoreSpec::Sqlite { path } => sqlite::read_holder(path),
        StoreSpec::Postgres { url, password, schema } => postgres::read_holder(url, password.as_ref(), schema).await,
        StoreSpec::Redis { url, password, prefix } => redis::read_holder(url, password.as_ref(), prefix).await,
    };
    // A host that was killed may still have its lease, and answers no command.
    Ok(on_record?.filter(|holder| !holder.has_ended()))
}
