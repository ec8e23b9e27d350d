//! One file for each page.

pub(super) mod home;
