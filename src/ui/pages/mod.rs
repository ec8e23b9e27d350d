//! One file for each page.

pub(super) mod approvals;
pub(super) mod decision;
pub(super) mod home;
pub(super) mod metrics;
pub(super) mod run;
pub(super) mod runs;
pub(super) mod settings;
