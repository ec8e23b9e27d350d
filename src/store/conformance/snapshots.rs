//! Snapshots: what a run sees.

use super::World;
use super::fixtures::*;
use crate::base::RunId;
use crate::store::{MetadataStore, NewRun, PageRequest, SnapshotQuery};

fn of(run: RunId, actions: &[&str]) -> SnapshotQuery {
    SnapshotQuery {
        run,
        resource: "raw".to_owned(),
        actions: actions.iter().map(|it| (*it).to_owned()).collect(),
        prefix: None,
        after: None,
        path: None,
        artifact: None,
    }
}

/// Path and version of all that is seen, in pages of `limit`.
async fn seen(store: &dyn MetadataStore, query: &SnapshotQuery, limit: u32) -> Vec<(String, u64)> {
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.snapshot(query.clone(), PageRequest { cursor, limit }).await.unwrap();
        assert!(page.items.len() <= limit as usize);
        seen.extend(page.items.into_iter().map(|it| (it.path, it.version)));
        cursor = page.next_cursor;
        if cursor.is_none() {
            return seen;
        }
    }
}

fn expect(list: &[(&str, u64)]) -> Vec<(String, u64)> {
    list.iter().map(|(path, version)| ((*path).to_owned(), *version)).collect()
}

pub(super) async fn a_snapshot_shows_the_artifacts_at_the_start_of_the_run(world: &mut World) {
    let store = world.store().as_ref();
    record(store, vec![present("gone before", "x"), gone("gone before"), ignored("pipe", "a FIFO")]).await;
    let there = ["a", "b", "c", "d", "e"].map(|path| present(path, path)).to_vec();
    record(store, there).await;
    record(store, vec![present("b", "b2"), renamed("e", "f")]).await;
    let run = create(store, NewRun { claims: vec![claim(Some(1), 1)], ..new_run() }).await.detail.run.id;
    let then = expect(&[("a", 1), ("b", 2), ("c", 1), ("d", 1), ("f", 1)]);
    assert_eq!(seen(store, &of(run, &[]), 100).await, then);
    let ids = store.snapshot(of(run, &[]), all()).await.unwrap().items;
    // Everything that can happen to a path happens to one.
    let later = vec![
        present("b", "b3"),
        gone("a"),
        present("a", "a2"),
        renamed("c", "g"),
        present("c", "c2"),
        renamed("d", "f"),
        present("new", "n"),
        gone("g"),
    ];
    record(store, later).await;
    for limit in [1, 2, 100] {
        assert_eq!(seen(store, &of(run, &[]), limit).await, then, "the same, in pages of {limit}");
    }
    // Also for the next host, which continues where the sequence stopped.
    world.restart().await;
    let store = world.store().as_ref();
    record(store, vec![present("d", "d2"), gone("b"), present("b", "b4")]).await;
    assert_eq!(seen(store, &of(run, &[]), 2).await, then);
    let after: Vec<_> = store.snapshot(of(run, &[]), all()).await.unwrap().items.iter().map(|it| it.id).collect();
    assert_eq!(after, ids.iter().map(|it| it.id).collect::<Vec<_>>());
    for id in &after {
        let one = SnapshotQuery { artifact: Some(*id), ..of(run, &[]) };
        let found: Vec<_> = store.snapshot(one, all()).await.unwrap().items.iter().map(|it| it.id).collect();
        assert_eq!(found, [*id], "found by id, at any path");
    }
    let next = create(store, new_run()).await.detail.run.id;
    let since = store.snapshot(of(next, &[]), all()).await.unwrap().items;
    let new = since.iter().find(|it| it.path == "new").map(|it| it.id);
    let one = SnapshotQuery { artifact: new, ..of(run, &[]) };
    assert!(new.is_some() && seen(store, &one, 10).await.is_empty(), "later versions are not found by id either");
    let now = expect(&[("a", 2), ("b", 4), ("c", 2), ("d", 2), ("f", 2), ("new", 1)]);
    assert_eq!(seen(store, &of(next, &[]), 2).await, now);
    assert!(seen(store, &of(RunId::new(), &[]), 2).await.is_empty());
}

