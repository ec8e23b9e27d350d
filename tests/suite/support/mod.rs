//! What the tests share: a host in a folder of its own, the guests, and waiting for something to
//! happen.

pub(crate) mod app;
pub(crate) mod circles;
pub(crate) mod dev;
pub(crate) mod guests;
pub(crate) mod source;
pub(crate) mod upstream;
pub(crate) mod wait;
