//! Outputs: the commit point, and publishing after it.

use super::World;
use super::fixtures::*;
use crate::model::ArtifactState::{Current, New, NotTaken, Published, Superseded};
use crate::model::{Access, AccessKind, ArtifactTag, AttemptState, ErrorInfo, EventKind, Facts, Metric, RunState};
use crate::store::{AttemptEnd, Batch, FactQuery, Intent, NewRun, Refusal, RunStep, StoreError, Visible};

pub(super) async fn outputs_exist_after_the_commit_point(world: &mut World) {
    let store = world.store().as_ref();
    let (run, fence) = started(store, new_run()).await;
    let file = staged("models", "m.bin", "weights", false);
    let before = newest(store).await;
    store.publish_intent(fence, intent(vec![file.clone()]), at(40)).await.unwrap();
    assert_eq!(kinds_after(store, before).await, [EventKind::ArtifactPublished, EventKind::AttemptPublishing]);
    let output = store.artifact(file.artifact_id).await.unwrap().unwrap();
    assert_eq!((output.state, output.version, output.present), (Published, 1, true));
    assert_eq!((output.produced_by, output.run_id), (Some(fence.attempt_id), None));
    assert_eq!((output.digest, output.size, &output.stamp), (Some(file.digest), file.size, &file.stamp));
    let open = store.open_intents().await.unwrap();
    assert_eq!((open.len(), open[0].attempt_id, &open[0].file), (1, fence.attempt_id, &file));
    let attempt = store.run_progress(run).await.unwrap().unwrap().attempts.remove(0);
    assert_eq!((attempt.state, attempt.ended_at), (AttemptState::Publishing, None));
    let finished = store.finish_attempt(fence, end(AttemptState::Failed), RunStep::default(), at(45)).await;
    assert!(matches!(finished, Err(StoreError::Conflict(_))), "it can no longer be stopped");
    let again = store.publish_intent(fence, intent(Vec::new()), at(45)).await;
    assert!(matches!(again, Err(StoreError::Conflict(_))));

    let before = newest(store).await;
    let step = RunStep { starts: vec![attempt_of("second")], ..RunStep::default() };
    assert_eq!(store.published(fence, Visible::default(), step, at(50)).await.unwrap().len(), 1);
    assert_eq!(kinds_after(store, before).await[0], EventKind::AttemptEnded);
    let attempt = store.run_progress(run).await.unwrap().unwrap().attempts.remove(0);
    assert_eq!((attempt.state, attempt.ended_at), (AttemptState::Succeeded, Some(at(50))));
    assert_eq!(attempt.message.as_deref(), Some("did it"));
    assert!(store.open_intents().await.unwrap().is_empty());
    let outputs = store.outputs(run, "models", &["first".to_owned()]).await.unwrap();
    assert_eq!(outputs.iter().map(|it| it.id).collect::<Vec<_>>(), [file.artifact_id]);
    assert!(store.outputs(run, "models", &["second".to_owned()]).await.unwrap().is_empty());
    assert!(store.outputs(run, "raw", &["first".to_owned()]).await.unwrap().is_empty());
}

fn attempt_of(action: &str) -> crate::store::NewAttempt {
    attempt(action, 1)
}

