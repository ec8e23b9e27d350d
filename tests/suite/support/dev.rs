//! A session of `anacostia dev`, which reports events as JSON lines.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::app::anacostia;
use super::wait::{wait_for, wait_for_within};

/// The deadline is long, because most lines that a test waits for come after a build.
const BUILD_DEADLINE: Duration = Duration::from_mins(10);

/// A session. When this is dropped, the session is killed; if the test panics, its output is
/// printed.
pub(crate) struct DevSession {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    /// How many of the lines a test has waited for.
    seen: usize,
    log: PathBuf,
}

impl DevSession {
    /// Starts a session on the pipeline in `folder`, without waiting until it is ready.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_command(anacostia(), folder)
    }

    /// The same with a fault.
    pub(crate) fn start_with_fault(folder: &Path, fault: &str) -> Self {
        let mut command = anacostia();
        command.env("ANACOSTIA_FAULT", fault);
        Self::start_command(command, folder)
    }

    /// The same with another program, which caches compiled code in `cache`.
    pub(crate) fn start_program(program: &Path, folder: &Path, cache: &Path) -> Self {
        let mut command = Command::new(program);
        command.env("XDG_CACHE_HOME", cache);
        Self::start_command(command, folder)
    }

    fn start_command(mut command: Command, folder: &Path) -> Self {
        let log = folder.join(".dev.log");
        let mut child = command
            .args(["dev", "--json", "--listen", "127.0.0.1:0"])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&log).unwrap())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (sink, stream) = (Arc::clone(&lines), BufReader::new(child.stdout.take().unwrap()));
        std::thread::spawn(move || {
            for line in stream.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line}"));
                sink.lock().unwrap().push(line);
            }
        });
        Self { child, lines, seen: 0, log }
    }

    /// Waits for the next line of this type after the lines that were waited for before.
    #[track_caller]
    pub(crate) fn next(&mut self, kind: &str) -> Value {
        wait_for_within(BUILD_DEADLINE, &format!("a line of type {kind}"), || {
            let lines = self.lines.lock().unwrap();
            let at = lines.iter().skip(self.seen).position(|line| line["type"] == kind)? + self.seen;
            self.seen = at + 1;
            Some(lines[at].clone())
        })
    }

    /// Returns the number of lines of this type so far.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line["type"] == kind).count()
    }

    /// Returns what was written to standard error.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until the session ends.
    #[track_caller]
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        wait_for("the session to end", || self.child.try_wait().unwrap())
    }
}

impl Drop for DevSession {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("── the session said ──\n{}", self.said());
            for line in self.lines.lock().unwrap().iter() {
                eprintln!("{line}");
            }
        }
    }
}
