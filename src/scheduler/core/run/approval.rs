//! Approvals: an action that needs one asks for it when it could start, and waits until it is
//! decided.

use super::RunCore;
use crate::base::{Moment, Now};
use crate::manifest::ApprovalSpec;
use crate::model::{ActionState, Approval, Decision, RunState, Verdict};

impl RunCore {
    /// Returns when the next approval times out, and the place of its action.
    #[must_use]
    pub fn next_timeout(&self) -> Option<(Moment, usize)> {
        let awaiting = self.actions.iter().zip(&self.due).enumerate();
        awaiting.filter_map(|(place, (action, due))| action.awaited().and(*due).map(|due| (due, place))).min()
    }

    /// Returns the places of the actions that wait for approval.
    pub fn awaiting(&self) -> impl Iterator<Item = usize> {
        let actions = self.actions.iter().enumerate();
        actions.filter(|(_, action)| action.awaited().is_some()).map(|(place, _)| place)
    }

    pub(super) fn decided(&mut self, place: usize, decision: Decision, now: Now) {
        self.now = now;
        let Some(action) = self.actions.get_mut(place).filter(|action| action.awaited().is_some()) else { return };
        let Some(approval) = action.approvals.last_mut() else { return };
        let approved = decision.verdict == Verdict::Approved;
        approval.decision = Some(decision);
        action.reason = approval.outcome();
        action.state = if approved { ActionState::Ready } else { ActionState::Failed };
    }

