//! The README of an action: of the folder with its source, or of the folder of its component.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::manifest::{ActionSpec, Pipeline};

/// Names of the file, the usual one first.
const NAMES: [&str; 4] = ["README.md", "README.txt", "README", "readme.md"];
/// Longest text that is shown, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// A README.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Readme {
    /// Its path, from the folder of the manifest if it is below it.
    file: String,
    text: String,
    is_markdown: bool,
    /// Whether there is more than is shown.
    is_cut: bool,
}

/// Returns the README of an action, if there is one. The README of the pipeline itself is none.
pub(super) async fn find(pipeline: &Pipeline, action: &ActionSpec) -> Option<Readme> {
    let sources = action.build.iter().flat_map(|build| build.watch.clone());
    let component = action.component.parent().map(Path::to_path_buf);
    let root = pipeline.folder.clone();
    let folders: Vec<PathBuf> = sources.chain(component).filter(|folder| *folder != root).collect();
    tokio::task::spawn_blocking(move || folders.iter().find_map(|folder| read(&root, folder))).await.ok()?
}

fn read(root: &Path, folder: &Path) -> Option<Readme> {
    let path = NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file())?;
    let mut bytes = Vec::new();
    File::open(&path).ok()?.take(MAX_BYTES + 1).read_to_end(&mut bytes).ok()?;
    let is_cut = bytes.len() as u64 > MAX_BYTES;
    bytes.truncate(usize::try_from(MAX_BYTES).unwrap_or(usize::MAX));
    Some(Readme {
        file: path.strip_prefix(root).unwrap_or(&path).display().to_string(),
        text: String::from_utf8_lossy(&bytes).into_owned(),
        is_markdown: path.extension().is_some_and(|ending| ending == "md"),
        is_cut,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_readme_is_read() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("train");
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(read(root.path(), &folder), None);
        std::fs::create_dir(folder.join("README.md")).unwrap();
        assert_eq!(read(root.path(), &folder), None);
        std::fs::write(folder.join("README"), b"# Train \xff").unwrap();
        let seen = read(root.path(), &folder).unwrap();
        assert_eq!((seen.file.as_str(), seen.text.as_str(), seen.is_cut), ("train/README", "# Train \u{fffd}", false));
        std::fs::write(folder.join("README"), vec![b'a'; 70_000]).unwrap();
        let seen = read(root.path(), &folder).unwrap();
        assert_eq!((seen.text.len(), seen.is_cut), (65_536, true));
    }
}
