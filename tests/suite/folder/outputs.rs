//! Staging and publishing.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anacostia::base::{ArtifactId, AttemptId, Digest};
use anacostia::model::{Observation, StagedFile};
use anacostia::resource::folder::Folder;
use anacostia::resource::{Content, Resource as _, ResourceError};

use super::recorder::{Watched, spec};

/// Returns every file in a folder, including hidden ones, by path.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, at: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                walk(root, &path, files);
            } else if path.is_file() {
                files.insert(path.strip_prefix(root).unwrap().display().to_string(), std::fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

async fn stage(folder: &Folder, attempt: AttemptId, path: &str, bytes: &[u8], overwrite: bool) -> StagedFile {
    let mut writer = folder.create(attempt, ArtifactId::new(), path, overwrite).await.unwrap();
    for chunk in bytes.chunks(7) {
        writer.write(chunk).await.unwrap();
    }
    writer.finish().await.unwrap()
}

fn output() -> (tempfile::TempDir, Folder) {
    let parent = tempfile::tempdir().unwrap();
    let folder = Folder::new("models", &spec(&parent.path().join("out")), true).unwrap();
    (parent, folder)
}

#[tokio::test]
async fn a_staged_file_is_invisible_until_published_and_then_complete() {
    let (_parent, folder) = output();
    let attempt = AttemptId::new();
    let staged = stage(&folder, attempt, "deep/er/model.bin", b"some bytes of a model", false).await;
    assert_eq!(staged.digest, Digest::of(b"some bytes of a model"));
    assert_eq!(staged.size, 21);
    assert!(!folder.path().join("deep").exists());

    folder.publish(attempt, std::slice::from_ref(&staged)).await.unwrap();
    folder.publish(attempt, std::slice::from_ref(&staged)).await.unwrap();
    let expected = BTreeMap::from([("deep/er/model.bin".to_owned(), b"some bytes of a model".to_vec())]);
    assert_eq!(files(folder.path()), expected);

    let Artifacts { path, size, digest, stamp } = artifact(&staged);
    let mut reader = folder.open(&Content { path, size, digest: Some(digest), stamp }).await.unwrap();
    assert_eq!(reader.read(0, 100).await.unwrap(), b"some bytes of a model");
    assert_eq!(folder.sweep(&[]).await.unwrap(), 0);
    assert!(!folder.path().join(".anacostia").exists());
}

struct Artifacts {
    path: String,
    size: u64,
    digest: Digest,
    stamp: String,
}

fn artifact(staged: &StagedFile) -> Artifacts {
    Artifacts { path: staged.path.clone(), size: staged.size, digest: staged.digest, stamp: staged.stamp.clone() }
}

#[tokio::test]
async fn the_stamp_of_a_staged_file_is_valid_after_publishing_but_not_after_a_rewrite() {
    let (_parent, folder) = output();
    for round in 0..200 {
        let attempt = AttemptId::new();
        let path = format!("model-{round}");
        let staged = stage(&folder, attempt, &path, b"12345678", false).await;
        folder.publish(attempt, std::slice::from_ref(&staged)).await.unwrap();
        let Artifacts { path, size, digest, stamp } = artifact(&staged);
        let content = Content { path, size, digest: Some(digest), stamp };
        assert!(folder.open(&content).await.is_ok());
        // At once, and to the same size.
        std::fs::write(folder.path().join(&content.path), b"87654321").unwrap();
        assert!(matches!(folder.open(&content).await, Err(ResourceError::Changed { .. })));
    }
}

#[tokio::test]
async fn publishing_resumes_after_a_crash() {
    let (parent, folder) = output();
    let attempt = AttemptId::new();
    let staged = stage(&folder, attempt, "a/model", b"bytes", false).await;
    // Killed between link and unlink, on file systems that cannot rename without replacing.
    std::fs::create_dir(folder.path().join("a")).unwrap();
    std::fs::hard_link(folder.path().join(&staged.staged), folder.path().join("a/model")).unwrap();
    let again = Folder::new("models", &spec(&parent.path().join("out")), false).unwrap();
    again.publish(attempt, std::slice::from_ref(&staged)).await.unwrap();
    assert_eq!(files(folder.path()), BTreeMap::from([("a/model".to_owned(), b"bytes".to_vec())]));
    // The file was replaced by another program after it was published and before that was recorded,
    // so the host must not undo it.
    std::fs::write(folder.path().join("a/model"), b"theirs").unwrap();
    again.publish(attempt, std::slice::from_ref(&staged)).await.unwrap();
    std::fs::remove_file(folder.path().join("a/model")).unwrap();
    again.publish(attempt, std::slice::from_ref(&staged)).await.unwrap();
    assert!(files(folder.path()).is_empty());
}

#[tokio::test]
async fn files_staged_in_a_missing_folder_do_not_count_as_published() {
    let (parent, folder) = output();
    let attempt = AttemptId::new();
    let [done, waits] = [
        stage(&folder, attempt, "done", b"done", false).await,
        stage(&folder, attempt, "waits", b"waits", false).await,
    ];
    folder.publish(attempt, std::slice::from_ref(&done)).await.unwrap();
    let elsewhere = parent.path().join("elsewhere");
    std::fs::rename(folder.path(), &elsewhere).unwrap();
    // The folder is removed, and then replaced by an empty one, like an unmounted mount point.
    for _ in 0..2 {
        let error = folder.publish(attempt, std::slice::from_ref(&waits)).await.unwrap_err();
        assert!(error.retryable(), "{error}");
        if folder.path().exists() {
            assert!(error.to_string().contains("mount or restore"), "{error}");
            assert!(files(folder.path()).is_empty());
        } else {
            std::fs::create_dir(folder.path()).unwrap();
        }
    }
    std::fs::remove_dir(folder.path()).unwrap();
    std::fs::rename(&elsewhere, folder.path()).unwrap();
    for file in [&done, &waits, &done, &waits] {
        folder.publish(attempt, std::slice::from_ref(file)).await.unwrap();
    }
    let visible = [("done", b"done".to_vec()), ("waits", b"waits".to_vec())];
    assert_eq!(files(folder.path()), visible.map(|(path, bytes)| (path.to_owned(), bytes)).into());
    // The record no longer has the attempt. A file that is there as it was staged was published
    // anyway.
    folder.discard(attempt).await.unwrap();
    folder.publish(attempt, std::slice::from_ref(&done)).await.unwrap();
    std::fs::write(folder.path().join("waits2"), b"waits").unwrap();
    std::fs::rename(folder.path().join("waits2"), folder.path().join("waits")).unwrap();
    assert!(folder.publish(attempt, std::slice::from_ref(&waits)).await.unwrap_err().retryable());
}

#[tokio::test]
async fn a_file_that_appeared_before_publishing_is_moved_aside_and_kept() {
    let (_parent, folder) = output();
    let attempt = AttemptId::new();
    let name = "n".repeat(255);
    for path in ["model", name.as_str()] {
        let staged = stage(&folder, attempt, path, b"ours", false).await;
        std::fs::write(folder.path().join(path), b"theirs").unwrap();
        folder.publish(attempt, std::slice::from_ref(&staged)).await.unwrap();
        assert_eq!(std::fs::read(folder.path().join(path)).unwrap(), b"ours");
    }
    let kept: Vec<_> = files(folder.path()).into_iter().filter(|(path, _)| path.ends_with('~')).collect();
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|(path, bytes)| path.contains(".displaced-") && bytes == b"theirs"), "{kept:?}");
}

