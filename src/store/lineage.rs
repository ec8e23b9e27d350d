//! Walks the lineage of an artifact, from records that every store has.

use std::collections::{BTreeMap, BTreeSet};

use super::{ArtifactUse, LineageEdge, MetadataStore, PageRequest, Result};
use crate::base::bounds::MAX_PAGE;
use crate::base::{ArtifactId, AttemptId, RunId};
use crate::model::{AccessKind, Artifact, Lineage, LineageAttempt, LineageLink};

/// Most attempts between an artifact and the end of a walk.
pub const MAX_LINEAGE_DEPTH: u32 = 20;
/// Most attempts of a walk.
const MAX_ATTEMPTS: usize = 100;
/// Most artifacts of a walk.
const MAX_ARTIFACTS: usize = 500;

/// The direction of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineageSide {
    /// What the artifact was made from.
    Before,
    /// What was made from the artifact.
    After,
}

impl LineageSide {
    /// Returns how an attempt uses the artifacts that it is reached from.
    const fn entered_by(self) -> AccessKind {
        match self {
            Self::Before => AccessKind::Wrote,
            Self::After => AccessKind::Read,
        }
    }

    /// Returns how an attempt uses the artifacts to which it leads.
    const fn left_by(self) -> AccessKind {
        match self {
            Self::Before => AccessKind::Read,
            Self::After => AccessKind::Wrote,
        }
    }
}

/// Returns the lineage of an artifact on these sides, over at most `depth` attempts in a row on
/// each. `None` if the artifact is not on record.
///
/// A large lineage is cut: see [`Lineage::more`]. Of a run with more than 1,000 reads and writes,
/// only the first are looked at.
///
/// # Errors
/// Returns an error if the store cannot be read.
pub async fn walk_lineage(
    store: &dyn MetadataStore,
    id: ArtifactId,
    sides: &[LineageSide],
    depth: u32,
) -> Result<Option<Lineage>> {
    let Some(artifact) = store.artifact(id).await? else { return Ok(None) };
    let mut walk = Walk { store, runs: BTreeMap::new(), found: Found::default(), more: false };
    walk.found.add_artifact(&artifact);
    for side in sides {
        walk.follow(id, *side, depth).await?;
    }
    let Found { artifacts, attempts, edges, .. } = walk.found;
    Ok(Some(Lineage { artifact: id, depth, more: walk.more, artifacts, attempts, edges }))
}

/// What a walk has found, each thing once.
#[derive(Debug, Default)]
struct Found {
    artifacts: Vec<Artifact>,
    attempts: Vec<LineageAttempt>,
    edges: Vec<LineageLink>,
    known_artifacts: BTreeSet<ArtifactId>,
    known_attempts: BTreeSet<AttemptId>,
    known_edges: BTreeSet<(AttemptId, ArtifactId, bool)>,
}

impl Found {
    /// Adds an artifact. Returns `false` if there is no room for it.
    fn add_artifact(&mut self, artifact: &Artifact) -> bool {
        if self.known_artifacts.contains(&artifact.id) {
            return true;
        }
        if self.artifacts.len() == MAX_ARTIFACTS {
            return false;
        }
        self.known_artifacts.insert(artifact.id);
        self.artifacts.push(artifact.clone());
        true
    }

    /// Adds the attempt of a use. Returns `false` if there is no room for it.
    fn add_attempt(&mut self, used: &ArtifactUse) -> bool {
        let ArtifactUse { run_id, run_number, attempt_id: id, ref action, .. } = *used;
        if self.known_attempts.contains(&id) {
            return true;
        }
        if self.attempts.len() == MAX_ATTEMPTS {
            return false;
        }
        self.known_attempts.insert(id);
        self.attempts.push(LineageAttempt { id, run_id, run_number, action: action.clone() });
        true
    }

    fn add_edge(&mut self, attempt: AttemptId, artifact: ArtifactId, kind: AccessKind, bytes: u64) {
        if self.known_edges.insert((attempt, artifact, kind == AccessKind::Wrote)) {
            self.edges.push(LineageLink { attempt, artifact, kind, bytes });
        }
    }
}

#[derive(Debug)]
struct Walk<'a> {
    store: &'a dyn MetadataStore,
    /// The reads and writes of the runs that were met.
    runs: BTreeMap<RunId, Vec<LineageEdge>>,
    found: Found,
    more: bool,
}

impl Walk<'_> {
    /// Walks breadth first, so that what is near is found before the walk is full.
    async fn follow(&mut self, from: ArtifactId, side: LineageSide, depth: u32) -> Result<()> {
        let mut frontier = vec![from];
        let mut followed = BTreeSet::from([from]);
        for step in 0..=depth {
            let mut next = Vec::new();
            for artifact in frontier {
                for used in self.users(artifact, side).await? {
                    if step == depth || !self.found.add_attempt(&used) {
                        self.more = true;
                        continue;
                    }
                    self.found.add_edge(used.attempt_id, artifact, used.kind, used.bytes);
                    for reached in self.reached(&used, side).await? {
                        if followed.insert(reached) {
                            next.push(reached);
                        }
                    }
                }
            }
            frontier = next;
        }
        Ok(())
    }

    /// Returns the uses through which the walk goes on from an artifact.
    async fn users(&mut self, artifact: ArtifactId, side: LineageSide) -> Result<Vec<ArtifactUse>> {
        if side == LineageSide::Before {
            return Ok(self.store.writer(artifact).await?.into_iter().collect());
        }
        let page = self.store.uses(artifact, PageRequest { cursor: None, limit: MAX_PAGE }).await?;
        self.more |= page.next_cursor.is_some();
        Ok(page.items.into_iter().filter(|used| used.kind == side.entered_by()).collect())
    }

    /// Adds the artifacts to which an attempt leads, and returns them.
    async fn reached(&mut self, used: &ArtifactUse, side: LineageSide) -> Result<Vec<ArtifactId>> {
        if !self.runs.contains_key(&used.run_id) {
            let page = self.store.lineage(used.run_id, PageRequest { cursor: None, limit: MAX_PAGE }).await?;
            self.more |= page.next_cursor.is_some();
            self.runs.insert(used.run_id, page.items);
        }
        let mut reached = Vec::new();
        for edge in self.runs.get(&used.run_id).into_iter().flatten() {
            if edge.attempt_id != used.attempt_id || edge.kind != side.left_by() {
                continue;
            }
            if self.found.add_artifact(&edge.artifact) {
                self.found.add_edge(edge.attempt_id, edge.artifact.id, edge.kind, edge.bytes);
                reached.push(edge.artifact.id);
            } else {
                self.more = true;
            }
        }
        Ok(reached)
    }
}
