//! Simulates thousands of random runs, and checks the invariants of each.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::{CRASH_LOOP, Event, Rule, RunCore};
use crate::base::{Moment, Now, Timestamp};
use crate::graph::Graph;
use crate::manifest::{ApprovalSpec, Backoff, Retry, RunWhen};
use crate::model::{ActionState, Decision, ErrorInfo, Outcome, RunAction, RunState, Verdict};

const START: Now = Now { time: Timestamp::from_micros(0), moment: Moment::from_micros(0) };

struct World {
    rng: Rng,
    core: RunCore,
    graph: Arc<Graph>,
    rules: Arc<[Rule]>,
    now: Now,
    running: Vec<usize>,
    succeeded: Vec<bool>,
    failures: Vec<u32>,
    crashes: Vec<u32>,
    cancelled: bool,
    held: Vec<bool>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let count = rng.usize(1..12);
        // The places are shuffled, so that the order of the manifest is not the order of the graph.
        let mut order: Vec<usize> = (0..count).collect();
        rng.shuffle(&mut order);
        let mut before = vec![Vec::new(); count];
        for (rank, place) in order.iter().enumerate() {
            before[*place] = order[..rank].iter().copied().filter(|_| rng.u8(0..10) < 3).collect();
        }
        let names = (0..count).map(|place| format!("a{place}")).collect();
        let rules: Arc<[Rule]> = (0..count)
            .map(|_| Rule {
                run_when: [RunWhen::AllSucceeded, RunWhen::AllSucceeded, RunWhen::AllDone, RunWhen::AnyFailed]
                    [rng.usize(0..4)],
                retry: Retry {
                    max_attempts: rng.u32(1..4),
                    backoff: Backoff { first: Duration::from_secs(1), max: Duration::from_secs(4) },
                },
                approval: (rng.u8(0..5) == 0).then(|| {
                    let timeout = rng.bool().then_some(Duration::from_secs(9));
                    Arc::new(ApprovalSpec { who: "someone".to_owned(), timeout })
                }),
            })
            .collect();
        let graph = Arc::new(Graph::from_edges(names, before));
        let actions = (0..count).map(|place| RunAction::pending(&format!("a{place}"))).collect();
        let core = RunCore::new(Arc::clone(&graph), Arc::clone(&rules), RunState::Queued, actions, START);
        Self {
            rng,
            core,
            graph,
            rules,
            now: START,
            running: Vec::new(),
            succeeded: vec![false; count],
            failures: vec![0; count],
            crashes: vec![0; count],
            cancelled: false,
            held: vec![false; count],
        }
    }

    /// Makes one random step. Returns whether the run continues.
    fn step(&mut self) -> bool {
        let before: Vec<ActionState> = self.core.actions().iter().map(|action| action.state).collect();
        self.hold();
        let slots = self.rng.usize(0..4);
        for start in self.core.start(slots) {
            self.check_start(start.action, &before);
            self.running.push(start.action);
        }
        match self.rng.u8(0..100) {
            0..70 if !self.running.is_empty() => self.end_one(),
            70..80 => self.decide_one(),
            0..70 | 80..90 => self.let_time_pass(),
            90..97 => self.restart_host(),
            _ => {
                self.cancelled |= !self.core.state().ended();
                self.core.apply(Event::CancelRequested);
            }
        }
        self.check_always();
        !self.core.state().ended()
    }

    fn check_start(&self, action: usize, before: &[ActionState]) {
        assert!(!self.succeeded[action], "a{action} ran again after it had succeeded");
        assert!(!self.cancelled, "a{action} started after the run was cancelled");
        assert_eq!(before[action], ActionState::Ready, "a{action} was not ready");
        assert!(!self.held[action], "a{action} started while it was held back");
        if self.rules[action].approval.is_some() {
            let last = self.core.actions()[action].approvals.last().and_then(|approval| approval.decision.as_ref());
            let verdict = last.map(|decision| decision.verdict);
            assert_eq!(verdict, Some(Verdict::Approved), "a{action} started without approval");
        }
        let predecessors = self.graph.before(action).iter().map(|place| &self.core.actions()[*place]);
        match self.rules[action].run_when {
            RunWhen::AllSucceeded => {
                for predecessor in predecessors {
                    assert_eq!(
                        predecessor.state,
                        ActionState::Succeeded,
                        "a{action} started before {}",
                        predecessor.name
                    );
                    assert!(
                        !predecessor.skipped_rest,
                        "a{action} started after the skip outcome of {}",
                        predecessor.name
                    );
                }
            }
            RunWhen::AllDone | RunWhen::AnyFailed => {
                for predecessor in predecessors {
                    assert!(predecessor.state.ended(), "a{action} started before {}", predecessor.name);
                }
            }
        }
    }

    /// Holds an action back, or releases it. Like the drivers, tells the core of all of them
    /// before each step, because a restarted core knows of none.
    fn hold(&mut self) {
        if self.rng.u8(0..4) == 0 {
            let place = self.rng.usize(0..self.held.len());
            // Most continue, so that most runs end.
            self.held[place] = self.rng.u8(0..3) == 0;
        }
        for (place, held) in self.held.iter().enumerate() {
            self.core.hold(place, held.then(|| "held".to_owned()));
        }
    }

    fn end_one(&mut self) {
        let action = self.running.swap_remove(self.rng.usize(0..self.running.len()));
        let outcome = self.outcome();
        match &outcome {
            Outcome::Done(_) | Outcome::Skip(_) => self.succeeded[action] = true,
            Outcome::Failed(_) => self.failures[action] += 1,
            _ => {}
        }
        self.crashes[action] = 0;
        let jitter = self.rng.f64();
        self.core.apply(Event::Ended { action, outcome, now: self.now, jitter });
    }

    fn outcome(&mut self) -> Outcome {
        let failed = |retryable| Outcome::Failed(ErrorInfo { code: "failed".into(), message: "no".into(), retryable });
        match self.rng.u8(0..10) {
            0 => Outcome::Skip("enough".into()),
            1 => failed(false),
            2..5 => failed(true),
            _ if self.cancelled => Outcome::Cancelled,
            _ => Outcome::Done(None),
        }
    }

    /// Decides about one of the actions that wait for approval, if there are any.
    fn decide_one(&mut self) {
        let awaiting: Vec<usize> = self.core.awaiting().collect();
        if let Some(action) = self.rng.choice(&awaiting) {
            let verdict = if self.rng.u8(0..4) == 0 { Verdict::Rejected } else { Verdict::Approved };
            self.decide(*action, verdict);
        }
    }

    fn decide(&mut self, action: usize, verdict: Verdict) {
        let decision = Decision { verdict, by: None, note: None, at: self.now.time };
        self.core.apply(Event::Decided { action, decision, now: self.now });
        let state = self.core.actions()[action].state;
        let wanted = if verdict == Verdict::Approved { ActionState::Ready } else { ActionState::Failed };
        assert_eq!(state, wanted, "a{action} after {verdict}");
    }

    fn let_time_pass(&mut self) {
        if let Some((due, action)) = self.core.next_timeout() {
            assert!(due.since(self.now.moment) <= Duration::from_secs(9), "the wait is longer than its bound");
            if self.core.next_retry().is_none_or(|(retry, _)| due < retry) {
                self.now.moment = self.now.moment.max(due);
                self.decide(action, Verdict::TimedOut);
                return;
            }
        }
        if let Some((due, action)) = self.core.next_retry() {
            assert_eq!(self.core.actions()[action].state, ActionState::Retrying);
            assert!(due.since(self.now.moment) <= Duration::from_secs(4), "the wait is longer than its bound");
            self.now.moment = due;
            // The wall clock may be set meanwhile.
            self.now.time = Timestamp::from_micros(self.rng.i64(0..1_000_000_000));
            self.core.apply(Event::BackoffOver { action });
        }
    }

    /// The host dies, or hands back active attempts, and starts again. Only the record is left.
    fn restart_host(&mut self) {
        if self.rng.bool() {
            for action in self.running.split_off(self.running.len() / 2) {
                self.core.apply(Event::Ended { action, outcome: Outcome::HandedBack, now: self.now, jitter: 0.0 });
            }
        }
        let actions = self.core.actions().to_vec();
        self.core =
            RunCore::new(Arc::clone(&self.graph), Arc::clone(&self.rules), self.core.state(), actions, self.now);
        for action in std::mem::take(&mut self.running) {
            self.crashes[action] += 1;
            self.core.apply(Event::Ended { action, outcome: Outcome::Crashed, now: self.now, jitter: 0.0 });
            let failed = self.core.actions()[action].state == ActionState::Failed;
            assert_eq!(failed, self.crashes[action] >= CRASH_LOOP, "a{action}: crash loop");
        }
    }

    fn check_always(&self) {
        for (place, action) in self.core.actions().iter().enumerate() {
            assert_eq!(
                action.tries, self.failures[place],
                "{}: a crash counted as a try, or a failure did not",
                action.name
            );
            assert!(action.approvals.len() <= 1, "{}: it asked twice", action.name);
            assert!(action.tries <= self.rules[place].retry.max_attempts, "{}: too many attempts", action.name);
            let undecided = action.approvals.iter().any(|approval| approval.decision.is_none());
            assert!(undecided || action.awaited().is_none(), "{}: it waits, and all is decided", action.name);
            let running = action.state == ActionState::Running;
            assert_eq!(running, self.running.contains(&place), "{}: {}", action.name, action.state);
        }
        let ready = |place: usize| self.core.actions()[place].state == ActionState::Ready && !self.held[place];
        if self.core.is_held() {
            assert!(self.running.is_empty() && self.core.next_retry().is_none() && !(0..self.held.len()).any(ready));
            let waits = self.core.awaiting().next().is_some() || self.held.contains(&true);
            assert!(waits, "the run stands still for no reason");
        }
        if self.core.state().ended() {
            assert!(self.core.actions().iter().all(|action| action.state.ended()), "the run ended before its actions");
        }
    }
}

#[test]
fn random_runs_keep_the_invariants_and_end() {
    let mut ends = std::collections::BTreeMap::new();
    for seed in 0..5_000 {
        let mut world = World::new(seed);
        let mut steps = 0;
        while world.step() {
            steps += 1;
            assert!(steps < 10_000, "seed {seed}: the run does not end: {:?}", world.core.actions());
        }
        *ends.entry(world.core.state().as_str()).or_insert(0) += 1;
    }
    // The simulation is only meaningful if it reaches every end state.
    for state in ["succeeded", "failed", "cancelled"] {
        assert!(ends.get(state).is_some_and(|count| *count > 200), "{ends:?}");
    }
}
