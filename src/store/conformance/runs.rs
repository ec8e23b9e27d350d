//! Runs and their steps.

use super::World;
use super::fixtures::*;
use super::publish::refusal;
use crate::base::{Digest, RunId};
use crate::model::EventKind::{ActionState as Action, AttemptEnded, AttemptStarted, RunState as State};
use crate::model::{ActionState, AttemptState, EventKind, RunAction, RunState, StagedFile};
use crate::store::{NewRun, RunQuery, RunStep, StoreError, Visible};

pub(super) async fn a_run_is_created_once_with_its_actions_and_inputs(world: &mut World) {
    let store = world.store().as_ref();
    record(store, vec![present("a", "A")]).await;
    let skipped =
        RunAction { state: ActionState::Skipped, reason: Some("not_triggered".to_owned()), ..action("aside") };
    let new = NewRun { actions: vec![action("zebra"), skipped.clone(), action("ant")], ..new_run() };
    let created = create(store, new.clone()).await;
    let run = &created.detail.run;
    assert_eq!((run.number, run.state, run.created_at), (1, RunState::Queued, at(20)));
    assert_eq!((run.started_at, run.ended_at, &run.params), (None, None, &new.params));
    assert_eq!(created.detail.actions, [action("zebra"), skipped, action("ant")], "in the order of the manifest");
    assert_eq!(store.run_summary(run.id).await.unwrap().as_ref(), Some(run));
    let progress = store.run_progress(run.id).await.unwrap().unwrap();
    assert_eq!(progress, created.detail.clone());
    assert_eq!(inputs_of(store, run.id).await, created.inputs.items);
    assert_eq!(inputs_of(store, RunId::new()).await, []);
    assert_eq!(store.run_summary(RunId::new()).await.unwrap(), None);
    assert_eq!(store.run_by_number(1).await.unwrap(), Some(run.id));
    assert_eq!(store.run_by_number(2).await.unwrap(), None);
    assert_eq!(store.run_by_number(u64::MAX).await.unwrap(), None);
    assert_eq!(store.run_progress(RunId::new()).await.unwrap(), None);
    for another in [
        NewRun { params: serde_json::json!({ "seed": 8 }), ..new.clone() },
        NewRun { trigger: "another reason".to_owned(), ..new.clone() },
        NewRun { actions: vec![action("zebra"), action("ant")], ..new.clone() },
        NewRun { step: starts(vec![attempt("ant", 1)]), ..new },
    ] {
        let refused = store.create_run(another, at(21)).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    }
    let unknown = NewRun { revision: Digest::of(b"another"), ..new_run() };
    assert!(matches!(store.create_run(unknown, at(21)).await, Err(StoreError::Invalid(_))));
    assert_eq!(create(store, new_run()).await.detail.run.number, 2);
}

pub(super) async fn steps_change_actions_and_runs_and_emit_events(world: &mut World) {
    let store = world.store().as_ref();
    let run = create(store, new_run()).await.detail.run.id;
    let before = newest(store).await;
    let step = RunStep {
        actions: vec![
            becomes("first", ActionState::Pending, ActionState::Ready),
            becomes("second", ActionState::Pending, ActionState::Pending),
        ],
        starts: vec![attempt("first", 1)],
        run: None,
    };
    let started = store.advance(run, WriteId::new(), step, at(30)).await.unwrap();
    assert_eq!(kinds_after(store, before).await, [Action, Action, State, AttemptStarted]);
    let detail = store.run_progress(run).await.unwrap().unwrap();
    assert_eq!((detail.run.state, detail.run.started_at), (RunState::Running, Some(at(30))));
    assert_eq!((detail.actions[0].state, detail.actions[0].attempts), (ActionState::Running, 1));
    assert_eq!(detail.attempts[0].fence, Some(started[0].fence));

    let before = newest(store).await;
    let step = RunStep {
        actions: vec![
            becomes("first", ActionState::Running, ActionState::Failed),
            becomes("second", ActionState::Pending, ActionState::Skipped),
        ],
        ..run_becomes(RunState::Failed, Some("first failed"))
    };
    store.finish_attempt(started[0].fence, end(AttemptState::Failed), step, at(40)).await.unwrap();
    assert_eq!(kinds_after(store, before).await, [AttemptEnded, Action, Action, State]);
    let detail = store.run_progress(run).await.unwrap().unwrap();
    assert_eq!((detail.run.state, detail.run.ended_at), (RunState::Failed, Some(at(40))));
    assert_eq!(detail.run.reason.as_deref(), Some("first failed"));
    assert_eq!(detail.actions[1].state, ActionState::Skipped);
    let of_run = store.events(0, Some(run), 100).await.unwrap();
    assert!(of_run.iter().all(|event| event.run_id == Some(run)) && of_run.len() == 9, "{of_run:?}");

    let unknown =
        RunStep { actions: vec![becomes("third", ActionState::Pending, ActionState::Ready)], ..RunStep::default() };
    let other = create(store, new_run()).await.detail.run.id;
    assert!(matches!(store.advance(other, WriteId::new(), unknown, at(50)).await, Err(StoreError::Conflict(_))));
    let unknown = store.advance(RunId::new(), WriteId::new(), RunStep::default(), at(50)).await;
    assert!(matches!(unknown, Err(StoreError::Conflict(_))));
}

