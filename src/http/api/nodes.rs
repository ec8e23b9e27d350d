//! `/api/v1/nodes`: the nodes of the graph, their state and their grants.
//!
//! Values of the manifest with `${…}` are shown unexpanded. Of environment variables and secrets,
//! only the names are shown.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use serde_json::{Map, Value};

use super::List;
use super::pauses::PausedBody;
use crate::base::{Digest, Endpoint, RunId};
use crate::http::App;
use crate::http::problem::{Problem, Result, shown};
use crate::http::query::{Query, Segment};
use crate::manifest::{ActionSpec, ComponentInfo, Condition, ResourceSpec, RunWhen};
use crate::model::{Durability, NodeKind, Pause, Pending, RunDetail};
use crate::resource::{Outage, Status, Waiting, WaitingPath};
use crate::scheduler::View;
use crate::store::{PageRequest, RunQuery};

/// The name of the metadata store among the nodes.
const STORE: &str = "metadata_store";

/// Fields that all kinds of node have.
#[derive(Debug, Clone, Serialize)]
pub(super) struct NodeHead {
    name: String,
    /// `metadata_store`, `resource` or `action`.
    #[serde(rename = "type")]
    node_type: &'static str,
    /// For a watched resource: `starting watching scanning unreachable reconciling`; for another:
    /// `unwatched`, or `unreachable` while outputs cannot be published there. For an action: its
    /// state in the newest run, or `idle` without a run. For the store: `ready`.
    state: String,
    /// Why it is in that state, if that is not obvious.
    reason: Option<String>,
    /// Since when and why it is paused, if it is.
    paused: Option<PausedBody>,
    after: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct NodeBody {
    #[serde(flatten)]
    head: NodeHead,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<StoreBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<ResourceBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<ActionBody>,
}

#[derive(Debug, Serialize)]
struct StoreBody {
    kind: &'static str,
    durability: Durability,
    epoch: u64,
    newest_event: u64,
    oldest_event: u64,
}

#[derive(Debug, Serialize)]
struct ResourceBody {
    kind: &'static str,
    /// As written in the manifest.
    path: Option<String>,
    include: Vec<String>,
    exclude: Vec<String>,
    /// The effective list: that of the manifest, or the default.
    ignore: Vec<String>,
    watch: bool,
    /// Absent if the resource is not watched.
    trigger: Option<TriggerBody>,
    /// The artifacts that wait for a run; absent if the resource is not watched.
    pending: Option<Pending>,
    /// Paths that were found and cannot be recorded yet; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<WaitingBody>,
    read_by: Vec<String>,
    written_by: Vec<String>,
}

#[derive(Debug, Serialize)]
struct WaitingBody {
    /// Number of such paths.
    count: u64,
    /// The first of them, at most 100.
    items: Vec<WaitingPath>,
}

#[derive(Debug, Serialize)]
struct TriggerBody {
    min_artifacts: u64,
    max_artifacts: Option<u64>,
    min_bytes: u64,
    quiet_for_ms: u64,
    max_wait_ms: Option<u64>,
    /// The pattern that puts artifacts into groups, each of which has its own runs.
    group_by: Option<String>,
    /// Further conditions, each in one line.
    when: Vec<String>,
    retrigger: bool,
}

#[derive(Debug, Serialize)]
struct ActionBody {
    component: ComponentBody,
    grants: GrantsBody,
    /// The named limits that it uses, see `concurrency` of the pipeline.
    uses: Vec<String>,
    limits: LimitsBody,
    retry: RetryBody,
    run_when: RunWhen,
    /// The approval that it needs before it starts.
    approval: Option<ApprovalBody>,
    retrigger: bool,
    params: Map<String, Value>,
    /// The run that `state` refers to.
    run: Option<RunRef>,
}

#[derive(Debug, Serialize)]
struct ApprovalBody {
    /// Who should decide.
    who: String,
    timeout_ms: Option<u64>,
}

#[derive(Debug, Serialize)]
struct ComponentBody {
    /// As written in the manifest.
    path: Option<String>,
    digest: Option<Digest>,
    /// Names of its imports.
    imports: Vec<String>,
    /// Whether it has functions that are called before and after each attempt: `interface hooks`.
    hooks: bool,
    /// Whether it is a command: a program that exports `wasi:cli/run` and no `action`.
    command: bool,
}

#[derive(Debug, Serialize)]
struct GrantsBody {
    reads: Vec<String>,
    writes: Vec<String>,
    /// Names only.
    env: Vec<String>,
    /// Names only.
    secrets: Vec<String>,
    /// Names of secrets that the host puts into a header of requests. They are not visible to the
    /// action.
    header_secrets: Vec<String>,
    /// Hosts that it may send requests to.
    http: Vec<Endpoint>,
}

#[derive(Debug, Serialize)]
struct LimitsBody {
    memory_bytes: u64,
    cpu_ms: u64,
    wall_ms: u64,
    output_bytes: u64,
    log_bytes: u64,
    handles: u32,
    metric_names: u32,
    http_body_bytes: u64,
    http_requests: u32,
    http_wait_ms: u64,
}

#[derive(Debug, Serialize)]
struct RetryBody {
    max_attempts: u32,
    backoff_ms: u64,
    max_backoff_ms: u64,
}

#[derive(Debug, Clone, Serialize)]
struct RunRef {
    id: RunId,
    number: u64,
}

/// `GET /api/v1/nodes`
pub(super) async fn list(State(app): State<App>, uri: Uri) -> Result<Json<List<NodeBody>>> {
    Query::parse(&uri, &[])?;
    let pipeline = app.view.pipeline();
    let live = Live::look(&app.view).await?;
    let mut items = vec![store_node(&app.view).await?];
    for resource in &pipeline.resources {
        items.push(resource_node(&app.view, &live, resource).await?);
    }
    items.extend(pipeline.actions.iter().map(|action| action_node(&app.view, &live, action)));
    Ok(Json(List::whole(items)))
}

/// `GET /api/v1/nodes/{name}`
pub(super) async fn show(State(app): State<App>, Segment(name): Segment, uri: Uri) -> Result<Json<NodeBody>> {
    Query::parse(&uri, &[])?;
    let view = &app.view;
    let pipeline = view.pipeline();
    let live = Live::look(view).await?;
    let node = if let Some(resource) = pipeline.resource(&name) {
        resource_node(view, &live, resource).await?
    } else if let Some(action) = pipeline.action(&name) {
        action_node(view, &live, action)
    } else if name == STORE {
        store_node(view).await?
    } else {
        let resources = pipeline.resources.iter().map(|resource| resource.name.as_str());
        let actions = pipeline.actions.iter().map(|action| action.name.as_str());
        return Err(Problem::not_found(format!("there is no node `{}`", shown(&name)))
            .choices(&name, [STORE].into_iter().chain(resources).chain(actions)));
    };
    Ok(Json(node))
}

/// Returns all nodes without their details.
pub(super) async fn heads(view: &View) -> Result<Vec<NodeHead>> {
    let pipeline = view.pipeline();
    let live = Live::look(view).await?;
    let resources = pipeline.resources.iter().map(|resource| resource_head(&live, resource));
    let actions = pipeline.actions.iter().map(|action| action_head(&live, action));
    Ok([store_head()].into_iter().chain(resources).chain(actions).collect())
}

/// The current state of the nodes.
struct Live {
    watches: BTreeMap<String, Status>,
    waiting: BTreeMap<String, Waiting>,
    /// What keeps outputs from being published.
    outages: Vec<Outage>,
    newest: Option<RunDetail>,
    pauses: Vec<Pause>,
}

impl Live {
    async fn look(view: &View) -> Result<Self> {
        let first = PageRequest { cursor: None, limit: 1 };
        let page = view.store.runs(RunQuery::default(), first).await?;
        let newest = match page.items.first() {
            Some(run) => view.store.run_progress(run.id).await?,
            None => None,
        };
        let pauses = view.store.paused_nodes().await?;
        let outages = view.control.outages().into_values().collect();
        let (watches, waiting) = (view.control.watches(), view.control.waiting());
        Ok(Self { watches, waiting, outages, newest, pauses })
    }

