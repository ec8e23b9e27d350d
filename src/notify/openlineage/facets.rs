//! The facets of OpenLineage events, each with the version of the schema that it keeps to.

use serde_json::{Value, json};

/// Who makes the events.
pub(super) const PRODUCER: &str = concat!("urn:anacostia:", env!("CARGO_PKG_VERSION"));
/// The schema of an event.
pub(super) const EVENT_SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";

/// The name of this program in facets that ask for one in capitals.
const INTEGRATION: &str = "ANACOSTIA";

/// Returns a facet with these fields, which is defined as `name` in this version.
fn facet(version: &str, name: &str, mut fields: Value) -> Value {
    if let Some(fields) = fields.as_object_mut() {
        let schema = format!("https://openlineage.io/spec/facets/{version}/{name}.json#/$defs/{name}");
        fields.insert("_producer".to_owned(), PRODUCER.into());
        fields.insert("_schemaURL".to_owned(), schema.into());
    }
    fields
}

/// `parent` of a run. It is the root too.
pub(super) fn parent(run_id: &str, job: &Value) -> Value {
    let run = json!({ "runId": run_id });
    facet("1-1-0", "ParentRunFacet", json!({ "run": run, "job": job, "root": { "run": run, "job": job } }))
}

/// `errorMessage` of a run.
pub(super) fn error_message(message: &str) -> Value {
    facet("1-0-1", "ErrorMessageRunFacet", json!({ "message": message, "programmingLanguage": "WebAssembly" }))
}

/// `processingEngine` of a run.
pub(super) fn processing_engine() -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let fields = json!({ "name": "Anacostia", "version": version, "openlineageAdapterVersion": version });
    facet("1-1-1", "ProcessingEngineRunFacet", fields)
}

/// `jobType` of a job.
pub(super) fn job_type(kind: &str) -> Value {
    let fields = json!({ "processingType": "BATCH", "integration": INTEGRATION, "jobType": kind });
    facet("2-0-3", "JobTypeJobFacet", fields)
}

/// `tags` of a run.
pub(super) fn run_tags(tags: &[(&str, String)]) -> Value {
    facet("1-0-0", "TagsRunFacet", json!({ "tags": tag_list(tags) }))
}

/// `tags` of a dataset.
pub(super) fn dataset_tags(tags: &[(&str, String)]) -> Value {
    facet("1-0-0", "TagsDatasetFacet", json!({ "tags": tag_list(tags) }))
}

fn tag_list(tags: &[(&str, String)]) -> Vec<Value> {
    tags.iter().map(|(key, value)| json!({ "key": key, "value": value, "source": INTEGRATION })).collect()
}

/// `version` of a dataset.
pub(super) fn version(version: u64) -> Value {
    facet("1-0-1", "DatasetVersionDatasetFacet", json!({ "datasetVersion": version.to_string() }))
}

/// `dataSource` of a dataset.
pub(super) fn data_source(name: &str, uri: Option<&str>) -> Value {
    let mut fields = json!({ "name": name });
    if let (Some(fields), Some(uri)) = (fields.as_object_mut(), uri) {
        fields.insert("uri".to_owned(), uri.into());
    }
    facet("1-0-1", "DatasourceDatasetFacet", fields)
}

/// `schema` of a dataset. Types of columns are not known.
pub(super) fn schema(columns: &[String]) -> Value {
    let fields: Vec<Value> = columns.iter().map(|name| json!({ "name": name })).collect();
    facet("1-2-0", "SchemaDatasetFacet", json!({ "fields": fields }))
}

/// `inputStatistics` of an input.
pub(super) fn input_statistics(bytes: u64) -> Value {
    facet("1-0-0", "InputStatisticsInputDatasetFacet", json!({ "size": bytes, "fileCount": 1 }))
}

/// `outputStatistics` of an output.
pub(super) fn output_statistics(bytes: u64) -> Value {
    facet("1-0-2", "OutputStatisticsOutputDatasetFacet", json!({ "size": bytes, "fileCount": 1 }))
}
