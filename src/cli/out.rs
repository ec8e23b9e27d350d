//! The two streams. Both take text with colours, and drop the colours where they are not wanted.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use super::failure::Failure;
use super::progress::around;

/// How wide text is drawn where there is no terminal.
const DEFAULT_WIDTH: usize = 100;

/// Writes a result to standard output.
pub(crate) fn result(text: &str) -> Result<(), Failure> {
    around(|| {
        let mut stream = anstream::stdout().lock();
        stream.write_all(text.as_bytes())?;
        stream.flush()
    })?;
    Ok(())
}

/// Writes a result for programs to standard output: one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    json_lines(std::slice::from_ref(value))
}

/// Writes results for programs to standard output, at once: a line of JSON for each.
pub(crate) fn json_lines<T: Serialize>(values: &[T]) -> Result<(), Failure> {
    let mut text = String::new();
    for value in values {
        text += &serde_json::to_string(value).map_err(anyhow::Error::from)?;
        text.push('\n');
    }
    // Not through the stream that takes colours out: it would take the same bytes out of the data.
    around(|| {
        let mut stream = io::stdout().lock();
        stream.write_all(text.as_bytes())?;
        stream.flush()
    })?;
    Ok(())
}

/// Writes to standard error, where people look while they wait. Nothing can be done where that fails.
pub(crate) fn error(text: &str) {
    let _ = around(|| anstream::stderr().lock().write_all(text.as_bytes()));
}

/// Whether a person looks at standard output.
pub(crate) fn person_reads() -> bool {
    io::stdout().is_terminal()
}

/// How many columns a result may take: those of the terminal; as many as it likes where there is none, so that a program gets everything.
pub(crate) fn result_width() -> usize {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => usize::MAX,
    }
}

/// Whether a person looks at standard error.
pub(crate) fn person_waits() -> bool {
    io::stderr().is_terminal()
}

/// Whether what goes to standard error keeps its colours.
pub(crate) fn colours_wanted() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

/// How many columns standard error has.
pub(crate) fn width() -> usize {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => DEFAULT_WIDTH,
    }
}
