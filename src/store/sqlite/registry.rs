//! Implements [`ModelRegistry`]: passes its methods to the threads.

use async_trait::async_trait;

use super::{SqliteStore, models};
use crate::base::{Timestamp, WriteId};
use crate::model::{AliasMove, ModelDetail, ModelVersion, Page, RegisteredModel};
use crate::store::registry::{By, check_new_card};
use crate::store::{AliasTarget, ModelRegistry, NewModelVersion, PageRequest, Result, steps};

#[async_trait]
impl ModelRegistry for SqliteStore {
    async fn set_model_card(&self, model: &str, card: &str, now: Timestamp) -> Result<()> {
        check_new_card(model, card)?;
        let (model, card) = (model.to_owned(), card.to_owned());
        self.write(steps::CARD, move |tx| models::set_card(tx, &model, &card, now)).await
    }

    async fn register_version(&self, new: NewModelVersion, now: Timestamp) -> Result<u64> {
        new.check()?;
        self.write(steps::REGISTER, move |tx| {
            let by = By::person(new.by.as_deref(), new.note.as_deref());
            models::register(tx, &new.model, new.artifact, by, now)
        })
        .await
    }

    async fn move_alias(&self, to: AliasTarget, id: WriteId, now: Timestamp) -> Result<AliasMove> {
        to.check()?;
        self.write(steps::MOVE_ALIAS, move |tx| models::move_alias(tx, &to, id, now)).await
    }

    async fn models(&self, page: PageRequest) -> Result<Page<RegisteredModel>> {
        self.read("list models", move |db| models::list(db, &page)).await
    }

    async fn model(&self, name: &str) -> Result<Option<ModelDetail>> {
        let name = name.to_owned();
        self.read("read a model", move |db| models::one(db, &name)).await
    }

    async fn model_versions(&self, name: &str, page: PageRequest) -> Result<Page<ModelVersion>> {
        let name = name.to_owned();
        self.read("list the versions of a model", move |db| models::versions(db, &name, &page)).await
    }

    async fn alias_moves(&self, name: &str, page: PageRequest) -> Result<Page<AliasMove>> {
        let name = name.to_owned();
        self.read("list the moves of aliases", move |db| models::moves(db, &name, &page)).await
    }
}
