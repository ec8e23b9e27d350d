//! The lineage of an artifact as two trees: what it was made from, and what was made from it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Cell, plural, state_mark, styles};
use crate::base::{ArtifactId, AttemptId};
use crate::model::{AccessKind, Artifact, Lineage, LineageAttempt};

/// Most artifacts that are shown below an attempt.
const MAX_SHOWN: usize = 10;

/// Shows a lineage. `before` and `after` say which trees the walk has followed.
pub(crate) fn lineage_trees(lineage: &Lineage, before: bool, after: bool) -> String {
    let mut text = String::new();
    if let Some(artifact) = artifact(lineage, lineage.artifact) {
        let name = Cell::new(named(artifact)).style(styles::STRONG);
        let _ = writeln!(text, "{name} {}", state_mark(artifact.state.as_str()));
    }
    let trees = [
        (before, "Made from", AccessKind::Wrote, "nothing: no action wrote it"),
        (after, "Used by", AccessKind::Read, "nothing so far"),
    ];
    for (_, title, kind, nothing) in trees.into_iter().filter(|(wanted, ..)| *wanted) {
        let mut tree = Tree { lineage, kind, shown: BTreeSet::new(), text: String::new() };
        tree.add(lineage.artifact, 1);
        if tree.text.is_empty() {
            let _ = writeln!(tree.text, "  {}", Cell::new(nothing).style(styles::FAINT));
        }
        let _ = write!(text, "\n{}\n{}", Cell::new(title).style(styles::STRONG), tree.text);
    }
    if lineage.more {
        let note = "There is more than this: a larger `--depth`, or the lineage of another artifact, shows it.";
        let _ = writeln!(text, "\n{}", Cell::new(note).style(styles::FAINT));
    }
    text
}

fn artifact(lineage: &Lineage, id: ArtifactId) -> Option<&Artifact> {
    lineage.artifacts.iter().find(|artifact| artifact.id == id)
}

fn named(artifact: &Artifact) -> String {
    format!("{}/{} v{}", artifact.resource, artifact.path, artifact.version)
}

/// One of the trees while it is written.
struct Tree<'a> {
    lineage: &'a Lineage,
    /// How attempts use the artifact above them.
    kind: AccessKind,
    /// The attempts that are shown already.
    shown: BTreeSet<AttemptId>,
    text: String,
}

impl Tree<'_> {
    /// Adds what is below an artifact.
    fn add(&mut self, artifact: ArtifactId, depth: usize) {
        let lineage = self.lineage;
        for attempt in &lineage.attempts {
            let uses = |edge: &&_| is_edge(edge, attempt.id, self.kind);
            if lineage.edges.iter().filter(uses).any(|edge| edge.artifact == artifact) {
                self.add_attempt(attempt, depth);
            }
        }
    }

    fn add_attempt(&mut self, attempt: &LineageAttempt, depth: usize) {
        let title = format!("run #{} {}", attempt.run_number, attempt.action);
        let is_new = self.shown.insert(attempt.id);
        let note = if is_new { "" } else { " (see above)" };
        let _ = writeln!(self.text, "{:indent$}{}{note}", "", Cell::new(title), indent = depth * 2);
        if !is_new {
            return;
        }
        let other = if self.kind == AccessKind::Read { AccessKind::Wrote } else { AccessKind::Read };
        let edges = self.lineage.edges.iter().filter(|edge| is_edge(edge, attempt.id, other));
        let reached: Vec<_> = edges.filter_map(|edge| artifact(self.lineage, edge.artifact)).collect();
        for artifact in reached.iter().take(MAX_SHOWN) {
            let name = Cell::new(named(artifact));
            let _ = writeln!(self.text, "{:indent$}{name}", "", indent = depth * 2 + 2);
            self.add(artifact.id, depth + 2);
        }
        if let Some(left) = reached.len().checked_sub(MAX_SHOWN).filter(|left| *left > 0) {
            let note = format!("… and {} more", plural(left as u64, "artifact"));
            let _ =
                writeln!(self.text, "{:indent$}{}", "", Cell::new(note).style(styles::FAINT), indent = depth * 2 + 2);
        }
    }
}

fn is_edge(edge: &crate::model::LineageLink, attempt: AttemptId, kind: AccessKind) -> bool {
    edge.attempt == attempt && edge.kind == kind
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::lineage_trees;
    use crate::base::{ArtifactId, RunId};
    use crate::model::{AccessKind, Artifact, Lineage, LineageAttempt, LineageLink};

    /// A table made of two files, and a model and a report made of the table.
    fn lineage(more: bool) -> Lineage {
        let artifacts: Vec<Artifact> =
            [("table.csv", 2), ("raw/a.csv", 1), ("raw/b.csv", 4), ("model", 1), ("report", 1)]
                .map(|(path, version)| Artifact { id: ArtifactId::new(), ..samples::artifact(path, version, 12_288) })
                .to_vec();
        let attempt = |n, run_number, action: &str| LineageAttempt {
            id: samples::attempt_id(n),
            run_id: RunId::new(),
            run_number,
            action: action.to_owned(),
        };
        let edge = |attempt, artifact: usize, kind| LineageLink {
            attempt: samples::attempt_id(attempt),
            artifact: artifacts[artifact].id,
            kind,
            bytes: 5,
        };
        let (read, wrote) = (AccessKind::Read, AccessKind::Wrote);
        let edges = vec![
            edge(1, 0, wrote),
            edge(1, 1, read),
            edge(1, 2, read),
            edge(2, 0, read),
            edge(2, 3, wrote),
            edge(3, 0, read),
            edge(3, 3, read),
            edge(3, 4, wrote),
        ];
        let attempts = vec![attempt(1, 7, "join"), attempt(2, 8, "train"), attempt(3, 8, "evaluate")];
        Lineage { artifact: artifacts[0].id, depth: 3, more, artifacts, attempts, edges }
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_lineage_is_shown_as_two_trees() {
        insta::assert_snapshot!(plain(&lineage_trees(&lineage(true), true, true)));
    }

    #[test]
    fn an_artifact_that_nobody_wrote_or_read_says_so() {
        let mut lineage = lineage(false);
        lineage.edges.clear();
        insta::assert_snapshot!(plain(&lineage_trees(&lineage, true, true)));
    }
}
