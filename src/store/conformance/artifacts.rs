//! Observations of resources.

use super::World;
use super::fixtures::*;
use crate::base::Digest;
use crate::model::ArtifactState::{Current, Deleted, Ignored, New, Old, Superseded};
use crate::model::EventKind::{ArtifactDeleted, ArtifactIgnored, ArtifactRecorded, ArtifactSuperseded};
use crate::model::{Access, AccessKind, ArtifactState, AttemptState, Observation, RunState};
use crate::store::{AttemptEnd, Batch, PageRequest, RunStep, SnapshotQuery};

pub(super) async fn equal_bytes_make_one_new_version(world: &mut World) {
    let store = world.store().as_ref();
    assert_eq!(record(store, vec![present("a.csv", "A"), present("a.csv", "A")]).await.new, 1);
    let mut again = present("a.csv", "A");
    if let Observation::Present { stamp, .. } = &mut again {
        *stamp = "touched".to_owned();
    }
    let before = newest(store).await;
    let recorded = record(store, vec![again]).await;
    assert_eq!((recorded.new, recorded.pending.count), (0, 1));
    assert_eq!(versions(store, "a.csv").await, [(1, New, true)]);
    assert_eq!(store.known("raw", all()).await.unwrap().items[0].stamp, "touched", "the stamp is kept");
    assert!(kinds_after(store, before).await.is_empty());
    let other = store.record("other", Batch::new(vec![present("a.csv", "A")], u64::MAX), at(1)).await.unwrap();
    assert_eq!(other.new, 1, "resources are independent");
}

pub(super) async fn a_b_a_makes_three_versions(world: &mut World) {
    let store = world.store().as_ref();
    let recorded = record(store, vec![present("a", "A"), present("a", "B"), present("a", "A")]).await;
    assert_eq!((recorded.new, recorded.pending.count), (3, 1));
    assert_eq!(versions(store, "a").await, [(1, Superseded, false), (2, Superseded, false), (3, New, true)]);
}

pub(super) async fn unclaimed_versions_are_superseded_or_deleted(world: &mut World) {
    let store = world.store().as_ref();
    let before = newest(store).await;
    record(store, vec![present("a", "A"), present("a", "B"), gone("a"), gone("a"), gone("never there")]).await;
    assert_eq!(versions(store, "a").await, [(1, Superseded, false), (2, Deleted, false)]);
    assert_eq!(
        kinds_after(store, before).await,
        [ArtifactRecorded, ArtifactSuperseded, ArtifactRecorded, ArtifactDeleted]
    );
    assert!(store.known("raw", all()).await.unwrap().items.is_empty());
}

pub(super) async fn claimed_versions_are_never_changed(world: &mut World) {
    let store = world.store().as_ref();
    record(store, vec![present("a", "A"), present("b", "B")]).await;
    let run = create(store, new_run()).await.detail.run.id;
    let recorded = record(store, vec![present("a", "A2"), gone("b")]).await;
    assert_eq!((recorded.new, recorded.pending.count), (1, 1));
    assert_eq!(versions(store, "a").await, [(1, Current, false), (2, New, true)]);
    assert_eq!(versions(store, "b").await, [(1, Current, false)]);
    store.advance(run, WriteId::new(), run_becomes(RunState::Failed, Some("no")), at(60)).await.unwrap();
    assert_eq!(versions(store, "a").await, [(1, Old, false), (2, New, true)]);
    let claimed: Vec<_> = inputs_of(store, run).await.into_iter().map(|it| it.path).collect();
    assert_eq!(claimed, ["a", "b"]);
}

pub(super) async fn renames_keep_id_claim_and_version(world: &mut World) {
    let store = world.store().as_ref();
    record(store, vec![present("a", "A"), present("c", "C1"), present("c", "C2")]).await;
    let id = artifacts_at(store, "raw", "a").await[0].id;
    let run = create(store, new_run()).await.detail.run.id;
    let recorded = record(store, vec![renamed("a", "b"), renamed("not on record", "x")]).await;
    assert_eq!((recorded.new, recorded.pending.count), (0, 0));
    let moved = store.artifact(id).await.unwrap().unwrap();
    assert_eq!((moved.path.as_str(), moved.version, moved.state, moved.run_id), ("b", 1, Current, Some(run)));
    assert_eq!((moved.stamp.as_str(), moved.present), ("stamp at b", true));
    // At a path that has had two versions, it becomes the third, and replaces the file there.
    record(store, vec![renamed("b", "c")]).await;
    assert_eq!(store.artifact(id).await.unwrap().unwrap().version, 3);
    assert_eq!(versions(store, "c").await, [(3, Current, true), (1, Superseded, false), (2, Current, false)]);
    // The old path continues with the next number: no version number of a path is used twice.
    record(store, vec![present("a", "A")]).await;
    assert_eq!(versions(store, "a").await, [(2, New, true)]);
    let inputs = inputs_of(store, run).await;
    assert_eq!(inputs[0].id, id, "the claim is found by id");
    assert!(store.pending("raw").await.unwrap().count == 1);
    record(store, vec![renamed("c", "c")]).await;
    assert_eq!(store.artifact(id).await.unwrap().unwrap().version, 3, "a rename onto itself changes nothing");
}

