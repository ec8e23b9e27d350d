//! The gate: the one place that every host function of `anacostia:pipeline` goes through. It checks
//! the grant, counts, and notes what was used and what was refused. Lineage is what it has noted:
//! an action never declares it.

use std::collections::BTreeMap;

use wasmtime::component::ResourceTableError;

use crate::base::bounds::cut;
use crate::base::{ArtifactId, Digest, escape};
use crate::manifest::Limits;
use crate::model::{Access, AccessKind, Denial, ErrorInfo};
use crate::resource::ResourceError;
use crate::sandbox::halt::Halt;
use crate::sandbox::handles::{Handles, Held};
use crate::sandbox::limits;
use crate::sandbox::order::{AttemptOrder, MAX_DENIALS};
use crate::store::StoreError;

/// Longest target of a denial that is kept, in bytes.
const MAX_TARGET_BYTES: usize = 200;

/// Most artifacts that one attempt reads: each is a row of its record, and all are recorded in one
/// transaction. Those that were opened before the bound was reached, and are read after it, come on
/// top; their number is bounded by that of handles.
const MAX_READS: usize = 100_000;

/// How a host function ends if not well.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The guest is told why.
    Refused(ErrorInfo),
    /// The guest is stopped.
    Halted(Halt),
    /// The guest broke the rules of the component model, such as using a handle that it does not
    /// have: it is stopped.
    Broken(wasmtime::Error),
}

impl CallError {
    /// An error with this code that trying again does not mend.
    pub(super) fn refused(code: &str, message: impl Into<String>) -> Self {
        Self::Refused(ErrorInfo::permanent(code, message))
    }

    /// An argument out of its bounds.
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
            StoreError::Fenced { .. } | StoreError::Lost { .. } => Self::Halted(Halt::Fenced(why.to_string())),
            StoreError::PathTaken { .. } => Self::refused("already-exists", why.to_string()),
            StoreError::Invalid(_) => Self::refused("invalid", why.to_string()),
            StoreError::Unavailable { .. } | StoreError::InUse { .. } | StoreError::StateInUse { .. } => {
                Self::Refused(ErrorInfo::retryable("unavailable", why.to_string()))
            }
            StoreError::Conflict(_) | StoreError::Corrupt(_) => Self::refused("failed", why.to_string()),
        }
    }
}

/// How an artifact was used so far.
#[derive(Debug, Default, Clone, Copy)]
struct Used {
    bytes: u64,
    calls: u64,
    digest: Option<Digest>,
}

/// What one attempt may do, and what it did.
#[derive(Debug)]
pub(in crate::sandbox) struct Gate {
    action: String,
    reads: Vec<String>,
    writes: Vec<String>,
    limits: Limits,
    /// The hook that is called, if it may not write.
    read_only: Option<&'static str>,
    calls: u64,
    bytes_read: u64,
    bytes_written: u64,
    /// Bytes that the files of the attempt have now, holes in them included.
    bytes_staged: u64,
    open_handles: u32,
    held: Held,
    accesses: BTreeMap<(ArtifactId, bool), Used>,
    /// How many of these are reads.
    reads_noted: usize,
    denials: Vec<Denial>,
    changed: Option<ErrorInfo>,
    reached: Option<ErrorInfo>,
    refused: Option<ErrorInfo>,
}

