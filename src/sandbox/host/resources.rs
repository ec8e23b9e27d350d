//! Implements `resources`: access to artifacts.

use std::sync::Arc;

use wasmtime::component::Resource as Handle;

use crate::base::bounds::{MAX_CHUNK_BYTES, MAX_PAGE};
use crate::base::{ArtifactId, escape};
use crate::model::{Artifact, ArtifactState, Dependency, Listing};
use crate::resource::{Resource, check_path};
use crate::sandbox::bindings::anacostia::pipeline::resources::{CreateOptions, Filter, Host, HostReader, HostWriter};
use crate::sandbox::bindings::anacostia::pipeline::types;
use crate::sandbox::limits;
use crate::sandbox::tape::Tape;
use crate::sandbox::version::open_version;
use crate::store::{PageRequest, SnapshotQuery};

use super::GuestState;
use super::access::CallError;
use super::entries::{ReaderEntry, WriterEntry};
use super::inputs::{Inputs, MAX_LIST, at_path, inputs_of, list, made_by_ancestors, snapshot_of};

/// The maximum number of artifacts that one attempt writes. They are kept in memory until the
/// attempt ends, and are published in one transaction.
pub(super) const MAX_OUTPUTS: usize = 50_000;

/// The maximum number of cached artifact records of artifacts opened by id.
const MAX_VISIBLE: usize = 10_000;

impl Host for GuestState {
    async fn inputs(&mut self, resource: String) -> Result<Vec<types::Artifact>, CallError> {
        self.gate.enter();
        self.known("resources.inputs", &resource, Self::may_read)?;
        let cpu = self.cpu.clone();
        cpu.host(async {
            self.note_inputs(&resource).await?;
            let tape = Arc::clone(&self.tape);
            let inputs = self.inputs_in(&resource).await?;
            if inputs.len() <= MAX_LIST {
                return Ok(inputs.iter().map(|it| shown(&tape, it)).collect());
            }
            let what = "100,000 artifacts in the list of `inputs`; `inputs-page` has no such bound, but";
            Err(self.gate.limit_reached(limits::fixed("inputs_limit", what)))
        })
        .await
    }

    async fn inputs_page(
        &mut self,
        resource: String,
        after: Option<String>,
        limit: Option<u32>,
    ) -> Result<Vec<types::Artifact>, CallError> {
        self.gate.enter();
        self.known("resources.inputs-page", &resource, Self::may_read)?;
        let after = after.map(|after| artifact_id(&after)).transpose()?;
        let limit = usize::try_from(limit.unwrap_or(MAX_PAGE).min(MAX_PAGE)).unwrap_or(usize::MAX);
        let cpu = self.cpu.clone();
        cpu.host(async {
            self.note_inputs(&resource).await?;
            let tape = Arc::clone(&self.tape);
            let inputs = self.inputs_in(&resource).await?;
            let page = inputs.page(after, limit).map(|page| page.into_iter().map(|it| shown(&tape, it)).collect());
            page.ok_or_else(|| {
                CallError::refused("not-found", format!("`after` is not an input of this action in {resource}"))
            })
        })
        .await
    }

    async fn list(&mut self, resource: String, filter: Filter) -> Result<Vec<types::Artifact>, CallError> {
        self.gate.enter();
        self.known("resources.list", &resource, Self::may_read)?;
        let limit = filter.limit.unwrap_or(MAX_PAGE).min(MAX_PAGE);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let Filter { prefix, after, .. } = filter;
        let (cpu, services, order) = (self.cpu.clone(), self.services.clone(), Arc::clone(&self.order));
        let page = cpu.host(list(&services, &order, &resource, prefix.as_deref(), after.as_deref(), limit)).await?;
        self.gate.note_dependency(|| {
            let listing = Listing::of(page.items.iter());
            Dependency::List { resource, prefix, after, limit, listing }
        });
        Ok(page.items.iter().map(|it| shown(&self.tape, it)).collect())
    }

    async fn open(&mut self, artifact: String) -> Result<Handle<ReaderEntry>, CallError> {
        self.gate.enter();
        let cpu = self.cpu.clone();
        cpu.host(async {
            let artifact = self.seen("resources.open", &artifact).await?;
            self.reader_handle(artifact).await
        })
        .await
    }

    async fn open_path(&mut self, resource: String, path: String) -> Result<Handle<ReaderEntry>, CallError> {
        self.gate.enter();
        self.known("resources.open-path", &resource, Self::may_read)?;
        check_path(&path).map_err(|why| self.gate.resource_failed(&why))?;
        let cpu = self.cpu.clone();
        cpu.host(async {
            let Some(artifact) = at_path(&self.services, &self.order, &resource, &path).await? else {
                let of = || Dependency::Absent { resource: resource.clone(), path: path.clone() };
                self.gate.note_dependency(of);
                let message =
                    format!("there was nothing at `{}` in {resource} when the run started", escape(path.as_bytes()));
                return Err(CallError::refused("not-found", message));
            };
            self.reader_handle(artifact).await
        })
        .await
    }

