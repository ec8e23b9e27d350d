//! Ticks: evaluations of triggers.

use super::World;
use super::fixtures::*;
use crate::model::TickOutcome::{Held, NotReady};
use crate::model::{ConditionSeen, RunState, Tick, TickOutcome, TriggerMark};
use crate::store::{MetadataStore, NewRun, TickQuery};

fn tick(resource: &str, outcome: TickOutcome, reason: &str) -> Tick {
    let (trigger, resource) = (resource.to_owned(), Some(resource.to_owned()));
    Tick {
        seq: 0,
        trigger,
        resource,
        time: at(5),
        outcome,
        reason: reason.to_owned(),
        run_id: None,
        conditions: Vec::new(),
    }
}

async fn reasons(store: &dyn MetadataStore, resource: Option<&str>) -> Vec<String> {
    let query = TickQuery { trigger: resource.map(str::to_owned) };
    store.ticks(query, all()).await.unwrap().items.into_iter().map(|it| it.reason).collect()
}

pub(super) async fn an_unchanged_evaluation_is_recorded_once(world: &mut World) {
    let store = world.store().as_ref();
    for (resource, outcome, reason) in [
        ("raw", NotReady, "1 of 5"),
        ("labels", NotReady, "0 of 5"),
        ("raw", NotReady, "1 of 5"),
        ("raw", Held, "1 of 5"),
        ("raw", Held, "paused"),
        ("labels", NotReady, "0 of 5"),
        ("raw", Held, "paused"),
        ("raw", NotReady, "1 of 5"),
    ] {
        store.record_tick(tick(resource, outcome, reason)).await.unwrap();
    }
    assert_eq!(reasons(store, Some("raw")).await, ["1 of 5", "paused", "1 of 5", "1 of 5"]);
    assert_eq!(reasons(store, Some("labels")).await, ["0 of 5"]);
    assert_eq!(reasons(store, None).await.len(), 5);
    let seqs: Vec<_> = store.ticks(TickQuery::default(), all()).await.unwrap().items.iter().map(|it| it.seq).collect();
    assert!(seqs.is_sorted_by(|a, b| a > b) && !seqs.contains(&0), "{seqs:?}");
}

pub(super) async fn every_fired_tick_is_recorded(world: &mut World) {
    let store = world.store().as_ref();
    let mut runs = Vec::new();
    for n in 0..3 {
        record(store, vec![present(&format!("{n}"), "x")]).await;
        let ticks = vec![tick("raw", TickOutcome::Fired, "1 new artifact")];
        let created = create(store, NewRun { ticks, ..new_run() }).await;
        runs.push(Some(created.detail.run.id));
    }
    let ticks = store.ticks(TickQuery { trigger: Some("raw".to_owned()) }, all()).await.unwrap().items;
    runs.reverse();
    assert_eq!(ticks.iter().map(|it| it.run_id).collect::<Vec<_>>(), runs);
    assert!(ticks.iter().all(|it| it.outcome == TickOutcome::Fired));
}

pub(super) async fn conditions_come_back_and_a_change_in_one_is_news(world: &mut World) {
    let store = world.store().as_ref();
    let leaf = |seen: &str| ConditionSeen {
        condition: "metric".to_owned(),
        wanted: "accuracy below 0.9".to_owned(),
        seen: seen.to_owned(),
        met: false,
        conditions: Vec::new(),
    };
    let group = |seen| ConditionSeen { condition: "any".to_owned(), conditions: vec![leaf(seen)], ..leaf("0 of 1") };
    for seen in ["0.95", "0.95", "0.93"] {
        let conditions = vec![group(seen)];
        let tick = Tick { conditions, resource: None, ..tick("retrain", NotReady, "waits for metric") };
        store.record_tick(tick).await.unwrap();
    }
    let ticks = store.ticks(TickQuery { trigger: Some("retrain".to_owned()) }, all()).await.unwrap().items;
    let conditions: Vec<_> = ticks.into_iter().map(|tick| tick.conditions).collect();
    assert_eq!(conditions, [vec![group("0.93")], vec![group("0.95")]]);
}

fn mark(trigger: &str, condition: &str, seq: u64, value: Option<f64>) -> TriggerMark {
    TriggerMark { trigger: trigger.to_owned(), condition: condition.to_owned(), at: at(7), seq, value }
}

pub(super) async fn marks_are_set_with_the_run_that_they_are_about(world: &mut World) {
    let (hourly, metric) = (mark("hourly", "every 1h", 0, None), mark("retrain", "metric loss above 1", 3, Some(1.5)));
    world.store().set_trigger_marks(vec![metric.clone(), hourly.clone()]).await.unwrap();
    let later = TriggerMark { at: at(9), ..hourly.clone() };
    let run = NewRun { marks: vec![later.clone()], fired_by: vec!["hourly".to_owned()], ..new_run() };
    let created = create(world.store().as_ref(), run.clone()).await.detail.run;
    assert_eq!(created.fired_by, ["hourly"]);
    world.restart().await;
    let store = world.store().as_ref();
    assert_eq!(store.trigger_marks().await.unwrap(), [later.clone(), metric]);
    assert_eq!(store.run_summary(created.id).await.unwrap().unwrap().fired_by, ["hourly"]);
    let too_few = NewRun { id: crate::base::RunId::new(), claims: vec![claim(None, 1)], ..run };
    let too_few = NewRun { marks: vec![TriggerMark { at: at(99), ..hourly }], ..too_few };
    assert_eq!(store.create_run(too_few, at(20)).await.unwrap(), None);
    assert_eq!(store.trigger_marks().await.unwrap()[0], later, "there is no run, and no mark of it");
    store.set_trigger_marks(vec![later.clone()]).await.unwrap();
    assert_eq!(store.trigger_marks().await.unwrap(), [later], "the others are gone");
}

pub(super) async fn ended_runs_are_in_the_order_of_their_ends(world: &mut World) {
    let store = world.store().as_ref();
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(create(store, new_run()).await.detail.run);
    }
    for (place, state) in [(2, RunState::Failed), (0, RunState::Succeeded), (3, RunState::Failed)] {
        store.advance(runs[place].id, WriteId::new(), run_becomes(state, None), at(30)).await.unwrap();
    }
    let numbers = async |state, after, before, limit| {
        let ended = store.ended_runs(state, after, before, limit).await.unwrap();
        ended.iter().map(|run| (run.number, run.seq)).collect::<Vec<_>>()
    };
    let failed = numbers(RunState::Failed, 0, u64::MAX, 10).await;
    let (newer, older) = (runs[3].number, runs[2].number);
    assert_eq!(failed.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [newer, older]);
    assert_eq!(numbers(RunState::Failed, 0, u64::MAX, 1).await, failed[..1]);
    assert_eq!(numbers(RunState::Failed, failed[1].1, u64::MAX, 10).await, failed[..1]);
    assert_eq!(numbers(RunState::Failed, 0, failed[0].1, 10).await, failed[1..]);
    assert_eq!(numbers(RunState::Succeeded, 0, u64::MAX, 10).await.len(), 1);
    store.request_retry(runs[2].id, &[], WriteId::new(), at(40)).await.unwrap();
    assert_eq!(numbers(RunState::Failed, 0, u64::MAX, 10).await, failed[..1], "it has not ended any more");
    store.advance(runs[2].id, WriteId::new(), run_becomes(RunState::Failed, None), at(50)).await.unwrap();
    let again = numbers(RunState::Failed, 0, u64::MAX, 10).await;
    assert_eq!(again.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [older, newer], "it ended again");
}
