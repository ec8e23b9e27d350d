//! `/api/v1/pipeline`: the graph, and the state of the host.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::nodes::{NodeHead, heads};
use crate::base::{Digest, Timestamp};
use crate::http::App;
use crate::http::problem::Result;
use crate::http::query::Query;
use crate::manifest::{Join, Pipeline};
use crate::model::Pause;
use crate::scheduler::{InForce, SlotUse};

#[derive(Debug, Serialize)]
pub(super) struct PipelineBody {
    name: String,
    /// `running`, or `paused` if nothing new starts.
    state: &'static str,
    /// The resources and actions that are paused, including those that the manifest in force does
    /// not have.
    paused_nodes: Vec<Pause>,
    join: Join,
    max_concurrent_runs: u32,
    max_concurrent_actions: u32,
    /// How much of each named limit is used: `limit`, `in_use`, `waiting`.
    concurrency: BTreeMap<String, SlotUse>,
    params: Map<String, Value>,
    nodes: Vec<NodeHead>,
    /// The dependencies that `after` declares; data flows from `from` to `to`.
    edges: Vec<Edge>,
    loaded: LoadedBody,
    host: HostBody,
}

/// What the host has loaded: runs that start now use it. The files may have changed since.
#[derive(Debug, Serialize, Deserialize)]
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

#[derive(Debug, Serialize)]
struct Edge {
    from: String,
    to: String,
}

#[derive(Debug, Serialize)]
struct HostBody {
    version: &'static str,
    started_at: Timestamp,
    epoch: u64,
    newest_event: u64,
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
        state: if paused { "paused" } else { "running" },
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
