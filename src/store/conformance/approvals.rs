//! Approvals: asked for by a step, decided once.

use super::World;
use super::fixtures::*;
use crate::base::RunId;
use crate::model::EventKind::{ActionState as Action, ApprovalDecided, ApprovalRequested, RunState as State};
use crate::model::{ActionState, Approval, Decision, RunAction, RunState, Verdict};
use crate::store::{ActionChange, MetadataStore, PageRequest, RunStep, StoreError};

fn approval(micros: i64) -> Approval {
    Approval { who: "data team".to_owned(), since: at(micros), until: Some(at(micros + 500)), decision: None }
}

/// The step in which an action asks for approval.
fn asks(name: &str, before: ActionState, asked: Vec<Approval>) -> RunStep {
    let state = ActionState::AwaitingApproval;
    let change = ActionChange { action: RunAction { state, approvals: asked, ..action(name) }, before };
    RunStep { actions: vec![change], ..run_becomes(RunState::Running, None) }
}

/// A run whose `first` waits for approval.
async fn waiting(store: &dyn MetadataStore) -> RunId {
    let run = create(store, new_run()).await.detail.run.id;
    let step = asks("first", ActionState::Pending, vec![approval(30)]);
    store.advance(run, WriteId::new(), step, at(30)).await.unwrap();
    run
}

fn decision(verdict: Verdict, by: &str, micros: i64) -> Decision {
    Decision::new(verdict, Some(by), Some("looks fine"), at(micros))
}

async fn awaiting(store: &dyn MetadataStore) -> Vec<(u64, String)> {
    let page = store.awaiting_approval(all()).await.unwrap();
    page.items.into_iter().map(|it| (it.run_number, it.action)).collect()
}

async fn approvals(store: &dyn MetadataStore, run: RunId) -> Vec<Approval> {
    store.run_progress(run).await.unwrap().unwrap().actions[0].approvals.clone()
}

fn conflict<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Err(StoreError::Conflict(why)) => why,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn an_action_waits_on_record_until_it_is_decided(world: &mut World) {
    let store = world.store().as_ref();
    let run = create(store, new_run()).await.detail.run.id;
    let before = newest(store).await;
    let step = asks("first", ActionState::Pending, vec![approval(30)]);
    store.advance(run, WriteId::new(), step, at(30)).await.unwrap();
    assert_eq!(kinds_after(store, before).await, [Action, ApprovalRequested, State]);
    let asked = events(store).await.into_iter().find(|event| event.kind == ApprovalRequested).unwrap();
    let data = serde_json::json!({ "number": 1, "who": "data team", "until": at(530) });
    assert_eq!((asked.run_id, asked.action.as_deref(), asked.data), (Some(run), Some("first"), data));
    assert_eq!(awaiting(store).await, [(1, "first".to_owned())]);

    world.restart().await;
    let store = world.store().as_ref();
    let taken = store.take_over(at(40)).await.unwrap();
    assert_eq!(taken[0].detail.actions[0].awaited(), Some(&approval(30)));
    let before = newest(store).await;
    let approved = decision(Verdict::Approved, "ann", 50);
    let returned = store.decide_approval(run, "first", approved.clone(), WriteId::new()).await.unwrap().unwrap();
    assert_eq!((returned.id, returned.state), (run, RunState::Running));
    assert_eq!(kinds_after(store, before).await, [ApprovalDecided]);
    let told = events(store).await.pop().unwrap();
    let data = serde_json::json!({ "number": 1, "verdict": "approved", "by": "ann", "note": "looks fine" });
    assert_eq!((told.run_id, told.action.as_deref(), told.data, told.time), (Some(run), Some("first"), data, at(50)));
    assert_eq!(awaiting(store).await, [], "it is decided, though its state waits for the scheduler");

    world.restart().await;
    let store = world.store().as_ref();
    let taken = store.take_over(at(60)).await.unwrap();
    let decided = Approval { decision: Some(approved), ..approval(30) };
    assert_eq!(taken[0].detail.actions[0].awaited(), Some(&decided), "the next host goes on from it");
    assert_eq!(
        store
            .decide_approval(RunId::new(), "first", decision(Verdict::Approved, "ann", 70), WriteId::new())
            .await
            .unwrap(),
        None
    );
}

