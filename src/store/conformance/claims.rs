//! Claims: each artifact is claimed at most once.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::World;
use super::fixtures::*;
use crate::base::{Digest, RunId, WriteId};
use crate::model::{Artifact, ArtifactState, Observation, RunState, Tick, TickOutcome};
use crate::store::{
    ArtifactQuery, Claim, MetadataStore, NewRun, PageRequest, RunQuery, RunStep, StoreError, TickQuery, Visible,
};

pub(super) async fn a_claim_takes_the_oldest_artifacts_up_to_its_maximum(world: &mut World) {
    let store = world.store().as_ref();
    record(store, vec![present("c", "1"), present("a", "22"), present("b", "333")]).await;
    let created = create(store, NewRun { claims: vec![claim(Some(2), 1)], ..new_run() }).await;
    let paths: Vec<_> = created.inputs.items.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["c", "a"], "in the order of recording");
    assert!(created.inputs.items.iter().all(|it| it.state == ArtifactState::Current));
    assert!(created.inputs.items.iter().all(|it| it.run_id == Some(created.detail.run.id)));
    let [(resource, pending)] = created.pending.as_slice() else { panic!("{:?}", created.pending) };
    assert_eq!((resource.as_str(), pending.count, pending.bytes), ("raw", 1, 3));
    assert_eq!(*pending, store.pending("raw").await.unwrap());
    let rest = create(store, new_run()).await;
    assert_eq!(rest.inputs.items.len(), 1);
    assert_eq!(store.pending("raw").await.unwrap().count, 0);
    let twice = NewRun { claims: vec![claim(None, 0), claim(None, 0)], ..new_run() };
    assert!(matches!(store.create_run(twice, at(1)).await, Err(StoreError::Invalid(_))));
}

pub(super) async fn given_inputs_stay_claimed_by_their_first_run(world: &mut World) {
    let store = world.store().as_ref();
    record(store, vec![present("a", "1"), present("b", "22"), present("c", "333")]).await;
    let created = create(store, NewRun { claims: vec![claim(Some(2), 1)], ..new_run() }).await;
    let (first, inputs) = (created.detail, created.inputs.items);
    let given: Vec<_> = inputs.iter().map(|it| it.id).collect();
    let again = NewRun { claims: Vec::new(), given: given.clone(), rerun_of: Some(first.run.id), ..new_run() };
    let created = create(store, again.clone()).await;
    assert_eq!(created.detail.run.rerun_of, Some(first.run.id));
    assert_eq!(created.inputs.items, inputs, "they are still claimed by the first run");
    assert_eq!(create(store, again.clone()).await, created, "a repeated write returns the first result");
    let other = NewRun { given: given[..1].to_vec(), ..again.clone() };
    assert!(
        matches!(store.create_run(other, at(50)).await, Err(StoreError::Conflict(_))),
        "a different write is not a repeat"
    );
    let id = created.detail.run.id;
    assert_eq!(store.run_inputs(id, all()).await.unwrap().items, inputs);
    assert_eq!(store.count_inputs(id).await.unwrap(), 2);
    let listed = |query: ArtifactQuery, limit| async move {
        let mut paths = Vec::new();
        let mut cursor = None;
        loop {
            let page = store.artifacts(query.clone(), PageRequest { cursor, limit }).await.unwrap();
            paths.extend(page.items.into_iter().map(|it| it.path));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return paths;
            }
        }
    };
    let of_run = |run| ArtifactQuery { run: Some(run), ..ArtifactQuery::default() };
    assert_eq!(listed(of_run(id), 1).await, ["b", "a"], "newest first");
    assert_eq!(listed(ArtifactQuery { path: Some("a".to_owned()), ..of_run(id) }, 9).await, ["a"]);
    assert!(listed(ArtifactQuery { tag: Some("none".to_owned()), ..of_run(id) }, 9).await.is_empty());
    assert_eq!(listed(of_run(first.run.id), 9).await, ["b", "a"]);
    let page = store.run_inputs(id, PageRequest { cursor: None, limit: 1 }).await.unwrap();
    let rest = store.run_inputs(id, PageRequest { cursor: page.next_cursor, limit: 1 }).await.unwrap();
    assert_eq!([page.items, rest.items].concat(), inputs);
    assert_eq!(store.pending("raw").await.unwrap().count, 1, "`c` still waits");
    // Together with new artifacts; the given ones do not count as claimed.
    let both = NewRun { id: RunId::new(), claims: vec![claim(None, 1)], ..again.clone() };
    let created = create(store, both).await;
    let paths: Vec<_> = created.inputs.items.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["a", "b", "c"]);
    assert_eq!(listed(of_run(created.detail.run.id), 2).await, ["c", "b", "a"]);
    assert_eq!((store.pending("raw").await.unwrap().count, store.pending("raw").await.unwrap().bytes), (0, 0));
    // An artifact that is no longer there cannot be given, and no run is created.
    record(store, vec![present("a", "other")]).await;
    let gone = NewRun { id: RunId::new(), ..again };
    let refused = store.create_run(gone.clone(), at(60)).await.unwrap_err().to_string();
    let why =
        format!("artifact {} cannot be worked on again: it was replaced or removed since it was recorded", given[0]);
    assert_eq!(refused, why);
    assert_eq!(store.run_progress(gone.id).await.unwrap(), None);
}

