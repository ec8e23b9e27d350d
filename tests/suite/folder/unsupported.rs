//! Entries that cannot be artifacts: each is ignored, with the reason, and does not affect others.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;

use super::recorder::Watched;

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_are_not_files_are_ignored_with_the_reason() {
    let watched = Watched::new().await;
    let path = |name: &str| watched.path.join(name);
    watched.put("real", b"real").await;
    rustix::fs::mknodat(rustix::fs::CWD, path("fifo"), rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    symlink("nothing", path("dangling")).unwrap();
    symlink("/etc/passwd", path("outside")).unwrap();
    symlink("..", path("up")).unwrap();
    symlink("real", path("inside")).unwrap();
    symlink(path("real"), path("absolute")).unwrap();
    symlink("circle", path("circle")).unwrap();
    for (name, reason) in [
        ("fifo", "a FIFO"),
        ("socket", "a socket"),
        ("dangling", "which does not exist"),
        ("outside", "outside of the folder"),
        ("up", "outside of the folder"),
        ("inside", "is recorded under its own path"),
        ("absolute", "is recorded under its own path"),
        ("circle", "part of a loop of links"),
    ] {
        let given = watched.wait_ignored(name).await;
        assert!(given.contains(reason), "{name}: {given}");
    }
    watched.put("after", b"after").await;
    // The target of the dangling link appears, and a file replaces the FIFO.
    watched.put("nothing", b"something").await;
    std::fs::remove_file(path("fifo")).unwrap();
    watched.put("fifo", b"a file now").await;
    std::fs::remove_file(path("socket")).unwrap();
    watched.wait_gone("socket").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unsupported_entries_are_reported_once() {
    let mut watched = Watched::new().await;
    symlink("/etc/passwd", watched.path.join("outside")).unwrap();
    std::fs::write(watched.path.join(OsStr::from_bytes(b"bad-\xff")), b"x").unwrap();
    watched.wait_ignored("outside").await;
    watched.wait_ignored("bad-\\xff").await;
    // It may have been seen between its creation and its writing.
    watched.wait_caught_up().await;
    watched.stop().await;
    let told = watched.recorder.read(|records| records.told.len());
    watched.start().await;
    assert_eq!(watched.recorder.read(|records| records.told.len()), told);
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_names_are_reported_escaped() {
    let watched = Watched::new().await;
    let bad = watched.path.join(OsStr::from_bytes(b"caf\xe9.csv"));
    std::fs::write(&bad, b"x").unwrap();
    assert_eq!(watched.wait_ignored("caf\\xe9.csv").await, "its name is not UTF-8");
    watched.write("a\nb", b"x");
    assert!(watched.wait_ignored("a\\u{a}b").await.contains("control character"));
    let folder = watched.path.join(OsStr::from_bytes(b"folder-\xff"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("inside"), b"x").unwrap();
    assert!(watched.wait_ignored("folder-\\xff").await.contains("nothing in it is recorded"));
    std::fs::remove_file(bad).unwrap();
    watched.wait_gone("caf\\xe9.csv").await;
    assert!(watched.recorder.read(|records| records.contents().is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_name_with_markup_is_valid() {
    let watched = Watched::new().await;
    let name = format!("<script>alert(1)<script>{}", "x".repeat(176));
    assert_eq!(name.len(), 200);
    watched.put(&name, b"content").await;
    assert_eq!(watched.head(&name).version, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_replaced_by_a_folder_and_back_is_recorded() {
    let watched = Watched::new().await;
    watched.put("x", b"file").await;
    std::fs::remove_file(watched.path.join("x")).unwrap();
    std::fs::create_dir(watched.path.join("x")).unwrap();
    watched.put("x/y", b"inside").await;
    watched.wait_gone("x").await;
    std::fs::remove_dir_all(watched.path.join("x")).unwrap();
    watched.put("x", b"file again").await;
    watched.wait_gone("x/y").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_symlink_that_replaces_a_folder_is_not_followed() {
    let watched = Watched::new().await;
    std::fs::create_dir(watched.path.join("sub")).unwrap();
    watched.put("sub/a", b"a").await;
    let id = watched.head("sub/a").id;
    std::fs::rename(watched.path.join("sub"), watched.path.join("moved")).unwrap();
    symlink("moved", watched.path.join("sub")).unwrap();
    watched.wait_recorded("moved/a", b"a").await;
    watched.wait_ignored("sub").await;
    watched.wait_gone("sub/a").await;
    assert_eq!(watched.head("moved/a").id, id);
}
