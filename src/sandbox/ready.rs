//! A component that is ready to run: it is linked, and its exports are known.
//!
//! An action exports `action`, a command `wasi:cli/run`, a trigger component `decider`. A component
//! that exports `action` is called as an action, whatever else it exports. The host looks for
//! `hooks` once, when the component is loaded, so components without hooks have no cost for them at
//! run time. A component that exports only a part of the interface is refused when it is loaded. A
//! command has no hooks, because it could not receive their arguments.

use wasmtime::Engine;
use wasmtime::Store;
use wasmtime::component::{Component, Instance, InstancePre};
use wasmtime_wasi::p2::bindings::exports::wasi::cli::run;

use crate::base::fault;

use super::bindings::anacostia::pipeline::types;
use super::bindings::exports::anacostia::pipeline::{action, decider, hooks};
use super::command;
use super::ended::Ended;
use super::hook::Hook;
use super::host::{GuestState, http};

/// The export of actions. It also matches later patches of the same minor version.
const ACTION: &str = "anacostia:pipeline/action@0.1.0";
/// The export of hooks.
const HOOKS: &str = "anacostia:pipeline/hooks@0.1.0";
/// The export of trigger components.
const DECIDER: &str = "anacostia:pipeline/decider@0.1.0";
/// The export of commands.
const RUN: &str = "wasi:cli/run@0.2.0";

/// A component that is ready to run.
#[derive(Clone)]
pub(super) struct ReadyComponent {
    instance: InstancePre<GuestState>,
    kind: Kind,
    imports_http: bool,
}

#[derive(Clone)]
enum Kind {
    Action { action: action::GuestIndices, hooks: Option<hooks::GuestIndices> },
    Command(run::GuestIndices),
    Decider(decider::GuestIndices),
}

/// Returns whether the component is one that a trigger asks: it exports `decider`, and no action.
pub(super) fn is_decider(component: &Component) -> bool {
    let exports = |name: &str| component.get_export_index(None, name).is_some();
    exports(DECIDER) && !exports(ACTION)
}

/// Returns whether the component imports `wasi:http`.
pub(super) fn imports_http(component: &Component, engine: &Engine) -> bool {
    component.component_type().imports(engine).any(|(name, _)| name.starts_with(http::PACKAGE))
}

impl ReadyComponent {
    /// Finds the exports of a linked component.
    pub(super) fn new(instance: InstancePre<GuestState>) -> wasmtime::Result<Self> {
        let exports = |name: &str| instance.component().get_export_index(None, name).is_some();
        let kind = if is_decider(instance.component()) {
            Kind::Decider(decider::GuestIndices::new(&instance)?)
        } else if !exports(ACTION) && exports(RUN) {
            Kind::Command(run::GuestIndices::new(&instance)?)
        } else {
            let action = action::GuestIndices::new(&instance)?;
            let hooks = exports(HOOKS).then(|| hooks::GuestIndices::new(&instance)).transpose()?;
            Kind::Action { action, hooks }
        };
        let imports_http = imports_http(instance.component(), instance.engine());
        Ok(Self { instance, kind, imports_http })
    }

    /// Returns whether the component imports `wasi:http`.
    pub(super) fn imports_http(&self) -> bool {
        self.imports_http
    }

    /// Returns whether it has hooks.
    pub(super) fn has_hooks(&self) -> bool {
        matches!(self.kind, Kind::Action { hooks: Some(_), .. })
    }

    /// Returns whether it is a command.
    pub(super) fn is_command(&self) -> bool {
        matches!(self.kind, Kind::Command(_))
    }

    /// Calls `run` in a fresh instance.
    pub(super) async fn run(&self, store: &mut Store<GuestState>) -> Ended<types::Outcome> {
        fault::point("attempt.before_guest");
        match &self.kind {
            Kind::Action { action, .. } => {
                let instance = self.instance(&mut *store).await?;
                let action = action.load(&mut *store, &instance)?;
                action.call_run(&mut *store).await
            }
            Kind::Command(run) => command::run(&self.instance, run, store).await,
            Kind::Decider(_) => Err(wasmtime::Error::msg("it is a trigger component, not an action")),
        }
    }

    /// Calls `decide` in a fresh instance.
    pub(super) async fn decide(&self, store: &mut Store<GuestState>) -> Ended<decider::Decision> {
        let Kind::Decider(decider) = &self.kind else {
            return Err(wasmtime::Error::msg("it is not a trigger component"));
        };
        let instance = self.instance(&mut *store).await?;
        let decider = decider.load(&mut *store, &instance)?;
        decider.call_decide(&mut *store).await
    }

    /// Calls a hook in a fresh instance. Does nothing if the component has no hooks.
    pub(super) async fn hook(&self, store: &mut Store<GuestState>, hook: &Hook) -> Ended<()> {
        let Kind::Action { hooks: Some(hooks), .. } = &self.kind else { return Ok(Ok(())) };
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

    /// Creates a fresh instance. Failures after this point are caused by the guest.
    async fn instance(&self, store: &mut Store<GuestState>) -> wasmtime::Result<Instance> {
        let instance = self.instance.instantiate_async(&mut *store).await?;
        store.data_mut().started = true;
        Ok(instance)
    }
}
