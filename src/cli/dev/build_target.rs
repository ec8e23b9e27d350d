//! A build target: one component, built by one command, for the actions that share it.

use std::path::PathBuf;

use super::fingerprint::Fingerprint;
use crate::cli::Failure;
use crate::cli::build::{Job, job, reason};
use crate::cli::sources::Products;
use crate::manifest::Pipeline;

/// One component and its sources.
#[derive(Debug)]
pub(super) struct BuildTarget {
    /// The actions and triggers that use the component.
    pub(super) actions: Vec<String>,
    /// How it is built. Without it, someone else replaces the file.
    pub(super) job: Option<Job>,
    /// Where it is.
    pub(super) component: PathBuf,
    /// The paths that are compared for changes.
    pub(super) roots: Vec<PathBuf>,
    /// The sources as they were when they were last built, or found up to date.
    pub(super) seen: Fingerprint,
    /// The sources right after the last build.
    pub(super) after: Option<Fingerprint>,
    /// Whether the last build failed.
    pub(super) failed: bool,
    /// Why it has to be built even if its sources have not changed.
    pub(super) due: Option<String>,
}

impl BuildTarget {
    /// The names of its actions, for people.
    pub(super) fn name(&self) -> String {
        self.actions.join(", ")
    }

    /// Returns the files that require a build: sources that differ from those last built; after a
    /// failure also a save that changed nothing, because the user saves again to have the build
    /// tried again.
    pub(super) fn changes(&self, now: &Fingerprint) -> Vec<PathBuf> {
        match now.differences(&self.seen) {
            same if same.is_empty() && self.failed => {
                self.after.as_ref().map(|after| now.written(after)).unwrap_or_default()
            }
            differences => differences,
        }
    }

    /// Returns whether nothing was saved since the last build: all changes came while it was
    /// running, and it may have made them.
    pub(super) fn changed_while_building(&self, now: &Fingerprint) -> bool {
        self.after.as_ref().is_some_and(|after| now.differences(after).is_empty())
    }
}

/// Returns the build targets of a pipeline. Those in `before` keep their state. Those that are
/// new or have another command are built if needed.
pub(super) fn targets(
    pipeline: &Pipeline,
    products: &Products,
    before: &[BuildTarget],
) -> Result<Vec<BuildTarget>, Failure> {
    let mut all: Vec<BuildTarget> = Vec::new();
    for used in pipeline.components() {
        let job = used.build.map(|build| job(pipeline, &used, build));
        let command = |target: &BuildTarget| target.job.as_ref().map(|job| job.command.clone());
        let own = job.as_ref().map(|job| job.command.clone());
        if let Some(same) = all.iter_mut().find(|target| target.component == used.file && command(target) == own) {
            same.actions.push(used.name.to_owned());
            continue;
        }
        let roots = used.build.map_or_else(|| vec![used.file.to_owned()], |build| build.watch.clone());
        // Several may share a component; the one with the same command is the same target.
        let of_component = || before.iter().filter(|target| target.component == used.file);
        let known = of_component().find(|target| command(target) == own).or_else(|| of_component().next());
        // Taken before the check of what is up to date, so that a save in between leads to one
        // build too many rather than to none.
        let (seen, after, failed) = match known {
            Some(target) if target.roots == roots => (target.seen.clone(), target.after.clone(), target.failed),
            _ => (Fingerprint::take(&roots, products, &Fingerprint::default(), &mut |_| {}), None, false),
        };
        let due = match (used.build, known) {
            (None, _) => None,
            (Some(_), Some(target)) if command(target) != own => Some("its build command has changed".to_owned()),
            (Some(_), Some(target)) => target.due.clone(),
            (Some(build), None) if build.watch.is_empty() && used.file.exists() => None,
            (Some(build), None) => reason(&used, build, products)?,
        };
        let actions = vec![used.name.to_owned()];
        all.push(BuildTarget { actions, job, component: used.file.to_owned(), roots, seen, after, failed, due });
    }
    Ok(all)
}
