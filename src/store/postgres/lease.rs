//! One host for each store: a lease in the table `host`, which ends by the server's clock unless
//! the host renews it.
//!
//! The lease says who may write; the epoch in `meta` makes sure of it. A host that takes over
//! raises the epoch, and from then on every transaction of the host before it is refused, however
//! late it notices. So a lease that has ended, because the server or the network was away, costs
//! nothing if nobody has taken it: the host renews it and goes on.
//!
//! A thread with its own connection renews the lease, so neither a busy runtime nor a long
//! transaction is in its way.

use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use tokio::sync::{oneshot, watch};
use tokio_postgres::{Client, Row};

use super::connect::{Place, Use, no_connection};
use super::events::{NewEvent, emit};
use super::holder::describe;
use super::sql::{Work, params};
use super::writer::{Counters, Tx};
use crate::base::Timestamp;
use crate::model::{Durability, EventKind};
use crate::store::{Holder, Loss, Result, StoreError};

/// How long a lease is valid after it was renewed, in seconds of the server.
const VALID_SECS: i64 = 5;
/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// How long one renewal may take. Then it is tried again, with another connection.
const RENEW_WITHIN: Duration = Duration::from_secs(3);
/// How long a host that ends tries to give the lease back.
const RELEASE_WITHIN: Duration = Duration::from_secs(1);
/// After this time without a renewal, a lease has ended whatever the server's clock says: someone
/// may have set it back.
const STALE_AFTER: Duration = Duration::from_secs(10);
/// How often a starting host looks whether the lease of another one is renewed.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Takes the lease, and raises the epoch. If another host has the lease, waits until it is renewed
/// or has ended, which takes a few seconds at most.
pub(super) async fn take(pool: &Pool, place: &Place, holder: &Holder, now: Timestamp) -> Result<(u64, Counters)> {
    // The end of the other host's lease when this one first looked, and when that was.
    let mut seen: Option<(String, Instant)> = None;
    loop {
        let stale = seen.as_ref().filter(|(_, since)| since.elapsed() > STALE_AFTER).map(|(until, _)| until.as_str());
        let attempt = try_take(pool, holder, stale, now).await;
        match attempt.map_err(|fail| place.name(fail.into_store("raise the epoch")))? {
            Attempt::Taken(epoch, counters) => return Ok((epoch, counters)),
            Attempt::Held { holder, until } if seen.as_ref().is_some_and(|(before, _)| *before != until) => {
                return Err(StoreError::InUse { store: place.to_string(), holder: describe(holder.as_deref()) });
            }
            Attempt::Held { until, .. } if seen.is_none() => seen = Some((until, Instant::now())),
            Attempt::Held { .. } => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
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

/// A lease that is renewed until this is dropped, and given back then.
#[derive(Debug)]
pub(super) struct Lease {
    lost: watch::Receiver<Option<String>>,
    stop: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Lease {
    /// Starts renewing the lease of the epoch `epoch`.
    pub(super) fn keep(place: Place, epoch: u64) -> Result<Self> {
        let failed = |error: std::io::Error| StoreError::Unavailable {
            doing: "start a thread".to_owned(),
            why: error.to_string(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (told, lost) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        let mut keeper = Keeper { place, epoch: i64::try_from(epoch).unwrap_or(i64::MAX), client: None };
        let work = move || runtime.block_on(keeper.run(stopped, &told));
        let thread = std::thread::Builder::new().name("store-lease".to_owned()).spawn(work).map_err(failed)?;
        Ok(Self { lost, stop: Mutex::new(Some((stop, thread))) })
    }

    /// Waits until another host has the lease of this store, or the thread has ended unasked.
    pub(super) async fn lost(&self, place: &Place) -> Loss {
        let mut lost = self.lost.clone();
        let by = lost.wait_for(Option::is_some).await.ok().and_then(|by| by.clone());
        match by {
            Some(by) => Loss::Host { store: place.to_string(), by },
            None => Loss::Files("the thread that renews the lease panicked, which is a bug in Anacostia,".to_owned()),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.stop.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            // Fails if the thread has ended.
            let _ = stop.send(());
            // If it panicked, the message is in the log already.
            let _ = thread.join();
        }
    }
}

/// The thread that renews a lease.
struct Keeper {
    place: Place,
    epoch: i64,
    client: Option<Client>,
}

impl Keeper {
    async fn run(&mut self, mut stopped: oneshot::Receiver<()>, told: &watch::Sender<Option<String>>) {
        let mut ticks = tokio::time::interval(RENEW_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut fails = false;
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                _ = ticks.tick() => {}
            }
            let renewed = tokio::select! {
                _ = &mut stopped => break,
                renewed = tokio::time::timeout(RENEW_WITHIN, self.renew()) => renewed,
            };
            let failed = match renewed {
                Ok(Ok(None)) => None,
                Ok(Ok(Some(by))) => {
                    told.send_replace(Some(by));
                    return;
                }
                Ok(Err(error)) => Some(crate::base::postgres::reason(&error)),
                Err(_) => Some(format!("the server does not answer within {} s", RENEW_WITHIN.as_secs())),
            };
            if let Some(why) = failed {
                self.client = None;
                if !std::mem::replace(&mut fails, true) {
                    tracing::warn!("failed to renew the lease of the metadata store: {why}");
                }
            } else if std::mem::take(&mut fails) {
                tracing::info!("the lease of the metadata store is renewed again");
            }
        }
        // If this fails, the lease ends by itself.
        let _ = tokio::time::timeout(RELEASE_WITHIN, self.release()).await;
    }

    async fn client(&mut self) -> std::result::Result<&Client, tokio_postgres::Error> {
        let client = match self.client.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => self.place.connect(Use::Write(Durability::Normal)).await?.0,
        };
        Ok(self.client.insert(client))
    }

    /// Renews the lease. Returns who has it, if another host has taken it.
    async fn renew(&mut self) -> std::result::Result<Option<String>, tokio_postgres::Error> {
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
        Ok(Some(describe(holder.as_deref())))
    }

    async fn release(&mut self) -> std::result::Result<(), tokio_postgres::Error> {
        let epoch = self.epoch;
        let sql = "UPDATE host SET holder = NULL, until = NULL WHERE one AND epoch = $1";
        self.client().await?.execute(sql, &[&epoch]).await.map(drop)
    }
}
