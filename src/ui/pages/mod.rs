//! One file for each page.

mod approvals;
pub(super) mod decision;
pub(super) mod home;
