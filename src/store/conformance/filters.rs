//! Lists of runs: filters and orders, alone and together.

use serde_json::json;

use super::World;
use super::fixtures::*;
use crate::base::RunId;
use crate::model::{AttemptState, Entry, Facts, RunState};
use crate::store::{MetadataStore, NewRun, PageRequest, ParamFilter, RunQuery, RunSort, RunStep, TagFilter};

fn entry(name: &str, value: &str) -> Entry {
    Entry { name: name.to_owned(), value: value.to_owned() }
}

/// Eight runs, numbered from 1. Run `n` was created at second `n`, and took `8 - n` seconds, except
/// for the last, which is still running. Those with an even number have failed.
async fn fill(store: &dyn MetadataStore) -> Vec<RunId> {
    store.register_revision(revision(), at(0)).await.unwrap();
    let mut runs = Vec::new();
    for n in 1..=8_i64 {
        let new = NewRun {
            params: json!({ "seed": n % 4, "model": if n < 5 { "tree" } else { "forest" }, "deep": { "a": [1] } }),
            fired_by: if n % 3 == 0 { vec!["nightly".to_owned(), "raw".to_owned()] } else { vec!["raw".to_owned()] },
            claims: Vec::new(),
            ..new_run()
        };
        let created = store.create_run(new, at(n * 1_000_000)).await.unwrap().unwrap();
        let id = created.detail.run.id;
        let step = RunStep { starts: vec![attempt("first", 1)], ..run_becomes(RunState::Running, None) };
        let started = store.advance(id, WriteId::new(), step, at(n * 1_000_000 + 1)).await.unwrap();
        let fence = started[0].fence;
        let tags = if n % 2 == 1 { vec![entry("best", &(n % 4).to_string())] } else { Vec::new() };
        let facts = Facts { metrics: Vec::new(), params: vec![entry("lr", "0.1"), entry("n", &n.to_string())], tags };
        store.record_facts(fence, WriteId::new(), facts, at(n * 1_000_000 + 2)).await.unwrap();
        if n < 8 {
            let state = if n % 2 == 0 { RunState::Failed } else { RunState::Succeeded };
            let attempt = if n % 2 == 0 { AttemptState::Failed } else { AttemptState::Succeeded };
            let ended = at(8_000_000 + 1);
            store.finish_attempt(fence, end(attempt), run_becomes(state, None), ended).await.unwrap();
        }
        runs.push(id);
    }
    runs
}

/// Checks that a query finds the runs with these numbers, in this order, with pages of any size.
async fn finds(store: &dyn MetadataStore, query: RunQuery, numbers: &[u64]) {
    for limit in [1_000, 3, 1] {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = store.runs(query.clone(), PageRequest { cursor, limit }).await.unwrap();
            assert!(page.items.len() <= limit as usize);
            found.extend(page.items.iter().map(|run| run.number));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, numbers, "{query:?}, {limit} a page");
    }
}

fn tag(text: &str) -> RunQuery {
    RunQuery { tag: Some(text.parse::<TagFilter>().unwrap()), ..RunQuery::default() }
}

fn param(text: &str) -> RunQuery {
    RunQuery { param: Some(text.parse::<ParamFilter>().unwrap()), ..RunQuery::default() }
}

