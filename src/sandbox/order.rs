//! What goes into an attempt, and what comes out of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::base::{Digest, Endpoint, RunId};
use crate::manifest::Limits;
use crate::model::{
    Access, Artifact, ArtifactTag, Denial, Fence, HttpRequest, LogPosition, Outcome, StagedFile, Usage,
};

/// All that an executor needs to run an attempt: one value that can be sent as JSON and is the same
/// when it is read back, so that executors can be on other machines one day. Secrets are named
/// here, never carried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptOrder {
    /// The pipeline's name.
    pub pipeline: String,
    /// The run.
    pub run_id: RunId,
    /// The run's number.
    pub run_number: u64,
    /// Why the run started, in words.
    pub trigger: String,
    /// The action.
    pub action: String,
    /// 1 for the first attempt of the action in the run.
    pub number: u32,
    /// The right to write about the attempt.
    pub fence: Fence,
    /// What the run claimed, in all resources, as it was when the run was taken up.
    #[serde(with = "stamped")]
    pub inputs: Arc<[Artifact]>,
    /// The component; it is in the sandbox by then.
    pub component: Digest,
    /// The merged params, a JSON object as text.
    pub params: String,
    /// Resources that it may read.
    pub reads: Vec<String>,
    /// Resources that it may write.
    pub writes: Vec<String>,
    /// All actions before it, near and far, that may publish: their outputs in this run are seen.
    pub ancestors: Vec<String>,
    /// What a command is called with, after its name; empty for other actions.
    #[serde(default)]
    pub args: Vec<String>,
    /// The input that a command's standard input reads, `RESOURCE` or `RESOURCE/GLOB`.
    #[serde(default)]
    pub stdin: Option<String>,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Its secrets: the name that the action sees, and the variable of the host's environment that
    /// holds the value.
    pub secrets: BTreeMap<String, String>,
    /// Hosts that it may send requests to.
    pub http: Vec<Endpoint>,
    /// Secrets that the host puts into its requests: the action never sees them.
    pub header_secrets: Vec<HeaderSecret>,
    /// Its limits.
    pub limits: Limits,
}

/// Artifacts with their stamps, which an executor needs to know the content again, and which the
/// HTTP API does not show.
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

/// What comes out of an attempt. The staged files are complete and not visible; whoever gets this
/// publishes or discards them.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptReport {
    /// How the guest's part ended.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// What it read and wrote.
    pub accesses: Vec<Access>,
    /// What it was refused; at most [`MAX_DENIALS`].
    pub denials: Vec<Denial>,
    /// What it asked for over the network; at most [`MAX_REQUESTS`], those that came first.
    pub requests: Vec<HttpRequest>,
    /// Tags to put on artifacts.
    pub tags: Vec<ArtifactTag>,
    /// What it finished writing; empty unless `outcome` is `Done` or `Skip`.
    pub staged: Vec<StagedFile>,
    /// Where its log ends.
    pub log_to: LogPosition,
}

/// Most denials of one attempt that are kept one by one.
pub const MAX_DENIALS: usize = 100;
/// Most requests of one attempt that are kept one by one; all are in its usage.
pub const MAX_REQUESTS: usize = 100;

/// A secret that goes into one header of requests to one host. Named, never carried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderSecret {
    /// Its name in the manifest.
    pub name: String,
    /// The variable of the host's environment that holds the value.
    pub variable: String,
    /// The header, in lower case.
    pub header: String,
    /// The host that it is for, and no other.
    pub endpoint: Endpoint,
    /// Text before the value, such as `Bearer `.
    pub prefix: String,
}

/// Whether an attempt should go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stop {
    /// It should.
    #[default]
    No,
    /// The run is being cancelled: the guest is told, and stopped a little later
    /// ([`CANCEL_GRACE`]). Ends as `Cancelled`.
    Cancel,
    /// The host stops now: the guest is stopped at once. Ends as `HandedBack`.
    HandBack,
}

/// How long a guest may go on after it was told that its run is being cancelled.
pub const CANCEL_GRACE: std::time::Duration = std::time::Duration::from_secs(3);

/// Tells an attempt to stop.
pub type StopSignal = watch::Receiver<Stop>;

/// How far an attempt is, as it says itself. Not stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// From 0 to 1.
    pub fraction: f64,
    /// For people; escaped and masked.
    pub message: String,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::{ArtifactId, AttemptId, Timestamp};
    use crate::model::ArtifactState;

    #[test]
    fn an_order_is_the_same_when_it_is_read_back() {
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
            stdin: Some("raw/*.csv".to_owned()),
            env: BTreeMap::from([("A".to_owned(), "1".to_owned())]),
            http: vec![secret.endpoint.clone()],
            header_secrets: vec![secret],
            ..order()
        };
        let sent = serde_json::to_string(&order).unwrap();
        assert_eq!(serde_json::from_str::<AttemptOrder>(&sent).unwrap(), order);
        let shown = serde_json::to_string(&order.inputs[0]).unwrap();
        assert!(!shown.contains("2049:17:1"), "people are shown no stamp: {shown}");
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
            ancestors: Vec::new(),
            args: Vec::new(),
            stdin: None,
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            http: Vec::new(),
            header_secrets: Vec::new(),
            limits: Limits::default(),
        }
    }
}
