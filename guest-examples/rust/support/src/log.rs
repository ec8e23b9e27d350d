//! Log lines for people, and the panic hook that logs panics.

use std::fmt::Display;

use crate::bindings::anacostia::pipeline::log as host;
pub use crate::bindings::anacostia::pipeline::log::Level;

/// The fields of a log line: names and values.
pub type Fields<'a> = &'a [(&'a str, &'a dyn Display)];

/// Logs details that help to find a fault.
pub fn debug(message: &str, fields: Fields) {
    line(Level::Debug, message, fields);
}

/// Logs what is going on.
pub fn info(message: &str, fields: Fields) {
    line(Level::Info, message, fields);
}

/// Logs something unexpected that does not stop the work.
pub fn warn(message: &str, fields: Fields) {
    line(Level::Warn, message, fields);
}

/// Logs something that went wrong.
pub fn error(message: &str, fields: Fields) {
    line(Level::Error, message, fields);
}

/// Logs one line at the given level.
pub fn line(level: Level, message: &str, fields: Fields) {
    let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
    host::log(level, message, &fields);
}

/// Installs a panic hook that logs panics with their location. `action!` calls this before the
/// action runs.
pub fn panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("a panic without a text");
        match panic.location() {
            Some(place) => error(&format!("panicked: {text}"), &[("at", place)]),
            None => error(&format!("panicked: {text}"), &[]),
        }
    }));
}
