//! A staged file in `/out`.

use crate::model::{ErrorInfo, StagedFile};
use crate::sandbox::host::entries::WriterEntry;

/// A file in `/out`.
pub(super) struct Item {
    /// Its resource and path. `None` after it is removed or replaced by another file.
    pub(super) place: Option<String>,
    pub(super) content: Content,
    /// The number of handles that the program has open on it.
    pub(super) handles: usize,
    /// Whether it may replace an existing file of the resource.
    pub(super) overwrite: bool,
    /// Why its content differs from what the program wrote, if it does.
    pub(super) broken: Option<ErrorInfo>,
}

pub(super) enum Content {
    /// Open.
    Open(WriterEntry),
    Finished {
        file: StagedFile,
        calls: u64,
    },
    /// The file could not be finished.
    Lost,
}

impl Content {
    /// Returns whether the file is lost and cannot be used.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Open(writer) => writer.is_lost(),
            Self::Finished { .. } => false,
            Self::Lost => true,
        }
    }
}

impl Item {
    /// Returns the size in bytes.
    pub(super) fn size(&self) -> u64 {
        match &self.content {
            Content::Open(writer) => writer.size(),
            Content::Finished { file, .. } => file.size,
            Content::Lost => 0,
        }
    }
}
