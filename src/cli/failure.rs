//! How a verb fails, and how the failure is reported.

use std::io;
use std::process::ExitCode;

use super::out;
use super::show::{Cell, plain, styles};
use crate::manifest::Problems;
use crate::store::StoreError;

/// Why a verb failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Work failed: exit code 1.
    Work(anyhow::Error),
    /// The request is invalid: exit code 2.
    Usage(anyhow::Error),
    /// The manifest cannot be run: exit code 2.
    Manifest(Box<Problems>),
    /// The reader of the output has gone away (`… | head`): nothing is wrong.
    ReaderGone,
}

impl Failure {
    /// Wrong usage, with its message.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(anyhow::Error::msg(text.into()))
    }

    /// Work that failed, with its message.
    pub(crate) fn work(text: impl Into<String>) -> Self {
        Self::Work(anyhow::Error::msg(text.into()))
    }

    /// Prints it on standard error, and returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        self.show();
        match self {
            Self::ReaderGone => ExitCode::SUCCESS,
            Self::Work(_) => ExitCode::from(1),
            Self::Usage(_) | Self::Manifest(_) => ExitCode::from(2),
        }
    }

    /// Prints it on standard error.
    pub(crate) fn show(&self) {
        let error = match self {
            Self::ReaderGone => return,
            Self::Manifest(problems) => return out::error(&problems.render(out::width(), true)),
            Self::Work(error) | Self::Usage(error) => error,
        };
        let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
        let text = chain.join(": ").lines().map(plain).collect::<Vec<_>>().join("\n");
        out::error(&format!("{} {text}\n", Cell::new("error:").style(styles::BAD)));
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Work(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::InUse { .. } | StoreError::StateInUse { .. } | StoreError::Invalid(_) => {
                Self::Usage(error.into())
            }
            _ => Self::Work(error.into()),
        }
    }
}

impl From<crate::sandbox::SandboxError> for Failure {
    fn from(error: crate::sandbox::SandboxError) -> Self {
        Self::Work(error.into())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::ReaderGone } else { Self::Work(error.into()) }
    }
}
