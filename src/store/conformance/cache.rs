//! What is remembered of attempts, and attempts that take their result from it.

use std::collections::BTreeMap;

use super::World;
use super::fixtures::*;
use super::publish::refusal;
use crate::base::{ArtifactId, AttemptId, Digest};
use crate::model::{
    Access, AccessKind, ArtifactTag, AttemptState, CacheUse, Dependency, Entry, Facts, Fence, Influence, Memory,
    Metric, Recording, RememberedOutput, RunState, StagedFile,
};
use crate::store::{
    AttemptEnd, CacheNote, FactQuery, Intent, MetadataStore, NewRun, Reuse, RunStep, StoreError, Visible,
};

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

pub(in crate::store) fn memory(fingerprint: &str, inputs: &str) -> Memory {
    Memory {
        fingerprint: digest(fingerprint),
        inputs: digest(inputs),
        component: digest("component"),
        params: serde_json::json!({ "lr": 0.1 }),
        grants: BTreeMap::from([("reads".to_owned(), digest("raw"))]),
        used: vec![Influence::Clock],
        dependencies: vec![Dependency::Absent { resource: "raw".to_owned(), path: "b".to_owned() }],
        outputs: Vec::new(),
        artifact_tags: Vec::new(),
        run_tags: vec![Entry { name: "team".to_owned(), value: "x".to_owned() }],
        skip: false,
    }
}

fn note(memory: Memory) -> CacheNote {
    CacheNote { reason: "ran: why".to_owned(), memory: Some(memory) }
}

/// Starts `first` in a new run, and ends it so.
pub(in crate::store) async fn ends(store: &dyn MetadataStore, state: AttemptState, memory: Memory) -> AttemptId {
    let (_, fence) = started(store, new_run()).await;
    let ended = AttemptEnd { cache: Some(note(memory)), ..end(state) };
    store.finish_attempt(fence, ended, RunStep::default(), at(60)).await.unwrap();
    fence.attempt_id
}

/// The attempts that are remembered of `first`.
pub(super) async fn found(store: &dyn MetadataStore, fingerprint: &str, inputs: &str, limit: u32) -> Vec<AttemptId> {
    let found = store.remembered("first", digest(fingerprint), digest(inputs), limit).await.unwrap();
    found.into_iter().map(|it| it.attempt_id).collect()
}

pub(super) async fn attempts_that_have_succeeded_are_remembered(world: &mut World) {
    let store = world.store().as_ref();
    assert_eq!(found(store, "f", "1", 8).await, []);
    let one = ends(store, AttemptState::Succeeded, memory("f", "1")).await;
    let two = ends(store, AttemptState::Succeeded, memory("f", "2")).await;
    let three = ends(store, AttemptState::Succeeded, memory("g", "1")).await;
    ends(store, AttemptState::Failed, memory("f", "3")).await;
    assert_eq!(found(store, "f", "1", 8).await, [one, three, two], "the one that was asked for, then the newest");
    assert_eq!(found(store, "f", "1", 2).await, [one, three]);
    assert_eq!(found(store, "f", "3", 8).await, [three, two, one]);
    assert_eq!(found(store, "f", "1", 1).await, [one]);
    let again = ends(store, AttemptState::Succeeded, memory("f", "1")).await;
    assert_eq!(found(store, "f", "1", 8).await, [again, three, two], "the newest of the same");
    // With this one the store looks for what to forget, and finds nothing yet.
    assert!(memory("h", "h").is_time_to_forget());
    let last = ends(store, AttemptState::Succeeded, memory("h", "h")).await;
    assert_eq!(found(store, "f", "1", 8).await, [again, last, three, two]);
    let other = store.remembered("second", digest("f"), digest("1"), 8).await.unwrap();
    assert!(other.is_empty(), "of another action: {other:?}");
    world.restart().await;
    let it = world.store().remembered("first", digest("f"), digest("1"), 1).await.unwrap().remove(0);
    assert_eq!((it.memory, it.message.as_deref(), it.run_number), (memory("f", "1"), Some("did it"), 5));
}

