//! `/api/v1/pipeline`: the graph, and the state of the host.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::control::PipelineState;
use super::nodes::{NodeHead, heads};
use crate::base::{Digest, Timestamp};
use crate::http::App;
use crate::http::problem::Result;
use crate::http::query::Query;
use crate::manifest::{Join, Pipeline};
use crate::model::Pause;
use crate::scheduler::{InForce, SlotUse};

/// The graph, and the state of the host.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Pipeline)]
pub(super) struct PipelineBody {
    /// Its name in the manifest.
    name: String,
    /// `running`, or `paused` if nothing new starts.
    state: PipelineState,
    /// The resources and actions that are paused, including those that the manifest in force does
    /// not have.
    paused_nodes: Vec<Pause>,
    /// When a run starts, if several resources are watched.
    join: Join,
    /// Most runs at once.
    max_concurrent_runs: u32,
    /// Most attempts at once.
    max_concurrent_actions: u32,
    /// How much of each named limit is used.
    concurrency: BTreeMap<String, SlotUse>,
    /// Params of the pipeline.
    params: Map<String, Value>,
    /// The metadata store, the resources and the actions.
    nodes: Vec<NodeHead>,
    /// The dependencies that `after` declares.
    edges: Vec<Edge>,
    /// What new runs use.
    loaded: LoadedBody,
    /// The host that answers.
    host: HostBody,
}

/// What the host has loaded: runs that start now use it. The files may have changed since.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Loaded)]
pub(crate) struct LoadedBody {
    /// The digest of the manifest.
    pub(crate) manifest: Digest,
    /// The digests of the components, by action; that of a trigger by `trigger NAME`.
    pub(crate) components: BTreeMap<String, Digest>,
}

impl LoadedBody {
    /// Returns the digest of a manifest.
    pub(crate) fn digest_of(pipeline: &Pipeline) -> Digest {
        Digest::of(pipeline.text.as_bytes())
    }
}

impl From<InForce> for LoadedBody {
    fn from(InForce { pipeline, components }: InForce) -> Self {
        let components = components.iter().map(|(name, info)| (name.clone(), info.digest)).collect();
        Self { manifest: Self::digest_of(&pipeline), components }
    }
}

/// A dependency: data flows from one node to the other.
#[derive(Debug, Serialize, ToSchema)]
struct Edge {
    /// The node before.
    from: String,
    /// The node after.
    to: String,
}

/// The host, which runs the pipeline.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Host)]
struct HostBody {
    /// Its version.
    version: &'static str,
    /// When it started.
    started_at: Timestamp,
    /// How many hosts have opened the store, this one included.
    epoch: u64,
    /// The sequence number of the newest event.
    newest_event: u64,
    /// Whether all parts of it are ready.
    ready: bool,
    /// Why the host is not ready.
    reasons: Vec<String>,
    /// What people should know about a host that is ready, such as that files grow.
    warnings: Vec<String>,
}

/// `GET /api/v1/pipeline`
pub(super) async fn show(State(app): State<App>, uri: Uri) -> Result<Json<PipelineBody>> {
    Query::parse(&uri, &[])?;
    let view = &app.view;
    let paused = view.store.paused().await?;
    let reasons = view.control.not_ready();
    let loaded = view.in_force.borrow().clone();
    let pipeline = &loaded.pipeline;
    let edges = pipeline
        .actions
        .iter()
        .flat_map(|action| action.after.iter().map(|from| Edge { from: from.clone(), to: action.name.clone() }))
        .collect();
    let newest_event = *view.store.newest_event().borrow();
    Ok(Json(PipelineBody {
        name: pipeline.name.clone(),
        state: if paused { PipelineState::Paused } else { PipelineState::Running },
        paused_nodes: view.store.paused_nodes().await?,
        join: pipeline.join,
        max_concurrent_runs: pipeline.max_concurrent_runs,
        max_concurrent_actions: pipeline.max_concurrent_actions,
        concurrency: view.control.concurrency(),
        params: pipeline.params.clone(),
        nodes: heads(view).await?,
        edges,
        loaded: loaded.into(),
        host: HostBody {
            version: env!("CARGO_PKG_VERSION"),
            started_at: app.started_at,
            epoch: view.store.epoch(),
            newest_event,
            ready: reasons.is_empty(),
            reasons,
            warnings: view.store.warnings(),
        },
    }))
}
