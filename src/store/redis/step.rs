//! The steps of runs, as arguments of the scripts, and the tokens of attempts that they start.

use serde_json::{Value, json};

use super::arguments::time;
use super::reply::{Reply, Work};
use crate::model::{Approval, Fence, RunAction, Usage};
use crate::store::{ActionChange, NewAttempt, RunChange, RunStep, StartedAttempt};

/// The arguments of a step.
pub(super) fn arguments(step: &RunStep) -> Work<Value> {
    let actions: Vec<Value> = step.actions.iter().map(change).collect();
    let starts = step.starts.iter().map(start).collect::<Work<Vec<_>>>()?;
    let run = step.run.as_ref().map(|RunChange { state, reason }| json!({ "state": state, "reason": reason }));
    Ok(json!({ "actions": actions, "starts": starts, "run": run }))
}

fn change(change: &ActionChange) -> Value {
    let RunAction { name, state, reason, attempts, tries, crashes, retry_at, skipped_rest, approvals } = &change.action;
    let asked = approvals.last().map(|Approval { who, since, until, .. }| {
        json!({ "who": who, "since": time(*since), "until": until.map(time), "until_text": until })
    });
    json!({
        "name": name, "state": state, "before": change.before, "reason": reason, "attempts": attempts, "tries": tries,
        "crashes": crashes, "retry_at": retry_at.map(time), "skipped_rest": skipped_rest, "asked": asked,
    })
}

fn start(new: &NewAttempt) -> Work<Value> {
    let (from_segment, from_offset) = new.log_from.parts();
    Ok(json!({
        "id": new.id, "action": new.action, "number": new.number, "component": new.component_digest,
        "grants": new.grants.to_string(), "usage": serde_json::to_string(&Usage::default())?,
        "from_segment": from_segment.to_string(), "from_offset": from_offset.to_string(),
    }))
}

/// Reads the attempts that a step started.
pub(super) fn started(reply: Reply) -> Work<Vec<StartedAttempt>> {
    reply.each(|reply| Ok(StartedAttempt { fence: fence(reply)? }))
}

/// Reads a token.
fn fence(reply: Reply) -> Work<Fence> {
    let [id, epoch, token] = reply.parts()?;
    Ok(Fence { attempt_id: id.value()?, epoch: epoch.value()?, token: token.value()? })
}

/// The arguments that name a token.
pub(super) fn fenced(fence: Fence) -> Value {
    json!({ "attempt": fence.attempt_id, "epoch": fence.epoch, "token": fence.token })
}
