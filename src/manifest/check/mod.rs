//! Checks of values against each other and against the disk.

pub(super) mod components;
mod concurrency;
mod edges;
mod idle;
mod models;
mod notify;
mod openlineage;
pub(super) mod paths;
mod rows;
mod tables;

pub(super) use concurrency::{concurrency, unused_limits};
pub(super) use edges::check as edges;
pub(super) use idle::idle;
pub(super) use models::models;
pub(super) use notify::notify;
pub(super) use openlineage::openlineage;
pub(super) use rows::rows;
pub(super) use tables::tables;
