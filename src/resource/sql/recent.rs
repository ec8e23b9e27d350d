//! The newest batches, as files: the next host learns from them which rows are delivered.
//!
//! They are JSON lines. If that is the format of the resource, they are links to the content that
//! is kept, and need no space of their own. They stay for as long as they are needed, even if that
//! content is removed.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The files of the newest batches of one resource.
#[derive(Debug)]
pub(super) struct Recent {
    folder: PathBuf,
}

impl Recent {
    /// The files of the resource of this name, below the state folder.
    pub(super) fn new(resource: &str, state: &Path) -> Self {
        Self { folder: state.join("resources").join(resource).join("recent") }
    }

    fn place(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:012}.jsonl"))
    }

    /// Writes the batch with this number atomically. Replaces one that a host wrote and did not put
    /// on record. Returns its path.
    ///
    /// Always syncs it, whichever durability is set: the rows are not read again once they are on
    /// record, so a power cut must not leave a record without them.
    pub(super) fn write(&self, number: u64, lines: &str) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.folder)?;
        let place = self.place(number);
        let draft = place.with_extension("draft");
        let mut file = File::create(&draft)?;
        file.write_all(lines.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &place)?;
        File::open(&self.folder)?.sync_all()?;
        Ok(place)
    }

    /// Reads the batch with this number. Also returns its path.
    pub(super) fn read(&self, number: u64) -> io::Result<(PathBuf, String)> {
        let place = self.place(number);
        fs::read_to_string(&place).map(|lines| (place, lines))
    }

    /// Removes everything but the batches with these numbers: files that a host left behind when it
    /// died. A file that cannot be removed only takes space.
    pub(super) fn retain(&self, numbers: &Range<u64>) {
        let needed: HashSet<PathBuf> = numbers.clone().map(|number| self.place(number)).collect();
        let there = fs::read_dir(&self.folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        for path in there.filter(|path| !needed.contains(path)) {
            let _ = fs::remove_file(path);
        }
    }

    /// Removes the batches with these numbers. One that cannot be removed only takes space.
    pub(super) fn remove(&self, numbers: Range<u64>) {
        for number in numbers {
            let _ = fs::remove_file(self.place(number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn a_batch_is_read_as_it_was_written_last() {
        let state = tempfile::tempdir().unwrap();
        let recent = Recent::new("rows", state.path());
        assert!(recent.read(1).is_err());
        recent.write(1, "{\"id\":1}\n").unwrap();
        recent.write(1, "{\"id\":2}\n").unwrap();
        recent.write(2, "").unwrap();
        assert_eq!(recent.read(1).unwrap().1, "{\"id\":2}\n");
        recent.remove(0..2);
        assert!(recent.read(1).is_err() && recent.read(2).is_ok());
        recent.write(3, "").unwrap();
        std::fs::write(state.path().join("resources/rows/recent/000000000004.draft"), "").unwrap();
        recent.retain(&(3..4));
        assert!(recent.read(2).is_err() && recent.read(3).is_ok());
        assert_eq!(std::fs::read_dir(state.path().join("resources/rows/recent")).unwrap().count(), 1);
    }
}
