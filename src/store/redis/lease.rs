//! One host for each store: a lease in the key `lease`, which ends by the server's clock unless the
//! host renews it.
//!
//! The lease says who may open the store; the epoch in `meta` makes sure of it. A host that takes
//! over raises the epoch, and from then on every write of the host before it is refused, however
//! late it notices. So a lease that has ended, because the server or the network was away, costs
//! nothing if nobody has taken it: the host renews it and goes on.

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use serde_json::json;

use super::arguments::{time, written};
use super::connect::{Link, Place};
use super::reply::{Fail, Reply, Work};
use super::scripts::LEASE;
use crate::base::Timestamp;
use crate::store::keeper::Renew;
use crate::store::rival::Rival;
use crate::store::{Holder, Loss, Result, StoreError, copy};

/// The version of the records. Another one is refused.
pub(super) const SCHEMA: usize = 1;
/// How long a lease is valid after it was renewed, in milliseconds of the server.
const VALID_MS: u64 = 5_000;

/// What a host has once it has the lease.
pub(super) struct Taken {
    pub(super) epoch: u64,
    /// How many writes there were.
    pub(super) writes: u64,
    /// The newest event.
    pub(super) event: u64,
}

/// Takes the lease, and raises the epoch. If another host has the lease, waits until it is renewed
/// or has ended, which takes a few seconds at most.
pub(super) async fn take(link: &Link, place: &Place, holder: &Holder, now: Timestamp) -> Result<Taken> {
    let mut rival = Rival::default();
    loop {
        let attempt = try_take(link, holder, rival.stale(), now).await;
        match attempt.map_err(|fail| place.name(fail.into_store("raise the epoch")))? {
            Attempt::Taken(taken) => return Ok(taken),
            Attempt::Schema(found) => return Err(place.name(other_schema(&found))),
            Attempt::Copy(from) => return Err(place.name(copy::incomplete(&from))),
            Attempt::Held { lease, holder } => {
                if rival.is_running(lease, Some(&holder)).await {
                    let holder = Holder::describe(Some(&holder));
                    return Err(StoreError::InUse { store: place.to_string(), holder });
                }
            }
        }
    }
}

/// Returns the error for records of another version, or of another program.
fn other_schema(found: &str) -> StoreError {
    match found.parse::<usize>() {
        Ok(version) => StoreError::Corrupt(format!(
            "the records have version {version}, and this anacostia knows up to {SCHEMA}; use the newer anacostia that wrote \
             them"
        )),
        Err(_) => other_program(),
    }
}

/// Returns the error for keys of another program.
pub(super) fn other_program() -> StoreError {
    let why = "they belong to another program; set `metadata_store.prefix` to a name that is not in use yet";
    StoreError::Corrupt(why.to_owned())
}

/// The result of an attempt to take the lease.
enum Attempt {
    Taken(Taken),
    Held {
        lease: String,
        holder: String,
    },
    Schema(String),
    /// The keys are to become a copy of this store.
    Copy(String),
}

/// Takes the lease if it is free, has ended, or is `stale`.
async fn try_take(link: &Link, holder: &Holder, stale: Option<&str>, now: Timestamp) -> Work<Attempt> {
    let arguments = json!({
        "schema": SCHEMA, "stale": stale, "now": time(now), "version": env!("CARGO_PKG_VERSION"), "pid": holder.pid,
        "holder": serde_json::to_string(holder)?, "valid": VALID_MS,
    });
    let mut answer = link.call(&LEASE, "take", arguments, &[]).await?.list()?.into_iter();
    let mut next = || answer.next().unwrap_or(Reply::Nothing);
    match next().text()?.as_str() {
        "taken" => {
            Ok(Attempt::Taken(Taken { epoch: next().value()?, writes: next().value()?, event: next().value()? }))
        }
        "held" => Ok(Attempt::Held { lease: next().text()?, holder: next().text()? }),
        "copy" => Ok(Attempt::Copy(next().text()?)),
        _ => Ok(Attempt::Schema(next().text()?)),
    }
}

/// Records what this host says about itself.
pub(super) async fn announce(link: &Link, epoch: u64, holder: &Holder) -> Work<()> {
    let arguments = json!({ "epoch": epoch, "holder": serde_json::to_string(holder)? });
    link.call(&LEASE, "announce", arguments, &[]).await.map(drop)
}

/// What the records say before a host has them.
pub(super) struct Standing {
    pub(super) epoch: u64,
    /// How many writes there were.
    pub(super) writes: u64,
    pub(super) event: u64,
    /// The host that has the lease now.
    pub(super) holder: Option<Holder>,
}

/// Looks at the records without changing anything. `None` if there are none.
pub(super) async fn look(link: &Link) -> Work<Option<Standing>> {
    let answer = link.call(&LEASE, "look", json!({}), &[]).await?;
    if answer == Reply::List(Vec::new()) {
        return Ok(None);
    }
    let [from, schema, epoch, writes, event, holder] = answer.parts()?;
    let (from, schema) = (from.text()?, schema.text()?);
    if !from.is_empty() {
        return Err(copy::incomplete(&from).into());
    }
    if schema != SCHEMA.to_string() {
        return Err(other_schema(&schema).into());
    }
    let holder = serde_json::from_str(&holder.text()?).ok();
    Ok(Some(Standing { epoch: epoch.value()?, writes: writes.value()?, event: event.value()?, holder }))
}

/// Renews the lease of an epoch.
pub(super) struct Renewal {
    pub(super) place: Place,
    pub(super) epoch: u64,
    /// How many times it was renewed: a starting host sees by this that it is.
    pub(super) renewals: u64,
    /// A connection of its own, because this runs on another runtime.
    pub(super) connection: Option<MultiplexedConnection>,
}

impl Renewal {
    async fn call(&mut self, method: &str) -> Work<Reply> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            empty => empty.insert(self.place.connect().await?),
        };
        let arguments = json!({ "epoch": self.epoch, "renewal": self.renewals, "valid": VALID_MS });
        let value = self.place.call(connection, &LEASE, (method, &written(arguments)?), &[]).await?;
        Reply::of(value)
    }

    async fn try_renew(&mut self) -> Work<Option<Loss>> {
        self.renewals += 1;
        let mut answer = self.call("renew").await?.list()?.into_iter();
        let store = self.place.to_string();
        match answer.next().unwrap_or(Reply::Nothing).text()?.as_str() {
            "renewed" => Ok(None),
            "forgotten" => Ok(Some(Loss::Forgotten(store))),
            _ => {
                let by = answer.next().unwrap_or(Reply::Nothing).text()?;
                Ok(Some(Loss::Host { store, by: Holder::describe(Some(&by)) }))
            }
        }
    }
}

#[async_trait]
impl Renew for Renewal {
    async fn renew(&mut self) -> std::result::Result<Option<Loss>, String> {
        self.try_renew().await.map_err(|fail: Fail| fail.to_string())
    }

    async fn release(&mut self) {
        let _ = self.call("release").await;
    }

    fn disconnect(&mut self) {
        self.connection = None;
    }
}
