//! The settings of a resource of the kind `http`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::secret::SecretSource;

/// An endpoint that is polled, an endpoint that takes outputs, or uploads to this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSpec {
    /// What it is for.
    pub form: HttpForm,
    /// Headers of its requests.
    pub headers: BTreeMap<String, HttpValue>,
    /// Parameters that are added to the URL of its requests.
    pub query: BTreeMap<String, HttpValue>,
    /// The largest body, in bytes.
    pub max_body: u64,
    /// How many bytes of bodies are kept that no run needs any more.
    pub keep: u64,
    /// From how many bytes of kept bodies on nothing more is taken, because runs need them.
    pub max_kept: u64,
    /// How long the server may be silent.
    pub timeout: Duration,
}

/// What a resource of the kind `http` is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpForm {
    /// The host polls an endpoint.
    Poll {
        /// The endpoint.
        url: String,
        /// The path of its artifact; with paging, the path from which those of the pages are made.
        path: String,
        /// How often it is polled.
        interval: Duration,
        /// How one page leads to the next; `None` if there is one page.
        paging: Option<Paging>,
    },
    /// The host sends outputs to an endpoint.
    Send {
        /// The endpoint.
        url: String,
        /// The method of the requests.
        method: HttpMethod,
    },
    /// Other programs upload artifacts to this host.
    Push,
}

/// How one page of a list leads to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paging {
    /// By the header `Link` with `rel="next"`.
    Link,
    /// By a value in the body.
    Cursor {
        /// The parameter of the URL that takes the value.
        param: String,
        /// The names that lead to the value in the JSON of the body.
        field: Vec<String>,
    },
}

/// How outputs are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMethod {
    /// `PUT URL/PATH`.
    Put,
    /// `POST URL`.
    Post,
}

/// The value of a header or parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpValue {
    /// As written in the manifest.
    Plain(String),
    /// A secret.
    Secret(SecretSource),
}

impl HttpSpec {
    /// Describes the location for display, without anything that may be secret.
    #[must_use]
    pub fn location(&self) -> String {
        match &self.form {
            HttpForm::Poll { url, .. } | HttpForm::Send { url, .. } => {
                url.split(['?', '#']).next().unwrap_or_default().to_owned()
            }
            HttpForm::Push => "uploads to this host".to_owned(),
        }
    }

    /// Returns what to do if no action can write to it.
    pub(super) fn takes_no_outputs(&self) -> Option<&'static str> {
        match self.form {
            HttpForm::Poll { .. } => {
                Some("outputs are sent to a resource with `method = \"PUT\"` or `\"POST\"`: declare another one")
            }
            HttpForm::Push => Some("other programs upload its artifacts: write to another resource"),
            HttpForm::Send { .. } => None,
        }
    }
}
