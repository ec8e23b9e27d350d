//! The keys of the kind `sql`.

use super::section::Row;
use crate::manifest::schema::{ENV, SOURCE, choice, form, integer, size, span, strings, text};
use crate::manifest::settings;

/// Returns the keys, besides those of every kind.
pub(super) fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = vec![
        (
            "url",
            &["path", "database", "dsn", "uri", "connection"],
            form(
                "The database: `sqlite:` and the path of a file, relative to the manifest's folder, or `postgres://USER@HOST/DATABASE`. With `sslmode=require`, the connection uses TLS, and the server's certificate is verified. A `password` for another machine needs it, or `sslmode=disable`.",
                settings::SQL_URL,
                "postgres://anna@db.example.com/lab?sslmode=require",
            ),
        ),
        ("password", &["secret", "pass"], form(SOURCE, ENV, "env:PGPASSWORD")),
        (
            "table",
            &["view", "from"],
            text("The table or view whose rows are watched, with its schema in front if needed."),
        ),
        (
            "query",
            &["sql", "select", "statement"],
            text("A query whose rows are watched, instead of a `table`. It must not sort or limit them."),
        ),
        (
            "high_water",
            &["column", "cursor", "watermark", "high_water_mark", "order_by"],
            text("The column that grows: new rows have greater values in it than old ones. It should have an index."),
        ),
        (
            "key",
            &["keys", "primary_key", "id"],
            strings(
                "The columns that tell rows apart, together with `high_water`; all columns if there are none.",
                None,
                "id",
            ),
        ),
        (
            "overlap",
            &["lookback", "window"],
            span(
                "How long a transaction that adds a row may last after another one has added a row with a greater value.",
                &settings::OVERLAP,
                Some(settings::DEFAULT_OVERLAP),
            ),
        ),
        (
            "interval",
            &["poll", "rescan", "every"],
            span("How often to look for new rows.", &settings::SQL_INTERVAL, Some(settings::DEFAULT_SQL_INTERVAL)),
        ),
        (
            "notify",
            &["channel", "listen"],
            text("A channel of PostgreSQL's `NOTIFY`: a notification there makes the host look at once."),
        ),
        (
            "max_rows",
            &["batch_size", "limit"],
            integer(
                "The maximum number of rows in one artifact.",
                settings::MAX_ROWS,
                Some(settings::DEFAULT_MAX_ROWS),
            ),
        ),
        (
            "format",
            &["output", "encoding"],
            choice("What an artifact is: JSON lines, or CSV with a header.", &settings::SQL_FORMAT),
        ),
    ];
    rows.extend(kept());
    rows
}

/// How much the host keeps of the rows.
fn kept() -> Vec<Row> {
    vec![
        (
            "keep",
            &["kept", "cache"],
            size(
                "How many bytes of rows are kept that no run needs any more.",
                &settings::KEEP,
                settings::DEFAULT_KEEP,
            ),
        ),
        (
            "max_kept",
            &["max_keep", "backlog"],
            size(
                "At this many bytes of kept rows nothing more is taken until runs have ended.",
                &settings::MAX_KEPT,
                settings::DEFAULT_MAX_KEPT,
            ),
        ),
    ]
}
