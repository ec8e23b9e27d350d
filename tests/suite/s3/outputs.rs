//! Staging and publishing objects.

use anacostia::base::{ArtifactId, AttemptId};
use anacostia::manifest::S3Credentials;
use anacostia::model::StagedFile;
use anacostia::resource::Resource as _;
use anacostia::resource::s3::Bucket;
use object_store::multipart::MultipartStore as _;
use object_store::path::Path;

use super::{Watched, content, over_each_service};
use crate::support::s3::Service;

over_each_service!(
    a_staged_file_is_no_object_until_it_is_published,
    a_path_that_is_taken_is_refused_without_overwrite,
    publishing_again_changes_nothing,
    what_was_published_belongs_to_others_while_the_attempt_goes_on,
    an_object_that_came_after_the_commit_is_moved_aside,
    an_output_replaces_the_object_that_it_was_to_replace,
    a_large_file_is_uploaded_before_the_commit_and_completed_after_it,
    an_upload_that_is_not_published_is_aborted,
    a_new_host_publishes_what_another_has_staged,
);

/// More than one part.
const LARGE: usize = (16 << 20) + 5;

async fn stage(bucket: &Bucket, attempt: AttemptId, path: &str, bytes: &[u8], overwrite: bool) -> StagedFile {
    let mut writer = bucket.create(attempt, ArtifactId::new(), path, overwrite).await.unwrap();
    for chunk in bytes.chunks(1 << 20) {
        writer.write(chunk).await.unwrap();
    }
    let mut file = writer.finish().await.unwrap();
    bucket.note_replaced(std::slice::from_mut(&mut file)).await.unwrap();
    file
}

async fn publish(bucket: &Bucket, attempt: AttemptId, file: &StagedFile) -> String {
    let stamps = bucket.publish(attempt, std::slice::from_ref(file)).await.unwrap();
    stamps.into_iter().next().unwrap().unwrap()
}

async fn a_staged_file_is_no_object_until_it_is_published(service: Service) {
    let mut watched = Watched::with(service, |spec| spec.prefix = "out/".to_owned()).await;
    let (bucket, attempt) = (&watched.resource, AttemptId::new());
    let file = stage(bucket, attempt, "deep/model.bin", b"weights", false).await;
    assert_eq!(watched.bucket.list().await, [""; 0]);
    let stamp = publish(bucket, attempt, &file).await;
    bucket.discard(attempt).await.unwrap();
    assert_eq!(watched.bucket.get("out/deep/model.bin").await.unwrap(), b"weights");
    watched.start().await;
    assert_eq!(watched.seen("deep/model.bin", 1).await.stamp, stamp, "the watch sees what was published");
    watched.stop().await;
    let left = std::fs::read_dir(watched.state.path().join("spool/raw/.anacostia/staging")).unwrap().count();
    assert_eq!(left, 0, "nothing is left in the spool");
}

async fn a_path_that_is_taken_is_refused_without_overwrite(service: Service) {
    let watched = Watched::new(service).await;
    watched.bucket.put("a", b"theirs").await;
    let (bucket, attempt) = (&watched.resource, AttemptId::new());
    let refused = bucket.create(attempt, ArtifactId::new(), "a", false).await.err().unwrap();
    let expected = "`a` exists already in raw; create it with `overwrite` to make its next version";
    assert_eq!(refused.to_string(), expected);
    for (path, wrong) in [("../a", "`..`"), (".anacostia/a", "reserved for the host")] {
        let refused = bucket.create(attempt, ArtifactId::new(), path, false).await.err().unwrap();
        assert!(refused.code() == "invalid" && refused.to_string().contains(wrong), "{refused}");
    }
}

async fn publishing_again_changes_nothing(service: Service) {
    let watched = Watched::new(service).await;
    let (bucket, attempt) = (&watched.resource, AttemptId::new());
    let file = stage(bucket, attempt, "a", b"ours", false).await;
    let first = publish(bucket, attempt, &file).await;
    // The answer to the first request was lost, and the host begins again.
    assert_eq!(publish(bucket, attempt, &file).await, first);
    bucket.discard(attempt).await.unwrap();
    assert_eq!(publish(bucket, attempt, &file).await, first, "the spool is empty, and the object there");
    assert_eq!(watched.bucket.list().await, ["a"]);
}

