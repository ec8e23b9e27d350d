//! The inputs of an action in one resource, in the order in which the action sees them.

use std::sync::Arc;

use crate::base::ArtifactId;
use crate::model::Artifact;

/// The maximum number of inputs in one list.
pub(super) const MAX_LIST: usize = 100_000;

/// The inputs in one resource, sorted by path and version. Inputs that the run claimed are not
/// copied.
pub(super) struct Inputs {
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
    pub(super) fn iter(&self) -> impl Iterator<Item = &Artifact> {
        self.order.iter().filter_map(|place| self.at(*place))
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