pub(super) async fn the_first_decision_stands(world: &mut World) {
    let store = world.store().as_ref();
    let run = waiting(store).await;
    let (approved, id) = (decision(Verdict::Approved, "ann", 50), WriteId::new());
    store.decide_approval(run, "first", approved.clone(), id).await.unwrap();
    let before = newest(store).await;
    // The same write again, and then the same decision under another id.
    let later = Decision { at: at(60), ..approved.clone() };
    store.decide_approval(run, "first", decision(Verdict::Rejected, "bob", 60), id).await.unwrap();
    store.decide_approval(run, "first", later, WriteId::new()).await.unwrap();
    let why =
        conflict(store.decide_approval(run, "first", decision(Verdict::Rejected, "bob", 70), WriteId::new()).await);
    assert_eq!(why, format!("`first` of run 1 was decided already, at {}: approved by ann: looks fine", at(50)));
    conflict(store.decide_approval(run, "first", decision(Verdict::TimedOut, "", 71), WriteId::new()).await);
    assert_eq!(kinds_after(store, before).await, []);
    let decided = Approval { decision: Some(approved), ..approval(30) };
    assert_eq!(approvals(store, run).await, [decided]);

    let late = waiting(store).await;
    let timed_out = Decision::new(Verdict::TimedOut, None, None, at(530));
    store.decide_approval(late, "first", timed_out, WriteId::new()).await.unwrap();
    let why =
        conflict(store.decide_approval(late, "first", decision(Verdict::Approved, "ann", 540), WriteId::new()).await);
    assert!(why.starts_with("it is too late to decide about `first` of run 2: nobody decided within "), "{why}");
    for (action, wanted) in [
        ("second", "`second` of run 1 does not wait for approval: it is pending"),
        ("third", "run 1 has no action `third`"),
    ] {
        let answer = store.decide_approval(run, action, decision(Verdict::Approved, "ann", 80), WriteId::new()).await;
        assert_eq!(conflict(answer), wanted);
    }
    let long = Decision::new(Verdict::Approved, Some(&"x".repeat(201)), None, at(90));
    let answer = store.decide_approval(run, "first", long, WriteId::new()).await;
    assert!(matches!(answer, Err(StoreError::Invalid(_))), "{answer:?}");
}

pub(super) async fn a_cancelled_run_waits_no_longer_and_a_retried_one_asks_again(world: &mut World) {
    let store = world.store().as_ref();
    let run = waiting(store).await;
    store.request_cancel(run, at(40)).await.unwrap();
    let approve = || decision(Verdict::Approved, "ann", 50);
    let why = conflict(store.decide_approval(run, "first", approve(), WriteId::new()).await);
    assert_eq!(why, "run 1 is being cancelled, so nothing is left to decide");
    let stop = RunStep {
        actions: vec![becomes("first", ActionState::AwaitingApproval, ActionState::Cancelled)],
        ..run_becomes(RunState::Cancelled, Some("on request"))
    };
    store.advance(run, WriteId::new(), stop, at(60)).await.unwrap();
    assert_eq!(awaiting(store).await, []);
    assert_eq!(approvals(store, run).await, [approval(30)], "what was asked for stays on record");
    let why = conflict(store.decide_approval(run, "first", approve(), WriteId::new()).await);
    assert_eq!(why, "`first` of run 1 does not wait for approval: it is cancelled");

    store.request_retry(run, &[], WriteId::new(), at(70)).await.unwrap();
    let step = asks("first", ActionState::Pending, vec![approval(30), approval(80)]);
    store.advance(run, WriteId::new(), step, at(80)).await.unwrap();
    store.decide_approval(run, "first", approve(), WriteId::new()).await.unwrap();
    let decided = Approval { decision: Some(approve()), ..approval(80) };
    assert_eq!(approvals(store, run).await, [approval(30), decided]);

    // A decision about an earlier start does not apply to this one.
    let fail = RunStep {
        actions: vec![becomes("first", ActionState::AwaitingApproval, ActionState::Failed)],
        ..run_becomes(RunState::Failed, Some("first failed"))
    };
    store.advance(run, WriteId::new(), fail, at(90)).await.unwrap();
    store.request_retry(run, &[], WriteId::new(), at(100)).await.unwrap();
    let why = conflict(store.decide_approval(run, "first", approve(), WriteId::new()).await);
    assert_eq!(why, "`first` of run 1 does not wait for approval: it is pending");
}

pub(super) async fn what_waits_is_listed_in_pages(world: &mut World) {
    let store = world.store().as_ref();
    for _ in 0..5 {
        waiting(store).await;
    }
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.awaiting_approval(PageRequest { cursor, limit: 2 }).await.unwrap();
        found.extend(page.items.into_iter().map(|it| it.run_number));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, [1, 2, 3, 4, 5]);
    let foreign = store.awaiting_approval(PageRequest { cursor: Some("x".to_owned()), limit: 2 }).await;
    assert!(matches!(foreign, Err(StoreError::Invalid(_))));
}
