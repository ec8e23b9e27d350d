//! The integration tests, one binary: every further one would link wasmtime again.

mod folder;
