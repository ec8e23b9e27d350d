//! What the tests share: a host in a folder of its own, the guests, and waiting for something to happen.

#[expect(dead_code, reason = "each subject that drives a host uses a part of it")]
pub(crate) mod app;
pub(crate) mod guests;
pub(crate) mod source;
pub(crate) mod wait;
