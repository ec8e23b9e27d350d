//! Evaluates one trigger: that of a resource, or one of the pipeline.

use super::condition::{
    Level, Look, NOTHING_NEW, Question, Verdict, all, artifacts, marks, passed, quiet_seen, reasons, wait_seen,
};
use super::groups::{Group, GroupSeen, MAX_GROUPS};
use super::situation::{BEING_SCANNED, Situation};
use super::waits::Waits;
use crate::base::{ByteSize, Moment, TimeSpan};
use crate::manifest::{Trigger, TriggerSpec};
use crate::model::{ConditionSeen, TriggerMark};

/// The result of evaluating one trigger.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Evaluation {
    pub(super) ready: bool,
    /// Whether it is ready because the oldest artifact has waited for `max_wait`. Then one artifact
    /// is enough.
    pub(super) overdue: bool,
    /// Whether to record a tick of it: it has pending artifacts, or waits for none.
    pub(super) waiting: bool,
    pub(super) reason: String,
    /// When to evaluate it again.
    pub(super) until: Option<Moment>,
    /// When time alone would make it ready; `None` if it is, or time alone is not enough.
    pub(super) next: Option<Moment>,
    pub(super) conditions: Vec<ConditionSeen>,
    /// The marks to set: if it is ready, when it fires; otherwise now, for schedules whose time has
    /// passed.
    pub(super) marks: Vec<TriggerMark>,
    /// The triggers that led to the runs that it saw.
    pub(super) led_by: Vec<String>,
    /// If it is ready because of one group of artifacts: that group.
    pub(super) group: Option<Group>,
    /// The name of the group of artifacts that this is about, ready or not.
    pub(super) about: Option<String>,
    /// Why it does not fire, even if it is ready: its resource is paused, or a watched one may
    /// differ from the record.
    pub(super) held: Option<String>,
    /// The component whose answer decides whether it is ready.
    pub(super) ask: Option<Question>,
    /// Whether a component keeps it from being ready.
    pub(super) kept: KeptBy,
}

/// Whether a component keeps a trigger from being ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeptBy {
    /// No, or one has answered that no run starts.
    Nothing,
    /// It is being asked.
    Asking,
    /// It has failed to decide.
    Failure,
}

impl KeptBy {
    fn of(asking: bool, failed: bool) -> Self {
        match (asking, failed) {
            (true, _) => Self::Asking,
            (false, true) => Self::Failure,
            (false, false) => Self::Nothing,
        }
    }
}

impl Evaluation {
    /// Returns whether it fires, if nothing holds back the pipeline as a whole.
    pub(super) fn fires(&self) -> bool {
        self.ready && self.held.is_none()
    }

    /// Returns this evaluation of a group, with the sooner times of it and another that is not
    /// ready either. A time has passed for all groups, or for none.
    fn or_sooner(mut self, other: &Self) -> Self {
        if other.marks.is_empty() {
            self.marks.clear();
        }
        let sooner = |one: Option<Moment>, two: Option<Moment>| one.into_iter().chain(two).min();
        let (until, next) = (sooner(self.until, other.until), sooner(self.next, other.next));
        Self { until, next, ..self }
    }

    fn not_ready(reason: String, until: Option<Moment>) -> Self {
        Self { ready: false, overdue: false, waiting: true, reason, until, next: until, ..Self::nothing() }
    }

    fn ready(reason: String, overdue: bool) -> Self {
        Self { ready: true, overdue, waiting: true, reason, ..Self::nothing() }
    }

    fn nothing() -> Self {
        Self {
            ready: false,
            overdue: false,
            waiting: false,
            reason: NOTHING_NEW.to_owned(),
            until: None,
            next: None,
            conditions: Vec::new(),
            marks: Vec::new(),
            led_by: Vec::new(),
            group: None,
            about: None,
            ask: None,
            held: None,
            kept: KeptBy::Nothing,
        }
    }
}

