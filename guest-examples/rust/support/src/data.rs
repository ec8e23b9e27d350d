//! Transferring data in chunks, because an artifact may be far larger than the memory of an action.

use crate::resources::{self, CreateOptions, Filter, Reader, Writer};
use crate::{Artifact, Error, Result};

/// How much one call transfers: 1 MiB, large enough that the overhead of the call is negligible.
pub const CHUNK_BYTES: u32 = 1 << 20;

/// The iterator that `chunks` returns.
pub struct Chunks<'a> {
    reader: &'a Reader,
    offset: u64,
    length: u32,
    ended: bool,
}

/// Iterates over the content of an artifact from its start, in chunks of `length` bytes (at most 8
/// MiB). The iterator ends after an error.
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

/// The iterator that `lines` returns.
pub struct Lines<'a> {
    chunks: Chunks<'a>,
    chunk: std::vec::IntoIter<u8>,
}

/// Iterates over the lines of an artifact, without the `\n` or `\r\n` at their end. The artifact
/// may be larger than the memory of the action; a line may not. A line that is not UTF-8 is an
/// error. The iterator ends after an error.
pub fn lines(reader: &Reader) -> Lines<'_> {
    Lines { chunks: chunks(reader, CHUNK_BYTES), chunk: Vec::new().into_iter() }
}

impl Iterator for Lines<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        loop {
            let rest = self.chunk.as_slice();
            let end = rest.iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
            if let Some(end) = end {
                self.chunk.nth(end);
                return Some(self.text(line));
            }
            match self.chunks.next() {
                Some(Ok(chunk)) => self.chunk = chunk.into_iter(),
                Some(Err(error)) => return Some(self.end_with(error)),
                None => {
                    self.chunk = Vec::new().into_iter();
                    return (!line.is_empty()).then(|| self.text(line));
                }
            }
        }
    }
}

impl Lines<'_> {
    fn text(&mut self, mut line: Vec<u8>) -> Result<String> {
        line.pop_if(|last| *last == b'\r');
        String::from_utf8(line).or_else(|why| self.end_with(Error::permanent(format!("a line is not UTF-8: {why}"))))
    }

    fn end_with(&mut self, error: Error) -> Result<String> {
        self.chunk = Vec::new().into_iter();
        self.chunks.ended = true;
        Err(error)
    }
}

/// Writes an artifact through a buffer, so that lines can be written one by one. `finish` completes
/// the artifact.
pub struct Gathering {
    writer: Writer,
    bytes: Vec<u8>,
}

/// Starts an artifact that is written in small pieces. If the path exists, the artifact becomes its
/// next version.
pub fn create(resource: &str, path: &str) -> Result<Gathering> {
    let writer = resources::create(resource, path, CreateOptions { overwrite: true })?;
    Ok(Gathering { writer, bytes: Vec::with_capacity(CHUNK_BYTES as usize) })
}

impl Gathering {
    /// Appends a line and a `\n`.
    pub fn line(&mut self, line: &str) -> Result<()> {
        self.bytes.extend_from_slice(line.as_bytes());
        self.bytes.push(b'\n');
        if self.bytes.len() >= CHUNK_BYTES as usize { self.flush() } else { Ok(()) }
    }

    /// Writes the buffered rest, and completes the artifact.
    pub fn finish(mut self) -> Result<Artifact> {
        self.flush()?;
        self.writer.finish()
    }

    fn flush(&mut self) -> Result<()> {
        for chunk in self.bytes.chunks(CHUNK_BYTES as usize) {
            self.writer.write(chunk)?;
        }
        self.bytes.clear();
        Ok(())
    }
}

/// Appends the whole content of an artifact to another one, and returns the number of bytes. Does
/// not call `finish`.
pub fn copy(from: &Reader, to: &Writer) -> Result<u64> {
    let mut total = 0;
    for chunk in chunks(from, CHUNK_BYTES) {
        let chunk = chunk?;
        to.write(&chunk)?;
        total += chunk.len() as u64;
    }
    Ok(total)
}

/// Returns the whole content of an artifact. It has to fit into the memory of the action.
pub fn read_all(reader: &Reader) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for chunk in chunks(reader, CHUNK_BYTES) {
        bytes.extend(chunk?);
    }
    Ok(bytes)
}

/// Writes an artifact whose content is in memory. If the path exists, the artifact becomes its next
/// version.
pub fn write_all(resource: &str, path: &str, bytes: &[u8]) -> Result<Artifact> {
    let writer = resources::create(resource, path, CreateOptions { overwrite: true })?;
    for chunk in bytes.chunks(CHUNK_BYTES as usize) {
        writer.write(chunk)?;
    }
    writer.finish()
}

/// Returns all artifacts in a resource, sorted by path. Calls `list` page by page.
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
