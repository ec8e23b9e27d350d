//! Checks of values against each other and against the disk.

pub(super) mod components;
mod edges;
mod notify;
pub(super) mod paths;

pub(super) use edges::check as edges;
pub(super) use notify::notify;
