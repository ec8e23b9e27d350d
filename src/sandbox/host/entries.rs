//! The entries of the handle table for open readers and writers.

use std::collections::HashMap;

use crate::base::ArtifactId;
use crate::model::{Artifact, StagedFile};
use crate::resource::{Reader, ResourceError, SqlRows, Writer};
use crate::sandbox::cpu::CpuMeter;

use super::access::{CallError, Gate};

/// An open reader.
#[expect(unreachable_pub, reason = "the generated bindings name it in public")]
pub struct ReaderEntry {
    pub(super) artifact: Artifact,
    pub(super) content: Box<dyn Reader>,
}

/// An open writer.
#[expect(unreachable_pub, reason = "the generated bindings name it in public")]
pub struct WriterEntry {
    pub(super) id: ArtifactId,
    pub(super) resource: String,
    pub(super) path: String,
    /// Bytes written, including bytes that were overwritten later.
    pub(super) bytes: u64,
    pub(super) calls: u64,
    /// Current size of the file, which counts against the output limit.
    pub(super) size: u64,
    /// `None` once the file is finished or has failed.
    pub(super) stage: Option<Box<dyn Writer>>,
    /// The stamp of the only content that it may replace; see [`StagedFile::replaces`].
    pub(super) replaces: Option<String>,
    pub(super) finished: bool,
}

/// The rows of a query.
#[expect(unreachable_pub, reason = "the generated bindings name it in public")]
pub struct RowsEntry(pub(super) Box<dyn SqlRows>);

/// The statements that change one database when the attempt is published.
pub(in crate::sandbox) struct JournalEntry {
    pub(super) lines: WriterEntry,
    /// The texts that the database has checked, with the number of their parameters. Not complete.
    pub(super) checked: HashMap<String, usize>,
}

impl ReaderEntry {
    /// Returns the artifact that is read.
    pub(super) fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// Reads up to `length` bytes and records the access.
    pub(super) async fn read(
        &mut self,
        cpu: &CpuMeter,
        gate: &mut Gate,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, CallError> {
        match cpu.host(self.content.read(offset, length)).await {
            Ok(bytes) => {
                gate.note_read(self.artifact.id, bytes.len(), self.content.digest());
                Ok(bytes)
            }
            Err(why) => Err(gate.resource_failed(&why)),
        }
    }
}

impl WriterEntry {
    /// Reopens a finished file.
    pub(super) fn reopened(file: &StagedFile, calls: u64, stage: Box<dyn Writer>) -> Self {
        let (resource, path) = (file.resource.clone(), file.path.clone());
        Self {
            id: file.artifact_id,
            resource,
            path,
            bytes: 0,
            calls,
            size: file.size,
            stage: Some(stage),
            replaces: file.replaces.clone().filter(|_| !file.overwrite),
            finished: false,
        }
    }

    /// Returns the current size of the file.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Returns whether the writer no longer accepts writes.
    pub(super) fn is_lost(&self) -> bool {
        self.stage.is_none()
    }

    /// Returns the number of write calls.
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    /// Returns the resource and the path that the file was created for.
    pub(super) fn key(&self) -> (String, String) {
        (self.resource.clone(), self.path.clone())
    }

    /// Appends `bytes`, within the output limit.
    pub(super) async fn write(&mut self, cpu: &CpuMeter, gate: &mut Gate, bytes: &[u8]) -> Result<(), CallError> {
        self.write_at(cpu, gate, self.size, bytes).await
    }

    /// Writes at `offset`, within the output limit. Only growth of the file counts against the
    /// limit.
    pub(super) async fn write_at(
        &mut self,
        cpu: &CpuMeter,
        gate: &mut Gate,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), CallError> {
        let stage = self.stage.as_mut().ok_or_else(closed)?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let end = if length == 0 { self.size } else { self.size.max(offset.saturating_add(length)) };
        gate.grow_output(end - self.size)?;
        if let Err(why) = cpu.host(stage.write_at(offset, bytes)).await {
            return Err(self.failed(gate, end, &why));
        }
        self.size = end;
        self.bytes = self.bytes.saturating_add(length);
        self.calls += 1;
        gate.note_output(length);
        Ok(())
    }

    /// Truncates the file or extends it with zeros, within the output limit.
    pub(super) async fn set_size(&mut self, cpu: &CpuMeter, gate: &mut Gate, size: u64) -> Result<(), CallError> {
        let stage = self.stage.as_mut().ok_or_else(closed)?;
        gate.grow_output(size.saturating_sub(self.size))?;
        if let Err(why) = cpu.host(stage.set_size(size)).await {
            return Err(self.failed(gate, size.max(self.size), &why));
        }
        gate.shrink_output(self.size.saturating_sub(size));
        self.size = size;
        Ok(())
    }

    /// Reads back written bytes: up to `length`, fewer only at the end of the file.
    pub(super) async fn read_at(
        &mut self,
        cpu: &CpuMeter,
        gate: &mut Gate,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, CallError> {
        let stage = self.stage.as_mut().ok_or_else(closed)?;
        cpu.host(stage.read_at(offset, length)).await.map_err(|why| gate.resource_failed(&why))
    }

    /// Finishes the file. The caller decides whether it counts as written.
    pub(super) async fn finish(&mut self, cpu: &CpuMeter, gate: &mut Gate) -> Result<StagedFile, CallError> {
        let stage = self.stage.take().ok_or_else(closed)?;
        match cpu.host(stage.finish()).await {
            Ok(mut staged) => {
                self.finished = true;
                if let Some(own) = &self.replaces {
                    (staged.overwrite, staged.replaces) = (false, Some(own.clone()));
                }
                Ok(staged)
            }
            Err(why) => Err(self.failed(gate, self.size, &why)),
        }
    }

    /// Drops the stage after a failed change and gives back `counted` bytes of the output limit.
    /// Part of the change may have been applied, so the file no longer holds what the guest wrote.
    fn failed(&mut self, gate: &mut Gate, counted: u64, why: &ResourceError) -> CallError {
        (self.stage, self.size) = (None, 0);
        gate.shrink_output(counted);
        gate.resource_failed(why)
    }
}

fn closed() -> CallError {
    CallError::invalid("this writer is closed: it is finished, or has failed")
}
