//! Which runs are removed, and what stays of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::World;
use super::cache::{found, published, reuses};
use super::fixtures::*;
use crate::base::{ArtifactId, RunId};
use crate::model::{
    Access, AccessKind, ArtifactTag, AttemptState, Denial, Entry, Facts, Fence, Metric, Page, RunState, StagedFile,
};
use crate::store::{
    AttemptEnd, FactQuery, Intent, MetadataStore, NewRun, OldRun, Removal, RemovedRows, Reuse, RunQuery, RunsToKeep,
    StoreError, Visible,
};

/// A run that reads `read`, writes `file`, records facts, and succeeds.
async fn run(store: &dyn MetadataStore, read: Option<ArtifactId>, file: Option<StagedFile>) -> RunId {
    let (id, fence) = begin(store).await;
    finish(store, fence, read, file, Vec::new()).await;
    id
}

async fn begin(store: &dyn MetadataStore) -> (RunId, Fence) {
    let (id, fence) = started(store, NewRun { fired_by: vec!["nightly".to_owned()], ..new_run() }).await;
    let entry = |name: &str| Entry { name: name.to_owned(), value: "1".to_owned() };
    let metrics = (0..3).map(|step| Metric { name: "loss".to_owned(), value: 0.5, step: Some(step) }).collect();
    let facts = Facts { metrics, params: vec![entry("lr")], tags: vec![entry("team")] };
    store.record_facts(fence, WriteId::new(), facts, at(35)).await.unwrap();
    (id, fence)
}

async fn finish(
    store: &dyn MetadataStore,
    fence: Fence,
    read: Option<ArtifactId>,
    file: Option<StagedFile>,
    tags: Vec<ArtifactTag>,
) {
    let access = |id, kind| Access { artifact_id: id, kind, bytes: 7, calls: 1, digest: None };
    let read = read.map(|id| access(id, AccessKind::Read));
    let wrote = file.as_ref().map(|file| access(file.artifact_id, AccessKind::Wrote));
    let denial = Denial { call: "open".to_owned(), target: "secret".to_owned(), message: "no".to_owned() };
    let ended = AttemptEnd {
        accesses: read.into_iter().chain(wrote).collect(),
        denials: vec![denial],
        tags,
        ..end(AttemptState::Succeeded)
    };
    let succeeded = run_becomes(RunState::Succeeded, None);
    match file {
        None => drop(store.finish_attempt(fence, ended, succeeded, at(50)).await.unwrap()),
        Some(file) => {
            store.publish_intent(fence, Intent { end: ended, ..intent(vec![file]) }, at(40)).await.unwrap();
            store.published(fence, Visible::default(), succeeded, at(50)).await.unwrap();
        }
    }
}

/// Keeps the newest runs.
fn newest_runs(count: u64) -> RunsToKeep {
    RunsToKeep { newest: Some(count), ..RunsToKeep::default() }
}

/// All old runs, with what is removed with them.
async fn list(store: &dyn MetadataStore, keep: &RunsToKeep) -> Vec<OldRun> {
    let (mut found, mut below) = (Vec::new(), None);
    loop {
        let page = store.old_runs(keep.clone(), Arc::default(), below).await.unwrap();
        found.extend(page.runs);
        below = page.below;
        if below.is_none() {
            return found;
        }
    }
}

fn told(runs: &[OldRun]) -> Vec<(u64, Removal)> {
    runs.iter().map(|run| (run.number, run.removal)).collect()
}

/// Lists all old runs, and removes them. Returns how many transactions that took.
async fn remove(store: &dyn MetadataStore, keep: &RunsToKeep) -> (Vec<(u64, Removal)>, usize) {
    let found = list(store, keep).await;
    let mut left: Vec<u64> = found.iter().map(|run| run.number).collect();
    let mut steps = 0;
    while !left.is_empty() {
        let done = store.remove_runs(keep.clone(), left.clone(), at(60)).await.unwrap().done;
        left.drain(..done);
        steps += 1;
        assert!(steps < 1_000, "it does not end");
    }
    (told(&found), steps)
}

async fn numbers(store: &dyn MetadataStore) -> Vec<u64> {
    store.runs(RunQuery::default(), all()).await.unwrap().items.iter().map(|run| run.number).collect()
}

fn count<T>(page: crate::store::Result<Page<T>>) -> usize {
    page.unwrap().items.len()
}

