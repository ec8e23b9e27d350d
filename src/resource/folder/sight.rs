//! Says whether a missing folder may be created, and creates it.

use std::io;
use std::path::Path;

/// What the watch of a folder knows about it, for those who write there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Sight {
    /// Nobody watches it.
    #[default]
    Unwatched,
    /// The watch has not looked yet, or reached the folder when it last looked. If the folder is
    /// missing, it is not known whether files of it are on record.
    Unclear,
    /// The folder cannot be reached, and files of it are on record. Nothing is written.
    Away,
    /// The folder cannot be reached, and no file of it is on record, so it may be created.
    Empty,
}

/// Creates a folder with those above it. Always syncs their names, whichever durability is set:
/// folders are seldom created, and synced outputs may follow.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|path| !path.exists()).collect();
    std::fs::create_dir_all(folder)?;
    for parent in missing.into_iter().filter_map(Path::parent) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        std::fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}
