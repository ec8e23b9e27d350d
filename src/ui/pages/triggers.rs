//! What triggers wait for, as cards, and what they decided, as a timeline.

use std::collections::BTreeMap;

use serde::Serialize;

use super::nodes::Now;
use crate::base::{ByteSize, RunId, Timestamp};
use crate::manifest::Pipeline;
use crate::model::{ConditionSeen, NodeKind, Pending, Tick, TickOutcome};
use crate::scheduler::Preview;
use crate::ui::{text, tone};

/// Most paths that are shown of files that cannot be recorded yet, for each resource.
const UNRECORDED: usize = 5;

/// What one trigger would do now.
#[derive(Debug, Serialize)]
pub(super) struct TriggerCard {
    name: String,
    /// The page of its resource, or its own.
    href: String,
    tone: &'static str,
    state: String,
    /// Why it is held or cannot decide.
    why: Option<String>,
    /// When time alone would let it fire: in full, as displayed, and how long that is from now.
    next: Option<(text::Moment, String)>,
    conditions: Vec<ConditionRow>,
    /// `3 artifacts, 4 KiB`; of a resource.
    waiting: Option<String>,
    /// The group of artifacts that the conditions are about, if the trigger groups them, and how
    /// many more there are.
    group: Option<String>,
    oldest: Option<text::Moment>,
    /// Files that cannot be recorded yet, one line each; the next field counts the others.
    unrecorded: Vec<String>,
    more_unrecorded: u64,
    without_group: u64,
    /// What waits because too many older artifacts are in groups.
    beyond: Option<String>,
}

#[derive(Debug, Serialize)]
struct ConditionRow {
    met: bool,
    /// What it waits for, such as `min_artifacts 3`.
    wants: String,
    seen: String,
    /// How deep it is in groups.
    depth: usize,
}

/// An evaluation of a trigger.
#[derive(Debug, Serialize)]
pub(super) struct TickRow {
    seq: u64,
    tone: &'static str,
    outcome: &'static str,
    reason: String,
    at: text::Moment,
    run: Option<u64>,
    conditions: Vec<ConditionRow>,
}

impl TriggerCard {
    pub(super) fn of(pipeline: &Pipeline, now: &Now, preview: Preview, at: Timestamp) -> Self {
        let (tone, state) = match preview.outcome {
            TickOutcome::Fired => ("run", "fires now"),
            TickOutcome::Held => ("stop", "held back"),
            TickOutcome::NotReady => ("wait", "waits"),
            TickOutcome::Error => ("bad", "cannot decide"),
        };
        let resource = preview.resource.as_deref().and_then(|name| pipeline.resource(name));
        let (mut tone, mut state, mut why) = (tone, state.to_owned(), preview.held.clone());
        // A watch that sees nothing, or a pause, says more than what the trigger waits for.
        if let Some(resource) = resource {
            let of_node = now.resource(resource);
            let is_told = why.is_none() && now.pause(NodeKind::Resource, &resource.name).is_none();
            if of_node.tone != "ok" {
                (tone, state) = (of_node.tone, of_node.text);
            }
            if is_told {
                why = of_node.reason;
            }
        }
        if preview.outcome == TickOutcome::Error {
            why = why.or_else(|| Some(preview.reason.clone()));
        }
        let waiting = resource.and_then(|resource| now.pending.get(&resource.name)).copied();
        let unrecorded = resource.and_then(|resource| now.waiting.get(&resource.name)).cloned().unwrap_or_default();
        let lines: Vec<String> =
            unrecorded.paths.iter().take(UNRECORDED).map(|it| format!("{} is {}", it.path, it.reason)).collect();
        let name = text::encoded(&preview.trigger);
        let next = preview.next_at.map(|next| {
            let left = if next > at { format!("in {}", text::span(next.since(at))) } else { "now".to_owned() };
            (text::both(next), left)
        });
        Self {
            href: if resource.is_some() { format!("/resources/{name}") } else { format!("/triggers/{name}") },
            tone,
            state,
            why,
            next,
            conditions: rows(&preview.conditions, 0),
            waiting: waiting.map(sum),
            oldest: waiting.and_then(|pending| pending.oldest_at).map(text::both),
            more_unrecorded: unrecorded.count.saturating_sub(lines.len() as u64),
            unrecorded: lines,
            group: preview.group_line(),
            beyond: preview.beyond_line(),
            without_group: preview.without_group,
            name: preview.trigger,
        }
    }
}

/// `nothing`, `3 artifacts, 4 KiB`.
pub(super) fn sum(pending: Pending) -> String {
    if pending.count == 0 {
        return "nothing".to_owned();
    }
    format!("{}, {}", text::count(pending.count, "artifact", "artifacts"), ByteSize(pending.bytes))
}

fn rows(seen: &[ConditionSeen], depth: usize) -> Vec<ConditionRow> {
    let mut all = Vec::new();
    for one in seen {
        let wants = format!("{} {}", one.condition, one.wanted).trim_end().to_owned();
        all.push(ConditionRow { met: one.met, wants, seen: one.seen.clone(), depth });
        all.extend(rows(&one.conditions, depth + 1));
    }
    all
}

impl TickRow {
    /// `numbers` are those of the runs.
    pub(super) fn of(tick: Tick, numbers: &BTreeMap<RunId, u64>) -> Self {
        let (tone, outcome) = tone::of_tick(tick.outcome);
        Self {
            seq: tick.seq,
            tone,
            outcome,
            reason: tick.reason,
            at: text::both(tick.time),
            run: tick.run_id.and_then(|run| numbers.get(&run)).copied(),
            conditions: rows(&tick.conditions, 0),
        }
    }
}