async fn what_was_published_belongs_to_others_while_the_attempt_goes_on(service: Service) {
    let watched = Watched::new(service).await;
    let (bucket, attempt) = (&watched.resource, AttemptId::new());
    let taken = stage(bucket, attempt, "taken", b"ours", false).await;
    let large = stage(bucket, attempt, "large", &vec![7; LARGE], false).await;
    let replaced = stage(bucket, attempt, "replaced", b"ours", false).await;
    let files = [taken, large, replaced];
    let stamps = bucket.publish(attempt, &files).await.unwrap();
    watched.bucket.delete("taken").await;
    watched.bucket.delete("large").await;
    watched.bucket.put("replaced", b"theirs").await;
    // The host was killed before it recorded that all is visible, and the next one publishes again.
    let next = Bucket::new("raw", &watched.spec, watched.state.path()).unwrap();
    assert_eq!(next.sweep(&[attempt]).await.unwrap(), 0);
    assert_eq!(next.publish(attempt, &files).await.unwrap(), stamps);
    assert_eq!(watched.bucket.list().await, ["replaced"]);
    assert_eq!(watched.bucket.get("replaced").await.unwrap(), b"theirs");
}

async fn an_object_that_came_after_the_commit_is_moved_aside(service: Service) {
    let watched = Watched::new(service).await;
    let (bucket, attempt) = (&watched.resource, AttemptId::new());
    let created = stage(bucket, attempt, "a", b"ours", false).await;
    let replacing = stage(bucket, attempt, "b", b"ours", true).await;
    watched.bucket.put("a", b"theirs a").await;
    watched.bucket.put("b", b"theirs b").await;
    publish(bucket, attempt, &created).await;
    publish(bucket, attempt, &replacing).await;
    let keys = watched.bucket.list().await;
    assert_eq!(keys.len(), 4, "{keys:?}");
    for key in keys {
        let aside = key.contains(".displaced-");
        let expected = if aside { format!("theirs {}", &key[..1]) } else { "ours".to_owned() };
        assert_eq!(watched.bucket.get(&key).await.unwrap(), expected.as_bytes(), "{key}");
    }
}

async fn an_output_replaces_the_object_that_it_was_to_replace(service: Service) {
    let watched = Watched::new(service).await;
    watched.bucket.put("a", b"old").await;
    let (bucket, attempt) = (&watched.resource, AttemptId::new());
    let file = stage(bucket, attempt, "a", b"new", true).await;
    assert!(file.replaces.is_some());
    // Another run has replaced it meanwhile: both are outputs, and the last one stays.
    let other = stage(bucket, attempt, "a", b"other", true).await;
    publish(bucket, attempt, &other).await;
    publish(bucket, attempt, &file).await;
    assert_eq!(watched.bucket.list().await, ["a"]);
    assert_eq!(watched.bucket.get("a").await.unwrap(), b"new");
}

async fn a_large_file_is_uploaded_before_the_commit_and_completed_after_it(service: Service) {
    let watched = Watched::new(service).await;
    let (bucket, attempt) = (&watched.resource, AttemptId::new());
    let bytes: Vec<u8> = (0..LARGE).map(|at| u8::try_from(at % 253).unwrap()).collect();
    let file = stage(bucket, attempt, "large.bin", &bytes, false).await;
    assert_eq!(watched.bucket.uploads().await.len(), 1);
    assert_eq!(watched.bucket.list().await, [""; 0]);
    watched.bucket.put("large.bin", b"theirs").await;
    let stamp = publish(bucket, attempt, &file).await;
    assert_eq!(publish(bucket, attempt, &file).await, stamp, "completing again finds it");
    bucket.discard(attempt).await.unwrap();
    assert!(watched.bucket.get("large.bin").await.unwrap() == bytes);
    assert_eq!(watched.bucket.list().await.len(), 2, "theirs was moved aside");
    assert_eq!(watched.bucket.uploads().await, [""; 0]);
}

