//! The model registry of a store: versions of models, and aliases that name one of them.
//!
//! A version is an artifact. An alias is a tag of the artifact of the version that it names, with a
//! history: an action that lists the resource finds the model in use by that tag, and an action
//! that sets the tag as a unique one moves the alias ([`AttemptEnd::tags`]). Who moves it by hand
//! moves the tag too. The moves of an alias are a stack in a list that only grows: each knows the
//! move to whose version a rollback returns.
//!
//! [`AttemptEnd::tags`]: super::AttemptEnd::tags

use async_trait::async_trait;

use super::new_event::NewEvent;
use super::{PageRequest, Result, StoreError};
use crate::base::bounds::{MAX_DECIDER_CHARS, MAX_NOTE_CHARS};
use crate::base::{ArtifactId, AttemptId, RunId, Timestamp, WriteId, check_name};
use crate::model::{AliasMove, ModelDetail, ModelVersion, Page, RegisteredModel, check_alias, check_card};

/// An artifact to register as a version of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewModelVersion {
    /// The model, which is created if there is none of this name.
    pub model: String,
    /// The artifact.
    pub artifact: ArtifactId,
    /// Who registers it.
    pub by: Option<String>,
    /// What is to be known about it.
    pub note: Option<String>,
}

/// Where an alias is to be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasTarget {
    /// The model.
    pub model: String,
    /// The alias, which is created if the model has none of this name.
    pub alias: String,
    /// The version; `None` for the one that it named before the last promotion.
    pub version: Option<u64>,
    /// Who moves it.
    pub by: Option<String>,
    /// Why.
    pub note: Option<String>,
}

/// The registered models of a store. What is said about all methods of a store holds for these too.
#[async_trait]
pub trait ModelRegistry: Send + Sync {
    /// Records the card of a model, which is created if there is none of this name.
    /// [`StoreError::Invalid`] if the name is not one, or the card is too long.
    ///
    /// Crash before: the card is as it was. After: it is on record. Repeat: the same card changes
    /// nothing and makes no event.
    async fn set_model_card(&self, model: &str, card: &str, now: Timestamp) -> Result<()>;

    /// Registers an artifact as the next version of a model, and returns its number. Outputs of
    /// actions are registered by [`Intent::models`](super::Intent::models) instead.
    /// [`StoreError::Conflict`] if the artifact is not in its place; [`StoreError::Invalid`] if a
    /// text is not valid.
    ///
    /// Crash before: it is not registered. After: it is. Repeat: recognised by the model and the
    /// artifact; the version is returned as it was registered first.
    async fn register_version(&self, new: NewModelVersion, now: Timestamp) -> Result<u64>;

    /// Moves an alias, and the tag of the same name. If it names the version already, the last move
    /// is returned and nothing changes. [`StoreError::Conflict`] if there is no such model, alias
    /// or version, if its artifact is not in its place, or if there is nothing to roll back to;
    /// [`StoreError::Invalid`] if a text is not valid.
    ///
    /// Crash before: the alias is as it was. After: it is moved. Repeat: recognised by `id`, if it
    /// is the last move of the alias.
    async fn move_alias(&self, to: AliasTarget, id: WriteId, now: Timestamp) -> Result<AliasMove>;

    /// Lists the models, by name. The cursor is the last name of the page before.
    async fn models(&self, page: PageRequest) -> Result<Page<RegisteredModel>>;

    /// Returns a model. `None` if there is none of this name.
    async fn model(&self, name: &str) -> Result<Option<ModelDetail>>;

    /// Lists the versions of a model, newest first. Empty if there is no such model. The cursor is
    /// the number of the last version of the page before.
    async fn model_versions(&self, name: &str, page: PageRequest) -> Result<Page<ModelVersion>>;

    /// Lists the moves of all aliases of a model, newest first. Empty if there is no such model.
    async fn alias_moves(&self, name: &str, page: PageRequest) -> Result<Page<AliasMove>>;
}

/// Who changes the registry: a person, or an attempt of an action.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct By<'a> {
    pub(super) who: Option<&'a str>,
    pub(super) note: Option<&'a str>,
    pub(super) attempt: Option<Of<'a>>,
    pub(super) write: Option<WriteId>,
}

/// An attempt, as far as the registry needs it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of<'a> {
    pub(super) run: u64,
    pub(super) run_id: RunId,
    pub(super) attempt: AttemptId,
    pub(super) action: &'a str,
}

