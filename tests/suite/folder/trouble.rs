//! The folder itself disappears, cannot be read, or is full.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anacostia::base::{ArtifactId, AttemptId};
use anacostia::resource::{Resource as _, ResourceError, Status};

use super::recorder::Watched;
use super::{in_child, own_mounts};

async fn wait_unreachable(watched: &Watched) -> String {
    let last = |status: Option<&Status>| match status {
        Some(Status::Unreachable(why)) => Some(why.clone()),
        _ => None,
    };
    watched.recorder.until("it is unreachable", |records| last(records.statuses.last()).is_some()).await;
    watched.recorder.read(|records| last(records.statuses.last()).unwrap())
}

async fn wait_watching(watched: &Watched) {
    watched.recorder.until("it is watched", |records| records.statuses.last() == Some(&Status::Watching)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_is_created_at_the_start() {
    let parent = tempfile::tempdir().unwrap();
    let mut watched = Watched::at(&parent.path().join("not/there/yet"), |_| {});
    watched.start().await;
    watched.put("a", b"a").await;
    watched.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_and_recreated_folder_is_watched_again() {
    let watched = Watched::new().await;
    watched.put("a", b"a").await;
    watched.put("b", b"b").await;
    std::fs::remove_dir_all(&watched.path).unwrap();
    assert!(wait_unreachable(&watched).await.contains("not there"));
    std::fs::create_dir(&watched.path).unwrap();
    watched.write("b", b"b");
    wait_watching(&watched).await;
    watched.wait_gone("a").await;
    watched.wait_recorded("b", b"b").await;
    watched.put("c", b"c").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_back_is_reachable_while_its_files_are_hashed() {
    let mut watched = Watched::new().await;
    std::fs::remove_dir_all(&watched.path).unwrap();
    wait_unreachable(&watched).await;
    let back = watched.path.with_extension("back");
    std::fs::create_dir(&back).unwrap();
    // Sparse: the file takes no space, and half a minute to hash.
    std::fs::File::create(back.join("large.bin")).unwrap().set_len(64 << 30).unwrap();
    std::fs::rename(&back, &watched.path).unwrap();
    let reconciling = |status: Option<&Status>| status == Some(&Status::Reconciling);
    watched.recorder.until("it is compared", |records| reconciling(records.statuses.last())).await;
    std::fs::remove_file(watched.path.join("large.bin")).unwrap();
    wait_watching(&watched).await;
    watched.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_moved_away_and_back_keeps_its_versions() {
    let watched = Watched::new().await;
    watched.put("a", b"a").await;
    let id = watched.head("a").id;
    let away = watched.path.with_extension("away");
    std::fs::rename(&watched.path, &away).unwrap();
    wait_unreachable(&watched).await;
    assert!(watched.head("a").present, "unreachable files are not gone");
    std::fs::write(away.join("b"), b"b").unwrap();
    std::fs::rename(&away, &watched.path).unwrap();
    watched.wait_recorded("b", b"b").await;
    assert_eq!(watched.head("a").id, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_missing_at_the_start_is_not_created_if_it_had_files() {
    let mut watched = Watched::new().await;
    watched.put("a", b"a").await;
    watched.put("b", b"b").await;
    let versions = watched.recorder.read(|records| records.versions);
    watched.stop().await;
    let away = watched.path.with_extension("away");
    std::fs::rename(&watched.path, &away).unwrap();
    watched.begin();
    let why = wait_unreachable(&watched).await;
    let expected = "the folder is not there (No such file or directory (os error 2)), and 2 of its files are on record: \
                    mount it or put it back; if they are gone for good, create an empty folder";
    assert_eq!(why, expected);
    // Nor does an output create it.
    let refused = watched.folder.create(AttemptId::new(), ArtifactId::new(), "new", false).await.err().unwrap();
    assert!(refused.retryable() && refused.to_string().contains("cannot be reached at the moment"), "{refused}");
    assert!(!watched.path.exists() && watched.head("a").present && watched.head("b").present);
    std::fs::remove_file(away.join("b")).unwrap();
    std::fs::rename(&away, &watched.path).unwrap();
    watched.wait_gone("b").await;
    wait_watching(&watched).await;
    assert!(watched.head("a").present);
    assert_eq!(watched.recorder.read(|records| records.versions), versions, "a file was recorded twice");
    let writer = watched.folder.create(AttemptId::new(), ArtifactId::new(), "new", false).await.unwrap();
    drop(writer);

    // An empty folder in its place means that the files are gone for good.
    watched.stop().await;
    std::fs::remove_dir_all(&watched.path).unwrap();
    watched.begin();
    wait_unreachable(&watched).await;
    std::fs::create_dir(&watched.path).unwrap();
    watched.wait_gone("a").await;
    wait_watching(&watched).await;
    watched.stop().await;
}

fn mount(arguments: &[&str], target: &Path) {
    let mounted = std::process::Command::new("mount").args(arguments).arg(target).status();
    assert!(mounted.unwrap().success(), "mount {arguments:?} {}", target.display());
}

#[test]
fn files_on_a_disk_that_is_not_mounted_are_not_gone() {
    if !in_child(own_mounts(), "folder::trouble::files_on_a_disk_that_is_not_mounted_are_not_gone") {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let (data, aside) = (parent.path().join("data"), parent.path().join("aside"));
    for folder in [&data, &aside] {
        std::fs::create_dir(folder).unwrap();
    }
    mount(&["-t", "tmpfs", "tmpfs"], &data);
    let unmount = || mount(&["--move", data.to_str().unwrap()], &aside);
    let remount = || mount(&["--move", aside.to_str().unwrap()], &data);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut watched = Watched::at(&data, |_| {});
        watched.start().await;
        watched.put("a", b"a").await;
        let id = watched.head("a").id;
        watched.stop().await;
        // At the start of a host, and under a running one.
        for running in [false, true] {
            unmount();
            if !running {
                watched.begin();
            }
            let why = wait_unreachable(&watched).await;
            let expected = "the folder is empty, but 1 of its files are on record from another disk: mount that disk; \
                            if they are gone for good, put any file into the folder";
            watched
                .recorder
                .until("the reason", |records| {
                    records.statuses.last() == Some(&Status::Unreachable(expected.to_owned()))
                })
                .await;
            assert!(watched.head("a").present, "{why}");
            let refused = watched.folder.create(AttemptId::new(), ArtifactId::new(), "new", false).await;
            assert!(refused.is_err(), "an output would be written to the mount point");
            remount();
            wait_watching(&watched).await;
            assert_eq!((watched.head("a").id, watched.head("a").present), (id, true));
        }
        // Someone deletes it for good, and says so.
        unmount();
        wait_unreachable(&watched).await;
        watched.put("b", b"b").await;
        watched.wait_gone("a").await;
        watched.stop().await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_replaces_the_watched_one_is_scanned() {
    let watched = Watched::new().await;
    watched.put("a", b"a").await;
    let other = watched.path.with_extension("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("b"), b"b").unwrap();
    std::fs::rename(&watched.path, watched.path.with_extension("away")).unwrap();
    std::fs::rename(&other, &watched.path).unwrap();
    watched.wait_recorded("b", b"b").await;
    watched.wait_gone("a").await;
    watched.put("c", b"c").await;
}

/// Runs `test` on a thread that is not a superuser, because root may access everything. In Linux,
/// credentials belong to a thread, and threads that it starts inherit them.
fn as_nobody<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    std::thread::spawn(move || {
        if rustix::process::geteuid().is_root() {
            let (nobody, nogroup) = (rustix::process::Uid::from_raw(65_534), rustix::process::Gid::from_raw(65_534));
            rustix::thread::set_thread_res_gid(nogroup, nogroup, nogroup).unwrap();
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(test());
    })
    .join()
    .unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_folder_without_permission_is_unreachable_until_it_has_it() {
    as_nobody(|| async {
        let watched = Watched::new().await;
        watched.put("a", b"a").await;
        set_mode(&watched.path, 0);
        let why = wait_unreachable(&watched).await;
        assert!(why.contains("give this user access"), "{why}");
        assert!(watched.head("a").present, "unreadable files are not gone");
        set_mode(&watched.path, 0o755);
        wait_watching(&watched).await;
        watched.put("b", b"b").await;
        assert_eq!(watched.head("a").version, 1);
    });
}

#[test]
fn unreadable_entries_are_reported_and_recorded_once_readable() {
    as_nobody(|| async {
        let watched = Watched::with(|spec| spec.rescan = std::time::Duration::from_secs(1)).await;
        std::fs::create_dir(watched.path.join("sub")).unwrap();
        watched.put("sub/a", b"a").await;
        set_mode(&watched.path.join("sub"), 0);
        assert!(watched.wait_ignored("sub").await.contains("cannot be read"));
        // The slow scan happens as well.
        let batches = watched.recorder.read(|records| records.batches);
        watched.put("b", b"b").await;
        watched.put("c", b"c").await;
        assert!(watched.recorder.read(|records| records.batches) > batches);
        assert!(watched.head("sub/a").present, "unreadable files are not gone");
        set_mode(&watched.path.join("sub"), 0o755);
        watched.wait_gone("sub").await;
        watched.put("sub/d", b"d").await;

        let outside = watched.beside();
        std::fs::write(outside.path().join("closed"), b"closed").unwrap();
        set_mode(&outside.path().join("closed"), 0);
        std::fs::rename(outside.path().join("closed"), watched.path.join("closed")).unwrap();
        assert!(watched.wait_ignored("closed").await.contains("cannot be read"));
        set_mode(&watched.path.join("closed"), 0o644);
        watched.wait_recorded("closed", b"closed").await;
        watched.wait_gone("sub").await;
    });
}

#[test]
fn without_leases_a_file_is_recorded_after_it_settled() {
    const NAME: &str = "folder::trouble::without_leases_a_file_is_recorded_after_it_settled";
    // The system refuses a lease on a file of another user, and only root can create one here.
    if !rustix::process::geteuid().is_root() && !in_child(&["unshare", "-Ur", "--map-users=all"], NAME) {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    set_mode(parent.path(), 0o755);
    let path = parent.path().join("data");
    std::fs::create_dir(&path).unwrap();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (go, went) = std::sync::mpsc::channel();
    let of_root = path.clone();
    let writer = std::thread::spawn(move || {
        is_ready.recv().unwrap();
        // Owned by root: others cannot read it, and cannot get a lease on it.
        let mut file = std::fs::File::create(of_root.join("a")).unwrap();
        for _ in 0..10 {
            file.write_all(b"piece ").unwrap();
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        drop(file);
        go.send(()).unwrap();
    });
    as_nobody(move || async move {
        let mut watched = Watched::at(&path, |_| {});
        watched.start().await;
        ready.send(()).unwrap();
        watched.wait_recorded("a", b"piece ".repeat(10)).await;
        went.recv().unwrap();
        assert_eq!(watched.head("a").version, 1);
        watched.stop().await;
    });
    writer.join().unwrap();
}

#[test]
fn a_full_disk_is_reported_and_leaves_nothing() {
    if !in_child(own_mounts(), "folder::trouble::a_full_disk_is_reported_and_leaves_nothing") {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(parent.path())
        .status()
        .unwrap();
    assert!(mounted.success(), "a tmpfs cannot be mounted");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let watched = Watched::at(&parent.path().join("data"), |_| {});
        let attempt = AttemptId::new();
        let mut writer = watched.folder.create(attempt, ArtifactId::new(), "large", false).await.unwrap();
        let error = loop {
            if let Err(error) = writer.write(&vec![1; 64 << 10]).await {
                break error;
            }
        };
        assert!(matches!(error, ResourceError::Full { .. }), "{error:?}");
        assert!(error.to_string().contains("the disk is full"), "{error}");
        assert!(writer.write(b"more").await.is_err(), "a failed writer cannot continue");
        assert!(writer.finish().await.is_err(), "a failed writer cannot be finished");
        // All of its space is free again.
        let mut writer = watched.folder.create(attempt, ArtifactId::new(), "small", false).await.unwrap();
        writer.write(&vec![2; 900 << 10]).await.unwrap();
        let staged = writer.finish().await.unwrap();
        watched.folder.publish(attempt, std::slice::from_ref(&staged)).await.unwrap();
        assert_eq!(std::fs::metadata(watched.path.join("small")).unwrap().len(), 900 << 10);
    });
    let unmounted = std::process::Command::new("umount").arg(parent.path()).status().unwrap();
    assert!(unmounted.success());
}

#[test]
fn with_too_few_inotify_watches_the_folder_is_scanned_and_this_is_reported() {
    if !in_child(
        &["unshare", "-Ur"],
        "folder::trouble::with_too_few_inotify_watches_the_folder_is_scanned_and_this_is_reported",
    ) {
        return;
    }
    std::fs::write("/proc/sys/user/max_inotify_watches", "5").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut watched = Watched::unwatched(|_| {});
        for folder in 0..20 {
            std::fs::create_dir(watched.path.join(folder.to_string())).unwrap();
        }
        watched.begin();
        let limited = |status: &Status| matches!(status, Status::Scanning(why) if why.contains("max_user_watches"));
        watched.recorder.until("it scans", |records| records.statuses.last().is_some_and(limited)).await;
        for folder in 0..20 {
            watched.put(&format!("{folder}/file"), folder.to_string()).await;
        }
        // The number of watches is sufficient again.
        std::fs::write("/proc/sys/user/max_inotify_watches", "500").unwrap();
        wait_watching(&watched).await;
        watched.stop().await;
    });
}