async fn an_upload_that_is_not_published_is_aborted(service: Service) {
    let watched = Watched::new(service).await;
    let bucket = &watched.resource;
    let theirs = watched.bucket.store.create_multipart(&Path::from("large.bin")).await.unwrap();
    let attempts = [AttemptId::new(), AttemptId::new(), AttemptId::new()];
    for attempt in attempts {
        stage(bucket, attempt, "large.bin", &vec![7; LARGE], true).await;
    }
    assert_eq!(watched.bucket.uploads().await.len(), 4);
    bucket.discard(attempts[0]).await.unwrap();
    assert_eq!(watched.bucket.uploads().await.len(), 3);

    bucket.sweep(&[attempts[2]]).await.unwrap();
    let left = watched.bucket.uploads().await;
    assert!(left.len() == 2 && left.contains(&theirs), "those of someone else and of the third attempt: {left:?}");
    // A journal of a host that was killed before it knew the id: nobody knows whose they are.
    let journals = watched.state.path().join("spool/raw/uploads").join(attempts[2].to_string());
    let journal = std::fs::read_dir(&journals).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&journal).unwrap();
    let mut unknown: serde_json::Value = serde_json::from_str(&text).unwrap();
    unknown["id"] = serde_json::Value::Null;
    std::fs::write(&journal, unknown.to_string()).unwrap();
    bucket.sweep(&[]).await.unwrap();
    assert_eq!(watched.bucket.uploads().await.len(), 2, "an upload was aborted that may be someone else's");
    assert!(!journals.exists());
}

async fn a_new_host_publishes_what_another_has_staged(service: Service) {
    let watched = Watched::new(service).await;
    let attempt = AttemptId::new();
    let small = stage(&watched.resource, attempt, "small", b"small", false).await;
    let large = stage(&watched.resource, attempt, "large", &vec![7; LARGE], false).await;
    // The service has given up the upload, as a rule of the bucket may say.
    for upload in watched.bucket.uploads().await {
        watched.bucket.store.abort_multipart(&Path::from("large"), &upload).await.unwrap();
    }
    let next = Bucket::new("raw", &watched.spec, watched.state.path()).unwrap();
    assert_eq!(next.sweep(&[attempt]).await.unwrap(), 0);
    publish(&next, attempt, &small).await;
    publish(&next, attempt, &large).await;
    assert_eq!(watched.bucket.get("small").await.unwrap(), b"small");
    assert_eq!(watched.bucket.get("large").await.unwrap().len(), LARGE);

    // Without the spool there is nothing to publish, and the message says what to put back.
    let lost = stage(&next, attempt, "lost", b"lost", false).await;
    next.discard(attempt).await.unwrap();
    let error = next.publish(attempt, &[lost]).await.unwrap_err().to_string();
    assert!(
        error.starts_with("raw failed to publish `lost`: its staged file ")
            && error.ends_with(" is missing; restore it"),
        "{error}"
    );
}

#[tokio::test]
async fn requests_without_credentials_work_where_the_service_allows_them() {
    let mut watched = Watched::with(Service::SeaweedFs, |spec| {
        spec.credentials = S3Credentials::None;
        (spec.access_key_id, spec.secret_access_key) = (None, None);
    })
    .await;
    let (bucket, attempt) = (&watched.resource, AttemptId::new());
    for (path, bytes) in [("small", vec![1; 10]), ("large", vec![2; LARGE])] {
        let file = stage(bucket, attempt, path, &bytes, false).await;
        publish(bucket, attempt, &file).await;
    }
    watched.start().await;
    watched.seen("small", 1).await;
    let head = watched.seen("large", 1).await;
    let mut reader = watched.resource.open(&content("large", &head)).await.unwrap();
    assert_eq!(reader.read(0, 3).await.unwrap(), [2; 3]);
    watched.stop().await;
}