/// Publishes the file `model` by an attempt of `first` that is remembered, with a metric, a param
/// and tags.
pub(super) async fn published(store: &dyn MetadataStore) -> (Fence, StagedFile) {
    let (_, fence) = started(store, new_run()).await;
    let facts = Facts {
        metrics: [(1.5, Some(1)), (f64::NAN, Some(2))]
            .map(|(value, step)| Metric { name: "loss".to_owned(), value, step })
            .to_vec(),
        params: vec![Entry { name: "lr".to_owned(), value: "0.1".to_owned() }],
        tags: vec![Entry { name: "team".to_owned(), value: "x".to_owned() }],
    };
    store.record_facts(fence, WriteId::new(), facts, at(35)).await.unwrap();
    let file = staged("models", "model", "weights", false);
    let output = RememberedOutput {
        id: file.artifact_id,
        resource: "models".to_owned(),
        path: "model".to_owned(),
        digest: file.digest,
        bytes: 7,
    };
    let tag = ArtifactTag { artifact_id: file.artifact_id, tag: "best".to_owned(), unique: true };
    let memory = Memory { outputs: vec![output], artifact_tags: vec![tag.clone()], ..memory("f", "1") };
    let wrote = Access { artifact_id: file.artifact_id, kind: AccessKind::Wrote, bytes: 7, calls: 1, digest: None };
    let ended = AttemptEnd {
        accesses: vec![wrote],
        tags: vec![tag],
        cache: Some(note(memory)),
        ..end(AttemptState::Succeeded)
    };
    store.publish_intent(fence, Intent { end: ended, ..intent(vec![file.clone()]) }, at(40)).await.unwrap();
    assert_eq!(found(store, "f", "1", 8).await, [], "it is not published yet");
    store.published(fence, Visible::default(), run_becomes(RunState::Succeeded, None), at(50)).await.unwrap();
    assert_eq!(found(store, "f", "1", 8).await, [fence.attempt_id]);
    (fence, file)
}

/// The intent of an attempt that takes over the result of another one.
pub(super) async fn reuses(store: &dyn MetadataStore) -> Intent {
    let it = store.remembered("first", digest("f"), digest("1"), 1).await.unwrap().remove(0);
    let outputs: Vec<_> = it.memory.outputs.iter().map(|output| output.id).collect();
    let wrote = |id: &_| Access { artifact_id: *id, kind: AccessKind::Wrote, bytes: 7, calls: 1, digest: None };
    let ended = AttemptEnd {
        accesses: outputs.iter().map(wrote).collect(),
        tags: it.memory.artifact_tags.clone(),
        cache: Some(CacheNote { reason: "cached: as before".to_owned(), memory: None }),
        ..end(AttemptState::Succeeded)
    };
    let reuse = Reuse { from: it.attempt_id, outputs, run_tags: it.memory.run_tags };
    Intent { end: ended, reuse: Some(reuse), ..intent(Vec::new()) }
}