/// Evaluates a trigger of the pipeline.
pub(super) fn of_pipeline(trigger: &TriggerSpec, situation: Situation<'_>) -> Evaluation {
    let look =
        Look { trigger: &trigger.name, when: &trigger.when, retrigger: trigger.retrigger, waits: None, situation };
    let verdict = all(&trigger.when, look);
    if let Some(why) = situation.unseen.values().next() {
        let held = Some(why.clone());
        return Evaluation { conditions: verdict.seen, held, ..Evaluation::not_ready(why.clone(), None) };
    }
    let ready = verdict.level == Level::Met && verdict.fresh;
    let reason = match verdict.level {
        Level::Met if ready => reasons(&verdict.seen, true),
        Level::Met => format!("nothing new since it fired last; {}", reasons(&verdict.seen, true)),
        _ => format!("waits for {}", reasons(&verdict.seen, false)),
    };
    let marks = match verdict.level {
        Level::Met if ready => marks(&trigger.when, look),
        Level::Settling => Vec::new(),
        _ => passed(&trigger.when, look),
    };
    let kept = KeptBy::of(verdict.asking, verdict.failed && !ready);
    let Verdict { seen: conditions, wake: until, next, led_by, ask, .. } = verdict;
    let this = Evaluation { ready, waiting: true, reason, until, next, conditions, marks, ..Evaluation::nothing() };
    Evaluation { led_by, ask, kept, ..this }
}

/// Evaluates the trigger of a resource. While the resource is paused, its trigger does not fire,
/// and ticks are recorded even if there are no artifacts.
pub(super) fn of_resource(name: &str, trigger: &Trigger, situation: Situation<'_>) -> Evaluation {
    let result = of_groups(name, trigger, situation);
    match situation.paused_resources.get(name) {
        None => result,
        Some(pause) => Evaluation { waiting: true, held: Some(format!("{name} is {pause}")), ..result },
    }
}

/// Evaluates the trigger of a resource. If it groups artifacts, evaluates it for each group: it is
/// ready if one is.
fn of_groups(name: &str, trigger: &Trigger, situation: Situation<'_>) -> Evaluation {
    let Some(groups) = situation.pending.groups(name).filter(|_| trigger.group_by.is_some()) else {
        let waits = situation.pending.of(name).filter(|_| trigger.group_by.is_none());
        return of_waits(name, trigger, waits, situation);
    };
    let is_unseen = situation.unseen.contains_key(name);
    let mut has_short = false;
    let mut ready: Option<Evaluation> = None;
    let mut others: Option<Evaluation> = None;
    for group in groups.iter() {
        // What is missing in the oldest of such groups is missing in all, and it is the first whose
        // longest wait ends.
        let is_short = is_unseen || is_short(trigger, group.waits(), situation.now.moment);
        if is_short && std::mem::replace(&mut has_short, true) {
            continue;
        }
        let result = of_group(name, trigger, group, situation);
        match (result.ready, &mut ready) {
            (true, Some(first)) => {
                // A schedule stays due until each group that is ready has its run.
                first.marks.clear();
                break;
            }
            (true, None) if result.marks.is_empty() => return result,
            (true, None) => ready = Some(result),
            (false, _) => {
                others = Some(match others.take() {
                    None => result,
                    Some(oldest) => oldest.or_sooner(&result),
                });
            }
        }
    }
    let result = ready.or(others).unwrap_or_else(Evaluation::nothing);
    if result.ready || is_unseen {
        return result;
    }
    let more = match groups.len() - 1 {
        0 => None,
        1 => Some("1 more group waits".to_owned()),
        several => Some(format!("{several} more groups wait")),
    };
    let reason = [result.reason.clone()].into_iter().chain(more).chain(groups.full()).collect::<Vec<_>>().join("; ");
    Evaluation { reason, ..result }
}

/// Evaluates the trigger of a resource for one group.
fn of_group(name: &str, trigger: &Trigger, group: &Group, situation: Situation<'_>) -> Evaluation {
    let result = of_waits(name, trigger, Some(group.waits()), situation);
    let reason = format!("{}: {}", group.name, result.reason);
    let of_ready = result.ready.then(|| group.clone());
    Evaluation { reason, about: Some(group.name.to_string()), group: of_ready, ..result }
}

