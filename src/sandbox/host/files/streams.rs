//! `wasi:io/streams`: handles the streams of files, and leaves all others to wasmtime.
//!
//! wasmtime's streams are objects without access to the store, and their work must be done in the
//! background. A stream of a file is a number. Its operations use the same functions as the file's
//! descriptor, with the same access to the store and the same accounting.

use tokio_util::bytes::Bytes;
use wasmtime::StoreContextMut;
use wasmtime::component::{Resource as Handle, ResourceTableError};
use wasmtime_wasi::p2::bindings::io::streams::{HostInputStream as TheirInput, HostOutputStream as TheirOutput};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};

use crate::sandbox::bindings::wasi::wasi::io::streams::{self, HostInputStream, HostOutputStream};
use crate::sandbox::host::GuestState;

use super::FileError;
use super::state::{MAX_MOVE_BYTES, Sink, Source};

/// Maximum number of bytes that one call writes to a stream.
const PERMIT_BYTES: u64 = 256 << 10;

/// The entry in the handle table for a stream of a file.
struct Placeholder;

#[wasmtime_wasi::async_trait]
impl Pollable for Placeholder {
    async fn ready(&mut self) {}
}

impl InputStream for Placeholder {
    fn read(&mut self, _size: usize) -> StreamResult<Bytes> {
        Err(StreamError::Closed)
    }
}

impl OutputStream for Placeholder {
    fn write(&mut self, _bytes: Bytes) -> StreamResult<()> {
        Err(StreamError::Closed)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Err(StreamError::Closed)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Err(StreamError::Closed)
    }
}

/// Implements `wasi:cli/stdin.get-stdin`: returns the chosen input, or an empty stream.
pub(super) fn get_stdin(
    mut store: StoreContextMut<'_, GuestState>,
    (): (),
) -> wasmtime::Result<(Handle<DynInputStream>,)> {
    let state = store.data_mut();
    state.gate.enter();
    Ok((match state.files.stdin {
        Some(file) => state.input_stream(Source { file, at: None })?,
        None => state.table.push(Box::new(Placeholder) as DynInputStream)?,
    },))
}

impl GuestState {
    /// Returns a stream that reads an open file from `offset` on.
    pub(super) fn stream_from(&mut self, file: u64, offset: u64) -> Result<Handle<DynInputStream>, FileError> {
        Ok(self.input_stream(Source { file, at: Some(offset) })?)
    }

    /// Returns a stream that writes to an open file from `offset` on, or appends to it.
    pub(super) fn stream_to(&mut self, file: u64, offset: Option<u64>) -> Result<Handle<DynOutputStream>, FileError> {
        let handle = self.table.push(Box::new(Placeholder) as DynOutputStream)?;
        self.files.streams.outputs.insert(handle.rep(), Sink { file, at: offset });
        Ok(handle)
    }

    fn input_stream(&mut self, source: Source) -> Result<Handle<DynInputStream>, ResourceTableError> {
        let handle = self.table.push(Box::new(Placeholder) as DynInputStream)?;
        self.files.streams.inputs.insert(handle.rep(), source);
        Ok(handle)
    }

    fn source(&self, stream: &Handle<DynInputStream>) -> Option<Source> {
        self.files.streams.inputs.get(&stream.rep()).copied()
    }

    fn sink(&self, stream: &Handle<DynOutputStream>) -> Option<Sink> {
        self.files.streams.outputs.get(&stream.rep()).copied()
    }

    async fn pull(&mut self, stream: u32, source: Source, length: u64) -> StreamResult<Vec<u8>> {
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(MAX_MOVE_BYTES);
        if length == 0 {
            return Ok(Vec::new());
        }
        let offset = source.at.unwrap_or(self.files.streams.stdin_at);
        let bytes = self.read_open(source.file, offset, length).await?;
        if bytes.is_empty() {
            return Err(StreamError::Closed);
        }
        let next = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        match self.files.streams.inputs.get_mut(&stream) {
            Some(Source { at: Some(at), .. }) => *at = next,
            _ => self.files.streams.stdin_at = next,
        }
        Ok(bytes)
    }

