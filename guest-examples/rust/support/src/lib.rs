//! Support for Anacostia actions in Rust: the bindings of their world (`wit/pipeline.wit`), a panic
//! hook, and small helpers.
//!
//! An action is a function and one macro call:
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
//! An action with work to do around every attempt also names its [`Hooks`]:
//! `action!(run, hooks: Watch);`.
//!
//! A trigger component is a function and one macro call too; see [`trigger`].
//!
//! The crate is optional: an action can call `wit_bindgen::generate!` itself. The crate exists
//! because the bindings take a few seconds to compile, which actions then do only once, and because
//! of the panic hook: Rust writes the text of a panic to stderr, which some targets do not have.

mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "guest",
        pub_export_macro: true,
        default_bindings_module: "anacostia_guest",
    });
}

/// The bindings of the hooks. They have their own world instead of `guest-with-hooks`, because an
/// action without hooks must not export them: a component exports what all worlds export whose
/// `export!` macro it uses.
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

/// The bindings of the world `trigger`, which shares interfaces with that of actions.
mod trigger_bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "trigger",
        pub_export_macro: true,
        export_macro_name: "export_decider",
        default_bindings_module: "anacostia_guest",
        with: {
            "anacostia:pipeline/types@0.1.0": crate::bindings::anacostia::pipeline::types,
            "anacostia:pipeline/metadata@0.1.0": crate::bindings::anacostia::pipeline::metadata,
            "anacostia:pipeline/log@0.1.0": crate::bindings::anacostia::pipeline::log,
        },
    });
}

mod data;
mod hooks;
pub mod log;
pub mod trigger;

pub use bindings::anacostia::pipeline::database;
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

    pub mod decider {
        pub use crate::trigger_bindings::export_decider as export;
        pub use crate::trigger_bindings::exports;
        pub use crate::trigger_bindings::exports::anacostia::pipeline::decider::Guest;
    }
}

/// The result of a call to the host.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Returns an error that is final: the host does not try again.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { code: "failed".to_owned(), message: message.into(), retryable: false }
    }

    /// Returns a final error about an input that the action cannot process.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { code: "invalid".to_owned(), ..Self::permanent(message) }
    }

    /// Returns an error that may be temporary: the host tries again, as `retry` in the manifest
    /// says.
    pub fn temporary(message: impl Into<String>) -> Self {
        Self { code: "unavailable".to_owned(), message: message.into(), retryable: true }
    }
}

/// Exports a function `fn() -> Result<Outcome>` as the action of this crate. With `hooks: TYPE`,
/// also exports the [`Hooks`] of that type.
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

        // Each hook runs in its own instance, so each has to install the panic hook.
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

/// Exports a function `fn() -> Result<trigger::Decision>` as the trigger component of this crate.
#[macro_export]
macro_rules! decider {
    ($decide:path) => {
        struct Decider;

        impl $crate::generated::decider::Guest for Decider {
            fn decide() -> $crate::Result<$crate::trigger::Decision> {
                $crate::log::panics();
                $decide()
            }
        }

        $crate::generated::decider::export!(Decider with_types_in $crate::generated::decider);
    };
}
