//! Decides the states of one run and its actions.

mod approval;
mod hold;
mod result;

use std::sync::Arc;
use std::time::Duration;

use crate::base::{Moment, Now};
use crate::graph::Graph;
use crate::manifest::{ApprovalSpec, Backoff, Retry, RunWhen};
use crate::model::{ActionState, Decision, Outcome, RunAction, RunState};
use crate::store::{ActionChange, RunChange};

/// After this many attempts in a row that crashed with the host, the action fails, because it may
/// be the cause.
pub const CRASH_LOOP: u32 = 3;

/// When one action runs and is retried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// The condition under which it runs.
    pub run_when: RunWhen,
    /// The retry policy.
    pub retry: Retry,
    /// The approval that it needs before its first attempt.
    pub approval: Option<Arc<ApprovalSpec>>,
}

/// What happened to a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An attempt of an action ended.
    Ended {
        /// The action.
        action: usize,
        /// The outcome of the attempt.
        outcome: Outcome,
        /// The time of its end.
        now: Now,
        /// A random number from 0 to 1, which spreads the wait before a retry.
        jitter: f64,
    },
    /// The backoff before an action's next try is over.
    BackoffOver {
        /// The action.
        action: usize,
    },
    /// The approval that an action waits for was decided.
    Decided {
        /// The action.
        action: usize,
        /// The decision, as on record.
        decision: Decision,
        /// The time at which the scheduler learned of it.
        now: Now,
    },
    /// Someone has requested to cancel the run.
    CancelRequested,
}

/// An attempt to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The action.
    pub action: usize,
    /// The number of the attempt; 1 for the first attempt of the action in the run.
    pub number: u32,
}

/// The state of one run, and the decisions about it.
#[derive(Debug, Clone)]
pub struct RunCore {
    graph: Arc<Graph>,
    rules: Arc<[Rule]>,
    state: RunState,
    actions: Vec<RunAction>,
    /// When the next try of each `retrying` action is due, or the approval of one that awaits it
    /// times out, by place. The times on record are for display, and for the next host.
    due: Vec<Option<Moment>>,
    /// Why each action is held back, if it is, by place.
    holds: Vec<Option<String>>,
    /// The time of the last event after which an action may ask for approval.
    now: Now,
    recorded: Recorded,
}

/// What was on record when the last step was taken. The next step contains the differences.
#[derive(Debug, Clone)]
struct Recorded {
    state: RunState,
    actions: Vec<RunAction>,
}

impl RunCore {
    /// Creates the core of a run on record. `actions` and `rules` are in the order of the graph's
    /// places. A retry is due at the time on record, but at most its longest backoff from now,
    /// because the clock may have been set back since. The same holds for the time-out of an
    /// approval.
    #[must_use]
    pub fn new(graph: Arc<Graph>, rules: Arc<[Rule]>, state: RunState, actions: Vec<RunAction>, now: Now) -> Self {
        let recorded = Recorded { state, actions: actions.clone() };
        let due = actions.iter().enumerate().map(|(place, action)| {
            let rule = rules.get(place).cloned().unwrap_or_default();
            let (at, longest) = match action.awaited() {
                Some(approval) => (approval.until, rule.approval.and_then(|approval| approval.timeout)),
                None => (action.retry_at, Some(rule.retry.backoff.max)),
            };
            at.map(|at| now.moment.after(longest.map_or(at.since(now.time), |longest| at.since(now.time).min(longest))))
        });
        let due = due.collect();
        let holds = vec![None; actions.len()];
        let mut core = Self { graph, rules, state, actions, due, holds, now, recorded };
        // What held an action back under the last host may have ended with it.
        for action in core.actions.iter_mut().filter(|action| action.state == ActionState::Ready) {
            action.reason = None;
        }
        core.apply_graph_rules();
        core
    }

    /// Returns the state of the run.
    #[must_use]
    pub fn state(&self) -> RunState {
        self.state
    }

    /// Returns the actions, by place.
    #[must_use]
    pub fn actions(&self) -> &[RunAction] {
        &self.actions
    }

