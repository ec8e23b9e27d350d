//! Lists for display what cannot be recorded yet: files that someone has open for writing, files
//! that must stop changing first, large files that are being hashed, and folders that may be listed
//! but not searched.
//!
//! Every written file is open for a moment, so a path is reported only after it has waited for
//! [`REPORTED_AFTER`]. At the end of a scan, all paths are reported.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD};

use super::tree::Root;
use super::unsupported::shown;
use crate::base::filestamp::{FileStamp, Inode, inode};
use crate::base::{Clock as _, SystemClock, Timestamp, escape};
use crate::resource::{Waiting, WaitingPath};

/// The most paths that are kept; more are not reported.
const MAX_HELD: usize = 10_000;
/// The most paths that a report lists.
const MAX_LISTED: usize = 100;
/// How long a path waits before it is reported.
const REPORTED_AFTER: Duration = Duration::from_secs(1);
/// How often to check for changes to report.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Why something cannot be recorded yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Someone has the file open for writing.
    Open,
    /// The file is being hashed, which takes a while.
    Hashing,
    /// The file system cannot detect writers, so the file must not change for this long.
    Changing(Duration),
    /// The folder may be listed, but its entries cannot be examined.
    Unsearchable,
}

#[derive(Debug, Clone, Copy)]
struct Since {
    why: Why,
    begun: Instant,
    at: Timestamp,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Held {
    paths: BTreeMap<OsString, Since>,
    /// What was reported last.
    reported: Vec<(OsString, Why)>,
    checked_at: Option<Instant>,
}

impl Held {
    /// Adds a path that waits. If it waits already, keeps the time when it began to wait.
    pub(super) fn put(&mut self, path: &OsStr, why: Why) {
        if let Some(known) = self.paths.get_mut(path) {
            known.why = why;
        } else if self.paths.len() < MAX_HELD {
            let since = Since { why, begun: Instant::now(), at: SystemClock.now() };
            self.paths.insert(path.to_owned(), since);
        }
    }

    /// Removes a path that does not wait any more.
    pub(super) fn remove(&mut self, path: &OsStr) {
        if !self.paths.is_empty() {
            self.paths.remove(path);
        }
    }

    /// Removes stale paths after a scan of a folder (the empty path: all): files that are gone, and
    /// unsearchable folders, which the scan reports again if they still are.
    pub(super) fn drop_stale(&mut self, root: &Root, folder: &OsStr) {
        let is_beneath = |path: &OsStr| {
            let rest = path.as_bytes().strip_prefix(folder.as_bytes());
            folder.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        self.paths.retain(|path, since| !is_beneath(path) || since.why != Why::Unsearchable && root.stat(path).is_ok());
    }

    /// Returns the paths to report, if they differ from the last report. With `all`, includes paths
    /// that have only just begun to wait.
    pub(super) fn changed(&mut self, root: &Root, all: bool) -> Option<Waiting> {
        let now = Instant::now();
        let is_due = self.checked_at.is_none_or(|at| now >= at + CHECK_EVERY);
        if !all && (!is_due || self.paths.is_empty() && self.reported.is_empty()) {
            return None;
        }
        self.checked_at = Some(now);
        let is_reported = |since: &Since| all || since.why == Why::Unsearchable || now >= since.begun + REPORTED_AFTER;
        let reported = self.paths.iter().filter(|(_, since)| is_reported(since));
        let listed: Vec<(OsString, Why)> = reported.clone().map(|(path, since)| (path.clone(), since.why)).collect();
        if listed == self.reported {
            return None;
        }
        let first: Vec<(&OsString, &Since)> = reported.take(MAX_LISTED).collect();
        let open = first.iter().filter(|(_, since)| since.why == Why::Open);
        let inodes = open.filter_map(|(path, _)| Some((inode(&root.stat(path).ok()?), (*path).clone())));
        let writers = writers(&inodes.collect());
        let paths = first
            .into_iter()
            .map(|(path, since)| WaitingPath {
                path: shown(path).into(),
                reason: reason(since.why, writers.get(path).map(String::as_str)),
                since: since.at,
                is_folder: since.why == Why::Unsearchable,
            })
            .collect();
        let count = listed.len() as u64;
        self.reported = listed;
        Some(Waiting { count, paths })
    }
}

fn reason(why: Why, writer: Option<&str>) -> String {
    match why {
        Why::Open => format!("still open for writing by {}", writer.unwrap_or("another process")),
        Why::Hashing => "being hashed: it is recorded once all of its content has been read".to_owned(),
        Why::Changing(settle) => {
            format!("still changing: it is recorded once it has not changed for {}", crate::base::TimeSpan(settle))
        }
        Why::Unsearchable => {
            "a folder that this user may list and not search: give it the `x` permission (`chmod u+x`)".to_owned()
        }
    }
}

/// Returns which process has each of these files open for writing, such as `process 4711
/// (python3)`, as far as this user may see.
fn writers(files: &HashMap<Inode, OsString>) -> HashMap<OsString, String> {
    let mut found = HashMap::new();
    if files.is_empty() {
        return found;
    }
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let name = process.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let open = std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        for descriptor in open {
            let Ok(stat) = rustix::fs::statat(CWD, descriptor.path(), AtFlags::empty()) else { continue };
            let Some(path) = files.get(&FileStamp::of(&stat).inode()) else { continue };
            if writes(&process.path(), &descriptor.file_name()) {
                let command = std::fs::read(process.path().join("comm")).unwrap_or_default();
                found.insert(path.clone(), format!("process {id} ({})", escape(command.trim_ascii_end())));
            }
        }
        if found.len() == files.len() {
            break;
        }
    }
    found
}

/// Returns whether a descriptor of a process is open for writing.
fn writes(process: &Path, descriptor: &OsStr) -> bool {
    let about = std::fs::read_to_string(process.join("fdinfo").join(descriptor)).unwrap_or_default();
    let flags = about.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & libc::O_ACCMODE != libc::O_RDONLY)
}