pub(super) async fn runs_are_found_by_each_filter(world: &mut World) {
    let store = world.store().as_ref();
    fill(store).await;
    let any = RunQuery::default();
    finds(store, any.clone(), &[8, 7, 6, 5, 4, 3, 2, 1]).await;
    let trigger = |name: &str| RunQuery { trigger: Some(name.to_owned()), ..RunQuery::default() };
    finds(store, trigger("nightly"), &[6, 3]).await;
    finds(store, trigger("raw"), &[8, 7, 6, 5, 4, 3, 2, 1]).await;
    finds(store, trigger("night"), &[]).await;
    finds(store, tag("best"), &[7, 5, 3, 1]).await;
    finds(store, tag("best=3"), &[7, 3]).await;
    finds(store, tag("best="), &[]).await;
    // Given as a number, as a text, and as an object; recorded by an action.
    finds(store, param("seed=3"), &[7, 3]).await;
    finds(store, param("model=tree"), &[4, 3, 2, 1]).await;
    finds(store, param(r#"deep={"a":[1]}"#), &[8, 7, 6, 5, 4, 3, 2, 1]).await;
    finds(store, param("lr=0.1"), &[8, 7, 6, 5, 4, 3, 2, 1]).await;
    finds(store, param("n=5"), &[5]).await;
    finds(store, param("model=tre"), &[]).await;
    let (second, fifth) = (Some(at(2_000_000)), Some(at(5_000_000)));
    finds(store, RunQuery { since: fifth, ..any.clone() }, &[8, 7, 6, 5]).await;
    finds(store, RunQuery { until: fifth, ..any.clone() }, &[4, 3, 2, 1]).await;
    finds(store, RunQuery { since: second, until: fifth, ..any.clone() }, &[4, 3, 2]).await;
    finds(store, RunQuery { since: fifth, until: second, ..any.clone() }, &[]).await;
    finds(store, RunQuery { since: Some(at(9_000_000)), ..any.clone() }, &[]).await;
    finds(store, RunQuery { until: Some(at(0)), ..any }, &[]).await;
}

pub(super) async fn filters_and_orders_are_combined(world: &mut World) {
    let store = world.store().as_ref();
    fill(store).await;
    let failed = RunQuery { states: vec![RunState::Failed], ..RunQuery::default() };
    let (second, fifth) = (Some(at(2_000_000)), Some(at(5_000_000)));
    finds(store, RunQuery { since: second, until: fifth, ..failed.clone() }, &[4, 2]).await;
    finds(store, RunQuery { trigger: Some("nightly".to_owned()), ..failed.clone() }, &[6]).await;
    let both = vec![RunState::Failed, RunState::Running];
    finds(store, RunQuery { states: both.clone(), ..param("model=forest") }, &[8, 6]).await;
    finds(store, RunQuery { states: both, sort: RunSort::Oldest, ..RunQuery::default() }, &[2, 4, 6, 8]).await;
    finds(store, RunQuery { tag: tag("best").tag, ..param("seed=3") }, &[7, 3]).await;
    finds(store, RunQuery { before_run: Some(7), ..tag("best=3") }, &[3]).await;
    let oldest = |query: RunQuery| RunQuery { sort: RunSort::Oldest, ..query };
    finds(store, oldest(RunQuery::default()), &[1, 2, 3, 4, 5, 6, 7, 8]).await;
    finds(store, oldest(RunQuery { since: second, until: fifth, ..RunQuery::default() }), &[2, 3, 4]).await;
    finds(store, oldest(param("lr=0.1")), &[1, 2, 3, 4, 5, 6, 7, 8]).await;
    finds(store, oldest(tag("best=3")), &[3, 7]).await;
    let longest = |query: RunQuery| RunQuery { sort: RunSort::Longest, ..query };
    finds(store, longest(RunQuery::default()), &[1, 2, 3, 4, 5, 6, 7]).await;
    finds(store, RunQuery { sort: RunSort::Shortest, ..RunQuery::default() }, &[7, 6, 5, 4, 3, 2, 1]).await;
    finds(store, longest(failed), &[2, 4, 6]).await;
    finds(store, longest(tag("best=3")), &[3, 7]).await;
    finds(store, longest(param("seed=3")), &[3, 7]).await;
    finds(store, longest(RunQuery { before_run: Some(4), since: second, ..RunQuery::default() }), &[2, 3]).await;
}

pub(super) async fn what_changes_is_found_as_it_is_now(world: &mut World) {
    let store = world.store().as_ref();
    let runs = fill(store).await;
    // A run that is retried has not ended, and has no duration until it ends again.
    let retried = store.request_retry(runs[1], &[], WriteId::new(), at(9_000_000)).await.unwrap().unwrap();
    assert_eq!(retried.state, RunState::Running);
    let longest = RunQuery { sort: RunSort::Longest, ..RunQuery::default() };
    finds(store, longest.clone(), &[1, 3, 4, 5, 6, 7]).await;
    let fence = start(store, runs[1], "first", 2).await;
    let facts = Facts { metrics: Vec::new(), params: vec![entry("lr", "0.1")], tags: vec![entry("best", "2")] };
    store.record_facts(fence, WriteId::new(), facts, at(9_000_001)).await.unwrap();
    // Two attempts have recorded it: the run is listed once.
    finds(store, param("lr=0.1"), &[8, 7, 6, 5, 4, 3, 2, 1]).await;
    finds(store, tag("best"), &[7, 5, 3, 2, 1]).await;
    let facts = Facts { metrics: Vec::new(), params: Vec::new(), tags: vec![entry("best", "9")] };
    store.record_facts(fence, WriteId::new(), facts, at(9_000_002)).await.unwrap();
    finds(store, tag("best=2"), &[]).await;
    finds(store, tag("best=9"), &[2]).await;
    let step = run_becomes(RunState::Succeeded, None);
    store.finish_attempt(fence, end(AttemptState::Succeeded), step, at(20_000_000)).await.unwrap();
    finds(store, longest, &[2, 1, 3, 4, 5, 6, 7]).await;
    // A value that is too long for the index is not found, and is not an error.
    let long = RunQuery {
        param: Some(ParamFilter { name: "text".to_owned(), value: "x".repeat(300) }),
        ..RunQuery::default()
    };
    finds(store, long, &[]).await;
}

pub(super) async fn a_cursor_belongs_to_one_order(world: &mut World) {
    let store = world.store().as_ref();
    fill(store).await;
    let sorted = |sort| RunQuery { sort, ..RunQuery::default() };
    let first = PageRequest { cursor: None, limit: 2 };
    let by_number = store.runs(sorted(RunSort::Newest), first.clone()).await.unwrap().next_cursor;
    let by_duration = store.runs(sorted(RunSort::Longest), first).await.unwrap().next_cursor;
    for (sort, cursor) in [(RunSort::Longest, by_number), (RunSort::Oldest, by_duration)] {
        let text = store.runs(sorted(sort), PageRequest { cursor, limit: 2 }).await.unwrap_err().to_string();
        assert!(text.contains("is not a cursor of this list; use `next_cursor` of the previous page"), "{text}");
    }
}