pub(super) async fn an_attempt_takes_over_the_result_of_another(world: &mut World) {
    let store = world.store().as_ref();
    let (earlier, _) = published(store).await;
    // The tag has moved meanwhile.
    let (_, other) = started(store, NewRun { claims: Vec::new(), ..new_run() }).await;
    let file = staged("models", "other", "more weights", false);
    let tag = ArtifactTag { artifact_id: file.artifact_id, tag: "best".to_owned(), unique: true };
    let ended = AttemptEnd { tags: vec![tag], ..end(AttemptState::Succeeded) };
    store.publish_intent(other, Intent { end: ended, ..intent(vec![file]) }, at(60)).await.unwrap();
    store.published(other, Visible::default(), RunStep::default(), at(61)).await.unwrap();

    let (run, fence) = started(store, NewRun { claims: Vec::new(), ..new_run() }).await;
    store.publish_intent(fence, reuses(store).await, at(70)).await.unwrap();
    world.restart().await;
    let store = world.store().as_ref();
    let unfinished = store.take_over(at(80)).await.unwrap();
    let left = unfinished.iter().flat_map(|run| &run.attempts).collect::<Vec<_>>();
    assert_eq!(left.len(), 1, "{left:#?}");
    assert!(left[0].cached && left[0].files == Some(Vec::new()) && !left[0].skip, "{left:#?}");
    store.published(left[0].fence, Visible::default(), RunStep::default(), at(90)).await.unwrap();

    let outputs = store.outputs(run, "models", &["first".to_owned()]).await.unwrap();
    assert_eq!(outputs.len(), 1);
    assert_eq!((outputs[0].path.as_str(), outputs[0].version), ("model", 1));
    assert_eq!(outputs[0].produced_by, Some(earlier.attempt_id), "it is the same artifact");
    assert_eq!(outputs[0].tags, ["best"]);
    assert!(artifacts_at(store, "models", "other").await[0].tags.is_empty(), "a unique tag has moved back");
    let facts = FactQuery { run: Some(run), ..FactQuery::default() };
    let metrics = store.metrics(facts.clone(), all()).await.unwrap().items;
    let steps: Vec<_> = metrics.iter().map(|it| (it.step, it.attempt_id, it.succeeded)).collect();
    assert_eq!(steps, [(Some(2), fence.attempt_id, true), (Some(1), fence.attempt_id, true)]);
    assert_eq!(metrics.iter().map(|it| it.value.to_string()).collect::<Vec<_>>(), ["NaN", "1.5"]);
    let params = store.params(facts.clone(), all()).await.unwrap().items;
    assert_eq!((params.len(), params[0].value.as_str(), params[0].attempt_id), (1, "0.1", fence.attempt_id));
    assert_eq!(store.tags(facts, all()).await.unwrap().items[0].value, "x");
    let lineage = store.lineage(run, all()).await.unwrap().items;
    assert_eq!((lineage.len(), lineage[0].kind, lineage[0].artifact.id), (1, AccessKind::Wrote, outputs[0].id));
    let detail = store.run_progress(run).await.unwrap().unwrap();
    assert_eq!(detail.attempts[0].state, AttemptState::Succeeded);
    let of_cache = CacheUse { reason: "cached: as before".to_owned(), attempt_id: Some(earlier.attempt_id) };
    assert_eq!(detail.attempts[0].cache, Some(of_cache));
    let ran = store.run_progress(earlier_run(store).await).await.unwrap().unwrap();
    assert_eq!(ran.attempts[0].cache, Some(CacheUse { reason: "ran: why".to_owned(), attempt_id: None }));
    assert_eq!(found(store, "f", "1", 8).await, [fence.attempt_id], "others take it from here");
    // One that takes it from there names the attempt that has done the work.
    let (run, third) = started(store, NewRun { claims: Vec::new(), ..new_run() }).await;
    let reuse = reuses(store).await;
    assert_eq!(reuse.reuse.as_ref().map(|reuse| reuse.from), Some(fence.attempt_id));
    store.publish_intent(third, reuse.clone(), at(95)).await.unwrap();
    assert_eq!(found(store, "f", "1", 8).await, [third.attempt_id], "it is certain to succeed");
    store.publish_intent(third, reuse, at(95)).await.unwrap();
    store.published(third, Visible::default(), RunStep::default(), at(96)).await.unwrap();
    let detail = store.run_progress(run).await.unwrap().unwrap();
    assert_eq!(detail.attempts[0].cache.as_ref().and_then(|it| it.attempt_id), Some(earlier.attempt_id));
    let again = store.remembered("first", digest("f"), digest("1"), 8).await.unwrap();
    assert_eq!((again.len(), again[0].run_number), (1, 1), "the run that has done the work");
    let facts = FactQuery { run: Some(run), ..FactQuery::default() };
    assert_eq!(store.metrics(facts.clone(), all()).await.unwrap().items.len(), 2);
    assert_eq!(store.params(facts, all()).await.unwrap().items.len(), 1);
}

async fn earlier_run(store: &dyn MetadataStore) -> crate::base::RunId {
    store.run_by_number(1).await.unwrap().unwrap()
}

