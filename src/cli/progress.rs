//! A progress line on a terminal during long work.

use std::time::Instant;

use super::out;
use super::show::plain;

/// A line that is redrawn during the work; nothing if standard error is not a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    is_moving: bool,
    /// Columns that are left for the message of the work.
    room: usize,
}

impl Progress {
    /// Shows `what` until dropped. Without a terminal, `what` is written once, so that a log tells
    /// what went on.
    pub(crate) fn start(what: &str) -> Self {
        if !out::person_waits() {
            out::error(&format!("{}\n", plain(what)));
        }
        Self::wait(what)
    }

    /// The same for a wait that is usually short: without a terminal, nothing is written.
    pub(crate) fn wait(what: &str) -> Self {
        let is_moving = out::person_waits();
        let what: String = plain(what).chars().take(out::width().saturating_sub(8)).collect();
        let room = out::width().saturating_sub(what.chars().count() + 16);
        if is_moving {
            out::show_moving(Some(out::Moving { what, says: String::new(), began: Instant::now() }));
        }
        Self { is_moving, room }
    }

    /// Shows the latest message of the work, cut to what fits.
    pub(crate) fn show(&self, text: &str) {
        if self.is_moving {
            let text = anstream::adapter::strip_str(text).to_string();
            out::moving_says(plain(text.trim()).chars().take(self.room).collect());
        }
    }

    /// Replaces the line with `text`.
    pub(crate) fn done(&self, text: &str) {
        if self.is_moving {
            out::show_moving(None);
        }
        out::error(text);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_moving {
            out::show_moving(None);
        }
    }
}
