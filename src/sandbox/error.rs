//! Why a component cannot be used, or the sandbox not be built.

use std::path::PathBuf;

use crate::base::{ByteSize, Digest};

/// Why a component cannot be used, or the sandbox not be built.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The component's file cannot be read.
    #[error("the component {} cannot be read: {why}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// The component is too large to be looked at.
    #[error("the component {} is larger than {limit}", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// What is allowed.
        limit: ByteSize,
    },
    /// The file is not what it should be.
    #[error("the component {} is {found}, not {wanted}: it was changed after it was put on record", file.display())]
    WrongDigest {
        /// The file.
        file: PathBuf,
        /// What it should be.
        wanted: Digest,
        /// What it is.
        found: Digest,
    },
    /// The file is no component, or one beyond the bounds.
    #[error("{} is no component that can be run: {why}", file.display())]
    NotAComponent {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It could not be compiled.
    #[error("the component {component} cannot be compiled: {why}")]
    Compile {
        /// The component.
        component: Digest,
        /// What the compiler said.
        why: String,
    },
    /// It imports what the host does not have, or does not export what the host calls.
    #[error("the component {component} does not fit the host: {why}")]
    Link {
        /// The component.
        component: Digest,
        /// What does not fit.
        why: String,
    },
    /// The cache folder cannot be used.
    #[error("the folder of compiled code {} cannot be used: {why}", folder.display())]
    Cache {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// This machine cannot run the sandbox.
    #[error("the sandbox cannot be built: {0}")]
    Engine(String),
    /// The sandbox is being dropped.
    #[error("the sandbox is closing")]
    Closing,
}
