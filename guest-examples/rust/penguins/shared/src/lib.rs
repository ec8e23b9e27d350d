//! What the actions of the penguins pipeline agree on: a row, which rows are held out, the model,
//! the score.

pub mod model;
pub mod row;
pub mod score;

use std::fmt::Display;

use anacostia_guest::{Artifact, Error, Result, read_all, resources, run_context};
use serde::de::DeserializeOwned;

/// The params of this action in this run.
pub fn params<T: DeserializeOwned>() -> Result<T> {
    serde_json::from_str(&run_context::params())
        .map_err(because("the params in the manifest are not what this action needs"))
}

/// The content of a small artifact.
pub fn content(artifact: &Artifact) -> Result<Vec<u8>> {
    read_all(&resources::open(&artifact.id)?)
}

/// The one artifact that the action before this one published in `resource`.
pub fn only_input(resource: &str) -> Result<Artifact> {
    resources::inputs(resource)?.pop().ok_or_else(|| Error::permanent(format!("nothing was published in {resource}")))
}

/// For `map_err`: the failure of `what`, with its cause.
pub fn because<E: Display>(what: &str) -> impl FnOnce(E) -> Error {
    move |error| Error::permanent(format!("{what}: {error}"))
}
