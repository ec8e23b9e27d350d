//! Ticks: evaluations of triggers.

use super::World;
use super::fixtures::*;
use crate::model::TickOutcome::{Held, NotReady};
use crate::model::{Tick, TickOutcome};
use crate::store::{MetadataStore, NewRun, TickQuery};

fn tick(resource: &str, outcome: TickOutcome, reason: &str) -> Tick {
    let (trigger, resource) = (resource.to_owned(), Some(resource.to_owned()));
    Tick { seq: 0, trigger, resource, time: at(5), outcome, reason: reason.to_owned(), run_id: None }
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
