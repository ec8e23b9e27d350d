//! The input of an attempt and its result.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::base::{Digest, Endpoint, RunId};
use crate::manifest::Limits;
use crate::model::{
    Access, Artifact, ArtifactTag, Denial, Dependency, Entry, Fence, HttpRequest, Influence, LogPosition, Outcome,
    Recording, StagedFile, Usage,
};
use crate::resource::SqlGrant;

/// Everything that an executor needs to run an attempt. It serializes to JSON without loss, so that
/// executors can run on other machines later. Secrets are given by name, never by value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptOrder {
    /// The pipeline's name.
    pub pipeline: String,
    /// The run.
    pub run_id: RunId,
    /// The run's number.
    pub run_number: u64,
    /// Why the run started, as text for people.
    pub trigger: String,
    /// The action.
    pub action: String,
    /// 1 for the first attempt of the action in the run.
    pub number: u32,
    /// The fence that gives the right to write records of the attempt.
    pub fence: Fence,
    /// The artifacts that the run claimed, in all resources, as they were when the run was started.
    #[serde(with = "stamped")]
    pub inputs: Arc<[Artifact]>,
    /// The component, which is already loaded into the sandbox.
    pub component: Digest,
    /// The merged params, a JSON object as text.
    pub params: String,
    /// Resources that the action may read.
    pub reads: Vec<String>,
    /// Resources that the action may write to.
    pub writes: Vec<String>,
    /// What the action may do with each database that it may read or write.
    #[serde(default)]
    pub databases: BTreeMap<String, SqlGrant>,
    /// All direct and indirect ancestors that may publish. Their outputs in this run are visible to
    /// the action.
    pub ancestors: Vec<String>,
    /// The arguments of a command, without its name. Empty for other actions.
    #[serde(default)]
    pub args: Vec<String>,
    /// The input that a command's standard input reads, `RESOURCE` or `RESOURCE/GLOB`.
    #[serde(default)]
    pub stdin: Option<String>,
    /// The environment variables of the action.
    pub env: BTreeMap<String, String>,
    /// The secrets of the action: the name that the action sees, and the variable of the host's
    /// environment that holds the value.
    pub secrets: BTreeMap<String, String>,
    /// Hosts that the action may send requests to.
    pub http: Vec<Endpoint>,
    /// Secrets that the host adds to the action's requests. The action never sees them.
    pub header_secrets: Vec<HeaderSecret>,
    /// The limits of the action.
    pub limits: Limits,
    /// If the action is cached: what it may use although it is not on record. The host then notes
    /// what the result depends on.
    #[serde(default)]
    pub cache: Option<Vec<Influence>>,
    /// What an earlier attempt was told, if this is its replay.
    #[serde(default)]
    pub replay: Option<Recording>,
}

/// Serializes artifacts with their stamps. An executor needs the stamp to recognize the content;
/// the HTTP API does not show it.
mod stamped {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::model::Artifact;

    #[derive(Serialize)]
    struct Borrowed<'a> {
        artifact: &'a Artifact,
        stamp: &'a str,
    }

    #[derive(Deserialize)]
    struct Owned {
        artifact: Artifact,
        stamp: String,
    }

    pub(super) fn serialize<S: Serializer>(inputs: &[Artifact], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(inputs.iter().map(|artifact| Borrowed { artifact, stamp: &artifact.stamp }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[Artifact]>, D::Error> {
        let inputs = Vec::<Owned>::deserialize(deserializer)?;
        Ok(inputs.into_iter().map(|Owned { artifact, stamp }| Artifact { stamp, ..artifact }).collect())
    }
}

/// The result of an attempt. The staged files are complete but not visible; the receiver publishes
/// or discards them.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptReport {
    /// The outcome of the guest's work.
    pub outcome: Outcome,
    /// Resource usage.
    pub usage: Usage,
    /// Accesses to artifacts.
    pub accesses: Vec<Access>,
    /// Denied calls, at most [`MAX_DENIALS`].
    pub denials: Vec<Denial>,
    /// HTTP requests: the first [`MAX_REQUESTS`].
    pub requests: Vec<HttpRequest>,
    /// Tags to put on artifacts.
    pub tags: Vec<ArtifactTag>,
    /// What the result depends on, if the action is cached.
    pub trace: Option<Trace>,
    /// What the attempt was told by its clocks, and the seed of its random numbers.
    pub recording: Recording,
    /// Finished staged files. Empty unless `outcome` is `Done` or `Skip`.
    pub staged: Vec<StagedFile>,
    /// The end position of the attempt's log.
    pub log_to: LogPosition,
    /// Why lines of its log could not be written, if any could not. The outcome is `HandedBack`
    /// then, unless the run was cancelled: the host was in trouble, and not the attempt.
    pub log_lost: Option<String>,
}

/// What the result of an attempt depends on, as the host has seen it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    /// What it has asked, and the answers.
    pub dependencies: Vec<Dependency>,
    /// What it has used that is not on record.
    pub used: Vec<Influence>,
    /// The tags that it has put on its run.
    pub run_tags: Vec<Entry>,
    /// Why the result cannot be told from what is on record, if it cannot.
    pub irregular: Option<String>,
}

