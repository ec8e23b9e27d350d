//! The metadata store of hosts whose manifest names none: SQLite, or, with the environment variable
//! `ANACOSTIA_TEST_STORE=postgres` or `=redis`, a schema or keys of their own on the server that
//! the tests share. So any test that does not look into the database itself runs over every kind.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{postgres_server, redis_server};

/// Adds the store to a manifest, if the environment names one, and the manifest does not.
pub(crate) fn with_store(manifest: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let kind = std::env::var("ANACOSTIA_TEST_STORE").unwrap_or_default();
    if kind.is_empty() || manifest.contains("[metadata_store]") {
        return manifest.to_owned();
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let keys = match kind.as_str() {
        "postgres" => {
            let port = postgres_server::server().port;
            format!("url = \"postgres://postgres@127.0.0.1:{port}/postgres\"\nschema = \"any_{number}\"")
        }
        "redis" => {
            let port = redis_server::server().port;
            format!("url = \"redis://127.0.0.1:{port}\"\nprefix = \"any-{number}\"")
        }
        other => panic!("ANACOSTIA_TEST_STORE is {other:?}: it may be postgres or redis"),
    };
    format!("{manifest}\n[metadata_store]\nkind = \"{kind}\"\n{keys}\n")
}