#[tokio::test]
async fn an_existing_path_is_refused_without_overwrite() {
    let (_parent, folder) = output();
    let attempt = AttemptId::new();
    let first = stage(&folder, attempt, "model", b"1", false).await;
    folder.publish(attempt, std::slice::from_ref(&first)).await.unwrap();
    let refused = folder.create(attempt, ArtifactId::new(), "model", false).await.err().unwrap();
    assert_eq!(refused.code(), "already-exists");
    let second = stage(&folder, attempt, "model", b"2", true).await;
    folder.publish(attempt, std::slice::from_ref(&second)).await.unwrap();
    assert_eq!(files(folder.path()), BTreeMap::from([("model".to_owned(), b"2".to_vec())]));
}

#[tokio::test]
async fn paths_outside_the_folder_and_invalid_paths_are_refused() {
    let (parent, folder) = output();
    std::fs::create_dir_all(folder.path().join("folder")).unwrap();
    std::fs::write(folder.path().join("file"), b"").unwrap();
    std::os::unix::fs::symlink(parent.path(), folder.path().join("link")).unwrap();
    let long = "x".repeat(256);
    for (path, code) in [
        ("../a", "invalid"),
        ("/a", "invalid"),
        ("a/../../b", "invalid"),
        ("", "invalid"),
        ("a\nb", "invalid"),
        (long.as_str(), "invalid"),
        ("folder", "invalid"),
        ("file/a", "invalid"),
        (".anacostia/staging/a", "invalid"),
        ("link/a", "unavailable"),
    ] {
        let error = folder.create(AttemptId::new(), ArtifactId::new(), path, false).await.err().unwrap();
        assert_eq!(error.code(), code, "{path}: {error}");
    }
    assert_eq!(files(folder.path()).len(), 1);
    assert!(!parent.path().join("a").exists());
}

