//! Shared definitions of the penguins pipeline: a row, which rows are held out, the model, the
//! score.

pub mod model;
pub mod row;
pub mod score;

use std::fmt::Display;

use anacostia_guest::{Artifact, Error, Result, read_all, resources, run_context};
use serde::de::DeserializeOwned;

/// Returns the params of this action in this run.
pub fn params<T: DeserializeOwned>() -> Result<T> {
    serde_json::from_str(&run_context::params())
        .map_err(because("the params are not what this action needs"))
}

/// Returns the content of a small artifact.
pub fn content(artifact: &Artifact) -> Result<Vec<u8>> {
    read_all(&resources::open(&artifact.id)?)
}

/// Returns the only artifact that the preceding action published in `resource`.
pub fn only_input(resource: &str) -> Result<Artifact> {
    resources::inputs(resource)?.pop().ok_or_else(|| Error::permanent(format!("nothing was published in {resource}")))
}

/// For `map_err`: makes an error that says what failed, and why.
pub fn because<E: Display>(what: &str) -> impl FnOnce(E) -> Error {
    move |error| Error::permanent(format!("{what}: {error}"))
}
