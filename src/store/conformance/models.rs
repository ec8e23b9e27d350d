//! The model registry.

use std::sync::Arc;

use serde_json::json;

use super::World;
use super::fixtures::*;
use crate::base::ArtifactId;
use crate::model::{
    Access, AccessKind, AliasMove, ArtifactTag, AttemptState, Event, EventKind, Fence, ModelVersion, RunState,
    StagedFile,
};
use crate::store::{
    AliasTarget, AttemptEnd, Intent, MetadataStore, NewModelVersion, PageRequest, RunQuery, RunStep, RunsToKeep,
    StoreError, Visible,
};

fn version(model: &str, artifact: ArtifactId) -> NewModelVersion {
    let (by, note) = (Some("ann".to_owned()), Some("by hand".to_owned()));
    NewModelVersion { model: model.to_owned(), artifact, by, note }
}

fn target(alias: &str, version: Option<u64>) -> AliasTarget {
    let (by, note) = (Some("ann".to_owned()), Some("better".to_owned()));
    AliasTarget { model: "penguins".to_owned(), alias: alias.to_owned(), version, by, note }
}

/// Writes these files as outputs of a run that succeeds. Those in `models` become versions of
/// `penguins`.
async fn run(store: &dyn MetadataStore, files: Vec<StagedFile>, tags: Vec<ArtifactTag>) -> Fence {
    let (_, fence) = started(store, new_run()).await;
    let access = |file: &StagedFile| Access {
        artifact_id: file.artifact_id,
        kind: AccessKind::Wrote,
        bytes: 7,
        calls: 1,
        digest: None,
    };
    let ended = AttemptEnd { accesses: files.iter().map(access).collect(), tags, ..end(AttemptState::Succeeded) };
    let models = vec![("models".to_owned(), "penguins".to_owned())];
    store.publish_intent(fence, Intent { end: ended, models, ..intent(files) }, at(40)).await.unwrap();
    store.published(fence, Visible::default(), run_becomes(RunState::Succeeded, None), at(50)).await.unwrap();
    fence
}

/// Writes a file as `path` to `models`, and returns the artifact.
async fn model(store: &dyn MetadataStore, path: &str) -> ArtifactId {
    let file = staged("models", path, path, false);
    let id = file.artifact_id;
    run(store, vec![file], Vec::new()).await;
    id
}

async fn promote(store: &dyn MetadataStore, alias: &str, version: u64) -> AliasMove {
    store.move_alias(target(alias, Some(version)), WriteId::new(), at(70)).await.unwrap()
}

async fn roll_back(store: &dyn MetadataStore, alias: &str) -> AliasMove {
    store.move_alias(target(alias, None), WriteId::new(), at(80)).await.unwrap()
}

async fn versions(store: &dyn MetadataStore, model: &str) -> Vec<ModelVersion> {
    store.model_versions(model, all()).await.unwrap().items
}

/// The aliases of `penguins`, each with its version.
async fn aliases(store: &dyn MetadataStore) -> Vec<(String, u64)> {
    let model = store.model("penguins").await.unwrap().unwrap();
    model.aliases.into_iter().map(|alias| (alias.alias, alias.version)).collect()
}

async fn moves(store: &dyn MetadataStore) -> Vec<AliasMove> {
    store.alias_moves("penguins", all()).await.unwrap().items
}

/// The paths in `models` that have a tag.
async fn tagged(store: &dyn MetadataStore, tag: &str) -> Vec<String> {
    let page = store.present_artifacts("models", all()).await.unwrap();
    page.items.into_iter().filter(|it| it.tags.iter().any(|other| other == tag)).map(|it| it.path).collect()
}

async fn told(store: &dyn MetadataStore, after: u64, kind: EventKind) -> Vec<Event> {
    let events = store.events(after, None, 1_000).await.unwrap();
    events.into_iter().filter(|event| event.kind == kind).collect()
}

