//! The one integration-test binary: every further one would link the engine again. A file per subject; what they share is
//! in `support`.

mod cli;
mod house;
mod manifest;
mod support;
