//! A component that is ready to run: linked, and its exports found.
//!
//! `action` is what every component has. `hooks` is looked for once, when the component is loaded, so that one without them pays nothing
//! for them when it runs. A component that has the interface in part is refused at loading.

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use crate::base::fault;

use super::bindings::anacostia::pipeline::types;
use super::bindings::exports::anacostia::pipeline::{action, hooks};
use super::hooks::Hook;
use super::host::GuestState;
use super::outcome::Ended;

/// The export that hooks are found by. Later patches of the same minor version are found by this name too.
const HOOKS: &str = "anacostia:pipeline/hooks@0.1.0";

/// A component that is ready to run.
#[derive(Clone)]
pub(super) struct ReadyComponent {
    instance: InstancePre<GuestState>,
    action: action::GuestIndices,
    hooks: Option<hooks::GuestIndices>,
}

impl ReadyComponent {
    /// Finds the exports.
    pub(super) fn new(instance: InstancePre<GuestState>) -> wasmtime::Result<Self> {
        let action = action::GuestIndices::new(&instance)?;
        let has_hooks = instance.component().get_export_index(None, HOOKS).is_some();
        let hooks = has_hooks.then(|| hooks::GuestIndices::new(&instance)).transpose()?;
        Ok(Self { instance, action, hooks })
    }

    /// Whether it has hooks.
    pub(super) fn has_hooks(&self) -> bool {
        self.hooks.is_some()
    }

    /// Calls `run` in a fresh instance.
    pub(super) async fn run(&self, store: &mut Store<GuestState>) -> Ended<types::Outcome> {
        fault::point("attempt.before_guest");
        let instance = self.instance(&mut *store).await?;
        let action = self.action.load(&mut *store, &instance)?;
        action.call_run(&mut *store).await
    }

    /// Calls a hook in a fresh instance. One that is not there has nothing to do.
    pub(super) async fn hook(&self, store: &mut Store<GuestState>, hook: &Hook) -> Ended<()> {
        let Some(hooks) = &self.hooks else { return Ok(Ok(())) };
        fault::point("attempt.before_hook");
        let instance = self.instance(&mut *store).await?;
        let hooks = hooks.load(&mut *store, &instance)?;
        match hook {
            Hook::BeforeRun => hooks.call_before_run(&mut *store).await,
            Hook::OnSuccess(outcome) => hooks.call_on_success(&mut *store, outcome).await,
            Hook::OnFailure(error) => hooks.call_on_failure(&mut *store, error).await,
            Hook::AfterRun => hooks.call_after_run(&mut *store).await,
        }
    }

    /// A fresh instance. From then on, what goes wrong is the guest's doing.
    async fn instance(&self, store: &mut Store<GuestState>) -> wasmtime::Result<Instance> {
        let instance = self.instance.instantiate_async(&mut *store).await?;
        store.data_mut().started = true;
        Ok(instance)
    }
}