pub(super) async fn an_existing_path_is_refused_without_any_change(world: &mut World) {
    let store = world.store().as_ref();
    record(store, vec![present("taken", "T"), present("free", "F"), gone("free")]).await;
    let (run, fence) = started(store, NewRun { claims: Vec::new(), ..new_run() }).await;
    let (before, was) = (newest(store).await, store.run_progress(run).await.unwrap());
    let files = vec![staged("raw", "new", "N", false), staged("raw", "taken", "X", false)];
    let Err(StoreError::PathTaken { resource, path }) = store.publish_intent(fence, intent(files), at(40)).await else {
        panic!("it was not refused")
    };
    assert_eq!((resource.as_str(), path.as_str()), ("raw", "taken"));
    assert_eq!(store.run_progress(run).await.unwrap(), was);
    assert!(kinds_after(store, before).await.is_empty());
    assert!(artifacts_at(store, "raw", "new").await.is_empty());
    let failed = Intent { end: end(AttemptState::Failed), ..intent(Vec::new()) };
    assert!(matches!(store.publish_intent(fence, failed, at(40)).await, Err(StoreError::Invalid(_))));
    let files = vec![staged("raw", "free", "F2", false), staged("raw", "taken", "X", true)];
    store.publish_intent(fence, intent(files), at(41)).await.unwrap();
    assert_eq!(versions(store, "free").await.last(), Some(&(2, Published, true)));
    assert_eq!(versions(store, "taken").await, [(1, Superseded, false), (2, Published, true)]);
    assert_eq!(store.pending("raw").await.unwrap().count, 0);
}

pub(super) async fn equal_bytes_make_no_new_version(world: &mut World) {
    let store = world.store().as_ref();
    let (_, fence) = started(store, new_run()).await;
    let first = staged("models", "m", "same", false);
    publish(store, fence, vec![first.clone()]).await;
    let (run, fence) = started(store, new_run()).await;
    let mut second = staged("models", "m", "same", true);
    second.stamp = "another file".to_owned();
    let wrote = Access { artifact_id: second.artifact_id, kind: AccessKind::Wrote, bytes: 4, calls: 1, digest: None };
    let tag = ArtifactTag { artifact_id: second.artifact_id, tag: "best".to_owned(), unique: true };
    let ended = AttemptEnd { accesses: vec![wrote], tags: vec![tag], ..end(AttemptState::Succeeded) };
    store.publish_intent(fence, Intent { end: ended, ..intent(vec![second.clone()]) }, at(40)).await.unwrap();
    let unfinished = store.unfinished(run).await.unwrap().unwrap();
    assert_eq!(unfinished.attempts[0].artifacts, [first.artifact_id], "the output became this artifact");
    assert_eq!(unfinished.attempts[0].files.as_deref(), Some(&[second.clone()][..]), "it is still published");
    store.published(fence, Visible::default(), RunStep::default(), at(50)).await.unwrap();
    let there = artifacts_at(store, "models", "m").await;
    assert_eq!(there.len(), 1);
    assert_eq!((there[0].stamp.as_str(), there[0].tags.as_slice()), ("another file", &["best".to_owned()][..]));
    assert_eq!(store.artifact(second.artifact_id).await.unwrap(), None);
    let outputs = store.outputs(run, "models", &["first".to_owned()]).await.unwrap();
    assert_eq!(outputs[0].id, first.artifact_id, "it is also an output of this run");
    assert_eq!(store.lineage(run, all()).await.unwrap().items[0].artifact.id, first.artifact_id);
}

pub(super) fn refusal(state: AttemptState, files: &[usize]) -> Refusal {
    let error = ErrorInfo::permanent("refused", "api does not take `m`: the server answers 422 Unprocessable Entity");
    Refusal { state, error, files: files.iter().map(|place| (*place, "the server answers 422".to_owned())).collect() }
}

