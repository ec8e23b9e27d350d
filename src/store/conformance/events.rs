//! Events: dense, in order, and with all that a reader needs.

use std::sync::Arc;
use std::time::Duration;

use super::World;
use super::fixtures::*;
use crate::model::EventKind;
use crate::store::{RunStep, StoreError};

pub(super) async fn events_are_numbered_without_gaps_and_wake_subscribers(world: &mut World) {
    let store = Arc::clone(world.store());
    store.register_revision(revision(), at(0)).await.unwrap();
    let mut told = store.newest_event();
    let follower = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut seen: Vec<u64> = Vec::new();
            while seen.last() != Some(&202) {
                told.changed().await.unwrap();
                told.borrow_and_update();
                let after = seen.last().copied().unwrap_or(0);
                seen.extend(store.events(after, None, 1_000).await.unwrap().iter().map(|event| event.seq));
            }
            seen
        })
    };
    let writers: Vec<_> = (0..10)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for n in 0..20 {
                    record(store.as_ref(), vec![present(&format!("{writer}-{n}"), "x")]).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let seen = tokio::time::timeout(Duration::from_mins(1), follower).await.unwrap().unwrap();
    assert_eq!(seen, (1..=202).collect::<Vec<_>>(), "the host, the manifest, and 200 artifacts");
    assert_eq!(*store.newest_event().borrow(), 202);
    let all = events(store.as_ref()).await;
    assert_eq!(all[0].kind, EventKind::HostStarted);
    assert!(all.iter().all(|event| event.epoch == store.epoch() && event.v == 1));
    assert_eq!(store.events(0, None, 7).await.unwrap().len(), 7);
    assert_eq!(store.events(200, None, 100).await.unwrap().len(), 2);
    assert!(store.events(u64::MAX, None, 100).await.unwrap().is_empty());
}

pub(super) async fn failed_writes_leave_no_gap(world: &mut World) {
    let store = Arc::clone(world.store());
    let run = create(store.as_ref(), new_run()).await.detail.run.id;
    let work: Vec<_> = (0..60)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                if n % 3 == 0 {
                    // Starts one attempt, with an event, and then fails: all of it is undone.
                    let step = RunStep {
                        starts: vec![attempt("first", n + 1), attempt("no such action", 1)],
                        ..RunStep::default()
                    };
                    let failed = store.advance(run, WriteId::new(), step, at(30)).await;
                    assert!(matches!(failed, Err(StoreError::Conflict(_))));
                } else {
                    record(store.as_ref(), vec![present(&format!("{n}"), "x")]).await;
                }
            })
        })
        .collect();
    for task in work {
        task.await.unwrap();
    }
    let all = events(store.as_ref()).await;
    let seqs: Vec<_> = all.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=all.len() as u64).collect::<Vec<_>>());
    assert_eq!(all.iter().filter(|event| event.kind == EventKind::ArtifactRecorded).count(), 40);
    assert_eq!(all.iter().filter(|event| event.kind == EventKind::AttemptStarted).count(), 0);
    assert!(store.run_progress(run).await.unwrap().unwrap().attempts.is_empty());
}

pub(super) async fn pruning_keeps_the_newest_events(world: &mut World) {
    let store = world.store().as_ref();
    assert_eq!(store.oldest_event().await.unwrap(), 1);
    for n in 0..20 {
        record(store, vec![present(&format!("{n}"), "x")]).await;
    }
    store.prune_events(100).await.unwrap();
    assert_eq!(store.oldest_event().await.unwrap(), 1);
    store.prune_events(5).await.unwrap();
    assert_eq!(store.oldest_event().await.unwrap(), 17);
    let left: Vec<_> = events(store).await.iter().map(|event| event.seq).collect();
    assert_eq!(left, [17, 18, 19, 20, 21]);
    store.prune_events(0).await.unwrap();
    assert!(events(store).await.is_empty());
    assert_eq!(store.oldest_event().await.unwrap(), 22, "one more than the newest");
    world.restart().await;
    let store = world.store().as_ref();
    assert_eq!(store.oldest_event().await.unwrap(), 22, "numbers continue where they stopped");
    assert_eq!(events(store).await[0].kind, EventKind::HostStarted);
}
