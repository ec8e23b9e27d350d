//! One file for each page.

pub(super) mod approvals;
pub(super) mod home;
