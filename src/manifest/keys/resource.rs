//! The keys of each kind of resource.

use std::sync::LazyLock;

use serde_json::json;

use super::section::{Keys, Row, by_kind, object};
use super::sql;
use super::trigger::TRIGGER;
use crate::manifest::pipeline;
use crate::manifest::schema::{
    ENV, NAME, Shape, boolean, choice, form, size, span, strings, text, with_default, without_default,
};
use crate::manifest::settings;

/// The kinds of resources.
pub(in crate::manifest) const RESOURCE_KINDS: [(&str, Kind); 4] =
    [("folder", Kind::Folder), ("s3", Kind::S3), ("http", Kind::Http), ("sql", Kind::Sql)];

/// A kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::manifest) enum Kind {
    Folder,
    S3,
    Http,
    Sql,
}

impl Kind {
    /// Returns the keys of the kind.
    pub(in crate::manifest) fn keys(self) -> &'static Keys {
        match self {
            Self::Folder => &FOLDER,
            Self::S3 => &S3,
            Self::Http => &HTTP,
            Self::Sql => &SQL,
        }
    }

    /// Returns the keys that a resource of the kind must have, besides `kind`.
    fn required(self) -> &'static [&'static str] {
        match self {
            Self::Folder => &["kind", "path"],
            Self::S3 => &["kind", "bucket"],
            Self::Http => &["kind"],
            Self::Sql => &["kind", "url"],
        }
    }
}

/// Returns the schema of a resource: that of its kind.
pub(super) fn schema() -> Shape {
    let tables = RESOURCE_KINDS.map(|(word, kind)| (word, object("", kind.keys(), kind.required())));
    by_kind("An input or an output: where data lies.", tables.to_vec())
}

/// The keys that every kind of resource that is watched has.
fn kind() -> Row {
    // No default, although there is only one value: the key is mandatory.
    ("kind", &["type"], without_default(choice("What the resource is.", &RESOURCE_KINDS)))
}

fn watch() -> Row {
    ("watch", &["watched"], boolean("Whether it is watched, and starts runs."))
}

fn include() -> Row {
    let doc = "Globs of the paths that count; all if there are none.";
    ("include", &["glob", "pattern", "patterns", "files"], strings(doc, None, "*.csv"))
}

fn model() -> Row {
    let doc = "The model of which each output that an action writes here becomes a version.";
    ("model", &["models", "registered_model"], form(doc, NAME, "penguins"))
}

fn trigger() -> Row {
    let doc = "When a watched resource starts a run. Needs `watch = true`.";
    ("trigger", &["trigger_when"], object(doc, &TRIGGER, &[]))
}

pub(in crate::manifest) static FOLDER: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "resources of the kind `folder`",
    later: &[],
    rows: vec![
        kind(),
        ("path", &["folder", "dir", "directory"], text("The folder, relative to the manifest's folder.")),
        watch(),
        include(),
        ("exclude", &[], strings("Globs of paths that do not count, besides the names to `ignore`.", None, "draft-*")),
        (
            "ignore",
            &["ignored", "temporary"],
            with_default(
                strings(
                    "Globs of names of files and folders that are ignored, in upper or lower case. They replace the default.",
                    None,
                    "*.tmp",
                ),
                pipeline::DEFAULT_IGNORE,
            ),
        ),
        (
            "settle",
            &[],
            span(
                "How long a file's size and time must stay the same, where the system cannot tell whether it is open for writing.",
                &settings::SETTLE,
                Some(settings::DEFAULT_SETTLE),
            ),
        ),
        (
            "rescan",
            &["poll", "interval"],
            span(
                "How often the whole folder is scanned, in case something was missed.",
                &settings::RESCAN,
                Some(settings::DEFAULT_RESCAN),
            ),
        ),
        model(),
        trigger(),
    ],
});

pub(in crate::manifest) static SQL: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "resources of the kind `sql`",
    later: &[],
    rows: [kind()].into_iter().chain(sql::rows()).chain([watch(), trigger()]).collect(),
});

/// A table of headers or parameters.
fn values(doc: &str, example: &str) -> Shape {
    json!({"type": "object", "description": doc, "default": {}, "additionalProperties": {"type": "string"},
        "examples": [{example: "env:API_TOKEN"}]})
    .into()
}

