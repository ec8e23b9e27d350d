//! Why a resource refused or failed. The codes that guests see are in brackets.

/// Why a resource refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    /// A path that no resource accepts. (`invalid`)
    #[error("`{path}` is not a valid path in a resource: {why}")]
    InvalidPath {
        /// The path, escaped.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing lies there. (`not-found`)
    #[error("there is nothing at `{path}` in {resource} any more")]
    NotFound {
        /// The resource.
        resource: String,
        /// The path.
        path: String,
    },
    /// The content is not what was recorded. (`changed`)
    #[error("`{path}` in {resource} has changed since it was recorded: {why}")]
    Changed {
        /// The resource.
        resource: String,
        /// The path.
        path: String,
        /// What is different.
        why: String,
    },
    /// The path is taken. (`already-exists`)
    #[error("`{path}` exists already in {resource}; create it with `overwrite` to make its next version")]
    AlreadyExists {
        /// The resource.
        resource: String,
        /// The path.
        path: String,
    },
    /// It does not answer at the moment: no permission, I/O error. (`unavailable`)
    #[error("{resource} failed to {doing}: {why}")]
    Unavailable {
        /// The resource.
        resource: String,
        /// What it was to do, and on what.
        doing: String,
        /// What the system said.
        why: String,
    },
    /// The disk, or the quota of the host's user, is full. (`disk-full`)
    #[error("{resource} failed to {doing}: {why}")]
    Full {
        /// The resource.
        resource: String,
        /// What it was to do, and on what.
        doing: String,
        /// What is full.
        why: String,
    },
    /// It can never work as it is configured.
    #[error("{resource} cannot be used: {why}")]
    Unusable {
        /// The resource.
        resource: String,
        /// Why.
        why: String,
    },
}

impl ResourceError {
    /// The code that a guest sees; see `error` in the WIT package.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidPath { .. } => "invalid",
            Self::NotFound { .. } => "not-found",
            Self::Changed { .. } => "changed",
            Self::AlreadyExists { .. } => "already-exists",
            Self::Full { .. } => "disk-full",
            Self::Unavailable { .. } | Self::Unusable { .. } => "unavailable",
        }
    }

    /// Whether trying again may help.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Full { .. })
    }
}
