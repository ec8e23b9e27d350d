//! `anacostia build`: builds components whose sources are newer.

mod command;
mod output;
mod stale;

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Pid;
use serde::Serialize;

use super::load::{PathArg, load, load_unbuilt};
use super::progress::Progress;
use super::show::{Cell, Column, Table, duration, plural, short_digest, styles};
use super::sources::Products;
use super::{End, Failure, out};
use crate::base::{ByteSize, Digest};
use crate::manifest::{Build, ComponentUse, Pipeline};

pub(crate) use command::{BuildError, Job, end};
pub(crate) use stale::{reason, warn};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    path: PathArg,
    /// Build all components, also those that are up to date
    #[arg(long)]
    force: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn build(args: &Args) -> Result<End, Failure> {
    let pipeline = load_unbuilt(&args.path)?;
    let done = build_all(&pipeline, args.force, None)?;
    if args.json {
        out::json(&done)?;
    } else if done.is_empty() {
        out::error("no component has `build` in the manifest: there is nothing to build\n");
    } else {
        out::result(&render(&done, out::result_width()))?;
    }
    refuse_failed(&done)?;
    // Now that the components are there, everything about them can be checked.
    load(&args.path)?;
    Ok(End::Well)
}

/// What was done for a component.
#[derive(Debug, Serialize)]
pub(crate) struct Done {
    action: String,
    /// Whether it was built, successfully or not.
    built: bool,
    /// Why it was built.
    reason: Option<String>,
    state: State,
    /// Of the component, as it is now.
    digest: Option<Digest>,
    size: Option<u64>,
    took_ms: Option<u64>,
    /// What failed.
    error: Option<String>,
}

/// The result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It was not built.
    UpToDate,
    /// It was built, and is another component than before.
    Changed,
    /// It was built, and is the same as before.
    Unchanged,
    /// It was not built, because its build failed.
    Failed,
}

impl State {
    fn cell(self) -> Cell {
        let (text, style) = match self {
            Self::UpToDate => ("✓ up to date", styles::FAINT),
            Self::Changed => ("✓ built, changed", styles::GOOD),
            Self::Unchanged => ("✓ built, unchanged", styles::GOOD),
            Self::Failed => ("✗ failed", styles::BAD),
        };
        Cell::new(text).style(style)
    }
}

/// Builds all components that are out of date, and fails if one build fails. Another thread can
/// stop it with [`end_all`].
pub(crate) fn build_needed(pipeline: &Pipeline) -> Result<(), Failure> {
    refuse_failed(&build_all(pipeline, false, Some(&AT_WORK))?)
}

/// Kills the current build of [`build_needed`] with all its processes, and prevents further builds.
pub(crate) fn end_all() {
    let mut at_work = AT_WORK.lock().unwrap_or_else(PoisonError::into_inner);
    at_work.is_ending = true;
    if let Some(group) = at_work.group {
        end(group, true);
    }
}

/// The current build, so that another thread can end it.
struct AtWork {
    /// Its process group.
    group: Option<Pid>,
    is_ending: bool,
}

static AT_WORK: Mutex<AtWork> = Mutex::new(AtWork { group: None, is_ending: false });

fn refuse_failed(done: &[Done]) -> Result<(), Failure> {
    let failed: Vec<&str> =
        done.iter().filter(|done| done.state == State::Failed).map(|done| done.action.as_str()).collect();
    match failed.len() {
        0 => Ok(()),
        count => Err(Failure::work(format!(
            "{} failed: {}",
            plural(u64::try_from(count).unwrap_or(u64::MAX), "build"),
            failed.join(", ")
        ))),
    }
}

