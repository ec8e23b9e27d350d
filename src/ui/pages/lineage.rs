//! The lineage of an artifact or of a run on its page: a drawing, and the same as a list.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::{ArtifactId, ByteSize};
use crate::graph::layout::Layout;
use crate::graph::picture::{Link, Picture, PictureEdge, PictureKind, PictureNode};
use crate::model::{AccessKind, Artifact, Lineage, LineageAttempt, LineageLink, Run};
use crate::scheduler::View;
use crate::store::{LineageEdge, LineageSide, MAX_LINEAGE_DEPTH, walk_lineage};
use crate::ui::drawings::Drawing;
use crate::ui::page::{Params, Refusal, Result};
use crate::ui::svg::graph::{NodeFace, draw};
use crate::ui::text::artifact_address;
use crate::ui::tone;

/// How many attempts in a row are shown at first.
const DEPTH: u32 = 2;
/// Most artifacts of one attempt that are drawn, of those to which nothing else is connected.
const MAX_LEAVES: usize = 6;

/// What the page shows of a lineage.
#[derive(Debug, Serialize)]
pub(super) struct LineageView {
    right: Option<String>,
    down: Option<String>,
    rows: Vec<AttemptRow>,
    /// How many artifacts are in the list alone.
    left_out: usize,
    /// The address of the same page with a longer lineage, if there may be more.
    longer: Option<String>,
    /// Whether the lineage goes on, and this page cannot show more of it.
    is_cut: bool,
}

/// The nodes and edges of a lineage.
struct Parts {
    /// The artifact that the page is about, if it is about one.
    here: Option<ArtifactId>,
    artifacts: Vec<Artifact>,
    attempts: Vec<LineageAttempt>,
    edges: Vec<LineageLink>,
}

/// An attempt, with what it read and wrote.
#[derive(Debug, Serialize)]
struct AttemptRow {
    run: u64,
    action: String,
    read: Vec<Used>,
    wrote: Vec<Used>,
}

#[derive(Debug, Serialize)]
struct Used {
    name: String,
    href: String,
    is_here: bool,
}

/// Returns the lineage of an artifact, or `None` if nothing has used it.
pub(super) async fn gather(view: &View, id: ArtifactId, params: &Params) -> Result<Option<LineageView>> {
    let depth = match params.text("depth").map(str::parse) {
        None => DEPTH,
        Some(Ok(depth)) if (1..=MAX_LINEAGE_DEPTH).contains(&depth) => depth,
        Some(_) => return Err(Refusal::Invalid(format!("The depth of a lineage is 1 to {MAX_LINEAGE_DEPTH}."))),
    };
    let sides = [LineageSide::Before, LineageSide::After];
    let lineage = walk_lineage(view.store.as_ref(), id, &sides, depth).await?;
    Ok(lineage.filter(|lineage| !lineage.attempts.is_empty()).map(of_artifact))
}

fn of_artifact(lineage: Lineage) -> LineageView {
    let Lineage { artifact, depth, more, artifacts, attempts, edges } = lineage;
    let is_longest = depth >= MAX_LINEAGE_DEPTH;
    let longer = format!("{}?depth={}#lineage", artifact_address(artifact), (depth * 2).min(MAX_LINEAGE_DEPTH));
    LineageView {
        longer: (more && !is_longest).then_some(longer),
        is_cut: more && is_longest,
        ..shown(&Parts { here: Some(artifact), artifacts, attempts, edges })
    }
}

/// Returns what the attempts of a run have read and written: all of it, or a page. `None` if they
/// have used nothing.
pub(super) fn of_run(run: &Run, uses: Vec<LineageEdge>, is_all: bool) -> Option<LineageView> {
    let mut parts = Parts { here: None, artifacts: Vec::new(), attempts: Vec::new(), edges: Vec::new() };
    for edge in uses {
        let LineageEdge { attempt_id: attempt, action, kind, artifact, bytes } = edge;
        parts.edges.push(LineageLink { attempt, artifact: artifact.id, kind, bytes });
        if !parts.attempts.iter().any(|known| known.id == attempt) {
            parts.attempts.push(LineageAttempt { id: attempt, run_id: run.id, run_number: run.number, action });
        }
        if !parts.artifacts.iter().any(|known| known.id == artifact.id) {
            parts.artifacts.push(artifact);
        }
    }
    (!parts.edges.is_empty()).then(|| LineageView { is_cut: !is_all, ..shown(&parts) })
}

