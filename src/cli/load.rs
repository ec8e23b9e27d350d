//! How a PATH becomes a pipeline.

use std::path::PathBuf;

use super::failure::Failure;
use crate::manifest::{self, Components, LoadOptions, Pipeline};

/// Which pipeline.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PathArg {
    /// A manifest, or a folder with an `anacostia.toml` in it
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,
}

impl PathArg {
    /// As it was given.
    pub(crate) fn shown(&self) -> String {
        self.path.display().to_string()
    }
}

/// The pipeline, checked as a whole: it can be run.
pub(crate) fn load(path: &PathArg) -> Result<Pipeline, Failure> {
    load_with(path, Components::Check)
}

/// The pipeline as its manifest says, components unseen: for building them, and for looking at records.
pub(crate) fn load_unbuilt(path: &PathArg) -> Result<Pipeline, Failure> {
    load_with(path, Components::Skip)
}

fn load_with(path: &PathArg, components: Components) -> Result<Pipeline, Failure> {
    manifest::load(&path.path, &|name| std::env::var(name).ok(), LoadOptions { components })
        .map_err(|problems| Failure::Manifest(Box::new(problems)))
}
