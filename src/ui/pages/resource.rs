//! `/resources/{name}`: a resource, what is in it, and what its trigger decided.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use super::decided::{Decided, run_numbers};
use super::graph::{self, GraphView};
use super::home::place;
use super::nodes::{NodeState, Now, missing};
use super::taken;
use super::triggers::{TriggerCard, sum};
use crate::base::bounds::MAX_PAUSE_REASON_BYTES;
use crate::base::{ByteSize, Clock as _, RunId, SystemClock};
use crate::manifest::{ActionSpec, Pipeline, ResourceSpec};
use crate::model::{Artifact, ArtifactState, NodeKind};
use crate::scheduler::{View, preview_triggers};
use crate::store::{AccessSum, ArtifactQuery, ResourceAccess};
use crate::ui::page::{self, Head, Params, Refusal, Result, Section};
use crate::ui::{Pages, text, tone};

/// Artifacts on a page.
const ARTIFACTS: u32 = 25;
/// Attempts in the access log.
const ACCESSES: u32 = 15;
/// Most paths that are shown of files that cannot be recorded yet.
const UNRECORDED: usize = 20;

#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "a template asks for each")]
struct Content {
    name: String,
    kind: &'static str,
    kind_icon: &'static str,
    state: NodeState,
    place: String,
    is_watched: bool,
    is_paused: bool,
    max_reason: usize,
    takes_uploads: bool,
    include: Vec<String>,
    exclude: Vec<String>,
    waiting: Option<String>,
    /// What a run would take that is triggered by hand; `None` if nothing is new.
    takes: Option<String>,
    /// The id of that run.
    new_run: String,
    unrecorded: Vec<String>,
    more_unrecorded: u64,
    read_by: Vec<Link>,
    written_by: Vec<Link>,
    trigger: Option<TriggerCard>,
    graph: Option<GraphView>,
    states: Vec<StateLink>,
    artifacts: Vec<ArtifactRow>,
    first_artifacts: Option<String>,
    next_artifacts: Option<String>,
    #[serde(flatten)]
    decided: Decided,
    accesses: Vec<AccessRow>,
    /// Whether older attempts have used it too.
    more_accesses: bool,
}

/// What an attempt did here.
#[derive(Debug, Serialize)]
struct AccessRow {
    run: u64,
    action: String,
    attempt: u32,
    href: String,
    at: Option<text::Moment>,
    read: Option<String>,
    wrote: Option<String>,
    denied: Vec<String>,
}

/// An action that uses it.
#[derive(Debug, Serialize)]
struct Link {
    name: String,
    href: String,
}

/// A filter of the artifacts.
#[derive(Debug, Serialize)]
struct StateLink {
    text: &'static str,
    href: String,
    is_current: bool,
}

#[derive(Debug, Serialize)]
struct ArtifactRow {
    id: String,
    path: String,
    version: u64,
    tone: &'static str,
    state: &'static str,
    reason: Option<String>,
    size: String,
    at: text::Moment,
    run: Option<u64>,
    tags: Vec<String>,
    has_content: bool,
    /// Whether a later version, or nothing, is at its path now.
    is_gone: bool,
}

/// `GET /resources/{name}`
pub(in crate::ui) async fn show(State(pages): State<Pages>, Path(name): Path<String>, uri: Uri) -> Response {
    render(&pages, &name, Some(&uri), None).await
}

/// Answers with the page. `refusal` says why what the reader has sent was not recorded.
pub(super) async fn render(
    pages: &Pages,
    name: &str,
    uri: Option<&Uri>,
    refusal: Option<(StatusCode, String)>,
) -> Response {
    let content = gather(pages, name, uri).await;
    let mut head = Head::below(Section::Pipeline, "resource.html", name);
    if let Some((status, why)) = refusal {
        head = head.refusing(status, why, path_of(name));
    }
    page::answer(pages, content.map(|content| (head, content))).await
}

fn path_of(name: &str) -> String {
    format!("/resources/{}", text::encoded(name))
}

