//! Implements [`ModelRegistry`]: passes its methods to the scripts.

use async_trait::async_trait;
use serde_json::json;

use super::arguments::time;
use super::{RedisStore, models, of, told};
use crate::base::{Timestamp, WriteId};
use crate::model::{AliasMove, ModelDetail, ModelVersion, Page, RegisteredModel};
use crate::store::registry::check_new_card;
use crate::store::{AliasTarget, ModelRegistry, NewModelVersion, PageRequest, Result, steps};

#[async_trait]
impl ModelRegistry for RedisStore {
    async fn set_model_card(&self, model: &str, card: &str, now: Timestamp) -> Result<()> {
        check_new_card(model, card)?;
        let arguments = json!({ "model": model, "card": card, "now": time(now) });
        self.write(steps::CARD, "set_model_card", arguments).await.map(drop)
    }

    async fn register_version(&self, new: NewModelVersion, now: Timestamp) -> Result<u64> {
        new.check()?;
        let NewModelVersion { model, artifact, by, note } = new;
        let arguments = json!({ "model": model, "artifact": artifact, "by": by, "note": note, "now": time(now) });
        let reply = self.write(steps::REGISTER, "register_version", arguments).await?;
        of(steps::REGISTER, reply.parts().and_then(|[version]| version.value()))
    }

    async fn move_alias(&self, to: AliasTarget, id: WriteId, now: Timestamp) -> Result<AliasMove> {
        to.check()?;
        let AliasTarget { model, alias, version, by, note } = to;
        let arguments = json!({
            "model": model, "alias": alias, "version": version.map(super::bounded), "by": by, "note": note, "id": id,
            "now": time(now),
        });
        of(steps::MOVE_ALIAS, models::alias_move(self.write(steps::MOVE_ALIAS, "move_alias", arguments).await?))
    }

    async fn models(&self, page: PageRequest) -> Result<Page<RegisteredModel>> {
        told("list models", models::list(&self.reader(), &page).await)
    }

    async fn model(&self, name: &str) -> Result<Option<ModelDetail>> {
        told("read a model", models::one(&self.reader(), name).await)
    }

    async fn model_versions(&self, name: &str, page: PageRequest) -> Result<Page<ModelVersion>> {
        told("list the versions of a model", models::versions(&self.reader(), name, &page).await)
    }

    async fn alias_moves(&self, name: &str, page: PageRequest) -> Result<Page<AliasMove>> {
        told("list the moves of aliases", models::moves(&self.reader(), name, &page).await)
    }
}
