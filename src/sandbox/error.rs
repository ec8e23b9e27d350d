//! Why a component cannot be used, or the sandbox cannot be created.

use std::path::PathBuf;

use crate::base::{ByteSize, Digest};

/// Why a component cannot be used, or the sandbox cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The component's file cannot be read.
    #[error("the component {} cannot be read: {why}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The error of the operating system.
        why: std::io::Error,
    },
    /// The component is larger than the bound, and is not read.
    #[error("the component {} is larger than {limit}", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The bound.
        limit: ByteSize,
    },
    /// The file's digest does not match.
    #[error("the component {} is {found}, not {wanted}: it was changed after it was put on record", file.display())]
    WrongDigest {
        /// The file.
        file: PathBuf,
        /// The expected digest.
        wanted: Digest,
        /// The actual digest.
        found: Digest,
    },
    /// The file is not a component, or exceeds a bound.
    #[error("{} is not a component that can run: {why}", file.display())]
    NotAComponent {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The component cannot be compiled.
    #[error("the component {component} cannot be compiled: {why}")]
    Compile {
        /// The component.
        component: Digest,
        /// The compiler's error.
        why: String,
    },
    /// The component imports something that the host does not provide, or does not export what the
    /// host calls.
    #[error("the component {component} does not fit the host: {why}")]
    Link {
        /// The component.
        component: Digest,
        /// What does not match.
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
    /// The sandbox is shutting down.
    #[error("the sandbox is closing")]
    Closing,
}
