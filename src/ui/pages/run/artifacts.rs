//! `/runs/{run}/artifacts`: what the run worked on, and what its actions read and wrote, as lists
//! and as a drawing.

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;

use super::overview::{Item, item};
use super::top::{self, Tab, Top};
use crate::base::ByteSize;
use crate::model::{AccessKind, Artifact, RunDetail};
use crate::scheduler::View;
use crate::store::{LineageEdge, PageRequest};
use crate::ui::Pages;
use crate::ui::page::{self, Params, Result};
use crate::ui::pages::lineage::{self, LineageView};

/// Inputs on a page of their list.
const INPUTS: u32 = 50;
/// Reads and writes on a page of their list, which shows the first of them at once. All are drawn.
const USES: u32 = 200;

#[derive(Debug, Serialize)]
struct Content {
    top: Top,
    inputs: Vec<Input>,
    inputs_count: u64,
    inputs_first: Option<String>,
    inputs_next: Option<String>,
    uses: Vec<Use>,
    uses_first: Option<String>,
    uses_next: Option<String>,
    lineage: Option<LineageView>,
}

#[derive(Debug, Serialize)]
struct Input {
    item: Item,
    /// Whether a person gave it to the run, which else has claimed it.
    given: bool,
}

/// What an attempt has read or written.
#[derive(Debug, Serialize)]
struct Use {
    item: Item,
    action: String,
    attempt: String,
    wrote: bool,
    bytes: String,
}

/// `GET /runs/{run}/artifacts`
pub(in crate::ui) async fn show(State(pages): State<Pages>, Path(name): Path<String>, uri: Uri) -> Response {
    let gathered = gather(&pages.view, &name, &uri).await;
    page::answer(&pages, gathered.map(|(detail, content)| (top::head(&detail, "run_artifacts.html"), content))).await
}

async fn gather(view: &View, name: &str, uri: &Uri) -> Result<(RunDetail, Content)> {
    let (detail, params) = (top::find(view, name).await?, Params::of(uri)?);
    let (run, number) = (detail.run.id, detail.run.number);
    let path = format!("/runs/{number}/artifacts");
    // Each list has a cursor of its own.
    let request = |name: &str, limit| PageRequest { cursor: params.text(name).map(str::to_owned), limit };
    let first = |name: &str| params.text(name).map(|_| params.link(&path, &[name], &[]));
    let next = |name: &str, cursor: Option<String>| cursor.map(|it| params.link(&path, &[name], &[(name, &it)]));
    let inputs = view.store.run_inputs(run, request("inputs", INPUTS)).await?;
    let uses = view.store.lineage(run, request("uses", USES)).await?;
    let has_all_uses = params.text("uses").is_none() && uses.next_cursor.is_none();
    let content = Content {
        top: Top::gather(view, &detail, Tab::Artifacts).await?,
        inputs_count: view.store.count_inputs(run).await?,
        inputs_first: first("inputs"),
        inputs_next: next("inputs", inputs.next_cursor),
        inputs: inputs.items.iter().map(|artifact| input(&detail, artifact)).collect(),
        uses_first: first("uses"),
        uses_next: next("uses", uses.next_cursor),
        uses: uses.items.iter().map(used).collect(),
        lineage: lineage::of_run(&detail.run, uses.items, has_all_uses),
    };
    Ok((detail, content))
}

fn input(detail: &RunDetail, artifact: &Artifact) -> Input {
    Input { item: item(artifact), given: artifact.is_given_to(detail.run.id) }
}

fn used(edge: &LineageEdge) -> Use {
    Use {
        item: item(&edge.artifact),
        action: edge.action.clone(),
        attempt: edge.attempt_id.to_string(),
        wrote: edge.kind == AccessKind::Wrote,
        bytes: ByteSize(edge.bytes).to_string(),
    }
}
