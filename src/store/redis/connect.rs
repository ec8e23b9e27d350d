//! Where a store is, and the connection to it.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo as _, RedisError, Script};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::arguments::written;
use super::fitness::{self, Unfit};
use super::reply::{Fail, Reply, Work, reason};
use super::scripts::LEASE;
use crate::base::tls;
use crate::manifest::SecretSource;
use crate::store::{Result, StoreError};

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long to wait for an answer. It bounds how long a server may do other work before.
const ANSWER: Duration = Duration::from_secs(30);
/// After this time without an answer of its machine, the server counts as gone.
const SILENCE: Duration = Duration::from_secs(10);
/// How many keys one call looks at.
const KEYS: usize = 1_000;
/// How long a caller waits after a failed attempt to connect. It bounds how often this is tried.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// The keys with one prefix in a database on a server.
#[derive(Clone)]
pub(super) struct Place {
    client: Client,
    /// The beginning of all keys. It is a hash tag, so a cluster has them all in one place.
    prefix: String,
    url: String,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the keys `{}:*` in {}", self.prefix, self.url)
    }
}

impl Place {
    /// The keys with the prefix `prefix` at `url`, which has no password in it.
    pub(super) fn of(url: &str, password: Option<&SecretSource>, prefix: &str) -> Result<Self> {
        let failed = |why: String| StoreError::Unavailable { doing: format!("connect to {url}"), why };
        let mut info: ConnectionInfo = url.into_connection_info().map_err(|error| failed(reason(&error)))?;
        if let Some(SecretSource::Env(variable)) = password {
            let value = std::env::var(variable)
                .map_err(|_| failed(format!("the environment variable `{variable}`, its password, is not set")))?;
            let settings = info.redis_settings().clone().set_password(value);
            info = info.set_redis_settings(settings);
        }
        let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(Duration::from_secs(1)).with_retries(3);
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive).set_user_timeout(SILENCE);
        tls::use_ring();
        let client = Client::open(info.set_tcp_settings(tcp)).map_err(|error| failed(reason(&error)))?;
        Ok(Self { client, prefix: format!("{{{prefix}}}"), url: url.to_owned() })
    }

    /// The pattern of all keys.
    pub(super) fn all_keys(&self) -> String {
        format!("{}:*", self.prefix)
    }

    /// What comes after the prefix in a key.
    pub(super) fn without_prefix<'k>(&self, key: &'k str) -> &'k str {
        key.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix(':')).unwrap_or(key)
    }

    /// Connects.
    pub(super) async fn connect(&self) -> std::result::Result<MultiplexedConnection, RedisError> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(ANSWER));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Executes a method of a script on a connection. `more` are the arguments after those of the
    /// method.
    pub(super) async fn call(
        &self,
        connection: &mut MultiplexedConnection,
        script: &Script,
        (method, arguments): (&str, &str),
        more: &[String],
    ) -> std::result::Result<redis::Value, RedisError> {
        let mut call = script.key(&self.prefix);
        call.arg(method).arg(arguments);
        for argument in more {
            call.arg(argument);
        }
        call.invoke_async(connection).await
    }

    /// Adds the location to an error of opening the store.
    pub(super) fn name(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Corrupt(why) => StoreError::Corrupt(format!("{self}: {why}")),
            StoreError::Unavailable { doing, why } => {
                StoreError::Unavailable { doing: format!("{doing} ({self})"), why }
            }
            other => other,
        }
    }

    /// Returns the error for a server that cannot be reached.
    pub(super) fn unreachable(&self, why: String) -> StoreError {
        StoreError::Unavailable { doing: format!("connect to {}", self.url), why }
    }
}

/// The connection of a store, which all of its methods use at once. If it is lost, the next method
/// connects again.
#[derive(Debug)]
pub(super) struct Link {
    place: Place,
    /// The connection, and how many there were before it.
    current: Mutex<(u64, Option<MultiplexedConnection>)>,
    /// The epoch of the host that writes over it.
    epoch: OnceLock<u64>,
}