fn shown(parts: &Parts) -> LineageView {
    let drawn = drawn_artifacts(parts);
    let (picture, faces) = picture(parts, &drawn);
    let Drawing { picture, right, down } = Drawing::of(picture);
    let draw = |layout: Option<&Layout>| layout.map(|layout| draw(&picture, layout, &faces, &[], "Lineage"));
    LineageView {
        right: draw(right.as_ref()),
        down: draw(down.as_ref()),
        rows: parts.attempts.iter().map(|attempt| row(parts, attempt)).collect(),
        left_out: parts.artifacts.len() - drawn.len(),
        longer: None,
        is_cut: false,
    }
}

/// Returns the artifacts that are drawn: of the leaves of an attempt only some, because a run may
/// have thousands of inputs.
fn drawn_artifacts(lineage: &Parts) -> Vec<&Artifact> {
    let mut edges: BTreeMap<ArtifactId, usize> = BTreeMap::new();
    for edge in &lineage.edges {
        *edges.entry(edge.artifact).or_default() += 1;
    }
    let mut leaves = BTreeMap::new();
    let mut has_room = |artifact: &Artifact| {
        if lineage.here == Some(artifact.id) || edges.get(&artifact.id).is_some_and(|count| *count > 1) {
            return true;
        }
        let edge = lineage.edges.iter().find(|edge| edge.artifact == artifact.id);
        let Some(edge) = edge else { return false };
        let count = leaves.entry((edge.attempt, edge.kind == AccessKind::Wrote)).or_insert(0_usize);
        *count += 1;
        *count <= MAX_LEAVES
    };
    lineage.artifacts.iter().filter(|artifact| has_room(artifact)).collect()
}

/// Returns the picture, with how its nodes look.
fn picture(lineage: &Parts, artifacts: &[&Artifact]) -> (Picture, Vec<NodeFace>) {
    let node = |kind, name: &str| PictureNode { kind, name: name.to_owned() };
    let mut nodes: Vec<_> = artifacts.iter().map(|it| node(PictureKind::Resource, file_name(it))).collect();
    nodes.extend(lineage.attempts.iter().map(|it| node(PictureKind::Action, &it.action)));
    let mut faces: Vec<_> = artifacts.iter().map(|it| artifact_face(it, lineage.here == Some(it.id))).collect();
    faces.extend(lineage.attempts.iter().map(|it| attempt_face(it, lineage.here.is_none())));
    let edges = lineage.edges.iter().filter_map(|edge| {
        let artifact = artifacts.iter().position(|it| it.id == edge.artifact)?;
        let attempt = artifacts.len() + lineage.attempts.iter().position(|it| it.id == edge.attempt)?;
        Some(match edge.kind {
            AccessKind::Read => PictureEdge { from: artifact, to: attempt, link: Link::Reads },
            AccessKind::Wrote => PictureEdge { from: attempt, to: artifact, link: Link::Writes },
        })
    });
    (Picture { edges: edges.collect(), nodes, ..Picture::default() }, faces)
}

/// Returns the last part of a path, which tells artifacts of one resource apart best.
fn file_name(artifact: &Artifact) -> &str {
    artifact.path.rsplit('/').next().unwrap_or(&artifact.path)
}

fn artifact_face(artifact: &Artifact, is_here: bool) -> NodeFace {
    let Artifact { resource, path, version, state, size, .. } = artifact;
    NodeFace {
        href: artifact_address(artifact.id),
        icon: "file",
        tone: tone::of_artifact(*state),
        state: format!("version {version}"),
        note: resource.clone(),
        title: format!("{path} in {resource}, version {version}, {state}, {}", ByteSize(*size)),
        progress: None,
        is_here,
    }
}

/// On the page of its run, an attempt leads to its log.
fn attempt_face(attempt: &LineageAttempt, is_of_page: bool) -> NodeFace {
    let LineageAttempt { id, run_number, action, .. } = attempt;
    let of_run = format!("/runs/{run_number}");
    NodeFace {
        href: if is_of_page { format!("{of_run}/logs?attempt={id}") } else { of_run },
        icon: "gear",
        tone: "ok",
        state: format!("run {run_number}"),
        title: format!("{action} in run {run_number}"),
        ..NodeFace::default()
    }
}

fn row(lineage: &Parts, attempt: &LineageAttempt) -> AttemptRow {
    let used = |kind: AccessKind| {
        let edges = lineage.edges.iter().filter(|edge| edge.attempt == attempt.id && edge.kind == kind);
        let artifacts = edges.filter_map(|edge| lineage.artifacts.iter().find(|it| it.id == edge.artifact));
        let used = artifacts.map(|it| Used {
            name: format!("{}/{} version {}", it.resource, it.path, it.version),
            href: artifact_address(it.id),
            is_here: lineage.here == Some(it.id),
        });
        used.collect()
    };
    AttemptRow {
        run: attempt.run_number,
        action: attempt.action.clone(),
        read: used(AccessKind::Read),
        wrote: used(AccessKind::Wrote),
    }
}
