//! How a call on a file fails: a number of WASI for the program, and words for people.

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

/// Most lines in the log of one attempt about calls on files that failed.
const MAX_TOLD: usize = 50;

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
    /// What a program is told that was refused something at a path. The words go to the log.
    pub(super) fn refuse(&mut self, place: &str, error: CallError) -> FileError {
        match error {
            CallError::Refused(error) => {
                let code = number_of(&error.code);
                if code != ErrorCode::NoEntry {
                    self.gate.note_refusal(&error);
                }
                // A denial is told when the attempt ends, and that nothing is there is what
                // programs ask for.
                if !matches!(code, ErrorCode::Access | ErrorCode::NoEntry) {
                    self.tell(place, &error.message);
                }
                code.into()
            }
            CallError::Halted(halt) => FileError::Trap(wasmtime::Error::new(halt)),
            CallError::Broken(why) => FileError::Trap(why),
        }
    }

    /// A line in the log about a path, once.
    pub(super) fn tell(&mut self, place: &str, words: &str) {
        let line = format!("/{}: {words}", escape(place.as_bytes()));
        if self.files.told.len() < MAX_TOLD && !self.files.told.contains(&line) {
            self.log.host(LogLevel::Warn, &line);
            self.files.told.insert(line);
        }
    }

    /// Notes that something at a path was denied.
    pub(super) fn deny_file(&mut self, place: &str, message: String) -> ErrorInfo {
        let target = self.masker.mask(&format!("/{place}")).into_owned();
        let denied = self.gate.deny(CALL, &target, message);
        self.gate.note_refusal(&denied);
        denied
    }

    /// Nothing lies at a path. If the reason is a grant that is missing, that is noted: the program
    /// will only say that there is no such file.
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

/// The number of WASI that says most nearly what a code of the contract says. Programs take
/// `InsufficientSpace` for a full disk.
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
