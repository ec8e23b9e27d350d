//! Checks whether what an earlier attempt has asked has the same answers for another one, with the
//! functions that answer guests.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;

use super::host::inputs::{self, Inputs};
use super::host::metadata::{digest_of_metrics, earlier_metrics};
use super::order::AttemptOrder;
use super::services::Services;
use crate::base::{ArtifactId, Digest, escape};
use crate::model::{Access, AccessKind, Artifact, Dependency, Listing};
use crate::store::Result;

/// The answers that an attempt would get.
pub struct Recheck<'a> {
    order: &'a AttemptOrder,
    services: &'a Services,
    /// The inputs in each resource that was looked at, by path.
    inputs: BTreeMap<String, Known>,
}

struct Known {
    by_path: BTreeMap<String, Vec<(ArtifactId, Option<Digest>)>>,
    listing: Listing,
}

/// What stands for the reads of an earlier attempt.
#[derive(Debug, Default)]
pub struct Same {
    /// The reads, of artifacts that this attempt sees.
    pub reads: Vec<Access>,
    /// The artifacts that this attempt sees in place of those that were opened.
    pub ids: BTreeMap<ArtifactId, ArtifactId>,
}

impl<'a> Recheck<'a> {
    /// Begins to look with the eyes of an attempt.
    #[must_use]
    pub fn new(order: &'a AttemptOrder, services: &'a Services) -> Self {
        Self { order, services, inputs: BTreeMap::new() }
    }

    /// Returns a digest over all inputs.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn inputs_digest(&mut self) -> Result<Digest> {
        let mut all = String::new();
        for resource in &self.order.reads {
            let Listing { versions, content } = self.known(resource).await?.listing;
            let _ = writeln!(all, "{resource} {}", content.unwrap_or(versions));
        }
        Ok(Digest::of(all.as_bytes()))
    }

    /// Checks all dependencies of an earlier attempt. Returns what stands for its reads, or which
    /// has another answer now.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn check(&mut self, dependencies: &[Dependency]) -> Result<std::result::Result<Same, String>> {
        let mut same = Same::default();
        // They begin with the artifacts that were opened, because the name of a file that has
        // changed says more than that a list has.
        for dependency in dependencies {
            match dependency {
                Dependency::Opened { resource, path, id, digest, bytes, calls } => {
                    let Some(artifact_id) = self.opened(resource, path, (*id, *digest)).await? else {
                        return Ok(Err(format!("it read {}, which has changed", place(resource, path))));
                    };
                    same.ids.insert(*id, artifact_id);
                    if *calls > 0 {
                        let (bytes, calls) = (*bytes, *calls);
                        same.reads.push(Access { artifact_id, kind: AccessKind::Read, bytes, calls, digest: None });
                    }
                }
                other => {
                    if let Some(why) = self.differs(other).await? {
                        return Ok(Err(why));
                    }
                }
            }
        }
        Ok(Ok(same))
    }

    /// Returns why a dependency that is no read has another answer now, if it has.
    async fn differs(&mut self, dependency: &Dependency) -> Result<Option<String>> {
        let (order, services) = (self.order, self.services);
        Ok(match dependency {
            Dependency::Opened { .. } => None,
            Dependency::Absent { resource, path } => {
                let there = inputs::at_path(services, order, resource, path).await?.is_some();
                there.then(|| format!("{} was not there, and is now", place(resource, path)))
            }
            Dependency::Inputs { resource, listing } => {
                let is_same = self.known(resource).await?.listing.is_same(listing);
                (!is_same).then(|| format!("its inputs in `{resource}` are others"))
            }
            Dependency::List { resource, prefix, after, limit, listing } => {
                let found =
                    inputs::list(services, order, resource, prefix.as_deref(), after.as_deref(), *limit).await?;
                let is_same = Listing::of(found.items.iter()).is_same(listing);
                (!is_same).then(|| format!("it listed `{resource}`, which has changed"))
            }
            Dependency::Metrics { name, limit, values } => {
                let found = earlier_metrics(&*services.store, Some(order.run_number), name, *limit).await?;
                let name = escape(name.as_bytes());
                (digest_of_metrics(&found) != *values)
                    .then(|| format!("it read the metric `{name}` of earlier runs, which has changed"))
            }
        })
    }

    /// Returns the artifact at a path that has the same content as one that was opened there.
    async fn opened(
        &mut self,
        resource: &str,
        path: &str,
        was: (ArtifactId, Option<Digest>),
    ) -> Result<Option<ArtifactId>> {
        let is_same = |(id, digest): (ArtifactId, Option<Digest>)| id == was.0 || (digest.is_some() && digest == was.1);
        let known = self.known(resource).await?.by_path.get(path);
        if let Some((id, _)) = known.into_iter().flatten().copied().find(|it| is_same(*it)) {
            return Ok(Some(id));
        }
        let there = inputs::at_path(self.services, self.order, resource, path).await?;
        Ok(there.filter(|there| is_same((there.id, there.digest))).map(|there| there.id))
    }

    async fn known(&mut self, resource: &str) -> Result<&Known> {
        Ok(match self.inputs.entry(resource.to_owned()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let inputs = inputs::inputs_of(self.services, self.order, resource).await?;
                place.insert(Known { by_path: by_path(&inputs), listing: inputs.listing() })
            }
        })
    }
}

fn by_path(inputs: &Inputs) -> BTreeMap<String, Vec<(ArtifactId, Option<Digest>)>> {
    let mut by_path: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for Artifact { path, id, digest, .. } in inputs.iter() {
        by_path.entry(path.clone()).or_default().push((*id, *digest));
    }
    by_path
}

/// Returns a place in a resource, for a sentence.
fn place(resource: &str, path: &str) -> String {
    format!("`{resource}/{}`", escape(path.as_bytes()))
}