pub(super) async fn an_output_that_is_not_taken_fails_its_attempt_and_holds_no_path(world: &mut World) {
    let store = world.store().as_ref();
    let (run, fence) = started(store, new_run()).await;
    let why = refusal(AttemptState::Failed, &[0]);
    let refused = || store.refused(fence, Visible::default(), why.clone(), RunStep::default(), at(60));
    assert!(matches!(refused().await, Err(StoreError::Conflict(_))), "nothing was committed");
    store.publish_intent(fence, intent(vec![staged("models", "m", "M", false)]), at(40)).await.unwrap();
    let before = newest(store).await;
    refused().await.unwrap();
    assert_eq!(kinds_after(store, before).await, [EventKind::ArtifactNotTaken, EventKind::AttemptEnded]);
    let newest_event = newest(store).await;
    refused().await.unwrap();
    assert_eq!(newest(store).await, newest_event, "a repeat changes nothing");
    let attempt = store.run_progress(run).await.unwrap().unwrap().attempts.remove(0);
    assert_eq!((attempt.state, attempt.error), (AttemptState::Failed, Some(why.error.clone())));
    let output = artifacts_at(store, "models", "m").await.remove(0);
    assert_eq!((output.state, output.present, output.version), (NotTaken, false, 1));
    assert_eq!(output.reason.as_deref(), Some("the server answers 422"));
    assert!(store.outputs(run, "models", &["first".to_owned()]).await.unwrap().is_empty());
    assert!(store.unfinished(run).await.unwrap().unwrap().attempts.is_empty(), "nothing is left to publish");
    let published = store.published(fence, Visible::default(), RunStep::default(), at(61)).await;
    assert!(matches!(published, Err(StoreError::Conflict(_) | StoreError::Fenced { .. })), "{published:?}");
    // The path is free, also for the same bytes.
    let (_, fence) = started(store, new_run()).await;
    publish(store, fence, vec![staged("models", "m", "M", false)]).await;
    let all: Vec<_> = artifacts_at(store, "models", "m").await.iter().map(|it| (it.version, it.state)).collect();
    assert!(all.contains(&(1, NotTaken)) && all.contains(&(2, Published)) && all.len() == 2, "{all:?}");
}

pub(super) async fn what_was_taken_stays_and_what_would_have_been_replaced_is_back(world: &mut World) {
    let store = world.store().as_ref();
    let (_, fence) = started(store, new_run()).await;
    publish(store, fence, vec![staged("models", "m", "M", false), staged("models", "same", "S", false)]).await;
    let (run, fence) = started(store, new_run()).await;
    let files = vec![
        staged("models", "m", "better", true),
        staged("models", "taken", "T", false),
        staged("models", "same", "S", true),
    ];
    store.publish_intent(fence, intent(files), at(40)).await.unwrap();
    let given_up = refusal(AttemptState::Cancelled, &[0, 2]);
    store.refused(fence, Visible::default(), given_up, RunStep::default(), at(50)).await.unwrap();
    let attempt = store.run_progress(run).await.unwrap().unwrap().attempts.remove(0);
    assert_eq!(attempt.state, AttemptState::Cancelled);
    let mut there = Vec::new();
    for path in ["m", "taken", "same"] {
        let mut all = artifacts_at(store, "models", path).await;
        all.sort_by_key(|it| it.version);
        there.push(all.iter().map(|it| (it.version, it.state, it.present)).collect::<Vec<_>>());
    }
    assert_eq!(there[0], [(1, Published, true), (2, NotTaken, false)]);
    assert_eq!(there[1], [(1, Published, true)]);
    assert_eq!(there[2], [(1, Published, true)], "the service has these bytes from before");
    let outputs = store.outputs(run, "models", &["first".to_owned()]).await.unwrap();
    let paths: Vec<_> = outputs.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["same", "taken"]);
    // What is back can be replaced again.
    let (_, fence) = started(store, new_run()).await;
    publish(store, fence, vec![staged("models", "m", "best", true)]).await;
    let mut all = artifacts_at(store, "models", "m").await;
    all.sort_by_key(|it| it.version);
    let all: Vec<_> = all.iter().map(|it| (it.version, it.state, it.present)).collect();
    assert_eq!(all, [(1, Published, false), (2, NotTaken, false), (3, Published, true)]);
}

pub(super) async fn publishing_is_idempotent_and_fenced(world: &mut World) {
    let store = world.store().as_ref();
    let (run, fence) = started(store, new_run()).await;
    let early = store.published(fence, Visible::default(), RunStep::default(), at(35)).await;
    assert!(matches!(early, Err(StoreError::Conflict(_))), "nothing was committed");
    publish(store, fence, vec![staged("models", "m", "M", false)]).await;
    let (before, was) = (newest(store).await, store.run_progress(run).await.unwrap());
    assert!(store.published(fence, Visible::default(), RunStep::default(), at(60)).await.unwrap().is_empty());
    let another = RunStep { starts: vec![attempt("second", 1)], ..RunStep::default() };
    assert!(matches!(store.published(fence, Visible::default(), another, at(60)).await, Err(StoreError::Conflict(_))));
    assert!(kinds_after(store, before).await.is_empty());
    assert_eq!(store.run_progress(run).await.unwrap(), was);
}