pub(super) async fn a_result_whose_outputs_are_not_in_their_places_is_refused(world: &mut World) {
    let store = world.store().as_ref();
    published(store).await;
    let (run, fence) = started(store, NewRun { claims: Vec::new(), ..new_run() }).await;
    let mut reuse = reuses(store).await;
    let (_, other) = started(store, NewRun { claims: Vec::new(), ..new_run() }).await;
    publish(store, other, vec![staged("models", "model", "other weights", true)]).await;
    let error = store.publish_intent(fence, reuse.clone(), at(70)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Conflict(why) if why.ends_with("is not in its place any more")), "{error}");
    if let Some(reuse) = &mut reuse.reuse {
        reuse.from = fence.attempt_id;
    }
    let error = store.publish_intent(fence, reuse, at(70)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Conflict(why) if why.ends_with("has no result that can be taken")), "{error}");
    // Nothing has happened, and the attempt can go on.
    assert!(store.outputs(run, "models", &["first".to_owned()]).await.unwrap().is_empty());
    assert!(store.metrics(FactQuery { run: Some(run), ..FactQuery::default() }, all()).await.unwrap().items.is_empty());
    publish(store, fence, vec![staged("models", "mine", "weights", false)]).await;
}

pub(super) async fn what_an_attempt_was_told_is_on_record_if_it_has_succeeded(world: &mut World) {
    let store = world.store().as_ref();
    let told = Recording {
        began: Some(at(30)),
        seed: Some([u64::MAX, 7]),
        wall: vec![1_772_366_400_000_000_000, -5],
        monotonic: vec![0, i64::MAX],
        tags: BTreeMap::from([(ArtifactId::new(), vec!["best".to_owned()])]),
        is_cut: true,
        secure_random: true,
    };
    let mut attempts = Vec::new();
    for (state, told) in [
        (AttemptState::Succeeded, told.clone()),
        (AttemptState::Succeeded, Recording::default()),
        (AttemptState::Failed, told.clone()),
    ] {
        let (_, fence) = started(store, NewRun { claims: Vec::new(), ..new_run() }).await;
        let ended = AttemptEnd { recording: told, ..end(state) };
        store.finish_attempt(fence, ended, RunStep::default(), at(60)).await.unwrap();
        attempts.push(fence.attempt_id);
    }
    let (_, fence) = started(store, NewRun { claims: Vec::new(), ..new_run() }).await;
    let ended = AttemptEnd { recording: told.clone(), ..end(AttemptState::Succeeded) };
    let file = staged("models", "model", "weights", false);
    store.publish_intent(fence, Intent { end: ended, ..intent(vec![file]) }, at(70)).await.unwrap();
    assert_eq!(store.recording(fence.attempt_id).await.unwrap(), None, "it is not published yet");
    store.published(fence, Visible::default(), RunStep::default(), at(80)).await.unwrap();
    let (_, refused) = started(store, NewRun { claims: Vec::new(), ..new_run() }).await;
    let ended = AttemptEnd { recording: told.clone(), ..end(AttemptState::Succeeded) };
    let file = staged("models", "other", "weights", false);
    store.publish_intent(refused, Intent { end: ended, ..intent(vec![file]) }, at(81)).await.unwrap();
    let why = refusal(AttemptState::Failed, &[0]);
    store.refused(refused, Visible::default(), why, RunStep::default(), at(82)).await.unwrap();
    world.restart().await;
    let store = world.store();
    assert_eq!(store.recording(refused.attempt_id).await.unwrap(), None, "its output was refused");
    assert_eq!(store.recording(attempts[0]).await.unwrap(), Some(told.clone()));
    assert_eq!(store.recording(attempts[1]).await.unwrap(), None, "it has asked for nothing");
    assert_eq!(store.recording(attempts[2]).await.unwrap(), None, "it has failed");
    assert_eq!(store.recording(fence.attempt_id).await.unwrap(), Some(told));
    assert_eq!(store.recording(AttemptId::new()).await.unwrap(), None, "there is none");
}
