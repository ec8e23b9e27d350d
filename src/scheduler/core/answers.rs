//! What trigger components have answered, and when they are asked again.
//!
//! Answers are in memory only. What an answer has led to is on record: a run, with the artifacts
//! that it claimed and the mark of the condition. So a host that starts asks again, and neither
//! repeats nor forgets a run.

use std::collections::BTreeMap;
use std::time::Duration;

use super::waiting::Waiting;
use crate::base::{Moment, Timestamp};
use crate::model::Pending;

/// The pause after the first failure of a component; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after a failure.
const MAX_PAUSE: Duration = Duration::from_mins(1);
/// The shortest pause after an answer. While artifacts keep coming, there is always something new
/// to ask about.
const MIN_GAP: Duration = Duration::from_millis(100);
/// After an answer, a component rests for this many times as long as the answer took, so that it
/// uses at most a fifth of a core.
const REST: u32 = 4;

/// Identifies a component of a trigger: the trigger's name, and the condition's key among marks.
pub type Asked = (String, String);

/// What an answer is based on. A component is asked again when this has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Basis {
    /// The new artifacts, by resource; none in one that is paused.
    pending: Vec<Pending>,
    /// The event of the newest end of a run that counts.
    ended: u64,
    /// If a schedule of the trigger is due: the time up to which it is accounted for.
    due: Option<Timestamp>,
}

impl Basis {
    /// Creates the basis of a trigger of a resource: what is new in it.
    pub(super) fn of_one(own: Pending, ended: u64, due: Option<Timestamp>) -> Self {
        Self { pending: vec![timeless(own)], ended, due }
    }

    /// Creates the basis of a trigger of the pipeline: what is new in all resources that are not
    /// `paused`. Its runs claim nothing from paused resources, so new artifacts there would be a
    /// reason to ask again after each run.
    pub(super) fn of_all(all: &Waiting, paused: &BTreeMap<String, String>, ended: u64, due: Option<Timestamp>) -> Self {
        // A paused resource keeps its position, because bases are compared by position.
        let unless_paused = |(name, pending)| {
            if paused.contains_key(name) { Pending::default() } else { timeless(pending) }
        };
        Self { pending: all.counts().map(unless_paused).collect(), ended, due }
    }

    /// Returns whether there is nothing to decide on.
    pub(super) fn is_empty(&self) -> bool {
        self.ended == 0 && self.due.is_none() && self.pending.iter().all(|pending| pending.count == 0)
    }

    /// Returns whether the new artifacts of an earlier basis are all still there.
    fn still_has(&self, before: &Self) -> bool {
        before.pending.iter().enumerate().all(|(at, before)| {
            let now = self.pending.get(at).copied().unwrap_or_default();
            before.count == 0 || (now.count >= before.count && now.oldest_at == before.oldest_at)
        })
    }
}

/// Returns a count without `as_of`, which says nothing about the artifacts.
fn timeless(pending: Pending) -> Pending {
    Pending { as_of: 0, ..pending }
}

/// What a component has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A run may start, for this reason.
    Fire(String),
    /// No run starts.
    Skip {
        /// Why.
        reason: String,
        /// After how long it is asked again anyway.
        ask_again: Option<Duration>,
    },
    /// It has not decided, for this reason.
    Failed(String),
}

