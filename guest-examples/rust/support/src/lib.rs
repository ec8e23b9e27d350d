//! What every Anacostia action in Rust shares: the bindings of its world (`wit/pipeline.wit`), the
//! panic hook, and small helpers.
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
//! An action that has something to do around every attempt names its [`Hooks`] besides:
//! `action!(run, hooks: Watch);`.
//!
//! Nothing here is needed: an action may as well call `wit_bindgen::generate!` itself. It is here
//! because the bindings take a few seconds to compile, which actions that share this crate share
//! too, and because of the panic hook: a panic's text is written to stderr, and on some targets
//! there is none.

mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "guest",
        pub_export_macro: true,
        default_bindings_module: "anacostia_guest",
    });
}

/// What hooks add to it. A world of its own, and not `guest-with-hooks`, because an action without
/// hooks must not export them: what a component exports is the sum of the worlds whose `export!` it
/// uses.
mod hook_bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "
            package anacostia:guest;
            world hooks-alone {
                export anacostia:pipeline/hooks@0.1.0;
            }
        ",
        pub_export_macro: true,
        export_macro_name: "export_hooks",
        default_bindings_module: "anacostia_guest",
        with: { "anacostia:pipeline/types@0.1.0": crate::bindings::anacostia::pipeline::types },
    });
}

mod data;
mod hooks;
pub mod log;

pub use bindings::anacostia::pipeline::metadata;
pub use bindings::anacostia::pipeline::resources;
pub use bindings::anacostia::pipeline::run_context;
pub use bindings::anacostia::pipeline::types::{Artifact, Error, Outcome};
pub use data::{CHUNK_BYTES, Chunks, Gathering, Lines, chunks, copy, create, lines, list_all, read_all, write_all};
pub use hooks::Hooks;

#[doc(hidden)]
pub mod generated {
    pub use crate::bindings::export;
    pub use crate::bindings::exports;
    pub use crate::bindings::exports::anacostia::pipeline::action::Guest;

    pub mod hooks {
        pub use crate::hook_bindings::export_hooks as export;
        pub use crate::hook_bindings::exports;
        pub use crate::hook_bindings::exports::anacostia::pipeline::hooks::Guest;
    }
}

/// What a call to the host gives.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure that trying again does not cure.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { code: "failed".to_owned(), message: message.into(), retryable: false }
    }

    /// An input that is not what the action takes.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { code: "invalid".to_owned(), ..Self::permanent(message) }
    }

    /// A failure that may go away: the host tries the action again as `retry` in the manifest says.
    pub fn temporary(message: impl Into<String>) -> Self {
        Self { code: "unavailable".to_owned(), message: message.into(), retryable: true }
    }
}

/// Make `fn() -> Result<Outcome>` the action that this crate is; with `hooks: TYPE`, [`Hooks`] of
/// that type go with it.
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
    ($run:path, hooks: $hooks:ty) => {
        $crate::action!($run);

        // Each hook is called in an instance of its own, so each sets the panic hook anew.
        impl $crate::generated::hooks::Guest for Action {
            fn before_run() -> $crate::Result<()> {
                $crate::log::panics();
                <$hooks as $crate::Hooks>::before_run()
            }

            fn on_success(outcome: $crate::Outcome) -> $crate::Result<()> {
                $crate::log::panics();
                <$hooks as $crate::Hooks>::on_success(outcome)
            }

            fn on_failure(error: $crate::Error) -> $crate::Result<()> {
                $crate::log::panics();
                <$hooks as $crate::Hooks>::on_failure(error)
            }

            fn after_run() -> $crate::Result<()> {
                $crate::log::panics();
                <$hooks as $crate::Hooks>::after_run()
            }
        }

        $crate::generated::hooks::export!(Action with_types_in $crate::generated::hooks);
    };
}
