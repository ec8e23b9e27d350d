//! Looking after a store: what its parts take, whether it is whole, and a copy of it.

use std::path::Path;

use super::Result;

/// A part of the records, such as the runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorePart {
    /// What is in it, for people.
    pub name: &'static str,
    /// How many there are.
    pub count: u64,
    /// What they take in the store, in bytes, with their indexes.
    pub bytes: u64,
}

/// Files that were copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Copied {
    /// Adds a file of this many bytes.
    pub(super) fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// What keepers of a store ask of it, also while a host is running. Calls block, and read all that
/// is on record.
pub trait Upkeep: std::fmt::Debug {
    /// Returns the parts of the records, in a fixed order.
    ///
    /// # Errors
    /// When they cannot be read.
    fn parts(&self) -> Result<Vec<StorePart>>;

    /// Looks for damage, and for records that contradict each other. Returns what is wrong, a
    /// sentence each; empty if all is whole.
    ///
    /// # Errors
    /// When the records cannot be read at all.
    fn check(&self) -> Result<Vec<String>>;

    /// Writes a copy of the records, as they are at one moment, to the file `to`, which must not
    /// exist. Once this has returned, the copy survives a power cut; its name does so when the
    /// caller has synced the folder.
    ///
    /// # Errors
    /// When it cannot be written; a part of the file may then be there.
    fn back_up(&self, to: &Path) -> Result<()>;
}