#[tokio::test]
async fn publishing_does_not_follow_a_symlink_created_after_staging() {
    let (parent, folder) = output();
    let attempt = AttemptId::new();
    let outside = parent.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let staged = stage(&folder, attempt, "sub/model", b"bytes", false).await;
    std::os::unix::fs::symlink(&outside, folder.path().join("sub")).unwrap();
    let error = folder.publish(attempt, std::slice::from_ref(&staged)).await.unwrap_err();
    assert!(error.retryable(), "{error}");
    assert!(files(&outside).is_empty());
    std::fs::remove_file(folder.path().join("sub")).unwrap();
    folder.publish(attempt, std::slice::from_ref(&staged)).await.unwrap();
}

#[tokio::test]
async fn a_blocked_path_is_published_once_it_is_free() {
    let (_parent, folder) = output();
    let attempt = AttemptId::new();
    let staged = stage(&folder, attempt, "a/b", b"bytes", false).await;
    std::fs::write(folder.path().join("a"), b"in the way").unwrap();
    let error = folder.publish(attempt, std::slice::from_ref(&staged)).await.unwrap_err();
    assert!(error.retryable() && error.to_string().contains("must be; move it"), "{error}");
    std::fs::remove_file(folder.path().join("a")).unwrap();
    std::fs::create_dir_all(folder.path().join("a/b/c")).unwrap();
    let error = folder.publish(attempt, std::slice::from_ref(&staged)).await.unwrap_err();
    assert!(error.retryable() && error.to_string().contains("must be; move it"), "{error}");
    std::fs::remove_dir_all(folder.path().join("a/b")).unwrap();
    folder.publish(attempt, std::slice::from_ref(&staged)).await.unwrap();
    assert_eq!(files(folder.path()), BTreeMap::from([("a/b".to_owned(), b"bytes".to_vec())]));
}

