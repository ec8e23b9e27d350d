//! `/out`: what the action makes, staged.
//!
//! A file is finished when it is closed, so that what is open is bounded by the limit of handles and not by how many files a program makes. It gets its name at
//! the end: until then renaming it changes one entry here, and the stage knows nothing of it.

use crate::base::escape;
use crate::model::{ErrorInfo, StagedFile};
use crate::resource::{Reader, check_path};
use crate::sandbox::bindings::wasi::wasi::filesystem::types::ErrorCode;
use crate::sandbox::host::GuestState;
use crate::sandbox::host::access::CallError;
use crate::sandbox::host::resources::{MAX_OUTPUTS, WriterEntry};
use crate::sandbox::limits;

use super::tree::Found;
use super::{CALL, FileError, MAX_MOVE_BYTES, Open};

/// Most files that one attempt begins: those that it removes again are kept until it ends.
const MAX_BEGUN: usize = 2 * MAX_OUTPUTS;

/// A file in `/out`.
pub(super) struct Item {
    /// Its path below `/out`: the resource, and the path there. `None` once it is removed, or replaced by another.
    place: Option<String>,
    content: Content,
    /// Whether it may replace what lies in the resource.
    overwrite: bool,
    /// Why what it holds is not what the program wrote.
    broken: Option<ErrorInfo>,
}

enum Content {
    Writing(WriterEntry),
    Finished {
        file: StagedFile,
        calls: u64,
    },
    /// It could not be finished.
    Lost,
}

/// How a file in `/out` is opened for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// With nothing in it.
    Empty,
    /// With what was written before.
    Kept,
    /// Only if there is none, in the resource either.
    New,
}

/// A path below `/out` in its two parts.
fn split(place: &str) -> (String, String) {
    let (resource, path) = place.split_once('/').unwrap_or((place, ""));
    (resource.to_owned(), path.to_owned())
}

impl Item {
    /// Bytes that it has.
    pub(super) fn size(&self) -> u64 {
        match &self.content {
            Content::Writing(writer) => writer.taken().0,
            Content::Finished { file, .. } => file.size,
            Content::Lost => 0,
        }
    }
}

impl GuestState {
    /// Opens a file below `/out` for writing.
    pub(super) async fn open_output(&mut self, place: &str, begin: Begin) -> Result<Open, FileError> {
        let old = match self.files.outputs.find(place) {
            Found::File(item) => Some(*item),
            _ => None,
        };
        if let Some(old) = old {
            if matches!(self.files.items.get(&old), Some(Item { content: Content::Writing(_), .. })) {
                self.tell(&format!("out/{place}"), "is open for writing already");
                return Err(ErrorCode::Busy.into());
            }
            return self.replace_output(old, place, begin).await.map(Open::Output);
        }
        self.begin_output(place, begin != Begin::New).await.map(Open::Output)
    }

    /// Begins a file in the place of one that is finished, with what that one holds or without. If it can not be begun, all stays as it was.
    async fn replace_output(&mut self, old: u64, place: &str, begin: Begin) -> Result<u64, FileError> {
        let Some(item) = self.files.items.remove(&old) else { return Err(ErrorCode::Io.into()) };
        self.work.paths.remove(&split(place));
        let held = match &item.content {
            Content::Finished { file, .. } => Some(file.clone()),
            Content::Writing(_) | Content::Lost => None,
        };
        let begun = match self.begin_output(place, item.overwrite).await {
            // A stage that is finished takes nothing: what it has is staged once more.
            Ok(fresh) if begin == Begin::Kept => self.copy_staged(held, place, fresh).await.map(|()| fresh),
            begun => begun,
        };
        if begun.is_err() {
            self.files.items.insert(old, item);
            self.files.outputs.put(place, old);
            self.work.paths.insert(split(place));
        }
        begun
    }

    /// Begins a file below `/out`, where there is none.
    async fn begin_output(&mut self, place: &str, overwrite: bool) -> Result<u64, FileError> {
        let (resource, path) = split(place);
        let begun = match self.check_begun() {
            Ok(()) => self.writer_at(CALL, resource, path, overwrite).await,
            Err(error) => Err(error),
        };
        let writer = begun.map_err(|error| self.refuse(&format!("out/{place}"), error))?;
        let number = self.files.number();
        let content = Content::Writing(writer);
        self.files.items.insert(number, Item { place: Some(place.to_owned()), content, overwrite, broken: None });
        self.files.outputs.put(place, number);
        Ok(number)
    }