impl<'a> By<'a> {
    /// A person, as given.
    pub(super) fn person(who: Option<&'a str>, note: Option<&'a str>) -> Self {
        Self { who, note, ..Self::default() }
    }

    /// An attempt.
    pub(super) fn attempt(of: Of<'a>) -> Self {
        Self { attempt: Some(of), ..Self::default() }
    }

    /// Says in an event which attempt it was, if it was one.
    pub(super) fn about(self, event: NewEvent<'a>) -> NewEvent<'a> {
        let Some(of) = self.attempt else { return event };
        event.run(of.run_id).action(of.action).attempt(of.attempt)
    }
}

/// A move with what the next one needs of it.
pub(super) struct Known {
    pub(super) moved: AliasMove,
    pub(super) back: Option<u64>,
    pub(super) write: Option<WriteId>,
}

/// A move to make.
pub(super) struct Step<'a> {
    pub(super) alias: &'a str,
    pub(super) version: u64,
    pub(super) before: Option<u64>,
    pub(super) back: Option<u64>,
    pub(super) rolled_back: bool,
}

impl NewModelVersion {
    /// Refuses invalid texts.
    pub(super) fn check(&self) -> Result<()> {
        check_model(&self.model)?;
        check_texts(self.by.as_deref(), self.note.as_deref())
    }
}

impl AliasTarget {
    /// Refuses invalid texts.
    pub(super) fn check(&self) -> Result<()> {
        check_alias(&self.alias).map_err(StoreError::Invalid)?;
        check_texts(self.by.as_deref(), self.note.as_deref())
    }
}

/// Refuses a card that is too long, and a name that is not one.
pub(super) fn check_new_card(model: &str, card: &str) -> Result<()> {
    check_model(model)?;
    check_card(card).map_err(StoreError::Invalid)
}

fn check_model(name: &str) -> Result<()> {
    check_name(name).map_err(|error| StoreError::Invalid(format!("a model cannot have this name: {error}")))
}

fn check_texts(by: Option<&str>, note: Option<&str>) -> Result<()> {
    for (what, text, most) in [("the name", by, MAX_DECIDER_CHARS), ("the note", note, MAX_NOTE_CHARS)] {
        if text.is_some_and(|text| text.chars().count() > most) {
            return Err(StoreError::Invalid(format!("{what} is longer than {most} characters")));
        }
    }
    Ok(())
}

/// Where a page of names begins: after the last name of the page before.
pub(super) fn after(request: &PageRequest) -> Result<&str> {
    match request.cursor.as_deref() {
        None => Ok(""),
        Some(name) if check_name(name).is_ok() => Ok(name),
        Some(other) => Err(super::page::refuse(other)),
    }
}

/// Makes a page of models. The caller has read one more than `limit`, if there are more.
pub(super) fn cut(mut items: Vec<RegisteredModel>, limit: usize) -> Page<RegisteredModel> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = items.last().filter(|_| more).map(|last| last.name.clone());
    Page { items, next_cursor }
}

/// Says that there is no such model.
pub(super) fn no_model(model: &str) -> String {
    format!("there is no model `{model}`")
}

/// Says that a model has no such version.
pub(super) fn no_version(model: &str, version: u64, newest: u64) -> String {
    match newest {
        0 => format!("`{model}` has no version {version}: it has none yet"),
        _ => format!("`{model}` has no version {version}: its newest is {newest}"),
    }
}

/// Says that a model has no such alias.
pub(super) fn no_alias(model: &str, alias: &str) -> String {
    format!("`{model}` has no alias `{alias}`")
}

/// Says that an alias cannot be rolled back.
pub(super) fn nothing_before(model: &str, alias: &str, version: u64) -> String {
    format!("`{alias}` of `{model}` has named no version before {version}, so there is nothing to roll back to")
}

/// Says that no action could use a version.
pub(super) fn version_gone(model: &str, version: u64, resource: &str, path: &str) -> String {
    format!(
        "version {version} of `{model}` cannot be used: `{path}` in `{resource}` was replaced or removed since; write each \
         version to a path of its own"
    )
}

/// Says that an artifact cannot be a version.
pub(super) fn artifact_gone(id: ArtifactId) -> String {
    format!("artifact {id} is not in its place, so it cannot be a version of a model")
}

/// Says that there is no such artifact.
pub(super) fn no_artifact(id: ArtifactId) -> String {
    format!("there is no artifact {id}")
}
