//! The lineage of an artifact on its page: a drawing, and the same as a list.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::{ArtifactId, ByteSize};
use crate::graph::layout::Layout;
use crate::graph::picture::{Link, Picture, PictureEdge, PictureKind, PictureNode};
use crate::model::{AccessKind, Artifact, Lineage, LineageAttempt};
use crate::scheduler::View;
use crate::store::{LineageSide, MAX_LINEAGE_DEPTH, walk_lineage};
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
    Ok(lineage.filter(|lineage| !lineage.attempts.is_empty()).map(|lineage| shown(&lineage)))
}

fn shown(lineage: &Lineage) -> LineageView {
    let drawn = drawn_artifacts(lineage);
    let (picture, faces) = picture(lineage, &drawn);
    let Drawing { picture, right, down } = Drawing::of(picture);
    let draw = |layout: Option<&Layout>| layout.map(|layout| draw(&picture, layout, &faces, &[], "Lineage"));
    let is_longest = lineage.depth >= MAX_LINEAGE_DEPTH;
    let longer =
        format!("{}?depth={}#lineage", artifact_address(lineage.artifact), (lineage.depth * 2).min(MAX_LINEAGE_DEPTH));
    LineageView {
        right: draw(right.as_ref()),
        down: draw(down.as_ref()),
        rows: lineage.attempts.iter().map(|attempt| row(lineage, attempt)).collect(),
        left_out: lineage.artifacts.len() - drawn.len(),
        longer: (lineage.more && !is_longest).then_some(longer),
        is_cut: lineage.more && is_longest,
    }
}

/// Returns the artifacts that are drawn: of the leaves of an attempt only some, because a run may
/// have thousands of inputs.
fn drawn_artifacts(lineage: &Lineage) -> Vec<&Artifact> {
    let mut edges: BTreeMap<ArtifactId, usize> = BTreeMap::new();
    for edge in &lineage.edges {
        *edges.entry(edge.artifact).or_default() += 1;
    }
    let mut leaves = BTreeMap::new();
    let mut has_room = |artifact: &Artifact| {
        if artifact.id == lineage.artifact || edges.get(&artifact.id).is_some_and(|count| *count > 1) {
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
fn picture(lineage: &Lineage, artifacts: &[&Artifact]) -> (Picture, Vec<NodeFace>) {
    let node = |kind, name: &str| PictureNode { kind, name: name.to_owned() };
    let mut nodes: Vec<_> = artifacts.iter().map(|it| node(PictureKind::Resource, file_name(it))).collect();
    nodes.extend(lineage.attempts.iter().map(|it| node(PictureKind::Action, &it.action)));
    let mut faces: Vec<_> = artifacts.iter().map(|it| artifact_face(it, it.id == lineage.artifact)).collect();
    faces.extend(lineage.attempts.iter().map(attempt_face));
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

fn attempt_face(attempt: &LineageAttempt) -> NodeFace {
    let LineageAttempt { run_number, action, .. } = attempt;
    NodeFace {
        href: format!("/runs/{run_number}"),
        icon: "gear",
        tone: "ok",
        state: format!("run {run_number}"),
        title: format!("{action} in run {run_number}"),
        ..NodeFace::default()
    }
}

fn row(lineage: &Lineage, attempt: &LineageAttempt) -> AttemptRow {
    let used = |kind: AccessKind| {
        let edges = lineage.edges.iter().filter(|edge| edge.attempt == attempt.id && edge.kind == kind);
        let artifacts = edges.filter_map(|edge| lineage.artifacts.iter().find(|it| it.id == edge.artifact));
        let used = artifacts.map(|it| Used {
            name: format!("{}/{} version {}", it.resource, it.path, it.version),
            href: artifact_address(it.id),
            is_here: it.id == lineage.artifact,
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
