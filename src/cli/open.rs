//! Opens the store of a pipeline, or finds the host that has it open.

use std::path::PathBuf;
use std::sync::Arc;

use super::failure::Failure;
use super::load::PathArg;
use super::remote::Remote;
use super::runtime::runtime;
use crate::base::Timestamp;
use crate::manifest::Pipeline;
use crate::sandbox::{DECIDING_AT_ONCE, Sandbox, SandboxConfig, default_cache_folder, this_program};
use crate::store::{self, Holder, HostStore, MetadataStore, Upkeep, Views};

/// Opens the store and the state folder for a host. Fails, with the name of the holder, if another
/// one has either.
pub(crate) async fn for_host(pipeline: &Pipeline, now: Timestamp) -> Result<HostStore, Failure> {
    Ok(store::open_host(&pipeline.store, &pipeline.state, pipeline.durability, now).await?)
}

/// Opens the store to record a request. Fails, with the name of the holder, if a host has it.
pub(crate) async fn for_writing(pipeline: &Pipeline, now: Timestamp) -> Result<HostStore, Failure> {
    Ok(store::open(&pipeline.store, pipeline.durability, now).await?)
}

/// Opens the store to look at it, also beside a host. `path` is the PATH that leads to the
/// pipeline.
pub(crate) async fn for_reading(pipeline: &Pipeline, path: &str) -> Result<Arc<dyn MetadataStore>, Failure> {
    store::open_read_only(&pipeline.store).await?.ok_or_else(|| nothing_yet(pipeline, path))
}

/// Opens the views of the store, also beside a host. `path` is the PATH that leads to the pipeline.
/// Not for work on a runtime.
pub(crate) fn views(pipeline: &Pipeline, path: &str) -> Result<Box<dyn Views>, Failure> {
    store::open_views(&pipeline.store)?.ok_or_else(|| nothing_yet(pipeline, path))
}

/// Opens the store to look after it, also beside a host. `path` is the PATH that leads to the
/// pipeline. Not for work on a runtime.
pub(crate) fn upkeep(pipeline: &Pipeline, path: &str) -> Result<Box<dyn Upkeep>, Failure> {
    store::open_upkeep(&pipeline.store)?.ok_or_else(|| nothing_yet(pipeline, path))
}

fn nothing_yet(pipeline: &Pipeline, path: &str) -> Failure {
    let run = if path == "." { String::new() } else { format!(" {path}") };
    Failure::usage(format!(
        "nothing is on record yet: {} does not exist; start the pipeline with `anacostia run{run}`",
        pipeline.store.location()
    ))
}

/// Returns the folders of compiled code: the user's, and the fallback if that is not writable.
pub(crate) fn compiled_code(pipeline: &Pipeline) -> [PathBuf; 2] {
    [default_cache_folder(), pipeline.state.join("compiled")]
}

/// Creates the sandbox for the actions of a pipeline.
pub(crate) fn sandbox(pipeline: &Pipeline) -> Result<Sandbox, Failure> {
    let [cache_folder, fallback] = compiled_code(pipeline);
    let config = SandboxConfig {
        cache_folder,
        fallback_cache_folder: Some(fallback),
        max_instances: pipeline.max_concurrent_actions + DECIDING_AT_ONCE,
        compiler: this_program(),
        ..SandboxConfig::default()
    };
    Ok(Sandbox::new(config)?)
}

/// Returns the host that has the store open, if there is one. Not for work on a runtime.
pub(crate) fn holder(pipeline: &Pipeline) -> Result<Option<Holder>, Failure> {
    Ok(runtime()?.block_on(store::holder(&pipeline.store))?)
}

/// Returns the running host. `why` says what only a host can do: it completes "only
/// a host …".
pub(crate) fn running_host(pipeline: &Pipeline, path: &PathArg, why: &str) -> Result<Remote, Failure> {
    let Some(holder) = holder(pipeline)? else {
        let path = path.shown();
        return Err(Failure::work(format!(
            "no host is running, and only a host {why}: start one with `anacostia run {path}`"
        )));
    };
    remote(&holder)
}

/// Returns how a host is reached. Fails if it serves nothing yet, or no longer.
pub(crate) fn remote(holder: &Holder) -> Result<Remote, Failure> {
    let address = holder.listen.clone();
    let address = address.ok_or_else(|| Failure::work("a host is just starting or stopping; try again in a moment"))?;
    Ok(Remote { address, pid: holder.pid })
}
