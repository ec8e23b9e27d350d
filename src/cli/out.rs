//! Standard output and standard error. Colours are dropped if they are not wanted.

use std::io::{self, IsTerminal as _};

use serde::Serialize;

use super::writer::{self, Stream};

pub(super) use super::writer::{Moving, finish, moving_says, show_moving};

/// Width of text, in columns, if standard error is not a terminal.
const DEFAULT_WIDTH: usize = 100;

/// Called once by a host: from now on text is queued for writer threads, no caller waits for a
/// reader, and lines that are not read in time are dropped and counted. With `json`, standard
/// output is for programs.
pub(crate) fn never_wait(json: bool) {
    writer::never_wait(json);
}

/// Writes a result to standard output.
pub(crate) fn result(text: &str) -> io::Result<()> {
    writer::write(Stream::Out, painted(text, &io::stdout())).map_err(unwritten)
}

/// Writes a result for programs to standard output: one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    writer::write(Stream::Out, json_lines(std::slice::from_ref(value))?).map_err(unwritten)
}

/// Says of an error of standard output what failed, and what to do about a full disk.
#[expect(clippy::needless_pass_by_value, reason = "`map_err` passes it so")]
pub(crate) fn unwritten(error: io::Error) -> io::Error {
    let what_next = match error.kind() {
        io::ErrorKind::StorageFull => "; make room where it goes, or send it elsewhere",
        _ => "",
    };
    io::Error::new(error.kind(), format!("failed to write the output: {error}{what_next}"))
}

/// Writes what a host reports to standard output, as soon as there is room for it. Safe to drop:
/// then it is not written.
///
/// # Errors
/// When the reader is gone.
pub(crate) async fn report(text: &str) -> io::Result<()> {
    writer::write_when_there_is_room(Stream::Out, painted(text, &io::stdout())).await
}

/// The same for programs: a line of JSON for each value.
pub(crate) async fn report_json<T: Serialize>(values: &[T]) -> io::Result<()> {
    writer::write_when_there_is_room(Stream::Out, json_lines(values)?).await
}

/// Counts lines of a report that are lost as dropped lines.
pub(crate) fn count_lost_report(lines: u64) {
    writer::count_lost(Stream::Out, lines);
}

/// Returns how many bytes of the report were written so far. The number does not grow while the
/// reader reads nothing.
pub(crate) fn reported_bytes() -> u64 {
    writer::written(Stream::Out)
}

/// Writes to standard error. A failure is ignored, because it could not be reported.
pub(crate) fn error(text: &str) {
    let _ = writer::write(Stream::Err, painted(text, &io::stderr()));
}

/// Writes to standard error without changing the text.
pub(crate) struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = writer::write(Stream::Err, bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Removes the colours of `text` if the stream does not take them.
fn painted(text: &str, stream: &impl anstream::stream::RawStream) -> Vec<u8> {
    match anstream::AutoStream::choice(stream) {
        anstream::ColorChoice::Never => anstream::adapter::strip_bytes(text.as_bytes()).into_vec(),
        _ => text.as_bytes().to_vec(),
    }
}

/// Serializes each value as a line of JSON. Data keeps every byte: text in it that looks like a
/// colour sequence is not removed.
fn json_lines<T: Serialize>(values: &[T]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for value in values {
        serde_json::to_writer(&mut text, value)?;
        text.push(b'\n');
    }
    Ok(text)
}

/// Whether standard output is a terminal.
pub(crate) fn person_reads() -> bool {
    io::stdout().is_terminal()
}

/// Returns how many columns a result may take: those of the terminal. Without a terminal the width
/// is unlimited, so that a program gets everything.
pub(crate) fn result_width() -> usize {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => usize::MAX,
    }
}

/// Whether standard error is a terminal.
pub(crate) fn person_waits() -> bool {
    io::stderr().is_terminal()
}

/// Whether text on standard error keeps its colours.
pub(crate) fn colours_wanted() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

/// Returns how many columns standard error has.
pub(crate) fn width() -> usize {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => DEFAULT_WIDTH,
    }
}
