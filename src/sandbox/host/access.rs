//! The gate: every host function of `anacostia:pipeline` goes through it.
//!
//! The gate checks grants, counts usage, and records accesses and denials. Lineage is derived from
//! the recorded accesses; an action never declares it.

use std::collections::BTreeMap;

use wasmtime::component::ResourceTableError;

use crate::base::bounds::cut;
use crate::base::{ArtifactId, Digest, escape};
use crate::manifest::Limits;
use crate::model::{Access, AccessKind, Artifact, Denial, Dependency, Entry, ErrorInfo, Influence};
use crate::resource::ResourceError;
use crate::sandbox::halt::Halt;
use crate::sandbox::handles::{Handles, Held};
use crate::sandbox::limits;
use crate::sandbox::order::{AttemptOrder, MAX_DENIALS, Trace};
use crate::store::StoreError;

use super::observed::Observed;

/// Maximum length of a recorded denial's target, in bytes.
const MAX_TARGET_BYTES: usize = 200;

/// The maximum number of artifacts that one attempt reads. Each is a row of the attempt's record,
/// and all rows are written in one transaction. Artifacts that were opened before the bound was
/// reached, and are read after it, may exceed the bound; their number is limited by the number of
/// handles.
const MAX_READS: usize = 100_000;

/// The error of a host function.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The call fails, and the guest receives this error.
    Refused(ErrorInfo),
    /// The host stops the guest.
    Halted(Halt),
    /// The guest violated the rules of the component model, for example by using a handle that it
    /// does not own. The host stops it.
    Broken(wasmtime::Error),
}

impl CallError {
    /// Returns a permanent error with this code.
    pub(super) fn refused(code: &str, message: impl Into<String>) -> Self {
        Self::Refused(ErrorInfo::permanent(code, message))
    }

    /// Returns the error for an argument that is out of bounds.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::refused("invalid", message)
    }
}

impl From<Halt> for CallError {
    fn from(halt: Halt) -> Self {
        Self::Halted(halt)
    }
}

impl From<ResourceTableError> for CallError {
    fn from(why: ResourceTableError) -> Self {
        Self::Broken(why.into())
    }
}

impl From<StoreError> for CallError {
    fn from(why: StoreError) -> Self {
        match why {
            StoreError::Fenced { .. }
            | StoreError::Lost { .. }
            | StoreError::TakenOver { .. }
            | StoreError::Forgotten { .. } => Self::Halted(Halt::Fenced(why.to_string())),
            StoreError::PathTaken { .. } => Self::refused("already-exists", why.to_string()),
            StoreError::Invalid(_) => Self::refused("invalid", why.to_string()),
            StoreError::Unavailable { .. }
            | StoreError::InUse { .. }
            | StoreError::StateInUse { .. }
            | StoreError::ReadOnly { .. } => Self::Refused(ErrorInfo::retryable("unavailable", why.to_string())),
            StoreError::Conflict(_) | StoreError::Corrupt(_) => Self::refused("failed", why.to_string()),
        }
    }
}

/// The accesses to one artifact so far.
#[derive(Debug, Default, Clone, Copy)]
struct Used {
    bytes: u64,
    calls: u64,
    digest: Option<Digest>,
}

/// The permissions of one attempt, and its accesses.
#[derive(Debug)]
pub(in crate::sandbox) struct Gate {
    action: String,
    reads: Vec<String>,
    writes: Vec<String>,
    limits: Limits,
    /// The name of the current hook, if that hook may not write.
    read_only: Option<&'static str>,
    calls: u64,
    bytes_read: u64,
    bytes_written: u64,
    /// Total current size of the staged files, including holes.
    bytes_staged: u64,
    open_handles: u32,
    held: Held,
    accesses: BTreeMap<(ArtifactId, bool), Used>,
    /// The number of reads in `accesses`.
    reads_noted: usize,
    denials: Vec<Denial>,
    changed: Option<ErrorInfo>,
    reached: Option<ErrorInfo>,
    refused: Option<ErrorInfo>,
    /// What the result depends on, if the action is cached.
    observed: Option<Observed>,
}

