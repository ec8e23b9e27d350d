//! `/actions/{name}`: an action, what it may do, and what its attempts have used.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use super::attempts::{self, AttemptRow, Failure, LimitRow, Summary};
use super::graph::{self, GraphView};
use super::nodes::{NodeState, Now, missing};
use super::readme;
use crate::base::bounds::MAX_PAUSE_REASON_BYTES;
use crate::base::{ByteSize, Clock as _, SystemClock};
use crate::manifest::{ActionSpec, ComponentInfo, RunWhen};
use crate::model::NodeKind;
use crate::scheduler::View;
use crate::ui::page::{self, Head, Params, Result, Section};
use crate::ui::{Pages, text};

/// Attempts in the table.
const ATTEMPTS: u32 = 25;

#[derive(Debug, Serialize)]
struct Content {
    name: String,
    state: NodeState,
    is_paused: bool,
    max_reason: usize,
    /// The run in which it is most active, or else the newest one: the state is that of this run.
    run: Option<u64>,
    component: Component,
    /// What it is granted: a name, and the values.
    grants: Vec<(&'static str, Vec<String>)>,
    limits: Vec<LimitRow>,
    rules: Vec<(&'static str, String)>,
    params: Option<String>,
    graph: Option<GraphView>,
    summary: Summary,
    failures: Vec<Failure>,
    attempts: Vec<AttemptRow>,
    first: Option<String>,
    next: Option<String>,
    readme: Option<readme::Readme>,
}

#[derive(Debug, Serialize)]
struct Component {
    /// As written in the manifest.
    file: Option<String>,
    build: Option<String>,
    digest: Option<String>,
    size: Option<String>,
    languages: Vec<String>,
    tools: Vec<String>,
    imports: Vec<String>,
    exports: Vec<String>,
    world: Option<&'static str>,
    /// Its imports and exports with their types, or why they cannot be shown.
    wit: Option<Arc<str>>,
    no_wit: Option<String>,
}

/// `GET /actions/{name}`
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
    let mut head = Head::below(Section::Pipeline, "action.html", name);
    if let Some((status, why)) = refusal {
        head = head.refusing(status, why, path_of(name));
    }
    page::answer(pages, content.map(|content| (head, content))).await
}

fn path_of(name: &str) -> String {
    format!("/actions/{}", text::encoded(name))
}

async fn gather(pages: &Pages, name: &str, uri: Option<&Uri>) -> Result<Content> {
    let view = &pages.view;
    let pipeline = view.pipeline();
    let action = pipeline.action(name).ok_or_else(|| missing(NodeKind::Action, name))?;
    let query = uri.map(Params::of).transpose()?.unwrap_or_default();
    let at = SystemClock.now();
    let now = Now::look(view, &pipeline, at).await?;
    let seen = attempts::newest(view, name).await?;
    let page = view.store.action_attempts(name, query.page(ATTEMPTS)).await?;
    let path = path_of(name);
    let components = view.components();
    Ok(Content {
        name: name.to_owned(),
        state: now.action(action),
        is_paused: now.pause(NodeKind::Action, name).is_some(),
        max_reason: MAX_PAUSE_REASON_BYTES,
        run: now.seen(name).map(|seen| seen.run.run.number),
        component: component(view, action, components.get(name)).await,
        grants: grants(action),
        limits: attempts::limits(&action.limits, &seen),
        rules: rules(action),
        params: (!action.params.is_empty()).then(|| serde_json::to_string_pretty(&action.params).unwrap_or_default()),
        graph: graph::around(pages, &pipeline, &now, name).await,
        summary: attempts::summary(&seen, at),
        failures: attempts::failures(&seen),
        attempts: page.items.into_iter().map(|it| attempts::row(it, at)).collect(),
        first: query.text("cursor").map(|_| query.link(&path, &["cursor"], &[])),
        next: page.next_cursor.map(|cursor| query.link(&path, &["cursor"], &[("cursor", &cursor)])),
        readme: readme::find(&pipeline, action).await,
    })
}

async fn component(view: &View, action: &ActionSpec, info: Option<&ComponentInfo>) -> Component {
    let wit = view.wit(&action.name).await;
    let world = info.map(|info| match (info.is_command(), info.has_hooks()) {
        (true, _) => "command",
        (false, true) => "action with hooks",
        (false, false) => "action",
    });
    Component {
        file: view.written(&["actions", &action.name, "component"]),
        build: view.written(&["actions", &action.name, "build", "command"]),
        digest: info.map(|info| info.digest.to_string()),
        size: info.map(|info| ByteSize(info.size).to_string()),
        languages: info.map(|info| info.languages.clone()).unwrap_or_default(),
        tools: info.map(|info| info.tools.clone()).unwrap_or_default(),
        imports: info.map(|info| info.imports.clone()).unwrap_or_default(),
        exports: info.map(|info| info.exports.clone()).unwrap_or_default(),
        world,
        no_wit: wit.as_ref().and_then(|wit| wit.as_ref().err()).map(ToString::to_string),
        wit: wit.and_then(std::result::Result::ok),
    }
}

/// Returns what an action is granted. Of variables and secrets, only the names are shown.
fn grants(action: &ActionSpec) -> Vec<(&'static str, Vec<String>)> {
    let all = [
        ("reads", action.reads.clone()),
        ("writes", action.writes.clone()),
        ("http", action.http.iter().map(ToString::to_string).collect()),
        ("env", action.env.keys().cloned().collect()),
        ("secrets", action.secrets.keys().chain(action.header_secrets.keys()).cloned().collect()),
        ("uses", action.uses.clone()),
    ];
    all.into_iter().filter(|(_, names)| !names.is_empty()).collect()
}

/// Returns when an action runs, in a few lines.
fn rules(action: &ActionSpec) -> Vec<(&'static str, String)> {
    let mut rules = Vec::new();
    if !action.after.is_empty() {
        rules.push(("after", action.after.join(", ")));
    }
    let when = match action.run_when {
        RunWhen::AllSucceeded => None,
        RunWhen::AllDone => Some("when all before it have ended, however"),
        RunWhen::AnyFailed => Some("when one before it has failed"),
    };
    rules.extend(when.map(|when| ("runs", when.to_owned())));
    if action.retry.max_attempts > 1 {
        let backoff = action.retry.backoff;
        let tries = text::count(u64::from(action.retry.max_attempts), "try", "tries");
        rules.push(("retry", format!("{tries}, after {} to {}", text::span(backoff.first), text::span(backoff.max))));
    }
    if let Some(approval) = &action.approval {
        let until = approval.timeout.map(|span| format!(", within {}", text::span(span))).unwrap_or_default();
        rules.push(("approval", format!("by {}{until}", approval.who)));
    }
    if action.retrigger {
        rules.push(("retrigger", "its outputs are new in watched resources".to_owned()));
    }
    rules
}
