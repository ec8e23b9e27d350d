//! A session: compares sources and components with what it knows, and acts on differences.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::build_target::{BuildTarget, targets};
use super::builder::Builder;
use super::event::{DevEvent, changes};
use super::fingerprint::Fingerprint;
use super::watcher::Watcher;
use crate::base::Digest;
use crate::cli::Failure;
use crate::cli::load::{PathArg, load, load_unbuilt};
use crate::cli::progress::Progress;
use crate::cli::run::{Listen, listening};
use crate::cli::sources::Products;
use crate::manifest::Pipeline;
use crate::scheduler::{Host, ReloadError};

/// After this many builds in a row without a pause, sources that still change while a build is
/// running are taken to be written by it.
const MAX_BUILDS_IN_A_ROW: usize = 3;

/// The components of a host, by action.
type Digests = BTreeMap<String, Digest>;

/// The options of a session.
#[derive(Debug, Clone)]
pub(super) struct SessionOptions {
    pub(super) path: PathArg,
    pub(super) listen: Listen,
    pub(super) json: bool,
}

/// A session, with what it knows of sources and components.
pub(super) struct Session {
    options: SessionOptions,
    /// The manifest as it was last read without problems; its components are not checked.
    pipeline: Pipeline,
    products: Products,
    targets: Vec<BuildTarget>,
    /// The manifest's file as it was last seen, valid or not.
    manifest: Fingerprint,
    /// Whether the current manifest is valid.
    is_readable: bool,
    /// Whether there is a change that was not given to the host yet.
    is_news: bool,
    /// Whether an event led to the last look.
    was_told: bool,
    pub(super) watcher: Watcher,
    pub(super) builder: Builder,
}

/// A successful build.
struct Built {
    target: usize,
    changed: Vec<String>,
    took_ms: Option<u64>,
}

impl Session {
    pub(super) fn new(options: SessionOptions, pipeline: Pipeline) -> Result<Self, Failure> {
        let products = Products::of(&pipeline);
        let manifest = look_at(&pipeline.file, &Fingerprint::default());
        let targets = targets(&pipeline, &products, &[])?;
        let mut session = Self {
            options,
            targets,
            manifest,
            watcher: Watcher::new()?,
            builder: Builder::default(),
            is_readable: true,
            is_news: true,
            was_told: false,
            products,
            pipeline,
        };
        session.look();
        Ok(session)
    }

    /// Returns the sources of each target, for display.
    pub(super) fn sources(&self) -> Vec<(String, String)> {
        let shown = |target: &BuildTarget| match target.roots.len() {
            0 => "nothing: `build.watch` names no sources".to_owned(),
            _ => target.roots.iter().map(|root| self.short(root)).collect::<Vec<_>>().join(", "),
        };
        self.targets.iter().map(|target| (target.name(), shown(target))).collect()
    }

    /// Builds what has changed, and puts it in force. Returns the pipeline to start, if there is no
    /// `host` yet and the pipeline can be run.
    pub(super) async fn round(&mut self, host: Option<&Host>) -> Result<Option<Pipeline>, Failure> {
        for built_before in 0.. {
            self.watcher.settled().await;
            let edited = self.take_manifest()?;
            if !self.is_readable {
                break;
            }
            let enough = built_before >= MAX_BUILDS_IN_A_ROW;
            let mut due = self.due(enough)?;
            if !due.is_empty() && !self.was_told {
                // Such as a save that begins at the moment of the look, which then has read a part.
                self.watcher.caught_up().await;
                due = self.due(enough)?;
            }
            if due.is_empty() && edited.is_empty() && !self.is_news {
                break;
            }
            let mut built = Vec::new();
            for (target, changed, now) in due {
                built.extend(self.build(host, target, changed, now).await?);
            }
            self.is_news |= !built.is_empty() || !edited.is_empty();
            if std::mem::take(&mut self.is_news)
                && let Some(start) = self.put_in_force(host, &built, &edited).await?
            {
                return Ok(Some(start));
            }
        }
        Ok(None)
    }