/// The maximum number of denials that are recorded for one attempt.
pub const MAX_DENIALS: usize = 100;
/// The maximum number of HTTP requests that are recorded for one attempt. The attempt's usage
/// counts all of them.
pub const MAX_REQUESTS: usize = 100;

/// A secret that the host adds to one header of requests to one host. Given by name, never by
/// value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderSecret {
    /// Its name in the manifest.
    pub name: String,
    /// The variable of the host's environment that holds the value.
    pub variable: String,
    /// The header, in lower case.
    pub header: String,
    /// The only host that receives it.
    pub endpoint: Endpoint,
    /// A prefix for the value, such as `Bearer `.
    pub prefix: String,
}

/// Whether an attempt should continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stop {
    /// The attempt continues.
    #[default]
    No,
    /// The run is being cancelled. The guest is notified, and is stopped after [`CANCEL_GRACE`].
    /// The attempt ends as `Cancelled`.
    Cancel,
    /// The host is shutting down. The guest is stopped at once, and the attempt ends as
    /// `HandedBack`.
    HandBack,
}

/// How long a guest may continue after it was notified that its run is being cancelled.
pub const CANCEL_GRACE: std::time::Duration = std::time::Duration::from_secs(3);

/// Tells an attempt to stop.
pub type StopSignal = watch::Receiver<Stop>;

/// The progress that an attempt reports. It is not stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// From 0 to 1.
    pub fraction: f64,
    /// A message for people, escaped and masked.
    pub message: String,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::{ArtifactId, AttemptId, Timestamp};
    use crate::model::ArtifactState;
    use crate::resource::SqlTables;

    #[test]
    fn an_order_round_trips() {
        let input = Artifact {
            id: ArtifactId::new(),
            resource: "raw".to_owned(),
            path: "a.csv".to_owned(),
            version: 2,
            digest: Some(Digest::of(b"a")),
            size: 1,
            state: ArtifactState::Current,
            reason: None,
            run_id: Some(RunId::new()),
            produced_by: None,
            created_at: Timestamp::from_micros(1),
            tags: vec!["gold".to_owned()],
            present: true,
            stamp: "2049:17:1".to_owned(),
        };
        let secret = HeaderSecret {
            name: "token".to_owned(),
            variable: "TOKEN".to_owned(),
            header: "authorization".to_owned(),
            endpoint: "example.org".parse().unwrap(),
            prefix: "Bearer ".to_owned(),
        };
        let order = AttemptOrder {
            inputs: vec![input].into(),
            reads: vec!["raw".to_owned()],
            databases: BTreeMap::from([("lab".to_owned(), SqlGrant { read: SqlTables::All, ..SqlGrant::default() })]),
            stdin: Some("raw/*.csv".to_owned()),
            env: BTreeMap::from([("A".to_owned(), "1".to_owned())]),
            http: vec![secret.endpoint.clone()],
            header_secrets: vec![secret],
            cache: Some(vec![Influence::Clock]),
            replay: Some(Recording { seed: Some([1, u64::MAX]), ..Recording::default() }),
            ..order()
        };
        let sent = serde_json::to_string(&order).unwrap();
        assert_eq!(serde_json::from_str::<AttemptOrder>(&sent).unwrap(), order);
        let shown = serde_json::to_string(&order.inputs[0]).unwrap();
        assert!(!shown.contains("2049:17:1"), "a displayed artifact has no stamp: {shown}");
    }

    /// An order with nothing granted.
    pub(in crate::sandbox) fn order() -> AttemptOrder {
        AttemptOrder {
            pipeline: "test".to_owned(),
            run_id: RunId::new(),
            run_number: 1,
            trigger: "a test".to_owned(),
            action: "act".to_owned(),
            number: 1,
            fence: Fence { attempt_id: AttemptId::new(), epoch: 1, token: 1 },
            inputs: Arc::default(),
            component: Digest::of(b""),
            params: "{}".to_owned(),
            reads: Vec::new(),
            writes: Vec::new(),
            databases: BTreeMap::new(),
            ancestors: Vec::new(),
            args: Vec::new(),
            stdin: None,
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            http: Vec::new(),
            header_secrets: Vec::new(),
            limits: Limits::default(),
            cache: None,
            replay: None,
        }
    }
}