pub(super) async fn recovery_finds_committed_outputs(world: &mut World) {
    let store = world.store().as_ref();
    let (run, fence) = started(store, new_run()).await;
    let files = vec![staged("models", "b", "B", false), staged("models", "a", "A", false)];
    let skip = Intent { skip: true, ..intent(files.clone()) };
    store.publish_intent(fence, skip, at(40)).await.unwrap();
    world.restart().await;
    let store = world.store().as_ref();
    assert_eq!(store.open_intents().await.unwrap().len(), 2);
    let taken = store.take_over(at(50)).await.unwrap().remove(0);
    let attempt = &taken.attempts[0];
    assert_eq!(attempt.files.as_deref(), Some(files.as_slice()), "in the order of the intent");
    assert_eq!(attempt.artifacts, files.iter().map(|it| it.artifact_id).collect::<Vec<_>>());
    assert_eq!((attempt.skip, attempt.message.as_deref()), (true, Some("did it")));
    assert!(matches!(
        store.published(fence, Visible::default(), RunStep::default(), at(60)).await,
        Err(StoreError::Fenced { .. })
    ));
    let step = run_becomes(RunState::Succeeded, None);
    store.published(attempt.fence, Visible::default(), step, at(60)).await.unwrap();
    assert_eq!(store.run_progress(run).await.unwrap().unwrap().run.state, RunState::Succeeded);
    assert!(store.take_over(at(70)).await.unwrap().is_empty());
}

pub(super) async fn late_observations_do_not_undo_an_output(world: &mut World) {
    let store = world.store().as_ref();
    record(store, vec![present("out", "before"), present("other", "O")]).await;
    let (_, fence) = started(store, new_run()).await;
    let files = vec![staged("raw", "out", "after", true), staged("raw", "fresh", "F", false)];
    store.publish_intent(fence, intent(files), at(40)).await.unwrap();
    // A watcher has examined the resource before the files become visible.
    let before = *store.newest_event().borrow();
    let late = || {
        vec![present("out", "before"), gone("fresh"), present("other", "O2"), renamed("other", "fresh"), gone("out")]
    };
    let recorded = store.record("raw", Batch::new(late(), before), at(45)).await.unwrap();
    assert_eq!((recorded.new, recorded.outdated), (1, vec![0, 1, 3, 4]));
    assert_eq!(versions(store, "out").await, [(1, Current, false), (2, Published, true)]);
    assert_eq!(versions(store, "fresh").await, [(1, Published, true)]);
    let own = record(store, vec![present("out", "after")]).await;
    assert_eq!((own.new, own.outdated), (0, Vec::new()), "the output itself, already visible");
    store.published(fence, Visible::default(), RunStep::default(), at(50)).await.unwrap();
    // The examination began before: it is unknown whether it saw the output.
    for seen in [gone("out"), present("out", "before"), ignored("out", "a socket")] {
        let recorded = store.record("raw", Batch::new(vec![seen], before), at(55)).await.unwrap();
        assert_eq!((recorded.new, recorded.outdated), (0, vec![0]));
    }
    assert_eq!(versions(store, "out").await, [(1, Current, false), (2, Published, true)]);
    assert_eq!(versions(store, "fresh").await, [(1, Published, true)]);
    // A scan that began after the outputs were published reports new versions.
    let recorded = record(store, vec![gone("out"), present("fresh", "theirs"), gone("other")]).await;
    assert_eq!((recorded.new, recorded.outdated), (1, Vec::new()));
    assert_eq!(versions(store, "out").await, [(1, Current, false), (2, Published, false)]);
    assert_eq!(versions(store, "fresh").await, [(1, Published, false), (2, New, true)]);
}