    /// Applies an event. An event about an action that is not in the matching state (such as a
    /// timer of a cancelled run) changes nothing.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Ended { action, outcome, now, jitter } => self.ended(action, outcome, now, jitter),
            Event::BackoffOver { action } => {
                if let Some(action) = self.actions.get_mut(action).filter(|a| a.state == ActionState::Retrying) {
                    action.state = ActionState::Ready;
                    action.retry_at = None;
                }
            }
            Event::Decided { action, decision, now } => self.decided(action, decision, now),
            Event::CancelRequested => {
                if !self.state.ended() {
                    self.state = RunState::Cancelling;
                }
            }
        }
        self.apply_graph_rules();
    }

    /// Returns the number of actions that can start now.
    #[must_use]
    pub fn ready(&self) -> usize {
        (0..self.actions.len()).filter(|place| self.can_start(*place)).count()
    }

    fn can_start(&self, place: usize) -> bool {
        let is_free = self.holds.get(place).is_some_and(Option::is_none);
        is_free && self.actions.get(place).is_some_and(|action| action.state == ActionState::Ready)
    }

    /// Returns when the next retry is due, and the place of its action.
    #[must_use]
    pub fn next_retry(&self) -> Option<(Moment, usize)> {
        let retrying = self.actions.iter().zip(&self.due).enumerate();
        retrying.filter_map(|(place, (action, due))| action.retry_at.and(*due).map(|due| (due, place))).min()
    }

    /// Starts at most `most` of the actions that can start, in the order of the graph.
    pub fn start(&mut self, most: usize) -> Vec<Start> {
        let mut starts = Vec::new();
        for place in self.graph.order() {
            if starts.len() >= most {
                break;
            }
            if !self.can_start(*place) {
                continue;
            }
            let Some(action) = self.actions.get_mut(*place) else { continue };
            action.state = ActionState::Running;
            action.reason = None;
            action.attempts += 1;
            starts.push(Start { action: *place, number: action.attempts });
        }
        if !starts.is_empty() && self.state == RunState::Queued {
            self.state = RunState::Running;
        }
        starts
    }

    /// Returns what has changed since the last call, for the record.
    pub fn take_changes(&mut self) -> (Vec<ActionChange>, Option<RunChange>) {
        // Some of these have become ready since they were held back.
        for (action, hold) in self.actions.iter_mut().zip(&self.holds) {
            if action.state == ActionState::Ready && hold.is_some() {
                action.reason.clone_from(hold);
                if self.state == RunState::Queued {
                    // The run has a slot, so it no longer waits in the queue: its action is held
                    // back.
                    self.state = RunState::Running;
                }
            }
        }
        let changed = |(now, before): (&RunAction, &RunAction)| {
            (now != before).then(|| ActionChange { action: now.clone(), before: before.state })
        };
        let actions = self.actions.iter().zip(&self.recorded.actions).filter_map(changed).collect();
        let run = (self.state != self.recorded.state).then(|| RunChange { state: self.state, reason: self.reason() });
        self.recorded = Recorded { state: self.state, actions: self.actions.clone() };
        (actions, run)
    }

    fn ended(&mut self, place: usize, outcome: Outcome, now: Now, jitter: f64) {
        self.now = now;
        let rule = self.rules.get(place).cloned().unwrap_or_default();
        let cancelling = self.state == RunState::Cancelling;
        let Some(action) = self.actions.get_mut(place).filter(|a| a.state == ActionState::Running) else { return };
        if outcome != Outcome::Crashed && outcome != Outcome::HandedBack {
            action.crashes = 0;
        }
        match outcome {
            Outcome::Done(message) => action.succeed(ActionState::Succeeded, message, false),
            Outcome::Skip(reason) => action.succeed(ActionState::Succeeded, Some(reason), true),
            Outcome::Cached { skip, message } => action.succeed(ActionState::Cached, message, skip),
            Outcome::Failed(error) | Outcome::TimedOut(error) => {
                action.tries += 1;
                let again = error.retryable && action.tries < rule.retry.max_attempts && !cancelling;
                action.state = if again { ActionState::Retrying } else { ActionState::Failed };
                let wait = again.then(|| wait(rule.retry.backoff, action.tries, jitter));
                action.retry_at = wait.map(|wait| now.time.after(wait));
                if let Some(due) = self.due.get_mut(place) {
                    *due = wait.map(|wait| now.moment.after(wait));
                }
                action.reason = Some(error.message);
            }
            Outcome::Cancelled => action.state = ActionState::Cancelled,
            Outcome::HandedBack => action.state = ActionState::Ready,
            Outcome::Crashed => {
                action.crashes += 1;
                if action.crashes >= CRASH_LOOP {
                    action.state = ActionState::Failed;
                    action.reason = Some(format!(
                        "crash_loop: the host died or failed during {CRASH_LOOP} attempts in a row; see the host's log, then retry the run"
                    ));
                } else {
                    action.state = ActionState::Ready;
                }
            }
        }
    }

    /// Moves actions to the states that follow from the graph alone. One pass is enough, because in
    /// the order of the graph each action comes after those that it depends on.
    fn apply_graph_rules(&mut self) {
        let graph = Arc::clone(&self.graph);
        for place in graph.order() {
            let Some(state) = self.actions.get(*place).map(|action| action.state) else { continue };
            let next = match state {
                ActionState::Pending | ActionState::Ready | ActionState::Retrying
                    if self.state == RunState::Cancelling =>
                {
                    Some((ActionState::Cancelled, None))
                }
                ActionState::AwaitingApproval if self.state == RunState::Cancelling => {
                    Some((ActionState::Cancelled, Some("cancelled while it waited for approval".to_owned())))
                }
                ActionState::Pending => self.next_state(*place),
                _ => None,
            };
            let approval = self.rules.get(*place).and_then(|rule| rule.approval.clone());
            if let (Some((ActionState::Ready, _)), Some(approval)) = (&next, approval) {
                // A retry after a failed attempt does not pass through `pending`, so it needs no
                // new approval.
                self.ask(*place, &approval);
            } else if let (Some((next, reason)), Some(action)) = (next, self.actions.get_mut(*place)) {
                action.state = next;
                action.retry_at = None;
                // The reason of a ready action is why it had to wait.
                action.reason = reason.or(action.reason.take().filter(|_| state != ActionState::Ready));
            }
        }
        if self.actions.iter().all(|action| action.state.ended()) && !self.state.ended() {
            self.state = self.end_state();
        }
    }

    fn end_state(&self) -> RunState {
        if self.state == RunState::Cancelling {
            RunState::Cancelled
        } else if self.actions.iter().any(|action| action.state == ActionState::Failed) {
            RunState::Failed
        } else {
            RunState::Succeeded
        }
    }

    /// Returns why the run is in its state, for display.
    fn reason(&self) -> Option<String> {
        match self.state {
            RunState::Failed => {
                let failed = self.actions.iter().find(|action| action.state == ActionState::Failed)?;
                Some(format!("{} failed: {}", failed.name, failed.reason.as_deref().unwrap_or("no reason was given")))
            }
            RunState::Cancelled | RunState::Cancelling => Some("cancelled on request".to_owned()),
            _ => None,
        }
    }

    /// Returns the next state of a pending action, and the reason, if that is decided already.
    fn next_state(&self, place: usize) -> Option<(ActionState, Option<String>)> {
        let run_when = self.rules.get(place).map_or_else(RunWhen::default, |rule| rule.run_when);
        // A triggered action ignores branches that were not triggered.
        let before: Vec<(usize, &RunAction)> = self
            .graph
            .before(place)
            .iter()
            .filter_map(|before| Some((*before, self.actions.get(*before)?)))
            .filter(|(_, action)| !action.not_triggered())
            .collect();
        let ended = before.iter().all(|(_, action)| action.state.ended());
        match run_when {
            RunWhen::AllSucceeded => {
                if let Some(reason) = before.iter().find_map(|(_, action)| blocked_by(action)) {
                    return Some((ActionState::Skipped, Some(reason)));
                }
                ended.then_some((ActionState::Ready, None))
            }
            RunWhen::AllDone => ended.then_some((ActionState::Ready, None)),
            RunWhen::AnyFailed if !ended => None,
            RunWhen::AnyFailed if before.iter().any(|(place, _)| self.failed_at_or_before(*place)) => {
                Some((ActionState::Ready, None))
            }
            RunWhen::AnyFailed => Some((ActionState::Skipped, Some("no action before it failed".to_owned()))),
        }
    }

    /// Returns whether an action failed, or was skipped because one before it failed.
    fn failed_at_or_before(&self, place: usize) -> bool {
        match self.actions.get(place).map(|action| action.state) {
            Some(ActionState::Failed) => true,
            Some(ActionState::Skipped) => {
                self.graph.before(place).iter().any(|before| self.failed_at_or_before(*before))
            }
            _ => false,
        }
    }
}

