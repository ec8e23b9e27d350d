//! Notifications and their deliveries.

use super::World;
use super::fixtures::*;
use crate::base::NotificationId;
use crate::model::{Delivery, Notification, NotificationState, NotifyCause};
use crate::store::{MetadataStore, NotificationQuery, PageRequest, StoreError};

fn notification(name: &str, title: &str) -> Notification {
    Notification {
        id: NotificationId::new(),
        name: name.to_owned(),
        channel: "webhook".to_owned(),
        cause: NotifyCause::RunFailed,
        event: Some(3),
        run_id: None,
        run_number: Some(1),
        resource: None,
        title: title.to_owned(),
        text: "text\nof two lines".to_owned(),
        state: NotificationState::Waiting,
        attempts: 0,
        error: None,
        created_at: at(5),
        ended_at: None,
    }
}

async fn waiting(store: &dyn MetadataStore, name: &str) -> Vec<String> {
    store.waiting_notifications(name, 10).await.unwrap().into_iter().map(|it| it.title).collect()
}

pub(super) async fn each_is_recorded_once_with_how_far_events_were_examined(world: &mut World) {
    let store = world.store().as_ref();
    assert_eq!(store.notified().await.unwrap(), None);
    let all_new = vec![notification("ops", "first"), notification("ops", "second"), notification("mail", "third")];
    store.record_notifications(Some(7), all_new.clone()).await.unwrap();
    store.record_notifications(Some(6), all_new.clone()).await.unwrap();
    store.record_notifications(None, vec![notification("mail", "fourth")]).await.unwrap();
    world.restart().await;
    let store = world.store().as_ref();
    assert_eq!(store.notified().await.unwrap(), Some(7), "it never goes back");
    assert_eq!(waiting(store, "ops").await, ["first", "second"]);
    assert_eq!(waiting(store, "mail").await, ["third", "fourth"]);
    assert_eq!(store.waiting_notifications("ops", 1).await.unwrap(), all_new[..1]);
    let query = NotificationQuery { name: Some("mail".to_owned()) };
    let titles: Vec<_> =
        store.notifications(query, all()).await.unwrap().items.into_iter().map(|it| it.title).collect();
    assert_eq!(titles, ["fourth", "third"]);
}

pub(super) async fn a_delivery_is_on_record_and_its_end_stands(world: &mut World) {
    let store = world.store().as_ref();
    let [first, second] = ["first", "second"].map(|title| notification("ops", title));
    store.record_notifications(Some(1), vec![first.clone(), second.clone()]).await.unwrap();
    let refused = Delivery {
        state: NotificationState::Waiting,
        attempts: 1,
        error: Some("the receiver answered 500".to_owned()),
    };
    store.note_delivery(first.id, refused.clone(), at(20)).await.unwrap();
    assert_eq!(waiting(store, "ops").await, ["first", "second"], "one that failed stays first");
    let delivered = Delivery { state: NotificationState::Delivered, attempts: 2, error: None };
    store.note_delivery(first.id, delivered, at(30)).await.unwrap();
    store.note_delivery(first.id, Delivery { state: NotificationState::GivenUp, ..refused }, at(40)).await.unwrap();
    assert_eq!(waiting(store, "ops").await, ["second"]);
    let found = store.notifications(NotificationQuery::default(), all()).await.unwrap().items;
    assert_eq!(found.iter().map(|it| it.state.as_str()).collect::<Vec<_>>(), ["waiting", "delivered"]);
    assert_eq!((found[1].attempts, &found[1].error), (2, &None));
    assert!(found[1].ended_at.is_some() && found[0].ended_at.is_none());
}

pub(super) async fn who_was_told_about_an_outage_is_on_record_until_it_is_over(world: &mut World) {
    let store = world.store().as_ref();
    let about = |name: &str, cause, resource: &str| Notification {
        cause,
        resource: Some(resource.to_owned()),
        ..notification(name, "away")
    };
    let new = vec![
        about("ops", NotifyCause::ResourceUnreachable, "raw"),
        about("mail", NotifyCause::ResourceUnreachable, "raw"),
        about("ops", NotifyCause::ResourceUnreachable, "models"),
        about("ops", NotifyCause::RunFailed, "other"),
    ];
    store.record_notifications(None, new).await.unwrap();
    world.restart().await;
    let store = world.store().as_ref();
    let pair = |resource: &str, name: &str| (resource.to_owned(), name.to_owned());
    assert_eq!(store.told_outages().await.unwrap(), [pair("models", "ops"), pair("raw", "mail"), pair("raw", "ops")]);
    store.note_reachable("raw").await.unwrap();
    store.note_reachable("nothing").await.unwrap();
    assert_eq!(store.told_outages().await.unwrap(), [pair("models", "ops")]);
    store.record_notifications(None, vec![about("ops", NotifyCause::ResourceUnreachable, "raw")]).await.unwrap();
    assert_eq!(store.told_outages().await.unwrap(), [pair("models", "ops"), pair("raw", "ops")]);
}

pub(super) async fn the_last_of_a_cause_is_found_and_pages_are_complete(world: &mut World) {
    let store = world.store().as_ref();
    for n in 0..5 {
        let cause = if n % 2 == 0 { NotifyCause::NothingNew } else { NotifyCause::RunFailed };
        let new = Notification { cause, ..notification("ops", &n.to_string()) };
        store.record_notifications(None, vec![new]).await.unwrap();
    }
    let about_raw = |title: &str| Notification {
        cause: NotifyCause::NothingNew,
        resource: Some("raw".to_owned()),
        ..notification("mail", title)
    };
    store.record_notifications(None, vec![about_raw("5"), about_raw("6")]).await.unwrap();
    let last =
        async |name, cause, resource| store.last_notification(name, cause, resource).await.unwrap().map(|it| it.title);
    assert_eq!(last("ops", NotifyCause::NothingNew, None).await.as_deref(), Some("4"));
    assert_eq!(last("ops", NotifyCause::RunFailed, None).await.as_deref(), Some("3"));
    assert_eq!(last("mail", NotifyCause::NothingNew, Some("raw")).await.as_deref(), Some("6"));
    for (name, cause, resource) in [
        ("mail", NotifyCause::RunFailed, None),
        ("mail", NotifyCause::NothingNew, None),
        ("mail", NotifyCause::NothingNew, Some("labels")),
        ("ops", NotifyCause::NothingNew, Some("raw")),
    ] {
        assert_eq!(last(name, cause, resource).await, None, "{name} {resource:?}");
    }
    let of_all = ["6", "5", "4", "3", "2", "1", "0"];
    for (name, expected) in [(None, &of_all[..]), (Some("ops".to_owned()), &of_all[2..])] {
        let query = NotificationQuery { name };
        let (mut titles, mut cursor) = (Vec::new(), None);
        loop {
            let page = store.notifications(query.clone(), PageRequest { cursor, limit: 2 }).await.unwrap();
            titles.extend(page.items.into_iter().map(|it| it.title));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(titles, expected);
    }
    let foreign = PageRequest { cursor: Some("x".to_owned()), limit: 2 };
    let refused = store.notifications(NotificationQuery::default(), foreign).await.unwrap_err();
    assert!(matches!(refused, StoreError::Invalid(_)), "{refused}");
}
