//! Attempts and their tokens.

use super::World;
use super::fixtures::*;
use crate::base::{ArtifactId, AttemptId, RunId};
use crate::model::{
    Access, AccessKind, ActionState, ArtifactTag, AttemptState, Denial, ErrorInfo, Facts, Fence, HttpRequest,
    LogPosition, LogRange, Page, RequestOutcome, RunState,
};
use crate::store::{
    AccessSum, ActionAttempt, AttemptEnd, MetadataStore, NewRun, PageRequest, ResourceAccess, RunStep, StoreError,
    Visible,
};

fn is_fenced<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Fenced { .. }))
}

pub(super) async fn fencing_tokens_increase_and_old_ones_are_refused(world: &mut World) {
    let (run, old) = started(world.store().as_ref(), new_run()).await;
    let sibling = start(world.store().as_ref(), run, "second", 1).await;
    assert_eq!(old.epoch, world.store().epoch());
    assert!(sibling.token > old.token);
    world.restart().await;
    let store = world.store().as_ref();
    let taken = store.take_over(at(40)).await.unwrap();
    let new = taken[0].attempts.iter().find(|it| it.fence.attempt_id == old.attempt_id).unwrap().fence;
    assert!((new.epoch, new.token) > (old.epoch, old.token) && new.epoch == store.epoch());
    let never = Fence { attempt_id: AttemptId::new(), ..new };
    for fence in [old, never, Fence { token: new.token + 1, ..new }, Fence { epoch: old.epoch, ..new }] {
        let step = run_becomes(RunState::Succeeded, None);
        assert!(is_fenced(&store.finish_attempt(fence, end(AttemptState::Succeeded), step.clone(), at(50)).await));
        assert!(is_fenced(&store.publish_intent(fence, intent(vec![staged("out", "x", "X", false)]), at(50)).await));
        assert!(is_fenced(&store.published(fence, Visible::default(), step, at(50)).await));
        assert!(is_fenced(&store.record_facts(fence, WriteId::new(), Facts::default(), at(50)).await));
    }
    assert_eq!(
        store.run_progress(run).await.unwrap().unwrap().run.state,
        RunState::Running,
        "a fenced write leaves no trace"
    );
    store.finish_attempt(new, end(AttemptState::Succeeded), RunStep::default(), at(60)).await.unwrap();
}

pub(super) async fn an_ended_attempt_cannot_change(world: &mut World) {
    let store = world.store().as_ref();
    let (_, fence) = started(store, new_run()).await;
    for state in [AttemptState::Running, AttemptState::Publishing] {
        let ended = store.finish_attempt(fence, end(state), RunStep::default(), at(40)).await;
        assert!(matches!(ended, Err(StoreError::Invalid(_))), "{state}");
    }
    store.finish_attempt(fence, end(AttemptState::TimedOut), RunStep::default(), at(40)).await.unwrap();
    assert!(is_fenced(&store.finish_attempt(fence, end(AttemptState::Failed), RunStep::default(), at(41)).await));
    assert!(is_fenced(&store.publish_intent(fence, intent(Vec::new()), at(41)).await));
    assert!(is_fenced(&store.published(fence, Visible::default(), RunStep::default(), at(41)).await));
    assert!(is_fenced(&store.record_facts(fence, WriteId::new(), Facts::default(), at(41)).await));
}

pub(super) async fn an_action_has_one_running_attempt(world: &mut World) {
    let store = world.store().as_ref();
    let (run, fence) = started(store, new_run()).await;
    let second = store.advance(run, WriteId::new(), starts(vec![attempt("first", 2)]), at(40)).await;
    assert!(matches!(second, Err(StoreError::Conflict(_))));
    let unknown = store.advance(run, WriteId::new(), starts(vec![attempt("third", 1)]), at(40)).await;
    assert!(matches!(unknown, Err(StoreError::Conflict(_))));
    let retry = starts(vec![attempt("first", 2)]);
    let next = store.finish_attempt(fence, end(AttemptState::Failed), retry, at(50)).await.unwrap();
    assert_eq!(next.len(), 1);
    let detail = store.run_progress(run).await.unwrap().unwrap();
    let states: Vec<_> = detail.attempts.iter().map(|it| (it.number, it.state)).collect();
    assert_eq!(states, [(1, AttemptState::Failed), (2, AttemptState::Running)]);
    assert_eq!(detail.actions[0].attempts, 2);
}