/// Returns the first groups of a resource, and how many there are more.
pub(super) fn first_groups(name: &str, trigger: &Trigger, situation: Situation<'_>) -> (Vec<GroupSeen>, u64) {
    let Some(groups) = situation.pending.groups(name).filter(|_| trigger.group_by.is_some()) else {
        return (Vec::new(), 0);
    };
    let seen = groups.iter().take(MAX_GROUPS).map(|group| {
        let waits = group.waits();
        let result = of_waits(name, trigger, Some(waits), situation);
        let waits_for = (!result.ready).then_some(result.reason);
        GroupSeen { name: group.name.to_string(), count: waits.pending.count, waits_for }
    });
    (seen.collect(), groups.len().saturating_sub(MAX_GROUPS) as u64)
}

/// Returns whether artifacts are missing for a run, and none has waited for `max_wait`.
fn is_short(trigger: &Trigger, waits: Waits, now: Moment) -> bool {
    !is_enough(trigger, waits) && trigger.max_wait.is_none_or(|wait| now < waits.oldest.after(wait))
}

fn is_enough(trigger: &Trigger, waits: Waits) -> bool {
    waits.pending.count >= trigger.min_artifacts && waits.pending.bytes >= trigger.min_bytes
}

/// Evaluates the trigger of a resource for these pending artifacts.
fn of_waits(name: &str, trigger: &Trigger, waits: Option<Waits>, situation: Situation<'_>) -> Evaluation {
    let mut counted = counted(trigger, waits, situation);
    counted.conditions = conditions(trigger, waits, situation);
    if let Some(why) = situation.unseen.get(name) {
        let waiting = waits.is_some_and(|waits| waits.pending.count > 0) || !why.ends_with(BEING_SCANNED);
        let (reason, held, conditions) = (why.clone(), Some(why.clone()), counted.conditions);
        return Evaluation { waiting, reason, conditions, held, ..Evaluation::nothing() };
    }
    if trigger.when.is_empty() {
        return counted;
    }
    let look = Look { trigger: name, when: &trigger.when, retrigger: trigger.retrigger, waits, situation };
    with_more(counted, all(&trigger.when, look), trigger, look)
}

/// Adds the further conditions of a resource's trigger to what its artifacts say.
fn with_more(counted: Evaluation, more: Verdict, trigger: &Trigger, look: Look<'_>) -> Evaluation {
    // There are enough artifacts, and only quiet is missing.
    let has_enough = |waits: Waits| waits.pending.count > 0 && is_enough(trigger, waits);
    let is_quieting = !counted.ready && look.waits.is_some_and(has_enough);
    let ready = counted.ready && (counted.overdue || more.level == Level::Met);
    let waits_for = match more.level {
        Level::Met => String::new(),
        _ => format!("waits for {}", reasons(&more.seen, false)),
    };
    let reason = if ready {
        let met = if counted.overdue { String::new() } else { reasons(&more.seen, true) };
        join(", ", [counted.reason, met])
    } else if counted.ready || counted.waiting {
        // How many of them a run takes is said of one that could start.
        let all = look.waits.filter(|_| counted.ready).map(|waits| artifacts(waits.pending.count));
        join(", ", [all.unwrap_or(counted.reason), waits_for])
    } else {
        counted.reason
    };
    let marks = if ready {
        marks(&trigger.when, look)
    } else if more.level == Level::Settling || (is_quieting && more.level == Level::Met) {
        Vec::new()
    } else {
        passed(&trigger.when, look)
    };
    let next = match (counted.ready, more.level) {
        (true, _) => more.next,
        (false, Level::Met) => counted.next,
        (false, _) => counted.next.zip(more.next).map(|(one, other)| one.max(other)),
    };
    // After `max_wait` the trigger waits for no condition any more.
    let oldest = look.waits.filter(|waits| counted.waiting && !ready && waits.pending.count > 0);
    let patience = trigger.max_wait.zip(oldest).map(|(wait, waits)| waits.oldest.after(wait));
    let next = next.into_iter().chain(patience).min().filter(|_| !ready);
    let until = counted.until.into_iter().chain(more.wake).chain(patience).min();
    let led_by = if ready { more.led_by } else { Vec::new() };
    let conditions = counted.conditions.into_iter().chain(more.seen).collect();
    let decides = counted.ready && !counted.overdue;
    let ask = more.ask.filter(|_| decides && more.hope == Level::Met);
    let kept = KeptBy::of(more.asking, more.failed && decides && !ready);
    // A time that has passed is recorded even if there were no artifacts.
    let waiting = counted.waiting || !marks.is_empty();
    Evaluation { ready, waiting, reason, until, next, conditions, marks, led_by, ask, kept, ..counted }
}