    fn pause(&self, kind: NodeKind, name: &str) -> Option<PausedBody> {
        self.pauses.iter().find(|pause| pause.kind == kind && pause.name == name).map(PausedBody::from)
    }
}

fn store_head() -> NodeHead {
    // This answer is read from the store, so the store works.
    NodeHead {
        name: STORE.to_owned(),
        node_type: "metadata_store",
        state: "ready".to_owned(),
        reason: None,
        paused: None,
        after: Vec::new(),
    }
}

async fn store_node(view: &View) -> Result<NodeBody> {
    let pipeline = view.pipeline();
    let newest_event = *view.store.newest_event().borrow();
    let store = StoreBody {
        kind: pipeline.store.kind(),
        durability: pipeline.durability,
        epoch: view.store.epoch(),
        newest_event,
        oldest_event: view.store.oldest_event().await?,
    };
    Ok(NodeBody { head: store_head(), store: Some(store), resource: None, action: None })
}

fn resource_head(live: &Live, resource: &ResourceSpec) -> NodeHead {
    let outage = live.outages.iter().find(|outage| outage.resource == resource.name);
    let (state, reason) = match (resource.watch, live.watches.get(&resource.name)) {
        (true, Some(Status::Unreachable(why))) => ("unreachable", Some(why.clone())),
        _ if let Some(outage) = outage => ("unreachable", Some(outage.to_string())),
        (false, _) => ("unwatched", None),
        (true, None) => ("starting", None),
        (true, Some(Status::Reconciling)) => ("reconciling", None),
        (true, Some(Status::Watching)) => ("watching", None),
        (true, Some(Status::Scanning(why))) => ("scanning", Some(why.clone())),
    };
    NodeHead {
        name: resource.name.clone(),
        node_type: "resource",
        state: state.to_owned(),
        reason,
        paused: live.pause(NodeKind::Resource, &resource.name),
        after: Vec::new(),
    }
}

async fn resource_node(view: &View, live: &Live, resource: &ResourceSpec) -> Result<NodeBody> {
    let pending = if resource.watch { Some(view.store.pending(&resource.name).await?) } else { None };
    let trigger = &resource.trigger;
    let pipeline = view.pipeline();
    let users = |uses: fn(&ActionSpec) -> &[String]| {
        let actions = pipeline.actions.iter();
        actions.filter(|action| uses(action).contains(&resource.name)).map(|action| action.name.clone()).collect()
    };
    let written = resource.location_keys().first().and_then(|key| view.written(&["resources", &resource.name, key]));
    let body = ResourceBody {
        kind: resource.kind(),
        path: written.map(|text| resource.shown(text)),
        include: resource.include().to_vec(),
        exclude: resource.exclude().to_vec(),
        ignore: resource.ignore().unwrap_or_default().to_vec(),
        watch: resource.watch,
        trigger: resource.watch.then(|| TriggerBody {
            min_artifacts: trigger.min_artifacts,
            max_artifacts: trigger.max_artifacts,
            min_bytes: trigger.min_bytes,
            quiet_for_ms: millis(trigger.quiet_for),
            max_wait_ms: trigger.max_wait.map(millis),
            group_by: trigger.group_by.as_ref().map(|by| by.as_str().to_owned()),
            when: trigger.when.iter().map(Condition::describe).collect(),
            retrigger: trigger.retrigger,
        }),
        pending,
        waiting: live
            .waiting
            .get(&resource.name)
            .map(|waiting| WaitingBody { count: waiting.count, items: waiting.paths.clone() }),
        read_by: users(|action| &action.reads),
        written_by: users(|action| &action.writes),
    };
    Ok(NodeBody { head: resource_head(live, resource), store: None, resource: Some(body), action: None })
}

fn action_head(live: &Live, action: &ActionSpec) -> NodeHead {
    let seen = live.newest.iter().flat_map(|run| &run.actions).find(|seen| seen.name == action.name);
    NodeHead {
        name: action.name.clone(),
        node_type: "action",
        state: seen.map_or("idle", |seen| seen.state.as_str()).to_owned(),
        reason: seen.and_then(|seen| seen.reason.clone()),
        paused: live.pause(NodeKind::Action, &action.name),
        after: action.after.clone(),
    }
}

fn action_node(view: &View, live: &Live, action: &ActionSpec) -> NodeBody {
    let limits = &action.limits;
    let components = view.components();
    let info = components.get(&action.name);
    let body = ActionBody {
        component: ComponentBody {
            path: view.written(&["actions", &action.name, "component"]),
            digest: info.map(|info| info.digest),
            imports: info.map(|info| info.imports.clone()).unwrap_or_default(),
            hooks: info.is_some_and(ComponentInfo::has_hooks),
            command: info.is_some_and(ComponentInfo::is_command),
        },
        grants: GrantsBody {
            reads: action.reads.clone(),
            writes: action.writes.clone(),
            env: action.env.keys().cloned().collect(),
            secrets: action.secrets.keys().cloned().collect(),
            header_secrets: action.header_secrets.keys().cloned().collect(),
            http: action.http.clone(),
        },
        uses: action.uses.clone(),
        limits: LimitsBody {
            memory_bytes: limits.memory_bytes,
            cpu_ms: millis(limits.cpu),
            wall_ms: millis(limits.wall),
            output_bytes: limits.output_bytes,
            log_bytes: limits.log_bytes,
            handles: limits.handles,
            metric_names: limits.metric_names,
            http_body_bytes: limits.http_body_bytes,
            http_requests: limits.http_requests,
            http_wait_ms: millis(limits.http_wait),
        },
        retry: RetryBody {
            max_attempts: action.retry.max_attempts,
            backoff_ms: millis(action.retry.backoff.first),
            max_backoff_ms: millis(action.retry.backoff.max),
        },
        run_when: action.run_when,
        approval: action
            .approval
            .as_ref()
            .map(|it| ApprovalBody { who: it.who.clone(), timeout_ms: it.timeout.map(millis) }),
        retrigger: action.retrigger,
        params: action.params.clone(),
        run: live.newest.as_ref().map(|detail| RunRef { id: detail.run.id, number: detail.run.number }),
    };
    NodeBody { head: action_head(live, action), store: None, resource: None, action: Some(body) }
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
