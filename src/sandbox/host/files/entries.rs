//! The types that the generated bindings of `wasi:filesystem` name and that contain types of the
//! bindings.

use wasmtime::component::ResourceTableError;
use wasmtime_wasi::p2::StreamError;

use crate::sandbox::bindings::wasi::wasi::filesystem::types::{DescriptorFlags, ErrorCode};

/// An open file or folder.
#[expect(unreachable_pub, reason = "the generated bindings name it in public")]
#[derive(Debug)]
pub struct DescriptorEntry {
    /// The path at which it was opened.
    pub(super) place: String,
    /// The open file; `None` for a folder.
    pub(super) file: Option<u64>,
    /// Whether it counts as a handle. All descriptors do, except that of `/` itself.
    pub(super) counted: bool,
    pub(super) flags: DescriptorFlags,
}

/// An iteration over the names in a folder.
#[expect(unreachable_pub, reason = "the generated bindings name it in public")]
pub struct FolderEntries {
    pub(super) folder: String,
    /// Where to look for the next name.
    pub(super) from: Option<String>,
    pub(super) ended: bool,
}

/// The error of a call on a file.
#[derive(Debug)]
pub enum FileError {
    /// The program receives an error code.
    Code(ErrorCode),
    /// The host stops the program.
    Trap(wasmtime::Error),
}

/// An error code, passed through a stream error.
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
