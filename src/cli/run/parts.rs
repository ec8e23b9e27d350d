//! The parts of a host, opened one after the other.

use std::fs;
use std::sync::Arc;

use anyhow::Context as _;

use crate::base::Clock as _;
use crate::base::SystemClock;
use crate::cli::Failure;
use crate::cli::open;
use crate::manifest::Pipeline;
use crate::sandbox::{Sandbox, SandboxConfig, this_program};
use crate::scheduler::Parts;
use crate::store::{HostStore, logs};

/// Opens the store (a second host fails here, with the first one's name), the logs and the sandbox. Nothing is at work yet.
pub(crate) fn open(pipeline: Pipeline) -> Result<Parts, Failure> {
    let state = &pipeline.state;
    fs::create_dir_all(state).with_context(|| format!("failed to make the folder {}", state.display()))?;
    for path in pipeline.store.local_paths() {
        let folder = path.parent().unwrap_or(path);
        fs::create_dir_all(folder).with_context(|| format!("failed to make the folder {}", folder.display()))?;
    }
    let HostStore { store, lease } = open::for_writing(&pipeline, SystemClock.now())?;
    let logs = logs::open(state)?;
    let sandbox = SandboxConfig {
        fallback_cache_folder: Some(state.join("compiled")),
        compiler: this_program(),
        ..SandboxConfig::default()
    };
    let sandbox = Arc::new(Sandbox::new(sandbox)?);
    Ok(Parts { pipeline, store, lease, logs, executor: sandbox, clock: Arc::new(SystemClock) })
}
