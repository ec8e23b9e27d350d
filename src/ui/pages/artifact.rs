//! `/artifacts/{id}`: one artifact with a preview, its lineage, and the attempts that used it.
//!
//! What is in an artifact is foreign. Text is escaped like any other. Only images are shown as what
//! they are, from an address whose answer has a policy of its own: even a picture that is opened
//! alone runs no script and loads nothing.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::lineage::{self, LineageView};
use crate::base::{ArtifactId, ByteSize, escape};
use crate::model::{AccessKind, Artifact};
use crate::sandbox::open_version;
use crate::scheduler::View;
use crate::store::{ArtifactUse, PageRequest};
use crate::ui::page::{self, Head, Params, Refusal, Result, Section};
use crate::ui::peek::{self, Image, Peek};
use crate::ui::{Pages, text, tone};

/// Bytes of an artifact that a preview reads.
const PREVIEW_BYTES: u64 = 64 << 10;
/// Largest image that is shown.
const MAX_IMAGE_BYTES: u64 = 16 << 20;
/// How long a preview waits for a resource.
const READ_WITHIN: Duration = Duration::from_secs(2);
/// Most attempts that are listed.
const USES: u32 = 50;

#[derive(Debug, Serialize)]
struct Content {
    id: String,
    resource: String,
    path: String,
    version: u64,
    size: String,
    digest: Option<String>,
    tone: &'static str,
    artifact_state: &'static str,
    reason: Option<String>,
    /// The number of the run that claimed it.
    claimed_by: Option<u64>,
    created: text::Moment,
    /// The attempt that wrote it.
    written_by: Option<Use>,
    tags: Vec<String>,
    present: bool,
    peek: Option<Peek>,
    /// Why there is no preview.
    blind: Option<String>,
    /// Whether the preview is of a part.
    cut: bool,
    /// The address of the image, if it is one.
    image: Option<String>,
    lineage: Option<LineageView>,
    uses: Vec<Use>,
    more_uses: bool,
}

#[derive(Debug, Serialize)]
struct Use {
    run: u64,
    action: String,
    attempt: u32,
    attempt_id: String,
    wrote: bool,
    bytes: String,
}

/// `GET /artifacts/{id}`
pub(in crate::ui) async fn show(State(pages): State<Pages>, Path(id): Path<String>, uri: Uri) -> Response {
    let head = |content: &Content| Head::below(Section::Pipeline, "artifact.html", &content.path);
    page::answer(&pages, gather(&pages.view, &id, &uri).await.map(|content| (head(&content), content))).await
}

/// `GET /artifacts/{id}/image`: the content, if it is an image.
pub(in crate::ui) async fn image(State(pages): State<Pages>, Path(id): Path<String>) -> Response {
    let content = async {
        let artifact = find(&pages.view, &id).await?;
        let bytes = read(&pages.view, &artifact, MAX_IMAGE_BYTES).await.map_err(Refusal::Missing)?;
        let kind = peek::image(&artifact.path, &bytes).filter(|_| artifact.size <= MAX_IMAGE_BYTES);
        let kind = kind.ok_or_else(|| Refusal::Missing("This artifact is not an image.".to_owned()))?;
        Ok::<_, Refusal>((kind, bytes))
    };
    match content.await {
        Ok((kind, bytes)) => as_image(kind, bytes),
        Err(refusal) => page::refused(&pages, refusal).await,
    }
}

fn as_image(kind: Image, bytes: Vec<u8>) -> Response {
    // A picture of the format SVG may have styles of its own, and nothing else.
    let policy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    let headers: [(HeaderName, &str); 3] = [
        (header::CONTENT_TYPE, kind.media_type()),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "private, no-cache"),
    ];
    (StatusCode::OK, headers, bytes).into_response()
}

async fn find(view: &View, id: &str) -> Result<Artifact> {
    let missing = || Refusal::Missing(format!("There is no artifact {}.", escape(id.as_bytes())));
    let id: ArtifactId = id.parse().map_err(|_| missing())?;
    view.store.artifact(id).await?.ok_or_else(missing)
}

async fn gather(view: &View, id: &str, uri: &Uri) -> Result<Content> {
    let (artifact, params) = (find(view, id).await?, Params::of(uri)?);
    let read = read(view, &artifact, PREVIEW_BYTES).await;
    let (peek, blind) = match read {
        Ok(bytes) => (Some(peek::of(&artifact.path, &bytes, artifact.size)), None),
        Err(why) => (None, Some(why)),
    };
    let is_image = matches!(peek, Some(Peek::Image));
    let uses = view.store.uses(artifact.id, PageRequest { cursor: None, limit: USES }).await?;
    let claimed_by = match artifact.run_id {
        Some(run) => view.store.run_summary(run).await?.map(|run| run.number),
        None => None,
    };
    let written_by = view.store.writer(artifact.id).await?.map(used);
    Ok(Content {
        written_by,
        id: artifact.id.to_string(),
        size: ByteSize(artifact.size).to_string(),
        digest: artifact.digest.map(|digest| digest.to_string()),
        tone: tone::of_artifact(artifact.state),
        artifact_state: artifact.state.as_str(),
        claimed_by,
        created: text::both(artifact.created_at),
        present: artifact.is_readable(),
        cut: artifact.size > PREVIEW_BYTES && !is_image,
        image: is_image.then(|| format!("{}/image", text::artifact_address(artifact.id))),
        lineage: lineage::gather(view, artifact.id, &params).await?,
        resource: artifact.resource,
        path: artifact.path,
        version: artifact.version,
        reason: artifact.reason,
        tags: artifact.tags,
        peek,
        blind,
        more_uses: uses.next_cursor.is_some(),
        uses: uses.items.into_iter().map(used).collect(),
    })
}

fn used(used: ArtifactUse) -> Use {
    Use {
        run: used.run_number,
        action: used.action,
        attempt: used.attempt,
        attempt_id: used.attempt_id.to_string(),
        wrote: used.kind == AccessKind::Wrote,
        bytes: ByteSize(used.bytes).to_string(),
    }
}

/// Reads the first bytes of an artifact, or says why that is not possible.
async fn read(view: &View, artifact: &Artifact, most: u64) -> std::result::Result<Vec<u8>, String> {
    if !artifact.is_readable() {
        return Err(format!("Version {} was overwritten or deleted.", artifact.version));
    }
    let Some(resource) = view.resources.get(&artifact.resource) else {
        return Err(format!("The manifest has no resource {} any more.", artifact.resource));
    };
    let bytes = async {
        let mut reader = open_version(&*view.store, &**resource, artifact).await?;
        let (mut bytes, wanted) = (Vec::new(), artifact.size.min(most));
        while (bytes.len() as u64) < wanted {
            let left = usize::try_from(wanted - bytes.len() as u64).unwrap_or(usize::MAX);
            let chunk = reader.read(bytes.len() as u64, left).await?;
            if chunk.is_empty() {
                break;
            }
            bytes.extend(chunk);
        }
        Ok::<_, crate::resource::ResourceError>(bytes)
    };
    match tokio::time::timeout(READ_WITHIN, bytes).await {
        Ok(bytes) => bytes.map_err(|error| error.to_string()),
        Err(_) => Err("The resource has not answered in time.".to_owned()),
    }
}
