//! What the lease says about the host that has it.

use super::db::Db;
use super::sql::{Work, params};
use crate::base::Timestamp;
use crate::store::Holder;

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

/// The host that has the lease now; `None` if there is none.
pub(super) async fn on_record(db: &Db) -> Work<Option<Holder>> {
    let sql = "SELECT holder FROM host WHERE one AND until > clock_timestamp()";
    let text: Option<String> = db.row(sql, &[]).await?.map(|row| row.get(0)).transpose()?.flatten();
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Records what this host says about itself.
pub(super) async fn announce(db: &Db, epoch: u64, holder: &Holder) -> Work<()> {
    let sql = "UPDATE host SET holder = $2 WHERE one AND epoch = $1";
    db.execute(sql, &params![epoch, serde_json::to_string(holder)?]).await.map(drop)
}

/// Describes the host that took the lease last, for people.
pub(super) async fn last(db: &Db) -> Work<String> {
    let holder = db.row("SELECT holder FROM host WHERE one", &[]).await?;
    let holder: Option<String> = holder.map(|row| row.get(0)).transpose()?.flatten();
    Ok(describe(holder.as_deref()))
}
