//! The integration tests: one binary, because each would link wasmtime again.

mod manifest;
mod sandbox;
mod store;
