//! How a PATH becomes a pipeline.

use std::path::{Path, PathBuf};

use super::failure::Failure;
use crate::manifest::Pipeline;

/// The manifest's name in a folder.
const MANIFEST: &str = "anacostia.toml";

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

    /// The manifest's file.
    pub(crate) fn manifest(&self) -> Result<PathBuf, Failure> {
        manifest_in(&self.path)
    }
}

fn manifest_in(path: &Path) -> Result<PathBuf, Failure> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let file = path.join(MANIFEST);
    if file.exists() {
        return Ok(file);
    }
    Err(Failure::usage(format!(
        "there is no {MANIFEST} in {}: give the path of a manifest, or of a folder with one in it",
        path.display()
    )))
}

/// The pipeline, checked as a whole: it can be run.
pub(crate) fn load(path: &PathArg) -> Result<Pipeline, Failure> {
    shim(&path.manifest()?)
}

/// The pipeline as its manifest says, components unseen: for building them, and for looking at records.
pub(crate) fn load_unbuilt(path: &PathArg) -> Result<Pipeline, Failure> {
    shim(&path.manifest()?)
}

fn shim(_file: &Path) -> Result<Pipeline, Failure> {
    Err(Failure::Manifest(Box::new(Problems)))
}

#[derive(Debug)]
pub(crate) struct Problems;
#[derive(Debug)]
pub(crate) struct Problem;
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}
impl Problems {
    pub(crate) fn render(&self, _width: usize, _color: bool) -> String {
        String::new()
    }
    pub(crate) fn list(&self) -> &[Problem] {
        &[]
    }
    pub(crate) fn file(&self) -> &str {
        ""
    }
}
impl Problem {
    pub(crate) fn message(&self) -> &str {
        ""
    }
    pub(crate) fn advice(&self) -> Option<&str> {
        None
    }
    pub(crate) fn place(&self) -> Option<Place> {
        Some(Place { line: 1, column: 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::manifest_in;

    #[test]
    fn a_path_is_a_manifest_or_a_folder_with_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("anacostia.toml");
        assert!(format!("{:?}", manifest_in(folder.path())).contains("give the path of a manifest"));
        std::fs::write(&file, "").unwrap();
        assert_eq!(manifest_in(folder.path()).unwrap(), file);
        // One that is not there is the manifest floor's to complain about: it knows how to say it.
        let other = folder.path().join("other.toml");
        assert_eq!(manifest_in(&other).unwrap(), other);
    }
}
