//! `POST /api/v1/resources/{name}/artifacts`: another program uploads an artifact.
//!
//! The body goes to disk as it arrives. The answer comes once the artifact is on record, so a
//! program that got no answer sends the upload again: the same bytes make no second version.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use futures_util::StreamExt as _;

use super::Made;
use crate::base::Digest;
use crate::http::App;
use crate::http::problem::{Problem, Result, shown};
use crate::http::query::{Query, Segment};
use crate::model::Artifact;
use crate::resource::{Upload, check_path};
use crate::scheduler::View;
use crate::store::{ArtifactQuery, PageRequest};

/// How long it may take to put an upload on record.
const RECORDING: Duration = Duration::from_secs(10);
/// How many versions of a path are searched for the one that was uploaded. Newer ones exist only if
/// others upload to the path at the same time.
const VERSIONS: u32 = 100;

/// `POST /api/v1/resources/{name}/artifacts?path=…`
pub(super) async fn take(
    State(app): State<App>,
    Segment(name): Segment,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Made<Artifact>> {
    let query = Query::parse(&uri, &["path"])?;
    let path = query.text("path").ok_or_else(|| Problem::bad_parameter("path", "it is missing: add `?path=NAME`"))?;
    check_path(path).map_err(|error| Problem::bad_parameter("path", error))?;
    let announced = announced(&headers)?;
    takes_uploads(&app.view, &name)?;
    let resource = app.view.resources.get(&name).cloned().ok_or_else(|| no_resource(&name))?;
    let before = newest(&app.view, &name, path).await?;
    let mut upload = resource.receive(path).await?;
    read(&headers, body, upload.as_mut(), app.patience.upload).await?;
    let digest = upload.digest();
    if let Some(announced) = announced.filter(|announced| *announced != digest) {
        return Err(Problem::digest_mismatch(format!(
            "the body that arrived has the digest {digest}, and the header announces {announced}: send it again"
        )));
    }
    finish(upload).await?;
    let artifact = recorded(&app.view, &name, path, digest).await?;
    let is_new = before.is_none_or(|before| before.id != artifact.id);
    Ok(Made { is_new, address: format!("/api/v1/artifacts/{}", artifact.id), body: artifact })
}

fn no_resource(name: &str) -> Problem {
    Problem::not_found(format!("the manifest has no resource `{}`", shown(name)))
}

fn takes_uploads(view: &View, name: &str) -> Result<()> {
    let pipeline = view.pipeline();
    let resource = pipeline.resource(name).ok_or_else(|| no_resource(name))?;
    let wrong = match (resource.takes_uploads(), resource.watch) {
        (true, true) => return Ok(()),
        (true, false) => format!("`{name}` is not watched: add `watch = true` to [resources.{name}]"),
        (false, _) => format!("`{name}` takes no uploads: only a resource with `push = true` does"),
    };
    Err(Problem::conflict(wrong))
}

/// Reads the digest that the client announces.
fn announced(headers: &HeaderMap) -> Result<Option<Digest>> {
    let text = |name| {
        let Some(value) = headers.get(name) else { return Ok(None) };
        value.to_str().map(Some).map_err(|_| Problem::bad_request(format!("the header `{name}` is not text")))
    };
    let wrong =
        |name: &str, form: &str| Problem::bad_request(format!("the header `{name}` is not valid: write {form}"));
    if let Some(value) = text("content-digest")? {
        let read = Digest::from_content_digest(value);
        return read.map(Some).ok_or_else(|| wrong("Content-Digest", "`sha-256=:BASE64:`"));
    }
    let Some(value) = text("x-content-sha256")? else { return Ok(None) };
    let read = format!("sha256:{}", value.trim()).parse();
    read.map(Some).map_err(|_| wrong("X-Content-SHA256", "64 hexadecimal digits"))
}

/// Reads the body. `silence` is how long the client may send nothing.
async fn read(headers: &HeaderMap, body: Body, upload: &mut dyn Upload, silence: Duration) -> Result<()> {
    let most = upload.max_bytes();
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > most) {
        return Err(Problem::body_too_large(most));
    }
    let (mut pieces, mut size) = (body.into_data_stream(), 0_u64);
    loop {
        let piece = tokio::time::timeout(silence, pieces.next()).await.map_err(|_| Problem::body_too_slow())?;
        let Some(piece) = piece else { return Ok(()) };
        let piece = piece.map_err(|error| Problem::body_incomplete(&error))?;
        size += piece.len() as u64;
        if size > most {
            return Err(Problem::body_too_large(most));
        }
        upload.write(&piece).await?;
    }
}

/// Puts an upload on record. Goes on if the client goes away, because an artifact that is on record
/// must be reported to the dispatcher.
async fn finish(upload: Box<dyn Upload>) -> Result<()> {
    let recording = tokio::spawn(upload.finish());
    match tokio::time::timeout(RECORDING, recording).await {
        Ok(Ok(done)) => Ok(done?),
        Ok(Err(error)) => Err(Problem::internal(error)),
        Err(_) => Err(Problem::unavailable("the upload could not be recorded in time; send it again")),
    }
}

async fn versions(view: &View, resource: &str, path: &str, limit: u32) -> Result<Vec<Artifact>> {
    let query =
        ArtifactQuery { resource: Some(resource.to_owned()), path: Some(path.to_owned()), ..ArtifactQuery::default() };
    Ok(view.store.artifacts(query, PageRequest { cursor: None, limit }).await?.items)
}

async fn newest(view: &View, resource: &str, path: &str) -> Result<Option<Artifact>> {
    Ok(versions(view, resource, path, 1).await?.into_iter().next())
}

/// Returns the version that an upload became. Another upload may have replaced it already.
async fn recorded(view: &View, resource: &str, path: &str, digest: Digest) -> Result<Artifact> {
    let found = versions(view, resource, path, VERSIONS).await?.into_iter().find(|it| it.digest == Some(digest));
    found.ok_or_else(|| Problem::internal(format!("an upload to `{path}` in {resource} is not on record")))
}
