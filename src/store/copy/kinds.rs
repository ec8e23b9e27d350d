//! The kinds of records that a store has, with their fields.
//!
//! Stores that are databases have a table for each kind, and a column for each field. What a host
//! says about itself, and the version of a schema, belong to a store and not to its records.

/// What a field can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum FieldKind {
    Bool,
    Int,
    Real,
    /// A number that is always there. It may be NaN, which SQLite takes for an absent one.
    Measure,
    Text,
    /// An id or a digest.
    Bytes,
}

/// A kind of records.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) struct RecordKind {
    /// Its name, which is that of the table.
    pub(in crate::store) name: &'static str,
    /// How many of the fields, from the first on, tell a record from the others.
    pub(in crate::store) key: usize,
    /// The names of the fields, and what they can have.
    pub(in crate::store) fields: &'static [(&'static str, FieldKind)],
}

impl RecordKind {
    /// Returns the names of the fields of the key, quoted for SQL.
    pub(in crate::store) fn key_columns(&self) -> Vec<String> {
        self.fields.iter().take(self.key).map(|(name, _)| quoted(name)).collect()
    }

    /// Returns the names of all fields, quoted for SQL.
    pub(in crate::store) fn columns(&self) -> Vec<String> {
        self.fields.iter().map(|(name, _)| quoted(name)).collect()
    }
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

macro_rules! kinds {
    ($($name:ident by $key:literal { $($field:ident: $kind:ident),+ $(,)? })+) => {
        /// All kinds of records.
        pub(in crate::store) const KINDS: &[RecordKind] = &[$(RecordKind {
            name: stringify!($name),
            key: $key,
            fields: &[$((stringify!($field), FieldKind::$kind)),+],
        }),+];
    };
}

/// The name of the kind whose only record has the counters.
pub(in crate::store) const COUNTERS: &str = "meta";

kinds! {
    meta by 0 {
        epoch: Int, seq: Int, event: Int, run: Int, paused: Bool, notified: Int, stopping: Int,
    }
    revisions by 1 { digest: Bytes, manifest: Text, components: Text, registered_at: Int }
    artifacts by 1 {
        seq: Int, id: Bytes, resource: Text, path: Text, version: Int, digest: Bytes, size: Int, state: Text,
        reason: Text, run_id: Bytes, produced_by: Bytes, created_at: Int, placed: Int, ended: Int, stamp: Text,
        visible: Int,
    }
    old_places by 2 { resource: Text, ended: Int, path: Text, version: Int, placed: Int, artifact: Int }
    waiting by 1 { resource: Text, count: Int, bytes: Int, batch: Bytes, batch_new: Int }
    artifact_tags by 2 { tag: Text, artifact: Int, resource: Text }
    models by 1 { name: Text, card: Text, created_at: Int }
    model_versions by 2 {
        model: Text, version: Int, artifact: Int, resource: Text, who: Text, note: Text, registered_at: Int,
    }
    alias_moves by 1 {
        seq: Int, model: Text, alias: Text, version: Int, was: Int, back: Int, rolled_back: Bool, who: Text, note: Text,
        run_id: Bytes, run: Int, action: Text, write: Bytes, moved_at: Int,
    }
    model_aliases by 2 { model: Text, alias: Text, move: Int }
    runs by 1 {
        number: Int, id: Bytes, state: Text, cause: Text, params: Text, revision: Bytes, snapshot: Int,
        created_at: Int, started_at: Int, ended_at: Int, reason: Text, rerun_of: Bytes, fired_by: Text,
        run_partition: Text, ended_seq: Int, duration: Int, step: Bytes, retry: Bytes, trimmed_at: Int,
    }
    run_triggers by 2 { name: Text, run: Int }
    run_params by 3 { name: Text, value: Text, run: Int }
    claims by 1 { artifact_id: Bytes, run: Int }
    given by 2 { run: Int, artifact: Int }
    run_actions by 2 {
        run: Int, name: Text, position: Int, state: Text, reason: Text, attempts: Int, tries: Int, crashes: Int,
        retry_at: Int, skipped_rest: Bool,
    }
    attempts by 1 {
        seq: Int, id: Bytes, run: Int, action: Text, number: Int, state: Text, started_at: Int, ended_at: Int,
        component: Bytes, grants: Text, error: Text, message: Text, skip: Bool, usage: Text, log_from_segment: Int,
        log_from_offset: Int, log_to_segment: Int, log_to_offset: Int, epoch: Int, token: Int, facts: Bytes,
        stopped: Bool, cache: Text, cached_from: Bytes, recording: Text,
    }
    memories by 1 { attempt: Int, action: Text, fingerprint: Bytes, inputs: Bytes, memory: Text }
    intents by 2 { attempt: Int, position: Int, file: Text, became: Bytes, retrigger: Bool }
    outputs by 5 { run: Int, resource: Text, path: Text, artifact: Int, action: Text }
    accesses by 1 { seq: Int, run: Int, attempt: Int, artifact: Int, kind: Text, bytes: Int, calls: Int }
    denials by 1 { seq: Int, attempt: Int, call: Text, target: Text, message: Text }
    requests by 1 {
        seq: Int, attempt: Int, method: Text, scheme: Text, authority: Text, path: Text, outcome: Text, status: Int,
        bytes_sent: Int, bytes_received: Int, duration_us: Int, error: Text,
    }
    metrics by 1 { seq: Int, run: Int, attempt: Int, name: Text, value: Measure, step: Int, recorded_at: Int }
    params by 1 { seq: Int, run: Int, attempt: Int, name: Text, value: Text, recorded_at: Int }
    tags by 1 { seq: Int, run: Int, name: Text, value: Text, recorded_at: Int }
    ticks by 1 {
        seq: Int, trigger_name: Text, resource: Text, time: Int, outcome: Text, reason: Text, run_id: Bytes,
        conditions: Text,
    }
    trigger_marks by 2 { trigger_name: Text, condition: Text, at: Int, seq: Int, value: Real }
    events by 1 {
        seq: Int, epoch: Int, time: Int, kind: Text, v: Int, run_id: Bytes, action: Text, attempt: Bytes,
        artifact_id: Bytes, data: Text,
    }
    cursors by 1 { resource: Text, cursor: Text, updated_at: Int }
    notifications by 1 {
        seq: Int, id: Bytes, name: Text, channel: Text, cause: Text, event: Int, run_id: Bytes, run_number: Int,
        resource: Text, title: Text, text: Text, state: Text, attempts: Int, error: Text, created_at: Int,
        ended_at: Int,
    }
    told_outages by 2 { resource: Text, name: Text }
    paused_nodes by 2 { kind: Text, name: Text, since: Int, reason: Text }
    approvals by 1 {
        seq: Int, run: Int, action: Text, who: Text, since: Int, until: Int, open: Bool, verdict: Text,
        decided_by: Text, note: Text, decided_at: Int, write: Bytes,
    }
}

/// Asserts that the fields of all kinds are the columns, with their tables, that a store has.
#[cfg(test)]
pub(in crate::store) fn assert_copied(columns: &std::collections::BTreeSet<(String, String)>) {
    let fields = KINDS.iter().flat_map(|kind| kind.fields.iter().map(|(field, _)| (kind.name, *field)));
    let fields = fields.map(|(kind, field)| (kind.to_owned(), field.to_owned())).collect();
    let missing: Vec<_> = columns.difference(&fields).collect();
    let gone: Vec<_> = fields.difference(columns).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "`anacostia store copy` loses what is not in `kinds!` of src/store/copy/kinds.rs: add these columns there (and to \
         `stored!` of src/store/redis/copied.rs): {missing:?}; and remove these, which no table has: {gone:?}"
    );
}
