//! Metrics, params and tags that actions record.

use super::World;
use super::fixtures::*;
use crate::model::{AttemptState, Entry, EventKind, Facts, Metric};
use crate::store::{FactQuery, RunStep, StoreError};

fn metric(name: &str, value: f64, step: u64) -> Metric {
    Metric { name: name.to_owned(), value, step: Some(step) }
}

fn entry(name: &str, value: &str) -> Entry {
    Entry { name: name.to_owned(), value: value.to_owned() }
}

pub(super) async fn facts_are_listed_newest_first_with_the_state_of_their_attempt(world: &mut World) {
    let store = world.store().as_ref();
    let mut runs = Vec::new();
    for (n, state) in [(1, AttemptState::Succeeded), (2, AttemptState::Failed), (3, AttemptState::Succeeded)] {
        let (run, fence) = started(store, new_run()).await;
        let value = f64::from(n);
        let facts = Facts {
            metrics: vec![metric("loss", value, 1), metric("accuracy", value, 1), metric("loss", value + 0.5, 2)],
            params: vec![entry("lr", &n.to_string())],
            tags: vec![entry("team", &n.to_string())],
        };
        let before = newest(store).await;
        store.record_facts(fence, WriteId::new(), facts, at(35)).await.unwrap();
        let told = store.events(before, None, 10).await.unwrap();
        assert_eq!((told.len(), told[0].kind, told[0].attempt), (1, EventKind::FactsRecorded, Some(fence.attempt_id)));
        assert_eq!(told[0].data, serde_json::json!({ "metrics": 3, "params": 1, "tags": 1 }));
        store.record_facts(fence, WriteId::new(), Facts::default(), at(36)).await.unwrap();
        store.finish_attempt(fence, end(state), RunStep::default(), at(40)).await.unwrap();
        runs.push(run);
    }
    let values = async |query: FactQuery| {
        let page = store.metrics(query, all()).await.unwrap();
        page.items.iter().map(|it| (it.run_number, it.value)).collect::<Vec<_>>()
    };
    let any = FactQuery::default();
    let loss = FactQuery { name: Some("loss".to_owned()), ..any.clone() };
    assert_eq!(values(any.clone()).await.len(), 9);
    assert_eq!(values(loss.clone()).await, [(3, 3.5), (3, 3.0), (2, 2.5), (2, 2.0), (1, 1.5), (1, 1.0)]);
    let counting = FactQuery { succeeded_only: true, ..loss.clone() };
    assert_eq!(values(counting.clone()).await, [(3, 3.5), (3, 3.0), (1, 1.5), (1, 1.0)]);
    let earlier = FactQuery { before_run: Some(3), ..counting };
    assert_eq!(values(earlier).await, [(1, 1.5), (1, 1.0)]);
    let of_run = FactQuery { run: Some(runs[1]), ..any.clone() };
    assert_eq!(values(of_run.clone()).await, [(2, 2.5), (2, 2.0), (2, 2.0)]);
    assert_eq!(values(FactQuery { name: Some("loss".to_owned()), ..of_run.clone() }).await, [(2, 2.5), (2, 2.0)]);
    assert!(values(FactQuery { run: Some(crate::base::RunId::new()), ..any.clone() }).await.is_empty());
    let first = store.metrics(of_run.clone(), all()).await.unwrap().items.remove(0);
    assert_eq!((first.action.as_str(), first.succeeded, first.step), ("first", false, Some(2)));
    assert_eq!((first.run_id, first.recorded_at), (runs[1], at(35)));
    let counting = FactQuery { succeeded_only: true, ..any.clone() };
    let params = store.params(counting, all()).await.unwrap().items;
    assert_eq!(params.iter().map(|it| it.value.as_str()).collect::<Vec<_>>(), ["3", "1"]);
    let tags = store.tags(any, all()).await.unwrap().items;
    assert_eq!(tags.iter().map(|it| it.value.as_str()).collect::<Vec<_>>(), ["3", "2", "1"]);
    let tags = store.tags(FactQuery { before_run: Some(2), name: Some("team".to_owned()), ..of_run }, all()).await;
    assert!(tags.unwrap().items.is_empty());
}

pub(super) async fn the_last_value_replaces_earlier_ones(world: &mut World) {
    let store = world.store().as_ref();
    let (run, fence) = started(store, new_run()).await;
    for value in ["1", "2", "3"] {
        let facts = Facts {
            params: vec![entry("lr", value), entry("seed", "7")],
            tags: vec![entry("team", value)],
            ..Facts::default()
        };
        store.record_facts(fence, WriteId::new(), facts, at(35)).await.unwrap();
    }
    let query = FactQuery { run: Some(run), ..FactQuery::default() };
    let params = store.params(query.clone(), all()).await.unwrap().items;
    let mut params: Vec<_> = params.iter().map(|it| (it.name.as_str(), it.value.as_str())).collect();
    params.sort_unstable();
    assert_eq!(params, [("lr", "3"), ("seed", "7")]);
    let tags = store.tags(query, all()).await.unwrap().items;
    assert_eq!(tags.iter().map(|it| it.value.as_str()).collect::<Vec<_>>(), ["3"]);
}

pub(super) async fn metrics_round_trip_exactly(world: &mut World) {
    use proptest::strategy::{Strategy as _, ValueTree as _};
    let store = world.store().as_ref();
    let (_, fence) = started(store, new_run()).await;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut any = || proptest::num::f64::ANY.new_tree(&mut runner).unwrap().current();
    let mut values = vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, f64::MIN_POSITIVE / 2.0];
    values.extend(std::iter::repeat_with(&mut any).take(900));
    let metrics = values.iter().map(|value| metric("any", *value, 1)).collect();
    store.record_facts(fence, WriteId::new(), Facts { metrics, ..Facts::default() }, at(35)).await.unwrap();
    let mut back = store.metrics(FactQuery::default(), all()).await.unwrap().items;
    back.reverse();
    assert_eq!(back.len(), values.len());
    for (back, sent) in back.iter().map(|metric| metric.value).zip(values) {
        let same = back.to_bits() == sent.to_bits() || back.is_nan() && sent.is_nan();
        // SQLite stores a double without a fraction as an integer, which has no negative zero.
        assert!(same || back == 0.0 && sent == 0.0, "{sent} came back as {back}");
    }
}

pub(super) async fn facts_are_fenced(world: &mut World) {
    let store = world.store().as_ref();
    let (_, fence) = started(store, new_run()).await;
    store.finish_attempt(fence, end(AttemptState::Succeeded), RunStep::default(), at(40)).await.unwrap();
    let late = Facts { metrics: vec![metric("late", 1.0, 1)], ..Facts::default() };
    assert!(matches!(store.record_facts(fence, WriteId::new(), late, at(45)).await, Err(StoreError::Fenced { .. })));
    assert!(store.metrics(FactQuery::default(), all()).await.unwrap().items.is_empty());
}