pub(super) async fn too_few_artifacts_create_no_run(world: &mut World) {
    let store = world.store().as_ref();
    store.register_revision(revision(), at(0)).await.unwrap();
    record(store, vec![present("a", "A"), present("b", "B")]).await;
    let before = newest(store).await;
    let tick = Tick {
        seq: 0,
        trigger: "raw".to_owned(),
        resource: Some("raw".to_owned()),
        time: at(5),
        outcome: TickOutcome::Fired,
        reason: "2 new artifacts".to_owned(),
        run_id: None,
        conditions: Vec::new(),
    };
    let pending = store.pending("raw").await.unwrap();
    let other = Claim { resource: "labels".to_owned(), at_most: None, at_least: 1, min_bytes: 0, only: None };
    let too_light = Claim { min_bytes: pending.bytes + 1, ..claim(None, 1) };
    let too_few = [vec![claim(None, 3)], vec![claim(Some(1), 2)], vec![claim(None, 1), other], vec![too_light]];
    for claims in too_few {
        let run = NewRun { claims, ticks: vec![tick.clone()], ..new_run() };
        let id = run.id;
        assert_eq!(store.create_run(run, at(20)).await.unwrap(), None);
        assert_eq!(store.run_progress(id).await.unwrap(), None);
    }
    assert_eq!(store.pending("raw").await.unwrap(), pending);
    assert!(kinds_after(store, before).await.is_empty());
    assert!(store.ticks(TickQuery::default(), all()).await.unwrap().items.is_empty());
    assert_eq!(create(store, new_run()).await.detail.run.number, 1, "no run number was used");
}

pub(super) async fn every_change_of_the_pending_count_has_a_later_number(world: &mut World) {
    let store = world.store().as_ref();
    store.register_revision(revision(), at(0)).await.unwrap();
    let empty = store.pending("raw").await.unwrap();
    let two = record(store, vec![present("a", "A"), present("b", "B")]).await.pending;
    assert_eq!(two, store.pending("raw").await.unwrap(), "nothing has happened since");
    let created = store.create_run(NewRun { claims: vec![claim(Some(1), 1)], ..new_run() }, at(20)).await.unwrap();
    let one = created.unwrap().pending[0].1;
    let gone = record(store, vec![Observation::Gone { path: "b".to_owned() }]).await.pending;
    assert_eq!([empty.count, two.count, one.count, gone.count], [0, 2, 1, 0]);
    assert!(empty.as_of < two.as_of && two.as_of < one.as_of && one.as_of < gone.as_of);
    store.prune_events(0).await.unwrap();
    assert_eq!(store.pending("raw").await.unwrap().as_of, gone.as_of, "dropped events count too");
}

