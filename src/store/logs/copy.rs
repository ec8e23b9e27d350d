//! Copies the segments of a log.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::FOLDER;
use crate::store::Copied;

/// Copies the log of the pipeline whose state is in the folder `state` into the state folder `to`,
/// also while a host appends to it: then the copy may end with a part of a line, as after a crash.
/// Returns how many files and bytes it has. Nothing is copied if there is no log.
///
/// # Errors
/// When a file cannot be read or written.
pub fn copy(state: &Path, to: &Path) -> io::Result<Copied> {
    let (from, to) = (state.join(FOLDER), to.join(FOLDER));
    fs::create_dir(&to)?;
    let mut copied = Copied::default();
    let entries = match fs::read_dir(&from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(copied),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        if Path::new(&name).extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        match fs::copy(from.join(&name), to.join(&name)) {
            Ok(bytes) => {
                File::open(to.join(&name))?.sync_all()?;
                copied.add(bytes);
            }
            // The host has removed it to make room.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    File::open(&to)?.sync_all()?;
    Ok(copied)
}
