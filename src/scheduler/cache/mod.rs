//! Looks for an earlier attempt whose result an attempt can take.
//!
//! What an action is going to read is not known before it runs. So attempts are found by what is
//! known, their fingerprint, and then everything that they have asked the host is asked again. If
//! all answers are the same, the guest would do the same again.
//!
//! No bytes are copied: the outputs of the earlier attempt have to be in their places, and the host
//! looks at each of them. Rejected: to keep a copy of every output, which would let an action take
//! a result whose place was taken since, but doubles what a pipeline writes.

mod key;
mod reason;

use super::definition::Definition;
use super::shared::Shared;
use crate::base::bounds::cut;
use crate::model::{
    Access, AccessKind, Artifact, ArtifactTag, AttemptState, Influence, Memory, Outcome, Recording, Remembered,
    RememberedOutput, Usage,
};
use crate::resource::{Content, ResourceError};
use crate::sandbox::{AttemptOrder, Recheck, Same};
use crate::store::{AttemptEnd, CacheNote, Intent, Reuse, StoreError};

pub(super) use key::Key;

/// How many earlier attempts are looked at, at most.
const LOOKED_AT: u32 = 8;
/// The longest reason, in bytes.
const MAX_REASON_BYTES: usize = 500;

/// What the cache says before an attempt runs.
pub(super) enum Look {
    /// The action is not cached.
    Uncached,
    /// The attempt has to run.
    Runs(Key),
    /// It can take the result of an earlier attempt, if the store agrees.
    Found(Box<Found>, Key),
}

/// The result of an earlier attempt.
pub(super) struct Found {
    /// What to commit.
    pub(super) intent: Intent,
    /// How the attempt ends then.
    pub(super) outcome: Outcome,
}

/// Looks for an earlier attempt with the same result. `is_first` is whether no attempt of the
/// action in this run has run to its end: when an action is done again, it is not to take what it
/// did before.
pub(super) async fn look(shared: &Shared, definition: &Definition, order: &AttemptOrder, is_first: bool) -> Look {
    let Some(ignore) = &order.cache else { return Look::Uncached };
    let mut recheck = Recheck::new(order, &definition.services);
    let key = match recheck.inputs_digest().await {
        Ok(inputs) => Key::new(order, inputs),
        Err(error) => return Look::Runs(Key::unknown(order, &error.to_string())),
    };
    if !is_first {
        return Look::Runs(key.because("the action is done again in this run"));
    }
    match find(shared, definition, order, (&key, ignore), &mut recheck).await {
        Ok(Ok(found)) => Look::Found(Box::new(found), key),
        Ok(Err(why)) => Look::Runs(key.because(&cut(&why, MAX_REASON_BYTES))),
        Err(error) => Look::Runs(Key::unknown(order, &error.to_string())),
    }
}

/// Returns the result of an earlier attempt, or why there is none.
async fn find(
    shared: &Shared,
    definition: &Definition,
    order: &AttemptOrder,
    (key, ignore): (&Key, &[Influence]),
    recheck: &mut Recheck<'_>,
) -> Result<Result<Found, String>, StoreError> {
    let all = shared.store.remembered(&order.action, key.fingerprint, key.inputs, LOOKED_AT).await?;
    let mut why = None;
    for earlier in all.iter().filter(|earlier| earlier.memory.fingerprint == key.fingerprint) {
        match result(shared, definition, earlier, ignore, recheck).await? {
            Ok(same) => return Ok(Ok(found(shared, earlier, same))),
            Err(reason) => {
                why.get_or_insert(reason);
            }
        }
    }
    Ok(Err(why.unwrap_or_else(|| match all.first() {
        Some(newest) => key.difference(&newest.memory),
        None => "no earlier attempt of it is remembered".to_owned(),
    })))
}

/// Checks an earlier attempt with the same fingerprint. Returns what stands for its reads, or why
/// its result cannot be taken.
async fn result(
    shared: &Shared,
    definition: &Definition,
    earlier: &Remembered,
    ignore: &[Influence],
    recheck: &mut Recheck<'_>,
) -> Result<Result<Same, String>, StoreError> {
    let Memory { used, dependencies, outputs, .. } = &earlier.memory;
    let matters: Vec<Influence> = used.iter().copied().filter(|it| !ignore.contains(it)).collect();
    if !matters.is_empty() {
        return Ok(Err(format!("it used {}", reason::used(&matters))));
    }
    let same = match recheck.check(dependencies).await? {
        Ok(same) => same,
        Err(why) => return Ok(Err(why)),
    };
    for output in outputs {
        let place = reason::place(&output.resource, &output.path);
        let there = shared.store.artifact(output.id).await?;
        let is_same = |it: &Artifact| it.present && it.path == output.path && it.digest == Some(output.digest);
        let Some(there) = there.filter(is_same) else {
            return Ok(Err(format!("its output {place} was replaced or moved since")));
        };
        if let Err(error) = look_at(definition, &there).await {
            return Ok(Err(format!("its output {place} cannot be used: {error}")));
        }
    }
    Ok(Ok(same))
}

/// Checks that the content of an output is what is on record.
async fn look_at(definition: &Definition, output: &Artifact) -> Result<(), ResourceError> {
    let Artifact { resource, path, size, digest, stamp, .. } = output;
    let Some(place) = definition.services.resources.get(resource) else {
        return Err(ResourceError::NotFound { resource: resource.clone(), path: path.clone() });
    };
    let content = Content { path: path.clone(), size: *size, digest: *digest, stamp: stamp.clone() };
    // Some kinds ask their service at the first read only.
    place.open(&content).await?.read(0, 1).await?;
    Ok(())
}

/// Returns the result of an earlier attempt as that of another one.
fn found(shared: &Shared, earlier: &Remembered, same: Same) -> Found {
    let Remembered { attempt_id, run_number, memory, message } = earlier;
    let Same { reads: mut accesses, ids } = same;
    let outputs: Vec<_> = memory.outputs.iter().map(|output| output.id).collect();
    let wrote = |output: &RememberedOutput| {
        let RememberedOutput { id, bytes, .. } = output;
        Access { artifact_id: *id, kind: AccessKind::Wrote, bytes: *bytes, calls: 1, digest: None }
    };
    accesses.extend(memory.outputs.iter().map(wrote));
    let tag = |tag: &ArtifactTag| {
        let artifact_id = ids.get(&tag.artifact_id).copied().unwrap_or(tag.artifact_id);
        ArtifactTag { artifact_id, ..tag.clone() }
    };
    let tags = memory.artifact_tags.iter().map(tag).collect();
    let reuse = Reuse { from: *attempt_id, outputs, run_tags: memory.run_tags.clone() };
    let reason = format!("cached: nothing that its result depends on has changed since run #{run_number}");
    let end = AttemptEnd {
        state: AttemptState::Succeeded,
        error: None,
        message: message.clone(),
        usage: Usage::default(),
        accesses,
        denials: Vec::new(),
        requests: Vec::new(),
        tags,
        cache: Some(CacheNote { reason, memory: None }),
        recording: Recording::default(),
        log_to: shared.logs.end(),
    };
    let (files, retrigger, models) = (Vec::new(), Vec::new(), Vec::new());
    let intent = Intent { end, skip: memory.skip, files, retrigger, models, reuse: Some(reuse), synced: false };
    Found { intent, outcome: Outcome::Cached { skip: memory.skip, message: message.clone() } }
}