impl Gate {
    /// Creates the gate of an attempt.
    pub(in crate::sandbox) fn new(order: &AttemptOrder) -> Self {
        Self {
            action: order.action.clone(),
            reads: order.reads.clone(),
            writes: order.writes.clone(),
            limits: order.limits.clone(),
            read_only: None,
            calls: 0,
            bytes_read: 0,
            bytes_written: 0,
            bytes_staged: 0,
            open_handles: 0,
            held: Held::none(Handles::of_process()),
            accesses: BTreeMap::new(),
            reads_noted: 0,
            denials: Vec::new(),
            changed: None,
            reached: None,
            refused: None,
            observed: order.cache.is_some().then(Observed::default),
        }
    }

    /// Prepares the gate for the next instance, which has no handles and has not reached a limit.
    /// `read_only` names the next hook if that hook may not write.
    pub(in crate::sandbox) fn renew(&mut self, read_only: Option<&'static str>) {
        self.open_handles = 0;
        self.held = Held::none(Handles::of_process());
        (self.reached, self.refused) = (None, None);
        self.read_only = read_only;
    }

    /// Counts a call of a host function.
    pub(super) fn enter(&mut self) {
        self.calls += 1;
    }

    /// Checks that the grants allow reading from `resource`.
    pub(super) fn may_read(&mut self, call: &str, resource: &str) -> Result<(), CallError> {
        if self.reads.iter().any(|granted| granted == resource) {
            return Ok(());
        }
        Err(self.deny_resource(call, resource, "read", "reads", &self.reads.clone()))
    }

    /// Checks that the grants and the current hook allow writing to `resource`.
    pub(super) fn may_write(&mut self, call: &str, resource: &str) -> Result<(), CallError> {
        if let Some(hook) = self.read_only {
            let message = format!(
                "`{hook}` may not write to `{resource}`: of the hooks only `before-run` may; write it there, in `run`, or in an action after this one"
            );
            return Err(CallError::Refused(self.deny(call, resource, message)));
        }
        if self.writes.iter().any(|granted| granted == resource) {
            return Ok(());
        }
        Err(self.deny_resource(call, resource, "write to", "writes", &self.writes.clone()))
    }

    /// Records a denied call, and returns the error for the guest.
    pub(in crate::sandbox) fn deny(&mut self, call: &str, target: &str, message: String) -> ErrorInfo {
        if self.denials.len() < MAX_DENIALS {
            // Truncated twice, because escaping lengthens the text.
            let target = escape(cut(target, MAX_TARGET_BYTES).as_bytes());
            let target = cut(&target, MAX_TARGET_BYTES).into_owned();
            self.denials.push(Denial { call: call.to_owned(), target, message: message.clone() });
        }
        ErrorInfo::permanent("denied", message)
    }

    /// Checks that one more artifact may be opened for reading. Only the number of distinct
    /// artifacts is bounded.
    pub(super) fn check_reads(&mut self, artifact: ArtifactId) -> Result<(), CallError> {
        if self.reads_noted < MAX_READS || self.accesses.contains_key(&(artifact, false)) {
            return Ok(());
        }
        Err(self.limit_reached(limits::fixed("reads_limit", "100,000 artifacts read in one attempt")))
    }

    /// Counts a reader or writer that is opened.
    pub(super) fn open_handle(&mut self) -> Result<(), CallError> {
        if self.open_handles >= self.limits.handles {
            return Err(self.limit_reached(limits::handles(&self.action, &self.limits)));
        }
        if !self.held.take() {
            let error = limits::files_of_host(Handles::of_process().most());
            self.note_irregular(|| format!("a call has failed: {}", error.message));
            return Err(CallError::Refused(error));
        }
        self.open_handles += 1;
        Ok(())
    }

    /// Counts a reader or writer that is closed.
    pub(super) fn close_handle(&mut self) {
        self.open_handles = self.open_handles.saturating_sub(1);
        self.held.give_back();
    }