pub(super) async fn late_observations_do_not_undo_an_output_with_equal_bytes(world: &mut World) {
    let store = world.store().as_ref();
    record(store, vec![present("out", "same")]).await;
    let (_, fence) = started(store, new_run()).await;
    let before = *store.newest_event().borrow();
    publish(store, fence, vec![staged("raw", "out", "same", true)]).await;
    let late = store.record("raw", Batch::new(vec![gone("out")], before), at(55)).await.unwrap();
    assert_eq!(late.outdated, [0]);
    assert_eq!(versions(store, "out").await, [(1, Current, true)]);
}

pub(super) async fn retrigger_makes_outputs_new_once_they_are_visible(world: &mut World) {
    let store = world.store().as_ref();
    let (_, fence) = started(store, new_run()).await;
    let files = vec![staged("raw", "again", "1234", false), staged("models", "m", "M", false)];
    let with = Intent { retrigger: vec!["raw".to_owned()], ..intent(files) };
    store.publish_intent(fence, with, at(40)).await.unwrap();
    assert!(create(store, new_run()).await.inputs.items.is_empty(), "it cannot be read yet");
    let before = newest(store).await;
    store.published(fence, Visible::default(), RunStep::default(), at(50)).await.unwrap();
    assert_eq!(kinds_after(store, before).await, [EventKind::ArtifactRecorded, EventKind::AttemptEnded]);
    let pending = store.pending("raw").await.unwrap();
    assert_eq!((pending.count, pending.bytes), (1, 4));
    assert_eq!(versions(store, "again").await, [(1, New, true)]);
    assert_eq!(artifacts_at(store, "models", "m").await[0].state, Published);
    assert_eq!(record(store, vec![present("again", "1234")]).await.new, 0);
    assert_eq!(create(store, new_run()).await.inputs.items.len(), 1);
}

pub(super) async fn unique_tags_move(world: &mut World) {
    let store = world.store().as_ref();
    let mut ids = Vec::new();
    for n in 0..3 {
        let (_, fence) = started(store, new_run()).await;
        let resource = if n == 2 { "other" } else { "models" };
        let file = staged(resource, &format!("m{n}"), &format!("{n}"), false);
        let id = file.artifact_id;
        let tag = |tag: &str, unique| ArtifactTag { artifact_id: id, tag: tag.to_owned(), unique };
        let tags = vec![tag("seen", false), tag("champion", true), tag("champion", true)];
        let facts =
            Facts { metrics: vec![Metric { name: "accuracy".to_owned(), value: 0.5, step: None }], ..Facts::default() };
        store.record_facts(fence, WriteId::new(), facts, at(35)).await.unwrap();
        let ended = AttemptEnd { tags, ..end(AttemptState::Succeeded) };
        store.publish_intent(fence, Intent { end: ended, ..intent(vec![file]) }, at(40)).await.unwrap();
        let query = FactQuery { succeeded_only: true, ..FactQuery::default() };
        let counted = store.metrics(query.clone(), all()).await.unwrap().items.len();
        assert_eq!(counted, n, "it has not succeeded yet");
        store.published(fence, Visible::default(), RunStep::default(), at(50)).await.unwrap();
        assert_eq!(store.metrics(query, all()).await.unwrap().items.len(), n + 1);
        ids.push(id);
    }
    let mut tags = Vec::new();
    for id in &ids {
        tags.push(store.artifact(*id).await.unwrap().unwrap().tags);
    }
    assert_eq!(tags, [vec!["seen"], vec!["champion", "seen"], vec!["champion", "seen"]], "in its own resource only");
    let query = crate::store::ArtifactQuery { tag: Some("champion".to_owned()), ..Default::default() };
    let tagged: Vec<_> = store.artifacts(query, all()).await.unwrap().items.iter().map(|it| it.id).collect();
    assert_eq!(tagged, [ids[2], ids[1]]);
}
