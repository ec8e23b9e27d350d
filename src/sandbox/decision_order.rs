//! What a trigger component is asked, and its answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::order::AttemptOrder;
use crate::base::{AttemptId, Digest, RunId, Timestamp};
use crate::manifest::Limits;
use crate::model::{ErrorInfo, Fence, LogLine};

/// Everything that an executor needs to ask a trigger component. It serializes to JSON without
/// loss, as [`AttemptOrder`] does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionOrder {
    /// The pipeline's name.
    pub pipeline: String,
    /// The trigger.
    pub trigger: String,
    /// The table of the manifest that has the `component`, such as `resources.raw.trigger`.
    pub table: String,
    /// The resources whose new artifacts the component may list.
    pub resources: Vec<String>,
    /// When a decision of the component last started a run.
    pub fired_at: Option<Timestamp>,
    /// The component, which is already loaded into the sandbox.
    pub component: Digest,
    /// The merged params, a JSON object as text.
    pub params: String,
    /// The limits of the decision. Only `memory`, `cpu`, `wall` and `log` matter.
    pub limits: Limits,
}

/// What a trigger component has decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// A run starts, for this reason.
    Fire(String),
    /// No run starts.
    Skip {
        /// Why.
        reason: String,
        /// After how long to ask again, even if nothing has changed; from one second to 366 days.
        ask_again: Option<Duration>,
    },
}

/// The answer of a trigger component.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionReport {
    /// The decision, or why there is none.
    pub decision: Result<Decision, ErrorInfo>,
    /// Its log lines, masked and escaped, within the `log` limit.
    pub lines: Vec<LogLine>,
    /// How long the call took.
    pub took: Duration,
}

impl DecisionReport {
    /// Returns the report for a component that the host failed to ask. `why` is the reason.
    #[must_use]
    pub fn failed(why: &str) -> Self {
        let message = format!("the host failed while it asked the component: {why}");
        Self::not_asked(ErrorInfo::permanent("failed", message))
    }

    /// Returns the report of a component that was not called.
    pub(super) fn not_asked(error: ErrorInfo) -> Self {
        Self { decision: Err(error), lines: Vec::new(), took: Duration::ZERO }
    }
}

impl DecisionOrder {
    /// Returns the order of an attempt with the same limits and without any grant. Its action has
    /// the name of the component's table, which is not the name of any real action. Messages about
    /// limits show this name.
    pub(super) fn attempt(&self) -> AttemptOrder {
        AttemptOrder {
            pipeline: self.pipeline.clone(),
            run_id: RunId::new(),
            run_number: 0,
            trigger: String::new(),
            action: self.table.clone(),
            number: 1,
            fence: Fence { attempt_id: AttemptId::new(), epoch: 0, token: 0 },
            inputs: Arc::default(),
            component: self.component,
            params: self.params.clone(),
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
            limits: self.limits.clone(),
            cache: None,
            replay: None,
        }
    }
}
