//! Common code of the tests: a host in its own folder, the guests, and waiting for conditions.

pub(crate) mod any_store;
pub(crate) mod app;
pub(crate) mod browser;
pub(crate) mod child;
pub(crate) mod cycles;
pub(crate) mod dev;
pub(crate) mod guests;
pub(crate) mod pages;
pub(crate) mod postgres;
pub(crate) mod postgres_server;
pub(crate) mod preload;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod records;
pub(crate) mod redis_server;
pub(crate) mod s3;
pub(crate) mod schema;
pub(crate) mod server;
pub(crate) mod smtp;
pub(crate) mod source;
pub(crate) mod tls;
pub(crate) mod upstream;
pub(crate) mod wait;