pub(super) async fn versions_are_counted_for_each_model_and_registered_once(world: &mut World) {
    let store = world.store().as_ref();
    record(store, vec![present("a", "A"), present("b", "B")]).await;
    let [a, b] =
        [artifacts_at(store, "raw", "a").await.remove(0).id, artifacts_at(store, "raw", "b").await.remove(0).id];
    let before = newest(store).await;
    assert_eq!(store.register_version(version("penguins", a), at(1)).await.unwrap(), 1);
    assert_eq!(store.register_version(version("penguins", b), at(2)).await.unwrap(), 2);
    assert_eq!(store.register_version(version("others", b), at(3)).await.unwrap(), 1);
    let again = NewModelVersion { by: None, ..version("penguins", a) };
    assert_eq!(store.register_version(again, at(4)).await.unwrap(), 1, "as it was registered first");
    world.restart().await;
    let store = world.store().as_ref();
    let listed = versions(store, "penguins").await;
    assert_eq!(listed.iter().map(|it| (it.version, it.artifact.id)).collect::<Vec<_>>(), [(2, b), (1, a)]);
    let first = &listed[1];
    assert_eq!((first.by.as_deref(), first.note.as_deref()), (Some("ann"), Some("by hand")));
    assert_eq!((first.registered_at, first.run_id, first.action.as_deref()), (at(1), None, None));
    let told = told(store, before, EventKind::ModelVersionRegistered).await;
    assert_eq!(told.len(), 3);
    let data = json!({ "model": "penguins", "version": 2, "resource": "raw", "path": "b", "by": "ann" });
    assert_eq!((&told[1].data, told[1].artifact_id), (&data, Some(b)));
    assert_eq!(store.model("nothing").await.unwrap(), None);
    assert_eq!(versions(store, "nothing").await, []);
}

pub(super) async fn outputs_become_versions_when_they_are_committed(world: &mut World) {
    let store = world.store().as_ref();
    let before = newest_or_none(store).await;
    let (one, other) = (staged("models", "m1", "one", false), staged("reports", "r1", "report", false));
    let id = one.artifact_id;
    let fence = run(store, vec![one, other], Vec::new()).await;
    // The same bytes at the same path are the same artifact, and no other version.
    run(store, vec![staged("models", "m1", "one", true), staged("models", "m2", "two", false)], Vec::new()).await;
    let listed = versions(store, "penguins").await;
    let told_of = |it: &ModelVersion| (it.version, it.artifact.path.clone(), it.run_number, it.action.clone());
    let first = Some("first".to_owned());
    assert_eq!(
        listed.iter().map(told_of).collect::<Vec<_>>(),
        [(2, "m2".to_owned(), Some(2), first.clone()), (1, "m1".to_owned(), Some(1), first)]
    );
    assert_eq!((listed[1].by.as_deref(), listed[1].registered_at), (None, at(40)));
    let told = told(store, before, EventKind::ModelVersionRegistered).await;
    let data = json!({ "model": "penguins", "version": 1, "resource": "models", "path": "m1", "by": null });
    assert_eq!((&told[0].data, told[0].artifact_id, told[0].attempt), (&data, Some(id), Some(fence.attempt_id)));
    assert_eq!((told[0].run_id, told[0].action.as_deref()), (listed[1].run_id, Some("first")));
}

async fn newest_or_none(store: &dyn MetadataStore) -> u64 {
    events(store).await.last().map_or(0, |event| event.seq)
}