    fn check_begun(&mut self) -> Result<(), CallError> {
        if self.files.begun >= MAX_BEGUN || self.files.outputs.len() >= MAX_BEGUN {
            let error = limits::fixed("outputs_limit", "100,000 files begun in one attempt");
            return Err(self.gate.limit_reached(error));
        }
        self.files.begun += 1;
        Ok(())
    }

    /// Writes to `fresh` what a finished file holds; takes `fresh` away again if that fails.
    async fn copy_staged(&mut self, held: Option<StagedFile>, place: &str, fresh: u64) -> Result<(), FileError> {
        let copied = match held {
            Some(file) => self.copy_bytes(&file, fresh).await,
            None => Err(CallError::refused("unavailable", "what it held could not be finished")),
        };
        copied.map_err(|error| {
            self.files.items.remove(&fresh);
            self.gate.close_handle();
            self.refuse(&format!("out/{place}"), error)
        })
    }

    async fn copy_bytes(&mut self, file: &StagedFile, fresh: u64) -> Result<(), CallError> {
        let (cpu, mut offset) = (self.cpu.clone(), 0);
        let mut reader = self.reader_of_staged(file).await?;
        while offset < file.size {
            let read = cpu.host(reader.read(offset, MAX_MOVE_BYTES)).await;
            let bytes = read.map_err(|why| self.gate.resource_failed(&why))?;
            offset = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            if let Some(Item { content: Content::Writing(writer), .. }) = self.files.items.get_mut(&fresh) {
                writer.write(&cpu, &mut self.gate, &bytes).await?;
            }
            // A large file must not hold up the guests that share the thread.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn reader_of_staged(&mut self, file: &StagedFile) -> Result<Box<dyn Reader>, CallError> {
        let Some(resource) = self.services.resources.get(&file.resource).cloned() else {
            return Err(CallError::refused("not-found", format!("there is no resource `{}` any more", file.resource)));
        };
        let cpu = self.cpu.clone();
        cpu.host(resource.open_staged(file)).await.map_err(|why| self.gate.resource_failed(&why))
    }

    /// Opens a file below `/out` for reading.
    pub(super) async fn read_output(&mut self, place: &str, item: u64) -> Result<Open, FileError> {
        let file = match self.files.items.get(&item).map(|item| &item.content) {
            Some(Content::Finished { file, .. }) => file.clone(),
            Some(Content::Writing(_)) => {
                self.tell(&format!("out/{place}"), "is being written: it can be read once it is closed");
                return Err(ErrorCode::Busy.into());
            }
            _ => return Err(ErrorCode::Io.into()),
        };
        let opened = match self.gate.open_handle() {
            Ok(()) => self.reader_of_staged(&file).await.inspect_err(|_| self.gate.close_handle()),
            Err(error) => Err(error),
        };
        opened.map(Open::Staged).map_err(|error| self.refuse(&format!("out/{place}"), error))
    }

    /// Writes to a file below `/out`: at `offset`, which must be its end, or at its end.
    pub(super) async fn write_output(
        &mut self,
        number: u64,
        offset: Option<u64>,
        bytes: &[u8],
    ) -> Result<(), FileError> {
        let Some(item) = self.files.items.get_mut(&number) else { return Err(ErrorCode::BadDescriptor.into()) };
        let place = format!("out/{}", item.place.as_deref().unwrap_or("(removed)"));
        let Content::Writing(writer) = &mut item.content else { return Err(ErrorCode::BadDescriptor.into()) };
        let end = writer.taken().0;
        if offset.is_some_and(|offset| offset != end) {
            let words = format!(
                "files in `/out` are written from front to back; this one ends at byte {end}, and a write began elsewhere"
            );
            item.broken.get_or_insert_with(|| lost(&place, &words));
            self.tell(&place, &words);
            return Err(ErrorCode::InvalidSeek.into());
        }
        match writer.write(&self.cpu, &mut self.gate, bytes).await {
            Ok(()) => Ok(()),
            Err(error) => {
                if let CallError::Refused(error) = &error {
                    item.broken.get_or_insert_with(|| error.clone());
                }
                Err(self.refuse(&place, error))
            }
        }
    }

    /// Makes a file below `/out` as long as it is already, or empty. No other length can be had.
    pub(super) async fn resize_output(&mut self, number: u64, size: u64) -> Result<(), FileError> {
        let Some(item) = self.files.items.get_mut(&number) else { return Err(ErrorCode::BadDescriptor.into()) };
        if item.size() == size {
            return Ok(());
        }
        let place = item.place.clone().unwrap_or_default();
        if size != 0 || item.place.is_none() {
            self.tell(&format!("out/{place}"), "files in `/out` can be cut to nothing, and to no other length");
            return Err(ErrorCode::Unsupported.into());
        }
        let overwrite = item.overwrite;
        self.forget(number);
        // It is the same handle of the program.
        self.gate.close_handle();
        let begun = self.begin_output(&place, overwrite).await;
        let fresh = begun.inspect_err(|_| drop(self.gate.open_handle()))?;
        // Whoever has it open goes on with the empty one, under the number that they know.
        if let Some(item) = self.files.items.remove(&fresh) {
            self.files.items.insert(number, item);
            self.files.outputs.put(&place, number);
        }
        Ok(())
    }

    /// The program has closed a file below `/out`.
    pub(super) async fn close_output(&mut self, number: u64) -> Result<(), FileError> {
        let Some(item) = self.files.items.get_mut(&number) else { return Ok(()) };
        let Some(place) = item.place.clone() else {
            self.files.items.remove(&number);
            return Ok(());
        };
        let Content::Writing(writer) = &mut item.content else { return Ok(()) };
        let calls = writer.taken().1;
        match writer.finish(&self.cpu, &mut self.gate).await {
            Ok(file) => {
                let (resource, path) = split(&place);
                let file = StagedFile { resource, path, overwrite: item.overwrite, ..file };
                item.content = Content::Finished { file, calls };
                Ok(())
            }
            Err(error) => {
                item.content = Content::Lost;
                if let CallError::Refused(error) = &error {
                    item.broken.get_or_insert_with(|| error.clone());
                }
                match self.refuse(&format!("out/{place}"), error) {
                    // Nobody asks whether closing went well; it is asked for when the program ends.
                    FileError::Code(_) => Ok(()),
                    trap @ FileError::Trap(_) => Err(trap),
                }
            }
        }
    }

    /// Takes the name of a file away. What it holds goes when it is closed, or with the attempt.
    fn forget(&mut self, number: u64) {
        let Some(item) = self.files.items.get_mut(&number) else { return };
        let Some(place) = item.place.take() else { return };
        if !matches!(item.content, Content::Writing(_)) {
            self.files.items.remove(&number);
        }
        self.files.outputs.take(&place);
        self.work.paths.remove(&split(&place));
    }

    /// Removes a file below `/out`.
    pub(super) fn remove_output(&mut self, place: &str) -> Result<(), FileError> {
        match self.files.outputs.find(place) {
            Found::File(item) => {
                let item = *item;
                self.forget(item);
                Ok(())
            }
            Found::Folder => Err(ErrorCode::IsDirectory.into()),
            Found::InFile => Err(ErrorCode::NotDirectory.into()),
            Found::Nothing => Err(self.nothing(&format!("out/{place}"))),
        }
    }

    /// Makes a folder below `/out`. It is never published: resources know files.
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
            .and_then(|()| self.check_begun());
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

    /// Renames a file below `/out`. One that has the new name already is replaced.
    pub(super) async fn rename_output(&mut self, old: &str, new: &str) -> Result<(), FileError> {
        let number = match self.files.outputs.find(old) {
            Found::File(number) => *number,
            Found::Folder => {
                self.tell(&format!("out/{old}"), "is a folder: only files in `/out` can be renamed");
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
            self.forget(replaced);
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

    /// Whether a file that has one name can have another. The resource is asked as it always is: by beginning a file there, which leaves nothing when it is dropped.
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

    /// Finishes what is open, and hands over what there is.
    pub(super) async fn settle_outputs(&mut self) -> Result<(), CallError> {
        let numbers: Vec<u64> = self.files.items.keys().copied().collect();
        for number in numbers {
            if let Err(FileError::Trap(why)) = self.close_output(number).await {
                return Err(CallError::Broken(why));
            }
        }
        for item in std::mem::take(&mut self.files.items).into_values() {
            let Some(place) = item.place else { continue };
            if let Some(error) = item.broken {
                let message = format!("`/out/{}` is not whole: {}", escape(place.as_bytes()), error.message);
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

fn lost(place: &str, words: &str) -> ErrorInfo {
    ErrorInfo::permanent("failed", format!("`/{}`: {words}", escape(place.as_bytes())))
}
