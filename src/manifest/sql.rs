//! The settings of a resource of kind `sql`.

use std::path::PathBuf;
use std::time::Duration;

use super::secret::SecretSource;

/// Rows of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlSpec {
    /// `url`: where the database is.
    pub database: SqlDatabase,
    /// `password`, for a database on a server.
    pub password: Option<SecretSource>,
    /// The rows to watch, if it is watched.
    pub rows: Option<SqlRows>,
    /// `keep`: how many bytes of rows are kept that no run needs any more (default 1 GiB).
    pub keep: u64,
    /// `max_kept`: from how many bytes of kept rows on nothing more is taken, because runs need
    /// them (default 10 GiB).
    pub max_kept: u64,
}

/// The tables of a database that an action may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct TableNames {
    /// `read`: those that it may read; all if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<Vec<String>>,
    /// `write`: those that it may change; all if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<Vec<String>>,
}

/// Location of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SqlDatabase {
    /// A file of SQLite, `sqlite:PATH`.
    Sqlite {
        /// The file, absolute.
        path: PathBuf,
    },
    /// A server of PostgreSQL, `postgres://USER@HOST/DATABASE`.
    Postgres {
        /// The URL, without a password; see [`SqlDatabase::server`].
        url: String,
    },
}

impl SqlDatabase {
    /// Reads the URL of a server. `verify-full` is the word of other programs for what `require` is
    /// here: the certificate is verified, and whose it is.
    ///
    /// # Errors
    /// If it is not a URL, or has an unknown option.
    pub fn server(url: &str) -> Result<tokio_postgres::Config, tokio_postgres::Error> {
        let Some((place, options)) = url.split_once('?') else { return url.parse() };
        let plain = |option| if option == "sslmode=verify-full" { "sslmode=require" } else { option };
        let options: Vec<&str> = options.split('&').map(plain).collect();
        format!("{place}?{}", options.join("&")).parse()
    }

    /// Describes the location for display.
    pub(super) fn location(&self) -> String {
        match self {
            Self::Sqlite { path } => path.display().to_string(),
            Self::Postgres { url } => url.clone(),
        }
    }
}

/// Which rows are new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlRows {
    /// `table` or `query`: all rows.
    pub from: SqlFrom,
    /// `high_water`: the column that grows, so that new rows have greater values than old ones.
    pub high_water: String,
    /// `key`: the columns that, together with `high_water`, tell rows apart. All columns do if it
    /// is empty.
    pub key: Vec<String>,
    /// `overlap`: how long a transaction that adds a row may take after another one has added a row
    /// with a greater value (default 30 s).
    pub overlap: Duration,
    /// `interval`: how often to look for new rows (default 1 s).
    pub interval: Duration,
    /// `notify`: the channel of PostgreSQL that says when to look.
    pub notify: Option<String>,
    /// `max_rows`: the most rows of one artifact (default 10,000).
    pub max_rows: u64,
    /// `format` of an artifact (default JSON lines).
    pub format: SqlFormat,
}

/// What an artifact of rows consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlFormat {
    /// `jsonl`: each row as a JSON object in a line.
    Jsonl,
    /// `csv`: a table with a header.
    Csv,
}

impl SqlFormat {
    /// Returns what the name of a file of this format ends with.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
        }
    }
}

/// Where rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SqlFrom {
    /// `table`: a table or a view, with its schema in front if needed.
    Table(String),
    /// `query`: a statement that returns rows.
    Query(String),
}
