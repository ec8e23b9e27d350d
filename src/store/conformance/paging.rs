//! Pages of lists.

use std::sync::Arc;

use super::World;
use super::fixtures::*;
use crate::base::RunId;
use crate::model::{
    Access, AccessKind, Artifact, ArtifactState, AttemptState, Entry, Facts, Metric, RunState, Tick, TickOutcome,
};
use crate::store::{
    ArtifactQuery, AttemptEnd, Batch, FactQuery, MetadataStore, NewRun, PageRequest, RunQuery, RunStep, StoreError,
    TickQuery,
};

/// Reads all pages of a list, two items each, and compares them with the list in one page.
macro_rules! check_pages {
    ($store:expr, $method:ident, $query:expr, $expected:expr) => {{
        let query = $query;
        let whole = $store.$method(query.clone(), all()).await.unwrap();
        assert_eq!(whole.next_cursor, None);
        let (mut items, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = $store.$method(query.clone(), PageRequest { cursor, limit: 2 }).await.unwrap();
            assert!(page.items.len() <= 2);
            pages += 1;
            items.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(items, whole.items, "{query:?}");
        assert_eq!(items.len(), $expected, "{query:?}");
        assert_eq!(pages, items.len().div_ceil(2).max(1), "only the last page may be short");
        items
    }};
}

/// Six runs, each with an input, an attempt, facts and a tick; half of them have failed.
async fn fill(store: &dyn MetadataStore) -> Vec<RunId> {
    let mut runs = Vec::new();
    for n in 0..6u32 {
        let files = vec![present("same", &n.to_string()), present(&format!("f{n}"), "x"), ignored("pipe", "FIFO")];
        record(store, files).await;
        store.record("other", Batch::new(vec![present("same", &n.to_string())], u64::MAX), at(11)).await.unwrap();
        let tick = Tick {
            seq: 0,
            trigger: "raw".to_owned(),
            // Not every trigger waits for artifacts.
            resource: (n % 2 == 0).then(|| "raw".to_owned()),
            time: at(5),
            outcome: TickOutcome::Fired,
            reason: "2 new artifacts".to_owned(),
            run_id: None,
            conditions: Vec::new(),
        };
        let other = Tick { trigger: "other".to_owned(), reason: n.to_string(), ..tick.clone() };
        store.record_tick(Tick { outcome: TickOutcome::NotReady, ..other }).await.unwrap();
        let (run, fence) = started(store, NewRun { ticks: vec![tick], ..new_run() }).await;
        let entries = vec![Entry { name: "a".to_owned(), value: n.to_string() }];
        let metrics = ["loss", "accuracy"].map(|name| Metric { name: name.to_owned(), value: 1.0, step: None });
        let facts = Facts { metrics: metrics.to_vec(), params: entries.clone(), tags: entries };
        store.record_facts(fence, WriteId::new(), facts, at(35)).await.unwrap();
        let (attempt, state) = match n % 2 {
            0 => (AttemptState::Failed, RunState::Failed),
            _ => (AttemptState::Succeeded, RunState::Succeeded),
        };
        store.finish_attempt(fence, end(attempt), run_becomes(state, None), at(40)).await.unwrap();
        runs.push(run);
    }
    runs
}

pub(super) async fn pages_of_every_list_are_complete_and_newest_first(world: &mut World) {
    let store = world.store().as_ref();
    let runs = fill(store).await;
    let found = check_pages!(store, runs, RunQuery::default(), 6);
    assert_eq!(found.iter().map(|run| run.id).collect::<Vec<_>>(), runs.iter().rev().copied().collect::<Vec<_>>());
    let states = |states: &[RunState]| RunQuery { states: states.to_vec(), ..RunQuery::default() };
    check_pages!(store, runs, states(&[RunState::Failed]), 3);
    check_pages!(store, runs, states(&[RunState::Failed, RunState::Succeeded, RunState::Failed]), 6);
    check_pages!(store, runs, states(&[RunState::Queued]), 0);
    let fifth = RunQuery { before_run: Some(5), ..states(&[RunState::Failed, RunState::Succeeded]) };
    check_pages!(store, runs, fifth.clone(), 4);
    check_pages!(store, runs, RunQuery { states: Vec::new(), ..fifth }, 4);
    assert_eq!(store.count_runs(RunState::Failed).await.unwrap(), 3);
    assert_eq!(store.count_runs(RunState::Queued).await.unwrap(), 0);

    let any = ArtifactQuery::default();
    let raw = ArtifactQuery { resource: Some("raw".to_owned()), ..any.clone() };
    let found = check_pages!(store, artifacts, any.clone(), 19);
    assert_eq!(found[0].resource, "other");
    check_pages!(store, artifacts, raw.clone(), 13);
    check_pages!(store, artifacts, ArtifactQuery { path: Some("same".to_owned()), ..any.clone() }, 12);
    check_pages!(store, artifacts, ArtifactQuery { path: Some("same".to_owned()), ..raw.clone() }, 6);
    check_pages!(store, artifacts, ArtifactQuery { state: Some(ArtifactState::Old), ..any.clone() }, 12);
    check_pages!(store, artifacts, ArtifactQuery { state: Some(ArtifactState::Ignored), ..raw.clone() }, 1);
    check_pages!(store, artifacts, ArtifactQuery { run: Some(runs[2]), ..any.clone() }, 2);
    let mixed = ArtifactQuery { run: Some(runs[2]), path: Some("f2".to_owned()), tag: None, ..raw };
    check_pages!(store, artifacts, mixed.clone(), 1);
    check_pages!(store, artifacts, ArtifactQuery { tag: Some("none".to_owned()), ..mixed }, 0);

    let any = FactQuery::default();
    let named = FactQuery { name: Some("loss".to_owned()), ..any.clone() };
    check_pages!(store, metrics, any.clone(), 12);
    check_pages!(store, metrics, named.clone(), 6);
    check_pages!(store, metrics, FactQuery { succeeded_only: true, before_run: Some(6), ..named.clone() }, 2);
    check_pages!(store, metrics, FactQuery { run: Some(runs[0]), ..any.clone() }, 2);
    check_pages!(store, metrics, FactQuery { run: Some(runs[0]), ..named }, 1);
    for query in [any.clone(), FactQuery { name: Some("a".to_owned()), ..any.clone() }] {
        check_pages!(store, params, query.clone(), 6);
        check_pages!(store, tags, query.clone(), 6);
        check_pages!(store, params, FactQuery { run: Some(runs[0]), ..query.clone() }, 1);
        check_pages!(store, tags, FactQuery { run: Some(runs[0]), ..query.clone() }, 1);
    }
    check_pages!(store, ticks, TickQuery::default(), 12);
    check_pages!(store, ticks, TickQuery { trigger: Some("raw".to_owned()) }, 6);
}

pub(super) async fn items_added_meanwhile_do_not_shift_pages(world: &mut World) {
    let store = Arc::clone(world.store());
    let files: Vec<_> = (0..100).map(|n| present(&format!("old-{n}"), "x")).collect();
    record(store.as_ref(), files).await;
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 0..100 {
                record(store.as_ref(), vec![present(&format!("new-{n}"), "x")]).await;
            }
        })
    };
    let first = store.artifacts(ArtifactQuery::default(), PageRequest { cursor: None, limit: 3 }).await.unwrap();
    let (mut items, mut cursor) = (first.items, first.next_cursor);
    let began = items.len();
    while cursor.is_some() {
        let page = store.artifacts(ArtifactQuery::default(), PageRequest { cursor, limit: 3 }).await.unwrap();
        items.extend(page.items);
        cursor = page.next_cursor;
    }
    writer.await.unwrap();
    let ids: std::collections::BTreeSet<_> = items.iter().map(|it| it.id).collect();
    assert_eq!(ids.len(), items.len(), "no item is repeated");
    assert_eq!(items.iter().filter(|it| it.path.starts_with("old-")).count(), 100, "no item is missing");
    assert!(items.len() >= 100 && began == 3);
}

