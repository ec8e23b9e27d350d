//! What lies in the table of handles for an open reader or writer.

use crate::base::ArtifactId;
use crate::model::{Artifact, StagedFile};
use crate::resource::{Reader, ResourceError, Writer};
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
    /// Bytes that were written, those that were overwritten since included.
    pub(super) bytes: u64,
    pub(super) calls: u64,
    /// Bytes that the file has now: what it counts against the limit of output.
    pub(super) size: u64,
    /// Absent once it is finished, or has failed.
    pub(super) stage: Option<Box<dyn Writer>>,
    pub(super) finished: bool,
}

impl ReaderEntry {
    /// What is read.
    pub(super) fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// Reads up to `length` bytes, and notes it.
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
    /// Goes on with a file that was finished.
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
            finished: false,
        }
    }

    /// Bytes that the file has now.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Whether it takes nothing any more.
    pub(super) fn is_lost(&self) -> bool {
        self.stage.is_none()
    }

    /// How often it was written to.
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    /// The resource and the path that it was begun for.
    pub(super) fn key(&self) -> (String, String) {
        (self.resource.clone(), self.path.clone())
    }

    /// Appends, within the limit of output.
    pub(super) async fn write(&mut self, cpu: &CpuMeter, gate: &mut Gate, bytes: &[u8]) -> Result<(), CallError> {
        self.write_at(cpu, gate, self.size, bytes).await
    }

    /// Writes at `offset`, within the limit of output: it counts what the file grows by.
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

    /// Cuts the file, or adds zeros at its end, within the limit of output.
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

    /// Reads back what was written: up to `length` bytes, fewer only at the end.
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

    /// The file is complete. Whether it counts as written is up to the caller.
    pub(super) async fn finish(&mut self, cpu: &CpuMeter, gate: &mut Gate) -> Result<StagedFile, CallError> {
        let stage = self.stage.take().ok_or_else(closed)?;
        match cpu.host(stage.finish()).await {
            Ok(staged) => {
                self.finished = true;
                Ok(staged)
            }
            Err(why) => Err(self.failed(gate, self.size, &why)),
        }
    }

    /// Part of a change may have been made: what would be finished after this is not what was
    /// written. The stage goes, and gives back the `counted` bytes.
    fn failed(&mut self, gate: &mut Gate, counted: u64, why: &ResourceError) -> CallError {
        (self.stage, self.size) = (None, 0);
        gate.shrink_output(counted);
        gate.resource_failed(why)
    }
}

fn closed() -> CallError {
    CallError::invalid("this writer takes nothing any more: it is finished, or has failed")
}
