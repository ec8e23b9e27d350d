//! `wasi:filesystem`: the calls on an open file or folder.
//!
//! There are no links, so the flag that follows links has no effect. A program may set the times of
//! files that it may write, but they are not kept: a version has the time at which it is recorded.

use std::hash::{DefaultHasher, Hash, Hasher};

use wasmtime::component::Resource as Handle;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use crate::sandbox::bindings::wasi::wasi::filesystem::preopens;
use crate::sandbox::bindings::wasi::wasi::filesystem::types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, HostDescriptor, MetadataHashValue,
    NewTimestamp, OpenFlags, PathFlags,
};
use crate::sandbox::host::GuestState;

use super::state::{MAX_MOVE_BYTES, Open, Seen};
use super::{DescriptorEntry, FileError, FolderEntries};

type Result<T> = std::result::Result<T, FileError>;
type Descriptor = Handle<DescriptorEntry>;

impl preopens::Host for GuestState {
    async fn get_directories(&mut self) -> wasmtime::Result<Vec<(Descriptor, String)>> {
        self.gate.enter();
        if !self.files.visible {
            return Ok(Vec::new());
        }
        let root = DescriptorEntry { place: String::new(), file: None, counted: false, flags: DescriptorFlags::READ };
        Ok(vec![(self.table.push(root)?, "/".to_owned())])
    }
}

impl HostDescriptor for GuestState {
    async fn read_via_stream(&mut self, descriptor: Descriptor, offset: u64) -> Result<Handle<DynInputStream>> {
        let file = self.handle_of(&descriptor)?;
        self.stream_from(file, offset)
    }

    async fn write_via_stream(&mut self, descriptor: Descriptor, offset: u64) -> Result<Handle<DynOutputStream>> {
        let file = self.writable_handle_of(&descriptor)?;
        self.stream_to(file, Some(offset))
    }

    async fn append_via_stream(&mut self, descriptor: Descriptor) -> Result<Handle<DynOutputStream>> {
        let file = self.writable_handle_of(&descriptor)?;
        self.stream_to(file, None)
    }

    async fn advise(&mut self, _: Descriptor, _offset: u64, _length: u64, _advice: Advice) -> Result<()> {
        Ok(())
    }

    async fn sync_data(&mut self, _: Descriptor) -> Result<()> {
        // Staged files are made durable when they are finished, if the manifest asks for it.
        Ok(())
    }

    async fn sync(&mut self, _: Descriptor) -> Result<()> {
        Ok(())
    }

    async fn get_flags(&mut self, descriptor: Descriptor) -> Result<DescriptorFlags> {
        Ok(self.table.get(&descriptor)?.flags)
    }

    async fn get_type(&mut self, descriptor: Descriptor) -> Result<DescriptorType> {
        let is_file = self.table.get(&descriptor)?.file.is_some();
        Ok(if is_file { DescriptorType::RegularFile } else { DescriptorType::Directory })
    }

    async fn set_size(&mut self, descriptor: Descriptor, size: u64) -> Result<()> {
        self.gate.enter();
        let file = self.writable_handle_of(&descriptor)?;
        match self.files.open.get(&file) {
            Some(Open::Output(item)) => {
                let item = *item;
                self.resize_output(item, size).await
            }
            Some(Open::Metrics) => Ok(()),
            _ => Err(ErrorCode::BadDescriptor.into()),
        }
    }

    async fn set_times(&mut self, descriptor: Descriptor, _: NewTimestamp, _: NewTimestamp) -> Result<()> {
        let place = self.table.get(&descriptor)?.place.clone();
        self.changeable(&place).map(|_| ())
    }

    async fn set_times_at(
        &mut self,
        folder: Descriptor,
        _: PathFlags,
        path: String,
        _: NewTimestamp,
        _: NewTimestamp,
    ) -> Result<()> {
        let place = self.place(&folder, &path)?;
        if matches!(self.files.look(&place), Seen::Nothing | Seen::InFile) {
            return Err(self.nothing(&place));
        }
        self.changeable(&place).map(|_| ())
    }

    async fn read(&mut self, descriptor: Descriptor, length: u64, offset: u64) -> Result<(Vec<u8>, bool)> {
        let file = self.handle_of(&descriptor)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(MAX_MOVE_BYTES);
        let bytes = self.read_open(file, offset, length).await?;
        let at_end = bytes.is_empty() && length > 0;
        Ok((bytes, at_end))
    }