pub(super) async fn a_snapshot_includes_outputs_of_the_given_actions(world: &mut World) {
    let store = world.store().as_ref();
    record(store, vec![present("a", "A"), present("c", "C")]).await;
    let (run, fence) = started(store, new_run()).await;
    publish(store, fence, vec![staged("raw", "a", "A2", true), staged("raw", "b", "B", false)]).await;
    let second = start(store, run, "second", 1).await;
    publish(store, second, vec![staged("raw", "b", "B2", true), staged("other", "z", "Z", false)]).await;
    let before = expect(&[("a", 1), ("c", 1)]);
    assert_eq!(seen(store, &of(run, &[]), 10).await, before, "its own outputs are not included");
    let first = expect(&[("a", 2), ("b", 1), ("c", 1)]);
    assert_eq!(seen(store, &of(run, &["first"]), 10).await, first);
    let both = expect(&[("a", 2), ("b", 2), ("c", 1)]);
    for limit in [1, 2, 10] {
        assert_eq!(seen(store, &of(run, &["first", "second"]), limit).await, both, "the last version written");
    }
    let one = |path: &str| SnapshotQuery { path: Some(path.to_owned()), ..of(run, &["first", "second"]) };
    assert_eq!(seen(store, &one("a"), 10).await, expect(&[("a", 2)]), "by its path");
    assert_eq!(seen(store, &one("b"), 10).await, expect(&[("b", 2)]));
    let after = SnapshotQuery { after: Some("a".to_owned()), ..of(run, &["first", "second"]) };
    assert_eq!(seen(store, &after, 1).await, expect(&[("b", 2), ("c", 1)]));
    let only = store.outputs(run, "raw", &["first".to_owned(), "second".to_owned()]).await.unwrap();
    assert_eq!(only.iter().map(|it| (it.path.as_str(), it.version)).collect::<Vec<_>>(), [("a", 2), ("b", 2)]);
    // What comes from outside, or from another run, changes nothing.
    record(store, vec![gone("b"), present("a", "A3")]).await;
    let (_, fence) = started(store, new_run()).await;
    publish(store, fence, vec![staged("raw", "c", "C2", true)]).await;
    assert_eq!(seen(store, &of(run, &["first", "second"]), 1).await, both);
    assert_eq!(seen(store, &of(run, &["first"]), 1).await, first);
}

pub(super) async fn snapshots_are_filtered_by_prefix_and_path_and_paged(world: &mut World) {
    let store = world.store().as_ref();
    let paths = ["a", "a/1", "a/2", "a0", "b/ä", "b/é", "z"];
    record(store, paths.map(|path| present(path, path)).to_vec()).await;
    let run = create(store, new_run()).await.detail.run.id;
    let query = of(run, &[]);
    let names =
        async |query: SnapshotQuery| seen(store, &query, 2).await.into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    assert_eq!(names(query.clone()).await, paths);
    assert_eq!(names(SnapshotQuery { prefix: Some("a/".to_owned()), ..query.clone() }).await, ["a/1", "a/2"]);
    assert_eq!(names(SnapshotQuery { prefix: Some("b/ä".to_owned()), ..query.clone() }).await, ["b/ä"]);
    assert_eq!(names(SnapshotQuery { after: Some("a/2".to_owned()), ..query.clone() }).await, paths[3..]);
    assert_eq!(names(SnapshotQuery { path: Some("a".to_owned()), ..query.clone() }).await, ["a"]);
    assert!(names(SnapshotQuery { path: Some("A".to_owned()), ..query.clone() }).await.is_empty());
    let both = SnapshotQuery { prefix: Some("a".to_owned()), after: Some("a/1".to_owned()), ..query };
    assert_eq!(names(both).await, ["a/2", "a0"]);
}
