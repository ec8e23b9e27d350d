//! Watching a bucket.

use anacostia::model::Observation;
use anacostia::resource::Status;

use super::{Watched, over_each_service};
use crate::support::s3::Service;

over_each_service!(
    objects_are_recorded_once_before_and_during_the_watch,
    nothing_is_reported_again_after_a_restart,
    globs_and_a_prefix_select_objects,
    a_listing_of_several_pages_is_complete,
    an_observation_that_an_output_has_overtaken_is_repeated,
);

async fn objects_are_recorded_once_before_and_during_the_watch(service: Service) {
    let mut watched = Watched::new(service).await;
    watched.bucket.put("a.csv", b"one").await;
    watched.bucket.put("sub/b c+ü.csv", b"two").await;
    watched.start().await;
    let first = watched.seen("a.csv", 1).await;
    assert_eq!((first.size, first.digest), (3, None), "nothing is read to watch a bucket");
    watched.seen("sub/b c+ü.csv", 1).await;

    watched.bucket.put("later.csv", b"three").await;
    watched.seen("later.csv", 1).await;
    watched.bucket.put("a.csv", b"four").await;
    watched.seen("a.csv", 2).await;
    watched.bucket.delete("sub/b c+ü.csv").await;
    watched.gone("sub/b c+ü.csv").await;
    watched.bucket.put("sub/b c+ü.csv", b"two").await;
    watched.seen("sub/b c+ü.csv", 2).await;

    // The same bytes have the same entity tag, and are no news. The object after them shows that
    // the watch has seen them.
    watched.bucket.put("a.csv", b"four").await;
    watched.bucket.put("barrier", b"").await;
    watched.seen("barrier", 1).await;
    assert_eq!(watched.told(), 7);
    watched.stop().await;
}

async fn nothing_is_reported_again_after_a_restart(service: Service) {
    let mut watched = Watched::new(service).await;
    for name in ["a", "b", "c", "d", "e"] {
        watched.bucket.put(name, name).await;
    }
    watched.start().await;
    watched.seen("e", 1).await;
    watched.stop().await;
    let told = watched.told();
    assert_eq!(told, 5);

    watched.bucket.delete("b").await;
    watched.bucket.put("c", "other").await;
    watched.bucket.put("f", "new").await;
    watched.start().await;
    watched.gone("b").await;
    watched.seen("c", 2).await;
    watched.seen("f", 1).await;
    assert_eq!(watched.told(), told + 3);
    watched.stop().await;
}

async fn globs_and_a_prefix_select_objects(service: Service) {
    let mut watched = Watched::with(service, |spec| {
        spec.prefix = "in/".to_owned();
        spec.include = vec!["*.csv".to_owned(), "deep/**".to_owned()];
        spec.exclude = vec!["draft-*".to_owned()];
    })
    .await;
    for key in ["a.csv", "in/a.csv", "in/draft-a.csv", "in/a.txt", "in/deep/x/y.txt", "inner/a.csv"] {
        watched.bucket.put(key, key).await;
    }
    watched.bucket.put("in/b.csv.displaced-0123abcd~", b"x").await;
    watched.start().await;
    watched.seen("a.csv", 1).await;
    watched.seen("deep/x/y.txt", 1).await;
    assert_eq!(watched.told(), 2);
    watched.stop().await;
}

async fn a_listing_of_several_pages_is_complete(service: Service) {
    let mut watched = Watched::new(service).await;
    // Names of folders and files that services sort differently, around the end of a page.
    let keys: Vec<String> = (0..1_100).map(|n| format!("a{}{n:04}", if n % 3 == 0 { "/" } else { "-" })).collect();
    let puts = keys.iter().map(|key| watched.bucket.put(key, key.as_bytes()));
    futures_util::future::join_all(puts).await;
    watched.start().await;
    assert_eq!(watched.told(), keys.len());
    watched.bucket.delete("a/0999").await;
    watched.gone("a/0999").await;
    watched.bucket.put("a/0000a", b"between").await;
    watched.seen("a/0000a", 1).await;
    assert_eq!(watched.told(), keys.len() + 2);
    watched.stop().await;
}

async fn an_observation_that_an_output_has_overtaken_is_repeated(service: Service) {
    let mut watched = Watched::new(service).await;
    watched.bucket.put("a", b"1").await;
    watched.recorder.records.lock().unwrap().outdate = 1;
    watched.start().await;
    watched.seen("a", 1).await;
    watched.stop().await;
}

#[tokio::test]
async fn keys_that_are_no_paths_are_ignored_with_the_reason_and_stop_nothing() {
    // SeaweedFS cannot keep such keys.
    let mut watched = Watched::new(Service::Moto).await;
    watched.bucket.put_raw("a%2F%2Fb.csv", b"x").await;
    watched.bucket.put_raw("..%2Fc.csv", b"x").await;
    watched.bucket.put_raw("folder%2F", b"").await;
    watched.bucket.put("good.csv", b"x").await;
    watched.start().await;
    watched.seen("good.csv", 1).await;
    let reasons: Vec<_> =
        ["a//b.csv", "../c.csv"].map(|key| watched.recorder.read(|records| records.reason(key))).into();
    let expected = [
        "its key is not a valid path: it has the part `` in it",
        "its key is not a valid path: it has the part `..` in it",
    ];
    assert_eq!(reasons, expected.map(|reason| Some(reason.to_owned())));
    assert_eq!(watched.told(), 3, "a folder that a console made is no artifact");
    watched.stop().await;

    watched.start().await;
    assert_eq!(watched.told(), 3);
    watched.bucket.delete_raw("a%2F%2Fb.csv").await;
    watched.gone("a//b.csv").await;
    watched.stop().await;
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_unreachable_until_it_is() {
    let mut watched = Watched::with(Service::Moto, |spec| spec.bucket = format!("{}-later", spec.bucket)).await;
    watched.begin();
    let missing = "there is no such bucket: create it, or correct `bucket` in the manifest";
    watched
        .recorder
        .until("it is unreachable", |records| records.statuses.last() == Some(&Status::Unreachable(missing.to_owned())))
        .await;
    watched.bucket.create_beside(&watched.spec.bucket).await;
    watched.recorder.until("it is watched", |records| records.statuses.last() == Some(&Status::Watching)).await;
    assert!(watched.recorder.read(|records| records.told.iter().all(|told| !matches!(told, Observation::Gone { .. }))));
    watched.stop().await;
}
