//! The keys of each kind of resource.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::section::{Keys, Row, object};
use super::sql;
use super::trigger::TRIGGER;
use crate::manifest::pipeline;
use crate::manifest::schema::{boolean, choice, size, span, strings, text, with_default, without_default};
use crate::manifest::settings;

/// The kinds of resources.
pub(in crate::manifest) const RESOURCE_KINDS: [(&str, Kind); 3] =
    [("folder", Kind::Folder), ("http", Kind::Http), ("sql", Kind::Sql)];

/// A kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::manifest) enum Kind {
    Folder,
    Http,
    Sql,
}

impl Kind {
    /// Returns the keys of the kind.
    pub(in crate::manifest) fn keys(self) -> &'static Keys {
        match self {
            Self::Folder => &FOLDER,
            Self::Http => &HTTP,
            Self::Sql => &SQL,
        }
    }

    /// Returns the keys that a resource of the kind must have, besides `kind`.
    fn required(self) -> &'static [&'static str] {
        match self {
            Self::Folder => &["kind", "path"],
            Self::Http => &["kind"],
            Self::Sql => &["kind", "url", "high_water", "watch"],
        }
    }
}

/// Returns the schema of a resource: that of its kind, or of a folder if it has no known one. So an
/// editor shows what is wrong with the keys of a kind, instead of that they fit to none.
pub(super) fn schema() -> Value {
    let doc = "An input or an output: where data lies.";
    let usual = object(doc, &FOLDER, Kind::Folder.required());
    let others = RESOURCE_KINDS.iter().filter(|(_, kind)| *kind != Kind::Folder);
    others.fold(usual, |usual, (word, kind)| {
        let is_kind = json!({"properties": {"kind": {"const": word}}, "required": ["kind"]});
        json!({"if": is_kind, "then": object(doc, kind.keys(), kind.required()), "else": usual})
    })
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
                    "Globs of names of files and folders that are not looked at, in any case of letters. They replace the default.",
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
                "How long size and time must not change where the system cannot tell whether a file is open for writing.",
                &settings::SETTLE,
                Some(settings::DEFAULT_SETTLE),
            ),
        ),
        (
            "rescan",
            &["poll", "interval"],
            span(
                "How often the whole folder is looked through, in case something was missed.",
                &settings::RESCAN,
                Some(settings::DEFAULT_RESCAN),
            ),
        ),
        trigger(),
    ],
});

pub(in crate::manifest) static SQL: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "resources of the kind `sql`",
    later: &[],
    rows: [kind()].into_iter().chain(sql::rows()).chain([watch(), trigger()]).collect(),
});

/// A table of headers or parameters.
fn values(doc: &str, example: &str) -> Value {
    json!({"type": "object", "description": doc, "default": {}, "additionalProperties": {"type": "string"},
        "examples": [{example: "env:API_TOKEN"}]})
}

pub(in crate::manifest) static HTTP: LazyLock<Keys> = LazyLock::new(|| Keys {
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
                    "anyOf": [choice("By `Link: <…>; rel=\"next\"`.", &settings::PAGING), object("By a value in the body.", &PAGING, &["param", "field"])]}),
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
            "timeout",
            &["read_timeout"],
            span("How long the server may be silent.", &settings::SILENCE, Some(settings::DEFAULT_SILENCE)),
        ),
        trigger(),
    ],
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
