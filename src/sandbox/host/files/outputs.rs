//! `/out`: the staged files of the action.
//!
//! A file is finished when its last handle is closed, so the limit on handles bounds the number of
//! open files, however many files a program creates. If the program opens it again, the staged file
//! is reopened. The file gets its final name at the end: until then, a rename changes one entry
//! here, and not the staged file.

use crate::base::escape;
use crate::model::{ErrorInfo, StagedFile};
use crate::resource::check_path;
use crate::sandbox::bindings::wasi::wasi::filesystem::types::ErrorCode;
use crate::sandbox::host::GuestState;
use crate::sandbox::host::access::CallError;
use crate::sandbox::host::entries::WriterEntry;
use crate::sandbox::host::resources::MAX_OUTPUTS;
use crate::sandbox::limits;

use super::FileError;
use super::item::{Content, Item};
use super::state::{CALL, Open};
use super::tree::Found;

/// The maximum number of files and empty folders in `/out`.
const MAX_ENTRIES: usize = 2 * MAX_OUTPUTS;

/// How a file in `/out` is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// Empty.
    Empty,
    /// With its previous content.
    Kept,
    /// Only if the file does not exist, neither here nor in the resource.
    New,
}

/// Splits a path below `/out` into the resource and the path in it.
fn split(place: &str) -> (String, String) {
    let (resource, path) = place.split_once('/').unwrap_or((place, ""));
    (resource.to_owned(), path.to_owned())
}

impl GuestState {
    /// Opens or creates a file below `/out`.
    pub(super) async fn open_output(&mut self, place: &str, begin: Begin) -> Result<Open, FileError> {
        let number = match self.files.outputs.find(place) {
            Found::File(item) => *item,
            _ => return self.begin_output(place, begin != Begin::New).await.map(Open::Output),
        };
        match self.files.items.get(&number) {
            Some(Item { content: Content::Lost, overwrite, .. }) if begin == Begin::Empty => {
                let overwrite = *overwrite;
                self.forget(number).await;
                return self.begin_output(place, overwrite).await.map(Open::Output);
            }
            Some(Item { content: Content::Open(_) | Content::Finished { .. }, .. }) => {}
            _ => return Err(ErrorCode::Io.into()),
        }
        self.open_again(number).await.map_err(|error| self.refuse(&format!("out/{place}"), error))?;
        if begin == Begin::Empty
            && let Err(error) = self.resize_output(number, 0).await
        {
            self.gate.close_handle();
            self.close_output(number).await?;
            return Err(error);
        }
        if let Some(item) = self.files.items.get_mut(&number).filter(|_| begin == Begin::Empty) {
            item.broken = None;
        }
        Ok(Open::Output(number))
    }

    /// Opens one more handle on a file that is open or finished. If that fails, nothing changes.
    async fn open_again(&mut self, number: u64) -> Result<(), CallError> {
        self.gate.open_handle()?;
        let finished = match self.files.items.get(&number).map(|item| &item.content) {
            Some(Content::Finished { file, calls }) => Some((file.clone(), *calls)),
            _ => None,
        };
        let reopened = match finished {
            Some((file, calls)) => {
                self.take_back(&file, calls).await.inspect_err(|_| self.gate.close_handle()).map(Some)
            }
            None => Ok(None),
        }?;
        if let Some(item) = self.files.items.get_mut(&number) {
            item.handles += 1;
            if let Some(writer) = reopened {
                item.content = Content::Open(writer);
            }
        }
        Ok(())
    }

    /// Reopens a finished file for reading and writing. Dropping the writer removes the file.
    async fn take_back(&mut self, file: &StagedFile, calls: u64) -> Result<WriterEntry, CallError> {
        let Some(resource) = self.services.resources.get(&file.resource).cloned() else {
            return Err(CallError::refused("not-found", format!("there is no resource `{}` any more", file.resource)));
        };
        let cpu = self.cpu.clone();
        let stage = cpu.host(resource.reopen(file)).await.map_err(|why| self.gate.resource_failed(&why))?;
        Ok(WriterEntry::reopened(file, calls, stage))
    }

    /// Creates a file below `/out` at a path that does not exist.
    async fn begin_output(&mut self, place: &str, overwrite: bool) -> Result<u64, FileError> {
        let (resource, path) = split(place);
        let begun = match self.check_entries() {
            Ok(()) => self.writer_at(CALL, resource, path, overwrite).await,
            Err(error) => Err(error),
        };
        let writer = begun.map_err(|error| self.refuse(&format!("out/{place}"), error))?;
        let (number, place, content) = (self.files.number(), place.to_owned(), Content::Open(writer));
        self.files.outputs.put(&place, number);
        self.files.items.insert(number, Item { place: Some(place), content, handles: 1, overwrite, broken: None });
        Ok(number)
    }

    fn check_entries(&mut self) -> Result<(), CallError> {
        if self.files.items.len() >= MAX_ENTRIES || self.files.outputs.len() >= MAX_ENTRIES {
            let error = limits::fixed("outputs_limit", "100,000 files and folders in `/out`");
            return Err(self.gate.limit_reached(error));
        }
        Ok(())
    }

