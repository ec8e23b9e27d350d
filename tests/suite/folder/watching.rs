//! Files that arrive, change, move and disappear.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anacostia::base::Digest;
use anacostia::base::filestamp::{self, FileStamp};
use anacostia::model::Observation;
use anacostia::resource::{Status, Waiting};

use super::in_child;
use super::recorder::{Watched, age, rewrite_with_old_time};
use crate::support::wait::wait_until;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_written_slowly_is_recorded_once_and_complete() {
    let watched = Watched::new().await;
    let mut file = std::fs::File::create(watched.path.join("slow.csv")).unwrap();
    let end = Instant::now() + Duration::from_secs(2);
    let mut whole = Vec::new();
    while Instant::now() < end {
        file.write_all(b"0123456789").unwrap();
        whole.extend_from_slice(b"0123456789");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    watched.wait_caught_up().await;
    assert_eq!(watched.recorder.read(|records| records.version("slow.csv")), 0, "it is still open");
    drop(file);
    watched.wait_recorded("slow.csv", &whole).await;
    watched.wait_caught_up().await;
    assert_eq!(watched.head("slow.csv").version, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_two_writers_is_recorded_after_the_last_close() {
    let watched = Watched::new().await;
    let path = watched.path.join("two.csv");
    let mut first = std::fs::File::create(&path).unwrap();
    let mut second = OpenOptions::new().append(true).open(&path).unwrap();
    first.write_all(b"first ").unwrap();
    drop(first);
    watched.wait_caught_up().await;
    assert_eq!(watched.recorder.read(|records| records.version("two.csv")), 0, "the second writer has it open");
    second.write_all(b"second").unwrap();
    drop(second);
    watched.wait_recorded("two.csv", b"first second").await;
    assert_eq!(watched.head("two.csv").version, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn overwriting_with_other_bytes_makes_a_version_and_with_equal_bytes_does_not() {
    let watched = Watched::new().await;
    for (bytes, version) in [("A", 1), ("B", 2), ("A", 3), ("A", 3), ("AA", 4)] {
        watched.put("a.csv", bytes).await;
        watched.wait_caught_up().await;
        assert_eq!(watched.head("a.csv").version, version, "after {bytes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_is_recorded() {
    let watched = Watched::new().await;
    watched.put("empty", b"").await;
    assert_eq!(watched.head("empty").version, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_written_under_a_temporary_name_is_recorded_when_renamed() {
    let watched = Watched::new().await;
    watched.write("a.csv.tmp", b"whole");
    watched.wait_caught_up().await;
    std::fs::rename(watched.path.join("a.csv.tmp"), watched.path.join("a.csv")).unwrap();
    watched.wait_recorded("a.csv", b"whole").await;
    assert!(watched.recorder.read(|records| !records.told.iter().any(|told| format!("{told:?}").contains(".tmp"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_file_keeps_its_version() {
    let watched = Watched::new().await;
    watched.put("a.csv", b"content").await;
    let before = watched.head("a.csv");
    // Twice in a row, so that the second rename may come before the first was processed.
    std::fs::rename(watched.path.join("a.csv"), watched.path.join("b.csv")).unwrap();
    std::fs::rename(watched.path.join("b.csv"), watched.path.join("c.csv")).unwrap();
    watched.wait_recorded("c.csv", b"content").await;
    watched.wait_caught_up().await;
    assert_eq!(watched.head("c.csv").id, before.id);
    assert!(!watched.head("a.csv").present);
    assert!(watched.recorder.read(|records| {
        !records.told.iter().any(|told| matches!(told, Observation::Gone { path } if !path.starts_with("barrier")))
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeatedly_renamed_file_keeps_its_version() {
    let watched = Watched::new().await;
    watched.put("0", b"content").await;
    let id = watched.head("0").id;
    let mut last = 0;
    for _ in 0..20 {
        for _ in 0..fastrand::usize(1..20) {
            std::fs::rename(watched.path.join(last.to_string()), watched.path.join((last + 1).to_string())).unwrap();
            last += 1;
        }
        watched.wait_recorded(&last.to_string(), b"content").await;
        assert_eq!(watched.head(&last.to_string()).id, id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn renaming_over_a_file_replaces_its_version() {
    let watched = Watched::new().await;
    watched.put("a.csv", b"new").await;
    watched.put("b.csv", b"old").await;
    let id = watched.head("a.csv").id;
    std::fs::rename(watched.path.join("a.csv"), watched.path.join("b.csv")).unwrap();
    watched.wait_recorded("b.csv", b"new").await;
    assert_eq!(watched.head("b.csv").id, id);
    assert_eq!(watched.head("b.csv").version, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_renames_moves_each_file() {
    // As in log rotation, with a chain so long that the first file is processed when the last one
    // has already moved on.
    const LAST: usize = 9;
    let name = |n: usize| if n == 0 { "x".to_owned() } else { format!("x.{n}") };
    let watched = Watched::new().await;
    for n in 0..LAST {
        watched.put(&name(n), name(n).as_bytes()).await;
    }
    let ids: Vec<_> = (0..LAST).map(|n| watched.head(&name(n)).id).collect();
    for n in (0..LAST).rev() {
        std::fs::rename(watched.path.join(name(n)), watched.path.join(name(n + 1))).unwrap();
    }
    watched.write("x", b"new");
    watched.wait_recorded("x", b"new").await;
    for n in 0..LAST {
        watched.wait_recorded(&name(n + 1), name(n).as_bytes()).await;
    }
    assert_eq!((1..=LAST).map(|n| watched.head(&name(n)).id).collect::<Vec<_>>(), ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_swap_names_are_recorded_under_the_new_names() {
    let watched = Watched::new().await;
    watched.put("a", b"first").await;
    watched.put("b", b"second").await;
    for (from, to) in [("a", "c"), ("b", "a"), ("c", "b")] {
        std::fs::rename(watched.path.join(from), watched.path.join(to)).unwrap();
    }
    watched.wait_recorded("a", b"second").await;
    watched.wait_recorded("b", b"first").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_renamed_folder_keep_their_versions() {
    let watched = Watched::new().await;
    std::fs::create_dir_all(watched.path.join("old/deep")).unwrap();
    watched.put("old/a", b"a").await;
    watched.put("old/deep/b", b"b").await;
    let ids = [watched.head("old/a").id, watched.head("old/deep/b").id];
    std::fs::rename(watched.path.join("old"), watched.path.join("new")).unwrap();
    watched.wait_recorded("new/deep/b", b"b").await;
    assert_eq!([watched.head("new/a").id, watched.head("new/deep/b").id], ids);
    // And it is watched at its new path.
    watched.put("new/deep/c", b"c").await;
    assert!(!watched.head("old/a").present);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_moved_out_or_deleted_are_gone_and_files_moved_in_are_new() {
    let watched = Watched::new().await;
    let outside = watched.beside();
    watched.put("a", b"a").await;
    let id = watched.head("a").id;
    std::fs::rename(watched.path.join("a"), outside.path().join("a")).unwrap();
    watched.wait_gone("a").await;
    std::fs::rename(outside.path().join("a"), watched.path.join("a")).unwrap();
    watched.wait_recorded("a", b"a").await;
    assert_ne!(watched.head("a").id, id);
    assert_eq!(watched.head("a").version, 2);
    std::fs::remove_file(watched.path.join("a")).unwrap();
    watched.wait_gone("a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_is_moved_in_is_recorded_and_watched() {
    let watched = Watched::new().await;
    let outside = watched.beside();
    let mut paths = Vec::new();
    for folder in 0..20 {
        std::fs::create_dir_all(outside.path().join(format!("tree/{folder}/sub"))).unwrap();
        for file in 0..10 {
            let path = format!("tree/{folder}/sub/{file}");
            std::fs::write(outside.path().join(&path), &path).unwrap();
            paths.push(path);
        }
    }
    std::fs::create_dir_all(outside.path().join("tree/.hidden")).unwrap();
    std::fs::write(outside.path().join("tree/.hidden/x"), b"x").unwrap();
    std::fs::rename(outside.path().join("tree"), watched.path.join("tree")).unwrap();
    for path in &paths {
        watched.wait_recorded(path, path).await;
    }
    watched.put("tree/7/sub/later", b"later").await;
    assert_eq!(watched.recorder.read(|records| records.contents().len()), paths.len() + 1);
    std::fs::remove_dir_all(watched.path.join("tree")).unwrap();
    watched.recorder.until("all of it is gone", |records| records.contents().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_in_newly_created_folders_are_recorded() {
    let watched = Watched::new().await;
    for round in 0..50 {
        std::fs::create_dir_all(watched.path.join(format!("{round}/a/b"))).unwrap();
        watched.write(&format!("{round}/a/b/file"), round.to_string());
    }
    for round in 0..50 {
        watched.wait_recorded(&format!("{round}/a/b/file"), round.to_string()).await;
    }
    assert_eq!(watched.recorder.read(|records| records.versions), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_hard_link_is_a_file_of_its_own() {
    let watched = Watched::new().await;
    watched.put("a", b"content").await;
    std::fs::hard_link(watched.path.join("a"), watched.path.join("b")).unwrap();
    watched.wait_recorded("b", b"content").await;
    assert_ne!(watched.head("a").id, watched.head("b").id);
    std::fs::remove_file(watched.path.join("a")).unwrap();
    watched.wait_gone("a").await;
    assert!(watched.head("b").present);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_names_that_are_included_and_not_excluded_count() {
    let watched = Watched::with(|spec| {
        spec.include = vec!["**/*.csv".to_owned()];
        spec.exclude = vec!["old".to_owned()];
    })
    .await;
    std::fs::create_dir_all(watched.path.join("old")).unwrap();
    std::fs::create_dir_all(watched.path.join("sub")).unwrap();
    for path in ["a.txt", "old/a.csv", "sub/a.txt", "sub/.a.csv", "sub/a.csv"] {
        watched.write(path, path);
    }
    watched.wait_recorded("sub/a.csv", "sub/a.csv").await;
    watched.put("last.csv", b"").await;
    let paths: Vec<String> = watched.recorder.read(|records| records.heads.keys().cloned().collect());
    assert_eq!(paths, ["last.csv", "sub/a.csv"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_files_are_each_recorded_once_by_a_slow_sink() {
    const FILES: usize = 20_000;
    let watched = Watched::new().await;
    let held = watched.recorder.hold().await;
    for file in 0..FILES {
        watched.write(&format!("{file}"), file.to_string());
    }
    drop(held);
    watched.recorder.until("all are on record", |records| records.contents().len() == FILES).await;
    watched.wait_caught_up().await;
    watched.recorder.read(|records| {
        assert_eq!(records.versions, FILES + 1, "one batch for each, and one to catch up");
        assert!(
            records.statuses.iter().any(|status| matches!(status, Status::Scanning(_))),
            "the overflow must be reported"
        );
        assert_eq!(records.statuses.last(), Some(&Status::Watching));
        for file in 0..FILES {
            assert_eq!(records.digest(&file.to_string()), Some(Digest::of(file.to_string().as_bytes())));
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_does_not_delay_small_ones() {
    let watched = Watched::new().await;
    let large = vec![7; 64 << 20];
    for name in ["large-1", "large-2", "large-3", "large-4"] {
        watched.write(name, &large);
    }
    watched.put("small", b"small").await;
    for name in ["large-1", "large-2", "large-3", "large-4"] {
        watched.wait_recorded(name, &large).await;
    }
    let told = watched
        .recorder
        .read(|records| records.told.iter().filter(|told| matches!(told, Observation::Present { .. })).count());
    assert_eq!(told, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_made_while_not_watching_are_found_at_the_start() {
    let mut watched = Watched::new().await;
    for name in ["same", "changed", "deleted", "renamed", "touched"] {
        watched.put(name, name).await;
    }
    let id = watched.head("renamed").id;
    watched.stop().await;
    let told = watched.recorder.read(|records| records.told.len());
    watched.write("changed", b"CHANGED");
    watched.write("new", b"new");
    std::fs::remove_file(watched.path.join("deleted")).unwrap();
    std::fs::rename(watched.path.join("renamed"), watched.path.join("renamed-2")).unwrap();
    watched.write("touched", b"touched");

    watched.start().await;
    watched.recorder.read(|records| {
        let told = &records.told[told..];
        assert!(told.iter().any(|told| matches!(told, Observation::Gone { path } if path == "deleted")), "{told:?}");
        assert_eq!(records.version("changed"), 2);
        assert_eq!(records.version("new"), 1);
        assert_eq!(records.version("touched"), 1);
        assert_eq!(records.heads["renamed-2"].id, id);
        assert_eq!(records.contents().len(), 5);
    });

    let young = || watched.path.join("touched").metadata().unwrap().modified().unwrap().elapsed().unwrap();
    while young() < Duration::from_millis(50) {
        tokio::task::yield_now().await;
    }
    // By now no stamp is racy: nothing is hashed or reported again.
    watched.stop().await;
    watched.start().await;
    watched.stop().await;
    let told = watched.recorder.read(|records| records.told.len());
    watched.start().await;
    assert_eq!(watched.recorder.read(|records| records.told.len()), told);
}

#[tokio::test(flavor = "multi_thread")]
async fn observations_that_the_sink_refused_are_reported_again() {
    let mut watched = Watched::new().await;
    watched.recorder.refuse(true);
    watched.write("a", b"a");
    let ended = watched.wait_ended().await.unwrap_err().to_string();
    assert_eq!(ended, "raw cannot be used: the host cannot record its changes");
    assert!(watched.recorder.read(|records| records.told.is_empty()));
    watched.recorder.refuse(false);
    watched.start().await;
    assert_eq!(watched.head("a").version, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_to_the_same_size_in_the_same_clock_tick_is_recorded() {
    let watched = Watched::new().await;
    for round in 0..200 {
        watched.put("a", format!("{round:04}")).await;
    }
    assert_eq!(watched.head("a").version, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_through_one_hard_link_is_recorded_for_the_others() {
    let watched = Watched::new().await;
    watched.put("a", b"content").await;
    std::fs::hard_link(watched.path.join("a"), watched.path.join("b")).unwrap();
    watched.wait_recorded("b", b"content").await;
    watched.put("a", b"changed").await;
    watched.wait_recorded("b", b"changed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_through_a_removed_hard_link_is_recorded_for_the_others() {
    let watched = Watched::new().await;
    watched.put("a", b"content").await;
    std::fs::hard_link(watched.path.join("a"), watched.path.join("b")).unwrap();
    watched.wait_recorded("b", b"content").await;
    watched.write("a", b"changed");
    std::fs::remove_file(watched.path.join("a")).unwrap();
    watched.wait_recorded("b", b"changed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_through_an_ignored_hard_link_is_found_by_the_next_scan() {
    let watched = Watched::with(|spec| spec.rescan = std::time::Duration::from_secs(1)).await;
    std::fs::create_dir(watched.path.join(".d")).unwrap();
    watched.put("a", b"content").await;
    std::fs::hard_link(watched.path.join("a"), watched.path.join(".d/a")).unwrap();
    watched.write(".d/a", b"changed");
    watched.wait_recorded("a", b"changed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn different_bytes_with_equal_size_and_mtime_are_a_new_version() {
    let mut watched = Watched::new().await;
    for (size, at) in [(100, "small"), (600_000, "large")] {
        let contents = [b'a', b'b', b'c'].map(|byte| vec![byte; size]);
        watched.write(at, &contents[0]);
        age(&watched.path.join(at));
        watched.wait_recorded(at, &contents[0]).await;
        watched.wait_caught_up().await;
        rewrite_with_old_time(&watched.path.join(at), &contents[1]);
        watched.wait_recorded(at, &contents[1]).await;
        assert_eq!(watched.head(at).version, 2);
        // While nothing watches.
        watched.wait_caught_up().await;
        watched.stop().await;
        rewrite_with_old_time(&watched.path.join(at), &contents[2]);
        watched.start().await;
        watched.wait_recorded(at, &contents[2]).await;
        assert_eq!(watched.head(at).version, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_changes_do_not_make_a_version() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut watched = Watched::new().await;
    for (size, at) in [(100, "small"), (600_000, "large")] {
        let bytes = vec![b'a'; size];
        watched.put(at, &bytes).await;
        let (path, to, outside) = (watched.path.join(at), format!("{at}.moved"), watched.beside());
        let before = watched.head(at);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::hard_link(&path, outside.path().join("link")).unwrap();
        watched.wait_caught_up().await;
        assert_eq!((watched.head(at).id, watched.head(at).version), (before.id, 1));
        std::fs::rename(&path, watched.path.join(&to)).unwrap();
        watched.wait_recorded(&to, &bytes).await;
        assert_eq!(watched.head(&to).id, before.id, "{at}");
        watched.stop().await;
        let last = format!("{at}.last");
        std::fs::rename(watched.path.join(&to), watched.path.join(&last)).unwrap();
        watched.start().await;
        watched.wait_recorded(&last, &bytes).await;
        assert_eq!(watched.head(&last).id, before.id, "renamed while not watching");
        // In the end, the recorded stamp is the file's current one.
        let size = u64::try_from(size).unwrap();
        let is_known = |records: &super::recorder::Records| {
            let ctime = std::fs::metadata(watched.path.join(&last)).map(|file| {
                use std::os::unix::fs::MetadataExt as _;
                file.ctime() * 1_000_000_000 + file.ctime_nsec()
            });
            let stamp = &records.heads[&last].stamp;
            size < 300_000 || ctime.is_ok_and(|ctime| stamp.trim_end_matches('~').ends_with(&format!(":{ctime}")))
        };
        watched.recorder.until("its stamp is that of the file", is_known).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_rewritten_and_renamed_at_once_is_still_hashed() {
    let watched = Watched::new().await;
    let (old, new) = (vec![b'a'; 600_000], vec![b'b'; 600_000]);
    watched.write("a", &old);
    age(&watched.path.join("a"));
    watched.wait_recorded("a", &old).await;
    watched.wait_caught_up().await;
    let held = watched.recorder.hold().await;
    rewrite_with_old_time(&watched.path.join("a"), &new);
    std::fs::rename(watched.path.join("a"), watched.path.join("b")).unwrap();
    drop(held);
    watched.wait_recorded("b", &new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_without_a_ctime_are_checked_once_and_keep_their_version() {
    let mut watched = Watched::new().await;
    watched.put("small", b"small").await;
    watched.put("large", vec![b'a'; 600_000]).await;
    watched.put("moved", b"moved").await;
    watched.put("changed", b"before").await;
    watched.wait_caught_up().await;
    watched.stop().await;
    watched.recorder.forget_change_times();
    let before = ["small", "large", "moved"].map(|path| watched.head(path).id);
    std::fs::rename(watched.path.join("moved"), watched.path.join("elsewhere")).unwrap();
    rewrite_with_old_time(&watched.path.join("changed"), b"after!");
    watched.start().await;
    watched.wait_recorded("changed", b"after!").await;
    assert_eq!(["small", "large", "elsewhere"].map(|path| watched.head(path).id), before);
    // The records now have change times. Once these are old enough to be relied on, another start
    // reports nothing.
    watched.wait_caught_up().await;
    watched.stop().await;
    wait_until("files that are old enough", || {
        ["small", "large", "elsewhere", "changed"].iter().all(|path| {
            let file = std::fs::metadata(watched.path.join(path)).unwrap();
            FileStamp::of_metadata(&file).racy_for(filestamp::now_ns()).is_zero()
        })
    });
    watched.start().await;
    watched.stop().await;
    let told = watched.recorder.read(|records| records.told.len());
    watched.start().await;
    assert_eq!(watched.recorder.read(|records| records.told.len()), told);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_being_hashed_is_shown_as_waiting() {
    let mut watched = Watched::new().await;
    let file = std::fs::File::create(watched.path.join("large.bin")).unwrap();
    // Sparse: the file takes no space, and half a minute to read.
    file.set_len(64 << 30).unwrap();
    drop(file);
    wait_until("the file to be listed as waiting", || watched.recorder.read(|records| records.waiting.count == 1));
    let waiting = watched.recorder.read(|records| records.waiting.clone());
    let shown: Vec<_> = waiting.paths.iter().map(|path| (path.path.as_str(), path.reason.as_str())).collect();
    assert_eq!(shown, [("large.bin", "being hashed: it is recorded once all of its content has been read")]);
    std::fs::remove_file(watched.path.join("large.bin")).unwrap();
    wait_until("no file to be waiting", || watched.recorder.read(|records| records.waiting.count == 0));
    watched.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_open_for_writing_is_reported_with_its_writer() {
    let mut watched = Watched::unwatched(|_| {});
    let path = watched.path.join("slow.csv");
    // A separate process, because this process may run many tests.
    let script = format!("exec 3> '{}'; echo open; read line", path.display());
    let mut writer = std::process::Command::new("sh")
        .args(["-c", &script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Read::read_exact(writer.stdout.as_mut().unwrap(), &mut [0; 5]).unwrap();
    watched.start().await;
    // It is reported before the watch reports that it is complete, however short it has waited.
    let waiting = watched.recorder.read(|records| records.waiting.clone());
    let shown: Vec<_> = waiting.paths.iter().map(|path| (path.path.as_str(), path.reason.as_str())).collect();
    let reason = format!("still open for writing by process {} (sh)", writer.id());
    assert_eq!((waiting.count, shown), (1, vec![("slow.csv", reason.as_str())]));
    // A file that is opened later is reported, too, and a closed one is no longer reported.
    let late = std::fs::File::create(watched.path.join("late.csv")).unwrap();
    let names = |waiting: &Waiting| waiting.paths.iter().map(|path| path.path.clone()).collect::<Vec<_>>();
    watched.recorder.until("the second is told", |records| names(&records.waiting) == ["late.csv", "slow.csv"]).await;
    drop(writer.stdin.take());
    writer.wait().unwrap();
    watched.wait_recorded("slow.csv", b"").await;
    watched.recorder.until("the first is not", |records| names(&records.waiting) == ["late.csv"]).await;
    std::fs::remove_file(watched.path.join("late.csv")).unwrap();
    drop(late);
    watched.recorder.until("no file is waiting", |records| records.waiting == Waiting::default()).await;
}

#[test]
fn a_folder_without_search_permission_is_reported() {
    use std::os::unix::fs::PermissionsExt as _;
    let name = "folder::watching::a_folder_without_search_permission_is_reported";
    // Root may search every folder; without capabilities it is a normal owner.
    if !in_child(&["setpriv", "--bounding-set=-all", "--inh-caps=-all"], name) {
        return;
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        let watched = Watched::new().await;
        std::fs::create_dir(watched.path.join("sub")).unwrap();
        watched.put("sub/a", b"a").await;
        let mode =
            |mode| std::fs::set_permissions(watched.path.join("sub"), std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o600);
        watched.recorder.until("it is told", |records| records.waiting.count == 1).await;
        let told = watched.recorder.read(|records| records.waiting.paths[0].clone());
        assert_eq!(told.path, "sub");
        assert_eq!(
            told.reason,
            "a folder that this user may list and not search: give it the `x` permission (`chmod u+x`)"
        );
        assert!(watched.head("sub/a").present, "files in the folder are not gone");
        mode(0o700);
        watched.recorder.until("no file is waiting", |records| records.waiting == Waiting::default()).await;
        watched.put("sub/b", b"b").await;
        assert_eq!(watched.head("sub/a").version, 1);
    });
}

/// The store reports that an output was recorded at the path after the observation began: the
/// folder looks at the path again, and reports the new observation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outdated_observation_is_repeated() {
    let watched = Watched::new().await;
    watched.put("a", b"a").await;
    watched.put("moves", b"m").await;
    let outdate = |count| watched.recorder.records.lock().unwrap().outdate = count;
    outdate(1);
    watched.put("new", b"new").await;
    outdate(1);
    watched.put("a", b"changed").await;
    outdate(1);
    std::fs::rename(watched.path.join("moves"), watched.path.join("moved")).unwrap();
    watched.wait_recorded("moved", b"m").await;
    assert_eq!(watched.recorder.read(|records| records.versions), 4, "the rename makes no new version");
    outdate(2);
    std::fs::remove_file(watched.path.join("a")).unwrap();
    watched.wait_gone("a").await;
    assert_eq!(watched.recorder.read(|records| records.outdate), 0);
}
