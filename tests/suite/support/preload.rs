//! Libraries in C that are preloaded into a host, to see or to change what it asks the system for.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use super::app::TestApp;

/// Builds a library, and preloads it into the hosts of `app` that are started from now on. Returns
/// its folder.
pub(crate) fn preload(app: &mut TestApp, source: &str) -> TempDir {
    let folder = library(source);
    app.set_env("LD_PRELOAD", folder.path().join("library.so").to_str().unwrap());
    folder
}

/// Builds a library, `library.so` in the folder that is returned.
pub(crate) fn library(source: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (file, library) = (folder.path().join("library.c"), folder.path().join("library.so"));
    fs::write(&file, source).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &file]).status();
    assert!(built.unwrap().success(), "the library could not be built");
    folder
}
