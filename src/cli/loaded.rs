//! Compares the files of a pipeline with what its host has loaded.
//!
//! `anacostia run` reads the manifest and the components when it starts, and never again. A person
//! who has changed one of them and starts a run means the change, so the commands that start runs
//! ask here whether the host has it.

use serde_json::Value;

use super::Failure;
use super::load::PathArg;
use super::remote::Remote;
use super::show::{beside, plain};
use crate::http::bodies::LoadedBody;
use crate::manifest::{Pipeline, inspect_known};

/// Says which files of the pipeline are not what its host has loaded, and what to do; `None` if
/// there are none. `path` is the PATH that leads to the pipeline.
pub(crate) fn differs(host: &Remote, pipeline: &Pipeline, path: &PathArg) -> Result<Option<String>, Failure> {
    let mut answer = host.get("pipeline")?;
    let loaded = answer.get_mut("loaded").map(Value::take).unwrap_or_default();
    let Ok(loaded) = serde_json::from_value::<LoadedBody>(loaded) else {
        let address = &host.address;
        return Ok(Some(format!(
            "the host at {address} runs another version of Anacostia, and does not say what it has loaded: restart it"
        )));
    };
    Ok(describe(&changed(&loaded, pipeline), &path.shown()))
}

/// Returns the names of the files that differ, each once. Whether the manifest has other actions
/// than the loaded one is not compared: its text says so.
fn changed(loaded: &LoadedBody, pipeline: &Pipeline) -> Vec<String> {
    let manifest = (LoadedBody::digest_of(pipeline) != loaded.manifest).then_some(pipeline.file.as_path());
    // A path that could not be read is empty.
    let named = pipeline.components().filter(|used| !used.file.as_os_str().is_empty());
    let components = named.filter_map(|used| {
        let now = inspect_known(used.file).ok().map(|info| info.digest);
        loaded.components.get(used.name).filter(|digest| now != Some(**digest)).map(|_| used.file)
    });
    let mut names: Vec<String> = Vec::new();
    for file in manifest.into_iter().chain(components) {
        let name = plain(&file.strip_prefix(&pipeline.folder).unwrap_or(file).display().to_string());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn describe(changed: &[String], path: &str) -> Option<String> {
    let (files, verb, them) = match changed {
        [] => return None,
        [only] => (only.clone(), "is", "it"),
        [before @ .., last] => (format!("{} and {last}", before.join(", ")), "are", "them"),
    };
    let path = beside(&plain(path));
    Some(format!(
        "{files} {verb} not what the host has loaded, and a run would not use {them}: restart the host, or use `anacostia \
         dev{path}`, which loads changes and reports any that it cannot load"
    ))
}