#[tokio::test]
async fn a_staged_file_supports_random_access_and_reopening() {
    let (_parent, folder) = output();
    let attempt = AttemptId::new();
    let mut writer = folder.create(attempt, ArtifactId::new(), "a.zip", false).await.unwrap();
    let mut expected = vec![7; 3 << 20];
    writer.write(&expected).await.unwrap();
    writer.write_at(5, b"patched").await.unwrap();
    expected[5..12].copy_from_slice(b"patched");
    writer.write_at(4 << 20, b"behind a hole").await.unwrap();
    expected.resize(4 << 20, 0);
    expected.extend_from_slice(b"behind a hole");
    assert_eq!(writer.read_at(4 << 20, 100).await.unwrap(), b"behind a hole");
    assert!(writer.read_at(u64::MAX, 100).await.unwrap().is_empty());
    let first = writer.finish().await.unwrap();
    assert_eq!((first.size, first.digest), (expected.len() as u64, Digest::of(&expected)));

    // A file that was reopened and not changed is unchanged.
    assert_eq!(folder.reopen(&first).await.unwrap().finish().await.unwrap(), first);
    let mut writer = folder.reopen(&first).await.unwrap();
    writer.set_size(8).await.unwrap();
    writer.set_size(10).await.unwrap();
    writer.write(b"!").await.unwrap();
    let second = writer.finish().await.unwrap();
    assert_eq!((second.artifact_id, second.digest), (first.artifact_id, Digest::of(b"\x07\x07\x07\x07\x07pat\0\0!")));
    // A file that was truncated to zero is like a new one.
    let mut writer = folder.reopen(&second).await.unwrap();
    writer.set_size(0).await.unwrap();
    writer.write(b"new").await.unwrap();
    let third = writer.finish().await.unwrap();
    assert_eq!(third.digest, Digest::of(b"new"));
    folder.publish(attempt, std::slice::from_ref(&third)).await.unwrap();
    assert_eq!(files(folder.path()), BTreeMap::from([("a.zip".to_owned(), b"new".to_vec())]));

    let gone = stage(&folder, attempt, "gone", b"bytes", false).await;
    drop(folder.reopen(&gone).await.unwrap());
    assert_eq!(files(folder.path()).len(), 1, "a dropped writer removes its file");
    assert!(folder.reopen(&gone).await.is_err());
}

#[tokio::test]
async fn unfinished_swept_and_discarded_files_leave_nothing() {
    let (_parent, folder) = output();
    let [dropped, discarded, swept, kept] = [(); 4].map(|()| AttemptId::new());
    let mut writer = folder.create(dropped, ArtifactId::new(), "a", false).await.unwrap();
    writer.write(b"bytes").await.unwrap();
    assert_eq!(files(folder.path()).len(), 1);
    drop(writer);
    assert!(files(folder.path()).is_empty());

    stage(&folder, discarded, "b", b"b", false).await;
    folder.discard(discarded).await.unwrap();
    folder.discard(discarded).await.unwrap();
    assert!(files(folder.path()).is_empty());

    stage(&folder, swept, "c", b"c", false).await;
    stage(&folder, swept, "d", b"d", false).await;
    let staged = stage(&folder, kept, "e", b"e", false).await;
    assert_eq!(folder.sweep(&[kept]).await.unwrap(), 2);
    folder.publish(kept, std::slice::from_ref(&staged)).await.unwrap();
    assert_eq!(files(folder.path()), BTreeMap::from([("e".to_owned(), b"e".to_vec())]));
}

#[tokio::test(flavor = "multi_thread")]
async fn staging_is_not_observed_and_publishing_is_observed_once() {
    let watched = Watched::new().await;
    let attempt = AttemptId::new();
    let staged = stage(&watched.folder, attempt, "sub/model", b"bytes", false).await;
    watched.wait_caught_up().await;
    let told = watched.recorder.read(|records| records.told.len());
    watched.folder.publish(attempt, std::slice::from_ref(&staged)).await.unwrap();
    watched.wait_recorded("sub/model", b"bytes").await;
    watched.wait_caught_up().await;
    watched.recorder.read(|records| {
        let about = |told: &&Observation| !format!("{told:?}").contains("barrier");
        let told: Vec<_> = records.told[told..].iter().filter(about).collect();
        assert_eq!(told.len(), 1, "{told:?}");
    });
    let inode = std::fs::metadata(watched.path.join("sub/model")).unwrap().ino();
    assert!(staged.stamp.split(':').nth(1) == Some(&inode.to_string()), "{} and {inode}", staged.stamp);
}