/// How many metrics, params, tags, denied calls and lineage edges a run has.
async fn rows(store: &dyn MetadataStore, run: RunId) -> [usize; 5] {
    let of = || FactQuery { run: Some(run), ..FactQuery::default() };
    [
        count(store.metrics(of(), all()).await),
        count(store.params(of(), all()).await),
        count(store.tags(of(), all()).await),
        store.denials(run).await.unwrap().len(),
        count(store.lineage(run, all()).await),
    ]
}

pub(super) async fn old_runs_are_removed_with_all_that_belongs_to_them(world: &mut World) {
    let store = Arc::clone(world.store());
    record(store.as_ref(), vec![present("a", "A")]).await;
    let input = artifacts_at(store.as_ref(), "raw", "a").await[0].id;
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(run(store.as_ref(), Some(input), None).await);
    }
    let (events, artifacts) = (events(store.as_ref()).await, artifacts_at(store.as_ref(), "raw", "a").await);
    assert_eq!(list(store.as_ref(), &RunsToKeep::default()).await, [], "nothing limits");
    assert_eq!(list(store.as_ref(), &newest_runs(4)).await, []);
    let found = list(store.as_ref(), &newest_runs(2)).await;
    assert_eq!(told(&found), [(2, Removal::Whole), (1, Removal::Whole)]);
    let one = RemovedRows {
        runs: 1,
        trimmed: 0,
        attempts: 1,
        accesses: 1,
        metrics: 3,
        params: 1,
        tags: 1,
        denials: 1,
        requests: 0,
    };
    assert_eq!((found[0].rows, found[1].rows), (one, one));
    assert_eq!(numbers(store.as_ref()).await, [4, 3, 2, 1], "a list removes nothing");
    remove(store.as_ref(), &newest_runs(2)).await;

    assert_eq!(numbers(store.as_ref()).await, [4, 3]);
    for gone in &runs[..2] {
        assert_eq!(store.run_summary(*gone).await.unwrap(), None);
        assert_eq!(store.run_progress(*gone).await.unwrap(), None);
        assert_eq!(rows(store.as_ref(), *gone).await, [0; 5]);
    }
    assert_eq!(store.run_by_number(2).await.unwrap(), None);
    assert_eq!(rows(store.as_ref(), runs[2]).await, [3, 1, 1, 1, 1]);
    for query in [
        RunQuery { param: Some("seed=7".parse().unwrap()), ..RunQuery::default() },
        RunQuery { tag: Some("team=1".parse().unwrap()), ..RunQuery::default() },
        RunQuery { trigger: Some("nightly".to_owned()), ..RunQuery::default() },
    ] {
        assert_eq!(count(store.runs(query, all()).await), 2);
    }
    assert_eq!(count(store.uses(input, all()).await), 2);
    // What happened stays on record, and so do artifacts.
    assert_eq!(super::fixtures::events(store.as_ref()).await, events);
    assert_eq!(artifacts_at(store.as_ref(), "raw", "a").await, artifacts);

    // Without any run, the numbers of runs and events go on.
    let keep = RunsToKeep { ended_since: Some(at(1_000)), ..RunsToKeep::default() };
    assert_eq!(remove(store.as_ref(), &keep).await.0.len(), 2);
    assert_eq!(numbers(store.as_ref()).await, [0; 0]);
    drop(store);
    world.restart().await;
    let store = world.store().as_ref();
    let next = create(store, new_run()).await.detail.run;
    assert_eq!(next.number, 5);
    assert_eq!(newest(store).await, events.len() as u64 + 2, "the host, and the run");
    // What the first run claimed is not claimed again.
    assert_eq!(inputs_of(store, next.id).await, []);
}