    /// Reads from a file below `/out`.
    pub(super) async fn read_output(&mut self, number: u64, offset: u64, length: usize) -> Result<Vec<u8>, FileError> {
        let Some(Item { content: Content::Open(writer), place, .. }) = self.files.items.get_mut(&number) else {
            return Err(ErrorCode::BadDescriptor.into());
        };
        let place = display_path(place.as_deref());
        let read = writer.read_at(&self.cpu, &mut self.gate, offset, length).await;
        read.map_err(|error| self.refuse(&place, error))
    }

    /// Writes to a file below `/out`, at `offset` or at its end.
    pub(super) async fn write_output(
        &mut self,
        number: u64,
        offset: Option<u64>,
        bytes: &[u8],
    ) -> Result<(), FileError> {
        let Some(Item { content: Content::Open(writer), .. }) = self.files.items.get_mut(&number) else {
            return Err(ErrorCode::BadDescriptor.into());
        };
        let offset = offset.unwrap_or(writer.size());
        let written = writer.write_at(&self.cpu, &mut self.gate, offset, bytes).await;
        written.map_err(|error| self.not_written(number, error))
    }

    /// Truncates a file below `/out`, or extends it with zeros.
    pub(super) async fn resize_output(&mut self, number: u64, size: u64) -> Result<(), FileError> {
        let Some(Item { content: Content::Open(writer), .. }) = self.files.items.get_mut(&number) else {
            return Err(ErrorCode::BadDescriptor.into());
        };
        let resized = writer.set_size(&self.cpu, &mut self.gate, size).await;
        resized.map_err(|error| self.not_written(number, error))
    }

    /// Marks a file as broken after a change was refused or failed. If the program ignores the
    /// error, the file must not be published.
    fn not_written(&mut self, number: u64, mut error: CallError) -> FileError {
        let mut place = display_path(None);
        if let Some(item) = self.files.items.get_mut(&number) {
            place = display_path(item.place.as_deref());
            if let CallError::Refused(error) = &mut error {
                let first = item.broken.get_or_insert_with(|| error.clone());
                // For a lost file, the reason is why it was lost.
                if item.content.is_lost() {
                    error.clone_from(first);
                }
            }
        }
        self.refuse(&place, error)
    }

    /// Closes a handle of a file below `/out`. The last close finishes the file, or removes it if
    /// it no longer has a name.
    pub(super) async fn close_output(&mut self, number: u64) -> Result<(), FileError> {
        let Some(item) = self.files.items.get_mut(&number) else { return Ok(()) };
        item.handles = item.handles.saturating_sub(1);
        if item.handles > 0 {
            return Ok(());
        }
        if item.place.is_none() {
            let gone = self.files.items.remove(&number);
            self.gate.shrink_output(gone.map_or(0, |item| item.size()));
            return Ok(());
        }
        self.finish_output(number).await
    }

    /// Finishes a file below `/out` that has a name.
    async fn finish_output(&mut self, number: u64) -> Result<(), FileError> {
        let Some(item) = self.files.items.get_mut(&number) else { return Ok(()) };
        let (Some(place), Content::Open(writer)) = (item.place.clone(), &mut item.content) else { return Ok(()) };
        let calls = writer.calls();
        match writer.finish(&self.cpu, &mut self.gate).await {
            Ok(file) => {
                let (resource, path) = split(&place);
                let file = StagedFile { resource, path, overwrite: item.overwrite, ..file };
                item.content = Content::Finished { file, calls };
                Ok(())
            }
            Err(error) => {
                item.content = Content::Lost;
                match self.not_written(number, error) {
                    // Programs seldom check the result of closing a file. A lost file fails the
                    // attempt when the program ends.
                    FileError::Code(_) => Ok(()),
                    trap @ FileError::Trap(_) => Err(trap),
                }
            }
        }
    }

    /// Removes the name of a file. Its content is removed at once, or when its last handle is
    /// closed.
    async fn forget(&mut self, number: u64) {
        let Some(item) = self.files.items.get_mut(&number) else { return };
        let Some(place) = item.place.take() else { return };
        let finished = match &item.content {
            Content::Open(_) => None,
            Content::Finished { file, calls } => Some((file.clone(), *calls)),
            Content::Lost => {
                self.files.items.remove(&number);
                None
            }
        };
        self.files.outputs.take(&place);
        self.work.paths.remove(&split(&place));
        if let Some((file, calls)) = finished
            // A file that cannot be removed now is removed with the attempt. It counts against the
            // limit until then.
            && self.take_back(&file, calls).await.is_ok()
        {
            self.files.items.remove(&number);
            self.gate.shrink_output(file.size);
        }
    }

    /// Removes a file below `/out`.
    pub(super) async fn remove_output(&mut self, place: &str) -> Result<(), FileError> {
        match self.files.outputs.find(place) {
            Found::File(item) => {
                let item = *item;
                self.forget(item).await;
                Ok(())
            }
            Found::Folder => Err(ErrorCode::IsDirectory.into()),
            Found::InFile => Err(ErrorCode::NotDirectory.into()),
            Found::Nothing => Err(self.nothing(&format!("out/{place}"))),
        }
    }

