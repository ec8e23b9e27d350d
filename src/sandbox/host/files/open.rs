//! Operations on open files in `/in` and `/out`.

use wasmtime::component::Resource as Handle;
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;

use crate::base::Timestamp;
use crate::sandbox::bindings::wasi::wasi::filesystem::types::{
    DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, OpenFlags,
};
use crate::sandbox::host::GuestState;
use crate::sandbox::host::access::CallError;

use super::outputs::Begin;
use super::state::{CALL, METRICS, Open, Seen};
use super::tree::{ResolveError, resolve};
use super::{DescriptorEntry, FileError};

type Result<T> = std::result::Result<T, FileError>;
type Descriptor = Handle<DescriptorEntry>;

impl GuestState {
    /// Resolves a path that is relative to an open folder.
    pub(super) fn place(&mut self, folder: &Descriptor, path: &str) -> Result<String> {
        let entry = self.table.get(folder)?;
        if entry.file.is_some() {
            return Err(ErrorCode::NotDirectory.into());
        }
        let folder = entry.place.clone();
        match resolve(&folder, path) {
            Ok((place, false)) => Ok(place),
            Ok((place, true)) => match self.files.look(&place) {
                Seen::Folder | Seen::Nothing => Ok(place),
                _ => Err(ErrorCode::NotDirectory.into()),
            },
            Err(ResolveError::TooLong) => Err(ErrorCode::NameTooLong.into()),
            Err(ResolveError::Unreadable) => Err(ErrorCode::IllegalByteSequence.into()),
            Err(ResolveError::Outside) => {
                let message = "it leads out of the folders that a command sees: `/in` and `/out`".to_owned();
                let target = format!("{folder}/{path}");
                self.deny_file(target.trim_start_matches('/'), message);
                Err(ErrorCode::NotPermitted.into())
            }
        }
    }

    /// Returns the open file of a descriptor.
    pub(super) fn handle_of(&self, descriptor: &Descriptor) -> Result<u64> {
        self.table.get(descriptor)?.file.ok_or_else(|| ErrorCode::IsDirectory.into())
    }

    /// Returns the open file of a descriptor that is open for writing.
    pub(super) fn writable_handle_of(&self, descriptor: &Descriptor) -> Result<u64> {
        let entry = self.table.get(descriptor)?;
        if !entry.flags.contains(DescriptorFlags::WRITE) {
            return Err(ErrorCode::BadDescriptor.into());
        }
        self.handle_of(descriptor)
    }