pub(super) async fn ignored_entries_are_recorded_and_never_pending(world: &mut World) {
    let store = world.store().as_ref();
    let before = newest(store).await;
    let recorded = record(store, vec![ignored("pipe", "a FIFO"), ignored("pipe", "a FIFO")]).await;
    assert_eq!((recorded.new, recorded.pending.count), (0, 0));
    assert_eq!(kinds_after(store, before).await, [ArtifactIgnored]);
    let known = store.known("raw", all()).await.unwrap().items;
    assert_eq!((known[0].path.as_str(), known[0].state, known[0].digest), ("pipe", Ignored, None));
    assert!(create(store, new_run()).await.inputs.items.is_empty());
    assert_eq!(record(store, vec![present("pipe", "now a file")]).await.new, 1);
    assert_eq!(versions(store, "pipe").await, [(1, Ignored, false), (2, New, true)]);
    record(store, vec![ignored("pipe", "a socket")]).await;
    assert_eq!(versions(store, "pipe").await[1], (2, Superseded, false));
    assert_eq!(store.pending("raw").await.unwrap().count, 0);
    assert_eq!(artifacts_at(store, "raw", "pipe").await[0].reason.as_deref(), Some("a socket"));
}

pub(super) async fn pending_counts_new_versions(world: &mut World) {
    let store = world.store().as_ref();
    assert_eq!(store.pending("raw").await.unwrap().count, 0);
    store.record("raw", Batch::new(vec![present("a", "12345"), present("b", "123")], u64::MAX), at(1)).await.unwrap();
    let recorded = store.record("raw", Batch::new(vec![present("c", "1")], u64::MAX), at(2)).await.unwrap();
    assert_eq!(recorded.pending, store.pending("raw").await.unwrap());
    let pending = recorded.pending;
    assert_eq!((pending.count, pending.bytes), (3, 9));
    assert_eq!((pending.oldest_at, pending.newest_at), (Some(at(1)), Some(at(2))));
    store.record("raw", Batch::new(vec![gone("a"), present("b", "1234")], u64::MAX), at(3)).await.unwrap();
    let pending = store.pending("raw").await.unwrap();
    assert_eq!((pending.count, pending.bytes), (2, 5));
    assert_eq!((pending.oldest_at, pending.newest_at), (Some(at(2)), Some(at(3))));
    assert_eq!(store.pending("other").await.unwrap().count, 0);
}

pub(super) async fn a_deleted_path_that_comes_back_is_a_new_version(world: &mut World) {
    let store = world.store().as_ref();
    record(store, vec![present("a", "A")]).await;
    create(store, new_run()).await;
    assert_eq!(record(store, vec![gone("a"), present("a", "A")]).await.new, 1);
    let states: Vec<ArtifactState> = versions(store, "a").await.iter().map(|it| it.1).collect();
    assert_eq!(states, [Current, New]);
}