pub(super) async fn a_run_is_created_with_its_first_step(world: &mut World) {
    let store = world.store().as_ref();
    let step = RunStep {
        actions: vec![becomes("first", ActionState::Pending, ActionState::Running)],
        ..starts(vec![attempt("first", 1)])
    };
    let created = create(store, NewRun { step: step.clone(), ..new_run() }).await;
    assert_eq!((created.detail.run.state, created.started.len()), (RunState::Queued, 1));
    let run = store.run_progress(created.detail.run.id).await.unwrap().unwrap();
    assert_eq!((run.run.state, run.run.started_at), (RunState::Running, Some(at(20))));
    assert_eq!(run.actions[0].state, ActionState::Running);
    assert_eq!(run.attempts[0].fence, Some(created.started[0].fence));
    let fence = created.started[0].fence;
    store.finish_attempt(fence, end(AttemptState::Succeeded), RunStep::default(), at(30)).await.unwrap();

    let too_few = NewRun { claims: vec![claim(None, 1)], step, ..new_run() };
    assert!(store.create_run(too_few.clone(), at(40)).await.unwrap().is_none());
    assert_eq!(store.run_progress(too_few.id).await.unwrap(), None, "nothing is started for an unknown run");
}

pub(super) async fn an_ended_run_refuses_steps(world: &mut World) {
    let store = world.store().as_ref();
    let run = create(store, new_run()).await.detail.run.id;
    store.advance(run, WriteId::new(), run_becomes(RunState::Succeeded, None), at(30)).await.unwrap();
    for step in [run_becomes(RunState::Running, None), starts(vec![attempt("first", 1)])] {
        assert!(matches!(store.advance(run, WriteId::new(), step, at(40)).await, Err(StoreError::Conflict(_))));
    }
    assert!(store.advance(run, WriteId::new(), RunStep::default(), at(40)).await.unwrap().is_empty());
    assert_eq!(store.run_progress(run).await.unwrap().unwrap().run.state, RunState::Succeeded);
}

pub(super) async fn cancelling_remains_until_the_run_ends(world: &mut World) {
    let store = world.store().as_ref();
    assert_eq!(store.request_cancel(RunId::new(), at(1)).await.unwrap(), None);
    let (run, fence) = started(store, new_run()).await;
    let cancelled = store.request_cancel(run, at(40)).await.unwrap().unwrap();
    assert_eq!(cancelled.state, RunState::Cancelling);
    let before = newest(store).await;
    store.request_cancel(run, at(41)).await.unwrap();
    store.advance(run, WriteId::new(), run_becomes(RunState::Running, None), at(42)).await.unwrap();
    assert!(kinds_after(store, before).await.is_empty(), "a repeated request or an outdated step changes nothing");
    let step = run_becomes(RunState::Cancelled, Some("asked for"));
    store.finish_attempt(fence, end(AttemptState::Cancelled), step, at(43)).await.unwrap();
    let ended = store.request_cancel(run, at(44)).await.unwrap().unwrap();
    assert_eq!((ended.state, ended.ended_at), (RunState::Cancelled, Some(at(43))), "unchanged");
}

