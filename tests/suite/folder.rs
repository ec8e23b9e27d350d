//! The folder resource, on real files and real inotify, with a sink that keeps records as a store
//! does.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail; the setting for tests does not reach their helpers"
)]

mod outputs;
mod random;
mod reading;
pub(crate) mod recorder;
mod trouble;
mod unsupported;
mod watching;

use crate::support::child::in_child;

/// The arguments of `unshare` for a separate mount namespace.
fn own_mounts() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() { &["unshare", "-m"] } else { &["unshare", "-Urm"] }
}
