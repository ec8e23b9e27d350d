//! Pauses of single resources and actions.

use super::World;
use super::fixtures::*;
use crate::model::{EventKind, NodeKind, Pause};

fn pause(kind: NodeKind, name: &str, since: i64, reason: Option<&str>) -> Pause {
    Pause { kind, name: name.to_owned(), since: at(since), reason: reason.map(str::to_owned) }
}

pub(super) async fn a_paused_node_stays_paused_with_its_reason_until_it_is_resumed(world: &mut World) {
    use NodeKind::{Action, Resource};
    let store = world.store().as_ref();
    assert_eq!(store.paused_nodes().await.unwrap(), []);
    // A resource and an action may have the same name in manifests of different times.
    store.pause_node(Resource, "raw", None, at(1)).await.unwrap();
    store.pause_node(Action, "raw", Some("broken".to_owned()), at(2)).await.unwrap();
    store.pause_node(Action, "evaluate", None, at(3)).await.unwrap();
    assert!(!store.paused().await.unwrap(), "the pipeline is another matter");
    world.restart().await;
    let store = world.store().as_ref();
    let [evaluate, broken, raw] =
        [pause(Action, "evaluate", 3, None), pause(Action, "raw", 2, Some("broken")), pause(Resource, "raw", 1, None)];
    assert_eq!(store.paused_nodes().await.unwrap(), [evaluate.clone(), broken.clone(), raw.clone()]);
    store.resume_node(Resource, "raw", at(4)).await.unwrap();
    assert_eq!(store.paused_nodes().await.unwrap(), [evaluate.clone(), broken]);
    store.resume_node(Action, "raw", at(5)).await.unwrap();
    world.restart().await;
    let store = world.store().as_ref();
    assert_eq!(store.paused_nodes().await.unwrap(), [evaluate]);
    // After another pause, `since` is the time of that one.
    let again = store.pause_node(Resource, "raw", None, at(6)).await.unwrap();
    assert_eq!(again, Pause { since: again.since, ..raw });
    assert!(again.since >= at(6));
}

pub(super) async fn a_pause_and_its_event_are_recorded_once(world: &mut World) {
    use NodeKind::Action;
    let store = world.store().as_ref();
    let before = newest(store).await;
    let reason = |text: &str| Some(text.to_owned());
    let first = store.pause_node(Action, "train", reason("no GPU"), at(1)).await.unwrap();
    assert_eq!(first, pause(Action, "train", 1, Some("no GPU")));
    assert_eq!(store.pause_node(Action, "train", reason("no GPU"), at(2)).await.unwrap(), first);
    assert_eq!(store.pause_node(Action, "train", None, at(3)).await.unwrap(), first, "the reason stays");
    let other = store.pause_node(Action, "train", reason("no data"), at(4)).await.unwrap();
    assert_eq!(other, pause(Action, "train", 1, Some("no data")), "it is paused since the first time");
    store.resume_node(Action, "train", at(5)).await.unwrap();
    store.resume_node(Action, "train", at(6)).await.unwrap();
    store.resume_node(Action, "unknown", at(7)).await.unwrap();
    let told: Vec<_> = events(store).await.into_iter().filter(|event| event.seq > before).collect();
    let kinds: Vec<_> = told.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::NodePaused, EventKind::NodePaused, EventKind::NodeResumed]);
    assert!(told.iter().all(|event| event.action.as_deref() == Some("train")));
    let data = serde_json::json!({ "type": "action", "name": "train", "reason": "no data" });
    assert_eq!(told[1].data, data);
}
