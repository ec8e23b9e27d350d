//! Makes the calls of one attempt: `run`, and the hooks of a component that has them. This module
//! implements what `wit/pipeline.wit` guarantees for hooks.
//!
//! Each call runs in a fresh store and a fresh instance, one after another. The usage, the accesses
//! and the staged files of the attempt are passed from store to store, so limits, usage and lineage
//! cover all calls.
//!
//! Hooks are called before the commit point, as part of the attempt. Rejected: calling `on-success`
//! and `after-run` after the outputs are visible. The attempt's record is closed by then, so what
//! they read, used and logged would not be recorded, or would need a second record. A host that
//! dies between the two would have to choose between skipping them and calling them without the
//! state of the attempt.

use std::sync::Arc;

use wasmtime::Store;

use crate::model::{ErrorInfo, LogLevel, Outcome};

use super::halt::Halt;
use super::hook::Hook;
use super::host::GuestState;
use super::host::output::OutputLines;
use super::setup::Attempt;
use super::watch::{Cause, Ending, Slices, Watch};
use super::{limits, outcome};

/// Makes the calls of one attempt.
pub(super) struct Calls<'a> {
    pub(super) attempt: &'a Attempt,
    /// Pairs of the name that the guest sees and the value.
    pub(super) secrets: &'a [(String, String)],
    pub(super) outputs: &'a [Arc<OutputLines>; 2],
    pub(super) watch: Watch,
}

impl Calls<'_> {
    /// Makes all calls, from the state of an attempt that begins.
    pub(super) async fn make(mut self, state: GuestState) -> (GuestState, Outcome) {
        if !self.attempt.component.has_hooks() {
            return Box::pin(self.run(state)).await;
        }
        let (state, failed) = self.before_run(state).await;
        let (state, outcome) = match failed {
            Some(outcome) => (state, outcome),
            None => Box::pin(self.run(self.renewed(state, None))).await,
        };
        self.call_final_hooks(state, outcome).await
    }

    async fn run(&mut self, state: GuestState) -> (GuestState, Outcome) {
        let mut store = self.attempt.store(state);
        let slices = Slices::of(store.data(), &self.attempt.ticker);
        let ending = self.watch.over(slices.poll(self.attempt.component.run(&mut store))).await;
        let state = self.end(store);
        let outcome = match ending {
            Ending::Guest(_) if self.watch.is_cancelled() => Outcome::Cancelled,
            Ending::Guest(ended) => outcome::of(ended, &state),
            Ending::Stopped(cause) => stopped(cause, &state),
        };
        (state, outcome)
    }

    async fn hook(&mut self, state: GuestState, hook: &Hook) -> (GuestState, Ending<()>) {
        let mut store = self.attempt.store(state);
        let slices = Slices::of(store.data(), &self.attempt.ticker);
        let ending = self.watch.over(slices.poll(self.attempt.component.hook(&mut store, hook))).await;
        (self.end(store), ending)
    }

    /// Calls `before-run`. Returns an outcome if `run` must not be called.
    async fn before_run(&mut self, state: GuestState) -> (GuestState, Option<Outcome>) {
        let hook = Hook::BeforeRun;
        let (state, ending) = self.hook(state, &hook).await;
        let failed = match ending {
            Ending::Guest(_) if self.watch.is_cancelled() => Some(Outcome::Cancelled),
            Ending::Guest(ended) => outcome::value(ended, &state).err().map(|error| {
                let message = format!("`{}` failed: {}", hook.name(), error.message);
                outcome::unless_changed(Outcome::Failed(ErrorInfo { message, ..error }), &state)
            }),
            Ending::Stopped(cause) => Some(stopped(cause, &state)),
        };
        (state, failed)
    }

    /// Calls the hooks that follow `run`, as long as the attempt has time and CPU left.
    async fn call_final_hooks(&mut self, mut state: GuestState, mut outcome: Outcome) -> (GuestState, Outcome) {
        for hook in Hook::about(&outcome).into_iter().chain([Hook::AfterRun]) {
            if outcome == Outcome::HandedBack {
                break;
            }
            if let Some(why) = self.is_over(&state) {
                state.log.host(LogLevel::Warn, &format!("`{}` is not called: {why}", hook.name()));
                continue;
            }
            let ending;
            (state, ending) = self.hook(self.renewed(state, Some(hook.name())), &hook).await;
            outcome = self.after_hook(outcome, &hook, ending, &state);
        }
        let outcome = if succeeded(&outcome) { outcome::unless_changed(outcome, &state) } else { outcome };
        (state, outcome)
    }

    /// Returns the outcome after a hook that cannot change it by failing.
    fn after_hook(&self, outcome: Outcome, hook: &Hook, ending: Ending<()>, state: &GuestState) -> Outcome {
        let (action, limits) = (&state.order.action, &state.order.limits);
        let failed = match ending {
            Ending::Stopped(Cause::HandedBack) => return Outcome::HandedBack,
            Ending::Stopped(Cause::Cancelled) => Some(ErrorInfo::permanent(
                "cancelled",
                "it was still running when the grace period of the cancelled attempt ended",
            )),
            Ending::Stopped(Cause::WallTime) => Some(limits::wall(action, limits)),
            Ending::Guest(Err(why)) if why.downcast_ref().is_some_and(Halt::ends_attempt) => {
                let error = outcome::value::<()>(Err(why), state).err();
                return error.filter(|_| succeeded(&outcome)).map_or(outcome, Outcome::Failed);
            }
            Ending::Guest(ended) => outcome::value(ended, state).err(),
        };
        if let Some(error) = failed {
            let text = format!(
                "`{}` failed, which does not change the result: {}: {}",
                hook.name(),
                error.code,
                error.message
            );
            state.log.host(LogLevel::Error, &text);
        }
        if self.watch.is_cancelled() { Outcome::Cancelled } else { outcome }
    }

    /// Returns why no further hook can be called, if none can.
    fn is_over(&self, state: &GuestState) -> Option<String> {
        let halt = state.log.halt().or_else(|| state.cpu.is_used_up().then_some(Halt::Cpu));
        halt.map(|halt| halt.to_string()).or_else(|| self.watch.is_over().map(str::to_owned))
    }

    /// Returns the state for the next call.
    fn renewed(&self, mut state: GuestState, read_only: Option<&'static str>) -> GuestState {
        let (table, wasi) = (self.attempt.table(), self.attempt.wasi(self.secrets, self.outputs));
        state.renew(table, wasi, read_only);
        state
    }

    fn end(&self, store: Store<GuestState>) -> GuestState {
        for output in self.outputs {
            output.finish();
        }
        store.into_data()
    }
}

/// Returns the outcome of an attempt that was stopped before its work was done.
fn stopped(cause: Cause, state: &GuestState) -> Outcome {
    match cause {
        Cause::WallTime => Outcome::TimedOut(limits::wall(&state.order.action, &state.order.limits)),
        Cause::Cancelled => Outcome::Cancelled,
        Cause::HandedBack => Outcome::HandedBack,
    }
}

fn succeeded(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Done(_) | Outcome::Skip(_))
}
