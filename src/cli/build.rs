//! `anacostia build`: components from their sources, where the sources are newer.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Instant, SystemTime};

use anyhow::Context as _;
use serde_json::json;

use super::load::{PathArg, load, load_unbuilt};
use super::progress::Progress;
use super::show::{Cell, duration, styles};
use super::{End, Failure, out};
use crate::manifest::{ActionSpec, Build, Pipeline};

/// How much of a build's output is kept to show when it fails; the beginning is dropped.
const MAX_OUTPUT_BYTES: usize = 256 << 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    path: PathArg,
    /// Build also what is up to date
    #[arg(long)]
    force: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn build(args: &Args) -> Result<End, Failure> {
    let done = build_all(&load_unbuilt(&args.path)?, args.force)?;
    // Now that the components are there, everything about them can be checked.
    load(&args.path)?;
    if args.json {
        let list: Vec<_> =
            done.iter().map(|(action, why)| json!({"action": action, "built": why.is_some(), "reason": why})).collect();
        out::json(&list)?;
    } else if done.is_empty() {
        out::error("no action has `build` in the manifest: there is nothing to build\n");
    }
    Ok(End::Well)
}

/// What was done about an action: its name, and why it was built, if it was.
pub(crate) type Done = (String, Option<String>);

/// Builds what is out of date, one after the other: builds use all cores themselves.
pub(crate) fn build_all(pipeline: &Pipeline, force: bool) -> Result<Vec<Done>, Failure> {
    let mut done = Vec::new();
    let mut built: Vec<(&Path, &str)> = Vec::new();
    for action in &pipeline.actions {
        let Some(build) = &action.build else { continue };
        let same = (action.component.as_path(), build.command.as_str());
        let why = if built.contains(&same) { None } else { reason(action, build, force)? };
        match &why {
            Some(why) => {
                built.push(same);
                build_one(pipeline, action, build, why)?;
            }
            None => out::error(&format!("{} {} is up to date\n", Cell::new("✓").style(styles::GOOD), action.name)),
        }
        done.push((action.name.clone(), why));
    }
    Ok(done)
}

/// Why an action has to be built; `None` if it has not.
fn reason(action: &ActionSpec, build: &Build, force: bool) -> Result<Option<String>, Failure> {
    if force {
        return Ok(Some("forced".to_owned()));
    }
    let Ok(component) = fs::metadata(&action.component) else {
        return Ok(Some("its component is not there".to_owned()));
    };
    if build.watch.is_empty() {
        return Ok(Some("`build.watch` names no sources to compare with".to_owned()));
    }
    let built_at = component.modified()?;
    for source in &build.watch {
        let context =
            || format!("failed to look at {}, which `build.watch` of action {} names", source.display(), action.name);
        if let Some(newer) = newer_than(source, built_at).with_context(context)? {
            return Ok(Some(format!("{newer} has changed")));
        }
    }
    Ok(None)
}

/// The name of a file at or below `path` that is newer than `than`. A folder's own time counts too, because it tells of removals.
fn newer_than(path: &Path, than: SystemTime) -> std::io::Result<Option<String>> {
    let mut todo = vec![path.to_path_buf()];
    while let Some(next) = todo.pop() {
        let about = fs::symlink_metadata(&next)?;
        if about.modified()? > than {
            let name = next.file_name().unwrap_or(next.as_os_str());
            return Ok(Some(name.to_string_lossy().into_owned()));
        }
        if about.is_dir() {
            for entry in fs::read_dir(&next)? {
                let entry = entry?;
                if !is_product(&entry.file_name()) {
                    todo.push(entry.path());
                }
            }
        }
    }
    Ok(None)
}

/// Folders that a build writes, not a person.
fn is_product(name: &std::ffi::OsStr) -> bool {
    ["target", ".git", "node_modules", "__pycache__"].iter().any(|product| name == *product)
}

