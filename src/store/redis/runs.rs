//! Runs, their actions and approvals: how they are read, and the arguments of what changes them.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::arguments::{is_short, time};
use super::artifacts::{inputs, pending};
use super::attempts::attempt;
use super::reader::Reader;
use super::reply::{Fail, Reply, Row, Work};
use super::{step, ticks};
use crate::base::bounds::MAX_PAGE;
use crate::base::{ArtifactId, RunId, Timestamp};
use crate::model::{
    ActionState, Approval, AttemptState, Decision, EndedRun, LogRange, Page, Pending, Run, RunAction, RunDetail,
    RunState, StagedFile, Verdict,
};
use crate::store::{
    AwaitingApproval, Claim, CreatedRun, NewRun, PageRequest, StartedAttempt, UnfinishedAttempt, UnfinishedRun,
    decision, page,
};

/// Reads the record of a run.
pub(super) fn run(row: &Row) -> Work<Run> {
    Ok(Run {
        id: row.get("id")?,
        number: row.get("number")?,
        state: row.get("state")?,
        trigger: row.get("cause")?,
        params: row.json("params")?,
        revision: row.get("revision")?,
        snapshot: row.get("snapshot")?,
        created_at: row.time("created")?,
        started_at: row.opt_time("started")?,
        ended_at: row.opt_time("ended")?,
        reason: row.text("reason"),
        rerun_of: row.opt("rerun_of")?,
        fired_by: row.json("fired_by")?,
        partition: row.text("partition"),
        trimmed_at: row.opt_time("trimmed")?,
    })
}

/// An action of a run, as it is stored.
#[derive(Debug, Deserialize)]
struct StoredAction {
    position: String,
    state: ActionState,
    reason: Option<String>,
    attempts: String,
    tries: String,
    crashes: String,
    retry_at: Option<String>,
    skipped_rest: bool,
}

fn number<T: std::str::FromStr>(text: &str) -> Work<T> {
    Reply::Text(text.to_owned()).value()
}

fn action(name: String, text: &str, approvals: Vec<Approval>) -> Work<(usize, RunAction)> {
    let stored: StoredAction = serde_json::from_str(text)?;
    let retry_at = stored.retry_at.as_deref().map(number).transpose()?;
    let action = RunAction {
        name,
        state: stored.state,
        reason: stored.reason,
        attempts: number(&stored.attempts)?,
        tries: number(&stored.tries)?,
        crashes: number(&stored.crashes)?,
        retry_at: retry_at.map(Timestamp::from_micros),
        skipped_rest: stored.skipped_rest,
        approvals,
    };
    Ok((number(&stored.position)?, action))
}

/// Reads the record of an approval.
fn approval(row: &Row) -> Work<Approval> {
    let decision = match row.opt::<Verdict>("verdict")? {
        None => None,
        Some(verdict) => Some(Decision { verdict, by: row.text("by"), note: row.text("note"), at: row.time("at")? }),
    };
    Ok(Approval { who: row.get("who")?, since: row.time("since")?, until: row.opt_time("until")?, decision })
}

/// Says why a decision is refused: there is another one, in this record.
pub(super) fn decided_already(number: u64, row: &Row) -> Work<String> {
    let approval = approval(row)?;
    Ok(decision::decided_already(number, &row.get::<String>("action")?, &approval, approval.decision.as_ref()))
}

/// Reads a run with its actions and attempts; `None` if there is no such run.
pub(super) fn detail(reply: Reply) -> Work<Option<RunDetail>> {
    if reply == Reply::List(Vec::new()) {
        return Ok(None);
    }
    let [row, actions, approvals, attempts] = reply.parts()?;
    let run = run(&row.row()?)?;
    let mut asked: HashMap<String, Vec<Approval>> = HashMap::new();
    for row in approvals.each(Reply::row)? {
        asked.entry(row.get("action")?).or_default().push(approval(&row)?);
    }
    let mut found = Vec::new();
    let mut items = actions.list()?.into_iter();
    while let (Some(name), Some(text)) = (items.next(), items.next()) {
        let name = name.text()?;
        let approvals = asked.remove(&name).unwrap_or_default();
        found.push(action(name, &text.text()?, approvals)?);
    }
    found.sort_by_key(|(position, _)| *position);
    let attempts = attempts.each(|reply| attempt(&reply.row()?, run.id))?;
    Ok(Some(RunDetail { run, actions: found.into_iter().map(|(_, action)| action).collect(), attempts }))
}