    async fn create(
        &mut self,
        resource: String,
        path: String,
        options: CreateOptions,
    ) -> Result<Handle<WriterEntry>, CallError> {
        self.gate.enter();
        let entry = self.writer_at("resources.create", resource, path, options.overwrite).await?;
        let key = entry.key();
        let handle = self.table.push(entry);
        if handle.is_err() {
            self.gate.close_handle();
            self.work.paths.remove(&key);
        }
        Ok(handle?)
    }
}

impl HostReader for GuestState {
    async fn artifact(&mut self, reader: Handle<ReaderEntry>) -> wasmtime::Result<types::Artifact> {
        self.gate.enter();
        Ok(shown(&self.tape, &self.table.get(&reader)?.artifact))
    }

    async fn read(&mut self, reader: Handle<ReaderEntry>, offset: u64, length: u32) -> Result<Vec<u8>, CallError> {
        self.gate.enter();
        let length = chunk(usize::try_from(length).unwrap_or(usize::MAX))?;
        self.table.get_mut(&reader)?.read(&self.cpu, &mut self.gate, offset, length).await
    }

    async fn drop(&mut self, reader: Handle<ReaderEntry>) -> wasmtime::Result<()> {
        self.table.delete(reader)?;
        self.gate.close_handle();
        Ok(())
    }
}

impl HostWriter for GuestState {
    async fn write(&mut self, writer: Handle<WriterEntry>, bytes: Vec<u8>) -> Result<(), CallError> {
        self.gate.enter();
        chunk(bytes.len())?;
        self.table.get_mut(&writer)?.write(&self.cpu, &mut self.gate, &bytes).await
    }

    async fn finish(&mut self, writer: Handle<WriterEntry>) -> Result<types::Artifact, CallError> {
        self.gate.enter();
        let entry = self.table.get_mut(&writer)?;
        let staged = entry.finish(&self.cpu, &mut self.gate).await?;
        self.gate.note_written(entry.id, entry.bytes, entry.calls);
        let answer = types::Artifact {
            id: entry.id.to_string(),
            resource: entry.resource.clone(),
            path: entry.path.clone(),
            version: 0,
            digest: staged.digest.to_string(),
            size: staged.size,
            created_at: self.services.clock.now().to_string(),
            tags: Vec::new(),
        };
        self.work.staged.push(staged);
        Ok(answer)
    }

    async fn drop(&mut self, writer: Handle<WriterEntry>) -> wasmtime::Result<()> {
        let entry = self.table.delete(writer)?;
        self.gate.close_handle();
        if !entry.finished {
            self.work.paths.remove(&entry.key());
        }
        Ok(())
    }
}

impl GuestState {
    /// Returns the resource of this name if the grants permit the access.
    pub(super) fn known(
        &mut self,
        call: &str,
        resource: &str,
        may: fn(&mut Self, &str, &str) -> Result<(), CallError>,
    ) -> Result<Arc<dyn Resource>, CallError> {
        let Some(found) = self.services.resources.get(resource).cloned() else {
            let name = escape(crate::base::bounds::cut(resource, 100).as_bytes());
            return Err(CallError::refused("not-found", format!("there is no resource `{name}` in this pipeline")));
        };
        may(self, call, resource)?;
        Ok(found)
    }

    pub(super) fn may_read(&mut self, call: &str, resource: &str) -> Result<(), CallError> {
        self.gate.may_read(call, resource)
    }

    pub(super) fn may_write(&mut self, call: &str, resource: &str) -> Result<(), CallError> {
        self.gate.may_write(call, resource)
    }

    /// Notes that the result depends on the inputs in a resource, if the action is cached.
    pub(super) async fn note_inputs(&mut self, resource: &str) -> Result<(), CallError> {
        // Once for all pages, because each look takes time.
        if !self.gate.wants_inputs(resource) {
            return Ok(());
        }
        let listing = self.inputs_in(resource).await?.listing();
        self.gate.note_dependency(|| Dependency::Inputs { resource: resource.to_owned(), listing });
        Ok(())
    }

