//! The text of a panic that was caught.

use std::any::Any;

/// Returns what a caught panic says, as a sentence about the part that panicked.
#[must_use]
pub fn panicked(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("it panicked, which is a bug in Anacostia: {}", text.unwrap_or("no reason was given"))
}
