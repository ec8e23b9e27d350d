//! Ticks, which are evaluations of triggers, and marks: what the conditions of triggers have
//! accounted for.

use serde_json::{Value, json};

use super::arguments::bound;
use super::reader::Reader;
use super::reply::{Fail, Reply, Work};
use crate::base::{RunId, Timestamp};
use crate::model::{Page, Tick, TickOutcome, TriggerMark};
use crate::store::{MAX_TICKS, PageRequest, TickQuery, page};

/// The arguments of a tick. `run` is the run that it led to.
pub(super) fn arguments(tick: &Tick, run: Option<RunId>) -> Work<Value> {
    let tick = Tick { run_id: run.or(tick.run_id), ..tick.clone() };
    let says = serde_json::to_string(&(tick.outcome, &tick.reason, &tick.conditions))?;
    Ok(json!({
        "trigger": tick.trigger, "fired": tick.outcome == TickOutcome::Fired, "says": says,
        "text": serde_json::to_string(&tick)?, "most": MAX_TICKS,
    }))
}

/// Ticks, newest first.
pub(super) async fn list(db: &Reader<'_>, query: &TickQuery, request: &PageRequest) -> Work<Page<Tick>> {
    let (before, limit) = (bound(page::before(request)?), page::limit(request));
    let tick = |reply: Reply| {
        let [seq, text] = reply.parts()?;
        let seq: i64 = seq.value()?;
        let tick: Tick = serde_json::from_str(&text.text()?)?;
        Ok((seq, Tick { seq: seq.cast_unsigned(), ..tick }))
    };
    let arguments = json!({ "trigger": query.trigger, "before": before, "limit": limit + 1 });
    Ok(page::cut(db.ask("ticks", arguments).await?.each(tick)?, limit))
}

/// The arguments of marks.
pub(super) fn marks(marks: &[TriggerMark]) -> Work<Value> {
    let mark = |TriggerMark { trigger, condition, at, seq, value }: &TriggerMark| {
        // A mark that is not a number marks nothing.
        let value = value.filter(|value| !value.is_nan()).map(|value| format!("{value:?}"));
        let text = serde_json::to_string(&(trigger, condition, at.as_micros(), seq, value))?;
        Ok(json!({ "trigger": trigger, "condition": condition, "text": text }))
    };
    Ok(Value::Array(marks.iter().map(mark).collect::<Work<_>>()?))
}

/// All marks, by trigger and condition.
pub(super) async fn all_marks(db: &Reader<'_>) -> Work<Vec<TriggerMark>> {
    let mark = |reply: Reply| {
        let (trigger, condition, at, seq, value): (_, _, i64, _, Option<String>) =
            serde_json::from_str(&reply.text()?)?;
        let value = value.map(|text| Reply::Text(text).value()).transpose()?;
        Ok::<_, Fail>(TriggerMark { trigger, condition, at: Timestamp::from_micros(at), seq, value })
    };
    let mut marks = db.ask("trigger_marks", json!({})).await?.each(mark)?;
    marks.sort_by(|one, other| (&one.trigger, &one.condition).cmp(&(&other.trigger, &other.condition)));
    Ok(marks)
}