pub(super) async fn a_run_stays_without_details_while_its_lineage_is_needed(world: &mut World) {
    let store = world.store().as_ref();
    // The first writes x, the second reads it and writes y, the third reads y. Then x and y are
    // replaced.
    let [x, y] = ["x", "y"].map(|path| staged("models", path, path, false));
    let (x_id, y_id) = (x.artifact_id, y.artifact_id);
    let first = run(store, None, Some(x)).await;
    let second = run(store, Some(x_id), Some(y)).await;
    assert_eq!(told(&list(store, &newest_runs(1)).await), [(1, Removal::Details)], "x is at its path");
    let third = run(store, Some(y_id), None).await;
    let replace = |path: &str| staged("models", path, "new", true);
    let fourth = run(store, None, Some(replace("x"))).await;
    run(store, None, Some(replace("y"))).await;
    run(store, None, None).await;

    let keep = newest_runs(4);
    let (found, _) = remove(store, &keep).await;
    assert_eq!(found, [(2, Removal::Details), (1, Removal::Details)], "the third has read y, and the second x");
    let trimmed = store.run_summary(second).await.unwrap().unwrap();
    assert_eq!((trimmed.trimmed_at, trimmed.state), (Some(at(60)), RunState::Succeeded));
    assert_eq!(rows(store, second).await, [0, 0, 1, 0, 2]);
    assert_eq!(store.run_progress(first).await.unwrap().unwrap().attempts.len(), 1);
    assert_eq!(store.writer(y_id).await.unwrap().unwrap().run_number, 2);
    assert_eq!(rows(store, third).await, [3, 1, 1, 1, 1]);
    assert_eq!(list(store, &keep).await, [], "they are trimmed");

    // Without the third, nothing needs the second, and then nothing needs the first.
    let keep = newest_runs(1);
    let first_if = async |gone: &[u64]| {
        let gone = Arc::new(gone.iter().copied().collect());
        told(&store.old_runs(keep.clone(), gone, Some(2)).await.unwrap().runs)
    };
    assert_eq!(first_if(&[3]).await, [(0, Removal::Whole); 0], "the second has read x");
    assert_eq!(first_if(&[3, 2]).await, [(1, Removal::Whole)]);
    let (found, _) = remove(store, &keep).await;
    let rest = [(3, Removal::Whole), (2, Removal::Whole), (1, Removal::Whole)];
    assert_eq!(found, [&[(5, Removal::Details), (4, Removal::Details)][..], &rest].concat());
    assert_eq!(numbers(store).await, [6, 5, 4]);
    assert_eq!(store.writer(y_id).await.unwrap(), None);
    assert_eq!(rows(store, fourth).await, [0, 0, 1, 0, 1]);
}

pub(super) async fn a_result_that_was_taken_outlives_the_run_that_made_it(world: &mut World) {
    let store = world.store().as_ref();
    let (worker, _) = published(store).await;
    let take = async || {
        let (run, fence) = started(store, NewRun { claims: Vec::new(), ..new_run() }).await;
        store.publish_intent(fence, reuses(store).await, at(45)).await.unwrap();
        store.published(fence, Visible::default(), run_becomes(RunState::Succeeded, None), at(50)).await.unwrap();
        (run, fence.attempt_id)
    };
    let (second, _) = take().await;
    assert_eq!(remove(store, &newest_runs(1)).await.0, [(1, Removal::Details)], "its output is in its place");
    let (third, newest) = take().await;
    assert_eq!(rows(store, third).await, [2, 1, 1, 0, 1], "the second has copies of all facts");
    assert_eq!(remove(store, &newest_runs(1)).await.0, [(2, Removal::Whole)], "it has written nothing itself");
    assert_eq!(store.run_summary(second).await.unwrap(), None);
    assert_eq!(found(store, "f", "1", 8).await, [newest]);
    let detail = store.run_progress(third).await.unwrap().unwrap();
    assert_eq!(detail.attempts[0].cache.as_ref().and_then(|it| it.attempt_id), Some(worker.attempt_id));

    // What is trimmed or removed after it was found is not taken, and it is forgotten.
    let late = reuses(store).await;
    let trimmed = Reuse { from: worker.attempt_id, ..late.reuse.clone().unwrap() };
    let trimmed = Intent { reuse: Some(trimmed), ..late.clone() };
    let refuses = async |fence, intent| {
        let error = store.publish_intent(fence, intent, at(70)).await.unwrap_err();
        assert!(matches!(&error, StoreError::Conflict(why) if why.ends_with("no result that can be taken")), "{error}");
    };
    let (_, fence) = started(store, NewRun { claims: Vec::new(), ..new_run() }).await;
    refuses(fence, trimmed).await;
    finish(store, fence, None, Some(staged("models", "model", "other weights", true)), Vec::new()).await;
    let (_, fence) = started(store, NewRun { claims: Vec::new(), ..new_run() }).await;
    assert_eq!(remove(store, &newest_runs(1)).await.0.len(), 3);
    assert_eq!(found(store, "f", "1", 8).await, []);
    refuses(fence, late).await;
}