pub(super) async fn a_failed_step_leaves_nothing(world: &mut World) {
    let store = world.store().as_ref();
    let (run, fence) = started(store, new_run()).await;
    let (before, was) = (newest(store).await, store.run_progress(run).await.unwrap());
    let step = RunStep {
        actions: vec![becomes("first", ActionState::Running, ActionState::Succeeded)],
        starts: vec![attempt("second", 1), attempt("no such action", 1)],
        ..run_becomes(RunState::Failed, None)
    };
    let failed = store.finish_attempt(fence, end(AttemptState::Succeeded), step, at(50)).await;
    assert!(matches!(failed, Err(StoreError::Conflict(_))));
    assert_eq!(store.run_progress(run).await.unwrap(), was);
    assert!(kinds_after(store, before).await.is_empty());
    store.finish_attempt(fence, end(AttemptState::Succeeded), RunStep::default(), at(60)).await.unwrap();
}

pub(super) async fn recovery_gives_new_tokens_to_unfinished_attempts(world: &mut World) {
    let store = world.store().as_ref();
    let (done, fence) = started(store, new_run()).await;
    let step = run_becomes(RunState::Succeeded, None);
    store.finish_attempt(fence, end(AttemptState::Succeeded), step, at(40)).await.unwrap();
    let queued = create(store, new_run()).await.detail.run.id;
    let (running, _) = started(store, new_run()).await;
    let (cancelling, _) = started(store, new_run()).await;
    store.request_cancel(cancelling, at(41)).await.unwrap();
    world.restart().await;
    let store = world.store().as_ref();
    let taken = store.take_over(at(50)).await.unwrap();
    assert_eq!(taken.iter().map(|it| it.detail.run.id).collect::<Vec<_>>(), [queued, running, cancelling]);
    assert_eq!(taken.iter().map(|it| it.attempts.len()).collect::<Vec<_>>(), [0, 1, 1]);
    let attempt = &taken[1].attempts[0];
    assert_eq!((attempt.action.as_str(), &attempt.files, attempt.skip), ("first", &None, false));
    assert_eq!(taken[1].detail.attempts[0].fence, Some(attempt.fence));
    assert_eq!(store.unfinished(running).await.unwrap().unwrap(), taken[1], "the same, without new tokens");
    assert_eq!(store.unfinished(done).await.unwrap(), None);
    assert_eq!(store.unfinished(RunId::new()).await.unwrap(), None);
}

pub(super) async fn the_logs_of_unfinished_runs_are_listed(world: &mut World) {
    let store = world.store().as_ref();
    assert_eq!(store.unfinished_logs().await.unwrap(), []);
    let (run, fence) = started(store, new_run()).await;
    create(store, new_run()).await;
    let from = attempt("first", 1).log_from;
    let at_work = LogRange { from, to: None };
    assert_eq!(store.unfinished_logs().await.unwrap(), [at_work], "a queued run has no log yet");
    let ended = end(AttemptState::Failed);
    let over = LogRange { from, to: Some(ended.log_to) };
    store.finish_attempt(fence, ended, RunStep::default(), at(50)).await.unwrap();
    assert_eq!(store.unfinished_logs().await.unwrap(), [over], "the run continues");
    let fence = start(store, run, "first", 2).await;
    assert_eq!(store.unfinished_logs().await.unwrap().len(), 2);
    store.request_cancel(run, at(60)).await.unwrap();
    assert_eq!(store.unfinished_logs().await.unwrap().len(), 2);
    let step = run_becomes(RunState::Cancelled, None);
    store.finish_attempt(fence, end(AttemptState::Cancelled), step, at(70)).await.unwrap();
    assert_eq!(store.unfinished_logs().await.unwrap(), []);
    store.request_retry(run, &[], WriteId::new(), at(80)).await.unwrap();
    assert_eq!(store.unfinished_logs().await.unwrap().len(), 2, "it has been recovered");
}

fn request(method: &str, status: Option<u16>, error: Option<&str>) -> HttpRequest {
    HttpRequest {
        method: method.to_owned(),
        scheme: "https".to_owned(),
        authority: "api.example.com:443".to_owned(),
        path: "/v1/items".to_owned(),
        outcome: if error.is_some() { RequestOutcome::Denied } else { RequestOutcome::Answered },
        status,
        bytes_sent: 3,
        bytes_received: 70_000,
        duration_us: 1_500,
        error: error.map(str::to_owned),
    }
}

pub(super) async fn attempts_of_a_host_that_was_asked_to_stop_are_marked(world: &mut World) {
    let stopped = async |store: &dyn MetadataStore| {
        let taken = store.take_over(at(40)).await.unwrap();
        taken[0].attempts.iter().map(|it| (it.action.clone(), it.stopped)).collect::<Vec<_>>()
    };
    let first = |stopped| [("first".to_owned(), stopped)];
    let (run, _) = started(world.store().as_ref(), new_run()).await;
    world.restart().await;
    assert_eq!(stopped(world.store().as_ref()).await, first(false), "its host was killed");
    world.store().note_stop().await.unwrap();
    world.restart().await;
    let store = world.store().as_ref();
    assert_eq!(stopped(store).await, first(true));
    let unfinished = store.unfinished(run).await.unwrap().unwrap();
    assert!(unfinished.attempts[0].stopped, "it is read without being taken over");
    // The host that is to hand it back is killed itself, while another attempt is running.
    start(store, run, "second", 1).await;
    world.restart().await;
    let both = [("first".to_owned(), true), ("second".to_owned(), false)];
    assert_eq!(stopped(world.store().as_ref()).await, both, "the request was made to another host");
}