    /// Reloads the manifest if it changed. Returns its path for display if it changed and is valid.
    fn take_manifest(&mut self) -> Result<Vec<String>, Failure> {
        let now = look_at(&self.pipeline.file, &self.manifest);
        if now.differences(&self.manifest).is_empty() {
            return Ok(Vec::new());
        }
        self.manifest = now;
        let changed = vec![self.short(&self.pipeline.file)];
        let read = load_unbuilt(&self.options.path).and_then(|pipeline| {
            let products = Products::of(&pipeline);
            Ok((targets(&pipeline, &products, &self.targets)?, products, pipeline))
        });
        match read {
            Ok((targets, products, pipeline)) => {
                self.is_readable = true;
                (self.targets, self.products, self.pipeline) = (targets, products, pipeline);
                self.look();
                Ok(changed)
            }
            Err(failure) => {
                self.is_readable = false;
                let why = "see above; runs continue as before".to_owned();
                failure.show();
                DevEvent::Refused { changed, why }.report(self.options.json)?;
                Ok(Vec::new())
            }
        }
    }

    /// Looks at all sources, so that later changes in them are noticed.
    fn look(&mut self) -> Vec<Fingerprint> {
        self.was_told = self.watcher.was_told();
        self.watcher.ignore(self.products.clone());
        let mut folders = BTreeSet::new();
        let above = |path: &Path| path.parent().map(Path::to_owned);
        let mut fingerprints = Vec::new();
        folders.extend(above(&self.pipeline.file));
        for target in &self.targets {
            folders.extend(target.roots.iter().filter_map(|root| above(root)));
        }
        for folder in &folders {
            self.watcher.watch(folder);
        }
        for target in &self.targets {
            let mut enter = |folder: &Path| {
                // Before it is read, so that a save between the two is noticed.
                self.watcher.watch(folder);
                folders.insert(folder.to_owned());
            };
            fingerprints.push(Fingerprint::take(&target.roots, &self.products, &target.seen, &mut enter));
        }
        self.watcher.only(&folders);
        fingerprints
    }

    /// Returns the targets to build, with the changed files and the current sources. With `enough`,
    /// targets are not built again because of what changed during their build: they have been built
    /// too often in a row.
    fn due(&mut self, enough: bool) -> Result<Vec<(usize, Vec<String>, Fingerprint)>, Failure> {
        let fingerprints = self.look();
        let mut due = Vec::new();
        for (at, now) in fingerprints.into_iter().enumerate() {
            let Some(target) = self.targets.get_mut(at) else { break };
            if now.trouble.is_some() && now.trouble != target.seen.trouble {
                let why = now.trouble.clone().unwrap_or_default();
                DevEvent::Unseen { action: target.name(), why }.report(self.options.json)?;
                target.seen.trouble.clone_from(&now.trouble);
            }
            let mut changed: Vec<String> =
                target.changes(&now).iter().map(|path| short(&self.pipeline.folder, path)).collect();
            if enough && !changed.is_empty() && target.due.is_none() && target.changed_while_building(&now) {
                DevEvent::SourcesKeepChanging { action: target.name(), changed }.report(self.options.json)?;
                target.after = Some(now.clone());
                target.seen = now;
                continue;
            }
            changed.truncate(100);
            // A component without a build command that is missing is being made by someone else.
            let is_there = target.job.is_some() || target.component.exists();
            if target.due.is_some() || (!changed.is_empty() && is_there) {
                due.push((at, changed, now));
            }
        }
        Ok(due)
    }

    /// Builds a target. `None` if that failed, which has been reported by then.
    async fn build(
        &mut self,
        host: Option<&Host>,
        at: usize,
        changed: Vec<String>,
        now: Fingerprint,
    ) -> Result<Option<Built>, Failure> {
        let (json, Some(target)) = (self.options.json, self.targets.get_mut(at)) else { return Ok(None) };
        let why = target.due.take();
        target.seen = now;
        let Some(job) = target.job.clone() else { return Ok(Some(Built { target: at, changed, took_ms: None })) };
        let action = target.name();
        if json {
            DevEvent::Building { action: action.clone(), changed: changed.clone() }.report(json)?;
        }
        let what = match why.filter(|_| changed.is_empty()) {
            Some(why) => format!("building {action} ({why})"),
            None => format!("{}building {action}", changes(&changed)),
        };
        let progress = Arc::new(Progress::start(&what));
        let result = self.builder.build(job, Arc::clone(&progress)).await;
        drop(progress);
        let after = self.look().into_iter().nth(at).unwrap_or_default();
        let Some(target) = self.targets.get_mut(at) else { return Ok(None) };
        target.seen.take_over_locks(&after);
        target.failed = result.is_err();
        target.after = Some(after);
        match result {
            Ok(took) => Ok(Some(Built { target: at, changed, took_ms: Some(millis(took)) })),
            Err(error) => {
                error.show_output();
                let digest = target.actions.first().and_then(|action| digests(host).get(action).copied());
                DevEvent::BuildFailed { action, changed, error: error.to_string(), digest }.report(json)?;
                Ok(None)
            }
        }
    }

