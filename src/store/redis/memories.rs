//! What is remembered of attempts: the arguments of the scripts, and their answers.

use serde_json::{Value, json};

use super::arguments::{is_short, time};
use super::reader::Reader;
use super::reply::{Fail, Reply, Work};
use crate::base::{Digest, Timestamp};
use crate::model::{Entry, Memory, Remembered};
use crate::store::{CacheNote, MAX_MEMORIES, Reuse};

/// The name under which an attempt is remembered.
fn name(fingerprint: Digest, inputs: Digest) -> String {
    format!("{fingerprint} {inputs}")
}

/// The arguments of what the cache has to say about an attempt.
pub(super) fn note(note: &CacheNote) -> Work<Value> {
    let memory = |memory: &Memory| {
        Ok::<_, Fail>(json!({
            "name": name(memory.fingerprint, memory.inputs), "text": serde_json::to_string(memory)?,
            "forget": memory.is_time_to_forget(), "most": MAX_MEMORIES,
        }))
    };
    Ok(json!({ "reason": note.reason, "memory": note.memory.as_ref().map(memory).transpose()? }))
}

/// The arguments of the result that an attempt takes from an earlier one.
pub(super) fn reuse(reuse: &Reuse, now: Timestamp) -> Value {
    let tag = |Entry { name, value }: &Entry| json!({ "name": name, "value": value, "is_short": is_short(value), "at": time(now) });
    let tags: Vec<Value> = reuse.run_tags.iter().map(tag).collect();
    json!({ "from": reuse.from, "outputs": reuse.outputs, "run_tags": tags })
}

/// The attempts of an action that are remembered: first the one with this fingerprint and these
/// inputs, then the newest.
pub(super) async fn remembered(
    db: &Reader<'_>,
    action: &str,
    fingerprint: Digest,
    inputs: Digest,
    limit: u32,
) -> Work<Vec<Remembered>> {
    let arguments = json!({ "action": action, "name": name(fingerprint, inputs), "limit": limit });
    let found = |reply: Reply| {
        let row = reply.row()?;
        Ok(Remembered {
            attempt_id: row.get("id")?,
            run_number: row.get("run")?,
            memory: row.json("memory")?,
            message: row.text("message"),
        })
    };
    db.ask("remembered", arguments).await?.each(found)
}
