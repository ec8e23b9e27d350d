//! Writes that are repeated because their first answer was lost. (That the suite as a whole holds
//! for a store that loses answers is shown by running it over one, see `lossy`.)

use super::World;
use super::fixtures::*;
use crate::model::{ActionState, AttemptState, Entry, Facts, Metric, RunState, TickOutcome};
use crate::store::{Batch, FactQuery, MetadataStore, NewRun, RunStep, StoreError, Visible};

/// Everything that a store returns of a run.
async fn seen(store: &dyn MetadataStore) -> impl PartialEq + std::fmt::Debug + use<> {
    let runs = store.runs(crate::store::RunQuery::default(), all()).await.unwrap().items;
    let mut details = Vec::new();
    for run in &runs {
        let progress = store.run_progress(run.id).await.unwrap();
        let lineage = store.lineage(run.id, all()).await.unwrap().items;
        details.push((progress, inputs_of(store, run.id).await, lineage));
    }
    let facts = FactQuery::default();
    let metrics = store.metrics(facts.clone(), all()).await.unwrap();
    let params = store.params(facts.clone(), all()).await.unwrap();
    let tags = store.tags(facts, all()).await.unwrap();
    let ticks = store.ticks(crate::store::TickQuery::default(), all()).await.unwrap();
    let artifacts = store.artifacts(crate::store::ArtifactQuery::default(), all()).await.unwrap();
    (details, metrics, params, tags, ticks, artifacts, store.open_intents().await.unwrap(), events(store).await)
}

/// Makes a write twice, and checks that the repeat returns the same answer and changes nothing. The
/// arguments are values: an expression that makes an id would make two.
macro_rules! twice {
    ($store:ident.$write:ident($($argument:expr),*)) => {{
        let first = $store.$write($($argument.clone()),*).await.unwrap();
        let before = seen($store).await;
        let second = $store.$write($($argument.clone()),*).await.unwrap();
        assert_eq!(second, first, stringify!($write));
        assert_eq!(seen($store).await, before, stringify!($write));
        first
    }};
}

pub(super) async fn a_repeated_write_returns_the_first_result_and_changes_nothing(world: &mut World) {
    let store = world.store().as_ref();
    twice!(store.register_revision(revision(), at(1)));
    twice!(store.set_paused(true, at(2)));
    let batch = Batch::new(vec![present("a", "A"), renamed("a", "b"), present("a", "C")], u64::MAX);
    twice!(store.record("raw", batch, at(3)));
    let first = attempt("first", 1);
    let step = RunStep { starts: vec![first], ..RunStep::default() };
    let new = NewRun { step, ..new_run() };
    let created = twice!(store.create_run(new, at(4))).unwrap();
    assert_eq!((created.started.len(), created.inputs.items.len()), (1, 2));
    let (run, fence) = (created.detail.run.id, created.started[0].fence);
    let facts = Facts {
        metrics: vec![Metric { name: "loss".to_owned(), value: 0.5, step: None }],
        params: vec![Entry { name: "lr".to_owned(), value: "1".to_owned() }],
        tags: vec![Entry { name: "team".to_owned(), value: "x".to_owned() }],
    };
    let id = WriteId::new();
    twice!(store.record_facts(fence, id, facts, at(5)));
    assert_eq!(store.metrics(FactQuery::default(), all()).await.unwrap().items.len(), 1);
    // The same facts under another id are recorded again: a guest may report a loss twice.
    let id = WriteId::new();
    twice!(store.record_facts(fence, id, facts, at(6)));
    assert_eq!(store.metrics(FactQuery::default(), all()).await.unwrap().items.len(), 2);
    let outputs = intent(vec![staged("models", "m", "M", false)]);
    twice!(store.publish_intent(fence, outputs, at(7)));
    let step = RunStep { starts: vec![attempt("second", 1)], ..RunStep::default() };
    let second = twice!(store.published(fence, Visible::default(), step, at(8)))[0].fence;
    let step = RunStep { starts: vec![attempt("second", 2)], ..RunStep::default() };
    let third = twice!(store.finish_attempt(second, end(AttemptState::Failed), step, at(9)))[0].fence;
    twice!(store.request_cancel(run, at(10)));
    twice!(store.finish_attempt(third, end(AttemptState::Cancelled), RunStep::default(), at(11)));
    let stop = RunStep {
        actions: vec![becomes("second", ActionState::Running, ActionState::Cancelled)],
        ..run_becomes(RunState::Cancelled, Some("on request"))
    };
    let (stopped, retried, resumed) = (WriteId::new(), WriteId::new(), WriteId::new());
    twice!(store.advance(run, stopped, stop, at(12)));
    let again: &[String] = &[];
    twice!(store.request_retry(run, again, retried, at(13)));
    let step = starts(vec![attempt("second", 3)]);
    let fourth = twice!(store.advance(run, resumed, step, at(14)))[0].fence;
    let taken = twice!(store.take_over(at(15)));
    assert_eq!(taken[0].attempts[0].fence, fourth, "it already belongs to this epoch");
    let tick = crate::model::Tick {
        seq: 0,
        trigger: "raw".to_owned(),
        resource: Some("raw".to_owned()),
        time: at(16),
        outcome: TickOutcome::NotReady,
        reason: "1 of 5".to_owned(),
        run_id: None,
        conditions: Vec::new(),
    };
    twice!(store.record_tick(tick));
    twice!(store.prune_events(5));
}

pub(super) async fn a_repeated_write_is_recognised_after_other_writes(world: &mut World) {
    let store = world.store().as_ref();
    let (run, fence) = started(store, new_run()).await;
    store.finish_attempt(fence, end(AttemptState::Failed), RunStep::default(), at(40)).await.unwrap();
    let (id, step) = (WriteId::new(), run_becomes(RunState::Failed, Some("first failed")));
    store.advance(run, id, step.clone(), at(41)).await.unwrap();
    // Someone retries the run before the driver repeats the step that ended it.
    store.request_retry(run, &[], WriteId::new(), at(42)).await.unwrap();
    assert!(store.advance(run, id, step, at(43)).await.unwrap().is_empty());
    let state = store.run_progress(run).await.unwrap().unwrap().run.state;
    assert_eq!(state, RunState::Running, "the retry remains recorded");

    // Someone cancels a run before its creator has heard that it exists.
    let new = NewRun { step: starts(vec![attempt("first", 1)]), ..new_run() };
    let created = create(store, new.clone()).await;
    store.request_cancel(new.id, at(44)).await.unwrap();
    let again = store.create_run(new, at(45)).await.unwrap().unwrap();
    assert_eq!((again.detail, again.started), (created.detail, created.started));
}

pub(super) async fn an_older_host_gets_no_token_from_a_repeated_write(world: &mut World) {
    let store = world.store().as_ref();
    let new = NewRun { step: starts(vec![attempt("first", 1)]), ..new_run() };
    let created = create(store, new.clone()).await;
    let (first, step) = (created.started[0].fence, starts(vec![attempt("second", 1)]));
    store.finish_attempt(first, end(AttemptState::Succeeded), step.clone(), at(40)).await.unwrap();
    world.restart().await;
    let store = world.store().as_ref();
    // The token on record is the old host's before the new one has taken over, and the new one's
    // afterwards.
    let again = store.create_run(new.clone(), at(50)).await;
    assert!(matches!(again, Err(StoreError::Fenced { .. })), "{again:?}");
    store.take_over(at(51)).await.unwrap();
    let again = store.finish_attempt(first, end(AttemptState::Succeeded), step, at(52)).await;
    assert!(matches!(again, Err(StoreError::Fenced { .. })), "{again:?}");
}