pub(super) async fn an_alias_is_moved_and_rolled_back_with_its_tag(world: &mut World) {
    let store = world.store().as_ref();
    let first = model(store, "m1").await;
    let second = model(store, "m2").await;
    model(store, "m3").await;
    let before = newest(store).await;
    let moved = promote(store, "production", 1).await;
    assert_eq!((moved.version, moved.before, moved.rolled_back), (1, None, false));
    assert_eq!((moved.by.as_deref(), moved.note.as_deref(), moved.at), (Some("ann"), Some("better"), at(70)));
    assert_eq!(promote(store, "production", 1).await, moved, "it names this version already");
    assert_eq!(
        (promote(store, "production", 2).await.before, promote(store, "candidate", 3).await.before),
        (Some(1), None)
    );
    assert_eq!(aliases(store).await, [("candidate".to_owned(), 3), ("production".to_owned(), 2)]);
    assert_eq!(
        (tagged(store, "production").await, tagged(store, "candidate").await),
        (vec!["m2".into()], vec!["m3".into()])
    );
    promote(store, "production", 3).await;
    let found = store.model("penguins").await.unwrap().unwrap().aliases;
    assert_eq!((found[0].rollback_to, found[1].rollback_to), (None, Some(2)));
    // Back to 2, and then to 1: a rollback is not undone by the next one.
    let back = roll_back(store, "production").await;
    assert_eq!((back.version, back.before, back.rolled_back), (2, Some(3), true));
    let last = roll_back(store, "production").await;
    assert_eq!((last.version, last.before, last.rolled_back), (1, Some(2), true));
    assert_eq!(tagged(store, "production").await, ["m1"]);
    // What is promoted now is rolled back to what the alias names now.
    promote(store, "production", 3).await;
    assert_eq!(roll_back(store, "production").await.version, 1);
    world.restart().await;
    let store = world.store().as_ref();
    assert_eq!(aliases(store).await, [("candidate".to_owned(), 3), ("production".to_owned(), 1)]);
    let history: Vec<(String, u64)> = moves(store).await.into_iter().map(|it| (it.alias, it.version)).collect();
    let of = |alias: &str, version| (alias.to_owned(), version);
    let production = |version| of("production", version);
    assert_eq!(
        history,
        [1, 3, 1, 2, 3]
            .map(production)
            .into_iter()
            .chain([of("candidate", 3), production(2), production(1)])
            .collect::<Vec<_>>()
    );
    let found = store.model("penguins").await.unwrap().unwrap().aliases;
    assert_eq!((found[1].artifact_id, found[1].since >= at(80)), (first, true));
    assert_eq!((found[0].rollback_to, found[1].rollback_to), (None, None));
    let told = told(store, before, EventKind::AliasMoved).await;
    assert_eq!(told.len(), 8);
    let data = json!({
        "model": "penguins", "alias": "production", "version": 2, "before": 1, "rolled_back": false, "by": "ann",
    });
    assert_eq!((&told[1].data, told[1].artifact_id), (&data, Some(second)));
    assert_eq!((&told[4].data["rolled_back"], &told[4].data["before"]), (&json!(true), &json!(3)));
}

pub(super) async fn an_action_moves_an_alias_by_a_unique_tag(world: &mut World) {
    let store = world.store().as_ref();
    let tag = |id, unique| ArtifactTag { artifact_id: id, tag: "production".to_owned(), unique };
    let (one, two) = (staged("models", "m1", "one", false), staged("models", "m2", "two", false));
    let (first, second) = (one.artifact_id, two.artifact_id);
    run(store, vec![one], vec![tag(first, true)]).await;
    assert_eq!(aliases(store).await, [("production".to_owned(), 1)]);
    // A tag that is not unique is only a tag.
    let plain = ArtifactTag { tag: "good".to_owned(), ..tag(second, false) };
    let fence = run(store, vec![two], vec![tag(second, true), plain]).await;
    assert_eq!(aliases(store).await, [("production".to_owned(), 2)]);
    let last = moves(store).await.remove(0);
    assert_eq!((last.version, last.before, last.by.as_deref()), (2, Some(1), None));
    assert_eq!((last.run_number, last.action.as_deref()), (Some(2), Some("first")));
    let told = told(store, 0, EventKind::AliasMoved).await;
    assert_eq!((told[1].attempt, told[1].run_id), (Some(fence.attempt_id), last.run_id));
    // An attempt without outputs may promote too. Where the alias is already, nothing moves.
    for id in [first, first] {
        let (_, fence) = started(store, new_run()).await;
        let ended = AttemptEnd { tags: vec![tag(id, true)], ..end(AttemptState::Succeeded) };
        store.finish_attempt(fence, ended, RunStep::default(), at(60)).await.unwrap();
    }
    assert_eq!((aliases(store).await, moves(store).await.len()), (vec![("production".to_owned(), 1)], 3));
    assert_eq!(tagged(store, "production").await, ["m1"]);
    assert_eq!(roll_back(store, "production").await.version, 2);
    assert_eq!(tagged(store, "production").await, ["m2"]);
    // An artifact that is no version may have the tag, too, until the alias is moved.
    let other = staged("models", "m0", "zero", false);
    let (_, fence) = started(store, new_run()).await;
    let ended = AttemptEnd { tags: vec![tag(other.artifact_id, true)], ..end(AttemptState::Succeeded) };
    store.publish_intent(fence, Intent { end: ended, ..intent(vec![other]) }, at(40)).await.unwrap();
    store.published(fence, Visible::default(), RunStep::default(), at(50)).await.unwrap();
    assert_eq!((tagged(store, "production").await, aliases(store).await[0].1), (vec!["m0".to_owned()], 2));
    promote(store, "production", 1).await;
    assert_eq!(tagged(store, "production").await, ["m1"]);
}

