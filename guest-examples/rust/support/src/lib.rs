//! What every Anacostia action in Rust shares: the bindings of its world (`wit/pipeline.wit`), the panic hook, and small helpers.
//!
//! An action is a function and one line:
//!
//! ```ignore
//! use anacostia_guest::{Outcome, Result, log, resources};
//!
//! anacostia_guest::action!(run);
//!
//! fn run() -> Result<Outcome> {
//!     for artifact in resources::inputs("data_store")? {
//!         log::info(&artifact.path, &[("size", &artifact.size)]);
//!     }
//!     Ok(Outcome::Done(None))
//! }
//! ```
//!
//! Nothing here is needed: an action may as well call `wit_bindgen::generate!` itself. It is here because the bindings take a few
//! seconds to compile, which actions that share this crate share too, and because of the panic hook: a panic's text is written to
//! stderr, and on some targets there is none.

mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "guest",
        pub_export_macro: true,
        default_bindings_module: "anacostia_guest",
    });
}

mod data;
pub mod log;

pub use bindings::anacostia::pipeline::metadata;
pub use bindings::anacostia::pipeline::resources;
pub use bindings::anacostia::pipeline::run_context;
pub use bindings::anacostia::pipeline::types::{Artifact, Error};
pub use bindings::exports::anacostia::pipeline::action::Outcome;
pub use data::{CHUNK_BYTES, Chunks, chunks, copy, list_all, read_all, write_all};

#[doc(hidden)]
pub mod generated {
    pub use crate::bindings::export;
    pub use crate::bindings::exports;
    pub use crate::bindings::exports::anacostia::pipeline::action::Guest;
}

/// What a call to the host gives.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure that trying again does not cure.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { code: "failed".to_owned(), message: message.into(), retryable: false }
    }

    /// A failure that may go away: the host tries the action again as `retry` in the manifest says.
    pub fn temporary(message: impl Into<String>) -> Self {
        Self { code: "unavailable".to_owned(), message: message.into(), retryable: true }
    }
}

/// Make `fn() -> Result<Outcome>` the action that this crate is.
#[macro_export]
macro_rules! action {
    ($run:path) => {
        struct Action;

        impl $crate::generated::Guest for Action {
            fn run() -> $crate::Result<$crate::Outcome> {
                $crate::log::panics();
                $run()
            }
        }

        $crate::generated::export!(Action with_types_in $crate::generated);
    };
}