fn join(between: &str, parts: [String; 2]) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(between)
}

/// Evaluates the conditions on the new artifacts.
fn counted(trigger: &Trigger, waits: Option<Waits>, situation: Situation<'_>) -> Evaluation {
    let now = situation.now.moment;
    let Some(Waits { pending, oldest, newest, .. }) = waits.filter(|waits| waits.pending.count > 0) else {
        return Evaluation::nothing();
    };
    let patience_ends = trigger.max_wait.map(|wait| oldest.after(wait));
    if let (Some(end), Some(wait)) = (patience_ends, trigger.max_wait)
        && now >= end
    {
        let reason =
            format!("{}, the oldest of which has waited for {}", taken(trigger, pending.count), TimeSpan(wait));
        return Evaluation::ready(reason, true);
    }
    if pending.count < trigger.min_artifacts {
        let reason = format!("{} of {} artifacts", pending.count, trigger.min_artifacts);
        return Evaluation::not_ready(reason, patience_ends);
    }
    if pending.bytes < trigger.min_bytes {
        let reason = format!("{} of {} bytes", pending.bytes, trigger.min_bytes);
        return Evaluation::not_ready(reason, patience_ends);
    }
    let quiet_at = newest.after(trigger.quiet_for);
    if now < quiet_at && !situation.draining {
        let until = patience_ends.map_or(quiet_at, |end| end.min(quiet_at));
        let span = TimeSpan(trigger.quiet_for);
        let reason = format!("{}, waits until none has arrived for {span}", artifacts(pending.count));
        return Evaluation::not_ready(reason, Some(until));
    }
    Evaluation::ready(taken(trigger, pending.count), false)
}

/// Says how many of the new artifacts a run takes: `3 new artifacts`, or `2 of 3 new artifacts`.
fn taken(trigger: &Trigger, count: u64) -> String {
    match trigger.max_artifacts.filter(|most| *most < count) {
        Some(most) => format!("{most} of {}", artifacts(count)),
        None => artifacts(count),
    }
}