fn build_one(pipeline: &Pipeline, action: &ActionSpec, build: &Build, why: &str) -> Result<(), Failure> {
    let began = Instant::now();
    let started_at = SystemTime::now();
    let progress = Progress::start(&format!("building {} ({why})", action.name));
    let (status, output) = run_command(&build.command, &pipeline.folder, &progress)
        .with_context(|| format!("failed to start the build of action {}: `{}`", action.name, build.command))?;
    drop(progress);
    if !status.success() {
        out::error(&String::from_utf8_lossy(&output));
        return Err(Failure::work(format!(
            "the build of action {} failed ({status}): `{}`",
            action.name, build.command
        )));
    }
    let component = File::options().append(true).open(&action.component).with_context(|| {
        let file = action.component.display();
        format!(
            "`{}` ended well, but {file} is not there: is `component` of action {} right?",
            build.command, action.name
        )
    })?;
    // A build that came to the same bytes may have left the file alone. It is up to date all the same.
    component.set_modified(started_at)?;
    let took = duration(began.elapsed());
    out::error(&format!("{} {} built in {took}\n", Cell::new("✓").style(styles::GOOD), action.name));
    Ok(())
}

/// Runs a command through the shell, and gives what it wrote on both streams, in order: the last part of it, if it is long.
fn run_command(command: &str, folder: &Path, progress: &Progress) -> std::io::Result<(ExitStatus, Vec<u8>)> {
    let (mut reader, writer) = std::io::pipe()?;
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).current_dir(folder).stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = shell.spawn()?;
    // The command holds the writing ends; with ours open, the end of the output would never come.
    drop(shell);
    let mut kept = VecDeque::new();
    let mut chunk = vec![0; 8192];
    loop {
        let length = reader.read(&mut chunk)?;
        let Some(bytes) = chunk.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
        if let Some(line) = String::from_utf8_lossy(bytes).lines().rfind(|line| !line.trim().is_empty()) {
            progress.say(line.trim());
        }
        kept.extend(bytes);
        kept.drain(..kept.len().saturating_sub(MAX_OUTPUT_BYTES));
    }
    Ok((child.wait()?, kept.into()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::super::progress::Progress;
    use super::super::show::sample_pipeline;
    use super::{Build, MAX_OUTPUT_BYTES, Pipeline, build_all, newer_than, run_command};

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

    fn reasons(pipeline: &Pipeline) -> Option<String> {
        build_all(pipeline, false).unwrap().remove(0).1
    }

    #[test]
    fn only_what_is_older_than_its_sources_is_built() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("src/deep");
        fs::create_dir_all(&source).unwrap();
        let pipeline = pipeline(folder.path(), "echo x >> built; test -e a.wasm || echo x > a.wasm");
        let builds = || fs::read_to_string(folder.path().join("built")).unwrap().lines().count();
        assert_eq!(reasons(&pipeline).unwrap(), "its component is not there");
        assert_eq!((reasons(&pipeline), builds()), (None, 1));

        fs::write(source.join("lib.rs"), "").unwrap();
        age(&source.join("lib.rs"), 50);
        age(&source, 100);
        age(&folder.path().join("src"), 100);
        age(&folder.path().join("a.wasm"), 60);
        // The command leaves the component alone, and it counts as built.
        assert_eq!(reasons(&pipeline).unwrap(), "lib.rs has changed");
        assert_eq!((reasons(&pipeline), builds()), (None, 2));
    }

    #[test]
    fn a_build_that_fails_says_which_and_one_that_builds_nothing_too() {
        let folder = tempfile::tempdir().unwrap();
        let failure = build_all(&pipeline(folder.path(), "echo no >&2; exit 3"), false).unwrap_err();
        assert!(format!("{failure:?}").contains("the build of action report failed (exit status: 3)"), "{failure:?}");
        let failure = build_all(&pipeline(folder.path(), "true"), false).unwrap_err();
        assert!(format!("{failure:?}").contains("is `component` of action report right?"), "{failure:?}");
    }

    #[test]
    fn output_is_kept_in_order_and_only_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let progress = Progress::start("test");
        let run = |command: &str| run_command(command, folder.path(), &progress).unwrap();
        assert_eq!(
            run("echo out; echo err >&2; pwd").1,
            format!("out\nerr\n{}\n", folder.path().display()).into_bytes()
        );
        let (status, output) = run("head -c 1000000 /dev/zero; printf end");
        assert!(status.success());
        assert_eq!((output.len(), &output[output.len() - 4..]), (MAX_OUTPUT_BYTES, b"\0end".as_slice()));
    }

    #[test]
    fn what_builds_write_is_no_source() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("target")).unwrap();
        fs::write(folder.path().join("target/x"), "").unwrap();
        age(folder.path(), 100);
        assert_eq!(newer_than(folder.path(), SystemTime::now() - Duration::from_secs(50)).unwrap(), None);
        assert!(newer_than(&folder.path().join("absent"), SystemTime::now()).is_err());
    }
}
