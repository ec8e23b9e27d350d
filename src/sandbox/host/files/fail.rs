//! Errors of calls on files: an error code of WASI for the program, and a log line for people.

use wasmtime::component::Resource as Handle;
use wasmtime_wasi::p2::IoError;

use crate::base::escape;
use crate::model::{ErrorInfo, LogLevel};
use crate::sandbox::bindings::wasi::wasi::filesystem::types::{ErrorCode, Host};
use crate::sandbox::host::GuestState;
use crate::sandbox::host::access::CallError;

use super::FileError;
use super::entries::StreamFailed;
use super::state::CALL;

/// The maximum number of log lines of one attempt about failed calls on files.
const MAX_LOGGED: usize = 50;

impl Host for GuestState {
    fn convert_error_code(&mut self, error: FileError) -> wasmtime::Result<ErrorCode> {
        match error {
            FileError::Code(code) => Ok(code),
            FileError::Trap(why) => Err(why),
        }
    }

    async fn filesystem_error_code(&mut self, error: Handle<IoError>) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(self.table.get(&error)?.downcast_ref::<StreamFailed>().map(|failed| failed.0))
    }
}

impl GuestState {
    /// Converts an error for a path to an error for the program. The message goes to the log.
    pub(super) fn refuse(&mut self, place: &str, error: CallError) -> FileError {
        match error {
            CallError::Refused(error) => {
                let code = number_of(&error.code);
                if error.retryable {
                    self.gate.note_irregular(|| format!("a call has failed: {}", error.message));
                }
                if code != ErrorCode::NoEntry {
                    self.gate.note_refusal(&error);
                }
                // Denials are logged when the attempt ends, and programs often check for files that
                // do not exist.
                if !matches!(code, ErrorCode::Access | ErrorCode::NoEntry) {
                    self.log_once(place, &error.message);
                }
                code.into()
            }
            CallError::Halted(halt) => FileError::Trap(wasmtime::Error::new(halt)),
            CallError::Broken(why) => FileError::Trap(why),
        }
    }

    /// Logs a message about a path, once.
    pub(super) fn log_once(&mut self, place: &str, words: &str) {
        let line = format!("/{}: {words}", escape(place.as_bytes()));
        if self.files.logged.len() < MAX_LOGGED && !self.files.logged.contains(&line) {
            self.log.host(LogLevel::Warn, &line);
            self.files.logged.insert(line);
        }
    }

    /// Records that access to a path was denied.
    pub(super) fn deny_file(&mut self, place: &str, message: String) -> ErrorInfo {
        let target = self.masker.mask(&format!("/{place}")).into_owned();
        let denied = self.gate.deny(CALL, &target, message);
        self.gate.note_refusal(&denied);
        denied
    }

    /// Returns the error for a path that does not exist. If a missing grant is the reason, records
    /// the denial, because the program only reports that the file does not exist.
    pub(super) fn nothing(&mut self, place: &str) -> FileError {
        let mut parts = place.splitn(3, '/');
        if let (Some(half @ ("in" | "out")), Some(resource)) = (parts.next(), parts.next())
            && self.services.resources.contains_key(resource)
            && self.files.noted.insert(format!("{half}/{resource}"))
        {
            let may = if half == "in" { Self::may_read } else { Self::may_write };
            if let Err(CallError::Refused(denied)) = may(self, CALL, resource) {
                self.gate.note_refusal(&denied);
            }
        }
        ErrorCode::NoEntry.into()
    }
}

/// Returns the error code of WASI that is closest to a code of the contract. `InsufficientSpace` is
/// what programs expect when a disk is full.
fn number_of(code: &str) -> ErrorCode {
    match code {
        "denied" => ErrorCode::Access,
        "not-found" => ErrorCode::NoEntry,
        "already-exists" => ErrorCode::Exist,
        "invalid" => ErrorCode::Invalid,
        "output_limit" | "outputs_limit" | "disk-full" => ErrorCode::InsufficientSpace,
        "handles_limit" | "metric_names_limit" | "facts_limit" => ErrorCode::Quota,
        _ => ErrorCode::Io,
    }
}