pub(super) async fn concurrent_runs_claim_each_artifact_once(world: &mut World) {
    let store = Arc::clone(world.store());
    store.register_revision(revision(), at(0)).await.unwrap();
    let files = 200;
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 0..files {
                record(store.as_ref(), vec![present(&format!("{n:04}"), "x")]).await;
            }
        })
    };
    let claimers: Vec<_> = (0..16)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for _ in 0..25 {
                    let run = NewRun { claims: vec![claim(Some(n % 3 + 1), 1)], ..new_run() };
                    store.create_run(run, at(20)).await.unwrap();
                }
            })
        })
        .collect();
    writer.await.unwrap();
    for claimer in claimers {
        claimer.await.unwrap();
    }
    create(store.as_ref(), new_run()).await;
    let runs = all_runs(store.as_ref()).await;
    let mut claimed = BTreeSet::new();
    for (number, id) in &runs {
        for input in inputs_of(store.as_ref(), *id).await {
            assert!(claimed.insert(input.id), "{} was claimed twice, the second time by run {number}", input.path);
        }
    }
    assert_eq!(claimed.len(), files);
    let numbers: BTreeSet<u64> = runs.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=runs.len() as u64).collect(), "numbers are dense");
    assert_eq!(store.pending("raw").await.unwrap().count, 0);
}

async fn all_runs(store: &dyn MetadataStore) -> Vec<(u64, crate::base::RunId)> {
    store.runs(RunQuery::default(), all()).await.unwrap().items.iter().map(|run| (run.number, run.id)).collect()
}

pub(super) async fn claims_change_with_the_state_of_the_run(world: &mut World) {
    let store = world.store().as_ref();
    record(store, vec![present("a", "A")]).await;
    let run = create(store, new_run()).await.detail.run.id;
    let state = async || versions(store, "a").await[0].1;
    assert_eq!(state().await, ArtifactState::Current);
    store.advance(run, WriteId::new(), run_becomes(RunState::Failed, Some("first failed")), at(60)).await.unwrap();
    assert_eq!(state().await, ArtifactState::Old);
    store.request_retry(run, &[], WriteId::new(), at(70)).await.unwrap();
    assert_eq!(state().await, ArtifactState::Current);
    assert!(create(store, new_run()).await.inputs.items.is_empty(), "a failed run keeps its claims");
    store.advance(run, WriteId::new(), run_becomes(RunState::Succeeded, None), at(80)).await.unwrap();
    assert_eq!(state().await, ArtifactState::Old);
    assert_eq!(inputs_of(store, run).await.len(), 1);
}

