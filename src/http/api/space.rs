//! `/api/v1/gc`: frees disk space.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::control::read;
use crate::base::Freed;
use crate::http::App;
use crate::http::problem::Result;
use crate::http::query::Query;
use crate::scheduler::FreedSpace;

/// The body of a request to free disk space. An empty body counts as an empty object.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = GcRequest)]
#[serde(deny_unknown_fields)]
pub(crate) struct GcBody {
    /// Whether to remove nothing, and only say what would be removed.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// What was removed, or would be.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Freed)]
pub(crate) struct FreedBody {
    /// Whether nothing was removed.
    pub(crate) dry_run: bool,
    /// Records of old runs.
    pub(crate) records: RecordsBody,
    /// Stored components.
    pub(crate) components: FilesBody,
    /// Segments of the log.
    pub(crate) logs: FilesBody,
    /// Compiled code.
    pub(crate) compiled_code: FilesBody,
}

/// How many records of old runs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = FreedRecords)]
pub(crate) struct RecordsBody {
    /// Runs with all that belongs to them.
    pub(crate) runs: u64,
    /// Runs that stay for the sake of lineage, and lose their metrics, recorded params, network
    /// requests and denied calls.
    pub(crate) trimmed_runs: u64,
    /// Attempts.
    pub(crate) attempts: u64,
    /// Reads and writes of artifacts.
    pub(crate) accesses: u64,
    /// Metrics.
    pub(crate) metrics: u64,
    /// Params that actions recorded.
    pub(crate) params: u64,
    /// Tags of runs.
    pub(crate) tags: u64,
    /// Denied calls.
    pub(crate) denials: u64,
    /// Network requests.
    pub(crate) requests: u64,
}

/// How many files, and their bytes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = FreedFiles)]
pub(crate) struct FilesBody {
    /// Number of files.
    pub(crate) files: u64,
    /// Their size.
    pub(crate) bytes: u64,
}

impl From<Freed> for FilesBody {
    fn from(Freed { files, bytes }: Freed) -> Self {
        Self { files, bytes }
    }
}

impl FreedBody {
    /// Returns the body for what was freed.
    pub(crate) fn new(dry_run: bool, freed: FreedSpace) -> Self {
        let FreedSpace { runs, components, logs, compiled_code } = freed;
        let records = RecordsBody {
            runs: runs.runs,
            trimmed_runs: runs.trimmed,
            attempts: runs.attempts,
            accesses: runs.accesses,
            metrics: runs.metrics,
            params: runs.params,
            tags: runs.tags,
            denials: runs.denials,
            requests: runs.requests,
        };
        Self { dry_run, records, components: components.into(), logs: logs.into(), compiled_code: compiled_code.into() }
    }
}

/// `POST /api/v1/gc`
pub(super) async fn free(State(app): State<App>, uri: Uri, headers: HeaderMap, body: Body) -> Result<Json<FreedBody>> {
    Query::parse(&uri, &[])?;
    let GcBody { dry_run } = read(&app, &headers, body).await?;
    let freed = app.view.control.give_back(dry_run).await?;
    Ok(Json(FreedBody::new(dry_run, freed)))
}