/// Builds components that are out of date, one after the other: builds use all cores themselves,
/// and share caches that only one at a time may change. If one fails, the others are still built.
/// With `at_work` each is in a process group of its own, which is stored there.
fn build_all(pipeline: &Pipeline, force: bool, at_work: Option<&Mutex<AtWork>>) -> Result<Vec<Done>, Failure> {
    let products = Products::of(pipeline);
    let all: Vec<(ComponentUse<'_>, &Build)> =
        pipeline.components().filter_map(|used| Some((used, used.build?))).collect();
    let mut done = Vec::new();
    let mut built: Vec<(&Path, &str)> = Vec::new();
    for (at, (used, build)) in all.iter().enumerate() {
        let same = (used.file, build.command.as_str());
        let why = match () {
            () if built.contains(&same) => None,
            () if force => Some("forced".to_owned()),
            () => reason(used, build, &products)?,
        };
        let mut made = Done::new(used.name, used.file);
        if let Some(why) = why {
            built.push(same);
            let progress = Progress::start(&format!("[{}/{}] building {} ({why})", at + 1, all.len(), used.name));
            made.build(job(pipeline, used, build), why, &progress, at_work);
        }
        done.push(made);
    }
    Ok(done)
}

/// The build of a component.
pub(crate) fn job(pipeline: &Pipeline, used: &ComponentUse<'_>, build: &Build) -> Job {
    Job {
        action: used.title(),
        command: build.command.clone(),
        folder: pipeline.folder.clone(),
        component: used.file.to_owned(),
    }
}

/// Size and digest of a component, if it can be read. It is not checked here.
pub(crate) fn identity(component: &Path) -> Option<(u64, Digest)> {
    let bytes = std::fs::read(component).ok()?;
    Some((u64::try_from(bytes.len()).unwrap_or(u64::MAX), Digest::of(&bytes)))
}

impl Done {
    /// Creates the entry of an action that is up to date.
    fn new(action: &str, component: &Path) -> Self {
        let now = identity(component);
        Self {
            action: action.to_owned(),
            built: false,
            reason: None,
            state: State::UpToDate,
            digest: now.map(|(_, digest)| digest),
            size: now.map(|(size, _)| size),
            took_ms: None,
            error: None,
        }
    }

    fn build(&mut self, job: Job, why: String, progress: &Progress, at_work: Option<&Mutex<AtWork>>) {
        let component = job.component.clone();
        (self.built, self.reason) = (true, Some(why));
        match build_one(job, progress, at_work) {
            Ok(took) => {
                let now = identity(&component);
                let same = now.map(|(_, digest)| digest) == self.digest;
                self.state = if same { State::Unchanged } else { State::Changed };
                self.digest = now.map(|(_, digest)| digest);
                self.size = now.map(|(size, _)| size);
                self.took_ms = Some(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
                let took = duration(took);
                progress.done(&format!("{} {} built in {took}\n", Cell::new("✓").style(styles::GOOD), self.action));
            }
            Err(error) => {
                progress.done("");
                error.show_output();
                self.state = State::Failed;
                self.error = Some(error.to_string());
                out::error(&format!("{} {}\n", Cell::new("✗").style(styles::BAD), Cell::new(error.to_string())));
            }
        }
    }
}

fn build_one(job: Job, progress: &Progress, at_work: Option<&Mutex<AtWork>>) -> Result<Duration, BuildError> {
    let Some(at_work) = at_work else { return job.start(false)?.finish(progress) };
    let lock = || at_work.lock().unwrap_or_else(PoisonError::into_inner);
    let running = {
        let mut at_work = lock();
        if at_work.is_ending {
            let why = std::io::ErrorKind::Interrupted.into();
            return Err(BuildError::Start { action: job.action, command: job.command, why });
        }
        let running = job.start(true)?;
        at_work.group = Some(running.pid());
        running
    };
    let result = running.finish(progress);
    lock().group = None;
    result
}

/// What was done, for a terminal with `width` columns.
fn render(done: &[Done], width: usize) -> String {
    let mut table = Table::new(&[
        ("ACTION", Column::Word),
        ("SIZE", Column::Number),
        ("DIGEST", Column::Word),
        ("TIME", Column::Number),
        ("RESULT", Column::Prose),
    ]);
    for done in done {
        table.row(vec![
            Cell::new(&done.action).style(styles::STRONG),
            Cell::new(done.size.map(|size| ByteSize(size).to_string()).unwrap_or_default()),
            Cell::new(done.digest.map(short_digest).unwrap_or_default()).style(styles::FAINT),
            Cell::new(done.took_ms.map(|took| duration(Duration::from_millis(took))).unwrap_or_default()),
            done.state.cell(),
        ]);
    }
    table.render(width)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::super::show::sample_pipeline;
    use super::{Build, Digest, Done, Pipeline, State, build_all, build_needed, render};

    fn pipeline(folder: &Path, command: &str) -> Pipeline {
        let mut pipeline = sample_pipeline();
        pipeline.folder = folder.to_path_buf();
        pipeline.actions.truncate(1);
        pipeline.actions[0].component = folder.join("a.wasm");
        pipeline.actions[0].build = Some(Build { command: command.to_owned(), watch: vec![folder.join("src")] });
        pipeline
    }

    fn age(file: &Path, seconds: u64) {
        let then = SystemTime::now() - Duration::from_secs(seconds);
        File::open(file).unwrap().set_modified(then).unwrap();
    }

    fn first(pipeline: &Pipeline) -> (Option<String>, State) {
        let done = build_all(pipeline, false, None).unwrap().remove(0);
        (done.reason, done.state)
    }

    #[test]
    fn only_components_older_than_their_sources_are_built() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("src/deep");
        fs::create_dir_all(&source).unwrap();
        let pipeline = pipeline(folder.path(), "echo x >> built; test -e a.wasm || echo x > a.wasm");
        let builds = || fs::read_to_string(folder.path().join("built")).unwrap().lines().count();
        assert_eq!(first(&pipeline), (Some("its component is not there".to_owned()), State::Changed));
        assert_eq!((first(&pipeline), builds()), ((None, State::UpToDate), 1));

        fs::write(source.join("lib.rs"), "").unwrap();
        age(&source.join("lib.rs"), 50);
        age(&source, 100);
        age(&folder.path().join("src"), 100);
        age(&folder.path().join("a.wasm"), 60);
        // The command leaves the component alone, and it counts as built.
        assert_eq!(first(&pipeline), (Some("lib.rs has changed".to_owned()), State::Unchanged));
        assert_eq!((first(&pipeline), builds()), ((None, State::UpToDate), 2));
    }

    #[test]
    fn failed_builds_and_builds_without_a_result_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = |command: &str| {
            let pipeline = pipeline(folder.path(), command);
            assert!(format!("{:?}", build_needed(&pipeline).unwrap_err()).contains("1 build failed: report"));
            build_all(&pipeline, false, None).unwrap().remove(0).error.unwrap()
        };
        assert_eq!(
            error("echo no >&2; exit 3"),
            "the build of action report failed (exit status: 3): `echo no >&2; exit 3`"
        );
        assert!(error("true").ends_with("a.wasm is not there: is `component` of action report right?"));
    }

    #[test]
    fn a_failed_build_does_not_prevent_others() {
        let folder = tempfile::tempdir().unwrap();
        let mut pipeline = pipeline(folder.path(), "exit 1");
        let mut other = pipeline.actions[0].clone();
        other.name = "other".to_owned();
        other.component = folder.path().join("b.wasm");
        other.build = Some(Build { command: "echo x > b.wasm".to_owned(), watch: Vec::new() });
        pipeline.actions.push(other);
        let states: Vec<State> = build_all(&pipeline, false, None).unwrap().iter().map(|done| done.state).collect();
        assert_eq!(states, [State::Failed, State::Changed]);
    }

    #[test]
    fn the_table_shows_the_result_of_each_build() {
        let done = |action: &str, state, took_ms: Option<u64>, size: Option<u64>| Done {
            action: action.to_owned(),
            built: took_ms.is_some(),
            reason: None,
            state,
            digest: size.map(|_| Digest::of(action.as_bytes())),
            size,
            took_ms,
            error: None,
        };
        let all = [
            done("clean", State::UpToDate, None, Some(70_000)),
            done("train", State::Changed, Some(1_234), Some(18_000_000)),
            done("report", State::Unchanged, Some(61_000), Some(4_096)),
            done("promote", State::Failed, None, None),
        ];
        insta::assert_snapshot!(anstream::adapter::strip_str(&render(&all, 100)));
    }
}
