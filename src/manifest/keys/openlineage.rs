//! The keys of `[openlineage.NAME]`.

use std::sync::LazyLock;

use super::section::Keys;
use crate::manifest::openlineage::DEFAULT_NAMESPACE;
use crate::manifest::schema::{ENV, form, text, with_default};

pub(in crate::manifest) static OPENLINEAGE: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "[openlineage.NAME]",
    later: &[],
    rows: vec![
        (
            "url",
            &["endpoint", "address", "transport"],
            text(
                "The whole address of an endpoint for events, or `env:NAME` for a variable of the host's environment that holds it.",
            ),
        ),
        (
            "api_key",
            &["key", "token", "auth"],
            form(
                "What the endpoint wants as a bearer token: a variable of the host's environment.",
                ENV,
                "env:OPENLINEAGE_API_KEY",
            ),
        ),
        ("path", &["file", "log_file_path"], text("A file to which each event is added as a line of JSON.")),
        (
            "namespace",
            &["job_namespace"],
            with_default(
                text("The namespace of the jobs. It tells pipelines of the same name apart."),
                DEFAULT_NAMESPACE,
            ),
        ),
    ],
});
