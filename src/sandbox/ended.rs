//! How a call of a guest ended.

use super::bindings::anacostia::pipeline::types;

/// How a call of the guest itself ended: with a value, with an error of its own, or with a trap.
pub(super) type Ended<T> = wasmtime::Result<Result<T, types::Error>>;
