//! What the triggers would do now, from the record alone: with or without a running host.

use std::collections::{BTreeMap, BTreeSet};

use super::core::{History, Preview, Said, Situation, Waiting, preview};
use super::definition::triggers;
use super::groups::note_groups;
use super::history::look_back;
use super::pauses::PauseBoard;
use super::recorder::unseen_reason;
use crate::base::bounds::MAX_PAGE;
use crate::base::{Now, RunId};
use crate::manifest::{Condition, Pipeline};
use crate::model::{ConditionSeen, RunState, TickOutcome};
use crate::resource::Status;
use crate::store::{MetadataStore, PageRequest, StoreError, TickQuery};

/// Marks a condition that no host has seen yet, as if it had accounted for every event.
const ALL_EVENTS: u64 = i64::MAX as u64;

/// Notes the last answers of trigger components from their ticks, because a preview asks nothing.
async fn recall_answers(
    store: &dyn MetadataStore,
    pipeline: &Pipeline,
    history: &mut History,
) -> Result<(), StoreError> {
    for (trigger, when) in triggers(pipeline) {
        let conditions = || when.iter().flat_map(Condition::flat).filter(|condition| condition.decider().is_some());
        if conditions().next().is_none() {
            continue;
        }
        let query = TickQuery { trigger: Some(trigger.to_owned()) };
        let newest = store.ticks(query, PageRequest { cursor: None, limit: 1 }).await?.items.pop();
        let Some(tick) = newest else { continue };
        for condition in conditions() {
            let (key, wanted) = (condition.key(), condition.wanted());
            let Some(seen) = find(&tick.conditions, key, &wanted) else { continue };
            let said = match (tick.outcome, seen.met) {
                (TickOutcome::Held, true) => Said::Fire(seen.seen.clone()),
                (TickOutcome::Error, false) => Said::Failed(seen.seen.clone()),
                (TickOutcome::Fired, true) => {
                    Said::Skip { reason: format!("it started the last run: {}", seen.seen), ask_again: None }
                }
                _ => Said::Skip { reason: seen.seen.clone(), ask_again: None },
            };
            history.answers_mut().recall((trigger.to_owned(), condition.describe()), said);
        }
    }
    Ok(())
}

/// Returns what a condition saw, at any depth.
fn find<'a>(all: &'a [ConditionSeen], key: &str, wanted: &str) -> Option<&'a ConditionSeen> {
    let here = all.iter().find(|seen| seen.condition == key && seen.wanted == wanted);
    here.or_else(|| all.iter().find_map(|seen| find(&seen.conditions, key, wanted)))
}

/// Returns what each trigger would do now. `watches` has the status of the watched resources, if a
/// host is running.
///
/// # Errors
/// [`StoreError`] if the store cannot be read.
pub async fn preview_triggers(
    store: &dyn MetadataStore,
    pipeline: &Pipeline,
    watches: Option<&BTreeMap<String, Status>>,
    now: Now,
) -> Result<Vec<Preview>, StoreError> {
    let (mut pending, mut unseen) = (Waiting::default(), BTreeMap::new());
    for resource in pipeline.resources.iter().filter(|resource| resource.watch) {
        let name = &resource.name;
        pending.note(name, store.pending(name).await?, now);
        let reason = watches.and_then(|watches| unseen_reason(name, watches.get(name)));
        unseen.extend(reason.map(|reason| (name.clone(), reason)));
    }
    let outside = note_groups(store, pipeline, &mut pending, now).await?;
    let history = History::new(&store.trigger_marks().await?, pipeline, now);
    let mut history = look_back(store, pipeline, history, ALL_EVENTS, false, now).await?;
    recall_answers(store, pipeline, &mut history).await?;
    let mut counts = [0; 3];
    for (count, state) in counts.iter_mut().zip([RunState::Running, RunState::Cancelling, RunState::Queued]) {
        *count = usize::try_from(store.count_runs(state).await?).unwrap_or(usize::MAX);
    }
    let [running, cancelling, queued] = counts;
    let paused_resources = PauseBoard::new(&store.paused_nodes().await?).resources();
    let first = PageRequest { cursor: None, limit: MAX_PAGE };
    let awaiting: BTreeSet<RunId> = store.awaiting_approval(first).await?.items.iter().map(|it| it.run_id).collect();
    let situation = Situation {
        pending: &pending,
        unseen: &unseen,
        history: &history,
        runs: running.saturating_add(cancelling),
        // Only a host knows which runs wait for the end of a pause.
        left: awaiting.len(),
        queued,
        paused: store.paused().await?,
        paused_resources: &paused_resources,
        draining: false,
        now,
        due: now,
    };
    let mut previews = preview(pipeline, situation);
    for it in &mut previews {
        let counts = it.resource.as_ref().and_then(|name| outside.get(name)).copied().unwrap_or_default();
        (it.without_group, it.beyond) = (counts.without_group, counts.beyond);
    }
    Ok(previews)
}