    /// Returns the inputs of this action in a resource. They do not change during the attempt, and
    /// the last ones are cached.
    pub(super) async fn inputs_in(&mut self, resource: &str) -> Result<&mut Inputs, CallError> {
        let kept = self.work.inputs.take().filter(|inputs| inputs.resource() == resource);
        let inputs =
            if let Some(inputs) = kept { inputs } else { inputs_of(&self.services, &self.order, resource).await? };
        Ok(self.work.inputs.insert(inputs))
    }

    /// Like [`Self::visible`]. What it may not see may be something that it may see in another run.
    async fn seen(&mut self, call: &str, id: &str) -> Result<Artifact, CallError> {
        let found = self.visible(call, id).await;
        if found.is_err() {
            self.gate.note_irregular(|| "it has asked for an artifact that it did not see".to_owned());
        }
        found
    }

    /// Returns the artifact with this id if `inputs` or `list` could return it.
    async fn visible(&mut self, call: &str, id: &str) -> Result<Artifact, CallError> {
        let unknown =
            || CallError::refused("not-found", "this run sees no such artifact; `inputs` and `list` say what it sees");
        let id = artifact_id(id)?;
        if let Some(artifact) = self.work.visible.get(&id) {
            return Ok(artifact.clone());
        }
        let inputs = Arc::clone(&self.order.inputs);
        if let Some(input) = self.work.place_of_claimed(&inputs, id).and_then(|place| inputs.get(place)) {
            self.gate.may_read(call, &input.resource)?;
            return Ok(input.clone());
        }
        let artifact = self.services.store.artifact(id).await?.ok_or_else(unknown)?;
        self.gate.may_read(call, &artifact.resource)?;
        let query = SnapshotQuery { artifact: Some(id), ..snapshot_of(&self.order, &artifact.resource) };
        let page = self.services.store.snapshot(query, PageRequest { cursor: None, limit: 1 }).await?;
        let seen = !page.items.is_empty()
            || made_by_ancestors(&self.services, &self.order, &artifact.resource).await?.iter().any(|it| it.id == id);
        if !seen {
            return Err(unknown());
        }
        if self.work.visible.len() >= MAX_VISIBLE {
            self.work.visible.clear();
        }
        self.work.visible.insert(id, artifact.clone());
        Ok(artifact)
    }

    /// Returns the stamp of what an earlier attempt of the action has published at a path in this
    /// run, if it is there. The action may replace that, and nothing else: it is done again.
    async fn published_earlier(&mut self, resource: &str, path: &str) -> Result<Option<String>, CallError> {
        let order = Arc::clone(&self.order);
        if order.number == 1 {
            return Ok(None);
        }
        if !self.work.earlier.contains_key(resource) {
            let own = std::slice::from_ref(&order.action);
            let outputs = self.services.store.outputs(order.run_id, resource, own).await?;
            let there = outputs.into_iter().filter(|output| output.present).map(|it| (it.path, it.stamp));
            self.work.earlier.insert(resource.to_owned(), there.collect());
        }
        Ok(self.work.earlier.get(resource).and_then(|stamps| stamps.get(path)).cloned())
    }

    /// Returns the id of an artifact that the attempt may read or has finished writing.
    pub(super) async fn own_or_visible(&mut self, call: &str, id: &str) -> Result<ArtifactId, CallError> {
        if let Ok(id) = id.parse::<ArtifactId>()
            && self.work.staged.iter().any(|staged| staged.artifact_id == id)
        {
            return Ok(id);
        }
        let artifact = self.seen(call, id).await?;
        self.gate.note_opened(&artifact);
        Ok(artifact.id)
    }

    async fn reader_handle(&mut self, artifact: Artifact) -> Result<Handle<ReaderEntry>, CallError> {
        let reader = self.reader_of(artifact).await?;
        let handle = self.table.push(reader);
        if handle.is_err() {
            self.gate.close_handle();
        }
        Ok(handle?)
    }

    /// Opens a version that is visible to the attempt. It counts as a handle until
    /// `Gate::close_handle` is called.
    pub(super) async fn reader_of(&mut self, artifact: Artifact) -> Result<ReaderEntry, CallError> {
        let place = (escape(artifact.path.as_bytes()), &artifact.resource);
        let Some(resource) = self.services.resources.get(&artifact.resource).cloned() else {
            return Err(CallError::refused("not-found", format!("there is no resource `{}` any more", place.1)));
        };
        if artifact.state == ArtifactState::Ignored {
            let message = format!("`{}` in {} is ignored, and cannot be read", place.0, place.1);
            return Err(CallError::refused("not-found", message));
        }
        self.gate.check_reads(artifact.id)?;
        self.gate.open_handle()?;
        let store = self.services.store.clone();
        match open_version(&*store, &*resource, &artifact).await {
            Ok(content) => {
                self.gate.note_opened(&artifact);
                Ok(ReaderEntry { artifact, content })
            }
            Err(why) => {
                self.gate.close_handle();
                Err(self.gate.resource_failed(&why))
            }
        }
    }

