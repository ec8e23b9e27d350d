//! The runs that `anacostia trigger --inputs` starts.

use crate::base::bounds::MAX_GIVEN;
use crate::cli::dry_run::PlannedRun;
use crate::manifest::{Pipeline, Trigger};
use crate::model::Artifact;

/// Artifacts that share runs: those of one group of a resource with `group_by`, or all others.
type Share = Option<(String, Option<String>)>;

/// Distributes artifacts to runs, as the triggers of their resources do: a run for each group of a
/// resource with `group_by`, and one for its artifacts that are in no group. All others share runs.
/// No run has more artifacts than a request can name, and none that is about one resource more than
/// its `max_artifacts`.
pub(super) fn plan(pipeline: &Pipeline, selected: Vec<Artifact>) -> Vec<PlannedRun> {
    let trigger = |resource: &str| pipeline.resource(resource).map(|it| &it.trigger);
    let mut shares: Vec<(Share, Vec<Artifact>)> = Vec::new();
    for artifact in selected {
        let by = trigger(&artifact.resource).and_then(|it| it.group_by.as_ref());
        let share = by.map(|by| (artifact.resource.clone(), by.group(&artifact.path)));
        match shares.iter_mut().find(|(other, _)| *other == share) {
            Some((_, artifacts)) => artifacts.push(artifact),
            None => shares.push((share, vec![artifact])),
        }
    }
    let runs = shares.into_iter().flat_map(|(share, artifacts)| {
        let partition = share.and_then(|(_, group)| group);
        let size = size(&artifacts, trigger);
        let runs = artifacts.chunks(size).map(<[Artifact]>::to_vec).collect::<Vec<_>>();
        runs.into_iter().map(move |artifacts| PlannedRun { partition: partition.clone(), artifacts })
    });
    runs.collect()
}

/// Returns how many of these artifacts a run has at most.
fn size<'p>(artifacts: &[Artifact], trigger: impl Fn(&str) -> Option<&'p Trigger>) -> usize {
    let Some(first) = artifacts.first() else { return MAX_GIVEN };
    let is_about_one = artifacts.iter().all(|it| it.resource == first.resource);
    let most = trigger(&first.resource).filter(|_| is_about_one).and_then(|it| it.max_artifacts);
    most.map_or(MAX_GIVEN, |most| usize::try_from(most).unwrap_or(MAX_GIVEN).clamp(1, MAX_GIVEN))
}
