//! The model registry: registered models, their versions, and the aliases that name a version.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Artifact;
use crate::base::bounds::{MAX_ARTIFACT_TAG_BYTES, MAX_MODEL_CARD_BYTES};
use crate::base::{ArtifactId, RunId, Timestamp};

/// A registered model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Model)]
pub struct RegisteredModel {
    /// Its name.
    pub name: String,
    /// When it was registered.
    pub created_at: Timestamp,
    /// The number of its newest version; 0 if it has none.
    pub newest_version: u64,
    /// Its aliases, by name.
    pub aliases: Vec<ModelAlias>,
}

/// A registered model, with what describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModelDetail {
    /// Its name.
    pub name: String,
    /// When it was registered.
    pub created_at: Timestamp,
    /// The number of its newest version; 0 if it has none.
    pub newest_version: u64,
    /// Its aliases, by name.
    pub aliases: Vec<ModelAlias>,
    /// What it is for and how far it can be trusted, in Markdown.
    #[schema(required, max_length = 50000)]
    pub card: Option<String>,
}

impl ModelDetail {
    /// Adds the card to a model.
    #[must_use]
    pub fn new(model: RegisteredModel, card: Option<String>) -> Self {
        let RegisteredModel { name, created_at, newest_version, aliases } = model;
        Self { name, created_at, newest_version, aliases, card }
    }

    /// Returns the names of the aliases of a version.
    pub fn aliases_of(&self, version: u64) -> impl Iterator<Item = &str> {
        self.aliases.iter().filter(move |alias| alias.version == version).map(|alias| alias.alias.as_str())
    }
}

/// A name for one version of a model at a time, such as `production`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModelAlias {
    /// The name.
    pub alias: String,
    /// The version that it names.
    pub version: u64,
    /// The artifact of that version.
    pub artifact_id: ArtifactId,
    /// Since when it names that version.
    pub since: Timestamp,
    /// The version that it names again after a rollback, if it has named another one.
    #[schema(required)]
    pub rollback_to: Option<u64>,
}

/// A version of a model: an artifact, which never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModelVersion {
    /// Its number, counted for each model from 1.
    pub version: u64,
    /// The artifact.
    pub artifact: Artifact,
    /// The run that wrote the artifact, if one did.
    #[schema(required)]
    pub run_id: Option<RunId>,
    /// The number of that run.
    #[schema(required)]
    pub run_number: Option<u64>,
    /// The action that wrote it.
    #[schema(required)]
    pub action: Option<String>,
    /// Time of the record.
    pub registered_at: Timestamp,
    /// Who registered it, as given. Absent if the action that wrote it did.
    #[schema(required, max_length = 200)]
    pub by: Option<String>,
    /// What is to be known about it, as given.
    #[schema(required, max_length = 2000)]
    pub note: Option<String>,
}

/// A move of an alias to a version. It stays on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AliasMove {
    /// Sequence number, for order and paging.
    pub seq: u64,
    /// The alias.
    pub alias: String,
    /// The version that it names since then.
    pub version: u64,
    /// The version that it named before.
    #[schema(required)]
    pub before: Option<u64>,
    /// Whether it was rolled back to an earlier version.
    pub rolled_back: bool,
    /// Who moved it, as given. Absent if an action did.
    #[schema(required, max_length = 200)]
    pub by: Option<String>,
    /// Why, as given.
    #[schema(required, max_length = 2000)]
    pub note: Option<String>,
    /// The run in which an action moved it, if one did.
    #[schema(required)]
    pub run_id: Option<RunId>,
    /// The number of that run.
    #[schema(required)]
    pub run_number: Option<u64>,
    /// That action.
    #[schema(required)]
    pub action: Option<String>,
    /// Time of the record.
    pub at: Timestamp,
}

impl AliasMove {
    /// Returns who moved the alias, for people: `ann`, or `promote in run #3`. `None` if nobody
    /// said so.
    #[must_use]
    pub fn mover(&self) -> Option<String> {
        match (&self.action, self.run_number) {
            (Some(action), Some(run)) => Some(format!("{action} in run #{run}")),
            _ => self.by.clone(),
        }
    }
}

/// Checks that a text can be an alias. Each is also a tag of an artifact.
///
/// # Errors
/// When it cannot, with the reason.
pub fn check_alias(alias: &str) -> Result<(), String> {
    if alias.is_empty() || alias.len() > MAX_ARTIFACT_TAG_BYTES || alias.chars().any(char::is_control) {
        return Err(format!("an alias has 1 to {MAX_ARTIFACT_TAG_BYTES} bytes, and no control characters"));
    }
    Ok(())
}

/// Checks that a text can be a model card.
///
/// # Errors
/// When it cannot, with the reason.
pub fn check_card(card: &str) -> Result<(), String> {
    if card.len() > MAX_MODEL_CARD_BYTES {
        let bytes = card.len();
        return Err(format!("the model card has {bytes} bytes, and may have at most {MAX_MODEL_CARD_BYTES}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{check_alias, check_card};

    #[test]
    fn aliases_and_cards_are_bounded() {
        for good in ["production", "Candidate 2", "ä", &"a".repeat(100)] {
            assert_eq!(check_alias(good), Ok(()), "{good}");
        }
        for bad in ["", "a\nb", &"a".repeat(101)] {
            let why = "an alias has 1 to 100 bytes, and no control characters";
            assert_eq!(check_alias(bad), Err(why.to_owned()), "{bad}");
        }
        assert_eq!(check_card(&"a".repeat(50_000)), Ok(()));
        let why = "the model card has 50001 bytes, and may have at most 50000";
        assert_eq!(check_card(&"a".repeat(50_001)), Err(why.to_owned()));
    }
}
