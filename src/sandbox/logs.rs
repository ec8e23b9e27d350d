//! The log of one attempt. Lines are masked and escaped, counted against the limit, buffered, and
//! written at the end of each slice of the guest.
//!
//! A slice takes a few milliseconds at most, so lines are visible almost at once, and a guest that
//! writes line by line costs one write for each slice, not one for each line. If the process dies,
//! the lines of the guest's last slice are lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::bounds::{MAX_LOG_FIELDS, MAX_LOG_MESSAGE_BYTES, cut};
use crate::base::{AttemptId, Clock, escape};
use crate::model::{LogLevel, LogLine, LogPosition, LogStream};
use crate::store::logs::LogStore;

use super::halt::Halt;
use super::mask::Masker;
use super::output_tail::OutputTail;

/// The number of bytes that a line counts in addition to its text and fields: about the size of the
/// rest of its entry in the segment.
pub(super) const LINE_BYTES: u64 = 128;
/// Longest name of a field, in bytes.
const MAX_FIELD_NAME_BYTES: usize = 200;
/// Longest value of a field, in bytes.
const MAX_FIELD_VALUE_BYTES: usize = 4096;
/// Buffered lines are written before the slice ends if they reach this many bytes.
const MAX_GATHERED_BYTES: u64 = 256 << 10;

/// The log of one attempt. Shared by its host functions, its standard output and standard error,
/// and the code that polls it.
pub(super) struct AttemptLog {
    attempt: AttemptId,
    store: Arc<dyn LogStore>,
    clock: Arc<dyn Clock>,
    masker: Arc<Masker>,
    limit: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lines: Vec<LogLine>,
    gathered: u64,
    counted: u64,
    n: u64,
    halt: Option<Halt>,
    /// Why lines were lost, if any were.
    lost: Option<String>,
    tail: OutputTail,
}

impl AttemptLog {
    /// Creates an empty log with a limit in bytes.
    pub(super) fn new(
        attempt: AttemptId,
        store: Arc<dyn LogStore>,
        clock: Arc<dyn Clock>,
        masker: Arc<Masker>,
        limit: u64,
    ) -> Self {
        Self { attempt, store, clock, masker, limit, state: Mutex::default() }
    }

    /// Logs `text` from the guest, split into lines, without secrets and control characters.
    ///
    /// # Errors
    /// If the limit is reached, or if lines cannot be written.
    pub(super) fn guest(
        &self,
        level: LogLevel,
        stream: LogStream,
        text: &str,
        fields: &[(String, String)],
    ) -> Result<(), Halt> {
        // Masked before it is split, because a secret may have several lines, and before it is
        // escaped, because escaping changes it.
        let text = self.masker.mask_cut(text, MAX_LOG_MESSAGE_BYTES);
        let mut fields: Vec<(String, String)> =
            fields.iter().take(MAX_LOG_FIELDS).map(|(name, value)| self.field(name, value)).collect();
        let mut state = self.state();
        for line in text.strip_suffix('\n').unwrap_or(&text).split('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line);
            let text = cut(&escape(line.as_bytes()), MAX_LOG_MESSAGE_BYTES).into_owned();
            let fields = std::mem::take(&mut fields);
            let in_fields: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
            let bytes = LINE_BYTES + u64::try_from(text.len() + in_fields).unwrap_or(u64::MAX);
            if let Some(halt) = &state.halt {
                return Err(halt.clone());
            }
            if state.counted.saturating_add(bytes) > self.limit {
                state.halt = Some(Halt::Log);
                return Err(Halt::Log);
            }
            state.counted += bytes;
            if stream == LogStream::Stderr || level == LogLevel::Error {
                state.tail.push(&text, &fields);
            }
            self.gather(&mut state, level, stream, text, fields, bytes);
        }
        Ok(())
    }

    /// Logs a line from the host. It does not count against the limit: the host bounds its own
    /// lines.
    pub(super) fn host(&self, level: LogLevel, text: &str) {
        let mut state = self.state();
        for line in self.masker.mask_cut(text, MAX_LOG_MESSAGE_BYTES).lines() {
            let text = escape(line.as_bytes());
            let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX).saturating_add(LINE_BYTES);
            self.gather(&mut state, level, LogStream::Host, text, Vec::new(), bytes);
        }
    }

    /// Writes the buffered lines. A failure stops the attempt, because a run without its log is not
    /// fully recorded.
    pub(super) fn flush(&self) {
        self.write(&mut self.state());
    }

    /// Returns why lines could not be written, if any could not.
    pub(super) fn lost(&self) -> Option<String> {
        self.state().lost.clone()
    }

    /// Returns why the attempt must stop, if it must.
    pub(super) fn halt(&self) -> Option<Halt> {
        self.state().halt.clone()
    }

    /// Returns the last lines that the guest wrote to standard error, or logged as errors, in this
    /// call. They are masked and escaped.
    pub(super) fn output_tail(&self) -> Option<String> {
        self.state().tail.text()
    }

    /// Prepares the log for the next call of the same attempt.
    pub(super) fn begin_call(&self) {
        self.state().tail.clear();
    }

    /// Returns the number of counted bytes.
    pub(super) fn counted(&self) -> u64 {
        self.state().counted
    }

    /// Returns how many bytes of a line a caller must buffer, so that a secret at its end is
    /// complete.
    pub(super) fn line_window(&self) -> usize {
        MAX_LOG_MESSAGE_BYTES + 1 + self.masker.longest()
    }

    /// Returns the current end position of the log.
    pub(super) fn end(&self) -> LogPosition {
        self.store.end()
    }

    fn field(&self, name: &str, value: &str) -> (String, String) {
        let clean = |text: &str, max| cut(&escape(self.masker.mask_cut(text, max).as_bytes()), max).into_owned();
        (clean(name, MAX_FIELD_NAME_BYTES), clean(value, MAX_FIELD_VALUE_BYTES))
    }

    fn gather(
        &self,
        state: &mut State,
        level: LogLevel,
        stream: LogStream,
        text: String,
        fields: Vec<(String, String)>,
        bytes: u64,
    ) {
        state.n += 1;
        let (t, n) = (self.clock.now(), state.n);
        state.lines.push(LogLine { t, attempt: self.attempt, n, level, stream, text, fields });
        state.gathered = state.gathered.saturating_add(bytes);
        if state.gathered >= MAX_GATHERED_BYTES {
            self.write(state);
        }
    }

    fn write(&self, state: &mut State) {
        if state.lines.is_empty() {
            return;
        }
        if let Err(why) = self.store.append(&state.lines) {
            let why = why.reason();
            state.halt.get_or_insert_with(|| Halt::LogUnwritable(why.clone()));
            state.lost.get_or_insert(why);
        }
        state.lines.clear();
        state.gathered = 0;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