    /// Reads from an open file.
    pub(super) async fn read_open(&mut self, file: u64, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.gate.enter();
        let (error, place) = match self.files.open.get_mut(&file) {
            Some(Open::Input(reader)) => match reader.read(&self.cpu, &mut self.gate, offset, length).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => (error, format!("in/{}/{}", reader.artifact().resource, reader.artifact().path)),
            },
            Some(Open::Output(item)) => {
                let item = *item;
                return self.read_output(item, offset, length).await;
            }
            Some(Open::Metrics) => {
                self.log_once(
                    &format!("out/{METRICS}"),
                    "cannot be read: its lines are recorded, and not kept as a file",
                );
                return Err(ErrorCode::Unsupported.into());
            }
            None => return Err(ErrorCode::BadDescriptor.into()),
        };
        Err(self.refuse(&place, error))
    }

    /// Writes to an open file, at `offset` or at its end.
    pub(super) async fn write_open(&mut self, file: u64, offset: Option<u64>, bytes: &[u8]) -> Result<()> {
        self.gate.enter();
        match self.files.open.get(&file) {
            Some(Open::Output(item)) => {
                let item = *item;
                self.write_output(item, offset, bytes).await
            }
            Some(Open::Metrics) => {
                let kept = self.write_metrics(bytes).await;
                kept.map_err(|error| self.refuse(&format!("out/{METRICS}"), error))
            }
            Some(Open::Input(_)) | None => Err(ErrorCode::BadDescriptor.into()),
        }
    }

    /// Opens or creates the file or folder at a path.
    pub(super) async fn open_place(
        &mut self,
        place: &str,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> Result<DescriptorEntry> {
        let writes = flags.contains(DescriptorFlags::WRITE) || open.contains(OpenFlags::TRUNCATE);
        let only_new = open.contains(OpenFlags::CREATE | OpenFlags::EXCLUSIVE);
        let begin = if only_new {
            Begin::New
        } else if open.contains(OpenFlags::TRUNCATE) {
            Begin::Empty
        } else {
            Begin::Kept
        };
        let seen = match self.files.look(place) {
            Seen::InFile => return Err(ErrorCode::NotDirectory.into()),
            Seen::Nothing if !open.contains(OpenFlags::CREATE) => return Err(self.nothing(place)),
            Seen::Nothing if open.contains(OpenFlags::DIRECTORY) => return Err(ErrorCode::Invalid.into()),
            Seen::Nothing => return self.make_file(place, begin, flags).await,
            _ if only_new => return Err(ErrorCode::Exist.into()),
            Seen::Folder if writes => return Err(ErrorCode::IsDirectory.into()),
            Seen::Folder => {
                self.gate.open_handle().map_err(|error| self.refuse(place, error))?;
                return Ok(DescriptorEntry { place: place.to_owned(), file: None, counted: true, flags });
            }
            _ if open.contains(OpenFlags::DIRECTORY) => return Err(ErrorCode::NotDirectory.into()),
            Seen::Input(_) if writes => return Err(self.deny_input(place)),
            seen => seen,
        };
        let opened = match seen {
            Seen::Input(artifact) => {
                let artifact = artifact.clone();
                self.open_input(place, artifact).await?
            }
            Seen::Output(_) => self.open_output(place.strip_prefix("out/").unwrap_or(place), begin).await?,
            _ => self.open_metrics()?,
        };
        Ok(DescriptorEntry { place: place.to_owned(), file: Some(self.files.add_open(opened)), counted: true, flags })
    }

    /// Creates a file at a path that does not exist.
    async fn make_file(&mut self, place: &str, begin: Begin, flags: DescriptorFlags) -> Result<DescriptorEntry> {
        let opened = match place.split_once('/').unwrap_or((place, "")) {
            ("out", METRICS) => self.open_metrics()?,
            ("out", below) if below.contains('/') => self.open_output(below, begin).await?,
            ("in", _) => return Err(self.deny_input(place)),
            _ => return Err(self.deny_elsewhere(place)),
        };
        // The creator of a file may write to it, even if it did not ask for that.
        let flags = flags | DescriptorFlags::WRITE;
        Ok(DescriptorEntry { place: place.to_owned(), file: Some(self.files.add_open(opened)), counted: true, flags })
    }

    fn open_metrics(&mut self) -> Result<Open> {
        self.gate.open_handle().map_err(|error| self.refuse("out", error))?;
        self.files.metrics.make();
        Ok(Open::Metrics)
    }

    /// Returns the error for a file that a program creates where none may be created.
    fn deny_elsewhere(&mut self, place: &str) -> FileError {
        if let Some(resource) = place.strip_prefix("out/").filter(|_| !place.ends_with(METRICS)) {
            let (resource, _) = resource.split_once('/').unwrap_or((resource, ""));
            let resource = resource.to_owned();
            if let Err(error) = self.known(CALL, &resource, Self::may_write) {
                return self.refuse(place, error);
            }
        }
        let message = "a command can create files only below `/out/RESOURCE`".to_owned();
        let error = self.deny_file(place, message);
        self.refuse(place, CallError::Refused(error))
    }

    /// Closes an open file. A file that cannot be finished is reported when the program ends.
    pub(super) async fn close(&mut self, file: u64) -> wasmtime::Result<()> {
        let closed = match self.files.open.remove(&file) {
            Some(Open::Output(item)) => self.close_output(item).await,
            Some(Open::Metrics) => {
                let ended = self.end_metrics().await;
                ended.map_err(|error| self.refuse(&format!("out/{METRICS}"), error))
            }
            Some(Open::Input(_)) | None => Ok(()),
        };
        match closed {
            Err(FileError::Trap(why)) => Err(why),
            Ok(()) | Err(FileError::Code(_)) => Ok(()),
        }
    }

    /// Returns the metadata of a path.
    pub(super) fn about(&mut self, place: &str) -> Result<DescriptorStat> {
        let (size, at) = match self.files.look(place) {
            Seen::Folder => return Ok(stat(DescriptorType::Directory, 0, None)),
            Seen::Input(artifact) => (artifact.size, Some(artifact.created_at)),
            Seen::Output(item) => (self.files.output_size(item), None),
            Seen::Metrics => (self.files.metrics.size(), None),
            Seen::Nothing => return Err(self.nothing(place)),
            Seen::InFile => return Err(ErrorCode::NotDirectory.into()),
        };
        Ok(stat(DescriptorType::RegularFile, size, at.or_else(|| Some(self.services.clock.now()))))
    }

    /// Returns the metadata of an open file. An output is found by its number, because it may have
    /// been renamed.
    pub(super) fn about_open(&mut self, place: &str, file: Option<u64>) -> Result<DescriptorStat> {
        match file.and_then(|file| self.files.open.get(&file)) {
            Some(Open::Output(item)) => {
                let (size, now) = (self.files.output_size(*item), self.services.clock.now());
                Ok(stat(DescriptorType::RegularFile, size, Some(now)))
            }
            _ => self.about(place),
        }
    }

    /// Returns the part below `/out` of a path that is to be changed.
    pub(super) fn changeable<'p>(&mut self, place: &'p str) -> Result<&'p str> {
        match place.split_once('/').unwrap_or((place, "")) {
            ("out", below) if !below.is_empty() && below != METRICS => Ok(below),
            ("in", _) => Err(self.deny_input(place)),
            _ => Err(self.deny_elsewhere(place)),
        }
    }
}

fn stat(kind: DescriptorType, size: u64, at: Option<Timestamp>) -> DescriptorStat {
    let at = at.map(|at| {
        let micros = u64::try_from(at.as_micros()).unwrap_or(0);
        let nanoseconds = u32::try_from(micros % 1_000_000).unwrap_or(0).saturating_mul(1_000);
        Datetime { seconds: micros / 1_000_000, nanoseconds }
    });
    DescriptorStat {
        type_: kind,
        link_count: 1,
        size,
        data_access_timestamp: at,
        data_modification_timestamp: at,
        status_change_timestamp: at,
    }
}
