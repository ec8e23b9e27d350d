//! Receivers of OpenLineage events.

use std::path::PathBuf;

use super::secret::{SecretSource, UrlSource};

/// The namespace of jobs if the manifest gives none.
pub const DEFAULT_NAMESPACE: &str = "anacostia";

/// A receiver of the OpenLineage events of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenLineageSpec {
    /// Its name.
    pub name: String,
    /// `namespace` of the jobs.
    pub namespace: String,
    /// Where the events go.
    pub target: LineageTarget,
}

/// Where OpenLineage events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineageTarget {
    /// `url`: each event is a POST.
    Http {
        /// The whole address.
        url: UrlSource,
        /// `api_key`: what the endpoint wants as a bearer token.
        api_key: Option<SecretSource>,
    },
    /// `path`: each event is a line at the end of a file.
    File {
        /// The file, absolute.
        path: PathBuf,
    },
}

impl OpenLineageSpec {
    /// Returns the name of its cursor in the store. No resource can have a name with a colon.
    #[must_use]
    pub fn cursor(&self) -> String {
        format!("openlineage:{}", self.name)
    }
}

impl LineageTarget {
    /// Returns the key that says where the events go.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Http { .. } => "url",
            Self::File { .. } => "path",
        }
    }
}
