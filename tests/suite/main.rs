//! The integration tests: one binary, because each would link wasmtime again.

mod http;
mod http_content;
mod http_events;
mod http_guard;
mod http_page;
mod http_support;
mod manifest;
mod sandbox;
