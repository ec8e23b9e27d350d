//! Notes about staged files: what the server answered when they were published.
//!
//! A note is beside the staged file and is removed with it. It is on disk before the attempt goes
//! on, so that no later try, even after a restart, repeats a request that was answered.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use super::kept::blocking;

/// What the name of a note ends with.
const SUFFIX: &str = ".answer";

fn place(staged: &Path) -> PathBuf {
    let mut name = staged.as_os_str().to_owned();
    name.push(SUFFIX);
    name.into()
}

/// Returns the note about a staged file.
pub(super) async fn read(staged: &Path) -> io::Result<Option<String>> {
    let note = place(staged);
    let text = blocking(move || match fs::read_to_string(note) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        text => text.map(Some),
    });
    text.await
}

/// Writes the note about a staged file atomically.
pub(super) async fn write(staged: &Path, text: String) -> io::Result<()> {
    let note = place(staged);
    blocking(move || {
        let draft = note.with_extension("answer-draft");
        let mut file = File::create(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        fs::rename(draft, &note)?;
        note.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    })
    .await
}