impl Link {
    /// Connects for the first time.
    pub(super) async fn open(place: Place) -> Result<Self> {
        let connection = place.connect().await.map_err(|error| place.unreachable(reason(&error)))?;
        Ok(Self { place, current: Mutex::new((0, Some(connection))), epoch: OnceLock::new() })
    }

    /// Checks whether the server may have the records of a host.
    pub(super) async fn check_server(&self) -> std::result::Result<(), Unfit> {
        let (_, mut connection) =
            self.connection().await.map_err(|fail| RedisError::from(std::io::Error::other(fail)))?;
        fitness::check(&mut connection).await
    }

    /// From now on the host of this epoch writes over it. Each further connection is checked like
    /// the first, because a server that was started again may have other settings; and what was
    /// sent over an earlier one and is still on its way is refused, because it has been repeated.
    pub(super) fn keep_for(&self, epoch: u64) {
        // Only the opening of a store calls this, once.
        let _ = self.epoch.set(epoch);
    }

    /// Executes a method of a script. The last argument is the number of the connection.
    pub(super) async fn call(&self, script: &Script, method: &str, arguments: Value, more: &[String]) -> Work<Reply> {
        let arguments = written(arguments)?;
        let (number, mut connection) = self.connection().await?;
        let more = [more, &[number.to_string()]].concat();
        match self.place.call(&mut connection, script, (method, &arguments), &more).await {
            Ok(value) => Reply::of(value),
            Err(error) => {
                // A server that only reads was replaced by another one, perhaps at this address.
                let is_replaced = error.code() == Some("READONLY");
                if error.is_io_error() || error.is_unrecoverable_error() || is_replaced {
                    self.give_up(number).await;
                }
                Err(Fail::from(error))
            }
        }
    }

    /// Sends a command.
    pub(super) async fn command(&self, command: &redis::Cmd) -> std::result::Result<redis::Value, RedisError> {
        let (_, mut connection) =
            self.connection().await.map_err(|fail| RedisError::from(std::io::Error::other(fail)))?;
        command.query_async(&mut connection).await
    }

    /// Returns some of the keys of the place: those from a cursor on, the first ones if there is
    /// none, and the cursor of the next call, if there is one more. A key that is there all the
    /// time comes at least once.
    pub(super) async fn keys(&self, cursor: Option<String>) -> Work<(Option<String>, Vec<String>)> {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor.as_deref().unwrap_or("0")).arg("MATCH").arg(self.place.all_keys()).arg("COUNT").arg(KEYS);
        let [next, keys] = Reply::of(self.command(&scan).await?)?.parts()?;
        Ok((Some(next.text()?).filter(|next| next != "0"), keys.each(Reply::text)?))
    }

    async fn connection(&self) -> Work<(u64, MultiplexedConnection)> {
        let mut current = self.current.lock().await;
        if let (number, Some(connection)) = &*current {
            return Ok((*number, connection.clone()));
        }
        match self.connect_again(current.0 + 1).await {
            Ok(connection) => {
                current.0 += 1;
                current.1 = Some(connection.clone());
                Ok((current.0, connection))
            }
            Err(fail) => {
                tokio::time::sleep(AFTER_FAILURE).await;
                Err(fail)
            }
        }
    }

    async fn connect_again(&self, number: u64) -> Work<MultiplexedConnection> {
        let mut connection = self.place.connect().await?;
        if let Some(epoch) = self.epoch.get() {
            fitness::check(&mut connection).await.map_err(|unfit| match unfit {
                Unfit::Unreachable(error) => Fail::from(error),
                Unfit::Because(why) => Fail::Server(why),
            })?;
            let arguments = written(json!({ "epoch": epoch, "number": number }))?;
            self.place.call(&mut connection, &LEASE, ("connected", &arguments), &[]).await?;
        }
        Ok(connection)
    }

    /// Connects anew for the next method, unless another one has done so already.
    async fn give_up(&self, number: u64) {
        let mut current = self.current.lock().await;
        if current.0 == number {
            current.1 = None;
        }
    }
}
