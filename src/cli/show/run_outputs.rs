//! The outputs of a run: the artifacts that it published, and the metrics that it logged.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Cell, Column, Table, styles};
use crate::base::{AttemptId, ByteSize, double};
use crate::model::{AccessKind, ArtifactState, Attempt, AttemptState, MetricRecord};
use crate::store::LineageEdge;

/// Most artifacts, and most metrics, that are shown one by one.
const MAX_SHOWN: usize = 20;

/// The outputs of a run.
#[derive(Debug, Default)]
pub(crate) struct RunOutputs {
    published: Vec<LineageEdge>,
    /// The last value of each metric of each action.
    metrics: Vec<MetricRecord>,
    seen: BTreeSet<(String, String)>,
}

impl RunOutputs {
    /// Creates it from the lineage of a run.
    pub(crate) fn of(lineage: Vec<LineageEdge>) -> Self {
        let mut outputs = Self::default();
        let mut known = BTreeSet::new();
        let wrote = lineage.into_iter().filter(|edge| edge.kind == AccessKind::Wrote);
        outputs.published.extend(wrote.filter(|edge| known.insert(edge.artifact.id)));
        outputs
    }

    /// Adds a page of its metrics, newest first: the first one with a name is the last value.
    pub(crate) fn take(&mut self, page: Vec<MetricRecord>) {
        for metric in page {
            if self.seen.insert((metric.action.clone(), metric.name.clone())) {
                self.metrics.push(metric);
            }
        }
    }

    /// The artifacts that it published, in that order.
    pub(crate) fn published(&self) -> &[LineageEdge] {
        &self.published
    }

    /// Formats artifacts and metrics as tables, for a terminal with `width` columns. Empty if there
    /// are none. What those of the `attempts` wrote that are publishing is committed, and not where
    /// it belongs yet.
    pub(super) fn shown(&self, attempts: &[Attempt], width: usize) -> String {
        let mut text = String::new();
        let publishing = attempts.iter().filter(|attempt| attempt.state == AttemptState::Publishing);
        let publishing: BTreeSet<AttemptId> = publishing.map(|attempt| attempt.id).collect();
        let (not_taken, taken): (Vec<_>, Vec<_>) =
            self.published.iter().partition(|edge| edge.artifact.state == ArtifactState::NotTaken);
        let (waiting, published): (Vec<_>, Vec<_>) =
            taken.into_iter().partition(|edge| publishing.contains(&edge.attempt_id));
        let resources: BTreeSet<&str> = waiting.iter().map(|edge| edge.artifact.resource.as_str()).collect();
        let waits = format!("Committed, waits for {}", resources.into_iter().collect::<Vec<_>>().join(", "));
        for (title, edges) in [("Published", published), (waits.as_str(), waiting), ("Not taken", not_taken)] {
            if !edges.is_empty() {
                let _ = write!(text, "\n{}\n", Cell::new(title).style(styles::STRONG));
                text.push_str(&artifacts_table(&edges, width));
            }
        }
        if !self.metrics.is_empty() {
            let _ = write!(text, "\n{}\n", Cell::new("Metrics").style(styles::STRONG));
            text.push_str(&self.metrics_table(width));
        }
        text
    }

    fn metrics_table(&self, width: usize) -> String {
        let columns = [("", Column::Text), ("", Column::Number), ("", Column::Word), ("", Column::Text)];
        let mut table = Table::new(&columns).indent(2);
        let mut metrics: Vec<&MetricRecord> = self.metrics.iter().collect();
        metrics.sort_by_key(|metric| metric.seq);
        for metric in metrics.into_iter().take(MAX_SHOWN) {
            table.row(vec![
                Cell::new(&metric.name),
                Cell::new(double::text(metric.value)),
                Cell::new(metric.step.map(|step| format!("at step {step}")).unwrap_or_default()),
                Cell::new(format!("by {}", metric.action)),
            ]);
        }
        table.render(width) + &and_more(self.metrics.len())
    }
}