    /// Counts `bytes` of growth of the staged files against the output limit, before the bytes are
    /// written.
    pub(super) fn grow_output(&mut self, bytes: u64) -> Result<(), CallError> {
        let staged = self.bytes_staged.saturating_add(bytes);
        if staged > self.limits.output_bytes {
            return Err(self.limit_reached(limits::output(&self.action, &self.limits)));
        }
        self.bytes_staged = staged;
        Ok(())
    }

    /// Gives back `bytes` of the output limit, after a file was truncated or removed.
    pub(super) fn shrink_output(&mut self, bytes: u64) {
        self.bytes_staged = self.bytes_staged.saturating_sub(bytes);
    }

    /// Counts bytes that were written.
    pub(super) fn note_output(&mut self, bytes: u64) {
        self.bytes_written = self.bytes_written.saturating_add(bytes);
    }

    /// Checks that `names` distinct metric names are within the limit.
    pub(super) fn check_metric_names(&mut self, names: usize) -> Result<(), CallError> {
        if u64::try_from(names).unwrap_or(u64::MAX) > u64::from(self.limits.metric_names) {
            return Err(self.limit_reached(limits::metric_names(&self.action, &self.limits)));
        }
        Ok(())
    }

    /// Records that a limit was reached, and returns the error for the guest. If the attempt then
    /// fails with it, the record names the limit.
    pub(super) fn limit_reached(&mut self, error: ErrorInfo) -> CallError {
        self.reached = Some(error.clone());
        CallError::Refused(error)
    }

