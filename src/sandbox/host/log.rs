//! Implements `log`: log lines for people.

use crate::model::{LogLevel, LogStream};
use crate::sandbox::bindings::anacostia::pipeline::log::{Host, Level};

use super::GuestState;

impl Host for GuestState {
    fn log(&mut self, level: Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        self.gate.enter();
        let level = match level {
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        self.log.guest(level, LogStream::Log, &message, &fields).map_err(wasmtime::Error::new)
    }
}
