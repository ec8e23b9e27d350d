//! Lists a folder one name at a time. Each name is looked up on request, so a listing that is not
//! read to its end costs nothing.

use wasmtime::component::Resource as Handle;

use crate::sandbox::bindings::wasi::wasi::filesystem::types::{
    DescriptorType, DirectoryEntry, HostDirectoryEntryStream,
};
use crate::sandbox::host::GuestState;

use super::state::{Files, METRICS};
use super::tree::Child;
use super::{FileError, FolderEntries};

impl FolderEntries {
    /// Starts a listing of a folder.
    pub(super) fn of(folder: String) -> Self {
        Self { folder, from: None, ended: false }
    }

    fn next(&mut self, files: &Files) -> Option<DirectoryEntry> {
        if self.ended {
            return None;
        }
        let child = match self.folder.split_once('/').unwrap_or((&self.folder, "")) {
            ("", _) => root(self.from.as_deref()),
            ("in", folder) => files.inputs.child(folder, self.from.as_deref()),
            (_, folder) => files.outputs.child(folder, self.from.as_deref()),
        };
        if let Some(Child { name, is_folder, next }) = child {
            self.from = Some(next);
            let type_ = if is_folder { DescriptorType::Directory } else { DescriptorType::RegularFile };
            return Some(DirectoryEntry { type_, name });
        }
        self.ended = true;
        let has_metrics = self.folder == "out" && files.metrics.exists();
        has_metrics.then(|| DirectoryEntry { type_: DescriptorType::RegularFile, name: METRICS.to_owned() })
    }
}

/// Returns the next name in `/`.
fn root(from: Option<&str>) -> Option<Child> {
    let (name, next) = match from {
        None => ("in", "out"),
        Some("out") => ("out", ""),
        Some(_) => return None,
    };
    Some(Child { name: name.to_owned(), is_folder: true, next: next.to_owned() })
}

impl HostDirectoryEntryStream for GuestState {
    async fn read_directory_entry(
        &mut self,
        stream: Handle<FolderEntries>,
    ) -> Result<Option<DirectoryEntry>, FileError> {
        self.gate.enter();
        Ok(self.table.get_mut(&stream)?.next(&self.files))
    }

    async fn drop(&mut self, stream: Handle<FolderEntries>) -> wasmtime::Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}
