//! Looking after a store: what its parts take, whether it is whole, and a copy of it.
//!
//! Stores that are databases have tables of the same names, and so the same parts and the same
//! rules.

use std::collections::BTreeMap;
use std::path::Path;

use super::Result;

/// A part of the records, such as the runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorePart {
    /// What is in it, for people.
    pub name: &'static str,
    /// How many there are.
    pub count: u64,
    /// What they take in the store, in bytes, with their indexes.
    pub bytes: u64,
}

/// Files that were copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Copied {
    /// Adds a file of this many bytes.
    pub(super) fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// What keepers of a store ask of it, also while a host is running. Calls block, and read all that
/// is on record.
pub trait Upkeep: std::fmt::Debug {
    /// Returns the parts of the records, in a fixed order.
    ///
    /// # Errors
    /// When they cannot be read.
    fn parts(&self) -> Result<Vec<StorePart>>;

    /// Looks for damage, and for records that contradict each other. Returns what is wrong, a
    /// sentence each; empty if all is whole.
    ///
    /// # Errors
    /// When the records cannot be read at all.
    fn check(&self) -> Result<Vec<String>>;

    /// Writes a copy of the records, as they are at one moment, to the file `to`, which must not
    /// exist. Once this has returned, the copy survives a power cut; its name does so when the
    /// caller has synced the folder.
    ///
    /// # Errors
    /// When it cannot be written; a part of the file may then be there.
    /// [`StoreError::Invalid`](super::StoreError::Invalid), with what to do instead, if this kind
    /// of store is copied by other means.
    fn back_up(&self, to: &Path) -> Result<()>;
}

/// The parts of the records: a name, the tables whose bytes are in it, and first the one whose rows
/// are counted.
const PARTS: [(&str, &[&str]); 12] = [
    ("runs", &["runs", "run_actions", "run_triggers", "run_params", "claims", "given", "outputs", "revisions"]),
    ("attempts", &["attempts", "intents"]),
    ("artifacts", &["artifacts", "old_places", "artifact_tags"]),
    ("reads and writes", &["accesses"]),
    ("metrics", &["metrics"]),
    ("remembered attempts", &["memories"]),
    ("params", &["params"]),
    ("tags of runs", &["tags"]),
    ("denied calls", &["denials"]),
    ("network requests", &["requests"]),
    ("trigger evaluations", &["ticks"]),
    ("events", &["events"]),
];

/// The last part: all other tables, and the one whose rows are counted.
const OTHERS: (&str, &str) = ("notifications and others", "notifications");

/// Records that contradict each other: what is wrong, and a query that counts them, in the dialect
/// that all databases have in common. `NOT EXISTS` looks into an index; `NOT IN` may read one table
/// for each row of the other.
pub(super) const CONTRADICTIONS: [(&str, &str); 13] = [
    (
        "actions belong to no run",
        "SELECT count(*) FROM run_actions a WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.number = a.run)",
    ),
    (
        "attempts belong to no run",
        "SELECT count(*) FROM attempts a WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.number = a.run)",
    ),
    (
        "attempts have not ended although their run has",
        "SELECT count(*) FROM attempts a JOIN runs r ON r.number = a.run
         WHERE a.ended_at IS NULL AND r.ended_at IS NOT NULL",
    ),
    (
        "remembered attempts are not on record",
        "SELECT count(*) FROM memories m WHERE NOT EXISTS (SELECT 1 FROM attempts a WHERE a.seq = m.attempt)",
    ),
    (
        "claims belong to no run",
        "SELECT count(*) FROM claims c WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.number = c.run)",
    ),
    (
        "claims name an artifact that is not on record",
        "SELECT count(*) FROM claims c WHERE NOT EXISTS (SELECT 1 FROM artifacts a WHERE a.id = c.artifact_id)",
    ),
    (
        "artifacts are new although a run has claimed them",
        "SELECT count(*) FROM claims c JOIN artifacts a ON a.id = c.artifact_id WHERE a.state = 'new'",
    ),
    (
        "resources count wrongly how many artifacts are new",
        "SELECT count(*) FROM waiting w WHERE count <>
         (SELECT count(*) FROM artifacts a WHERE a.resource = w.resource AND a.state = 'new')",
    ),
    (
        "reads and writes belong to no attempt",
        "SELECT count(*) FROM accesses c WHERE NOT EXISTS (SELECT 1 FROM attempts a WHERE a.seq = c.attempt)",
    ),
    (
        "reads and writes name an artifact that is not on record",
        "SELECT count(*) FROM accesses c WHERE NOT EXISTS (SELECT 1 FROM artifacts a WHERE a.seq = c.artifact)",
    ),
    (
        "outputs name an artifact that is not on record",
        "SELECT count(*) FROM outputs o WHERE NOT EXISTS (SELECT 1 FROM artifacts a WHERE a.seq = o.artifact)",
    ),
    (
        "metrics, params and tags belong to no run",
        "SELECT count(*) FROM (SELECT run FROM metrics UNION ALL SELECT run FROM params UNION ALL SELECT run FROM tags) f
         WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.number = f.run)",
    ),
    ("events are missing between others", "SELECT coalesce(max(seq) - min(seq) + 1, 0) - count(*) FROM events"),
];

/// Returns the tables whose rows are counted.
pub(super) fn counted() -> impl Iterator<Item = &'static str> {
    PARTS.iter().filter_map(|(_, tables)| tables.first().copied()).chain([OTHERS.1])
}

/// Divides the records into parts: `counts` has the rows of the tables that [`counted`] names, and
/// `bytes` the sizes of all tables.
pub(super) fn divided(counts: &BTreeMap<&'static str, u64>, mut bytes: BTreeMap<String, u64>) -> Vec<StorePart> {
    let count = |table: &str| counts.get(table).copied().unwrap_or_default();
    let part = |&(name, tables): &(&'static str, &[&'static str])| StorePart {
        name,
        count: tables.first().map_or(0, |table| count(table)),
        bytes: tables.iter().filter_map(|table| bytes.remove(*table)).sum(),
    };
    let mut parts: Vec<StorePart> = PARTS.iter().map(part).collect();
    parts.push(StorePart { name: OTHERS.0, count: count(OTHERS.1), bytes: bytes.values().sum() });
    parts
}