    /// Records bytes that were read from an artifact. `digest` is the digest of the whole content,
    /// if it has become known.
    pub(super) fn note_read(&mut self, artifact: ArtifactId, bytes: usize, digest: Option<Digest>) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes_read = self.bytes_read.saturating_add(bytes);
        self.note(artifact, false, Used { bytes, calls: 1, digest });
    }

    /// Counts bytes of rows that were read from a database.
    pub(super) fn note_rows(&mut self, bytes: usize) {
        self.bytes_read = self.bytes_read.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Records an artifact that was written in `calls` calls.
    pub(super) fn note_written(&mut self, artifact: ArtifactId, bytes: u64, calls: u64) {
        self.note(artifact, true, Used { bytes, calls, digest: None });
    }

    /// Converts an error of a resource. If an input has changed, the gate remembers it, because the
    /// attempt can no longer succeed.
    pub(super) fn resource_failed(&mut self, why: &ResourceError) -> CallError {
        let error = ErrorInfo { code: why.code().to_owned(), message: why.to_string(), retryable: why.retryable() };
        if matches!(why, ResourceError::Changed { .. }) && self.changed.is_none() {
            self.changed = Some(error.clone());
        }
        if matches!(why, ResourceError::Full { .. }) {
            self.note_refusal(&error);
        }
        self.note_irregular(|| format!("a call has failed: {why}"));
        CallError::Refused(error)
    }

    /// Converts an error of a database. A denial is recorded.
    pub(super) fn database_failed(&mut self, call: &str, why: &ResourceError) -> CallError {
        match why {
            ResourceError::Table { resource, table, writes } => {
                let (action, verb, key) = match writes {
                    true => (&self.action, "change", "write"),
                    false => (&self.action, "read", "read"),
                };
                let message = format!(
                    "`{action}` may not {verb} the table `{table}` of `{resource}`; to grant it, add it in anacostia.toml:\n[actions.{action}.tables]\n{resource} = {{ {key} = [\"{table}\"] }}"
                );
                CallError::Refused(self.deny(call, resource, message))
            }
            ResourceError::Statement { resource, code: "denied", .. } => {
                CallError::Refused(self.deny(call, resource, why.to_string()))
            }
            _ => self.resource_failed(why),
        }
    }

    /// Records why a call was refused, so that the attempt's record names the reason even if the
    /// guest does not pass it on: the guest may see only an error number, or may abort.
    pub(super) fn note_refusal(&mut self, error: &ErrorInfo) {
        self.refused = Some(error.clone());
    }

    /// Returns the last reason passed to [`Self::note_refusal`].
    pub(in crate::sandbox) fn refused(&self) -> Option<&ErrorInfo> {
        self.refused.as_ref()
    }

    /// Returns the first detected change of an input.
    pub(in crate::sandbox) fn changed(&self) -> Option<&ErrorInfo> {
        self.changed.as_ref()
    }

    /// Returns the last limit that a call reached.
    pub(in crate::sandbox) fn reached(&self) -> Option<&ErrorInfo> {
        self.reached.as_ref()
    }

    /// Returns the number of calls, bytes read, and bytes written.
    pub(in crate::sandbox) fn counts(&self) -> (u64, u64, u64) {
        (self.calls, self.bytes_read, self.bytes_written)
    }

    /// Notes a question of the guest, with its answer, if the action is cached.
    pub(super) fn note_dependency(&mut self, dependency: impl FnOnce() -> Dependency) {
        if let Some(observed) = &mut self.observed {
            observed.note(dependency());
        }
    }

    /// Returns whether the inputs in a resource are still to be noted.
    pub(super) fn wants_inputs(&self, resource: &str) -> bool {
        self.observed.as_ref().is_some_and(|observed| !observed.knows_inputs(resource))
    }

    /// Notes that an artifact was opened. What is read of it follows with the accesses.
    pub(super) fn note_opened(&mut self, artifact: &Artifact) {
        self.note_dependency(|| Dependency::Opened {
            resource: artifact.resource.clone(),
            path: artifact.path.clone(),
            id: artifact.id,
            digest: artifact.digest,
            bytes: 0,
            calls: 0,
        });
    }

    /// Notes the use of something that is not on record.
    pub(in crate::sandbox) fn note_use(&mut self, influence: Influence) {
        if let Some(observed) = &mut self.observed {
            observed.note_use(influence);
        }
    }

    /// Notes tags of the run.
    pub(super) fn note_run_tags(&mut self, tags: &[Entry]) {
        if let Some(observed) = &mut self.observed {
            observed.note_run_tags(tags);
        }
    }

    /// Notes why the result cannot be told from what is on record.
    pub(in crate::sandbox) fn note_irregular(&mut self, why: impl FnOnce() -> String) {
        if let Some(observed) = &mut self.observed {
            observed.note_irregular(why());
        }
    }

    /// Returns what the result depends on, if the action is cached.
    pub(in crate::sandbox) fn take_trace(&mut self) -> Option<Trace> {
        let mut trace = self.observed.take()?.into_trace();
        for dependency in &mut trace.dependencies {
            if let Dependency::Opened { id, digest, bytes, calls, .. } = dependency
                && let Some(used) = self.accesses.get(&(*id, false))
            {
                *digest = digest.or(used.digest);
                (*bytes, *calls) = (used.bytes, used.calls);
            }
        }
        Some(trace)
    }

    /// Returns the accesses and denials for the record.
    pub(in crate::sandbox) fn into_records(self) -> (Vec<Access>, Vec<Denial>) {
        let accesses = self
            .accesses
            .into_iter()
            .map(|((artifact_id, wrote), Used { bytes, calls, digest })| {
                let kind = if wrote { AccessKind::Wrote } else { AccessKind::Read };
                Access { artifact_id, kind, bytes, calls, digest }
            })
            .collect();
        (accesses, self.denials)
    }

    /// Returns the denials so far.
    pub(in crate::sandbox) fn denials(&self) -> &[Denial] {
        &self.denials
    }

    fn note(&mut self, artifact: ArtifactId, wrote: bool, more: Used) {
        let known = self.accesses.len();
        let used = self.accesses.entry((artifact, wrote)).or_default();
        used.bytes = used.bytes.saturating_add(more.bytes);
        used.calls += more.calls;
        used.digest = used.digest.or(more.digest);
        self.reads_noted += usize::from(!wrote && self.accesses.len() > known);
    }

    fn deny_resource(&mut self, call: &str, resource: &str, verb: &str, key: &str, granted: &[String]) -> CallError {
        let list: Vec<String> =
            granted.iter().map(String::as_str).chain([resource]).map(|name| format!("\"{name}\"")).collect();
        let action = &self.action;
        let message = format!(
            "`{action}` may not {verb} `{resource}`; to grant it, write in anacostia.toml:\n[actions.{action}]\n{key} = [{}]",
            list.join(", ")
        );
        CallError::Refused(self.deny(call, resource, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::order::tests::order;

    fn gate() -> Gate {
        let mut order = order();
        order.action = "train".to_owned();
        order.reads = vec!["raw".to_owned()];
        Gate::new(&order)
    }

    fn message(error: CallError) -> String {
        match error {
            CallError::Refused(error) => format!("{}: {}", error.code, error.message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_denial_shows_the_lines_that_would_grant_it() {
        let mut gate = gate();
        assert!(gate.may_read("resources.inputs", "raw").is_ok());
        assert_eq!(
            message(gate.may_write("resources.create", "models").unwrap_err()),
            "denied: `train` may not write to `models`; to grant it, write in anacostia.toml:\n\
             [actions.train]\nwrites = [\"models\"]"
        );
        assert!(message(gate.may_read("resources.list", "b").unwrap_err()).ends_with("reads = [\"raw\", \"b\"]"));
        assert_eq!(gate.denials().len(), 2);
        assert_eq!(gate.denials()[0].call, "resources.create");
        assert_eq!(gate.denials()[0].target, "models");
    }

    #[test]
    fn a_hook_that_may_not_write_is_told_where_to_write() {
        let mut gate = gate();
        gate.writes = vec!["models".to_owned()];
        gate.renew(Some("on-success"));
        let told = message(gate.may_write("resources.create", "models").unwrap_err());
        assert!(told.starts_with("denied: `on-success` may not write to `models`: of the hooks only `before-run` may"));
        assert_eq!(gate.denials().len(), 1);
        gate.renew(None);
        assert!(gate.may_write("resources.create", "models").is_ok());
    }

    #[test]
    fn distinct_denials_are_kept_up_to_a_bound() {
        let mut gate = gate();
        for target in ["\u{1}".repeat(500), "ä\u{202e}".repeat(500), "x".repeat(500)] {
            gate.deny("call", &target, String::new());
        }
        for denial in gate.denials() {
            let length = denial.target.len();
            assert!((MAX_TARGET_BYTES - 3..=MAX_TARGET_BYTES).contains(&length), "{length}: {}", denial.target);
        }
    }

    #[test]
    fn denials_are_kept_up_to_a_bound() {
        let mut gate = gate();
        for _ in 0..MAX_DENIALS + 50 {
            assert!(gate.may_write("resources.create", "models").is_err());
        }
        assert_eq!(gate.denials().len(), MAX_DENIALS);
    }

    #[test]
    fn the_number_of_recorded_reads_is_bounded_but_not_the_number_of_calls() {
        let mut gate = gate();
        let first = ArtifactId::new();
        gate.note_read(first, 1, None);
        for _ in 1..MAX_READS {
            gate.note_read(ArtifactId::new(), 1, None);
        }
        assert!(gate.check_reads(first).is_ok());
        let refused = message(gate.check_reads(ArtifactId::new()).unwrap_err());
        assert!(
            refused.starts_with("reads_limit: the bound of 100,000 artifacts read in one attempt is reached"),
            "{refused}"
        );
        gate.note_written(first, 1, 1);
        assert_eq!((gate.reads_noted, gate.accesses.len()), (MAX_READS, MAX_READS + 1));
    }

    #[test]
    fn output_is_counted_before_it_is_written() {
        let mut gate = gate();
        gate.limits.output_bytes = 10;
        assert!(gate.grow_output(10).is_ok());
        for more in [1, u64::MAX] {
            let refused = message(gate.grow_output(more).unwrap_err());
            assert!(refused.starts_with("output_limit: the limit of 10 B of output"), "{refused}");
        }
        gate.shrink_output(4);
        assert!(gate.grow_output(5).is_err() && gate.grow_output(4).is_ok());
        assert_eq!(gate.reached().unwrap().code, "output_limit");
    }
}
