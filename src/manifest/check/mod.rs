//! Checks of values against each other and against the disk.

pub(super) mod components;
mod edges;
pub(super) mod paths;

pub(super) use edges::check as edges;
