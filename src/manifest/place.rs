//! Relative paths of a manifest.

use std::path::{Path, PathBuf};

/// Makes a path of the manifest absolute. Keeps `..`, because its meaning depends on links on the
/// disk.
pub(super) fn absolute(folder: &Path, text: &str) -> PathBuf {
    folder.join(text).components().collect()
}
