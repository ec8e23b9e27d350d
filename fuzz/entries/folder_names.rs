//! Uses arbitrary bytes as paths in a folder: a refused path has created nothing, and an accepted
//! path is in the folder, once and complete.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use anacostia::base::{ArtifactId, AttemptId};
use anacostia::manifest::FolderSpec;
use anacostia::resource::folder::Folder;
use anacostia::resource::{Content, Resource, check_path};

fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap())
}

/// Returns all files below a folder, except the host's own.
fn files(root: &Path, at: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(root, &path, found);
        } else {
            found.insert(path.strip_prefix(root).unwrap().to_owned(), std::fs::read(&path).unwrap());
        }
    }
}

/// Writes a file at each path in the bytes, one per line, and reads it back.
pub(crate) fn run(data: &[u8]) {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("folder");
    std::fs::write(parent.path().join("outside"), b"outside").unwrap();
    let spec = FolderSpec {
        path: root.clone(),
        include: Vec::new(),
        exclude: Vec::new(),
        ignore: FolderSpec::default_ignore(),
        settle: Duration::from_secs(1),
        rescan: Duration::from_hours(1),
    };
    let folder = Folder::new("out", &spec, false).unwrap();
    let mut accepted = BTreeMap::new();
    for (number, path) in data.split(|byte| *byte == b'\n').take(16).enumerate() {
        let Ok(path) = std::str::from_utf8(path) else { continue };
        let content = format!("content {number}").into_bytes();
        let written = runtime().block_on(write(&folder, path, &content));
        if written {
            assert!(check_path(path).is_ok(), "{path:?} was accepted by the folder but is not a valid path");
            accepted.insert(PathBuf::from(path), content);
        }
    }
    let mut found = BTreeMap::new();
    files(parent.path(), parent.path(), &mut found);
    let mut expected: BTreeMap<PathBuf, Vec<u8>> =
        accepted.into_iter().map(|(path, content)| (Path::new("folder").join(path), content)).collect();
    expected.insert(PathBuf::from("outside"), b"outside".to_vec());
    assert_eq!(found, expected);
}

async fn write(folder: &Folder, path: &str, content: &[u8]) -> bool {
    let attempt = AttemptId::new();
    let Ok(mut writer) = folder.create(attempt, ArtifactId::new(), path, false).await else { return false };
    writer.write(content).await.unwrap();
    let staged = writer.finish().await.unwrap();
    // A path that is blocked by another one cannot be published. The attempt is discarded, as the
    // host does when it starts.
    let published = folder.publish(attempt, std::slice::from_ref(&staged)).await;
    if published.is_ok() {
        let content = Content {
            path: path.to_owned(),
            size: staged.size,
            digest: Some(staged.digest),
            stamp: staged.stamp.clone(),
        };
        assert!(folder.open(&content).await.is_ok(), "{path:?} is published but cannot be read");
    }
    folder.sweep(&[]).await.unwrap();
    published.is_ok()
}