    /// Checks everything as at a start, and hands the pipeline to the host. Returns the pipeline to
    /// start, if there is no host yet.
    async fn put_in_force(
        &mut self,
        host: Option<&Host>,
        built: &[Built],
        edited: &[String],
    ) -> Result<Option<Pipeline>, Failure> {
        let json = self.options.json;
        let changed: Vec<String> =
            edited.iter().chain(built.iter().flat_map(|built| &built.changed)).cloned().collect();
        if host.is_none() && self.targets.iter().any(|target| target.failed) {
            DevEvent::Waiting.report(json)?;
            return Ok(None);
        }
        let pipeline = match load(&self.options.path).and_then(|pipeline| listening(pipeline, self.options.listen)) {
            Ok(pipeline) => pipeline,
            Err(failure) => {
                failure.show();
                DevEvent::Refused { changed, why: "see above; runs continue as before".to_owned() }.report(json)?;
                return Ok(None);
            }
        };
        let Some(host) = host else {
            return Ok(Some(pipeline));
        };
        let before = digests(Some(host));
        let wait = Progress::wait("preparing the components");
        let reloaded = host.reload(pipeline).await;
        drop(wait);
        match reloaded {
            Ok(()) => self.tell_what_is_in_force(built, edited, &before, &digests(Some(host)))?,
            Err(error @ ReloadError::NeedsRestart { .. }) => {
                let why = format!("{error}: Ctrl-C, then start again");
                DevEvent::NeedsRestart { changed, why }.report(json)?;
            }
            Err(ReloadError::Unusable(error)) => {
                DevEvent::Refused { changed, why: format!("{error}; runs continue as before") }.report(json)?;
            }
        }
        Ok(None)
    }

    fn tell_what_is_in_force(
        &self,
        built: &[Built],
        edited: &[String],
        before: &Digests,
        after: &Digests,
    ) -> Result<(), Failure> {
        let json = self.options.json;
        if !edited.is_empty() {
            DevEvent::Reloaded { changed: edited.to_vec() }.report(json)?;
        }
        for (at, target) in self.targets.iter().enumerate() {
            let built = built.iter().find(|built| built.target == at);
            let (changed, took_ms) = built.map(|built| (built.changed.clone(), built.took_ms)).unwrap_or_default();
            let of = |digests: &Digests| target.actions.first().and_then(|action| digests.get(action).copied());
            match (of(before), of(after)) {
                (old, Some(digest)) if old != Some(digest) => {
                    DevEvent::Swapped { action: target.name(), changed, took_ms, digest, old }.report(json)?;
                }
                (digest, _) if built.is_some() => {
                    DevEvent::Unchanged { action: target.name(), changed, took_ms, digest }.report(json)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn short(&self, path: &Path) -> String {
        short(&self.pipeline.folder, path)
    }
}

/// The manifest's file, to compare with.
fn look_at(file: &Path, before: &Fingerprint) -> Fingerprint {
    Fingerprint::take(&[file.to_owned()], &Products::default(), before, &mut |_| {})
}

/// Returns a path for display: relative to the manifest's folder if it is in that folder.
fn short(folder: &Path, path: &Path) -> String {
    let path: PathBuf = path.strip_prefix(folder).map_or_else(|_| path.to_owned(), Path::to_owned);
    path.display().to_string()
}

/// The components in force.
fn digests(host: Option<&Host>) -> Digests {
    let Some(host) = host else { return Digests::new() };
    host.view().components().iter().map(|(action, info)| (action.clone(), info.digest)).collect()
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