/// One run with its actions and attempts.
pub(super) async fn progress(db: &Reader<'_>, id: RunId) -> Work<Option<RunDetail>> {
    detail(db.ask("run_progress", json!({ "id": id })).await?)
}

/// One run; `None` if there is no such run.
pub(super) async fn summary(db: &Reader<'_>, id: RunId) -> Work<Option<Run>> {
    let row = db.ask("run_summary", json!({ "id": id })).await?.first()?;
    row.map(|row| run(&row.row()?)).transpose()
}

/// Reads a run that was changed; `None` if there is no such run.
pub(super) fn changed(reply: Reply) -> Work<Option<Run>> {
    reply.first()?.map(|row| run(&row.row()?)).transpose()
}

/// The id of the run with a number; `None` if there is no such run.
pub(super) async fn by_number(db: &Reader<'_>, number: u64) -> Work<Option<RunId>> {
    let id = db.ask("run_by_number", json!({ "number": super::arguments::bounded(number) })).await?.first()?;
    id.map(Reply::value).transpose()
}

/// Asks for a number.
pub(super) async fn count(db: &Reader<'_>, method: &str, arguments: Value) -> Work<u64> {
    db.ask(method, arguments).await?.first()?.unwrap_or(Reply::Nothing).value()
}

/// A run that has not ended; `None` if there is none of this id.
pub(super) async fn unfinished(db: &Reader<'_>, id: RunId) -> Work<Option<UnfinishedRun>> {
    let Some(detail) = progress(db, id).await?.filter(|detail| !detail.run.state.ended()) else { return Ok(None) };
    let mut intents: HashMap<String, Vec<(StagedFile, ArtifactId)>> = HashMap::new();
    let mut stopped: HashMap<String, (bool, bool)> = HashMap::new();
    for reply in db.ask("intents", json!({ "id": id })).await?.list()? {
        let [attempt, files, row] = reply.parts()?;
        let (attempt, row) = (attempt.text()?, row.row()?);
        let file = |reply: Reply| {
            let [file, became] = reply.parts()?;
            Ok((serde_json::from_str(&file.text()?)?, became.value()?))
        };
        intents.insert(attempt.clone(), files.each(file)?);
        stopped.insert(attempt, (row.has("stopped"), row.has("skip")));
    }
    let mut attempts = Vec::new();
    for attempt in detail.attempts.iter().filter(|attempt| attempt.ended_at.is_none()) {
        let Some(fence) = attempt.fence else { continue };
        let publishing = attempt.state == AttemptState::Publishing;
        let id = attempt.id.to_string();
        let (files, artifacts) = intents.remove(&id).unwrap_or_default().into_iter().unzip();
        let (stopped, skip) = stopped.remove(&id).unwrap_or_default();
        attempts.push(UnfinishedAttempt {
            fence,
            action: attempt.action.clone(),
            files: publishing.then_some(files),
            stopped,
            skip: publishing && skip,
            cached: publishing && attempt.is_cached(),
            message: attempt.message.clone(),
            artifacts,
        });
    }
    Ok(Some(UnfinishedRun { detail, attempts }))
}

/// The logs of every attempt of every run that has not ended.
pub(super) async fn unfinished_logs(db: &Reader<'_>) -> Work<Vec<LogRange>> {
    let mut found = Vec::new();
    for run in db.ask("unfinished_runs", json!({})).await?.list()? {
        for row in db.ask("logs", json!({ "run": run.text()? })).await?.each(Reply::row)? {
            let from = row.position("from_segment", "from_offset")?;
            let from = from.ok_or_else(|| Fail::Record("an attempt has no log".to_owned()))?;
            found.push(LogRange { from, to: row.position("to_segment", "to_offset")? });
        }
    }
    Ok(found)
}

/// The arguments of a new run.
pub(super) fn new_run(new: &NewRun, now: Timestamp) -> Work<Value> {
    let claims: Vec<Value> = new.claims.iter().map(claim).collect();
    let actions: Vec<Value> =
        new.actions.iter().enumerate().map(|(position, action)| first(position, action)).collect();
    let ticks = new.ticks.iter().map(|tick| ticks::arguments(tick, Some(new.id))).collect::<Work<Vec<_>>>()?;
    let indexed: Vec<Value> = new.params.as_object().into_iter().flatten().filter_map(|it| param(it.0, it.1)).collect();
    Ok(json!({
        "id": new.id, "cause": new.trigger, "params": new.params.to_string(), "revision": new.revision, "claims": claims,
        "given": new.given, "rerun_of": new.rerun_of, "actions": actions, "ticks": ticks, "fired_by": new.fired_by,
        "fired_by_text": serde_json::to_string(&new.fired_by)?, "partition": new.partition, "indexed": indexed,
        "marks": ticks::marks(&new.marks)?, "step": step::arguments(&new.step)?, "now": time(now),
    }))
}

