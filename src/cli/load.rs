//! Loads the pipeline that a PATH names.

use std::path::PathBuf;

use super::failure::Failure;
use super::out;
use super::show::plain;
use crate::manifest::{self, Components, LoadOptions, Pipeline};

/// Which pipeline.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PathArg {
    /// A manifest, or a folder with an `anacostia.toml` in it
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,
}

impl PathArg {
    /// A path in the place of another argument.
    pub(crate) fn from(path: &str) -> Self {
        Self { path: PathBuf::from(path) }
    }

    /// The path as the user gave it.
    pub(crate) fn shown(&self) -> String {
        self.path.display().to_string()
    }
}

/// Loads the pipeline and checks all of it: it can be run.
pub(crate) fn load(path: &PathArg) -> Result<Pipeline, Failure> {
    load_with(path, Components::Check)
}

/// Loads the pipeline without checking its components: for building them.
pub(crate) fn load_unbuilt(path: &PathArg) -> Result<Pipeline, Failure> {
    load_with(path, Components::Skip)
}

/// Loads as much of the pipeline as reading its records needs. Faults elsewhere in the manifest
/// only lead to a warning: records made under a valid manifest stay readable even if, for example,
/// a variable is no longer set.
pub(crate) fn load_for_records(path: &PathArg) -> Result<Pipeline, Failure> {
    let (pipeline, faults) = manifest::load_for_records(&path.path, &|name| std::env::var(name).ok())
        .map_err(|problems| Failure::Manifest(Box::new(problems)))?;
    if let Some(first) = faults.as_ref().and_then(|faults| faults.list().first()) {
        let rest = faults.as_ref().map_or(0, |faults| faults.list().len() - 1);
        let more = if rest == 0 { String::new() } else { format!(" (and {rest} more)") };
        let check = if path.shown() == "." { String::new() } else { format!(" {}", path.shown()) };
        let what_next = format!("the records are shown anyway; see `anacostia check{check}`");
        out::error(&format!("warning: {}{more}; {what_next}\n", plain(first.message())));
    }
    Ok(pipeline)
}

fn load_with(path: &PathArg, components: Components) -> Result<Pipeline, Failure> {
    manifest::load(&path.path, &|name| std::env::var(name).ok(), LoadOptions { components })
        .map_err(|problems| Failure::Manifest(Box::new(problems)))
}
