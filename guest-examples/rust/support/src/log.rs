//! Lines for people, and the panic hook that makes one of a panic.

use std::fmt::Display;

use crate::bindings::anacostia::pipeline::log as host;
pub use crate::bindings::anacostia::pipeline::log::Level;

/// Names and values that belong to a line.
pub type Fields<'a> = &'a [(&'a str, &'a dyn Display)];

/// Details for whoever looks for a fault.
pub fn debug(message: &str, fields: Fields) {
    line(Level::Debug, message, fields);
}

/// What is going on.
pub fn info(message: &str, fields: Fields) {
    line(Level::Info, message, fields);
}

/// Something that is odd, and did not stop the work.
pub fn warn(message: &str, fields: Fields) {
    line(Level::Warn, message, fields);
}

/// Something that went wrong.
pub fn error(message: &str, fields: Fields) {
    line(Level::Error, message, fields);
}

/// One line, of any level.
pub fn line(level: Level, message: &str, fields: Fields) {
    let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
    host::log(level, message, &fields);
}

/// Log panics, with their place. `action!` calls this before the action runs.
pub fn panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("a panic without a text");
        match panic.location() {
            Some(place) => error(&format!("panicked: {text}"), &[("at", place)]),
            None => error(&format!("panicked: {text}"), &[]),
        }
    }));
}
