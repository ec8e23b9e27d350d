//! `/api/v1/artifacts`: the recorded artifacts.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;

use super::List;
use crate::base::ArtifactId;
use crate::http::App;
use crate::http::problem::{Problem, Result};
use crate::http::query::{DEFAULT_DEPTH, Query, Segment, artifact_id};
use crate::model::{Artifact, ArtifactState, Lineage};
use crate::scheduler::View;
use crate::store::{ArtifactQuery, LineageSide, MAX_LINEAGE_DEPTH, walk_lineage};

/// `GET /api/v1/artifacts`
pub(super) async fn list(State(app): State<App>, uri: Uri) -> Result<Json<List<Artifact>>> {
    let query = Query::parse(&uri, &["resource", "state", "path", "run", "tag", "limit", "cursor"])?;
    let filter = ArtifactQuery {
        resource: known_resource(&app.view, &query)?,
        path: query.owned("path"),
        state: state(&query)?,
        run: query.run(&app.view, "run").await?,
        tag: query.owned("tag"),
    };
    let page = app.view.store.artifacts(filter, query.page()?).await?;
    Ok(Json(page.into()))
}

fn state(query: &Query) -> Result<Option<ArtifactState>> {
    let words = ArtifactState::ALL.iter().map(|state| state.as_str());
    let Some(text) = query.text("state") else { return Ok(None) };
    text.parse().map(Some).map_err(|error| Problem::bad_parameter("state", error).choices(text, words))
}

/// Reads `resource`. A resource that is no longer in the manifest may still have records, so an
/// unknown name is not an error.
fn known_resource(view: &View, query: &Query) -> Result<Option<String>> {
    let Some(name) = query.owned("resource") else { return Ok(None) };
    if crate::base::check_name(&name).is_err() {
        let pipeline = view.pipeline();
        let names = pipeline.resources.iter().map(|resource| resource.name.as_str());
        return Err(Problem::bad_parameter("resource", crate::base::NameError).choices(&name, names));
    }
    Ok(Some(name))
}

/// `GET /api/v1/artifacts/{id}`
pub(super) async fn show(State(app): State<App>, Segment(id): Segment, uri: Uri) -> Result<Json<Artifact>> {
    Query::parse(&uri, &[])?;
    Ok(Json(find(&app.view, &id).await?))
}

/// `GET /api/v1/artifacts/{id}/lineage`
pub(super) async fn lineage(State(app): State<App>, Segment(id): Segment, uri: Uri) -> Result<Json<Lineage>> {
    let query = Query::parse(&uri, &["depth", "direction"])?;
    let depth = query.number("depth", DEFAULT_DEPTH, MAX_LINEAGE_DEPTH)?;
    let id = artifact_id(&id)?;
    let lineage = walk_lineage(app.view.store.as_ref(), id, sides(&query)?, depth).await?;
    Ok(Json(lineage.ok_or_else(|| no_artifact(id))?))
}

/// Reads `direction`.
fn sides(query: &Query) -> Result<&'static [LineageSide]> {
    match query.text("direction").unwrap_or("both") {
        "both" => Ok(&[LineageSide::Before, LineageSide::After]),
        "up" => Ok(&[LineageSide::Before]),
        "down" => Ok(&[LineageSide::After]),
        other => {
            let why = "it is `up` (what the artifact was made from), `down` (what was made from it) or `both`";
            Err(Problem::bad_parameter("direction", why).choices(other, ["up", "down", "both"]))
        }
    }
}

fn no_artifact(id: ArtifactId) -> Problem {
    Problem::not_found(format!("there is no artifact {id}"))
}

/// Returns the artifact with the id in `text`.
pub(super) async fn find(view: &View, text: &str) -> Result<Artifact> {
    let id = artifact_id(text)?;
    view.store.artifact(id).await?.ok_or_else(|| no_artifact(id))
}