/// Paths of 4,000 bytes, which differ only at their ends.
pub(super) async fn long_paths_are_told_apart_and_in_order(world: &mut World) {
    let store = world.store().as_ref();
    // Digests, because a database may compress what repeats itself.
    let begin: String = (0..63_u8).map(|number| Digest::of(&[number]).to_string().replace("sha256:", "")).collect();
    let [a, b, c, d, out] = ["a", "b", "c", "d", "e"].map(|end| format!("{}{end}", &begin[..3_999]));
    record(store, vec![present(&c, "C"), present(&a, "A"), present(&a, "A2"), ignored(&b, "its name")]).await;
    assert_eq!(versions(store, &a).await, [(1, Superseded, false), (2, New, true)]);
    assert_eq!(versions(store, &b).await, [(1, Ignored, true)]);
    let (run, fence) = started(store, new_run()).await;
    record(store, vec![renamed(&c, &d), present(&c, "C2")]).await;
    assert_eq!(versions(store, &c).await, [(2, New, true)], "its version 1 has another path now");
    assert_eq!(versions(store, &d).await, [(1, Current, true)]);
    publish(store, fence, vec![staged("raw", &out, "E", false)]).await;
    let (mut lying, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.known("raw", PageRequest { cursor, limit: 2 }).await.unwrap();
        lying.extend(page.items.into_iter().map(|known| known.path));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(lying, [&a, &b, &c, &d, &out].map(String::clone));
    let present = store.present_artifacts("raw", all()).await.unwrap().items;
    assert_eq!(present.iter().map(|it| &it.path).collect::<Vec<_>>(), [&a, &c, &d, &out]);
    let query = SnapshotQuery {
        run,
        resource: "raw".to_owned(),
        actions: vec!["first".to_owned()],
        prefix: Some(begin[..3_999].to_owned()),
        after: None,
        path: None,
        artifact: None,
    };
    let seen = store.snapshot(query.clone(), all()).await.unwrap().items;
    assert_eq!(seen.iter().map(|it| &it.path).collect::<Vec<_>>(), [&a, &c, &out]);
    let one =
        store.snapshot(SnapshotQuery { path: Some(c.clone()), prefix: None, ..query }, all()).await.unwrap().items;
    assert_eq!(one.iter().map(|it| (&it.path, it.version)).collect::<Vec<_>>(), [(&c, 1)]);
    let outputs = store.outputs(run, "raw", &["first".to_owned()]).await.unwrap();
    assert_eq!(outputs.iter().map(|it| &it.path).collect::<Vec<_>>(), [&out]);
}

/// Observations that undo each other: recorded twice, they would make versions that never existed.
pub(super) async fn a_batch_is_recorded_once(world: &mut World) {
    let store = world.store().as_ref();
    record(store, vec![present("a", "A")]).await;
    let batch = Batch::new(vec![renamed("a", "b"), present("a", "B"), present("c", "1"), present("c", "2")], u64::MAX);
    let before = newest(store).await;
    let first = store.record("raw", batch.clone(), at(11)).await.unwrap();
    let (told, lying) = (kinds_after(store, before).await, store.known("raw", all()).await.unwrap().items);
    assert_eq!((first.new, first.pending.count, lying.len()), (3, 3, 3));
    assert_eq!(store.record("raw", batch.clone(), at(12)).await.unwrap(), first);
    assert_eq!(kinds_after(store, before).await, told);
    assert_eq!(store.known("raw", all()).await.unwrap().items, lying);
    assert_eq!(versions(store, "c").await, [(1, Superseded, false), (2, New, true)]);
    let elsewhere = store.record("other", batch, at(13)).await.unwrap();
    assert_eq!(elsewhere.new, 3, "batches are numbered per resource");
}

pub(super) async fn the_cursor_of_the_last_batch_with_one_is_kept(world: &mut World) {
    let store = world.store().as_ref();
    assert_eq!(store.cursor("raw").await.unwrap(), None);
    let batch = |seen, cursor: Option<&str>| Batch { cursor: cursor.map(str::to_owned), ..Batch::new(seen, u64::MAX) };
    let first = batch(vec![present("a", "A")], Some("one"));
    store.record("raw", first.clone(), at(1)).await.unwrap();
    store.record("raw", first, at(1)).await.unwrap();
    store.record("raw", batch(Vec::new(), Some("two")), at(2)).await.unwrap();
    store.record("raw", batch(vec![present("b", "B")], None), at(3)).await.unwrap();
    store.record("other", batch(Vec::new(), Some("other")), at(4)).await.unwrap();
    world.restart().await;
    let store = world.store().as_ref();
    assert_eq!(store.cursor("raw").await.unwrap().as_deref(), Some("two"));
    assert_eq!(store.known("raw", all()).await.unwrap().items.len(), 2);
}

/// A resource for which reading is expensive reports stamps without digests.
pub(super) async fn without_a_digest_a_version_is_identified_by_its_stamp(world: &mut World) {
    let store = world.store().as_ref();
    let seen = |stamp: &str, digest| {
        vec![Observation::Present { path: "a".to_owned(), digest, size: 5, stamp: stamp.to_owned() }]
    };
    assert_eq!(record(store, seen("etag 1", None)).await.new, 1);
    assert_eq!(record(store, seen("etag 1", None)).await.new, 0);
    assert_eq!(record(store, seen("etag 2", None)).await.new, 1);
    assert_eq!(versions(store, "a").await, [(1, Superseded, false), (2, New, true)]);
    let (_, fence) = started(store, new_run()).await;
    let second = artifacts_at(store, "raw", "a").await.remove(0);
    assert_eq!((second.digest, second.size), (None, 5));
    let digest = Digest::of(b"12345");
    let access = Access { artifact_id: second.id, kind: AccessKind::Read, bytes: 5, calls: 1, digest: Some(digest) };
    let ended = AttemptEnd { accesses: vec![access], ..end(AttemptState::Succeeded) };
    store.finish_attempt(fence, ended, RunStep::default(), at(40)).await.unwrap();
    assert_eq!(artifacts_at(store, "raw", "a").await[0].digest, Some(digest), "the artifact was read");
    assert_eq!(record(store, seen("etag 2", None)).await.new, 0, "the stamp is still the same");
    assert_eq!(record(store, seen("etag 3", Some(digest))).await.new, 0, "the same bytes");
    assert_eq!(record(store, seen("etag 4", None)).await.new, 1);
}