/// Returns what each configured condition on the new artifacts sees.
fn conditions(trigger: &Trigger, waits: Option<Waits>, situation: Situation<'_>) -> Vec<ConditionSeen> {
    let now = situation.now.moment;
    let waits = waits.filter(|waits| waits.pending.count > 0);
    let (count, bytes) = waits.map_or((0, 0), |waits| (waits.pending.count, waits.pending.bytes));
    let of = |condition: &str, wanted: String, seen: String, met: bool| ConditionSeen {
        condition: condition.to_owned(),
        wanted,
        seen,
        met,
        conditions: Vec::new(),
    };
    let least = trigger.min_artifacts;
    let mut all = vec![of("min_artifacts", least.to_string(), artifacts(count), count >= least)];
    if trigger.min_bytes > 0 {
        let [wanted, seen] = [trigger.min_bytes, bytes].map(|bytes| ByteSize(bytes).to_string());
        let seen = if count == 0 { NOTHING_NEW.to_owned() } else { seen };
        all.push(of("min_bytes", wanted, seen, bytes >= trigger.min_bytes));
    }
    if !trigger.quiet_for.is_zero() {
        let met = situation.draining || waits.is_some_and(|waits| now >= waits.newest.after(trigger.quiet_for));
        let seen = if count == 0 { NOTHING_NEW } else { quiet_seen(met) };
        all.push(of("quiet_for", TimeSpan(trigger.quiet_for).to_string(), seen.to_owned(), met && count > 0));
    }
    if let Some(wait) = trigger.max_wait {
        let met = waits.is_some_and(|waits| now >= waits.oldest.after(wait));
        let seen = if count == 0 { NOTHING_NEW } else { wait_seen(met) };
        all.push(of("max_wait", TimeSpan(wait).to_string(), seen.to_owned(), met));
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::base::{Now, Timestamp};
    use crate::model::Pending;
    use crate::scheduler::core::{History, Waiting};

    const SECOND: i64 = 1_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * SECOND)
    }

    fn moment(seconds: i64) -> Moment {
        Moment::from_micros(seconds * SECOND)
    }

    /// A time of both clocks, which run alike here.
    fn now(seconds: i64) -> Now {
        Now { time: at(seconds), moment: moment(seconds) }
    }

    fn waiting(count: u64, bytes: u64, oldest: i64, newest: i64) -> Pending {
        Pending { count, bytes, oldest_at: Some(at(oldest)), newest_at: Some(at(newest)), as_of: 0 }
    }

    fn seen(trigger: &Trigger, pending: Pending, seconds: i64) -> (bool, String, Option<Moment>) {
        let (mut waiting, unseen) = (Waiting::default(), BTreeMap::new());
        waiting.note("raw", pending, now(seconds));
        let situation = Situation {
            pending: &waiting,
            unseen: &unseen,
            history: &History::default(),
            runs: 0,
            left: 0,
            queued: 0,
            paused: false,
            paused_resources: &BTreeMap::new(),
            draining: false,
            now: now(seconds),
            due: now(seconds),
        };
        let result = of_resource("raw", trigger, situation);
        (result.ready, result.reason, result.until)
    }

    #[test]
    fn nothing_new_is_never_ready() {
        let trigger = Trigger { max_wait: Some(Duration::ZERO), ..Trigger::default() };
        assert_eq!(seen(&trigger, Pending::default(), 9), (false, "nothing new".into(), None));
    }

    #[test]
    fn artifacts_and_bytes_must_both_be_enough() {
        let trigger = Trigger { min_artifacts: 3, min_bytes: 100, ..Trigger::default() };
        assert_eq!(seen(&trigger, waiting(2, 500, 0, 0), 9), (false, "2 of 3 artifacts".into(), None));
        assert_eq!(seen(&trigger, waiting(3, 99, 0, 0), 9), (false, "99 of 100 bytes".into(), None));
        assert_eq!(seen(&trigger, waiting(3, 100, 0, 0), 9), (true, "3 new artifacts".into(), None));
    }

    #[test]
    fn a_run_that_takes_a_part_says_how_many() {
        let trigger = Trigger { max_artifacts: Some(1), max_wait: Some(Duration::from_secs(12)), ..Trigger::default() };
        assert_eq!(seen(&trigger, waiting(1, 0, 0, 0), 9).1, "1 new artifact");
        assert_eq!(seen(&trigger, waiting(2, 0, 0, 0), 9).1, "1 of 2 new artifacts");
        let reason = "1 of 2 new artifacts, the oldest of which has waited for 12s";
        assert_eq!(seen(&trigger, waiting(2, 0, 0, 0), 12).1, reason);
        let trigger = Trigger { max_artifacts: Some(2), quiet_for: Duration::from_secs(20), ..trigger };
        let reason = "3 new artifacts, waits until none has arrived for 20s";
        assert_eq!(seen(&trigger, waiting(3, 0, 0, 0), 9).1, reason, "no run could start");
    }

    #[test]
    fn quiet_is_waited_for_but_not_beyond_the_longest_wait() {
        let trigger = Trigger {
            quiet_for: Duration::from_secs(5),
            max_wait: Some(Duration::from_secs(12)),
            ..Trigger::default()
        };
        let reason = "2 new artifacts, waits until none has arrived for 5s".to_owned();
        assert_eq!(seen(&trigger, waiting(2, 0, 0, 4), 6), (false, reason.clone(), Some(moment(9))));
        assert_eq!(seen(&trigger, waiting(2, 0, 0, 10), 11), (false, reason, Some(moment(12))));
        let reason = "2 new artifacts, the oldest of which has waited for 12s".to_owned();
        assert_eq!(seen(&trigger, waiting(2, 0, 0, 10), 12), (true, reason, None));
        assert_eq!(seen(&trigger, waiting(1, 0, 0, 4), 9), (true, "1 new artifact".into(), None));
    }
}
