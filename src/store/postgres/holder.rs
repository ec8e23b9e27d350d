//! What the lease says about the host that has it.

use super::db::Db;
use super::sql::{Work, params};
use crate::store::Holder;

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
    Ok(Holder::describe(holder.as_deref()))
}
