//! The parts of a host, opened one after the other.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::base::Clock as _;
use crate::base::SystemClock;
use crate::cli::Failure;
use crate::cli::open;
use crate::manifest::Pipeline;
use crate::scheduler::Parts;
use crate::store::{HostStore, components, logs, make_folder};

/// Opens the store (a second host fails here, with the first one's name), the logs and the sandbox.
/// No action runs yet. Blocks, so call this on a thread of the runtime that may block.
pub(crate) fn open(pipeline: Pipeline) -> Result<Parts, Failure> {
    let state = &pipeline.state;
    for path in pipeline.store.local_paths() {
        make_folder(path.parent().unwrap_or(path))?;
    }
    let opening = open::for_host(&pipeline, SystemClock.now());
    let HostStore { store, lease } = Handle::current().block_on(opening)?;
    let logs = logs::open(state, pipeline.max_log_bytes)?;
    let components = components::open(state);
    let compiled = open::compiled_code(&pipeline).to_vec();
    let executor = Arc::new(open::sandbox(&pipeline)?);
    Ok(Parts { pipeline, store, lease, logs, components, compiled, executor, clock: Arc::new(SystemClock) })
}
