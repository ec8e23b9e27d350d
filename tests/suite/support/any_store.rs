//! The metadata store of hosts whose manifest names none. It depends on the name of the test: one
//! in `over_postgres` or `over_redis` has a schema, or keys, of its own on the server that the
//! tests share, and any other has SQLite. The environment variable `ANACOSTIA_TEST_STORE=postgres`,
//! or `=redis`, says it for all tests.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use anacostia::manifest::StoreSpec;

use super::{postgres_server, redis_server};

/// Where the records of a pipeline are.
pub(crate) enum Place {
    /// Where its manifest says, which is the state folder if it says nothing.
    Manifest,
    /// In a schema of the PostgreSQL server.
    Postgres { port: u16, schema: String },
    /// In the keys with a prefix of the Redis server.
    Redis { port: u16, prefix: String },
}

impl Place {
    /// Returns a place of its own for a pipeline with this manifest.
    pub(crate) fn of(manifest: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let kind = kind();
        if manifest.contains("[metadata_store]") {
            return Self::Manifest;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        match kind.as_str() {
            "sqlite" => Self::Manifest,
            "postgres" => Self::Postgres { port: postgres_server::server().port, schema: format!("any_{number}") },
            "redis" => Self::Redis { port: redis_server::server().port, prefix: format!("any-{number}") },
            other => panic!("ANACOSTIA_TEST_STORE is {other:?}: it may be sqlite, postgres or redis"),
        }
    }

    /// Adds the place to a manifest that does not have it.
    pub(crate) fn written(&self, manifest: &str) -> String {
        let keys = match self {
            Self::Postgres { schema, .. } => format!("schema = \"{schema}\""),
            Self::Redis { prefix, .. } => format!("prefix = \"{prefix}\""),
            Self::Manifest => return manifest.to_owned(),
        };
        if manifest.contains("[metadata_store]") {
            return manifest.to_owned();
        }
        let (kind, url) = (self.kind(), self.url());
        format!("{manifest}\n[metadata_store]\nkind = \"{kind}\"\nurl = \"{url}\"\n{keys}\n")
    }

    fn kind(&self) -> &str {
        match self {
            Self::Manifest => "sqlite",
            Self::Postgres { .. } => "postgres",
            Self::Redis { .. } => "redis",
        }
    }

    fn url(&self) -> String {
        match self {
            Self::Manifest => String::new(),
            Self::Postgres { port, .. } => format!("postgres://postgres@127.0.0.1:{port}/postgres"),
            Self::Redis { port, .. } => format!("redis://127.0.0.1:{port}"),
        }
    }

    /// Returns the address of the host that has the store of a pipeline in `folder`.
    pub(crate) fn listening(&self, folder: &Path) -> Option<String> {
        let url = self.url();
        let spec = match self {
            Self::Manifest => StoreSpec::Sqlite { path: folder.join("state/metadata.db") },
            Self::Postgres { schema, .. } => StoreSpec::Postgres { url, password: None, schema: schema.clone() },
            Self::Redis { prefix, .. } => StoreSpec::Redis { url, password: None, prefix: prefix.clone() },
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(anacostia::store::holder(&spec)).ok().flatten()?.listen
    }
}

/// Returns the kind of store of the test that this thread runs. The thread has the test's name.
fn kind() -> String {
    let named = std::env::var("ANACOSTIA_TEST_STORE").ok();
    named.unwrap_or_else(|| {
        let thread = std::thread::current();
        let module = thread.name().and_then(|name| name.split("::").next()).unwrap_or_default();
        module.strip_prefix("over_").unwrap_or("sqlite").to_owned()
    })
}
