//! Errors of resources. The error codes that guests see are in parentheses.

/// A committed output that its service did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTaken {
    /// Its place among the files to publish.
    pub place: usize,
    /// Its path.
    pub path: String,
    /// The answer of the service, or why the output was given up.
    pub why: String,
    /// Whether the service may still have taken it: see [`super::Resource::give_up`].
    pub given_up: bool,
}

/// Says what happened to the first of them, and how many more there are. What a service refused
/// says more than what was given up.
fn first(files: &[NotTaken]) -> String {
    let Some(file) = files.iter().find(|file| !file.given_up).or(files.first()) else {
        return "does not take an output".to_owned();
    };
    let verb = if file.given_up { "did not take" } else { "does not take" };
    let more = match files.len() {
        0 | 1 => String::new(),
        more => format!(" (and {} more)", more - 1),
    };
    format!("{verb} `{}`: {}{more}", file.path, file.why)
}

/// Why an operation on a resource failed.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    /// No resource accepts this path. (`invalid`)
    #[error("`{path}` is not a valid path in a resource: {why}")]
    InvalidPath {
        /// The path, escaped.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing exists at the path. (`not-found`)
    #[error("there is nothing at `{path}` in {resource} any more")]
    NotFound {
        /// The resource.
        resource: String,
        /// The path.
        path: String,
    },
    /// The content was recorded, and the host does not keep it any more. (`not-found`)
    #[error("`{path}` in {resource} is not kept any more: {why}")]
    Gone {
        /// The resource.
        resource: String,
        /// The path.
        path: String,
        /// Why.
        why: String,
    },
    /// The service that committed outputs are for did not take some of them, and never will.
    /// (`refused`, or `cancelled` if they were only given up)
    #[error("{resource} {}", first(.files))]
    Refused {
        /// The resource.
        resource: String,
        /// These outputs, of which there is at least one.
        files: Vec<NotTaken>,
    },
    /// The content is not what was recorded. (`changed`)
    #[error("`{path}` in {resource} has changed since it was recorded: {why}")]
    Changed {
        /// The resource.
        resource: String,
        /// The path.
        path: String,
        /// What has changed.
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
    /// The resource is not available at the moment: no permission, I/O error. (`unavailable`)
    #[error("{resource} failed to {doing}: {why}")]
    Unavailable {
        /// The resource.
        resource: String,
        /// The failed operation and its object.
        doing: String,
        /// The error of the operating system.
        why: String,
    },
    /// The disk is full, or the disk quota of the host's user is used up. (`disk-full`)
    #[error("{resource} failed to {doing}: {why}")]
    Full {
        /// The resource.
        resource: String,
        /// The failed operation and its object.
        doing: String,
        /// What is full.
        why: String,
    },
    /// The database refuses a statement. (`denied`, `invalid` or `failed`)
    #[error("{resource} refuses a statement: {why}")]
    Statement {
        /// The resource.
        resource: String,
        /// The code for the guest.
        code: &'static str,
        /// The message of the database.
        why: String,
    },
    /// A statement uses a table that its grant does not name. (`denied`)
    #[error("{resource} refuses a statement: it may not {} the table `{table}`", if *writes { "change" } else { "read" })]
    Table {
        /// The resource.
        resource: String,
        /// The table.
        table: String,
        /// Whether it was to be changed, not read.
        writes: bool,
    },
    /// The resource cannot work as configured.
    #[error("{resource} cannot be used: {why}")]
    Unusable {
        /// The resource.
        resource: String,
        /// Why.
        why: String,
    },
}

impl ResourceError {
    /// Returns the code that a guest sees; see `error` in the WIT package.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidPath { .. } => "invalid",
            Self::NotFound { .. } | Self::Gone { .. } => "not-found",
            Self::Refused { files, .. } if files.iter().all(|file| file.given_up) => "cancelled",
            Self::Refused { .. } => "refused",
            Self::Changed { .. } => "changed",
            Self::AlreadyExists { .. } => "already-exists",
            Self::Full { .. } => "disk-full",
            Self::Statement { code, .. } => code,
            Self::Table { .. } => "denied",
            Self::Unavailable { .. } | Self::Unusable { .. } => "unavailable",
        }
    }

    /// Returns whether trying again may help.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Full { .. })
    }
}