pub(super) async fn a_claim_of_named_artifacts_takes_those_that_are_still_new(world: &mut World) {
    let store = world.store().as_ref();
    record(store, ["a", "b", "c", "d"].map(|path| present(path, path)).to_vec()).await;
    let page = store.pending_artifacts("raw", PageRequest { cursor: None, limit: 3 }).await.unwrap();
    let rest = store.pending_artifacts("raw", PageRequest { cursor: page.next_cursor, limit: 3 }).await.unwrap();
    let all: Vec<Artifact> = page.items.into_iter().chain(rest.items).collect();
    assert_eq!(all.iter().map(|it| it.path.as_str()).collect::<Vec<_>>(), ["a", "b", "c", "d"], "oldest first");
    let here = async || {
        let page = store.present_artifacts("raw", PageRequest { cursor: None, limit: 3 }).await.unwrap();
        let rest = PageRequest { cursor: page.next_cursor, limit: 3 };
        let rest = store.present_artifacts("raw", rest).await.unwrap();
        assert_eq!(rest.next_cursor, None);
        page.items.into_iter().chain(rest.items).map(|it| format!("{} {}", it.path, it.state)).collect::<Vec<_>>()
    };
    assert_eq!(here().await, ["a new", "b new", "c new", "d new"], "by path");
    let only = |places: &[usize]| Some(places.iter().map(|place| all[*place].id).collect::<Vec<_>>());
    let first = Claim { only: only(&[0, 2]), ..claim(None, 2) };
    let run = NewRun { claims: vec![first], partition: Some("day=1".to_owned()), ..new_run() };
    let created = create(store, run).await;
    assert_eq!(created.detail.run.partition.as_deref(), Some("day=1"));
    assert_eq!(created.inputs.items.iter().map(|it| it.path.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(here().await, ["a current", "b new", "c current", "d new"]);
    assert_eq!(created.pending[0].1.count, 2);
    let claimed = Claim { only: only(&[0, 1]), ..claim(None, 2) };
    let too_few = NewRun { claims: vec![claimed.clone()], ..new_run() };
    assert_eq!(store.create_run(too_few, at(20)).await.unwrap(), None, "one of them is claimed already");
    let created = create(store, NewRun { claims: vec![Claim { at_least: 1, ..claimed }], ..new_run() }).await;
    assert_eq!(created.inputs.items.iter().map(|it| it.path.as_str()).collect::<Vec<_>>(), ["b"]);
    let elsewhere = Claim { resource: "labels".to_owned(), only: only(&[3]), ..claim(None, 0) };
    let created = create(store, NewRun { claims: vec![elsewhere], ..new_run() }).await;
    assert!(created.inputs.items.is_empty(), "it lies in another resource");
    assert_eq!(store.pending("raw").await.unwrap().count, 1);
}

pub(super) async fn what_is_new_and_what_unfinished_runs_read_and_wrote_is_needed(world: &mut World) {
    let store = world.store().as_ref();
    let needed = async |resource: &str| {
        let (mut all, mut cursor) = (BTreeSet::new(), None);
        loop {
            let page = store.needed(resource, PageRequest { cursor, limit: 1 }).await.unwrap();
            assert!(page.items.len() <= 1, "{page:?}");
            all.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return all;
            }
        }
    };
    let of = |contents: &[&str]| contents.iter().map(|it| Digest::of(it.as_bytes())).collect::<BTreeSet<_>>();
    record(store, vec![present("a", "A"), present("b", "B")]).await;
    assert_eq!(needed("raw").await, of(&["A", "B"]));
    let created = create(store, new_run()).await;
    let (first, inputs) = (created.detail, created.inputs.items);
    record(store, vec![present("a", "A2"), present("c", "C"), gone("c")]).await;
    assert_eq!(needed("raw").await, of(&["A", "A2", "B"]), "claimed ones although they were replaced");
    let end = async |run| {
        store.advance(run, WriteId::new(), run_becomes(RunState::Failed, Some("no")), at(60)).await.unwrap();
    };
    end(first.run.id).await;
    assert_eq!(needed("raw").await, of(&["A2"]));
    let given: Vec<_> = inputs.iter().filter(|it| it.path == "b").map(|it| it.id).collect();
    let (run, fence) = started(store, NewRun { claims: Vec::new(), given, ..new_run() }).await;
    assert_eq!(needed("raw").await, of(&["A2", "B"]), "the given one is old, and still needed");
    let file = staged("models", "m", "M", false);
    store.publish_intent(fence, intent(vec![file]), at(40)).await.unwrap();
    assert_eq!(needed("models").await, of(&["M"]), "from the commit point on");
    store.published(fence, Visible::default(), RunStep::default(), at(50)).await.unwrap();
    assert_eq!(needed("models").await, of(&["M"]));
    assert_eq!(needed("other").await, of(&[]));
    end(run).await;
    assert_eq!((needed("raw").await, needed("models").await), (of(&["A2"]), of(&[])));
}