/// Returns why an action prevents those after it from running, if it does.
fn blocked_by(before: &RunAction) -> Option<String> {
    match before.state {
        ActionState::Failed => Some(format!("{} failed", before.name)),
        ActionState::Skipped => Some(format!("{} was skipped", before.name)),
        ActionState::Cancelled => Some(format!("{} was cancelled", before.name)),
        ActionState::Succeeded | ActionState::Cached if before.skipped_rest => Some(format!(
            "{} skipped the rest: {}",
            before.name,
            before.reason.as_deref().unwrap_or("no reason was given")
        )),
        _ => None,
    }
}

/// Returns how long to wait after the given number of tries.
fn wait(backoff: Backoff, tries: u32, jitter: f64) -> Duration {
    let doublings = tries.saturating_sub(1).min(30);
    let full = backoff.first.saturating_mul(1 << doublings).min(backoff.max);
    full.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::model::{ErrorInfo, NOT_TRIGGERED};

    fn now(time_s: i64, moment_s: i64) -> Now {
        Now { time: Timestamp::from_micros(time_s * 1_000_000), moment: Moment::from_micros(moment_s * 1_000_000) }
    }

    fn core(names: &[&str], before: Vec<Vec<usize>>, rules: Vec<Rule>) -> RunCore {
        let graph = Graph::from_edges(names.iter().map(ToString::to_string).collect(), before);
        let actions = names.iter().map(|name| RunAction::pending(name)).collect();
        RunCore::new(Arc::new(graph), rules.into(), RunState::Queued, actions, now(0, 0))
    }

    fn end(core: &mut RunCore, action: usize, outcome: Outcome) {
        core.apply(Event::Ended { action, outcome, now: now(0, 0), jitter: 1.0 });
    }

    fn states(core: &RunCore) -> Vec<&'static str> {
        core.actions().iter().map(|action| action.state.as_str()).collect()
    }

    fn failure(retryable: bool) -> Outcome {
        Outcome::Failed(ErrorInfo { code: "failed".into(), message: "no luck".into(), retryable })
    }

    fn rule(run_when: RunWhen) -> Rule {
        Rule { run_when, ..Rule::default() }
    }

    #[test]
    fn a_chain_runs_in_order_and_succeeds() {
        let mut run = core(&["a", "b"], vec![vec![], vec![0]], vec![Rule::default(); 2]);
        assert_eq!(run.start(9), [Start { action: 0, number: 1 }]);
        assert_eq!((run.state(), run.start(9)), (RunState::Running, vec![]));
        end(&mut run, 0, Outcome::Done(None));
        assert_eq!(run.start(9), [Start { action: 1, number: 1 }]);
        end(&mut run, 1, Outcome::Done(Some("fine".into())));
        assert_eq!(run.state(), RunState::Succeeded);
    }

    #[test]
    fn a_failure_skips_dependents_and_other_branches_continue() {
        let before = vec![vec![], vec![0], vec![1], vec![]];
        let mut run = core(&["a", "b", "c", "side"], before, vec![Rule::default(); 4]);
        run.start(9);
        end(&mut run, 0, failure(true));
        assert_eq!(states(&run), ["failed", "skipped", "skipped", "running"]);
        assert_eq!(run.actions()[2].reason.as_deref(), Some("b was skipped"));
        assert_eq!(run.state(), RunState::Running);
        end(&mut run, 3, Outcome::Done(None));
        assert_eq!(run.state(), RunState::Failed);
        let (_, change) = run.take_changes();
        assert_eq!(change.unwrap().reason.as_deref(), Some("a failed: no luck"));
    }

    #[test]
    fn run_when_decides_whether_an_action_runs_after_a_failure() {
        let rules = vec![Rule::default(), Rule::default(), rule(RunWhen::AllDone), rule(RunWhen::AnyFailed)];
        let before = vec![vec![], vec![0], vec![1], vec![1]];
        let mut run = core(&["a", "b", "always", "on_failure"], before.clone(), rules.clone());
        run.start(9);
        end(&mut run, 0, failure(false));
        assert_eq!(states(&run), ["failed", "skipped", "ready", "ready"]);

        let mut run = core(&["a", "b", "always", "on_failure"], before, rules);
        run.start(9);
        end(&mut run, 0, Outcome::Done(None));
        run.start(9);
        end(&mut run, 1, Outcome::Done(None));
        assert_eq!(states(&run), ["succeeded", "succeeded", "ready", "skipped"]);
    }

    #[test]
    fn a_skip_outcome_is_success_without_dependents() {
        let mut run = core(&["a", "b"], vec![vec![], vec![0]], vec![Rule::default(); 2]);
        run.start(9);
        end(&mut run, 0, Outcome::Skip("not better".into()));
        assert_eq!(states(&run), ["succeeded", "skipped"]);
        assert_eq!(run.actions()[1].reason.as_deref(), Some("a skipped the rest: not better"));
        assert_eq!(run.state(), RunState::Succeeded);
    }

    #[test]
    fn only_retryable_errors_are_retried_with_bounded_exponential_backoff() {
        let retry =
            Retry { max_attempts: 4, backoff: Backoff { first: Duration::from_secs(1), max: Duration::from_secs(3) } };
        let mut run = core(&["a"], vec![vec![]], vec![Rule { retry, ..Rule::default() }]);
        for seconds in [1, 2, 3] {
            run.start(1);
            end(&mut run, 0, failure(true));
            assert_eq!(run.next_retry(), Some((now(0, seconds).moment, 0)));
            run.apply(Event::BackoffOver { action: 0 });
        }
        run.start(1);
        end(&mut run, 0, failure(true));
        assert_eq!((run.state(), run.actions()[0].attempts), (RunState::Failed, 4));

        let mut run = core(&["a"], vec![vec![]], vec![Rule { retry, ..Rule::default() }]);
        run.start(1);
        end(&mut run, 0, failure(false));
        assert_eq!(run.state(), RunState::Failed);
    }

    #[test]
    fn a_retry_is_due_after_its_backoff_despite_clock_changes() {
        let retry =
            Retry { max_attempts: 4, backoff: Backoff { first: Duration::from_secs(2), max: Duration::from_secs(3) } };
        let mut run = core(&["a"], vec![vec![]], vec![Rule { retry, ..Rule::default() }]);
        run.start(1);
        run.apply(Event::Ended { action: 0, outcome: failure(true), now: now(10_000, 50), jitter: 1.0 });
        assert_eq!(run.next_retry(), Some((now(0, 52).moment, 0)));
        assert_eq!(run.actions()[0].retry_at, Some(now(10_002, 0).time), "the wall-clock time that users see");
        let restarted = |at: Now| {
            let (graph, rules, actions) = (Arc::clone(&run.graph), Arc::clone(&run.rules), run.actions().to_vec());
            RunCore::new(graph, rules, RunState::Running, actions, at).next_retry()
        };
        assert_eq!(restarted(now(10_001, 7)), Some((now(0, 8).moment, 0)));
        assert_eq!(
            restarted(now(6_400, 7)),
            Some((now(0, 10).moment, 0)),
            "with the clock set back an hour, it still waits no longer than the backoff"
        );
        assert_eq!(restarted(now(20_000, 7)), Some((now(0, 7).moment, 0)));
    }

    #[test]
    fn crashes_do_not_count_as_retries_and_three_in_a_row_fail() {
        let mut run = core(&["a"], vec![vec![]], vec![Rule::default()]);
        for _ in 0..2 {
            run.start(1);
            end(&mut run, 0, Outcome::Crashed);
            assert_eq!((states(&run), run.actions()[0].tries), (vec!["ready"], 0));
        }
        run.start(1);
        end(&mut run, 0, Outcome::HandedBack);
        run.start(1);
        end(&mut run, 0, Outcome::Crashed);
        assert_eq!(run.state(), RunState::Failed);
        assert!(run.actions()[0].reason.as_deref().unwrap().starts_with("crash_loop"));
    }

    #[test]
    fn cancelling_stops_waiting_actions_at_once_and_waits_for_running_ones() {
        let mut run = core(&["a", "b"], vec![vec![], vec![0]], vec![Rule::default(); 2]);
        run.start(9);
        run.apply(Event::CancelRequested);
        assert_eq!((run.state(), states(&run)), (RunState::Cancelling, vec!["running", "cancelled"]));
        end(&mut run, 0, Outcome::Cancelled);
        assert_eq!(run.state(), RunState::Cancelled);
    }

    #[test]
    fn an_action_that_is_held_does_not_start_and_says_why() {
        let before = vec![vec![], vec![0], vec![0]];
        let mut run = core(&["a", "b", "side"], before, vec![Rule::default(); 3]);
        run.hold(1, Some("paused".to_owned()));
        assert!(!run.is_held(), "`a` can start");
        run.start(9);
        end(&mut run, 0, Outcome::Done(None));
        assert_eq!((run.ready(), run.start(9)), (1, vec![Start { action: 2, number: 1 }]));
        let (changes, _) = run.take_changes();
        let b = changes.iter().map(|change| &change.action).find(|action| action.name == "b").unwrap();
        assert_eq!((b.state, b.reason.as_deref()), (ActionState::Ready, Some("paused")));
        assert!(!run.is_held(), "`side` is running");
        end(&mut run, 2, Outcome::Done(None));
        assert!(run.is_held() && run.start(9).is_empty());
        // The reason on record does not outlive the host.
        let actions = run.actions().to_vec();
        let restarted = RunCore::new(Arc::clone(&run.graph), Arc::clone(&run.rules), run.state(), actions, now(0, 0));
        assert_eq!((restarted.ready(), &restarted.actions()[1].reason), (1, &None));
        run.hold(1, Some("for another reason".to_owned()));
        assert_eq!(run.actions()[1].reason.as_deref(), Some("for another reason"));
        run.hold(1, None);
        assert_eq!((run.actions()[1].reason.as_deref(), run.is_held()), (None, false));
        assert_eq!(run.start(9), [Start { action: 1, number: 1 }]);
        end(&mut run, 1, Outcome::Done(None));
        assert_eq!((run.state(), run.is_held()), (RunState::Succeeded, false));
    }

    #[test]
    fn a_held_action_is_cancelled_and_is_not_retried() {
        let retry = Retry { max_attempts: 2, ..Retry::default() };
        let mut run = core(&["a"], vec![vec![]], vec![Rule { retry, ..Rule::default() }]);
        run.start(9);
        run.hold(0, Some("paused".to_owned()));
        end(&mut run, 0, failure(true));
        assert!(!run.is_held(), "it becomes ready when its time has come");
        run.apply(Event::BackoffOver { action: 0 });
        run.take_changes();
        assert_eq!((run.start(9), run.is_held()), (vec![], true));
        assert_eq!(run.actions()[0].reason.as_deref(), Some("paused"));
        run.apply(Event::CancelRequested);
        assert_eq!((run.state(), run.actions()[0].reason.as_deref()), (RunState::Cancelled, None));
    }

    #[test]
    fn branches_that_were_not_triggered_are_ignored() {
        let graph = Graph::from_edges(vec!["a".into(), "b".into(), "c".into()], vec![vec![], vec![], vec![0, 1]]);
        let mut skipped = RunAction::pending("b");
        skipped.state = ActionState::Skipped;
        skipped.reason = Some(NOT_TRIGGERED.into());
        let rules = vec![Rule::default(); 3].into();
        let mut run = RunCore::new(
            Arc::new(graph),
            rules,
            RunState::Queued,
            vec![RunAction::pending("a"), skipped, RunAction::pending("c")],
            now(0, 0),
        );
        run.start(9);
        end(&mut run, 0, Outcome::Done(None));
        assert_eq!(states(&run), ["succeeded", "skipped", "ready"]);
    }
}
