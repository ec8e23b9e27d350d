//! Lineage, from one artifact over several runs.

use super::World;
use super::fixtures::*;
use crate::base::ArtifactId;
use crate::model::{Access, AccessKind, AttemptState, Lineage, StagedFile};
use crate::store::{AttemptEnd, Intent, LineageSide, MetadataStore, NewRun, RunStep, Visible, walk_lineage};

/// Runs an attempt that reads one artifact and writes a file.
async fn made_from(store: &dyn MetadataStore, read: ArtifactId, file: StagedFile) {
    let (_, fence) = started(store, NewRun { claims: Vec::new(), ..new_run() }).await;
    let read = Access { artifact_id: read, kind: AccessKind::Read, bytes: 7, calls: 1, digest: None };
    let wrote = Access { artifact_id: file.artifact_id, kind: AccessKind::Wrote, bytes: 5, calls: 1, digest: None };
    let ended = AttemptEnd { accesses: vec![read, wrote], ..end(AttemptState::Succeeded) };
    store.publish_intent(fence, Intent { end: ended, ..intent(vec![file]) }, at(40)).await.unwrap();
    store.published(fence, Visible::default(), RunStep::default(), at(50)).await.unwrap();
}

/// The paths of a lineage, sorted, its numbers of runs and of edges, and whether it goes on.
fn summary(lineage: &Lineage) -> (Vec<&str>, Vec<u64>, usize, bool) {
    let mut paths: Vec<_> = lineage.artifacts.iter().map(|it| it.path.as_str()).collect();
    let mut runs: Vec<_> = lineage.attempts.iter().map(|it| it.run_number).collect();
    paths.sort_unstable();
    runs.sort_unstable();
    (paths, runs, lineage.edges.len(), lineage.more)
}

pub(super) async fn lineage_leads_over_runs_in_both_directions(world: &mut World) {
    use LineageSide::{After, Before};
    let store = world.store().as_ref();
    record(store, vec![present("a", "A"), present("other", "O")]).await;
    let input = artifacts_at(store, "raw", "a").await[0].id;
    let files = ["b", "c", "d"].map(|name| staged("models", name, name, false));
    let [b, c, d] = files.clone().map(|file| file.artifact_id);
    for (read, file) in [input, b, b].into_iter().zip(files) {
        made_from(store, read, file).await;
    }
    let walk = async |id, sides: &[LineageSide], depth| walk_lineage(store, id, sides, depth).await.unwrap().unwrap();

    let of_b = walk(b, &[Before, After], 3).await;
    assert_eq!(summary(&of_b), (vec!["a", "b", "c", "d"], vec![1, 2, 3], 6, false));
    assert_eq!((of_b.artifact, of_b.depth, of_b.artifacts[0].id), (b, 3, b));
    let wrote = of_b.edges.iter().find(|edge| edge.artifact == b && edge.kind == AccessKind::Wrote).unwrap();
    assert_eq!((wrote.attempt, wrote.bytes), (of_b.attempts[0].id, 5));
    assert_eq!(summary(&walk(b, &[Before], 3).await), (vec!["a", "b"], vec![1], 2, false));
    assert_eq!(summary(&walk(b, &[After], 3).await), (vec!["b", "c", "d"], vec![2, 3], 4, false));
    assert_eq!(summary(&walk(input, &[Before, After], 1).await), (vec!["a", "b"], vec![1], 2, true), "it goes on");
    assert_eq!(summary(&walk(c, &[Before], 2).await), (vec!["a", "b", "c"], vec![1, 2], 4, false));
    assert!(walk_lineage(store, ArtifactId::new(), &[Before], 1).await.unwrap().is_none());

    let writer = store.writer(d).await.unwrap().unwrap();
    assert_eq!((writer.run_number, writer.kind, writer.bytes), (3, AccessKind::Wrote, 5));
    assert_eq!(store.writer(input).await.unwrap(), None, "no action wrote it");
    assert_eq!(store.writer(ArtifactId::new()).await.unwrap(), None);
}