    /// Creates a folder below `/out`. It is never published, because resources contain only files.
    pub(super) fn make_output_folder(&mut self, place: &str) -> Result<(), FileError> {
        match self.files.outputs.find(place) {
            Found::Folder | Found::File(_) => return Err(ErrorCode::Exist.into()),
            Found::InFile => return Err(ErrorCode::NotDirectory.into()),
            Found::Nothing => {}
        }
        let (resource, path) = split(place);
        let checked = self
            .known(CALL, &resource, Self::may_write)
            .and_then(|_| check_path(&path).map_err(|why| self.gate.resource_failed(&why)))
            .and_then(|()| self.check_entries());
        checked.map_err(|error| self.refuse(&format!("out/{place}"), error))?;
        self.files.outputs.make_folder(place);
        Ok(())
    }

    /// Removes an empty folder below `/out`.
    pub(super) fn remove_output_folder(&mut self, place: &str) -> Result<(), FileError> {
        match self.files.outputs.find(place) {
            Found::Folder => {}
            Found::File(_) | Found::InFile => return Err(ErrorCode::NotDirectory.into()),
            Found::Nothing => return Err(ErrorCode::NoEntry.into()),
        }
        if !place.contains('/') {
            return Err(ErrorCode::Busy.into());
        }
        if self.files.outputs.remove_folder(place) { Ok(()) } else { Err(ErrorCode::NotEmpty.into()) }
    }

    /// Renames a file below `/out`. Replaces a file that already has the new name.
    pub(super) async fn rename_output(&mut self, old: &str, new: &str) -> Result<(), FileError> {
        let number = match self.files.outputs.find(old) {
            Found::File(number) => *number,
            Found::Folder => {
                self.log_once(&format!("out/{old}"), "is a folder: only files in `/out` can be renamed");
                return Err(ErrorCode::Unsupported.into());
            }
            Found::InFile => return Err(ErrorCode::NotDirectory.into()),
            Found::Nothing => return Err(self.nothing(&format!("out/{old}"))),
        };
        if old == new {
            return Ok(());
        }
        let (from, to) = (split(old), split(new));
        if from.0 != to.0 {
            return Err(ErrorCode::CrossDevice.into());
        }
        let replaced = match self.files.outputs.find(new) {
            Found::File(number) => Some(*number),
            Found::Folder => return Err(ErrorCode::IsDirectory.into()),
            Found::InFile => return Err(ErrorCode::NotDirectory.into()),
            Found::Nothing => None,
        };
        self.check_place(&from, &to).await.map_err(|error| self.refuse(&format!("out/{new}"), error))?;
        if let Some(replaced) = replaced {
            self.forget(replaced).await;
        }
        self.files.outputs.take(old);
        self.files.outputs.put(new, number);
        self.work.paths.remove(&from);
        self.work.paths.insert(to.clone());
        if let Some(item) = self.files.items.get_mut(&number) {
            item.place = Some(new.to_owned());
            item.overwrite = true;
            if let Content::Finished { file, .. } = &mut item.content {
                (file.path, file.overwrite) = (to.1, true);
            }
        }
        Ok(())
    }

    /// Checks that a file may be renamed to another path. Like every other check, it asks the
    /// resource: it creates a staged file there, and drops it, which leaves nothing.
    async fn check_place(&mut self, from: &(String, String), to: &(String, String)) -> Result<(), CallError> {
        let had = [from, to].map(|key| self.work.paths.remove(key));
        let asked = self.writer_at(CALL, to.0.clone(), to.1.clone(), true).await.map(|_| self.gate.close_handle());
        self.work.paths.remove(to);
        for (key, had) in [from, to].into_iter().zip(had) {
            if had {
                self.work.paths.insert(key.clone());
            }
        }
        asked
    }

    /// Finishes all open files, and stages all files for publication.
    pub(super) async fn finish_outputs(&mut self) -> Result<(), CallError> {
        let numbers: Vec<u64> = self.files.items.keys().copied().collect();
        for number in numbers {
            if let Err(FileError::Trap(why)) = self.finish_output(number).await {
                return Err(CallError::Broken(why));
            }
        }
        for item in std::mem::take(&mut self.files.items).into_values() {
            let Some(place) = item.place else { continue };
            if let Some(error) = item.broken {
                let message = format!("`/out/{}` is not complete: {}", escape(place.as_bytes()), error.message);
                return Err(CallError::Refused(ErrorInfo { message, ..error }));
            }
            if let Content::Finished { file, calls } = item.content {
                self.gate.note_written(file.artifact_id, file.size, calls);
                self.work.staged.push(file);
            }
        }
        Ok(())
    }
}

/// Returns the path of a file for messages.
fn display_path(place: Option<&str>) -> String {
    format!("out/{}", place.unwrap_or("(removed)"))
}
