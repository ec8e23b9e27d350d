//! Floor 5: running one component, within its grants and limits.

mod order;

pub use order::{AttemptOrder, AttemptReport, CANCEL_GRACE, MAX_DENIALS, Progress, Stop, StopSignal};

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
pub struct Sandbox;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct SandboxError;
#[derive(Clone)]
pub struct Services {
    pub store: Arc<dyn crate::store::MetadataStore>,
    pub resources: Arc<BTreeMap<String, Arc<dyn crate::resource::Resource>>>,
    pub logs: Arc<crate::store::logs::LogBook>,
    pub clock: Arc<dyn crate::base::Clock>,
    pub progress: Arc<dyn Fn(crate::base::AttemptId, Progress) + Send + Sync>,
}
impl Sandbox {
    pub async fn load(&self, _d: crate::base::Digest, _f: &Path) -> Result<(), SandboxError> {
        Err(SandboxError)
    }
    pub async fn run(&self, _o: AttemptOrder, _s: &Services, _stop: StopSignal) -> AttemptReport {
        std::process::exit(1)
    }
}
