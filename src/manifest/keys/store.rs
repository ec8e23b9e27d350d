//! The keys of `[metadata_store]`, for each kind of store.

use std::sync::LazyLock;

use super::STORE_KINDS;
use super::section::{Keys, Row};
use crate::manifest::schema::{ENV, NAME, SOURCE, boolean, choice, form, text, with_default};
use crate::manifest::settings;

pub(in crate::manifest) static STORE: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "[metadata_store] of the kind `sqlite`",
    later: &[],
    rows: vec![
        kind(),
        ("path", &["file", "database"], with_default(text("The file of the database."), settings::DEFAULT_STORE)),
        durability("`full`: every commit is synced."),
    ],
});

pub(in crate::manifest) static POSTGRES_STORE: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "[metadata_store] of the kind `postgres`",
    later: &[],
    rows: vec![
        kind(),
        (
            "url",
            &["path", "database", "dsn", "uri", "connection"],
            form(
                "The database: `postgres://USER@HOST/DATABASE`. With `sslmode=require`, the connection uses TLS, and the server's certificate is verified. A `password` for another machine needs it, or `sslmode=disable`.",
                settings::POSTGRES_URL,
                "postgres://anna@db.example.com/lab?sslmode=require",
            ),
        ),
        ("password", &["secret", "pass"], form(SOURCE, ENV, "env:PGPASSWORD")),
        (
            "schema",
            &["namespace", "search_path"],
            with_default(
                form(
                    "The schema in the database that the tables are in, which belongs to this pipeline alone. It is made if it is missing.",
                    settings::SCHEMA,
                    "penguins",
                ),
                settings::DEFAULT_SCHEMA,
            ),
        ),
        durability("`full`: the server syncs every commit."),
    ],
});

pub(in crate::manifest) static REDIS_STORE: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "[metadata_store] of the kind `redis`",
    later: &[],
    rows: vec![
        kind(),
        (
            "url",
            &["path", "host", "server", "uri", "connection"],
            form(
                "The server: `redis://USER@HOST:PORT/NUMBER`. With `rediss://`, the connection uses TLS, and the server's certificate is verified. A `password` for another machine needs it, or `insecure`.",
                settings::REDIS_URL,
                "rediss://anna@cache.example.com:6380",
            ),
        ),
        ("password", &["secret", "pass"], form(SOURCE, ENV, "env:REDIS_PASSWORD")),
        ("insecure", &[], boolean("The password may be sent to another machine without TLS: the network is trusted.")),
        (
            "prefix",
            &["namespace", "keys"],
            with_default(
                form("The beginning of all keys of this pipeline, which belong to it alone.", NAME, "penguins"),
                settings::DEFAULT_PREFIX,
            ),
        ),
        durability("`full`: files in folders are synced. The server syncs every write with either."),
    ],
});

fn kind() -> Row {
    ("kind", &["type"], choice("What the store is.", &STORE_KINDS))
}

fn durability(full: &str) -> Row {
    let doc = format!("`normal`: after a power cut the last moments may be forgotten, and run again. {full}");
    ("durability", &[], choice(&doc, &settings::DURABILITY))
}
