//! The types that the generated bindings of `wasi:filesystem` name, and that hold types of theirs.

use wasmtime::component::ResourceTableError;
use wasmtime_wasi::p2::StreamError;

use crate::sandbox::bindings::wasi::wasi::filesystem::types::{DescriptorFlags, ErrorCode};

/// What a program has open.
#[expect(unreachable_pub, reason = "the generated bindings name it in public")]
#[derive(Debug)]
pub struct DescriptorEntry {
    /// Where it was when it was opened.
    pub(super) place: String,
    /// The open file; `None` for a folder.
    pub(super) file: Option<u64>,
    /// Whether it counts as a handle: all but `/` itself do.
    pub(super) counted: bool,
    pub(super) flags: DescriptorFlags,
}

/// The names in a folder, as far as they were read.
#[expect(unreachable_pub, reason = "the generated bindings name it in public")]
pub struct FolderEntries {
    pub(super) folder: String,
    /// Where the next name is looked for.
    pub(super) from: Option<String>,
    pub(super) ended: bool,
}

/// How a call on a file ends if not well.
#[derive(Debug)]
pub enum FileError {
    /// The program is told by a number.
    Code(ErrorCode),
    /// The program is stopped.
    Trap(wasmtime::Error),
}

/// A number, on its way through a stream.
#[derive(Debug, thiserror::Error)]
#[error("{0:?}")]
pub(super) struct StreamFailed(pub(super) ErrorCode);

impl From<ErrorCode> for FileError {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

impl From<ResourceTableError> for FileError {
    fn from(why: ResourceTableError) -> Self {
        Self::Trap(why.into())
    }
}

impl From<FileError> for StreamError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Code(code) => Self::LastOperationFailed(wasmtime::Error::new(StreamFailed(code))),
            FileError::Trap(why) => Self::Trap(why),
        }
    }
}
