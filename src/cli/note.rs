//! The note that a running host leaves beside its store: how to reach it.
//!
//! The store's lock says *whether* a host runs; it ends with the process that holds it, whatever happens to that process. The
//! note says only *where*, and may be left over: whoever reads it has to find out whether that host answers.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;

const NAME: &str = "host.json";
/// No note of ours is larger.
const MAX_BYTES: u64 = 4096;

/// How to reach a running host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// Where its HTTP interface is, without a slash at the end; an address that this machine can reach.
    pub(crate) url: String,
    /// Its process.
    pub(crate) pid: u32,
    /// When it started.
    pub(crate) started_at: Timestamp,
}

/// Removes the note when the host ends.
#[derive(Debug)]
pub(crate) struct Left(PathBuf);

impl Note {
    /// Leaves the note in the pipeline's state folder. It appears there whole.
    pub(crate) fn leave(&self, state: &Path) -> io::Result<Left> {
        let file = state.join(NAME);
        let draft = state.join(format!(".{NAME}.{}", self.pid));
        let mut out = fs::File::create(&draft)?;
        out.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(&draft, &file)?;
        Ok(Left(file))
    }

    /// The note in a state folder; `None` if there is none that makes sense.
    pub(crate) fn read(state: &Path) -> Option<Self> {
        let file = state.join(NAME);
        if fs::metadata(&file).ok()?.len() > MAX_BYTES {
            return None;
        }
        serde_json::from_slice(&fs::read(file).ok()?).ok()
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::Note;
    use crate::base::Timestamp;

    #[test]
    fn a_note_is_there_as_long_as_the_host() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Note::read(folder.path()), None);
        let note = Note { url: "http://127.0.0.1:1".to_owned(), pid: 7, started_at: Timestamp::from_micros(1) };
        let left = note.leave(folder.path()).unwrap();
        assert_eq!(Note::read(folder.path()), Some(note));
        drop(left);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        std::fs::write(folder.path().join("host.json"), "{").unwrap();
        assert_eq!(Note::read(folder.path()), None);
    }
}
