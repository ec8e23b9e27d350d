//! Looking after the records: what they take in the server's memory, and what is wrong in them.
//!
//! A copy of the records is the work of the server, which writes its append-only file and snapshots
//! of its memory: a client could copy keys only one after the other, and not as of one moment.

use std::collections::BTreeMap;
use std::path::Path;

use redis::Value;
use serde_json::json;
use tokio::runtime::Runtime;

use super::connect::{Link, Place};
use super::lease;
use super::reply::{Fail, Work};
use super::scripts::READ;
use crate::manifest::SecretSource;
use crate::store::upkeep::{StorePart, Upkeep, counted, divided};
use crate::store::{Result, StoreError};

/// The first words of keys, and the part of the records that they belong to, by the table that it
/// has in other stores. All others are of no part.
const KINDS: [(&str, &[&str]); 12] = [
    ("runs", &["run", "runs", "run_ids", "revision", "revisions", "approval", "approvals"]),
    ("attempts", &["attempt", "attempt_ids", "intents"]),
    ("denials", &["denials"]),
    ("requests", &["requests"]),
    (
        "artifacts",
        &[
            "artifact",
            "artifacts",
            "artifact_ids",
            "artifact_tag",
            "tagged",
            "at",
            "versions",
            "path",
            "paths",
            "ended",
            "moved",
            "moves",
            "waiting",
            "resources",
        ],
    ),
    ("accesses", &["accesses", "uses"]),
    ("metrics", &["metrics", "metric"]),
    ("params", &["params", "param"]),
    ("tags", &["tags", "tag"]),
    ("memories", &["memory", "memories"]),
    ("ticks", &["ticks"]),
    ("events", &["events"]),
];

/// What the scripts count, and what it means for people.
const CONTRADICTIONS: [(&str, &str); 12] = [
    ("listed_runs_missing", "runs are in a list and not on record"),
    ("runs_not_in_list", "runs are missing in the list of their state"),
    ("attempts_without_run", "attempts belong to no run"),
    ("attempts_not_ended", "runs have ended although an attempt has not"),
    ("memories_without_attempt", "remembered attempts are not on record"),
    ("claims_without_artifact", "claims name an artifact that is not on record"),
    ("claimed_and_new", "artifacts are new although a run has claimed them"),
    ("waiting_wrong", "resources count wrongly how many artifacts are new"),
    ("accesses_missing", "reads and writes are in a list and not on record"),
    ("listed_artifacts_missing", "artifacts are in a list and not on record"),
    ("artifacts_not_in_list", "artifacts are missing in the list of their state"),
    ("artifacts_not_at_path", "artifacts are not where they lie"),
];

/// What is counted too, and comes last.
const EVENTS: (&str, &str) = ("events_missing", "events are missing between others");

/// A connection that looks after the records, and the runtime on which it does so.
#[derive(Debug)]
pub(in crate::store) struct RedisUpkeep {
    place: Place,
    link: Link,
    runtime: Runtime,
}

impl RedisUpkeep {
    /// Connects to the store. `None` if nothing was ever recorded there. Not for work on a runtime.
    ///
    /// # Errors
    /// As [`RedisStore::open_read_only`](super::RedisStore::open_read_only).
    pub(in crate::store) fn open(url: &str, password: Option<&SecretSource>, prefix: &str) -> Result<Option<Self>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::Unavailable {
            doing: "look after the records".to_owned(),
            why: error.to_string(),
        })?;
        let place = Place::of(url, password, prefix)?;
        let opened = runtime.block_on(async {
            let link = Link::open(place.clone()).await?;
            let standing = lease::look(&link).await;
            let standing = standing.map_err(|fail| place.name(fail.into_store("read the counters")))?;
            Ok::<_, StoreError>(standing.map(|_| link))
        });
        Ok(opened?.map(|link| Self { place, link, runtime }))
    }

    fn work<T>(&self, doing: &str, work: impl Future<Output = Work<T>>) -> Result<T> {
        self.runtime.block_on(work).map_err(|fail| self.place.name(fail.into_store(doing)))
    }

    /// The bytes of all keys, by table.
    async fn sizes(&self) -> Work<BTreeMap<String, u64>> {
        let mut sizes = BTreeMap::new();
        let mut cursor = None;
        loop {
            let (next, keys) = self.link.keys(cursor).await?;
            for key in keys {
                let size = self.link.command(redis::cmd("MEMORY").arg("USAGE").arg(&key)).await?;
                if let Value::Int(size) = size {
                    *sizes.entry(self.table(&key).to_owned()).or_default() += size.unsigned_abs();
                }
            }
            cursor = next;
            if cursor.is_none() {
                return Ok(sizes);
            }
        }
    }

    /// The table that a key would be in.
    fn table(&self, key: &str) -> &'static str {
        let mut words = self.place.without_prefix(key).split(':');
        let word = words.next().unwrap_or_default();
        match words.nth(1) {
            Some("denials") if word == "attempt" => return "denials",
            Some("requests") if word == "attempt" => return "requests",
            _ => {}
        }
        KINDS.iter().find(|(_, words)| words.contains(&word)).map_or("others", |(table, _)| *table)
    }

    /// Adds what a method of the scripts counts.
    async fn count(&self, method: &str, found: &mut BTreeMap<String, u64>) -> Work<()> {
        let mut after = "0".to_owned();
        while !after.is_empty() {
            let [next, counts] = self.link.call(&READ, method, json!({ "after": after }), &[]).await?.parts()?;
            let mut counts = counts.list()?.into_iter();
            while let (Some(what), Some(count)) = (counts.next(), counts.next()) {
                *found.entry(what.text()?).or_default() += count.value::<u64>()?;
            }
            after = next.text()?;
        }
        Ok(())
    }
}

impl Upkeep for RedisUpkeep {
    fn parts(&self) -> Result<Vec<StorePart>> {
        self.work("read the sizes of the records", async {
            let row = self.link.call(&READ, "counts", json!({}), &[]).await?.row()?;
            let counts = counted().map(|table| Ok((table, row.get(table)?))).collect::<Work<_>>()?;
            Ok(divided(&counts, self.sizes().await?))
        })
    }

    fn check(&self) -> Result<Vec<String>> {
        self.work("check the records", async {
            let mut found = BTreeMap::new();
            for method in ["check_runs", "check_artifacts", "check_memories", "check_counters"] {
                match self.count(method, &mut found).await {
                    // A record that no script can work with.
                    Err(Fail::Record(why)) => return Ok(vec![format!("a record is damaged: {why}")]),
                    done => done?,
                }
            }
            let known = CONTRADICTIONS.iter().chain([&EVENTS]);
            let count = |what: &str| found.get(what).copied().filter(|count| *count > 0);
            Ok(known.filter_map(|(what, meaning)| Some(format!("{} {meaning}", count(what)?))).collect())
        })
    }

    fn back_up(&self, _: &Path) -> Result<()> {
        Err(StoreError::Invalid(format!(
            "the records are in {}, which only the server itself copies: run `redis-cli BGSAVE`, and copy the file that it \
             writes (`dump.rdb`, unless `dbfilename` says otherwise), and then `logs` and `components` in the state folder; \
             all of that may be done while a host is running",
            self.place
        )))
    }
}
