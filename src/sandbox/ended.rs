//! The result of a call of a guest.

use super::bindings::anacostia::pipeline::types;

/// The result of a call of a guest: a value, an error from the guest, or a trap.
pub(super) type Ended<T> = wasmtime::Result<Result<T, types::Error>>;