fn claim(claim: &Claim) -> Value {
    let Claim { resource, at_most, at_least, min_bytes, only } = claim;
    let at_most = at_most.map(super::arguments::bounded);
    json!({ "resource": resource, "at_most": at_most, "at_least": at_least, "min_bytes": min_bytes, "only": only })
}

/// An action of a new run, which has asked for no approval.
fn first(position: usize, action: &RunAction) -> Value {
    let RunAction { name, state, reason, attempts, tries, crashes, retry_at, skipped_rest, approvals: _ } = action;
    json!({
        "name": name, "position": position, "state": state, "reason": reason, "attempts": attempts, "tries": tries,
        "crashes": crashes, "retry_at": retry_at.map(time), "skipped_rest": skipped_rest,
    })
}

/// A param of a run by which filters find it. A value that is not a text is compared as JSON.
fn param(name: &str, value: &Value) -> Option<Value> {
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    is_short(&value).then(|| json!({ "name": name, "value": value }))
}

/// A run that was created, before its inputs are read.
pub(super) struct Created {
    number: u64,
    snapshot: u64,
    at: Timestamp,
    started: Vec<StartedAttempt>,
    pending: Vec<(String, Pending)>,
}

/// Reads the answer to a new run; `None` if a claim found too few.
pub(super) fn created(reply: Reply) -> Work<Option<Created>> {
    if reply == Reply::List(Vec::new()) {
        return Ok(None);
    }
    let [number, snapshot, created, attempts, waiting] = reply.parts()?;
    let pending = waiting.each(|reply| {
        let [resource, counters] = reply.parts()?;
        Ok((resource.text()?, pending(counters)?))
    })?;
    Ok(Some(Created {
        number: number.value()?,
        snapshot: snapshot.value()?,
        at: Timestamp::from_micros(created.value()?),
        started: step::started(attempts)?,
        pending,
    }))
}

impl Created {
    /// Returns the answer to the caller: the run as it was before its first step, with its inputs.
    pub(super) async fn with_inputs(self, db: &Reader<'_>, new: NewRun) -> Work<CreatedRun> {
        let Self { number, snapshot, at, started, pending } = self;
        let inputs = if new.claims.is_empty() && new.given.is_empty() {
            Page { items: Vec::new(), next_cursor: None }
        } else {
            inputs(db, new.id, &PageRequest { cursor: None, limit: MAX_PAGE }).await?
        };
        let run = Run {
            id: new.id,
            number,
            state: RunState::Queued,
            trigger: new.trigger,
            params: new.params,
            revision: new.revision,
            snapshot,
            created_at: at,
            started_at: None,
            ended_at: None,
            reason: None,
            rerun_of: new.rerun_of,
            fired_by: new.fired_by,
            partition: new.partition,
            trimmed_at: None,
        };
        let detail = RunDetail { run, actions: new.actions, attempts: Vec::new() };
        Ok(CreatedRun { detail, inputs, started, pending })
    }
}

/// The actions that wait for approval, in the order in which they asked.
pub(super) async fn awaiting(db: &Reader<'_>, request: &PageRequest) -> Work<Page<AwaitingApproval>> {
    let (after, limit) = (super::arguments::bound(page::after(request)?), page::limit(request));
    let waits = |reply: Reply| {
        let [run_id, row] = reply.parts()?;
        let row = row.row()?;
        let waits = AwaitingApproval {
            run_id: run_id.value()?,
            run_number: row.get("run")?,
            action: row.get("action")?,
            approval: approval(&row)?,
        };
        Ok((row.get("seq")?, waits))
    };
    let rows = db.ask("awaiting_approval", json!({ "after": after, "limit": limit + 1 })).await?;
    Ok(page::cut(rows.each(waits)?, limit))
}

/// Reads a run that has ended.
pub(super) fn ended(reply: Reply) -> Work<EndedRun> {
    let row = reply.row()?;
    Ok(EndedRun {
        seq: row.get("ended_seq")?,
        number: row.get("number")?,
        state: row.get("state")?,
        fired_by: row.json("fired_by")?,
    })
}
