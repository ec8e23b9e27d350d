//! `/in`: the inputs of the action, as `resources.inputs` returns them.

use globset::GlobBuilder;

use crate::base::escape;
use crate::model::Artifact;
use crate::sandbox::host::GuestState;
use crate::sandbox::host::access::CallError;

use super::FileError;
use super::state::Open;
use super::tree::Found;

/// The maximum number of names in a message.
const MAX_NAMED: usize = 5;

impl GuestState {
    /// Adds the inputs of one resource. If a path has several versions, the newest is visible.
    pub(super) async fn add_inputs(&mut self, resource: &str) -> Result<(), CallError> {
        let cpu = self.cpu.clone();
        cpu.host(self.note_inputs(resource)).await?;
        let inputs: Vec<Artifact> = cpu.host(self.inputs_in(resource)).await?.iter().cloned().collect();
        self.files.inputs.make_folder(resource);
        for artifact in inputs {
            let place = format!("{resource}/{}", artifact.path);
            match self.files.inputs.find(&place) {
                Found::File(_) | Found::Nothing => self.files.inputs.put(&place, artifact),
                // The path was a file when one of them was recorded, and a folder when the other
                // was.
                Found::Folder | Found::InFile => {
                    self.log_once(
                        &format!("in/{place}"),
                        "is not shown: its path conflicts with another input: one has a file where the other has a folder",
                    );
                }
            }
        }
        Ok(())
    }

    /// Opens an input.
    pub(super) async fn open_input(&mut self, place: &str, artifact: Artifact) -> Result<Open, FileError> {
        let cpu = self.cpu.clone();
        let opened = cpu.host(self.reader_of(artifact)).await;
        opened.map(|reader| Open::Input(Box::new(reader))).map_err(|error| self.refuse(place, error))
    }

    /// Returns the error for a change to something in `/in`.
    pub(super) fn deny_input(&mut self, place: &str) -> FileError {
        let action = &self.order.action;
        let path = place.strip_prefix("in/").unwrap_or_default();
        let (resource, _) = path.split_once('/').unwrap_or((path, ""));
        let instead = if self.order.writes.iter().any(|granted| granted == resource) {
            format!("; write to `/out/{}`", escape(path.as_bytes()))
        } else if self.services.resources.contains_key(resource) {
            let writes = self.order.writes.iter().map(String::as_str).chain([resource]);
            let writes: Vec<String> = writes.map(|name| format!("\"{name}\"")).collect();
            let writes = writes.join(", ");
            format!(
                "; to let it make new versions in `/out/{resource}`, write in anacostia.toml:\n[actions.{action}]\nwrites = [{writes}]"
            )
        } else {
            String::new()
        };
        let message = format!("`{action}` may not change files in `/in`: they are its inputs{instead}");
        let error = self.deny_file(place, message);
        self.refuse(place, CallError::Refused(error))
    }

    /// Opens the file for standard input: the one input that matches `wanted`.
    pub(super) async fn open_stdin(&mut self, wanted: &str) -> Result<Open, CallError> {
        let failed = |why: String| CallError::refused("stdin", format!("`stdin = \"{wanted}\"` {why}"));
        let (resource, pattern) = wanted.split_once('/').unwrap_or((wanted, "**"));
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        let glob = glob.map_err(|why| failed(format!("cannot be read: {why}")))?.compile_matcher();
        let matches = |artifact: &&Artifact| artifact.path == pattern || glob.is_match(&artifact.path);
        let inputs = self.files.inputs.files_below(resource).map(|(_, artifact)| artifact);
        let found: Vec<&Artifact> = inputs.filter(matches).collect();
        let artifact = match found.as_slice() {
            [artifact] => Artifact::clone(artifact),
            [] => return Err(failed("names none of the action's inputs; it must name one".to_owned())),
            many => {
                let names = many.iter().take(MAX_NAMED).map(|artifact| escape(artifact.path.as_bytes()));
                let (count, names) = (many.len(), names.collect::<Vec<_>>().join("`, `"));
                let more = if count > MAX_NAMED { " and others" } else { "" };
                return Err(failed(format!("names {count} of the action's inputs; it must name one: `{names}`{more}")));
            }
        };
        let cpu = self.cpu.clone();
        cpu.host(self.reader_of(artifact)).await.map(|reader| Open::Input(Box::new(reader)))
    }
}
