//! One file for each page, and for what several pages show.

pub(super) mod action;
pub(super) mod api;
pub(super) mod approvals;
pub(super) mod artifact;
mod attempts;
pub(super) mod compare;
mod decided;
pub(super) mod decision;
mod graph;
mod headline;
pub(super) mod home;
mod lineage;
mod metric_names;
pub(super) mod metrics;
pub(super) mod model;
pub(super) mod models;
mod nodes;
mod params_form;
mod readme;
pub(super) mod resource;
pub(super) mod run;
pub(super) mod runs;
pub(super) mod settings;
pub(super) mod steer;
mod taken;
pub(super) mod trigger;
mod triggers;