#[tokio::test]
async fn overwrite_replaces_only_the_file_seen_at_the_commit_point() {
    let (parent, folder) = output();
    let displaced = |folder: &Folder| -> Vec<Vec<u8>> {
        files(folder.path()).into_iter().filter(|(path, _)| path.ends_with('~')).map(|(_, bytes)| bytes).collect()
    };
    std::fs::create_dir(folder.path()).unwrap();
    for (path, before) in [("was.there", Some(&b"before"[..])), ("is.new", None)] {
        let target = folder.path().join(path);
        before.inspect(|bytes| std::fs::write(&target, bytes).unwrap());
        // No other writer interferes, whatever else happens to the file.
        let attempt = AttemptId::new();
        let mut file = [stage(&folder, attempt, path, b"first", true).await];
        folder.note_replaced(&mut file).await.unwrap();
        std::fs::hard_link(&target, parent.path().join(path)).ok();
        folder.publish(attempt, &file).await.unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"first");
        assert!(displaced(&folder).is_empty());
        // Two attempts replace the same file: the later one wins, and nothing is moved aside.
        let attempts = [AttemptId::new(), AttemptId::new()];
        let mut both =
            [stage(&folder, attempts[0], path, b"A", true).await, stage(&folder, attempts[1], path, b"B", true).await];
        folder.note_replaced(&mut both).await.unwrap();
        folder.publish(attempts[0], &both[..1]).await.unwrap();
        folder.publish(attempts[1], &both[1..]).await.unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"B");
        assert!(displaced(&folder).is_empty());
        // Another writer interferes, even while the host is down.
        for (again, theirs) in [(false, b"theirs 1"), (true, b"theirs 2")] {
            let attempt = AttemptId::new();
            let mut file = [stage(&folder, attempt, path, b"ours", true).await];
            folder.note_replaced(&mut file).await.unwrap();
            std::fs::write(&target, theirs).unwrap();
            let later = Folder::new("models", &spec(folder.path()), false).unwrap();
            if again { &later } else { &folder }.publish(attempt, &file).await.unwrap();
            assert_eq!(std::fs::read(&target).unwrap(), b"ours");
            let kept = displaced(&folder);
            assert!(kept.iter().any(|bytes| bytes == theirs), "{kept:?}");
        }
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.to_str().unwrap().ends_with('~') {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn publishing_returns_the_stamps_of_the_published_files() {
    let (parent, folder) = output();
    let attempt = AttemptId::new();
    let large = vec![b'x'; 600_000];
    let staged =
        [stage(&folder, attempt, "a", b"small", false).await, stage(&folder, attempt, "b", &large, false).await];
    let first = folder.publish(attempt, &staged).await.unwrap();
    let again = Folder::new("models", &spec(&parent.path().join("out")), false).unwrap();
    assert_eq!(again.publish(attempt, &staged).await.unwrap(), first, "also after a crash");
    for (file, stamp) in staged.iter().zip(first) {
        let ctime = {
            let about = std::fs::metadata(folder.path().join(&file.path)).unwrap();
            about.ctime() * 1_000_000_000 + about.ctime_nsec()
        };
        let stamp = stamp.unwrap();
        assert!(stamp.ends_with(&format!(":{ctime}")), "{stamp} and {ctime}");
        let content = Content { path: file.path.clone(), size: file.size, digest: Some(file.digest), stamp };
        assert!(folder.open(&content).await.is_ok());
    }
    // The file was written to before the host examined it, so its stamp is not the stamp of the
    // output.
    std::fs::write(folder.path().join("a"), b"other").unwrap();
    let last = folder.publish(attempt, &staged).await.unwrap();
    assert!(last[0].is_none() && last[1].is_some(), "{last:?}");
}

#[tokio::test]
async fn only_one_holder_can_write_to_a_folder_and_an_abandoned_lock_is_free() {
    let (parent, first) = output();
    let path = parent.path().join("out");
    let folder = |name: &str| Folder::new(name, &spec(&path), false).unwrap();
    std::fs::create_dir(&path).unwrap();
    // If the folder is empty, it may be an unmounted mount point, so nothing is written to it.
    first.claim_writing("pipeline `a`").await.unwrap();
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
    first.release_writing().await;
    // Left behind by a process that was killed.
    std::fs::create_dir(path.join(".anacostia")).unwrap();
    std::fs::write(path.join(".anacostia/lock"), "pipeline `dead`").unwrap();
    first.claim_writing("pipeline `a`").await.unwrap();
    first.claim_writing("pipeline `a`").await.unwrap();
    let same = folder("same");
    same.claim_writing("pipeline `a`").await.unwrap();
    let other = folder("other");
    let refused = other.claim_writing("pipeline `b`").await.unwrap_err().to_string();
    let expected = format!(
        "other cannot be used: pipeline `a` writes to the folder {} already; stop that host, or give each pipeline an output folder of its own",
        path.display()
    );
    assert_eq!(refused, expected);
    // Writers share the lock, and it is released when the last one is dropped.
    drop(first);
    assert!(other.claim_writing("pipeline `b`").await.is_err());
    same.release_writing().await;
    assert!(!path.join(".anacostia").exists());
    std::fs::write(path.join("old"), "").unwrap();
    other.claim_writing("pipeline `b`").await.unwrap();
    assert_eq!(std::fs::read_to_string(path.join(".anacostia/lock")).unwrap(), "pipeline `b`");
}

#[tokio::test]
async fn a_folder_created_later_is_locked_on_creation() {
    let (parent, first) = output();
    let other = Folder::new("other", &spec(&parent.path().join("out")), false).unwrap();
    first.claim_writing("pipeline `a`").await.unwrap();
    other.claim_writing("pipeline `b`").await.unwrap();
    let attempt = AttemptId::new();
    stage(&first, attempt, "a", b"a", false).await;
    let refused = other.create(attempt, ArtifactId::new(), "b", false).await.err().unwrap();
    assert!(refused.to_string().contains("pipeline `a` writes to the folder"), "{refused}");
}

#[tokio::test]
async fn a_writer_whose_lock_file_was_removed_takes_the_lock_again_or_is_refused() {
    let (parent, first) = output();
    let path = parent.path().join("out");
    let other = Folder::new("other", &spec(&path), false).unwrap();
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("old"), "").unwrap();
    let lock = path.join(".anacostia/lock");
    let attempt = AttemptId::new();

    first.claim_writing("pipeline `a`").await.unwrap();
    std::fs::remove_dir_all(path.join(".anacostia")).unwrap();
    stage(&first, attempt, "a", b"a", false).await;
    assert_eq!(std::fs::read_to_string(&lock).unwrap(), "pipeline `a`", "nobody else has taken it");

    std::fs::remove_dir_all(path.join(".anacostia")).unwrap();
    other.claim_writing("pipeline `b`").await.unwrap();
    let refused = first.create(attempt, ArtifactId::new(), "b", false).await.err().unwrap();
    assert!(refused.to_string().contains("pipeline `b` writes to the folder"), "{refused}");
    drop(first);
    assert_eq!(std::fs::read_to_string(&lock).unwrap(), "pipeline `b`", "the end of the first leaves it alone");
}

#[tokio::test]
async fn a_host_that_stops_removes_the_folder_of_staged_files_unless_there_are_some() {
    let (parent, folder) = output();
    let staging = parent.path().join("out/.anacostia/staging");
    folder.claim_writing("pipeline `a`").await.unwrap();
    let attempt = AttemptId::new();
    let staged = stage(&folder, attempt, "a", b"a", false).await;
    folder.release_writing().await;
    assert!(staging.exists(), "the next host publishes what is there");
    folder.claim_writing("pipeline `a`").await.unwrap();
    folder.publish(attempt, &[staged]).await.unwrap();
    folder.discard(attempt).await.unwrap();
    assert!(staging.exists());
    folder.release_writing().await;
    assert!(!parent.path().join("out/.anacostia").exists());
    assert_eq!(std::fs::read(parent.path().join("out/a")).unwrap(), b"a");
}
