//! Standard output and standard error of a guest, as lines of the attempt's log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio_util::bytes::Bytes;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::model::{LogLevel, LogStream};
use crate::sandbox::halt::Halt;
use crate::sandbox::logs::AttemptLog;

use super::lines::Lines;

/// Most bytes that one call writes to standard output.
const MAX_WRITE_BYTES: usize = 64 << 10;

/// Splits an output of a guest into lines and logs them. All handles of the same output share one
/// value.
pub(in crate::sandbox) struct OutputLines {
    log: Arc<AttemptLog>,
    stream: LogStream,
    began: Instant,
    lines: Mutex<Lines>,
}

impl OutputLines {
    /// Creates the output, which writes its lines to `log`.
    pub(in crate::sandbox) fn new(log: &Arc<AttemptLog>, stream: LogStream) -> Arc<Self> {
        let lines = Mutex::new(Lines::new(log.line_window()));
        Arc::new(Self { log: Arc::clone(log), stream, began: Instant::now(), lines })
    }

    /// Logs the last line if the guest did not end it with a newline. Called when the guest has
    /// ended.
    pub(in crate::sandbox) fn finish(&self) {
        if let Some(line) = self.lines.lock().unwrap_or_else(PoisonError::into_inner).finish() {
            let _ = self.log_line(&line);
        }
    }

    fn take(&self, bytes: &[u8]) -> Result<(), Halt> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.take(bytes, self.began.elapsed(), |line| self.log_line(line))
    }

    fn log_line(&self, line: &[u8]) -> Result<(), Halt> {
        self.log.guest(LogLevel::Info, self.stream, &String::from_utf8_lossy(line), &[])
    }
}

/// An output, for WASI.
pub(super) struct Output(pub(super) Arc<OutputLines>);

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // WASI 0.3 would use this. It is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Self(Arc::clone(&self.0)))
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.take(&bytes).map_err(|halt| StreamError::Trap(wasmtime::Error::new(halt)))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE_BYTES)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}
