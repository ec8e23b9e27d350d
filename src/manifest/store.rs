//! Where the records of a pipeline are.

use std::path::{Path, PathBuf};

use super::secret::SecretSource;

/// Location of the metadata store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreSpec {
    /// A SQLite database in a file.
    Sqlite {
        /// The file, absolute.
        path: PathBuf,
    },
    /// A schema in a database on a PostgreSQL server.
    Postgres {
        /// The URL of the database, without a password.
        url: String,
        /// The password.
        password: Option<SecretSource>,
        /// The schema.
        schema: String,
    },
    /// Keys with one prefix in a database on a Redis server.
    Redis {
        /// The URL of the server, without a password.
        url: String,
        /// The password.
        password: Option<SecretSource>,
        /// The prefix.
        prefix: String,
    },
}

impl StoreSpec {
    /// Returns `metadata_store.kind`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres { .. } => "postgres",
            Self::Redis { .. } => "redis",
        }
    }

    /// Describes the location for display, without passwords.
    #[must_use]
    pub fn location(&self) -> String {
        match self {
            Self::Sqlite { path } => path.display().to_string(),
            Self::Postgres { url, schema, .. } => format!("the schema `{schema}` in {url}"),
            Self::Redis { url, prefix, .. } => format!("the keys `{{{prefix}}}:*` in {url}"),
        }
    }

    /// Returns the store's files on this machine, absolute. Files in the same folder whose names
    /// begin with the name of one of them belong to the store too. Empty for a store on another
    /// machine.
    #[must_use]
    pub fn local_paths(&self) -> Vec<&Path> {
        match self {
            Self::Sqlite { path } => vec![path],
            Self::Postgres { .. } | Self::Redis { .. } => Vec::new(),
        }
    }
}
