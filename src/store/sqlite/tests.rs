//! What holds for the SQLite store alone, and the suite that holds for all.

use async_trait::async_trait;

use super::SqliteStore;
use crate::base::Timestamp;
use crate::store::conformance::{Place, World, conformance};
use crate::store::{Durability, MetadataStore};

struct Folder(tempfile::TempDir);

#[async_trait]
impl Place for Folder {
    async fn open(&self) -> std::sync::Arc<dyn MetadataStore> {
        SqliteStore::open(&self.0.path().join("metadata.db"), Durability::Normal, Timestamp::from_micros(1)).unwrap()
    }
}

async fn world() -> World {
    World::new(Box::new(Folder(tempfile::tempdir().unwrap()))).await
}

mod suite {
    use super::conformance;

    conformance!(super::super::world);
}