pub(super) async fn accesses_and_usage_are_recorded(world: &mut World) {
    let store = world.store().as_ref();
    record(store, vec![present("a", "A")]).await;
    let input = artifacts_at(store, "raw", "a").await[0].id;
    let (run, fence) = started(store, new_run()).await;
    let ended = AttemptEnd {
        error: Some(ErrorInfo::retryable("unavailable", "the network is down")),
        accesses: vec![
            Access { artifact_id: input, kind: AccessKind::Read, bytes: 7, calls: 2, digest: None },
            Access { artifact_id: ArtifactId::new(), kind: AccessKind::Wrote, bytes: 9, calls: 1, digest: None },
        ],
        denials: vec![Denial { call: "resources.create".to_owned(), target: "x".to_owned(), message: "no".to_owned() }],
        requests: vec![request("GET", Some(200), None), request("POST", None, Some("the host is not granted"))],
        tags: vec![ArtifactTag { artifact_id: input, tag: "seen".to_owned(), unique: false }],
        ..end(AttemptState::Failed)
    };
    store.finish_attempt(fence, ended.clone(), RunStep::default(), at(50)).await.unwrap();
    let attempt = store.run_progress(run).await.unwrap().unwrap().attempts.remove(0);
    assert_eq!((attempt.state, attempt.started_at, attempt.ended_at), (AttemptState::Failed, at(30), Some(at(50))));
    assert_eq!((&attempt.error, &attempt.message, attempt.usage), (&ended.error, &ended.message, ended.usage));
    assert_eq!((attempt.log_from, attempt.log_to), (LogPosition::from_parts((1, 100)), Some(ended.log_to)));
    assert_eq!(attempt.grants, serde_json::json!({ "reads": ["raw"] }));
    assert_eq!(store.denials(run).await.unwrap(), [(attempt.id, ended.denials[0].clone())]);
    assert_eq!(store.denials(RunId::new()).await.unwrap(), []);
    let requests: Vec<_> = ended.requests.iter().map(|request| (attempt.id, request.clone())).collect();
    assert_eq!(store.requests(run).await.unwrap(), requests);
    assert_eq!(store.requests(RunId::new()).await.unwrap(), []);
    let edges = store.lineage(run, all()).await.unwrap().items;
    assert_eq!(edges.len(), 1, "unrecorded artifacts are omitted");
    assert_eq!((edges[0].attempt_id, edges[0].kind, edges[0].bytes), (attempt.id, AccessKind::Read, 7));
    assert_eq!((edges[0].artifact.id, edges[0].action.as_str()), (input, "first"));
    assert!(store.artifact(input).await.unwrap().unwrap().tags.is_empty(), "tags are recorded only on success");
    let next = NewRun { claims: Vec::new(), ..new_run() };
    let (_, fence) = started(store, next).await;
    let ended = AttemptEnd { error: None, state: AttemptState::Succeeded, ..ended };
    store.finish_attempt(fence, ended, RunStep::default(), at(60)).await.unwrap();
    assert_eq!(store.artifact(input).await.unwrap().unwrap().tags, ["seen"]);
}

pub(super) async fn uses_of_an_artifact_are_listed(world: &mut World) {
    let store = world.store().as_ref();
    record(store, vec![present("a", "A"), present("b", "B")]).await;
    let [a, b] = [artifacts_at(store, "raw", "a").await[0].id, artifacts_at(store, "raw", "b").await[0].id];
    let read = |artifact_id, bytes| Access { artifact_id, kind: AccessKind::Read, bytes, calls: 1, digest: None };
    let mut runs = Vec::new();
    for bytes in [5, 7] {
        let (run, fence) = started(store, NewRun { claims: Vec::new(), ..new_run() }).await;
        let ended = AttemptEnd { accesses: vec![read(a, bytes)], ..end(AttemptState::Succeeded) };
        store.finish_attempt(fence, ended, RunStep::default(), at(50)).await.unwrap();
        runs.push((run, fence.attempt_id, bytes));
    }
    let uses = store.uses(a, all()).await.unwrap();
    let seen: Vec<_> = uses.items.iter().rev().map(|it| (it.run_id, it.attempt_id, it.bytes)).collect();
    assert_eq!((seen, uses.next_cursor), (runs, None));
    assert_eq!(uses.items[0].run_number, uses.items[1].run_number + 1, "newest first");
    assert!(uses.items.iter().all(|it| (it.action.as_str(), it.attempt, it.kind) == ("first", 1, AccessKind::Read)));
    let first = store.uses(a, PageRequest { cursor: None, limit: 1 }).await.unwrap();
    let second = store.uses(a, PageRequest { cursor: first.next_cursor, limit: 1 }).await.unwrap();
    assert_eq!((&second.items[..], second.next_cursor), (&uses.items[1..], None));
    assert!(store.uses(b, all()).await.unwrap().items.is_empty());
    assert!(store.uses(ArtifactId::new(), all()).await.unwrap().items.is_empty());
}

