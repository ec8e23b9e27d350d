//! Checks of values against each other and against the disk.

pub(super) mod components;
mod edges;
mod notify;
pub(super) mod paths;
mod tables;

pub(super) use edges::check as edges;
pub(super) use notify::notify;
pub(super) use tables::tables;
