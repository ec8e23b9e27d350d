//! What the values of a manifest mean to each other, and to the disk.

pub(super) mod components;
mod edges;
pub(super) mod paths;

pub(super) use edges::check as edges;
