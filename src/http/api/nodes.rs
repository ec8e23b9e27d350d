//! `/api/v1/nodes`: the nodes of the graph, their state and their grants.
//!
//! Values of the manifest with `${…}` are shown unexpanded. Of environment variables and secrets,
//! only the names are shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

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

/// Which kind of node it is.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum NodeType {
    MetadataStore,
    Resource,
    Action,
}

/// What all kinds of node have.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct NodeHead {
    /// Its name in the manifest; `metadata_store` for the store.
    name: String,
    /// Its kind.
    #[serde(rename = "type")]
    node_type: NodeType,
    /// For a watched resource: `starting watching scanning unreachable reconciling`; for another:
    /// `unwatched`, or `unreachable` while outputs cannot be published there. For an action: its
    /// state in the newest run, or `idle` without a run. For the store: `ready`.
    state: String,
    /// Why it is in that state, if that is not obvious.
    #[schema(required)]
    reason: Option<String>,
    /// Since when and why it is paused, if it is.
    #[schema(required)]
    paused: Option<PausedBody>,
    /// The resources and actions before it.
    after: Vec<String>,
}

/// A node of the graph. It has one of `store`, `resource` and `action`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Node)]
pub(super) struct NodeBody {
    #[serde(flatten)]
    head: NodeHead,
    /// Of the metadata store.
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<StoreBody>,
    /// Of a resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<ResourceBody>,
    /// Of an action.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<ActionBody>,
}

/// The metadata store.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StoreNode)]
struct StoreBody {
    /// Its kind, such as `sqlite`.
    kind: &'static str,
    /// What may be lost in a power cut.
    durability: Durability,
    /// How many hosts have opened it, this one included.
    epoch: u64,
    /// The sequence number of the newest event.
    newest_event: u64,
    /// The sequence number of the oldest event that is kept.
    oldest_event: u64,
}

/// A resource, as the manifest has it, and what waits in it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ResourceNode)]
struct ResourceBody {
    /// Its kind, such as `folder`.
    kind: &'static str,
    /// Where it is, as written in the manifest.
    #[schema(required)]
    path: Option<String>,
    /// Patterns of the paths that are artifacts.
    include: Vec<String>,
    /// Patterns of the paths that are none.
    exclude: Vec<String>,
    /// Patterns of paths that are not looked at: those of the manifest, or the default.
    ignore: Vec<String>,
    /// Whether it is watched.
    watch: bool,
    /// Its trigger, if it is watched.
    #[schema(required)]
    trigger: Option<TriggerBody>,
    /// The artifacts that wait for a run, if it is watched.
    #[schema(required)]
    pending: Option<Pending>,
    /// Paths that were found and cannot be recorded yet, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<WaitingBody>,
    /// The actions that may read it.
    read_by: Vec<String>,
    /// The actions that may write to it.
    written_by: Vec<String>,
}

/// Paths that cannot be recorded yet.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WaitingPaths)]
struct WaitingBody {
    /// Number of such paths.
    count: u64,
    /// The first of them.
    #[schema(max_items = 100)]
    items: Vec<WaitingPath>,
}

/// When a watched resource starts runs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Trigger)]
struct TriggerBody {
    /// How many new artifacts it waits for.
    min_artifacts: u64,
    /// The most artifacts that one run gets.
    #[schema(required)]
    max_artifacts: Option<u64>,
    /// How many bytes of new artifacts it waits for.
    min_bytes: u64,
    /// For how long nothing new may have come, in milliseconds.
    quiet_for_ms: u64,
    /// How long artifacts wait at most, in milliseconds.
    #[schema(required)]
    max_wait_ms: Option<u64>,
    /// The pattern that puts artifacts into groups, each of which has its own runs.
    #[schema(required)]
    group_by: Option<String>,
    /// Further conditions, each in one line.
    when: Vec<String>,
    /// Whether runs that it led to count for its own conditions.
    retrigger: bool,
}

/// An action, as the manifest has it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ActionNode)]
struct ActionBody {
    /// What runs.
    component: ComponentBody,
    /// What it may use.
    grants: GrantsBody,
    /// The named limits that it uses, see `concurrency` of the pipeline.
    uses: Vec<String>,
    /// Its limits.
    limits: LimitsBody,
    /// How it is tried again.
    retry: RetryBody,
    /// When it runs, given how those before it ended.
    run_when: RunWhen,
    /// The approval that it needs before it starts, if it needs one.
    #[schema(required)]
    approval: Option<ApprovalBody>,
    /// Whether its outputs count as new in watched resources, so that they trigger runs.
    retrigger: bool,
    /// Its params.
    params: Map<String, Value>,
    /// The run that `state` refers to.
    #[schema(required)]
    run: Option<RunRef>,
}

/// The approval that an action needs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApprovalRule)]
struct ApprovalBody {
    /// Who should decide.
    who: String,
    /// How long it waits, in milliseconds; without end if absent.
    #[schema(required)]
    timeout_ms: Option<u64>,
}

/// A WebAssembly component.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Component)]
struct ComponentBody {
    /// Its file, as written in the manifest.
    #[schema(required)]
    path: Option<String>,
    /// Its digest, once it is loaded.
    #[schema(required)]
    digest: Option<Digest>,
    /// Names of its imports.
    imports: Vec<String>,
    /// Its imports and exports with their types, as WIT: in the answer about one node, if WIT can
    /// say them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    wit: Option<Arc<str>>,
    /// Whether it has functions that are called before and after each attempt: `interface hooks`.
    hooks: bool,
    /// Whether it is a command: a program that exports `wasi:cli/run` and no `action`.
    command: bool,
}

/// What an action may use.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Grants)]
struct GrantsBody {
    /// Resources that it may read.
    reads: Vec<String>,
    /// Resources that it may write to.
    writes: Vec<String>,
    /// Names of its environment variables.
    env: Vec<String>,
    /// Names of its secrets.
    secrets: Vec<String>,
    /// Names of secrets that the host puts into a header of requests. They are not visible to the
    /// action.
    header_secrets: Vec<String>,
    /// Hosts that it may send requests to.
    http: Vec<Endpoint>,
}

/// The limits of an attempt.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Limits)]
struct LimitsBody {
    /// Memory, in bytes.
    memory_bytes: u64,
    /// Time on a CPU, in milliseconds.
    cpu_ms: u64,
    /// Time from start to end, in milliseconds.
    wall_ms: u64,
    /// Bytes that it may write to resources.
    output_bytes: u64,
    /// Bytes of log lines.
    log_bytes: u64,
    /// Things that it may have open at once.
    handles: u32,
    /// Different names of metrics.
    metric_names: u32,
    /// Bytes of the bodies of its requests and their answers.
    http_body_bytes: u64,
    /// Network requests.
    http_requests: u32,
    /// Time that it may wait for answers, in milliseconds.
    http_wait_ms: u64,
}

/// How an action is tried again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Retry)]
struct RetryBody {
    /// How often it is tried at most.
    max_attempts: u32,
    /// The wait after the first failure, in milliseconds.
    backoff_ms: u64,
    /// The longest wait, in milliseconds.
    max_backoff_ms: u64,
}

/// A run, by its names.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct RunRef {
    /// Its id.
    id: RunId,
    /// Its number.
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
        let mut node = action_node(view, &live, action);
        if let Some(body) = &mut node.action {
            body.component.wit = view.wit(&name).await.and_then(std::result::Result::ok);
        }
        node
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
        node_type: NodeType::MetadataStore,
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
        node_type: NodeType::Resource,
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
        node_type: NodeType::Action,
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
            wit: None,
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
