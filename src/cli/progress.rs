//! One moving line about long work, where a person looks.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::out;
use super::show::plain;

/// The line that moves at the moment. Whatever else is written must go around it, from whichever thread.
static MOVING: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// A line that moves while work goes on; nothing where nobody looks.
#[derive(Debug)]
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Shows `what` until dropped. Where nobody looks, `what` is written once, so that a log tells what went on.
    pub(crate) fn start(what: &str) -> Self {
        if !out::person_waits() {
            out::error(&format!("{}\n", plain(what)));
            return Self(None);
        }
        Self::moving(what)
    }

    /// The same for a wait that is short as a rule: where nobody looks, nothing is written.
    pub(crate) fn wait(what: &str) -> Self {
        if out::person_waits() { Self::moving(what) } else { Self(None) }
    }

    fn moving(what: &str) -> Self {
        let style = ProgressStyle::with_template("{spinner:.cyan} {prefix} {msg:.dim} {elapsed:.dim}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::new_spinner().with_style(style).with_prefix(plain(what));
        *MOVING.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(Some(bar))
    }

    /// Shows what the work says of itself, cut to what fits.
    pub(crate) fn say(&self, text: &str) {
        if let Some(bar) = &self.0 {
            let room = out::width().saturating_sub(bar.prefix().chars().count() + 16);
            let text = anstream::adapter::strip_str(text).to_string();
            let text = text.trim();
            bar.set_message(plain(text).chars().take(room).collect::<String>());
        }
    }

    /// Takes the line away, and writes `text` in its place.
    pub(crate) fn done(&self, text: &str) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
        out::error(text);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
            *MOVING.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

/// Does `write` with the moving line out of the way, if there is one.
pub(crate) fn around<T>(write: impl FnOnce() -> T) -> T {
    let moving = MOVING.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match moving {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}