pub(in crate::manifest) static HTTP: LazyLock<Keys> = LazyLock::new(|| {
    Keys {
    home: "resources of the kind `http`",
    later: &[],
    rows: vec![
        kind(),
        ("url", &["endpoint", "address", "uri"], text("What is polled, or where outputs are sent.")),
        watch(),
        ("path", &["name", "file"], text("The path of its artifact. If not given: the last segment of the URL.")),
        (
            "interval",
            &["poll", "every", "poll_interval"],
            span("How often it is polled.", &settings::POLL, Some(settings::DEFAULT_HTTP_POLL)),
        ),
        (
            "paging",
            &["pages", "pagination"],
            json!({"description": "How one page leads to the next: `link` by the header `Link`, a table by a value in the body.",
                    "anyOf": [choice("By `Link: <…>; rel=\"next\"`.", &settings::PAGING), object("By a value in the body.", &PAGING, &["param", "field"])]})
            .into(),
        ),
        (
            "method",
            &["verb"],
            without_default(choice(
                "How outputs are sent. With this key the resource is an output.",
                &settings::HTTP_METHOD,
            )),
        ),
        ("push", &["upload", "uploads"], boolean("Whether other programs upload its artifacts to this host.")),
        (
            "headers",
            &["header", "auth"],
            values("Headers of its requests: values, or `env:NAME` for a secret.", "authorization"),
        ),
        (
            "query",
            &["params", "parameters"],
            values("Parameters that are added to the URL: values, or `env:NAME` for a secret.", "key"),
        ),
        ("max_body", &["max_size", "limit"], size("The largest body.", &settings::BODY, settings::DEFAULT_BODY)),
        (
            "keep",
            &["kept", "cache"],
            size(
                "How many bytes of bodies are kept that no run needs any more.",
                &settings::KEEP,
                settings::DEFAULT_KEEP,
            ),
        ),
        (
            "max_kept",
            &["max_keep", "backlog"],
            size(
                "At this many bytes of kept bodies nothing more is taken until runs have ended.",
                &settings::MAX_KEPT,
                settings::DEFAULT_MAX_KEPT,
            ),
        ),
        (
            "timeout",
            &["read_timeout"],
            span("How long the server may be silent.", &settings::SILENCE, Some(settings::DEFAULT_SILENCE)),
        ),
        trigger(),
    ],
}
});

pub(in crate::manifest) static PAGING: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "`paging` of a resource",
    later: &[],
    rows: vec![
        (
            "param",
            &["parameter", "query"],
            text("The parameter of the URL that says where a page begins, such as `after`."),
        ),
        (
            "field",
            &["next", "cursor"],
            text("Where the value for the next page is in the JSON of the body, such as `next` or `meta.next`."),
        ),
    ],
});

pub(in crate::manifest) static S3: LazyLock<Keys> = LazyLock::new(|| {
    let secret = |doc: &str, example: &str| form(doc, ENV, example);
    Keys {
        home: "resources of the kind `s3`",
        later: &[],
        rows: vec![
            kind(),
            ("bucket", &["container"], text("The bucket.")),
            (
                "prefix",
                &["path", "folder", "key"],
                with_default(
                    text("What the keys of its objects begin with, up to a `/`. Paths are relative to it."),
                    "",
                ),
            ),
            (
                "endpoint",
                &["url", "endpoint_url", "host"],
                text("The URL of an S3-compatible service, such as `http://127.0.0.1:9000`. If not given: AWS."),
            ),
            (
                "region",
                &[],
                text(
                    "The region. If not given: `AWS_REGION`, `AWS_DEFAULT_REGION`, that of the profile, or `us-east-1`.",
                ),
            ),
            (
                "style",
                &["addressing_style", "path_style"],
                without_default(choice(
                    "Where a request names the bucket: in its `path` (the default with an `endpoint`), or as `virtual` host.",
                    &settings::S3_STYLE,
                )),
            ),
            (
                "credentials",
                &["auth"],
                choice(
                    "`default`: the keys below, the variables AWS_…, or those of the machine (container, instance). \
                     `profile`: the files of the AWS command line. `none`: requests are not signed.",
                    &settings::S3_CREDENTIALS,
                ),
            ),
            ("profile", &[], text("The profile in the files of the AWS command line, if `credentials = \"profile\"`.")),
            ("access_key_id", &["access_key", "key_id"], secret("Where the id of the access key is.", "env:S3_KEY_ID")),
            ("secret_access_key", &["secret_key", "secret"], secret("Where the secret key is.", "env:S3_SECRET_KEY")),
            watch(),
            include(),
            ("exclude", &[], strings("Globs of paths that do not count.", None, "draft-*")),
            (
                "interval",
                &["poll", "rescan", "poll_interval"],
                span("How often the bucket is listed.", &settings::POLL, Some(settings::DEFAULT_POLL)),
            ),
            model(),
            trigger(),
        ],
    }
});
