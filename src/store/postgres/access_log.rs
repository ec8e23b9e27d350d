//! Which attempts used a resource, from the newest reads, writes and denied calls.

use std::collections::BTreeMap;

use super::db::Db;
use super::sql::{Value, Work, params};
use crate::model::{AccessKind, Denial};
use crate::store::{ACCESSES_LOOKED_AT, AccessSum, ResourceAccess};

/// What one attempt did, before the attempt itself is read.
#[derive(Debug, Default)]
struct Done {
    read: AccessSum,
    wrote: AccessSum,
    denied: Vec<Denial>,
}

/// Lists the attempts that used a resource, newest first.
pub(super) async fn of_resource(db: &Db, resource: &str, limit: u32) -> Work<Vec<ResourceAccess>> {
    // By the attempt's number, which grows in the order of their starts.
    let mut done: BTreeMap<u64, Done> = BTreeMap::new();
    add_uses(db, resource, &mut done).await?;
    add_denials(db, resource, &mut done).await?;
    let sql = "SELECT r.number, t.id, t.action, t.number, t.ended_at
        FROM attempts t JOIN runs r ON r.number = t.run WHERE t.seq = $1";
    let mut found = Vec::new();
    for (attempt, Done { read, wrote, denied }) in done.into_iter().rev().take(limit as usize) {
        let row = db.one(sql, &params![attempt]).await?;
        found.push(ResourceAccess {
            run_number: row.get(0)?,
            attempt_id: row.get(1)?,
            action: row.get(2)?,
            attempt: row.get(3)?,
            ended_at: row.get(4)?,
            read,
            wrote,
            denied,
        });
    }
    Ok(found)
}

/// Returns the sequence after which the newest rows of a table come, as many as are looked at.
async fn first(db: &Db, sql: &str) -> Work<Value> {
    let newest: i64 = db.one(sql, &[]).await?.get(0)?;
    Ok(Value::Int(newest.saturating_sub_unsigned(ACCESSES_LOOKED_AT)))
}

async fn add_uses(db: &Db, resource: &str, done: &mut BTreeMap<u64, Done>) -> Work<()> {
    let first = first(db, "SELECT coalesce(max(seq), 0) FROM accesses").await?;
    let sql = "SELECT x.attempt, x.kind, count(*), sum(x.bytes)::bigint
        FROM accesses x JOIN artifacts a ON a.seq = x.artifact
        WHERE x.seq > $2 AND a.resource = $1 GROUP BY x.attempt, x.kind";
    for row in db.rows(sql, &params![resource, first]).await? {
        let sum = AccessSum { artifacts: row.get(2)?, bytes: row.get(3)? };
        let done = done.entry(row.get(0)?).or_default();
        match row.get(1)? {
            AccessKind::Read => done.read = sum,
            AccessKind::Wrote => done.wrote = sum,
        }
    }
    Ok(())
}

async fn add_denials(db: &Db, resource: &str, done: &mut BTreeMap<u64, Done>) -> Work<()> {
    let first = first(db, "SELECT coalesce(max(seq), 0) FROM denials").await?;
    let sql = "SELECT attempt, call, target, message FROM denials WHERE seq > $2 AND target = $1 ORDER BY seq";
    for row in db.rows(sql, &params![resource, first]).await? {
        let denial = Denial { call: row.get(1)?, target: row.get(2)?, message: row.get(3)? };
        done.entry(row.get(0)?).or_default().denied.push(denial);
    }
    Ok(())
}