pub(super) async fn accesses_of_a_resource_are_summed_for_each_attempt(world: &mut World) {
    let store = world.store().as_ref();
    assert_eq!(store.resource_accesses("raw", 10).await.unwrap(), []);
    record(store, vec![present("a", "A"), present("b", "B")]).await;
    let read = |id, bytes| Access { artifact_id: id, kind: AccessKind::Read, bytes, calls: 1, digest: None };
    let denial = |target: &str| Denial { call: "c".to_owned(), target: target.to_owned(), message: "no".to_owned() };
    let mut accesses = Vec::new();
    for (path, bytes) in [("a", 5), ("b", 7)] {
        accesses.push(read(artifacts_at(store, "raw", path).await[0].id, bytes));
    }
    let mut attempts = Vec::new();
    for denied in [vec![denial("models"), denial("raw")], vec![denial("models")]] {
        let (_, fence) = started(store, NewRun { claims: Vec::new(), ..new_run() }).await;
        let reads = if attempts.is_empty() { accesses.clone() } else { Vec::new() };
        let ended = AttemptEnd { accesses: reads, denials: denied, ..end(AttemptState::Failed) };
        store.finish_attempt(fence, ended, RunStep::default(), at(50)).await.unwrap();
        attempts.push(fence.attempt_id);
    }
    let nothing = AccessSum::default();
    let expected = |attempt: usize, read, denied| ResourceAccess {
        run_number: attempt as u64 + 1,
        attempt_id: attempts[attempt],
        action: "first".to_owned(),
        attempt: 1,
        ended_at: Some(at(50)),
        read,
        wrote: nothing,
        denied,
    };
    let of_raw = expected(0, AccessSum { artifacts: 2, bytes: 12 }, vec![denial("raw")]);
    assert_eq!(store.resource_accesses("raw", 10).await.unwrap(), [of_raw]);
    let of_models = [1, 0].map(|attempt| expected(attempt, nothing, vec![denial("models")]));
    assert_eq!(store.resource_accesses("models", 10).await.unwrap(), of_models);
    assert_eq!(store.resource_accesses("models", 1).await.unwrap(), of_models[..1]);
}

pub(super) async fn attempts_of_an_action_are_listed_newest_run_first(world: &mut World) {
    let store = world.store().as_ref();
    assert_eq!(store.action_attempts("first", all()).await.unwrap().items, []);
    let mut expected = Vec::new();
    for number in 1..=3 {
        let (run, fence) = started(store, new_run()).await;
        start(store, run, "second", 1).await;
        let failed = AttemptEnd { error: Some(ErrorInfo::permanent("limit", "too long")), ..end(AttemptState::Failed) };
        store.finish_attempt(fence, failed, starts(vec![attempt("first", 2)]), at(50)).await.unwrap();
        expected.splice(0..0, [(number, 2, AttemptState::Running), (number, 1, AttemptState::Failed)]);
    }
    let seen = |page: &Page<ActionAttempt>| -> Vec<_> {
        page.items.iter().map(|it| (it.run_number, it.attempt.number, it.attempt.state)).collect()
    };
    let whole = store.action_attempts("first", all()).await.unwrap();
    assert_eq!((seen(&whole), &whole.next_cursor), (expected.clone(), &None));
    let newest = store.run_progress(whole.items[0].attempt.run_id).await.unwrap().unwrap();
    assert_eq!(newest.run.number, 3);
    assert!(newest.attempts.contains(&whole.items[1].attempt), "as in its run: {:?}", whole.items[1]);
    // A page may end between two attempts of a run.
    let (mut paged, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.action_attempts("first", PageRequest { cursor, limit: 1 }).await.unwrap();
        paged.extend(seen(&page));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(paged, expected);
    assert_eq!(store.action_attempts("third", all()).await.unwrap().items, []);
    let foreign = PageRequest { cursor: Some("x".to_owned()), limit: 1 };
    assert!(matches!(store.action_attempts("first", foreign).await, Err(StoreError::Invalid(_))));
}
