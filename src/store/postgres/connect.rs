//! Where a store is, and connections to it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Connect, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod};
use futures_util::future::BoxFuture;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config};

use super::sql::{Fail, from_postgres};
use crate::base::postgres::{Connector, set_defaults};
use crate::manifest::{SecretSource, SqlDatabase};
use crate::model::Durability;
use crate::store::{Result, StoreError};

/// How long to wait for a connection, unless the URL says otherwise.
const CONNECT: Duration = Duration::from_secs(5);
/// After this time without an answer of its machine, the server counts as gone.
const SILENCE: Duration = Duration::from_secs(10);
/// How long a caller waits after a failed attempt to connect. It bounds how often this is tried.
const AFTER_FAILURE: Duration = Duration::from_millis(100);
/// The most connections that read. Further reads wait.
const READERS: usize = 8;

/// What holds for every connection of a store. Plans do not depend on values: each query uses an
/// index, also while the statistics say that its table is small. If a host stops in the middle of a
/// transaction, the server ends the transaction, so that another host can take over.
const SETTINGS: &str = "SET plan_cache_mode = force_generic_plan; SET join_collapse_limit = 1;
    SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
    SET max_parallel_workers_per_gather = 0; SET jit = off;
    SET idle_in_transaction_session_timeout = '5s'; SET statement_timeout = 0; SET lock_timeout = 0;
    SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3;";

/// The settings for queries over all records, which may take any time.
const QUERY_SETTINGS: &str = "SET timezone TO 'UTC';
    SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0; SET lock_timeout = 0; SET jit = off;
    SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3;";

/// A schema in a database on a server.
#[derive(Clone)]
pub(super) struct Place {
    config: Config,
    connector: Connector,
    /// The name of the schema.
    pub(super) schema: String,
    /// The database, without a password.
    pub(super) url: String,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the schema `{}` in {}", self.schema, self.url)
    }
}

/// What a connection is used for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Use {
    Write(Durability),
    Read,
    /// Queries of people, whose plans are the server's business. Names are those of temporary
    /// views.
    Query,
    /// Queries that look after the records, whose plans are the server's business too.
    Upkeep,
}

impl Place {
    /// The schema `schema` in the database at `url`, which has no password in it.
    pub(super) async fn of(url: &str, password: Option<&SecretSource>, schema: &str) -> Result<Self> {
        let failed = |why: String| StoreError::Unavailable { doing: format!("connect to {url}"), why };
        let mut config = SqlDatabase::server(url).map_err(|error| failed(error.to_string()))?;
        if let Some(SecretSource::Env(variable)) = password {
            let value = std::env::var(variable)
                .map_err(|_| failed(format!("the environment variable `{variable}`, its password, is not set")))?;
            config.password(value);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        set_defaults(&mut config);
        config.keepalives_idle(SILENCE).tcp_user_timeout(SILENCE);
        let connector = Connector::of(&config).await.map_err(failed)?;
        Ok(Self { config, connector, schema: schema.to_owned(), url: url.to_owned() })
    }

    /// Connects, and sets up the session.
    pub(super) async fn connect(
        &self,
        purpose: Use,
    ) -> std::result::Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        let (client, task) = Connector::connect(&self.connector, &self.config, Arc::default()).await?;
        client.batch_execute(&self.settings(purpose)).await?;
        Ok((client, task))
    }

    fn settings(&self, purpose: Use) -> String {
        let path = format!("SET search_path TO {};", quoted(&self.schema));
        let purpose = match purpose {
            Use::Query => return format!("SET search_path TO pg_temp; {QUERY_SETTINGS}"),
            Use::Upkeep => return format!("{path} SET default_transaction_read_only = on; {QUERY_SETTINGS}"),
            Use::Write(Durability::Full) => "SET default_transaction_read_only = off; SET synchronous_commit = on;",
            Use::Write(Durability::Normal) => "SET default_transaction_read_only = off; SET synchronous_commit = off;",
            Use::Read => "SET default_transaction_read_only = on;",
        };
        format!("{path} {SETTINGS} {purpose}")
    }

    /// Makes a pool: of one connection that writes, or of several that read. Connects to nothing
    /// yet.
    pub(super) fn pool(&self, purpose: Use) -> Result<Pool> {
        let size = if matches!(purpose, Use::Read) { READERS } else { 1 };
        let sessions = Sessions { place: self.clone(), purpose };
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(self.config.clone(), sessions, recycling);
        Pool::builder(manager).max_size(size).build().map_err(|error| StoreError::Unavailable {
            doing: format!("connect to {}", self.url),
            why: error.to_string(),
        })
    }

    /// Takes a connection of a pool for the first time.
    pub(super) async fn first(&self, pool: &Pool) -> Result<Object> {
        pool.get().await.map_err(|error| self.name(no_connection(error).into_store("connect")))
    }

    /// Adds the location to an error of opening the store.
    pub(super) fn name(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Corrupt(why) => StoreError::Corrupt(format!("{self}: {why}")),
            StoreError::Unavailable { doing, why } if doing == "connect" => {
                StoreError::Unavailable { doing: format!("connect to {}", self.url), why }
            }
            StoreError::Unavailable { doing, why } => {
                StoreError::Unavailable { doing: format!("{doing} ({self})"), why }
            }
            other => other,
        }
    }

    /// Returns the error that an error of the server means while the store is opened.
    pub(super) fn failed(&self, error: &tokio_postgres::Error, doing: &str) -> StoreError {
        self.name(from_postgres(error, doing))
    }
}

/// Makes the connections of a pool.
struct Sessions {
    place: Place,
    purpose: Use,
}

impl Connect for Sessions {
    fn connect(
        &self,
        _: &Config,
    ) -> BoxFuture<'_, std::result::Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        Box::pin(async {
            let made = self.place.connect(self.purpose).await;
            if made.is_err() {
                tokio::time::sleep(AFTER_FAILURE).await;
            }
            made
        })
    }
}

/// Makes the runtime of a connection whose calls block.
pub(super) fn runtime(doing: &str) -> Result<Runtime> {
    let made = tokio::runtime::Builder::new_current_thread().enable_all().build();
    made.map_err(|error| StoreError::Unavailable { doing: doing.to_owned(), why: error.to_string() })
}

/// Returns the failure of work for which a pool has no connection.
pub(super) fn no_connection(error: PoolError) -> Fail {
    match error {
        PoolError::Backend(error) => Fail::Sql(error),
        other => Fail::Connection(other.to_string()),
    }
}

/// Quotes a name for SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
