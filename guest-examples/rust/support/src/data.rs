//! Moving bytes in chunks: an artifact may be far larger than the memory of an action.

use crate::resources::{self, CreateOptions, Filter, Reader, Writer};
use crate::{Artifact, Result};

/// How much is moved at once: 1 MiB, large enough that the calls cost nothing beside the bytes.
pub const CHUNK_BYTES: u32 = 1 << 20;

/// What `chunks` gives.
pub struct Chunks<'a> {
    reader: &'a Reader,
    offset: u64,
    length: u32,
    ended: bool,
}

/// The content of an artifact from its start, in chunks of `length` bytes (at most 8 MiB). It ends after an error.
pub fn chunks(reader: &Reader, length: u32) -> Chunks<'_> {
    Chunks { reader, offset: 0, length, ended: false }
}

impl Iterator for Chunks<'_> {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let chunk = self.reader.read(self.offset, self.length);
        match &chunk {
            Ok(bytes) if !bytes.is_empty() => self.offset += bytes.len() as u64,
            _ => self.ended = true,
        }
        chunk.map_or_else(|error| Some(Err(error)), |bytes| (!bytes.is_empty()).then_some(Ok(bytes)))
    }
}

/// Append the whole content of an artifact to another one; gives the number of bytes. `finish` is left to the caller.
pub fn copy(from: &Reader, to: &Writer) -> Result<u64> {
    let mut total = 0;
    for chunk in chunks(from, CHUNK_BYTES) {
        let chunk = chunk?;
        to.write(&chunk)?;
        total += chunk.len() as u64;
    }
    Ok(total)
}

/// The whole content of an artifact, for those that are known to be small: it has to fit into the memory of the action.
pub fn read_all(reader: &Reader) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for chunk in chunks(reader, CHUNK_BYTES) {
        bytes.extend(chunk?);
    }
    Ok(bytes)
}

/// Write an artifact whose bytes are all in memory. A path that exists gets its next version.
pub fn write_all(resource: &str, path: &str, bytes: &[u8]) -> Result<Artifact> {
    let writer = resources::create(resource, path, CreateOptions { overwrite: true })?;
    for chunk in bytes.chunks(CHUNK_BYTES as usize) {
        writer.write(chunk)?;
    }
    writer.finish()
}

/// All that there is in a resource, in the order of the paths: `list`, page by page.
pub fn list_all(resource: &str) -> Result<Vec<Artifact>> {
    let mut all: Vec<Artifact> = Vec::new();
    loop {
        let after = all.last().map(|last| last.path.clone());
        let page = resources::list(resource, &Filter { prefix: None, after, limit: None })?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}