/// An answer, for the evaluation of its condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer<'a> {
    /// A run may start.
    Fire(&'a str),
    /// No run starts. It is asked again at the given moment.
    Skip(&'a str, Option<Moment>),
    /// It has to be asked, or is being asked.
    Open {
        /// What it said last, and whether that was a failure.
        last: Option<(&'a str, bool)>,
        /// When it can be asked; `None` if it can be asked now.
        at: Option<Moment>,
        /// Whether it is being asked.
        asking: bool,
    },
    /// Nothing is new since its last answer led to a run.
    UsedUp,
}

/// What is known about a component.
#[derive(Debug, Clone, Default)]
struct Known {
    /// What it said last.
    said: Option<Said>,
    /// What that was based on.
    basis: Basis,
    /// The earliest time at which it is asked again.
    not_before: Option<Moment>,
    /// When it is asked again even if nothing has changed.
    again: Option<Moment>,
    /// How often it has failed in a row.
    failures: u32,
    /// Whether `said` comes from the record, and so holds on any basis.
    is_recalled: bool,
    /// The number of the question that it is being asked, and what that is based on.
    asking: Option<(u64, Basis)>,
}

/// What trigger components have answered.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    known: BTreeMap<Asked, Known>,
    questions: u64,
}

impl Answers {
    /// Notes that a component is asked now. Returns the number of the question.
    pub fn ask(&mut self, asked: Asked, basis: Basis) -> u64 {
        self.questions += 1;
        self.known.entry(asked).or_default().asking = Some((self.questions, basis));
        self.questions
    }

    /// Notes an answer that took `took`. Does nothing if the component was not asked this question,
    /// or has been replaced since. Returns whether the answer differs from the previous one.
    pub fn answer(&mut self, asked: &Asked, question: u64, said: Said, took: Duration, now: Moment) -> bool {
        let Some(known) = self.known.get_mut(asked) else { return false };
        let Some((_, basis)) = known.asking.take_if(|(number, _)| *number == question) else { return false };
        (known.basis, known.again, known.not_before) = (basis, None, None);
        known.failures = if matches!(said, Said::Failed(_)) { known.failures.saturating_add(1) } else { 0 };
        match &said {
            // Even if it always says yes, runs do not follow each other without a pause.
            Said::Fire(_) => known.not_before = Some(now.after(MIN_GAP)),
            Said::Skip { ask_again, .. } => {
                known.again = ask_again.map(|after| now.after(after));
                known.not_before = Some(now.after((took * REST).clamp(MIN_GAP, MAX_PAUSE)));
            }
            Said::Failed(_) => {
                let doubled = 1_u32.checked_shl(known.failures.saturating_sub(1)).unwrap_or(u32::MAX);
                known.not_before = Some(now.after(FIRST_PAUSE.saturating_mul(doubled).min(MAX_PAUSE)));
            }
        }
        let is_news = known.said.as_ref() != Some(&said);
        known.said = Some(said);
        is_news
    }

    /// Notes the recorded answer of a component, for a preview, which asks nothing. The answer
    /// holds whatever has changed since.
    pub fn recall(&mut self, asked: Asked, said: Said) {
        self.known.insert(asked, Known { said: Some(said), is_recalled: true, ..Known::default() });
    }

    /// Notes that a run was created because of a component's answer, and forgets that answer. Keeps
    /// only the earliest time of the next question.
    pub(super) fn use_up(&mut self, asked: &Asked) {
        if let Some(known) = self.known.get_mut(asked) {
            *known = Known { not_before: known.not_before, ..Known::default() };
        }
    }

    /// Forgets components that are gone or have been replaced.
    pub fn retain(&mut self, keep: impl Fn(&Asked) -> bool) {
        self.known.retain(|asked, _| keep(asked));
    }

    /// Returns whether the answer of a component lets a run start.
    pub(super) fn fires(&self, asked: &Asked, basis: &Basis) -> bool {
        self.known.get(asked).is_some_and(|known| known.fires(basis).is_some())
    }

    /// Returns the answer of a component. `has_fired` says whether it has led to a run before.
    /// While the host drains, a component is not asked again after a failure, or only because time
    /// has passed.
    pub(super) fn of(&self, asked: &Asked, basis: &Basis, has_fired: bool, now: Moment, draining: bool) -> Answer<'_> {
        let known = self.known.get(asked);
        let is_blank = known.is_none_or(|known| known.said.is_none() && known.asking.is_none());
        if is_blank && has_fired && basis.is_empty() {
            return Answer::UsedUp;
        }
        let Some(known) = known else { return Answer::Open { last: None, at: None, asking: false } };
        if let Some(reason) = known.fires(basis) {
            return Answer::Fire(reason);
        }
        let later = known.not_before.filter(|at| *at > now && !draining);
        let is_same = known.is_recalled || known.basis == *basis;
        let asking = known.asking.is_some();
        let open = |last| Answer::Open { last, at: later, asking };
        match &known.said {
            Some(Said::Skip { reason, .. })
                if is_same && !asking && (draining || known.again.is_none_or(|at| at > now)) =>
            {
                Answer::Skip(reason, known.again.filter(|_| !draining))
            }
            Some(Said::Failed(why)) if is_same && draining => Answer::Skip(why, None),
            Some(Said::Skip { reason, .. }) => open(Some((reason, false))),
            Some(Said::Failed(why)) => open(Some((why, true))),
            Some(Said::Fire(_)) | None => open(None),
        }
    }
}

