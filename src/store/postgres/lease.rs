//! One host for each store: a lease in the table `host`, which ends by the server's clock unless
//! the host renews it.
//!
//! The lease says who may write; the epoch in `meta` makes sure of it. A host that takes over
//! raises the epoch, and from then on every transaction of the host before it is refused, however
//! late it notices. So a lease that has ended, because the server or the network was away, costs
//! nothing if nobody has taken it: the host renews it and goes on.
//!
//! It is renewed over a connection of its own ([`Renewal`]), so no long transaction is in its way.

use async_trait::async_trait;
use deadpool_postgres::Pool;
use tokio_postgres::{Client, Row};

use super::connect::{Place, Use, no_connection};
use super::events::{NewEvent, emit};
use super::sql::{Work, params};
use super::writer::{Counters, Tx};
use crate::base::Timestamp;
use crate::model::{Durability, EventKind};
use crate::store::keeper::Renew;
use crate::store::rival::Rival;
use crate::store::{Holder, Loss, Result, StoreError};

/// How long a lease is valid after it was renewed, in seconds of the server.
const VALID_SECS: i64 = 5;

/// Takes the lease, and raises the epoch. If another host has the lease, waits until it is renewed
/// or has ended, which takes a few seconds at most.
pub(super) async fn take(pool: &Pool, place: &Place, holder: &Holder, now: Timestamp) -> Result<(u64, Counters)> {
    let mut rival = Rival::default();
    loop {
        let attempt = try_take(pool, holder, rival.stale(), now).await;
        match attempt.map_err(|fail| place.name(fail.into_store("raise the epoch")))? {
            Attempt::Taken(epoch, counters) => return Ok((epoch, counters)),
            Attempt::Held { holder, until } => {
                if rival.is_running(until, holder.as_deref()).await {
                    let holder = Holder::describe(holder.as_deref());
                    return Err(StoreError::InUse { store: place.to_string(), holder });
                }
            }
        }
    }
}

/// The result of an attempt to take the lease.
enum Attempt {
    Taken(u64, Counters),
    Held { holder: Option<String>, until: String },
}

/// Takes the lease if it is free, has ended, or ends at `stale`.
async fn try_take(pool: &Pool, holder: &Holder, stale: Option<&str>, now: Timestamp) -> Work<Attempt> {
    let client = pool.get().await.map_err(no_connection)?;
    let mut tx = Tx::begin(client, true).await?;
    let sql = "SELECT until > clock_timestamp() AND until::text IS DISTINCT FROM $1, holder, until::text
        FROM host WHERE one FOR UPDATE";
    let row = tx.db.one(sql, &params![stale]).await?;
    if row.get::<Option<bool>>(0)? == Some(true) {
        let held = Attempt::Held { holder: row.get(1)?, until: row.get(2)? };
        tx.db.undo().await;
        return Ok(held);
    }
    tx.epoch += 1;
    tx.at.token = 0;
    let data = serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "pid": holder.pid });
    emit(&mut tx, now, NewEvent::of(EventKind::HostStarted, data));
    let epoch = tx.epoch;
    tx.db.later("UPDATE meta SET epoch = $1 WHERE one", &params![epoch]);
    let sql = "UPDATE host SET epoch = $1, holder = $2,
        until = clock_timestamp() + $3::bigint * interval '1 second' WHERE one";
    tx.db.later(sql, &params![epoch, serde_json::to_string(holder)?, VALID_SECS]);
    Ok(Attempt::Taken(epoch, tx.commit().await?))
}

/// Renews the lease of an epoch.
pub(super) struct Renewal {
    place: Place,
    epoch: i64,
    client: Option<Client>,
}

impl Renewal {
    /// Renews the lease of this epoch, over a connection of its own.
    pub(super) fn of(place: Place, epoch: u64) -> Self {
        Self { place, epoch: i64::try_from(epoch).unwrap_or(i64::MAX), client: None }
    }

    async fn client(&mut self) -> std::result::Result<&Client, tokio_postgres::Error> {
        let client = match self.client.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => self.place.connect(Use::Write(Durability::Normal)).await?.0,
        };
        Ok(self.client.insert(client))
    }

    /// Renews the lease. Returns who has it, if another host has taken it.
    async fn try_renew(&mut self) -> std::result::Result<Option<String>, tokio_postgres::Error> {
        let epoch = self.epoch;
        let client = self.client().await?;
        let sql = "UPDATE host SET until = clock_timestamp() + $2::bigint * interval '1 second'
            WHERE one AND epoch = $1";
        let statement = client.prepare(sql).await?;
        if client.execute(&statement, &[&epoch, &VALID_SECS]).await? > 0 {
            return Ok(None);
        }
        let row: Option<Row> = client.query_opt("SELECT holder FROM host WHERE one", &[]).await?;
        let holder: Option<String> = row.map(|row| row.try_get(0)).transpose()?.flatten();
        Ok(Some(Holder::describe(holder.as_deref())))
    }

    async fn try_release(&mut self) -> std::result::Result<(), tokio_postgres::Error> {
        let epoch = self.epoch;
        let sql = "UPDATE host SET holder = NULL, until = NULL WHERE one AND epoch = $1";
        self.client().await?.execute(sql, &[&epoch]).await.map(drop)
    }
}

#[async_trait]
impl Renew for Renewal {
    async fn renew(&mut self) -> std::result::Result<Option<Loss>, String> {
        let by = self.try_renew().await.map_err(|error| crate::base::postgres::reason(&error))?;
        Ok(by.map(|by| Loss::Host { store: self.place.to_string(), by }))
    }

    async fn release(&mut self) {
        let _ = self.try_release().await;
    }

    fn disconnect(&mut self) {
        self.client = None;
    }
}