pub(super) async fn retry_restarts_actions_that_did_not_succeed(world: &mut World) {
    let store = world.store().as_ref();
    assert_eq!(store.request_retry(RunId::new(), &[], WriteId::new(), at(1)).await.unwrap(), None);
    let aside = RunAction { state: ActionState::Skipped, reason: Some("not_triggered".to_owned()), ..action("aside") };
    let actions = [["ok", "bad", "after", "stopped"].map(action).to_vec(), vec![aside.clone()]].concat();
    let run = create(store, NewRun { actions, ..new_run() }).await.detail.run.id;
    assert!(
        matches!(store.request_retry(run, &[], WriteId::new(), at(2)).await, Err(StoreError::Conflict(_))),
        "it has not ended"
    );
    let mut failed = becomes("bad", ActionState::Running, ActionState::Failed);
    failed.action = RunAction { attempts: 3, tries: 2, crashes: 1, reason: Some("no".to_owned()), ..failed.action };
    let step = RunStep {
        actions: vec![
            becomes("ok", ActionState::Running, ActionState::Succeeded),
            failed,
            becomes("after", ActionState::Pending, ActionState::Skipped),
            becomes("stopped", ActionState::Pending, ActionState::Cancelled),
        ],
        ..run_becomes(RunState::Failed, Some("bad failed"))
    };
    store.advance(run, WriteId::new(), step, at(30)).await.unwrap();
    let before = newest(store).await;
    let again = store.request_retry(run, &[], WriteId::new(), at(40)).await.unwrap().unwrap();
    assert_eq!((again.state, again.ended_at, again.reason), (RunState::Running, None, None));
    let detail = store.run_progress(run).await.unwrap().unwrap();
    let states: Vec<_> = detail.actions.iter().map(|it| it.state).collect();
    assert_eq!(states[..4], [ActionState::Succeeded, ActionState::Pending, ActionState::Pending, ActionState::Pending]);
    assert_eq!(detail.actions[4], aside, "it was not triggered again");
    let bad = &detail.actions[1];
    assert_eq!((bad.attempts, bad.tries, bad.crashes, &bad.reason), (3, 0, 0, &None), "earlier attempts are kept");
    assert_eq!(kinds_after(store, before).await, [Action, Action, Action, State]);
    store.advance(run, WriteId::new(), run_becomes(RunState::Succeeded, None), at(50)).await.unwrap();
    assert!(
        matches!(store.request_retry(run, &[], WriteId::new(), at(60)).await, Err(StoreError::Conflict(_))),
        "it has succeeded"
    );
}