impl Known {
    /// Returns why a run may start, for as long as all artifacts that the answer was based on are
    /// there.
    fn fires(&self, basis: &Basis) -> Option<&str> {
        match &self.said {
            Some(Said::Fire(reason)) if basis.still_has(&self.basis) => Some(reason),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Answer, Answers, Asked, Basis, Said};
    use crate::base::{Moment, Timestamp};
    use crate::model::Pending;

    fn basis(count: u64, oldest: i64, ended: u64) -> Basis {
        let oldest_at = (count > 0).then(|| Timestamp::from_micros(oldest));
        Basis { pending: vec![Pending { count, oldest_at, ..Pending::default() }], ended, due: None }
    }

    fn asked() -> Asked {
        ("raw".to_owned(), "component a.wasm".to_owned())
    }

    fn at(millis: i64) -> Moment {
        Moment::from_micros(millis * 1_000)
    }

    /// Asks and answers at a moment, in no time.
    fn tell(answers: &mut Answers, basis: Basis, said: Said, now: Moment) {
        let question = answers.ask(asked(), basis);
        answers.answer(&asked(), question, said, Duration::ZERO, now);
    }

    fn skip(ask_again: Option<Duration>) -> Said {
        Said::Skip { reason: "no".to_owned(), ask_again }
    }

    /// Returns when the component is to be asked (`None`: now), or an error if it is not.
    fn opens(answers: &Answers, basis: &Basis, now: Moment) -> Result<Option<Moment>, ()> {
        match answers.of(&asked(), basis, false, now, false) {
            Answer::Open { at, asking: false, .. } => Ok(at),
            _ => Err(()),
        }
    }

    #[test]
    fn a_skip_stands_until_something_changes_or_its_time_is_over() {
        let mut answers = Answers::default();
        assert_eq!(opens(&answers, &basis(1, 0, 0), at(0)), Ok(None), "never asked");
        tell(&mut answers, basis(1, 0, 0), skip(None), at(0));
        assert_eq!(answers.of(&asked(), &basis(1, 0, 0), false, at(1_000_000), false), Answer::Skip("no", None));
        assert_eq!(opens(&answers, &basis(2, 0, 0), at(50)), Ok(Some(at(100))), "not at once");
        assert_eq!(opens(&answers, &basis(2, 0, 0), at(100)), Ok(None));
        assert_eq!(opens(&answers, &basis(1, 0, 7), at(100)), Ok(None), "a run has ended");
        tell(&mut answers, basis(1, 0, 0), skip(Some(Duration::from_secs(5))), at(0));
        assert_eq!(answers.of(&asked(), &basis(1, 0, 0), false, at(100), false), Answer::Skip("no", Some(at(5_000))));
        assert_eq!(opens(&answers, &basis(1, 0, 0), at(5_000)), Ok(None));
        assert_eq!(answers.of(&asked(), &basis(1, 0, 0), false, at(5_000), true), Answer::Skip("no", None), "drains");
    }

    #[test]
    fn a_slow_component_rests_between_its_answers() {
        let mut answers = Answers::default();
        let question = answers.ask(asked(), basis(1, 0, 0));
        answers.answer(&asked(), question, skip(None), Duration::from_secs(2), at(2_000));
        assert_eq!(opens(&answers, &basis(2, 0, 0), at(3_000)), Ok(Some(at(10_000))));
    }

    #[test]
    fn a_fire_stands_while_its_artifacts_are_there_and_is_used_up_once() {
        let mut answers = Answers::default();
        tell(&mut answers, basis(2, 5, 0), Said::Fire("yes".to_owned()), at(0));
        for still in [basis(2, 5, 0), basis(9, 5, 0), basis(2, 5, 8)] {
            assert_eq!(answers.of(&asked(), &still, false, at(9), false), Answer::Fire("yes"), "{still:?}");
            assert!(answers.fires(&asked(), &still));
        }
        for gone in [basis(1, 5, 0), basis(2, 6, 0), basis(0, 0, 0)] {
            assert_eq!(opens(&answers, &gone, at(100)), Ok(None), "{gone:?}");
        }
        answers.use_up(&asked());
        assert_eq!(answers.of(&asked(), &basis(0, 0, 0), true, at(9), false), Answer::UsedUp);
        assert_eq!(
            answers.of(&asked(), &basis(1, 7, 0), true, at(9), false),
            Answer::Open { last: None, at: Some(at(100)), asking: false },
            "not at once: it may say yes for ever"
        );
        assert_eq!(opens(&answers, &basis(0, 0, 3), at(100)), Ok(None), "a run has ended since");
    }

    #[test]
    fn pauses_after_failures_grow_to_a_minute() {
        let mut answers = Answers::default();
        let mut now = 0;
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            tell(&mut answers, basis(1, 0, 0), Said::Failed("trap".to_owned()), at(now));
            now += pause * 1_000;
            assert_eq!(opens(&answers, &basis(2, 0, 0), at(now - 1)), Ok(Some(at(now))), "also if something changes");
            assert_eq!(opens(&answers, &basis(1, 0, 0), at(now)), Ok(None));
        }
        let drained = answers.of(&asked(), &basis(1, 0, 0), false, at(now), true);
        assert_eq!(drained, Answer::Skip("trap", None), "a host that drains does not try again");
        tell(&mut answers, basis(1, 0, 0), skip(None), at(now));
        tell(&mut answers, basis(1, 0, 0), Said::Failed("trap".to_owned()), at(now));
        assert_eq!(opens(&answers, &basis(1, 0, 0), at(now)), Ok(Some(at(now + 1_000))));
    }

    #[test]
    fn an_answer_to_a_question_of_another_component_is_dropped() {
        let mut answers = Answers::default();
        let old = answers.ask(asked(), basis(1, 0, 0));
        answers.retain(|_| false);
        let new = answers.ask(asked(), basis(1, 0, 0));
        assert!(!answers.answer(&asked(), old, Said::Fire("old".to_owned()), Duration::ZERO, at(0)));
        let open = Answer::Open { last: None, at: None, asking: true };
        assert_eq!(answers.of(&asked(), &basis(1, 0, 0), false, at(0), false), open);
        assert!(answers.answer(&asked(), new, Said::Fire("new".to_owned()), Duration::ZERO, at(0)));
        assert!(!answers.answer(&asked(), new, Said::Fire("again".to_owned()), Duration::ZERO, at(0)));
        assert_eq!(answers.of(&asked(), &basis(1, 0, 0), false, at(0), false), Answer::Fire("new"));
    }
}
