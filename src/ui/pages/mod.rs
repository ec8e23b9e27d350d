//! A file per screen.

pub(super) mod home;
