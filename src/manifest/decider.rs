//! A component that decides whether a run starts: `component` of a trigger.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::time::Duration;

use super::action::{Build, Limits};
use crate::base::Digest;

/// Params that are longer than this as JSON are shown by their digest.
const MAX_SHOWN_PARAMS_BYTES: usize = 120;

/// A component that decides whether a run starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Decider {
    /// Its name among the components of the pipeline: `trigger raw`, and `trigger raw 2` for the
    /// second one of the same trigger. No action has such a name.
    pub name: String,
    /// `file` as it is written.
    pub written: String,
    /// The component's file, absolute.
    pub file: PathBuf,
    /// The required digest of the component.
    pub digest: Option<Digest>,
    /// How to build it.
    pub build: Option<Build>,
    /// Its params, a JSON object.
    pub params: serde_json::Map<String, serde_json::Value>,
    /// Its limits.
    pub limits: Limits,
}

impl Decider {
    /// Returns the limits of a component without `limits`: 64 MiB of memory, 1 s of CPU time, 10 s
    /// of wall time, 64 KiB of log lines. A decision is asked for often, and looks at little.
    #[must_use]
    pub fn usual_limits() -> Limits {
        Limits {
            memory_bytes: 64 << 20,
            cpu: Duration::from_secs(1),
            wall: Duration::from_secs(10),
            log_bytes: 64 << 10,
            ..Limits::default()
        }
    }
}

/// The file as it is written, and the params: what tells two components of a trigger apart.
impl Display for Decider {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)?;
        if self.params.is_empty() {
            return Ok(());
        }
        let params = serde_json::Value::Object(self.params.clone()).to_string();
        if params.len() <= MAX_SHOWN_PARAMS_BYTES {
            write!(f, " {params}")
        } else {
            write!(f, " with params {}", Digest::of(params.as_bytes()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::Decider;

    #[test]
    fn two_components_with_other_params_are_told_apart() {
        let decider = |params: serde_json::Value| Decider {
            name: "trigger raw".to_owned(),
            written: "drift.wasm".to_owned(),
            file: PathBuf::new(),
            digest: None,
            build: None,
            params: params.as_object().unwrap().clone(),
            limits: Decider::usual_limits(),
        };
        assert_eq!(decider(serde_json::json!({})).to_string(), "drift.wasm");
        assert_eq!(decider(serde_json::json!({"max": 0.2})).to_string(), "drift.wasm {\"max\":0.2}");
        let long = |end: &str| decider(serde_json::json!({"text": "x".repeat(200) + end})).to_string();
        assert!(long("a").starts_with("drift.wasm with params sha256:") && long("a") != long("b"));
    }
}
