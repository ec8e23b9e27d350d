//! A file in `/out`, as it is staged.

use crate::model::{ErrorInfo, StagedFile};
use crate::sandbox::host::entries::WriterEntry;

/// A file in `/out`.
pub(super) struct Item {
    /// Its path below `/out`: the resource, and the path there. `None` once it is removed, or
    /// replaced by another.
    pub(super) place: Option<String>,
    pub(super) content: Content,
    /// How many handles of the program are open on it.
    pub(super) handles: usize,
    /// Whether it may replace what lies in the resource.
    pub(super) overwrite: bool,
    /// Why what it holds is not what the program wrote.
    pub(super) broken: Option<ErrorInfo>,
}

pub(super) enum Content {
    /// It has open handles.
    Open(WriterEntry),
    Finished {
        file: StagedFile,
        calls: u64,
    },
    /// It could not be finished.
    Lost,
}

impl Content {
    /// Whether nothing can be done with it any more.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Open(writer) => writer.is_lost(),
            Self::Finished { .. } => false,
            Self::Lost => true,
        }
    }
}

impl Item {
    /// Bytes that it has.
    pub(super) fn size(&self) -> u64 {
        match &self.content {
            Content::Open(writer) => writer.size(),
            Content::Finished { file, .. } => file.size,
            Content::Lost => 0,
        }
    }
}
