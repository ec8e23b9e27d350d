//! One host for each store: a lease in the table `host`, which ends by the server's clock unless
//! the host renews it.
//!
//! The lease says who may write; the epoch in `meta` makes sure of it. A host that takes over raises
//! the epoch, and from then on every transaction of the host before it is refused, however late it
//! notices. So a lease that has ended, because the server or the network was away, costs nothing
//! if nobody has taken it: the host renews it and goes on.
//!
//! A thread with its own connection renews the lease, so neither a busy runtime nor a long
//! transaction is in its way.

use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::{oneshot, watch};
use tokio_postgres::{Client, Row};

use super::connect::{Place, Use, no_connection};
use super::db::Db;
use super::events::{NewEvent, emit};
use super::sql::{Work, params};
use super::writer::{Counters, Tx};
use crate::base::Timestamp;
use crate::model::{Durability, EventKind};
use crate::store::{Holder, Result, StoreError};

/// How long a lease is valid after it was renewed, in seconds of the server.
const VALID_SECS: i64 = 5;
/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// How long one renewal may take. Then it is tried again, with another connection.
const RENEW_WITHIN: Duration = Duration::from_secs(3);
/// How long a host that ends tries to give the lease back.
const RELEASE_WITHIN: Duration = Duration::from_secs(1);
/// How often a starting host looks whether the lease of another one is renewed.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Returns the description of this process as the holder of a store.
pub(super) fn this_host(now: Timestamp) -> Holder {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let machine = machine.map(|name| name.trim().to_owned());
    Holder { pid: std::process::id(), started_at: now, listen: None, machine }
}

/// Describes the holder on record, for people.
pub(super) fn describe(holder: Option<&str>) -> String {
    let holder = holder.and_then(|text| serde_json::from_str::<Holder>(text).ok());
    holder.map_or_else(|| "another host".to_owned(), |holder| holder.to_string())
}

/// Takes the lease, and raises the epoch. If another host has the lease, waits until it is renewed
/// or has ended, which takes a few seconds at most.
pub(super) async fn take(pool: &Pool, place: &Place, holder: &Holder, now: Timestamp) -> Result<(u64, Counters)> {
    let mut seen: Option<String> = None;
    loop {
        let attempt = try_take(pool, holder, now).await;
        match attempt.map_err(|fail| place.name(fail.into_store("raise the epoch")))? {
            Attempt::Taken(epoch, counters) => return Ok((epoch, counters)),
            Attempt::Held { holder, until } if seen.as_ref().is_some_and(|before| *before != until) => {
                return Err(StoreError::InUse { store: place.to_string(), holder: describe(holder.as_deref()) });
            }
            Attempt::Held { until, .. } => seen = Some(until),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The result of an attempt to take the lease.
enum Attempt {
    Taken(u64, Counters),
    Held { holder: Option<String>, until: String },
}

async fn try_take(pool: &Pool, holder: &Holder, now: Timestamp) -> Work<Attempt> {
    let client = pool.get().await.map_err(no_connection)?;
    let mut tx = Tx::begin(client, true).await?;
    let sql = "SELECT until > clock_timestamp(), holder, until::text FROM host WHERE one FOR UPDATE";
    let row = tx.db.one(sql, &[]).await?;
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

/// The host that has the lease now; `None` if there is none.
pub(super) async fn holder(db: &Db) -> Work<Option<Holder>> {
    let sql = "SELECT holder FROM host WHERE one AND until > clock_timestamp()";
    let text: Option<String> = db.row(sql, &[]).await?.map(|row| row.get(0)).transpose()?.flatten();
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Records what this host says about itself.
pub(super) async fn announce(db: &Db, epoch: u64, holder: &Holder) -> Work<()> {
    let sql = "UPDATE host SET holder = $2 WHERE one AND epoch = $1";
    db.execute(sql, &params![epoch, serde_json::to_string(holder)?]).await.map(drop)
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

    /// Waits until another host has the lease, and says so.
    pub(super) async fn lost(&self) -> String {
        let mut lost = self.lost.clone();
        // Fails when the thread has ended without a loss: then the store is being closed.
        match lost.wait_for(Option::is_some).await.map(|by| by.clone()) {
            Ok(Some(by)) => by,
            _ => std::future::pending().await,
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