pub(super) async fn foreign_cursors_are_refused(world: &mut World) {
    let store = world.store().as_ref();
    fill(store).await;
    for cursor in ["", "x", "-1", "1.5", "99999999999999999999", "\u{1b}[2J"] {
        let page = || PageRequest { cursor: Some(cursor.to_owned()), limit: 2 };
        let refused = [
            store.runs(RunQuery::default(), page()).await.err(),
            store.artifacts(ArtifactQuery::default(), page()).await.err(),
            store.metrics(FactQuery::default(), page()).await.err(),
            store.ticks(TickQuery::default(), page()).await.err(),
        ];
        for error in refused {
            let Some(StoreError::Invalid(text)) = error else { panic!("{cursor}: {error:?}") };
            assert!(!text.contains('\u{1b}'), "{text}");
        }
    }
    let (_, fence) = started(store, new_run()).await;
    store.finish_attempt(fence, end(AttemptState::Succeeded), RunStep::default(), at(50)).await.unwrap();
    for limit in [0, 1_000_000] {
        let page = store.runs(RunQuery::default(), PageRequest { cursor: None, limit }).await.unwrap();
        assert_eq!(page.items.len(), if limit == 0 { 1 } else { 7 }, "a limit is clamped");
    }
}

pub(super) async fn pages_by_path_and_oldest_first_are_complete(world: &mut World) {
    let store = world.store().as_ref();
    record(store, (0..5).map(|n| present(&format!("f{n}"), "x")).collect()).await;
    let (mut known, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.known("raw", PageRequest { cursor, limit: 2 }).await.unwrap();
        known.extend(page.items.into_iter().map(|it| it.path));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(known, ["f0", "f1", "f2", "f3", "f4"]);

    let inputs = store.artifacts(ArtifactQuery::default(), all()).await.unwrap().items;
    let (run, fence) = started(store, new_run()).await;
    record(store, vec![present("of-nobody", "x")]).await;
    let (mut claimed, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.run_inputs(run, PageRequest { cursor, limit: 2 }).await.unwrap();
        assert!(page.items.len() <= 2);
        claimed.extend(page.items.into_iter().map(|it| it.path));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(claimed, ["f0", "f1", "f2", "f3", "f4"], "in the order of recording");
    assert_eq!(store.count_inputs(run).await.unwrap(), 5);
    assert_eq!(store.count_inputs(RunId::new()).await.unwrap(), 0);
    let read = |it: &Artifact| Access { artifact_id: it.id, kind: AccessKind::Read, bytes: 1, calls: 1, digest: None };
    let ended = AttemptEnd { accesses: inputs.iter().map(read).collect(), ..end(AttemptState::Succeeded) };
    store.finish_attempt(fence, ended, RunStep::default(), at(40)).await.unwrap();
    let (mut edges, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.lineage(run, PageRequest { cursor, limit: 2 }).await.unwrap();
        edges.extend(page.items.into_iter().map(|it| it.artifact.id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(edges, inputs.iter().map(|it| it.id).collect::<Vec<_>>());
    let foreign = PageRequest { cursor: Some("x".to_owned()), limit: 2 };
    assert!(matches!(store.lineage(run, foreign.clone()).await, Err(StoreError::Invalid(_))));
    assert!(matches!(store.run_inputs(run, foreign).await, Err(StoreError::Invalid(_))));
}