    /// Refuses a path that this attempt already writes, or that is inside or above such a path,
    /// because they could not both be made visible.
    pub(super) fn check_unwritten(&mut self, resource: &str, path: &str) -> Result<(), CallError> {
        let paths = &self.work.paths;
        if paths.len() >= MAX_OUTPUTS {
            return Err(self
                .gate
                .limit_reached(limits::fixed("outputs_limit", "50,000 artifacts written in one attempt")));
        }
        let taken = |path: &str| paths.contains(&(resource.to_owned(), path.to_owned()));
        let above = path.match_indices('/').filter_map(|(at, _)| path.get(..at)).find(|above| taken(above));
        let folder = (resource.to_owned(), format!("{path}/"));
        let below = paths.range(folder.clone()..).next().filter(|(r, p)| *r == folder.0 && p.starts_with(&folder.1));
        let conflict = above.or(below.map(|(_, below)| below.as_str())).or(taken(path).then_some(path));
        let Some(conflict) = conflict else { return Ok(()) };
        let path = escape(path.as_bytes());
        let message = if conflict == path {
            format!("this attempt writes `{path}` in {resource} already")
        } else {
            let conflict = escape(conflict.as_bytes());
            format!("this attempt writes `{conflict}` in {resource}: it cannot write `{path}` too")
        };
        Err(CallError::refused("already-exists", message))
    }

    /// Refuses a path that contains a secret. A path cannot be masked: it names the file.
    fn check_no_secret(&self, path: &str) -> Result<(), CallError> {
        if !self.masker.finds(path) {
            return Ok(());
        }
        let path = escape(self.masker.mask(path).as_bytes());
        Err(CallError::invalid(format!(
            "`{path}` contains the value of a secret, and paths are on record: write to another path"
        )))
    }

    /// Creates a staged file if the grants, the path, and the other written paths permit it. It
    /// counts as a handle until `Gate::close_handle` is called.
    pub(super) async fn writer_at(
        &mut self,
        call: &str,
        resource: String,
        path: String,
        overwrite: bool,
    ) -> Result<WriterEntry, CallError> {
        let target = self.known(call, &resource, Self::may_write)?;
        check_path(&path).map_err(|why| self.gate.resource_failed(&why))?;
        self.check_no_secret(&path)?;
        self.check_unwritten(&resource, &path)?;
        let replaces = if overwrite { None } else { self.published_earlier(&resource, &path).await? };
        let overwrite = overwrite || replaces.is_some();
        self.gate.open_handle()?;
        let id = ArtifactId::new();
        self.work.touched.insert(resource.clone());
        let cpu = self.cpu.clone();
        let made = cpu.host(target.create(self.order.fence.attempt_id, id, &path, overwrite)).await;
        let stage = made.map_err(|why| {
            self.gate.close_handle();
            self.gate.resource_failed(&why)
        })?;
        self.work.paths.insert((resource.clone(), path.clone()));
        Ok(WriterEntry {
            id,
            resource,
            path,
            bytes: 0,
            calls: 0,
            size: 0,
            stage: Some(stage),
            replaces,
            finished: false,
        })
    }
}

/// Converts an artifact to its form for an attempt, which is told which tags it has.
fn shown(tape: &Tape, artifact: &Artifact) -> types::Artifact {
    types::Artifact { tags: tape.tags(artifact.id, &artifact.tags), ..record(artifact) }
}

/// Converts an artifact to its form for guests.
pub(super) fn record(artifact: &Artifact) -> types::Artifact {
    types::Artifact {
        id: artifact.id.to_string(),
        resource: artifact.resource.clone(),
        path: artifact.path.clone(),
        version: artifact.version,
        digest: artifact.digest.map(|digest| digest.to_string()).unwrap_or_default(),
        size: artifact.size,
        created_at: artifact.created_at.to_string(),
        tags: artifact.tags.clone(),
    }
}

pub(super) fn artifact_id(text: &str) -> Result<ArtifactId, CallError> {
    text.parse().map_err(|_| {
        let text = escape(crate::base::bounds::cut(text, 100).as_bytes());
        CallError::invalid(format!("`{text}` is not the id of an artifact"))
    })
}

fn chunk(bytes: usize) -> Result<usize, CallError> {
    if bytes <= MAX_CHUNK_BYTES {
        return Ok(bytes);
    }
    Err(CallError::invalid(format!(
        "{bytes} bytes in one call; at most 8 MiB ({MAX_CHUNK_BYTES} bytes) are moved at once"
    )))
}
