//! Reading a version returns its content, or `changed`.

use std::fs::OpenOptions;
use std::io::{Seek as _, Write as _};

use anacostia::base::Digest;
use anacostia::resource::{Content, Reader, Resource as _, ResourceError};

use super::recorder::{Watched, age, rewrite_with_old_time};

async fn all(reader: &mut dyn Reader) -> Result<Vec<u8>, ResourceError> {
    let mut bytes = Vec::new();
    loop {
        let chunk = reader.read(bytes.len() as u64, 1 << 16).await?;
        if chunk.is_empty() {
            return Ok(bytes);
        }
        bytes.extend(chunk);
    }
}

async fn open(watched: &Watched, content: &Content) -> Result<Box<dyn Reader>, ResourceError> {
    watched.folder.open(content).await
}

async fn code(watched: &Watched, content: &Content) -> &'static str {
    match open(watched, content).await {
        Ok(_) => "ok",
        Err(error) => error.code(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_read_completely_and_from_an_offset() {
    let watched = Watched::new().await;
    for size in [0, 1, 1000, 300_000, 3 << 20] {
        let bytes: Vec<u8> = (0..size).map(|at: u32| (at % 251) as u8).collect();
        let name = format!("file-{size}");
        watched.put(&name, &bytes).await;
        let mut reader = open(&watched, &watched.content(&name)).await.unwrap();
        assert_eq!(all(&mut *reader).await.unwrap(), bytes);
        let (from, to) = (bytes.len() / 3, bytes.len() / 2);
        assert_eq!(reader.read(from as u64, to - from).await.unwrap(), bytes[from..to]);
        assert_eq!(reader.read(u64::from(size), 10).await.unwrap(), b"");
        assert_eq!(reader.read(u64::MAX, 10).await.unwrap(), b"");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_no_longer_there_is_refused() {
    let watched = Watched::new().await;
    watched.put("a", b"content").await;
    let content = watched.content("a");
    assert_eq!(code(&watched, &content).await, "ok");

    watched.write("a", b"CONTENT");
    assert_eq!(code(&watched, &content).await, "changed", "same size");
    watched.write("a", b"longer content");
    assert_eq!(code(&watched, &content).await, "changed");
    std::fs::remove_file(watched.path.join("a")).unwrap();
    assert_eq!(code(&watched, &content).await, "not-found");
    std::fs::create_dir(watched.path.join("a")).unwrap();
    assert_eq!(code(&watched, &content).await, "changed");
    std::fs::remove_dir(watched.path.join("a")).unwrap();
    std::os::unix::fs::symlink("b", watched.path.join("a")).unwrap();
    assert_eq!(code(&watched, &content).await, "changed");
    std::fs::remove_file(watched.path.join("a")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, watched.path.join("a"), rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    assert_eq!(code(&watched, &content).await, "changed");
    std::fs::remove_file(watched.path.join("a")).unwrap();
    watched.write("a", b"content");
    assert_eq!(code(&watched, &content).await, "ok", "another file with equal content is the same version");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_in_the_clock_tick_of_recording_is_not_read_as_the_recorded_version() {
    let watched = Watched::new().await;
    for round in 0..300_u32 {
        let bytes = format!("{round:08}");
        watched.put("a", &bytes).await;
        let content = watched.content("a");
        // In place, to the same size, and at once.
        let mut file = OpenOptions::new().write(true).open(watched.path.join("a")).unwrap();
        file.write_all(b"x").unwrap();
        drop(file);
        assert_eq!(code(&watched, &content).await, "changed", "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_during_reading_is_detected_at_the_next_chunk() {
    let watched = Watched::new().await;
    for (round, change) in ["rewrite", "append", "truncate", "rewrite and set the time back"].into_iter().enumerate() {
        let (name, bytes) = (format!("file-{round}"), vec![1; 1 << 20]);
        watched.put(&name, &bytes).await;
        let path = watched.path.join(&name);
        let mut reader = open(&watched, &watched.content(&name)).await.unwrap();
        assert_eq!(reader.read(0, 1000).await.unwrap().len(), 1000);

        let before = std::fs::metadata(&path).unwrap().modified().unwrap();
        let mut file = OpenOptions::new().write(true).open(&path).unwrap();
        match change {
            "append" => file.seek(std::io::SeekFrom::End(0)).map(drop).unwrap(),
            "truncate" => file.set_len(10).unwrap(),
            _ => {}
        }
        file.write_all(b"x").unwrap();
        if change.ends_with("back") {
            file.set_modified(before).unwrap();
        }
        drop(file);
        let result = reader.read(1000, 1000).await;
        assert!(matches!(result, Err(ResourceError::Changed { .. })), "{change}: {result:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_or_removal_during_reading_does_not_disturb_it() {
    let watched = Watched::new().await;
    let bytes = vec![1; 2 << 20];
    watched.put("a", &bytes).await;
    let mut reader = open(&watched, &watched.content("a")).await.unwrap();
    std::fs::rename(watched.path.join("a"), watched.path.join("b")).unwrap();
    std::fs::hard_link(watched.path.join("b"), watched.path.join("c")).unwrap();
    assert_eq!(all(&mut *reader).await.unwrap(), bytes);
    std::fs::remove_file(watched.path.join("b")).unwrap();
    std::fs::remove_file(watched.path.join("c")).unwrap();
    assert_eq!(all(&mut *reader).await.unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_escapes_the_folder() {
    let watched = Watched::new().await;
    let outside = watched.beside();
    std::fs::write(outside.path().join("secret"), b"secret").unwrap();
    std::os::unix::fs::symlink(outside.path(), watched.path.join("link")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), watched.path.join("file")).unwrap();
    let up = format!("../{}/secret", outside.path().file_name().unwrap().to_str().unwrap());
    let absolute = outside.path().join("secret");
    for (path, expected) in [
        (up.as_str(), "invalid"),
        (absolute.to_str().unwrap(), "invalid"),
        ("a/../../secret", "invalid"),
        ("link/secret", "unavailable"),
        ("file", "changed"),
    ] {
        let content =
            Content { path: path.to_owned(), size: 6, digest: Some(Digest::of(b"secret")), stamp: String::new() };
        assert_eq!(code(&watched, &content).await, expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn different_bytes_with_equal_size_and_mtime_are_not_read_as_the_recorded_version() {
    let watched = Watched::new().await;
    for size in [100, 600_000] {
        let (name, old, new) = (format!("file-{size}"), vec![b'a'; size], vec![b'b'; size]);
        watched.write(&name, &old);
        age(&watched.path.join(&name));
        watched.wait_recorded(&name, &old).await;
        watched.wait_caught_up().await;
        let content = watched.content(&name);
        let mut reader = open(&watched, &content).await.unwrap();
        assert_eq!(reader.read(0, 10).await.unwrap(), &old[..10]);
        rewrite_with_old_time(&watched.path.join(&name), &new);
        assert_eq!(reader.read(0, 10).await.unwrap_err().code(), "changed", "in the middle of reading");
        assert_eq!(code(&watched, &content).await, "changed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rename_link_and_chmod_do_not_affect_reading() {
    use std::os::unix::fs::PermissionsExt as _;
    let watched = Watched::new().await;
    let bytes = vec![b'a'; 600_000];
    watched.put("a", &bytes).await;
    let content = watched.content("a");
    let mut reader = open(&watched, &content).await.unwrap();
    let outside = watched.beside();
    std::fs::hard_link(watched.path.join("a"), outside.path().join("link")).unwrap();
    assert_eq!(all(&mut *reader).await.unwrap(), bytes);
    std::fs::set_permissions(watched.path.join("a"), std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(code(&watched, &content).await, "ok");
    std::fs::rename(watched.path.join("a"), watched.path.join("b")).unwrap();
    assert_eq!(all(&mut *reader).await.unwrap(), bytes, "an open file can be read to its end");
    assert_eq!(code(&watched, &content).await, "not-found");
}