pub(super) async fn what_cannot_be_registered_or_promoted_is_refused(world: &mut World) {
    let store = world.store().as_ref();
    let conflict = |error: StoreError| match error {
        StoreError::Conflict(why) => why,
        other => panic!("{other:?}"),
    };
    let refused = async |alias: &str, version| {
        conflict(store.move_alias(target(alias, version), WriteId::new(), at(70)).await.unwrap_err())
    };
    assert_eq!(refused("production", Some(1)).await, "there is no model `penguins`");
    store.set_model_card("penguins", "# Penguins", at(1)).await.unwrap();
    assert_eq!(refused("production", Some(1)).await, "`penguins` has no version 1: it has none yet");
    model(store, "m1").await;
    assert_eq!(refused("production", Some(2)).await, "`penguins` has no version 2: its newest is 1");
    assert_eq!(refused("production", None).await, "`penguins` has no alias `production`");
    promote(store, "production", 1).await;
    let nothing = "`production` of `penguins` has named no version before 1, so there is nothing to roll back to";
    assert_eq!(refused("production", None).await, nothing);
    let replaced = artifacts_at(store, "models", "m1").await.remove(0).id;
    run(store, vec![staged("models", "m1", "other bytes", true)], Vec::new()).await;
    promote(store, "production", 2).await;
    let gone = "version 1 of `penguins` cannot be used: `m1` in `models` was replaced or removed since; write each version \
                to a path of its own";
    assert_eq!(refused("production", None).await, gone);
    assert_eq!(refused("candidate", Some(1)).await, gone);

    let register =
        async |artifact| conflict(store.register_version(version("others", artifact), at(1)).await.unwrap_err());
    let unknown = ArtifactId::new();
    assert_eq!(register(unknown).await, format!("there is no artifact {unknown}"));
    let why = format!("artifact {replaced} is not in its place, so it cannot be a version of a model");
    assert_eq!(register(replaced).await, why);
    assert_eq!(store.model("others").await.unwrap(), None, "a refusal creates nothing");

    let invalid = |error: StoreError| match error {
        StoreError::Invalid(why) => why,
        other => panic!("{other:?}"),
    };
    let long = AliasTarget { note: Some("a".repeat(2_001)), ..target("production", Some(1)) };
    let error = invalid(store.move_alias(long, WriteId::new(), at(70)).await.unwrap_err());
    assert_eq!(error, "the note is longer than 2000 characters");
    let error = invalid(store.move_alias(target("", Some(1)), WriteId::new(), at(70)).await.unwrap_err());
    assert_eq!(error, "an alias has 1 to 100 bytes, and no control characters");
    let error = invalid(store.register_version(version("No", replaced), at(70)).await.unwrap_err());
    let name = "a name starts with a letter a-z, continues with a-z, 0-9, `_` or `-`, and has at most 63 characters";
    assert_eq!(error, format!("a model cannot have this name: {name}"));
}

pub(super) async fn a_model_has_a_card(world: &mut World) {
    let store = world.store().as_ref();
    store.set_model_card("penguins", "# Penguins\n", at(1)).await.unwrap();
    store.set_model_card("penguins", "# Penguins\n", at(2)).await.unwrap();
    store.set_model_card("penguins", "# Penguins\n\nNot for other birds.", at(3)).await.unwrap();
    world.restart().await;
    let store = world.store().as_ref();
    let model = store.model("penguins").await.unwrap().unwrap();
    assert_eq!(model.card.as_deref(), Some("# Penguins\n\nNot for other birds."));
    assert_eq!((model.created_at, model.newest_version, model.aliases.len()), (at(1), 0, 0));
    let told = told(store, 0, EventKind::ModelCardChanged).await;
    assert_eq!(told.iter().map(|event| &event.data).collect::<Vec<_>>(), [&json!({ "model": "penguins" }); 2]);
    let long = store.set_model_card("penguins", &"a".repeat(50_001), at(4)).await.unwrap_err();
    assert!(
        matches!(long, StoreError::Invalid(why) if why == "the model card has 50001 bytes, and may have at most 50000")
    );
}