async fn gather(pages: &Pages, name: &str, uri: Option<&Uri>) -> Result<Content> {
    let view = &pages.view;
    let pipeline = view.pipeline();
    let resource = pipeline.resource(name).ok_or_else(|| missing(NodeKind::Resource, name))?;
    let params = uri.map(Params::of).transpose()?.unwrap_or_default();
    let at = SystemClock.now();
    let now = Now::look(view, &pipeline, at).await?;
    let (artifacts, next_artifacts) = artifacts(view, name, &params).await?;
    // One more than is shown, to know whether there are more.
    let accesses = view.store.resource_accesses(name, ACCESSES + 1).await?;
    let path = path_of(name);
    let trigger = if resource.watch {
        let watches = view.control.watches();
        let previews = preview_triggers(view.store.as_ref(), &pipeline, Some(&watches), SystemClock.both()).await?;
        let own = previews.into_iter().find(|preview| preview.resource.as_deref() == Some(name));
        own.map(|preview| TriggerCard::of(&pipeline, &now, preview, at))
    } else {
        None
    };
    let pending = now.pending.get(name).copied();
    let unrecorded = now.waiting.get(name).cloned().unwrap_or_default();
    let lines: Vec<String> =
        unrecorded.paths.iter().take(UNRECORDED).map(|it| format!("{} is {}", it.path, it.reason)).collect();
    Ok(Content {
        name: name.to_owned(),
        kind: resource.kind(),
        kind_icon: resource.icon(),
        state: now.resource(resource),
        place: place(view, resource),
        is_watched: resource.watch,
        is_paused: now.pause(NodeKind::Resource, name).is_some(),
        max_reason: MAX_PAUSE_REASON_BYTES,
        takes_uploads: resource.watch && resource.takes_uploads(),
        include: resource.include().to_vec(),
        exclude: resource.exclude().to_vec(),
        waiting: pending.map(sum),
        new_run: RunId::new().to_string(),
        takes: pending.and_then(|pending| taken::now(resource, pending)),
        more_unrecorded: unrecorded.count.saturating_sub(lines.len() as u64),
        unrecorded: lines,
        read_by: users(&pipeline, resource, |action| &action.reads),
        written_by: users(&pipeline, resource, |action| &action.writes),
        trigger,
        graph: graph::around(pages, &pipeline, &now, name).await,
        states: states(&params, &path),
        artifacts,
        first_artifacts: params.text("cursor").map(|_| params.link(&path, &["cursor"], &[])),
        next_artifacts: next_artifacts.map(|cursor| params.link(&path, &["cursor"], &[("cursor", &cursor)])),
        decided: Decided::gather(view, name, &params, &path).await?,
        more_accesses: accesses.len() > ACCESSES as usize,
        accesses: accesses.into_iter().take(ACCESSES as usize).map(access_row).collect(),
    })
}

fn users(pipeline: &Pipeline, resource: &ResourceSpec, uses: fn(&ActionSpec) -> &[String]) -> Vec<Link> {
    let actions = pipeline.actions.iter().filter(|action| uses(action).contains(&resource.name));
    let link = |action: &ActionSpec| Link {
        name: action.name.clone(),
        href: format!("/actions/{}", text::encoded(&action.name)),
    };
    actions.map(link).collect()
}

/// Returns the links that show only artifacts in one state.
fn states(params: &Params, path: &str) -> Vec<StateLink> {
    let chosen = params.text("state");
    let link = |text, state: Option<&str>| StateLink {
        text,
        href: params.link(path, &["state", "cursor"], state.map(|state| ("state", state)).as_slice()),
        is_current: chosen == state,
    };
    let of_state = |state: &ArtifactState| link(state.as_str(), Some(state.as_str()));
    [link("all", None)].into_iter().chain(ArtifactState::ALL.iter().map(of_state)).collect()
}

async fn artifacts(view: &View, name: &str, params: &Params) -> Result<(Vec<ArtifactRow>, Option<String>)> {
    let state = params.text("state").map(str::parse::<ArtifactState>).transpose();
    let state = state.map_err(|error| Refusal::Invalid(format!("The state of artifacts is not valid: {error}.")))?;
    let query = ArtifactQuery { resource: Some(name.to_owned()), state, ..ArtifactQuery::default() };
    let page = view.store.artifacts(query, params.page(ARTIFACTS)).await?;
    let runs = page.items.iter().filter_map(|artifact| artifact.run_id);
    let numbers = run_numbers(view, runs.collect()).await?;
    Ok((page.items.into_iter().map(|artifact| artifact_row(artifact, &numbers)).collect(), page.next_cursor))
}

fn artifact_row(artifact: Artifact, numbers: &BTreeMap<RunId, u64>) -> ArtifactRow {
    ArtifactRow {
        is_gone: !artifact.is_readable(),
        id: artifact.id.to_string(),
        path: artifact.path,
        version: artifact.version,
        tone: tone::of_artifact(artifact.state),
        state: artifact.state.as_str(),
        reason: artifact.reason,
        size: ByteSize(artifact.size).to_string(),
        at: text::both(artifact.created_at),
        run: artifact.run_id.and_then(|run| numbers.get(&run)).copied(),
        tags: artifact.tags,
        has_content: artifact.state != ArtifactState::Ignored,
    }
}

fn access_row(access: ResourceAccess) -> AccessRow {
    let ResourceAccess { run_number: run, attempt_id, action, attempt, ended_at, read, wrote, denied } = access;
    let summed = |sum: AccessSum| {
        (sum.artifacts > 0)
            .then(|| format!("{}, {}", text::count(sum.artifacts, "artifact", "artifacts"), ByteSize(sum.bytes)))
    };
    AccessRow {
        run,
        action,
        attempt,
        href: format!("/runs/{run}/logs?attempt={attempt_id}"),
        at: ended_at.map(text::both),
        read: summed(read),
        wrote: summed(wrote),
        denied: denied.into_iter().map(|denial| format!("{}: {}", denial.call, denial.message)).collect(),
    }
}