    /// Lets an action ask for approval.
    pub(super) fn ask(&mut self, place: usize, spec: &ApprovalSpec) {
        let Some(action) = self.actions.get_mut(place) else { return };
        let Now { time, moment } = self.now;
        let until = spec.timeout.map(|timeout| time.after(timeout));
        action.state = ActionState::AwaitingApproval;
        action.reason = Some(format!("waits for approval: {}", spec.who));
        action.approvals.push(Approval { who: spec.who.clone(), since: time, until, decision: None });
        if let Some(due) = self.due.get_mut(place) {
            *due = spec.timeout.map(|timeout| moment.after(timeout));
        }
        if self.state == RunState::Queued {
            self.state = RunState::Running;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::base::Timestamp;
    use crate::graph::Graph;
    use crate::manifest::{Retry, RunWhen};
    use crate::model::{ErrorInfo, Outcome, RunAction};
    use crate::scheduler::core::{Event, Rule, Start};

    fn now(time_s: i64, moment_s: i64) -> Now {
        Now { time: Timestamp::from_micros(time_s * 1_000_000), moment: Moment::from_micros(moment_s * 1_000_000) }
    }

    fn core(before: Vec<Vec<usize>>, rules: Vec<Rule>) -> RunCore {
        let names: Vec<String> = ["a", "b", "c", "d"].iter().take(before.len()).map(ToString::to_string).collect();
        let actions = names.iter().map(|name| RunAction::pending(name)).collect();
        let graph = Graph::from_edges(names, before);
        RunCore::new(Arc::new(graph), rules.into(), RunState::Queued, actions, now(0, 0))
    }

    fn end(run: &mut RunCore, action: usize, outcome: Outcome, now: Now) {
        run.apply(Event::Ended { action, outcome, now, jitter: 1.0 });
    }

    fn states(run: &RunCore) -> Vec<&'static str> {
        run.actions().iter().map(|action| action.state.as_str()).collect()
    }

    fn approval(timeout_s: Option<u64>) -> Rule {
        let spec = ApprovalSpec { who: "data team".to_owned(), timeout: timeout_s.map(Duration::from_secs) };
        let retry = Retry { max_attempts: 2, ..Retry::default() };
        Rule { approval: Some(Arc::new(spec)), retry, ..Rule::default() }
    }

    fn decide(run: &mut RunCore, action: usize, verdict: Verdict, now: Now) {
        let decision = Decision { verdict, by: Some("ann".to_owned()), note: None, at: now.time };
        run.apply(Event::Decided { action, decision, now });
    }

    #[test]
    fn an_action_asks_for_approval_before_its_first_attempt_only() {
        let mut run = core(vec![vec![], vec![0]], vec![Rule::default(), approval(None)]);
        run.start(9);
        end(&mut run, 0, Outcome::Done(None), now(7, 0));
        assert_eq!(run.actions()[1].reason.as_deref(), Some("waits for approval: data team"));
        let asked = Approval { who: "data team".to_owned(), since: now(7, 0).time, until: None, decision: None };
        assert_eq!(run.actions()[1].awaited(), Some(&asked));
        assert_eq!((states(&run), run.ready(), run.start(9)), (vec!["succeeded", "awaiting_approval"], 0, vec![]));
        assert!(run.is_held() && run.next_timeout().is_none());
        decide(&mut run, 0, Verdict::Rejected, now(8, 0));
        assert_eq!(run.state(), RunState::Running, "an action that does not ask is not decided about");
        decide(&mut run, 1, Verdict::Approved, now(8, 0));
        assert_eq!(run.actions()[1].reason.as_deref(), Some("approved by ann"));
        assert_eq!(run.start(9), [Start { action: 1, number: 1 }]);
        decide(&mut run, 1, Verdict::Rejected, now(9, 0));
        end(&mut run, 1, Outcome::Crashed, now(9, 0));
        assert_eq!(run.start(9), [Start { action: 1, number: 2 }], "a crash does not ask again");
        let error = ErrorInfo { code: "failed".into(), message: "no luck".into(), retryable: true };
        end(&mut run, 1, Outcome::Failed(error), now(9, 0));
        run.apply(Event::BackoffOver { action: 1 });
        assert_eq!(run.start(9), [Start { action: 1, number: 3 }], "nor does a retry");
        assert_eq!(run.actions()[1].approvals.len(), 1);
    }

    #[test]
    fn a_run_that_begins_with_an_approval_is_running_and_a_rejection_fails_it() {
        let rules = vec![
            approval(None),
            Rule::default(),
            Rule { run_when: RunWhen::AnyFailed, ..Rule::default() },
            approval(None),
        ];
        let mut run = core(vec![vec![], vec![0], vec![0], vec![0]], rules);
        assert_eq!((run.state(), states(&run)[0]), (RunState::Running, "awaiting_approval"));
        decide(&mut run, 0, Verdict::Rejected, now(3, 0));
        assert_eq!(states(&run), ["failed", "skipped", "ready", "skipped"], "who is skipped is not asked about");
        run.start(9);
        end(&mut run, 2, Outcome::Done(None), now(4, 0));
        let (_, change) = run.take_changes();
        assert_eq!(change.unwrap().reason.as_deref(), Some("a failed: rejected by ann"));
    }

    #[test]
    fn an_approval_times_out_after_its_span_despite_clock_changes() {
        let mut run = core(vec![vec![], vec![0]], vec![Rule::default(), approval(Some(10))]);
        run.start(9);
        end(&mut run, 0, Outcome::Done(None), now(1_000, 50));
        assert_eq!((run.next_timeout(), run.next_retry()), (Some((now(0, 60).moment, 1)), None));
        let restarted = |at: Now| {
            let (graph, rules, actions) = (Arc::clone(&run.graph), Arc::clone(&run.rules), run.actions().to_vec());
            RunCore::new(graph, rules, RunState::Running, actions, at).next_timeout()
        };
        assert_eq!(restarted(now(1_004, 7)), Some((now(0, 13).moment, 1)));
        assert_eq!(restarted(now(10, 7)), Some((now(0, 17).moment, 1)), "with the clock set back");
        assert_eq!(restarted(now(9_000, 7)), Some((now(0, 7).moment, 1)), "the time passes without a host too");
        decide(&mut run, 1, Verdict::TimedOut, now(1_010, 60));
        assert_eq!(run.actions()[1].reason.as_deref(), Some("nobody decided within 10s"));
        assert_eq!((run.state(), run.next_timeout()), (RunState::Failed, None));
    }

    #[test]
    fn cancelling_ends_the_wait_for_approval() {
        let mut run = core(vec![vec![]], vec![approval(Some(10))]);
        run.apply(Event::CancelRequested);
        assert_eq!((run.state(), states(&run)), (RunState::Cancelled, vec!["cancelled"]));
        decide(&mut run, 0, Verdict::Approved, now(3, 0));
        assert_eq!((states(&run), run.next_timeout()), (vec!["cancelled"], None));
    }
}