pub(super) async fn retry_from_an_action_restarts_what_has_succeeded(world: &mut World) {
    let store = world.store().as_ref();
    let aside = RunAction { state: ActionState::Skipped, reason: Some("not_triggered".to_owned()), ..action("aside") };
    let actions = [["before", "from", "after"].map(action).to_vec(), vec![aside]].concat();
    let run = create(store, NewRun { actions, ..new_run() }).await.detail.run.id;
    let first = start(store, run, "from", 1).await;
    publish(store, first, vec![staged("models", "m", "M", false), staged("models", "n", "N", false)]).await;
    let done = |name| becomes(name, ActionState::Pending, ActionState::Succeeded);
    let from = becomes("from", ActionState::Running, ActionState::Succeeded);
    let step = RunStep { actions: vec![done("before"), from, done("after")], ..run_becomes(RunState::Succeeded, None) };
    store.advance(run, WriteId::new(), step, at(60)).await.unwrap();

    let aside = store.request_retry(run, &["aside".to_owned()], WriteId::new(), at(70)).await;
    assert!(matches!(aside, Err(StoreError::Conflict(_))), "nothing had triggered it: {aside:?}");
    let unknown = store.request_retry(run, &["other".to_owned()], WriteId::new(), at(70)).await;
    assert!(matches!(unknown, Err(StoreError::Invalid(_))), "{unknown:?}");
    let again = ["from".to_owned(), "after".to_owned()];
    let retried = store.request_retry(run, &again, WriteId::new(), at(70)).await.unwrap().unwrap();
    assert_eq!((retried.state, retried.ended_at), (RunState::Running, None));
    let detail = store.run_progress(run).await.unwrap().unwrap();
    let states: Vec<_> = detail.actions.iter().map(|it| it.state).collect();
    assert_eq!(states[..3], [ActionState::Succeeded, ActionState::Pending, ActionState::Pending]);

    // The outputs of the first attempt are those of the run until the second has succeeded.
    let own = ["from".to_owned()];
    let paths = async || {
        let outputs = store.outputs(run, "models", &own).await.unwrap();
        outputs.iter().map(|it| (it.path.clone(), it.version, it.present)).collect::<Vec<_>>()
    };
    assert_eq!(paths().await, [("m".to_owned(), 1, true), ("n".to_owned(), 1, true)]);
    let second = start(store, run, "from", 2).await;
    assert_eq!(paths().await.len(), 2);
    // It may replace what the first has published, and nothing that somebody else has put there.
    let file =
        |content, stamp: &str| StagedFile { replaces: Some(stamp.to_owned()), ..staged("models", "m", content, false) };
    for wrong in [staged("models", "m", "M2", false), file("M2", "stamp of another")] {
        let taken = store.publish_intent(second, intent(vec![wrong]), at(75)).await;
        assert!(matches!(taken, Err(StoreError::PathTaken { .. })), "{taken:?}");
    }
    publish(store, second, vec![file("M2", "stamp of M")]).await;
    assert_eq!(paths().await, [("m".to_owned(), 2, true)]);
    // What a service does not take leaves the earlier outputs.
    let third = start(store, run, "from", 3).await;
    store.publish_intent(third, intent(vec![file("M3", "stamp of M2")]), at(80)).await.unwrap();
    let why = refusal(AttemptState::Failed, &[0]);
    store.refused(third, Visible::default(), why, RunStep::default(), at(81)).await.unwrap();
    assert_eq!(paths().await, [("m".to_owned(), 2, true)]);
    // An attempt that publishes nothing takes their place too.
    let fourth = start(store, run, "from", 4).await;
    store.finish_attempt(fourth, end(AttemptState::Succeeded), RunStep::default(), at(90)).await.unwrap();
    assert_eq!(paths().await, []);
}

pub(super) async fn configuration_survives_a_restart(world: &mut World) {
    let store = world.store().as_ref();
    assert!(!store.paused().await.unwrap());
    store.register_revision(revision(), at(1)).await.unwrap();
    store.register_revision(revision(), at(2)).await.unwrap();
    store.set_paused(true, at(3)).await.unwrap();
    store.set_paused(true, at(4)).await.unwrap();
    let first = create(store, new_run()).await.detail.run.id;
    let (epoch, seen) = (store.epoch(), newest(store).await);
    let before = events(store).await;
    assert_eq!(before.iter().filter(|event| event.kind == EventKind::Paused).count(), 1);
    assert_eq!(before.iter().filter(|event| event.kind == EventKind::RevisionRegistered).count(), 1);
    world.restart().await;
    let store = world.store().as_ref();
    assert!(store.epoch() > epoch);
    let found = store.revision(revision().digest).await.unwrap().unwrap();
    assert_eq!((found.manifest, found.components), (revision().manifest, revision().components));
    assert_eq!(found.registered_at, at(1));
    assert_eq!(store.revision(Digest::of(b"another")).await.unwrap(), None);
    assert!(store.paused().await.unwrap());
    assert_eq!(kinds_after(store, seen).await, [EventKind::HostStarted]);
    assert_eq!(*store.newest_event().borrow(), seen + 1);
    let runs = store.runs(RunQuery::default(), all()).await.unwrap().items;
    assert_eq!(runs.iter().map(|run| run.id).collect::<Vec<_>>(), [first]);
    assert_eq!(create(store, new_run()).await.detail.run.number, 2);
    store.set_paused(false, at(7)).await.unwrap();
    assert!(!store.paused().await.unwrap());
}