impl Gate {
    /// The gate of an attempt.
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
        }
    }

    /// Another instance follows: it has no handles, and has reached no limit by itself. `read_only`
    /// names the hook that it is for if that may not write.
    pub(in crate::sandbox) fn renew(&mut self, read_only: Option<&'static str>) {
        self.open_handles = 0;
        self.held = Held::none(Handles::of_process());
        (self.reached, self.refused) = (None, None);
        self.read_only = read_only;
    }

    /// A host function begins.
    pub(super) fn enter(&mut self) {
        self.calls += 1;
    }

    /// Whether the grants allow reading a resource.
    pub(super) fn may_read(&mut self, call: &str, resource: &str) -> Result<(), CallError> {
        if self.reads.iter().any(|granted| granted == resource) {
            return Ok(());
        }
        Err(self.deny_resource(call, resource, "read", "reads", &self.reads.clone()))
    }

    /// Whether the grants allow writing to a resource, and it is the time for it.
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

    /// Notes that a call was denied, and what the guest is told.
    pub(in crate::sandbox) fn deny(&mut self, call: &str, target: &str, message: String) -> ErrorInfo {
        if self.denials.len() < MAX_DENIALS {
            // Cut twice: what is escaped is longer.
            let target = escape(cut(target, MAX_TARGET_BYTES).as_bytes());
            let target = cut(&target, MAX_TARGET_BYTES).into_owned();
            self.denials.push(Denial { call: call.to_owned(), target, message: message.clone() });
        }
        ErrorInfo::permanent("denied", message)
    }

    /// An artifact is about to be opened for reading. Only the number of different ones is bounded.
    pub(super) fn check_reads(&mut self, artifact: ArtifactId) -> Result<(), CallError> {
        if self.reads_noted < MAX_READS || self.accesses.contains_key(&(artifact, false)) {
            return Ok(());
        }
        Err(self.limit_reached(limits::fixed("reads_limit", "100,000 artifacts read in one attempt")))
    }

    /// A reader or writer is opened.
    pub(super) fn open_handle(&mut self) -> Result<(), CallError> {
        if self.open_handles >= self.limits.handles {
            return Err(self.limit_reached(limits::handles(&self.action, &self.limits)));
        }
        if !self.held.take() {
            return Err(CallError::Refused(limits::files_of_host(Handles::of_process().most())));
        }
        self.open_handles += 1;
        Ok(())
    }

    /// A reader or writer is closed.
    pub(super) fn close_handle(&mut self) {
        self.open_handles = self.open_handles.saturating_sub(1);
        self.held.give_back();
    }

    /// The files that the attempt has staged are about to grow by so many bytes.
    pub(super) fn grow_output(&mut self, bytes: u64) -> Result<(), CallError> {
        let staged = self.bytes_staged.saturating_add(bytes);
        if staged > self.limits.output_bytes {
            return Err(self.limit_reached(limits::output(&self.action, &self.limits)));
        }
        self.bytes_staged = staged;
        Ok(())
    }

    /// So many bytes that were staged are gone: a file was cut or removed.
    pub(super) fn shrink_output(&mut self, bytes: u64) {
        self.bytes_staged = self.bytes_staged.saturating_sub(bytes);
    }

    /// Bytes were written.
    pub(super) fn note_output(&mut self, bytes: u64) {
        self.bytes_written = self.bytes_written.saturating_add(bytes);
    }

    /// `names` names of metrics are in use.
    pub(super) fn check_metric_names(&mut self, names: usize) -> Result<(), CallError> {
        if u64::try_from(names).unwrap_or(u64::MAX) > u64::from(self.limits.metric_names) {
            return Err(self.limit_reached(limits::metric_names(&self.action, &self.limits)));
        }
        Ok(())
    }

    /// A limit is reached: the guest is told, and if it then fails over it, the record says which
    /// limit it was.
    pub(super) fn limit_reached(&mut self, error: ErrorInfo) -> CallError {
        self.reached = Some(error.clone());
        CallError::Refused(error)
    }

    /// Bytes of an artifact were read. `digest` is that of all of it, if it is news.
    pub(super) fn note_read(&mut self, artifact: ArtifactId, bytes: usize, digest: Option<Digest>) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes_read = self.bytes_read.saturating_add(bytes);
        self.note(artifact, false, Used { bytes, calls: 1, digest });
    }

    /// An artifact was written, in `calls` calls.
    pub(super) fn note_written(&mut self, artifact: ArtifactId, bytes: u64, calls: u64) {
        self.note(artifact, true, Used { bytes, calls, digest: None });
    }

    /// A resource refused or failed. What has changed under the attempt is remembered: it can not
    /// succeed any more.
    pub(super) fn resource_failed(&mut self, why: &ResourceError) -> CallError {
        let error = ErrorInfo { code: why.code().to_owned(), message: why.to_string(), retryable: why.retryable() };
        if matches!(why, ResourceError::Changed { .. }) && self.changed.is_none() {
            self.changed = Some(error.clone());
        }
        if matches!(why, ResourceError::Full { .. }) {
            self.note_refusal(&error);
        }
        CallError::Refused(error)
    }

    /// A call was refused for a reason that the guest may not hand on, because what it sees is a
    /// number, or because it gives up: the record names it.
    pub(super) fn note_refusal(&mut self, error: &ErrorInfo) {
        self.refused = Some(error.clone());
    }

    /// The last reason of [`Self::note_refusal`].
    pub(in crate::sandbox) fn refused(&self) -> Option<&ErrorInfo> {
        self.refused.as_ref()
    }

    /// The first change of an input that was seen.
    pub(in crate::sandbox) fn changed(&self) -> Option<&ErrorInfo> {
        self.changed.as_ref()
    }

    /// The last limit that a call reached.
    pub(in crate::sandbox) fn reached(&self) -> Option<&ErrorInfo> {
        self.reached.as_ref()
    }

    /// Calls, bytes read, bytes written.
    pub(in crate::sandbox) fn counts(&self) -> (u64, u64, u64) {
        (self.calls, self.bytes_read, self.bytes_written)
    }

    /// Accesses and denials, for the record.
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

    /// What was denied so far.
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
    fn what_was_denied_is_kept_up_to_a_bound_however_it_is_spelt() {
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
    fn what_is_read_is_bounded_in_number_and_not_in_calls() {
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