    async fn write(&mut self, descriptor: Descriptor, bytes: Vec<u8>, offset: u64) -> Result<u64> {
        let file = self.writable_handle_of(&descriptor)?;
        self.write_open(file, Some(offset), &bytes).await?;
        Ok(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
    }

    async fn read_directory(&mut self, descriptor: Descriptor) -> Result<Handle<FolderEntries>> {
        self.gate.enter();
        let entry = self.table.get(&descriptor)?;
        if entry.file.is_some() {
            return Err(ErrorCode::NotDirectory.into());
        }
        let entries = FolderEntries::of(entry.place.clone());
        Ok(self.table.push(entries)?)
    }

    async fn create_directory_at(&mut self, folder: Descriptor, path: String) -> Result<()> {
        self.gate.enter();
        let place = self.place(&folder, &path)?;
        match self.files.look(&place) {
            Seen::Nothing => {}
            Seen::InFile => return Err(ErrorCode::NotDirectory.into()),
            _ => return Err(ErrorCode::Exist.into()),
        }
        let below = self.changeable(&place)?;
        self.make_output_folder(below)
    }

    async fn remove_directory_at(&mut self, folder: Descriptor, path: String) -> Result<()> {
        self.gate.enter();
        let place = self.place(&folder, &path)?;
        let below = self.changeable(&place)?;
        self.remove_output_folder(below)
    }

    async fn unlink_file_at(&mut self, folder: Descriptor, path: String) -> Result<()> {
        self.gate.enter();
        let place = self.place(&folder, &path)?;
        if matches!(self.files.look(&place), Seen::Nothing) {
            return Err(self.nothing(&place));
        }
        let below = self.changeable(&place)?;
        self.remove_output(below).await
    }

    async fn rename_at(&mut self, from: Descriptor, old: String, to: Descriptor, new: String) -> Result<()> {
        self.gate.enter();
        let (old, new) = (self.place(&from, &old)?, self.place(&to, &new)?);
        if matches!(self.files.look(&old), Seen::Nothing) {
            return Err(self.nothing(&old));
        }
        let (old, new) = (self.changeable(&old)?, self.changeable(&new)?);
        self.rename_output(old, new).await
    }

    async fn link_at(
        &mut self,
        from: Descriptor,
        _: PathFlags,
        old: String,
        to: Descriptor,
        new: String,
    ) -> Result<()> {
        self.place(&from, &old)?;
        let place = self.place(&to, &new)?;
        self.log_once(&place, "is not created: links are not supported here");
        Err(ErrorCode::Unsupported.into())
    }

    async fn symlink_at(&mut self, folder: Descriptor, _target: String, path: String) -> Result<()> {
        let place = self.place(&folder, &path)?;
        self.log_once(&place, "is not created: links are not supported here");
        Err(ErrorCode::Unsupported.into())
    }

    async fn readlink_at(&mut self, folder: Descriptor, path: String) -> Result<String> {
        let place = self.place(&folder, &path)?;
        match self.files.look(&place) {
            Seen::Nothing => Err(self.nothing(&place)),
            // A path that is not a link cannot be read as one.
            _ => Err(ErrorCode::Invalid.into()),
        }
    }

    async fn open_at(
        &mut self,
        folder: Descriptor,
        _: PathFlags,
        path: String,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> Result<Descriptor> {
        self.gate.enter();
        let place = self.place(&folder, &path)?;
        let open = if path.ends_with('/') { open | OpenFlags::DIRECTORY } else { open };
        let entry = self.open_place(&place, open, flags).await?;
        Ok(self.table.push(entry)?)
    }

    async fn stat(&mut self, descriptor: Descriptor) -> Result<DescriptorStat> {
        self.gate.enter();
        let entry = self.table.get(&descriptor)?;
        let (place, file) = (entry.place.clone(), entry.file);
        self.about_open(&place, file)
    }

    async fn stat_at(&mut self, folder: Descriptor, _: PathFlags, path: String) -> Result<DescriptorStat> {
        self.gate.enter();
        let place = self.place(&folder, &path)?;
        self.about(&place)
    }

    async fn is_same_object(&mut self, one: Descriptor, other: Descriptor) -> wasmtime::Result<bool> {
        Ok(self.table.get(&one)?.place == self.table.get(&other)?.place)
    }

    async fn metadata_hash(&mut self, descriptor: Descriptor) -> Result<MetadataHashValue> {
        Ok(number(&self.table.get(&descriptor)?.place))
    }

    async fn metadata_hash_at(&mut self, folder: Descriptor, _: PathFlags, path: String) -> Result<MetadataHashValue> {
        let place = self.place(&folder, &path)?;
        match self.files.look(&place) {
            Seen::Nothing => Err(self.nothing(&place)),
            Seen::InFile => Err(ErrorCode::NotDirectory.into()),
            _ => Ok(number(&place)),
        }
    }

    async fn drop(&mut self, descriptor: Descriptor) -> wasmtime::Result<()> {
        let entry = self.table.delete(descriptor)?;
        if entry.counted {
            self.gate.close_handle();
        }
        match entry.file {
            Some(file) => self.close(file).await,
            None => Ok(()),
        }
    }
}

/// Returns the hash that programs use as the inode number of a file.
fn number(place: &str) -> MetadataHashValue {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, place).hash(&mut hasher);
        hasher.finish()
    };
    MetadataHashValue { lower: half(0), upper: half(1) }
}