pub(super) async fn models_versions_and_moves_are_listed_in_pages(world: &mut World) {
    let store = world.store().as_ref();
    for name in ["b", "c", "a"] {
        store.set_model_card(name, "", at(1)).await.unwrap();
    }
    for path in ["m1", "m2", "m3"] {
        model(store, path).await;
    }
    for version in 1..=3 {
        promote(store, "production", version).await;
    }
    let page = |cursor: Option<String>| PageRequest { cursor, limit: 2 };
    let first = store.models(page(None)).await.unwrap();
    let rest = store.models(page(first.next_cursor.clone())).await.unwrap();
    let names: Vec<String> = first.items.into_iter().chain(rest.items).map(|model| model.name).collect();
    assert_eq!((names, rest.next_cursor), (["a", "b", "c", "penguins"].map(str::to_owned).to_vec(), None));
    let first = store.model_versions("penguins", page(None)).await.unwrap();
    let rest = store.model_versions("penguins", page(first.next_cursor.clone())).await.unwrap();
    let numbers: Vec<u64> = first.items.into_iter().chain(rest.items).map(|it| it.version).collect();
    assert_eq!((numbers, rest.next_cursor), (vec![3, 2, 1], None));
    let first = store.alias_moves("penguins", page(None)).await.unwrap();
    let rest = store.alias_moves("penguins", page(first.next_cursor.clone())).await.unwrap();
    let numbers: Vec<u64> = first.items.into_iter().chain(rest.items).map(|it| it.version).collect();
    assert_eq!((numbers, rest.next_cursor), (vec![3, 2, 1], None));
    for cursor in ["0", "Ä", "a b"] {
        let error = store.models(page(Some(cursor.to_owned()))).await.unwrap_err().to_string();
        let why = "is not a cursor of this list; use `next_cursor` of the previous page";
        assert!(error.ends_with(why), "{error}");
    }
}

pub(super) async fn what_a_version_needs_is_kept(world: &mut World) {
    let store = world.store().as_ref();
    record(store, vec![present("a", "A")]).await;
    let input = artifacts_at(store, "raw", "a").await.remove(0);
    // A version by hand, of an artifact that a run has claimed, and that is replaced later.
    store.register_version(version("inputs", input.id), at(1)).await.unwrap();
    model(store, "m1").await;
    run(store, vec![staged("reports", "r2", "two", false)], Vec::new()).await;
    record(store, vec![present("a", "other")]).await;
    run(store, vec![staged("models", "m1", "replaced", true)], Vec::new()).await;
    run(store, vec![staged("reports", "r2", "replaced", true)], Vec::new()).await;
    let needed = async |resource: &str| {
        let mut found = Vec::new();
        let mut cursor = None;
        loop {
            let page = store.needed(resource, PageRequest { cursor, limit: 1 }).await.unwrap();
            found.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return found;
            }
        }
    };
    assert_eq!(needed("raw").await, [input.digest.unwrap()], "its content is kept");
    assert_eq!(needed("models").await.len(), 2);
    assert!(needed("reports").await.is_empty());
    // The runs 1 and 3 have written versions. The second one is replaced, and nobody has read it.
    let keep = RunsToKeep { newest: Some(1), ..RunsToKeep::default() };
    let old = store.old_runs(keep.clone(), Arc::default(), None).await.unwrap();
    assert_eq!(old.runs.iter().map(|run| run.number).collect::<Vec<_>>(), [2]);
    assert_eq!(store.remove_runs(keep, vec![3, 2, 1], at(90)).await.unwrap().done, 3);
    let left = store.runs(RunQuery::default(), all()).await.unwrap().items;
    assert_eq!(
        left.iter().map(|run| (run.number, run.trimmed_at)).collect::<Vec<_>>(),
        [(4, None), (3, None), (1, None)]
    );
    let listed = versions(store, "penguins").await;
    assert_eq!(listed.iter().map(|it| it.run_number).collect::<Vec<_>>(), [Some(3), Some(1)]);
}