    async fn push(&mut self, stream: u32, sink: Sink, bytes: &[u8]) -> StreamResult<()> {
        self.write_open(sink.file, sink.at, bytes).await?;
        if let Some(Sink { at: Some(at), .. }) = self.files.streams.outputs.get_mut(&stream) {
            *at = at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    async fn push_zeroes(&mut self, stream: u32, sink: Sink, length: u64) -> StreamResult<()> {
        if length > PERMIT_BYTES {
            return Err(StreamError::trap("more zeroes than `check-write` allows"));
        }
        let zeroes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.push(stream, sink, &zeroes).await
    }

    /// Moves bytes between two streams, at least one of which is a stream of a file.
    async fn move_between(
        &mut self,
        to: Handle<DynOutputStream>,
        from: Handle<DynInputStream>,
        length: u64,
    ) -> StreamResult<u64> {
        // Each call borrows its handles. These are used for a second call.
        let (again_to, again_from) = (Handle::new_borrow(to.rep()), Handle::new_borrow(from.rep()));
        let length = length.min(HostOutputStream::check_write(self, to).await?);
        let bytes = HostInputStream::read(self, again_from, length).await?;
        let moved = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if moved > 0 {
            HostOutputStream::write(self, again_to, bytes).await?;
        }
        Ok(moved)
    }
}

impl streams::Host for GuestState {
    fn convert_stream_error(&mut self, error: StreamError) -> wasmtime::Result<streams::StreamError> {
        match error {
            StreamError::Closed => Ok(streams::StreamError::Closed),
            StreamError::LastOperationFailed(why) => {
                Ok(streams::StreamError::LastOperationFailed(self.table.push(why)?))
            }
            StreamError::Trap(why) => Err(why),
        }
    }
}

impl HostInputStream for GuestState {
    async fn read(&mut self, stream: Handle<DynInputStream>, length: u64) -> StreamResult<Vec<u8>> {
        match self.source(&stream) {
            Some(source) => self.pull(stream.rep(), source, length).await,
            None => TheirInput::read(&mut self.table, stream, length),
        }
    }

    async fn blocking_read(&mut self, stream: Handle<DynInputStream>, length: u64) -> StreamResult<Vec<u8>> {
        match self.source(&stream) {
            Some(source) => self.pull(stream.rep(), source, length).await,
            None => TheirInput::blocking_read(&mut self.table, stream, length).await,
        }
    }

    async fn skip(&mut self, stream: Handle<DynInputStream>, length: u64) -> StreamResult<u64> {
        match self.source(&stream) {
            Some(source) => Ok(self.pull(stream.rep(), source, length).await?.len() as u64),
            None => TheirInput::skip(&mut self.table, stream, length),
        }
    }

    async fn blocking_skip(&mut self, stream: Handle<DynInputStream>, length: u64) -> StreamResult<u64> {
        match self.source(&stream) {
            Some(source) => Ok(self.pull(stream.rep(), source, length).await?.len() as u64),
            None => TheirInput::blocking_skip(&mut self.table, stream, length).await,
        }
    }

    async fn subscribe(&mut self, stream: Handle<DynInputStream>) -> wasmtime::Result<Handle<DynPollable>> {
        TheirInput::subscribe(&mut self.table, stream)
    }

    async fn drop(&mut self, stream: Handle<DynInputStream>) -> wasmtime::Result<()> {
        self.files.streams.inputs.remove(&stream.rep());
        TheirInput::drop(&mut self.table, stream).await
    }
}

impl HostOutputStream for GuestState {
    async fn check_write(&mut self, stream: Handle<DynOutputStream>) -> StreamResult<u64> {
        match self.sink(&stream) {
            Some(_) => Ok(PERMIT_BYTES),
            None => TheirOutput::check_write(&mut self.table, stream),
        }
    }

    async fn write(&mut self, stream: Handle<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        match self.sink(&stream) {
            Some(sink) => self.push(stream.rep(), sink, &bytes).await,
            None => TheirOutput::write(&mut self.table, stream, bytes),
        }
    }

    async fn blocking_write_and_flush(&mut self, stream: Handle<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        match self.sink(&stream) {
            Some(sink) => self.push(stream.rep(), sink, &bytes).await,
            None => TheirOutput::blocking_write_and_flush(&mut self.table, stream, bytes).await,
        }
    }

    async fn flush(&mut self, stream: Handle<DynOutputStream>) -> StreamResult<()> {
        match self.sink(&stream) {
            Some(_) => Ok(()),
            None => TheirOutput::flush(&mut self.table, stream),
        }
    }

    async fn blocking_flush(&mut self, stream: Handle<DynOutputStream>) -> StreamResult<()> {
        match self.sink(&stream) {
            Some(_) => Ok(()),
            None => TheirOutput::blocking_flush(&mut self.table, stream).await,
        }
    }

    async fn subscribe(&mut self, stream: Handle<DynOutputStream>) -> wasmtime::Result<Handle<DynPollable>> {
        TheirOutput::subscribe(&mut self.table, stream)
    }

    async fn write_zeroes(&mut self, stream: Handle<DynOutputStream>, length: u64) -> StreamResult<()> {
        match self.sink(&stream) {
            Some(sink) => self.push_zeroes(stream.rep(), sink, length).await,
            None => TheirOutput::write_zeroes(&mut self.table, stream, length),
        }
    }

    async fn blocking_write_zeroes_and_flush(
        &mut self,
        stream: Handle<DynOutputStream>,
        length: u64,
    ) -> StreamResult<()> {
        match self.sink(&stream) {
            Some(sink) => self.push_zeroes(stream.rep(), sink, length).await,
            None => TheirOutput::blocking_write_zeroes_and_flush(&mut self.table, stream, length).await,
        }
    }

    async fn splice(
        &mut self,
        to: Handle<DynOutputStream>,
        from: Handle<DynInputStream>,
        length: u64,
    ) -> StreamResult<u64> {
        if self.sink(&to).is_none() && self.source(&from).is_none() {
            return TheirOutput::splice(&mut self.table, to, from, length);
        }
        self.move_between(to, from, length).await
    }

    async fn blocking_splice(
        &mut self,
        to: Handle<DynOutputStream>,
        from: Handle<DynInputStream>,
        length: u64,
    ) -> StreamResult<u64> {
        if self.sink(&to).is_none() && self.source(&from).is_none() {
            return TheirOutput::blocking_splice(&mut self.table, to, from, length).await;
        }
        self.move_between(to, from, length).await
    }

    async fn drop(&mut self, stream: Handle<DynOutputStream>) -> wasmtime::Result<()> {
        self.files.streams.outputs.remove(&stream.rep());
        TheirOutput::drop(&mut self.table, stream).await
    }
}
