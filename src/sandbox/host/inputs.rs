//! What an action sees in a resource: its inputs, in their order, and what the run sees there. The
//! cache looks with the same functions as the guest.

use std::sync::Arc;

use crate::base::ArtifactId;
use crate::model::{Artifact, Listing, Page};
use crate::sandbox::order::AttemptOrder;
use crate::sandbox::services::Services;
use crate::store::{PageRequest, Result, SnapshotQuery};

/// The maximum number of inputs in one list.
pub(super) const MAX_LIST: usize = 100_000;

/// The inputs in one resource, sorted by path and version. Inputs that the run claimed are not
/// copied.
pub(in crate::sandbox) struct Inputs {
    resource: String,
    claimed: Arc<[Artifact]>,
    /// Artifacts that ancestors have published.
    made: Vec<Artifact>,
    /// Indices into `claimed` followed by `made`.
    order: Vec<usize>,
    /// The end of the last page: the next page most likely begins there.
    end: usize,
}

impl Inputs {
    /// Creates the inputs in `resource`: the artifacts of `claimed` in that resource, and `made`.
    pub(super) fn new(resource: &str, claimed: Arc<[Artifact]>, made: Vec<Artifact>) -> Self {
        let mut inputs = Self { resource: resource.to_owned(), claimed, made, order: Vec::new(), end: 0 };
        let all = inputs.claimed.iter().chain(&inputs.made).enumerate();
        let mut order: Vec<usize> =
            all.filter(|(_, artifact)| artifact.resource == resource).map(|(at, _)| at).collect();
        order.sort_by(|a, b| {
            let key = |place: &usize| inputs.at(*place).map(|artifact| (&artifact.path, artifact.version));
            key(a).cmp(&key(b))
        });
        order.dedup_by_key(|place| inputs.at(*place).map(|artifact| artifact.id));
        inputs.order = order;
        inputs
    }

    /// Returns the resource.
    pub(super) fn resource(&self) -> &str {
        &self.resource
    }

    /// Returns the number of inputs.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns all inputs, in order.
    pub(in crate::sandbox) fn iter(&self) -> impl Iterator<Item = &Artifact> {
        self.order.iter().filter_map(|place| self.at(*place))
    }

    /// Returns the list of all inputs, in short.
    pub(in crate::sandbox) fn listing(&self) -> Listing {
        Listing::of(self.iter())
    }

    /// Returns up to `limit` inputs after the one with the id `after`. Returns `None` if there is
    /// no such input.
    pub(super) fn page(&mut self, after: Option<ArtifactId>, limit: usize) -> Option<Vec<&Artifact>> {
        let start = match after {
            None => 0,
            Some(after) => self.behind(after)?,
        };
        self.end = start.saturating_add(limit).min(self.order.len());
        Some(self.order.iter().skip(start).take(limit).filter_map(|place| self.at(*place)).collect())
    }

    /// Returns the position after an input.
    fn behind(&self, id: ArtifactId) -> Option<usize> {
        let is =
            |at: usize| self.order.get(at).and_then(|place| self.at(*place)).is_some_and(|artifact| artifact.id == id);
        if self.end > 0 && is(self.end - 1) {
            return Some(self.end);
        }
        self.iter().position(|artifact| artifact.id == id).map(|at| at + 1)
    }

    fn at(&self, place: usize) -> Option<&Artifact> {
        self.claimed.get(place).or_else(|| self.made.get(place - self.claimed.len()))
    }
}

/// Returns the inputs of the action in a resource. They do not change during the attempt.
pub(in crate::sandbox) async fn inputs_of(services: &Services, order: &AttemptOrder, resource: &str) -> Result<Inputs> {
    let made = made_by_ancestors(services, order, resource).await?;
    Ok(Inputs::new(resource, Arc::clone(&order.inputs), made))
}

/// Returns the artifacts that the ancestors have published in a resource in this run.
pub(super) async fn made_by_ancestors(
    services: &Services,
    order: &AttemptOrder,
    resource: &str,
) -> Result<Vec<Artifact>> {
    if order.ancestors.is_empty() {
        return Ok(Vec::new());
    }
    services.store.outputs(order.run_id, resource, &order.ancestors).await
}

/// Returns what the run sees at a path.
pub(in crate::sandbox) async fn at_path(
    services: &Services,
    order: &AttemptOrder,
    resource: &str,
    path: &str,
) -> Result<Option<Artifact>> {
    let query = SnapshotQuery { path: Some(path.to_owned()), ..snapshot_of(order, resource) };
    let page = services.store.snapshot(query, PageRequest { cursor: None, limit: 1 }).await?;
    Ok(page.items.into_iter().next())
}

/// Returns what the run sees in a resource, at most `limit` artifacts, by path: those whose paths
/// begin with `prefix` and come after `after`.
pub(in crate::sandbox) async fn list(
    services: &Services,
    order: &AttemptOrder,
    resource: &str,
    prefix: Option<&str>,
    after: Option<&str>,
    limit: u32,
) -> Result<Page<Artifact>> {
    let [prefix, after] = [prefix, after].map(|text| text.map(str::to_owned));
    let query = SnapshotQuery { prefix, after, ..snapshot_of(order, resource) };
    services.store.snapshot(query, PageRequest { cursor: None, limit }).await
}

/// Returns the query for all that the run sees in a resource.
pub(super) fn snapshot_of(order: &AttemptOrder, resource: &str) -> SnapshotQuery {
    SnapshotQuery {
        run: order.run_id,
        resource: resource.to_owned(),
        actions: order.ancestors.clone(),
        prefix: None,
        after: None,
        path: None,
        artifact: None,
    }
}