fn artifacts_table(edges: &[&LineageEdge], width: usize) -> String {
    let columns = [("", Column::Path), ("", Column::Word), ("", Column::Number), ("", Column::Text)];
    let mut table = Table::new(&columns).indent(2);
    for LineageEdge { artifact, action, .. } in edges.iter().take(MAX_SHOWN) {
        table.row(vec![
            Cell::new(format!("{}/{}", artifact.resource, artifact.path)),
            Cell::new(format!("v{}", artifact.version)),
            Cell::new(ByteSize(artifact.size).to_string()),
            Cell::new(format!("by {action}")),
        ]);
    }
    table.render(width) + &and_more(edges.len())
}

fn and_more(all: usize) -> String {
    match all.checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
        Some(more) => format!("  {}\n", Cell::new(format!("… and {more} more")).style(styles::FAINT)),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::RunOutputs;
    use crate::base::{ArtifactId, RunId};
    use crate::model::{AccessKind, Artifact, ArtifactState, AttemptState, MetricRecord};
    use crate::store::LineageEdge;

    fn edge(path: &str, kind: AccessKind) -> LineageEdge {
        let artifact = Artifact { id: ArtifactId::new(), ..samples::artifact(path, 3, 12_288) };
        LineageEdge { attempt_id: samples::attempt_id(1), action: "train".to_owned(), kind, artifact, bytes: 5 }
    }

    fn metric(seq: u64, name: &str, value: f64) -> MetricRecord {
        MetricRecord {
            seq,
            run_id: RunId::new(),
            run_number: 7,
            action: "train".to_owned(),
            attempt_id: samples::attempt_id(1),
            succeeded: true,
            name: name.to_owned(),
            value,
            step: Some(seq),
            recorded_at: samples::at(1),
        }
    }

    #[test]
    fn outputs_and_last_metric_values_are_shown() {
        let wrote = edge("model.json", AccessKind::Wrote);
        let mut outputs = RunOutputs::of(vec![edge("read.csv", AccessKind::Read), wrote.clone(), wrote]);
        outputs.take(vec![metric(4, "accuracy", 0.976), metric(3, "loss", 0.25), metric(2, "loss", 0.5)]);
        let text = anstream::adapter::strip_str(&outputs.shown(&[], 80)).to_string();
        let tables = "\nPublished\n  data_store/model.json  v3  12 KiB  by train\n\n\
            Metrics\n  loss       0.25  at step 3  by train\n  accuracy  0.976  at step 4  by train\n";
        assert_eq!(text, tables);
        assert_eq!(RunOutputs::default().shown(&[], 80), "");
    }

    #[test]
    fn what_is_committed_and_not_delivered_is_not_called_published() {
        let (there, waits) = (edge("a.csv", AccessKind::Wrote), edge("b.csv", AccessKind::Wrote));
        let waits = LineageEdge { attempt_id: samples::attempt_id(2), ..waits };
        let outputs = RunOutputs::of(vec![there, waits]);
        let publishing = samples::attempt("train", 2, AttemptState::Publishing);
        let text = anstream::adapter::strip_str(&outputs.shown(&[publishing], 80)).to_string();
        let tables = "\nPublished\n  data_store/a.csv  v3  12 KiB  by train\n\n\
            Committed, waits for data_store\n  data_store/b.csv  v3  12 KiB  by train\n";
        assert_eq!(text, tables);
    }

    #[test]
    fn what_a_service_did_not_take_is_not_called_published() {
        let wrote = edge("a.csv", AccessKind::Wrote);
        let artifact = Artifact { state: ArtifactState::NotTaken, present: false, ..wrote.artifact };
        let outputs = RunOutputs::of(vec![LineageEdge { artifact, ..wrote }]);
        let text = anstream::adapter::strip_str(&outputs.shown(&[], 80)).to_string();
        assert_eq!(text, "\nNot taken\n  data_store/a.csv  v3  12 KiB  by train\n");
    }

    #[test]
    fn many_outputs_are_summarised() {
        let mut outputs = RunOutputs::of((0..23).map(|n| edge(&format!("{n}.csv"), AccessKind::Wrote)).collect());
        outputs.take((0..21).map(|n| metric(n, &format!("m{n}"), 1.0)).collect());
        let text = anstream::adapter::strip_str(&outputs.shown(&[], 80)).to_string();
        assert!(text.contains("  … and 3 more\n") && text.ends_with("  … and 1 more\n"), "{text}");
    }
}
