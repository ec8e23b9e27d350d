//! Implements `types`: converts errors of host functions to errors of the contract.

use crate::model::ErrorInfo;
use crate::sandbox::bindings::anacostia::pipeline::types::{self, Host};

use super::GuestState;
use super::access::CallError;

impl Host for GuestState {
    fn convert_error(&mut self, error: CallError) -> wasmtime::Result<types::Error> {
        if let CallError::Refused(refused) = &error
            && refused.retryable
        {
            self.gate.note_irregular(|| format!("a call has failed: {}", refused.message));
        }
        self.wit_error(error)
    }
}

impl GuestState {
    /// Converts an error of a host function to one for the guest, or to a trap.
    pub(in crate::sandbox) fn wit_error(&self, error: CallError) -> wasmtime::Result<types::Error> {
        match error {
            CallError::Refused(ErrorInfo { code, message, retryable }) => {
                // The guest sees the codes of the contract. The record keeps which limit was
                // reached.
                let code = if self.gate.reached().is_some_and(|reached| reached.code == code) {
                    "limit".to_owned()
                } else {
                    code
                };
                Ok(types::Error { code, message, retryable })
            }
            CallError::Halted(halt) => Err(wasmtime::Error::new(halt)),
            CallError::Broken(why) => Err(why),
        }
    }
}
