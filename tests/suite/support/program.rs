//! Executable files that tests write, and commands as another user.
//!
//! Other processes write these files. If a test wrote one itself, a child that another test starts
//! at the same time could keep it open for writing, and nobody could execute it: "Text file busy".

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::app::TestApp;

/// The user `nobody`, who owns nothing here.
pub(crate) const NOBODY: u32 = 65_534;

/// Copies the executable of this build to `to`.
pub(crate) fn copy_anacostia(to: &Path) {
    install(Path::new(env!("CARGO_BIN_EXE_anacostia")), to);
}

/// Writes a shell script to `to`.
pub(crate) fn write_script(to: &Path, script: &str) {
    let text = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(text.path(), format!("#!/bin/sh\n{script}\n")).unwrap();
    install(text.path(), to);
}

fn install(from: &Path, to: &Path) {
    let from = File::open(from).unwrap();
    // `rm` first: a program that runs may not be written over.
    let write = r#"rm -f "$0" && cat >"$0" && chmod 755 "$0""#;
    assert!(Command::new("sh").args(["-c", write]).arg(to).stdin(from).status().unwrap().success());
}

/// Runs a command on a pipeline as `nobody`, if this user may, and else as this user.
pub(crate) fn as_nobody(app: &TestApp, args: &[&str]) -> Output {
    let program = app.path("program");
    if !program.exists() {
        copy_anacostia(&program);
    }
    let mut command = Command::new(program);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.args(args).arg(app.folder()).stdin(Stdio::null()).output().unwrap()
}
