//! Reading versions of objects.

use anacostia::base::Digest;
use anacostia::resource::{Content, Resource as _};

use super::{Watched, content, over_each_service};
use crate::support::s3::Service;

over_each_service!(
    ranges_of_a_large_object_are_read_in_any_order,
    the_digest_is_known_once_all_was_read,
    a_version_that_was_replaced_or_removed_is_not_read,
    an_empty_object_is_checked_too,
);

/// Bytes that differ everywhere.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap()).collect()
}

async fn put(watched: &mut Watched, path: &str, bytes: &[u8]) -> Content {
    watched.bucket.put(path, bytes).await;
    watched.start().await;
    let head = watched.recorder.read(|records| records.heads[path].clone());
    watched.stop().await;
    content(path, &head)
}

async fn ranges_of_a_large_object_are_read_in_any_order(service: Service) {
    let mut watched = Watched::new(service).await;
    let all = bytes(20 << 20);
    let content = put(&mut watched, "large.bin", &all).await;
    let mut reader = watched.resource.open(&content).await.unwrap();
    for (offset, length) in
        [(0, 10), (19 << 20, 2 << 20), (5, 1 << 20), ((1 << 20) + 5, 9 << 20), (20 << 20, 5), (7, 0)]
    {
        let read = reader.read(offset as u64, length).await.unwrap();
        let expected = &all[offset..(offset + length).min(all.len())];
        assert!(read == expected, "{offset} {length}: {} of {} bytes", read.len(), expected.len());
    }
    assert_eq!(reader.digest(), None, "not read from start to end");
}

async fn the_digest_is_known_once_all_was_read(service: Service) {
    let mut watched = Watched::new(service).await;
    let all = bytes(3 << 20);
    let content = put(&mut watched, "a.bin", &all).await;
    let mut reader = watched.resource.open(&content).await.unwrap();
    let mut at = 0;
    while at < all.len() {
        assert_eq!(reader.digest(), None);
        at += reader.read(at as u64, 700_000).await.unwrap().len();
        // Reading something again changes nothing.
        reader.read(10, 10).await.unwrap();
    }
    assert_eq!(reader.digest(), Some(Digest::of(&all)));
}

async fn a_version_that_was_replaced_or_removed_is_not_read(service: Service) {
    let mut watched = Watched::new(service).await;
    let content = put(&mut watched, "a.csv", b"one").await;
    let mut reader = watched.resource.open(&content).await.unwrap();
    watched.bucket.put("a.csv", b"two").await;
    let error = reader.read(0, 3).await.unwrap_err();
    assert_eq!(error.code(), "changed");
    assert_eq!(
        error.to_string(),
        "`a.csv` in raw has changed since it was recorded: it was replaced by another object"
    );
    watched.bucket.delete("a.csv").await;
    let error = watched.resource.open(&content).await.unwrap().read(0, 3).await.unwrap_err();
    assert_eq!(error.to_string(), "there is nothing at `a.csv` in raw any more");
}

async fn an_empty_object_is_checked_too(service: Service) {
    let mut watched = Watched::new(service).await;
    let content = put(&mut watched, "empty", b"").await;
    let mut reader = watched.resource.open(&content).await.unwrap();
    assert_eq!(reader.read(0, 10).await.unwrap(), b"");
    assert_eq!(reader.digest(), Some(Digest::of(b"")));
    watched.bucket.put("empty", b"full").await;
    assert_eq!(reader.read(0, 10).await.unwrap_err().code(), "changed");
}