pub(super) async fn what_keeps_a_run_keeps_it(world: &mut World) {
    let store = world.store().as_ref();
    let keep = |change: &dyn Fn(&mut RunsToKeep)| {
        let mut keep = newest_runs(1);
        change(&mut keep);
        keep
    };
    let (unfinished, fence) = begin(store).await;
    let named = run(store, None, None).await;
    let (_, tagging) = begin(store).await;
    let file = staged("models", "m", "m", false);
    let tag = ArtifactTag { artifact_id: file.artifact_id, tag: "golden".to_owned(), unique: false };
    finish(store, tagging, None, Some(file), vec![tag]).await;
    run(store, None, Some(staged("models", "m", "n", true))).await;
    run(store, None, None).await;
    let after = async |keep: RunsToKeep| told(&list(store, &keep).await).iter().map(|it| it.0).collect::<Vec<_>>();

    assert_eq!(after(keep(&|_| {})).await, [4, 3, 2], "the first has not ended");
    assert_eq!(after(keep(&|keep| keep.runs = BTreeSet::from([named]))).await, [4, 3]);
    for (tag, left) in [("golden", vec![4, 2]), ("team", vec![]), ("team=1", vec![]), ("team=2", vec![4, 3, 2])] {
        assert_eq!(after(keep(&|keep| keep.tags = vec!["other".to_owned(), tag.to_owned()])).await, left, "{tag}");
    }
    assert_eq!(after(keep(&|keep| keep.ended_since = Some(at(50)))).await, [0; 0], "all ended then");
    assert_eq!(after(keep(&|keep| keep.ended_since = Some(at(51)))).await, [4, 3, 2]);
    let ended = store.ended_runs(RunState::Succeeded, 0, u64::MAX, 10).await.unwrap();
    let end_of = |number: u64| ended.iter().find(|run| run.number == number).unwrap().seq;
    assert_eq!(after(keep(&|keep| keep.told_until = Some(end_of(3)))).await, [3, 2], "someone waits for the fourth");
    assert_eq!(after(keep(&|keep| keep.told_until = Some(0))).await, [0; 0]);

    // What an unfinished run may still read counts as read: it began when m was at its path.
    let (reader, reading) = begin(store).await;
    run(store, None, Some(staged("models", "m", "o", true))).await;
    finish(store, fence, None, None, Vec::new()).await;
    let found = list(store, &newest_runs(1)).await;
    let removal = |number: u64| found.iter().find(|run| run.number == number).map(|run| run.removal);
    assert_eq!((removal(1), removal(4), removal(6)), (Some(Removal::Whole), Some(Removal::Details), None));
    assert_eq!(store.run_summary(unfinished).await.unwrap().unwrap().state, RunState::Succeeded);
    finish(store, reading, None, None, Vec::new()).await;
    let found = list(store, &newest_runs(1)).await;
    assert!(found.iter().any(|run| run.number == 4 && run.removal == Removal::Whole), "{found:?}");
    assert_eq!(store.run_summary(reader).await.unwrap().unwrap().number, 6);
}

pub(super) async fn a_run_that_was_retried_since_it_was_listed_stays(world: &mut World) {
    let store = world.store().as_ref();
    let (failed, fence) = begin(store).await;
    let fails = run_becomes(RunState::Failed, Some("no"));
    store.finish_attempt(fence, end(AttemptState::Failed), fails, at(50)).await.unwrap();
    run(store, None, None).await;
    run(store, None, None).await;
    let keep = newest_runs(1);
    let listed: Vec<u64> = list(store, &keep).await.iter().map(|run| run.number).collect();
    assert_eq!(listed, [2, 1]);
    store.request_retry(failed, &[], WriteId::new(), at(55)).await.unwrap().unwrap();
    let removed = store.remove_runs(keep, listed, at(60)).await.unwrap();
    assert_eq!(removed.done, 2, "it is passed over");
    assert_eq!(numbers(store).await, [3, 1]);
    assert_eq!(rows(store, failed).await, [3, 1, 1, 0, 0]);
}

pub(super) async fn many_details_are_removed_in_several_transactions(world: &mut World) {
    let store = world.store().as_ref();
    let (long, fence) = begin(store).await;
    let metrics = (0..3_000).map(|step| Metric { name: "curve".to_owned(), value: 0.5, step: Some(step) }).collect();
    let facts = Facts { metrics, ..Facts::default() };
    store.record_facts(fence, WriteId::new(), facts, at(35)).await.unwrap();
    finish(store, fence, None, None, Vec::new()).await;
    run(store, None, None).await;
    let keep = newest_runs(1);
    let listed: Vec<u64> = list(store, &keep).await.iter().map(|run| run.number).collect();
    let once = store.remove_runs(keep.clone(), listed, at(60)).await.unwrap();
    assert_eq!(once.done, 0, "other writes come between");
    let begun = store.run_summary(long).await.unwrap().unwrap();
    assert_eq!(begun.trimmed_at, Some(at(60)), "it says that details are missing");
    let (_, steps) = remove(store, &keep).await;
    assert!(steps > 1, "{steps}");
    assert_eq!(numbers(store).await, [2]);
    assert_eq!(rows(store, long).await, [0; 5]);
}
