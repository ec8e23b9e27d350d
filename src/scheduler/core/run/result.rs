//! Which attempts may take the result of an earlier one.

use super::{RunCore, Start};

impl RunCore {
    /// Returns whether an attempt is the first of its action in the run, or all before it have
    /// crashed with the host.
    #[must_use]
    pub fn is_first(&self, start: Start) -> bool {
        self.actions.get(start.action).is_some_and(|action| start.number == action.crashes + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::{Moment, Now, Timestamp};
    use crate::graph::Graph;
    use crate::model::{ActionState, Outcome, RunAction, RunState};
    use crate::scheduler::core::{Event, Rule};

    fn core() -> RunCore {
        let graph = Graph::from_edges(vec!["a".into(), "b".into()], vec![vec![], vec![0]]);
        let actions = vec![RunAction::pending("a"), RunAction::pending("b")];
        RunCore::new(Arc::new(graph), vec![Rule::default(); 2].into(), RunState::Queued, actions, now())
    }

    fn now() -> Now {
        Now { time: Timestamp::from_micros(0), moment: Moment::from_micros(0) }
    }

    fn end(core: &mut RunCore, outcome: Outcome) {
        core.apply(Event::Ended { action: 0, outcome, now: now(), jitter: 0.0 });
    }

    fn cached(skip: bool) -> Outcome {
        Outcome::Cached { skip, message: Some("as before".to_owned()) }
    }

    #[test]
    fn a_cached_action_counts_as_one_that_has_succeeded() {
        let mut run = core();
        run.start(9);
        end(&mut run, cached(false));
        let action = &run.actions()[0];
        assert_eq!((action.state, action.reason.as_deref()), (ActionState::Cached, Some("as before")));
        assert_eq!((run.actions()[1].state, run.state()), (ActionState::Ready, RunState::Running));
    }

    #[test]
    fn a_cached_skip_skips_what_comes_after_it() {
        let mut run = core();
        run.start(9);
        end(&mut run, cached(true));
        assert_eq!(run.actions()[1].reason.as_deref(), Some("a skipped the rest: as before"));
        assert_eq!((run.actions()[1].state, run.state()), (ActionState::Skipped, RunState::Succeeded));
    }

    #[test]
    fn only_an_attempt_after_crashes_alone_is_a_first_one() {
        let mut run = core();
        let first = run.start(9)[0];
        assert!(run.is_first(first));
        end(&mut run, Outcome::Crashed);
        let second = run.start(9)[0];
        assert!(second.number == 2 && run.is_first(second));
        end(&mut run, Outcome::HandedBack);
        let third = run.start(9)[0];
        assert!(!run.is_first(third), "it may have run to its end");
    }
}
