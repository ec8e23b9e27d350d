//! One build: its command, its output, and the component that it makes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{PipeReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process_group};

use super::output::shown;
use crate::cli::out;
use crate::cli::progress::Progress;

/// How much of a build's output is kept to show when it fails; the beginning is dropped.
const MAX_OUTPUT_BYTES: usize = 256 << 10;
/// Variables that make tools use colours although they write to a pipe.
const COLOURS: [(&str, &str); 3] = [("CARGO_TERM_COLOR", "always"), ("CLICOLOR_FORCE", "1"), ("FORCE_COLOR", "1")];

/// What is to be built.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// For this user: `action train`, or `trigger raw`.
    pub(crate) action: String,
    /// By this command.
    pub(crate) command: String,
    /// In this folder.
    pub(crate) folder: PathBuf,
    /// What it makes.
    pub(crate) component: PathBuf,
}

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// The shell did not start.
    #[error("failed to start the build of {action}: `{command}`: {why}")]
    Start {
        /// The action or trigger.
        action: String,
        /// The command.
        command: String,
        /// Why.
        why: std::io::Error,
    },
    /// The command failed.
    #[error("the build of {action} failed ({status}): `{command}`")]
    Failed {
        /// The action or trigger.
        action: String,
        /// The command.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last part of what it wrote.
        output: Vec<u8>,
    },
    /// It succeeded, but the component is not there.
    #[error("`{command}` succeeded, but {} is not there: is `component` of {action} right?", component.display())]
    Nothing {
        /// The action or trigger.
        action: String,
        /// The command.
        command: String,
        /// What was expected.
        component: PathBuf,
    },
}

impl BuildError {
    /// Prints the output of a build whose command failed.
    pub(crate) fn show_output(&self) {
        if let Self::Failed { output, .. } = self {
            out::error(&shown(output));
        }
    }
}

/// A running build.
#[derive(Debug)]
pub(crate) struct Running {
    job: Job,
    child: Child,
    output: PipeReader,
    began: Instant,
    started_at: SystemTime,
}

impl Job {
    /// Starts the build. With `apart` it gets its own process group, which [`end`] ends; otherwise
    /// Ctrl-C at the terminal reaches it.
    pub(crate) fn start(self, apart: bool) -> Result<Running, BuildError> {
        let (began, started_at) = (Instant::now(), SystemTime::now());
        match spawn(&self.command, &self.folder, apart) {
            Ok((child, output)) => Ok(Running { job: self, child, output, began, started_at }),
            Err(why) => Err(BuildError::Start { action: self.action, command: self.command, why }),
        }
    }
}

/// Starts a command with both output streams on one pipe, which keeps their order.
fn spawn(command: &str, folder: &Path, apart: bool) -> std::io::Result<(Child, PipeReader)> {
    let (reader, writer) = std::io::pipe()?;
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).current_dir(folder).stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    if apart {
        shell.process_group(0);
    }
    if out::colours_wanted() {
        shell.envs(COLOURS.iter().filter(|(name, _)| std::env::var_os(name).is_none()).copied());
    }
    // The child holds the writing ends. `shell` is dropped here: if our copies stayed open, the
    // output would never end.
    Ok((shell.spawn()?, reader))
}

/// Terminates the process group of a build that was started apart: with SIGTERM, or with SIGKILL if
/// `at_once`.
pub(crate) fn end(group: Pid, at_once: bool) {
    // If it has ended already, that is what was wanted.
    let _ = kill_process_group(group, if at_once { Signal::KILL } else { Signal::TERM });
}

impl Running {
    /// Its process, and its process group if it was started apart.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits for its end, and returns how long it took. The component counts as built then, even if
    /// the command did not write it because its bytes are the same.
    pub(crate) fn finish(mut self, progress: &Progress) -> Result<Duration, BuildError> {
        let Job { action, command, component, .. } = self.job;
        let finished = read(&mut self.output, progress).and_then(|output| Ok((self.child.wait()?, output)));
        match finished {
            Err(why) => Err(BuildError::Start { action, command, why }),
            Ok((status, output)) if !status.success() => Err(BuildError::Failed { action, command, status, output }),
            Ok(_) => {
                let built = File::options().append(true).open(&component);
                match built.and_then(|file| file.set_modified(self.started_at)) {
                    Ok(()) => Ok(self.began.elapsed()),
                    Err(_) => Err(BuildError::Nothing { action, command, component }),
                }
            }
        }
    }
}

/// Reads the output of a build until it ends, and returns the last [`MAX_OUTPUT_BYTES`].
fn read(output: &mut PipeReader, progress: &Progress) -> std::io::Result<Vec<u8>> {
    let mut kept = VecDeque::new();
    let mut chunk = vec![0; 8192];
    loop {
        let length = output.read(&mut chunk)?;
        let Some(bytes) = chunk.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
        if let Some(line) = String::from_utf8_lossy(bytes).lines().rfind(|line| !line.trim().is_empty()) {
            progress.show(line.trim());
        }
        kept.extend(bytes);
        kept.drain(..kept.len().saturating_sub(MAX_OUTPUT_BYTES));
    }
    Ok(kept.into())
}

#[cfg(test)]
mod tests {
    use super::{MAX_OUTPUT_BYTES, Progress, read, spawn};

    #[test]
    fn only_the_end_of_the_output_is_kept_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let progress = Progress::start("test");
        let run = |command: &str| {
            let (mut child, mut output) = spawn(command, folder.path(), false).unwrap();
            let output = read(&mut output, &progress).unwrap();
            (child.wait().unwrap(), output)
        };
        assert_eq!(
            run("echo out; echo err >&2; pwd").1,
            format!("out\nerr\n{}\n", folder.path().display()).into_bytes()
        );
        let (status, output) = run("head -c 1000000 /dev/zero; printf end");
        assert!(status.success());
        assert_eq!((output.len(), &output[output.len() - 4..]), (MAX_OUTPUT_BYTES, b"\0end".as_slice()));
    }
}
