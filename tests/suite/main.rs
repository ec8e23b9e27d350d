//! The integration tests: one binary, a file per subject.

mod http;
mod http_content;
mod http_events;
mod http_fake;
mod http_guard;
mod http_page;
mod http_store;
mod http_support;
