//! Relative paths of a manifest.

use std::path::{Path, PathBuf};

/// A path of a manifest as an absolute one. `..` stays: what it means is up to the disk.
pub(super) fn absolute(folder: &Path, text: &str) -> PathBuf {
    folder.join(text).components().collect()
}
