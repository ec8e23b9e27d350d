//! Artifacts as datasets of OpenLineage.

use serde_json::{Map, Value, json};

use super::facets;
use crate::manifest::{DatasetName, Pipeline};
use crate::model::{AccessKind, Artifact};
use crate::store::LineageEdge;

/// Returns an input or an output. `columns` are those of a table in a text file.
pub(super) fn dataset(pipeline: &Pipeline, namespace: &str, edge: &LineageEdge, columns: Option<&[String]>) -> Value {
    let artifact = &edge.artifact;
    let name = name(pipeline, namespace, artifact);
    let mut facets = Map::new();
    facets.insert("version".to_owned(), facets::version(artifact.version));
    facets.insert("dataSource".to_owned(), facets::data_source(&artifact.resource, name.source.as_deref()));
    let digest = artifact.digest.map(|digest| ("digest", digest.to_string()));
    let tags: Vec<_> = digest.into_iter().chain([("artifact", artifact.id.to_string())]).collect();
    facets.insert("tags".to_owned(), facets::dataset_tags(&tags));
    if let Some(columns) = columns {
        facets.insert("schema".to_owned(), facets::schema(columns));
    }
    let mut dataset = json!({ "namespace": name.namespace, "name": name.name, "facets": facets });
    let (key, statistics) = match edge.kind {
        AccessKind::Read => ("inputFacets", json!({ "inputStatistics": facets::input_statistics(edge.bytes) })),
        AccessKind::Wrote => ("outputFacets", json!({ "outputStatistics": facets::output_statistics(artifact.size) })),
    };
    if let Some(dataset) = dataset.as_object_mut() {
        dataset.insert(key.to_owned(), statistics);
    }
    dataset
}

/// Returns the name of an artifact. What the conventions have no name for has one of ours, as do
/// artifacts of a resource that is no longer in the manifest.
fn name(pipeline: &Pipeline, namespace: &str, artifact: &Artifact) -> DatasetName {
    let Artifact { resource, path, .. } = artifact;
    let found = pipeline.resource(resource).and_then(|spec| spec.dataset(path));
    found.unwrap_or_else(|| DatasetName {
        namespace: namespace.to_owned(),
        name: format!("{}.{resource}/{path}", pipeline.name),
        source: None,
    })
}
