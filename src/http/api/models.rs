//! The model registry: models, their versions, and their aliases.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::Deserialize;
use utoipa::ToSchema;

use super::List;
use super::control::read;
use crate::base::ArtifactId;
use crate::base::bounds::MAX_PAGE;
use crate::http::App;
use crate::http::problem::{Problem, Result, shown};
use crate::http::query::{Query, Segment};
use crate::model::{AliasMove, ModelDetail, ModelVersion, RegisteredModel};
use crate::store::{AliasTarget, MetadataStore, NewModelVersion, PageRequest, StoreError};

/// The body of `PUT /api/v1/models/{name}`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = ModelRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct CardBody {
    /// What the model is for and how far it can be trusted, in Markdown. Replaces the card on
    /// record; without it the card stays.
    #[schema(max_length = 50000)]
    card: Option<String>,
}

/// The body of `POST /api/v1/models/{name}/versions`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = ModelVersionRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct VersionBody {
    /// The artifact that becomes a version.
    artifact_id: Option<ArtifactId>,
    /// Who registers it; an unchecked text.
    #[schema(max_length = 200)]
    by: Option<String>,
    /// What is to be known about it.
    #[schema(max_length = 2000)]
    note: Option<String>,
}

/// The body of `POST /api/v1/models/{name}/promote`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = PromoteRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct PromoteBody {
    /// The alias, which is created if the model has none of this name.
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 100)]
    alias: String,
    /// The number of the version that it names from now on.
    #[serde(default)]
    #[schema(required, minimum = 1)]
    version: u64,
    /// Who moves it; an unchecked text.
    #[schema(max_length = 200)]
    by: Option<String>,
    /// Why.
    #[schema(max_length = 2000)]
    note: Option<String>,
}

/// The body of `POST /api/v1/models/{name}/rollback`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = RollbackRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct RollbackBody {
    /// The alias.
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 100)]
    alias: String,
    /// Who moves it; an unchecked text.
    #[schema(max_length = 200)]
    by: Option<String>,
    /// Why.
    #[schema(max_length = 2000)]
    note: Option<String>,
}

/// `GET /api/v1/models`: the models, by name.
pub(super) async fn list(State(app): State<App>, uri: Uri) -> Result<Json<List<RegisteredModel>>> {
    let query = Query::parse(&uri, &["limit", "cursor"])?;
    Ok(Json(app.view.store.models(query.page()?).await?.into()))
}

/// `GET /api/v1/models/{name}`
pub(super) async fn show(State(app): State<App>, Segment(name): Segment, uri: Uri) -> Result<Json<ModelDetail>> {
    Query::parse(&uri, &[])?;
    Ok(Json(find(app.view.store.as_ref(), &name).await?))
}

/// `PUT /api/v1/models/{name}`: creates a model, or gives one another card.
pub(super) async fn update(
    State(app): State<App>,
    Segment(name): Segment,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ModelDetail>> {
    Query::parse(&uri, &[])?;
    let CardBody { card } = read(&app, &headers, body).await?;
    let known = app.view.store.model(&name).await?;
    let card = card.or_else(|| known.and_then(|model| model.card)).unwrap_or_default();
    app.view.control.set_model_card(&name, &card).await?;
    Ok(Json(find(app.view.store.as_ref(), &name).await?))
}

/// `GET /api/v1/models/{name}/versions`: the versions, newest first.
pub(super) async fn versions(
    State(app): State<App>,
    Segment(name): Segment,
    uri: Uri,
) -> Result<Json<List<ModelVersion>>> {
    let page = Query::parse(&uri, &["limit", "cursor"])?.page()?;
    find(app.view.store.as_ref(), &name).await?;
    Ok(Json(app.view.store.model_versions(&name, page).await?.into()))
}

/// `POST /api/v1/models/{name}/versions`: registers an artifact. Idempotent: an artifact is one
/// version of a model.
pub(super) async fn register(
    State(app): State<App>,
    Segment(name): Segment,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ModelVersion>> {
    Query::parse(&uri, &[])?;
    let VersionBody { artifact_id, by, note } = read(&app, &headers, body).await?;
    let Some(artifact) = artifact_id else {
        return Err(Problem::bad_request("the body has no `artifact_id`, the artifact that becomes a version"));
    };
    let new = NewModelVersion { model: name.clone(), artifact, by, note };
    let version = app.view.control.register_version(new).await?;
    Ok(Json(one_version(app.view.store.as_ref(), &name, version).await?))
}

/// `GET /api/v1/models/{name}/moves`: the moves of all aliases, newest first.
pub(super) async fn moves(State(app): State<App>, Segment(name): Segment, uri: Uri) -> Result<Json<List<AliasMove>>> {
    let page = Query::parse(&uri, &["limit", "cursor"])?.page()?;
    find(app.view.store.as_ref(), &name).await?;
    Ok(Json(app.view.store.alias_moves(&name, page).await?.into()))
}

/// `POST /api/v1/models/{name}/promote`: makes an alias name a version.
pub(super) async fn promote(
    State(app): State<App>,
    Segment(name): Segment,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<AliasMove>> {
    Query::parse(&uri, &[])?;
    let PromoteBody { alias, version, by, note } = read(&app, &headers, body).await?;
    find(app.view.store.as_ref(), &name).await?;
    let to = AliasTarget { model: name, alias, version: Some(version), by, note };
    Ok(Json(app.view.control.move_alias(to).await?))
}

/// `POST /api/v1/models/{name}/rollback`: makes an alias name the version from before the last
/// promotion again.
pub(super) async fn roll_back(
    State(app): State<App>,
    Segment(name): Segment,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<AliasMove>> {
    Query::parse(&uri, &[])?;
    let RollbackBody { alias, by, note } = read(&app, &headers, body).await?;
    find(app.view.store.as_ref(), &name).await?;
    let to = AliasTarget { model: name, alias, version: None, by, note };
    Ok(Json(app.view.control.move_alias(to).await?))
}

/// Returns a model.
pub(crate) async fn find(store: &dyn MetadataStore, name: &str) -> Result<ModelDetail> {
    if let Some(model) = store.model(name).await? {
        return Ok(model);
    }
    let known = store.models(PageRequest { cursor: None, limit: MAX_PAGE }).await?.items;
    let problem = Problem::not_found(format!("there is no model `{}`", shown(name)));
    Err(problem.choices(name, known.iter().map(|model| model.name.as_str())))
}

/// Returns a version that is on record.
pub(crate) async fn one_version(
    store: &dyn MetadataStore,
    model: &str,
    version: u64,
) -> std::result::Result<ModelVersion, StoreError> {
    let page = PageRequest { cursor: Some((version + 1).to_string()), limit: 1 };
    let found = store.model_versions(model, page).await?.items.pop().filter(|it| it.version == version);
    found.ok_or_else(|| StoreError::Conflict(format!("`{model}` has no version {version}")))
}
