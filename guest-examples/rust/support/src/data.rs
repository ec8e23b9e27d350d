//! Moving bytes in chunks: an artifact may be far larger than the memory of an action.

use crate::Result;
use crate::resources::{Reader, Writer};

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
