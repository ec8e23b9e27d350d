//! Evaluates the conditions of a trigger, one by one.

use std::collections::VecDeque;

use super::answers::{Answer, Asked, Basis};
use super::history::{Mark, MetricSeen};
use super::situation::Situation;
use super::waits::Waits;
use crate::base::{ByteSize, Moment, Schedule, Timestamp};
use crate::manifest::{Condition, Decider, MetricTest, Missed};
use crate::model::{ConditionSeen, TriggerMark};

/// With `missed = "all"`: the most missed times that are made up for, newest first.
const MAX_MADE_UP: usize = 100;
/// With `missed = "all"`: if more times than this were missed, one run makes up for all of them.
const MAX_MISSED: usize = 10_000;

/// How close a condition is to being met. The order makes `all` the minimum of its conditions, and
/// `any` the maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// It is not met.
    Unmet,
    /// It will be met once it has been quiet for long enough, or may be met once a component has
    /// answered.
    Settling,
    /// It is met.
    Met,
}

/// The trigger whose conditions are evaluated, and what they look at.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    /// The name of the trigger.
    pub(super) trigger: &'a str,
    /// All its conditions.
    pub(super) when: &'a [Condition],
    /// Whether runs that the trigger led to count.
    pub(super) retrigger: bool,
    /// The pending artifacts in its resource.
    pub(super) waits: Option<Waits>,
    /// Everything else.
    pub(super) situation: Situation<'a>,
}

/// The result of evaluating one condition, or several together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) level: Level,
    /// The level if `ask` says yes.
    pub(super) hope: Level,
    /// The component to ask.
    pub(super) ask: Option<Question>,
    /// Whether a component is being asked.
    pub(super) asking: bool,
    /// Whether a component has failed to decide.
    pub(super) failed: bool,
    /// Whether something that it saw is new since the trigger last fired. A trigger whose
    /// conditions are met fires only if something is new; otherwise it would fire again at once.
    pub(super) fresh: bool,
    /// What each condition saw.
    pub(super) seen: Vec<ConditionSeen>,
    /// When to evaluate it again.
    pub(super) wake: Option<Moment>,
    /// When time alone would have met it; `None` if it is met, or time alone is not enough.
    pub(super) next: Option<Moment>,
    /// The triggers that led to the runs that it saw, if it is met because of them.
    pub(super) led_by: Vec<String>,
}

/// A component to ask.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Question {
    /// The component.
    pub(super) asked: Asked,
    /// Its name; see [`Decider::name`].
    pub(super) name: String,
    /// What its answer will be based on.
    pub(super) basis: Basis,
}

impl Verdict {
    /// Returns the verdict on a condition that is met or not, without regard to time.
    fn of(condition: &Condition, level: Level, seen: String) -> Self {
        let met = level == Level::Met;
        let (key, wanted) = (condition.key().to_owned(), condition.wanted());
        let seen = vec![ConditionSeen { condition: key, wanted, seen, met, conditions: Vec::new() }];
        Self {
            level,
            hope: level,
            ask: None,
            asking: false,
            failed: false,
            fresh: met,
            seen,
            wake: None,
            next: None,
            led_by: Vec::new(),
        }
    }

    /// Sets the time at which time alone will have met the condition, unless it is met, or the host
    /// drains and so waits for nothing.
    fn until(mut self, at: Moment, look: Look<'_>) -> Self {
        if self.level != Level::Met && !look.situation.draining {
            (self.wake, self.next) = (Some(at), Some(at));
        }
        self
    }

    fn is_met(&self) -> bool {
        self.level == Level::Met
    }
}

fn level(met: bool) -> Level {
    if met { Level::Met } else { Level::Unmet }
}

/// Evaluates conditions that must all be met.
pub(super) fn all(conditions: &[Condition], look: Look<'_>) -> Verdict {
    let each: Vec<Verdict> = conditions.iter().map(|condition| evaluate(condition, look)).collect();
    let open = || each.iter().filter(|verdict| !verdict.is_met());
    let next = open().map(|verdict| verdict.next).collect::<Option<Vec<_>>>();
    let least = |level: fn(&Verdict) -> Level| each.iter().map(level).min().unwrap_or(Level::Met);
    let levels = (least(|verdict| verdict.level), least(|verdict| verdict.hope));
    join(levels, next.and_then(|all| all.into_iter().max()), &each)
}

fn any(conditions: &[Condition], look: Look<'_>) -> Verdict {
    let each: Vec<Verdict> = conditions.iter().map(|condition| evaluate(condition, look)).collect();
    let most = |level: fn(&Verdict) -> Level| each.iter().map(level).max().unwrap_or(Level::Unmet);
    let levels = (most(|verdict| verdict.level), most(|verdict| verdict.hope));
    let next = each.iter().filter_map(|verdict| verdict.next).min().filter(|_| levels.0 != Level::Met);
    join(levels, next, &each)
}

/// Joins the verdicts on several conditions into one with this `level` and `hope`.
fn join((level, hope): (Level, Level), next: Option<Moment>, each: &[Verdict]) -> Verdict {
    let met = || each.iter().filter(|verdict| verdict.is_met());
    // Ask only if an answer can decide, and one component at a time: the next may not be needed.
    let decides = hope == Level::Met && level != Level::Met;
    let ask = each.iter().find_map(|verdict| verdict.ask.as_ref().filter(|_| decides));
    Verdict {
        level,
        hope,
        ask: ask.cloned(),
        asking: each.iter().any(|verdict| verdict.asking),
        failed: each.iter().any(|verdict| verdict.failed),
        fresh: met().any(|verdict| verdict.fresh),
        seen: each.iter().flat_map(|verdict| verdict.seen.clone()).collect(),
        wake: each.iter().filter_map(|verdict| verdict.wake).min(),
        next,
        led_by: met().flat_map(|verdict| verdict.led_by.clone()).collect(),
    }
}

fn evaluate(condition: &Condition, look: Look<'_>) -> Verdict {
    match condition {
        Condition::All(inner) => group(condition, all(inner, look)),
        Condition::Any(inner) => group(condition, any(inner, look)),
        Condition::Every(_) | Condition::Cron { .. } | Condition::Metric { .. } => {
            match look.situation.history.mark(look.trigger, condition) {
                Some(mark) => marked(condition, mark, look),
                None => Verdict::of(condition, Level::Unmet, "not checked yet".to_owned()),
            }
        }
        Condition::AfterRun(_) => after_run(condition, look),
        Condition::Component(decider) => decided(condition, decider, look),
        _ => counted(condition, look),
    }
}

/// Puts what the conditions of a group saw below one line for the group.
fn group(condition: &Condition, inner: Verdict) -> Verdict {
    let met = inner.seen.iter().filter(|seen| seen.met).count();
    let seen = ConditionSeen {
        condition: condition.key().to_owned(),
        wanted: condition.wanted(),
        seen: format!("{met} of {}", inner.seen.len()),
        met: inner.is_met(),
        conditions: inner.seen,
    };
    Verdict { seen: vec![seen], ..inner }
}

/// Evaluates a condition on the new artifacts of a resource.
fn counted(condition: &Condition, look: Look<'_>) -> Verdict {
    let now = look.situation.now.moment;
    let Some(waits) = look.waits.filter(|waits| waits.pending.count > 0) else {
        return Verdict::of(condition, Level::Unmet, NOTHING_NEW.to_owned());
    };
    let (count, bytes) = (waits.pending.count, waits.pending.bytes);
    match condition {
        Condition::MinArtifacts(least) => Verdict::of(condition, level(count >= *least), artifacts(count)),
        Condition::MinBytes(least) => Verdict::of(condition, level(bytes >= *least), ByteSize(bytes).to_string()),
        Condition::QuietFor(span) => {
            let at = waits.newest.after(*span);
            let quiet = now >= at || look.situation.draining;
            let level = if quiet { Level::Met } else { Level::Settling };
            Verdict::of(condition, level, quiet_seen(quiet).to_owned()).until(at, look)
        }
        Condition::MaxWait(span) => {
            let at = waits.oldest.after(*span);
            Verdict::of(condition, level(now >= at), wait_seen(now >= at).to_owned()).until(at, look)
        }
        _ => Verdict::of(condition, Level::Unmet, "not known here".to_owned()),
    }
}

/// What a condition on new artifacts sees if there are none.
pub(super) const NOTHING_NEW: &str = "nothing new";

/// What `quiet_for` sees.
pub(super) fn quiet_seen(quiet: bool) -> &'static str {
    if quiet { "no new artifact for that long" } else { "a new artifact arrived within that time" }
}

/// What `max_wait` sees.
pub(super) fn wait_seen(over: bool) -> &'static str {
    if over { "the oldest has waited longer" } else { "the oldest has waited less" }
}

/// Describes a number of new artifacts.
pub(super) fn artifacts(count: u64) -> String {
    if count == 0 {
        NOTHING_NEW.to_owned()
    } else if count == 1 {
        "1 new artifact".to_owned()
    } else {
        format!("{count} new artifacts")
    }
}

/// Evaluates a condition that has a mark.
fn marked(condition: &Condition, mark: Mark, look: Look<'_>) -> Verdict {
    match condition {
        Condition::Every(span) => {
            let at = mark.moment.after(*span);
            let met = look.situation.due.moment >= at;
            let seen = format!("{} {}", if met { "due since" } else { "next at" }, mark.at.after(*span).in_utc());
            Verdict::of(condition, level(met), seen).until(at, look)
        }
        Condition::Cron { schedule, .. } => {
            let Some(next) = schedule.next_after(mark.at) else {
                return Verdict::of(condition, Level::Unmet, "never due again".to_owned());
            };
            let met = next <= look.situation.due.time;
            let seen = format!("{} {}", if met { "due since" } else { "next at" }, schedule.shown(next));
            let at = look.situation.now.moment.after(next.since(look.situation.now.time));
            Verdict::of(condition, level(met), seen).until(at, look)
        }
        Condition::Metric { name, test } => match look.situation.history.metric(name) {
            Some(metric) => on_metric(condition, *test, mark, metric, look),
            None => match test {
                MetricTest::NoUpdateFor(span) => {
                    stale(condition, mark.moment.after(*span), "no value yet".into(), look)
                }
                _ => Verdict::of(condition, Level::Unmet, "no value yet".to_owned()),
            },
        },
        _ => Verdict::of(condition, Level::Unmet, "not known here".to_owned()),
    }
}

fn on_metric(condition: &Condition, test: MetricTest, mark: Mark, metric: &MetricSeen, look: Look<'_>) -> Verdict {
    let mut seen = format!("{} in run #{}", metric.value, metric.run);
    let met = match test {
        MetricTest::Below(bound) => metric.value < bound,
        MetricTest::Above(bound) => metric.value > bound,
        MetricTest::ChangedBy(step) => match mark.value {
            Some(before) => {
                seen = format!("{seen}, after {before}");
                (metric.value - before).abs() >= step
            }
            None => false,
        },
        MetricTest::NoUpdateFor(span) => {
            let seen = format!("{seen} at {}", metric.recorded_at.in_utc());
            return stale(condition, metric.moment.max(mark.moment).after(span), seen, look);
        }
    };
    let is_own = !counts_own(look) && metric.fired_by.iter().any(|name| name == look.trigger);
    if is_own {
        seen.push_str(", which this trigger led to");
    } else if met && metric.seq <= mark.seq {
        seen.push_str(", unchanged since it last fired");
    }
    let fresh = met && !is_own && metric.seq > mark.seq;
    let led_by = if met { metric.fired_by.clone() } else { Vec::new() };
    Verdict { fresh, led_by, ..Verdict::of(condition, level(met), seen) }
}

/// Evaluates `no_update_for`, which is met at `at`.
fn stale(condition: &Condition, at: Moment, seen: String, look: Look<'_>) -> Verdict {
    Verdict::of(condition, level(look.situation.due.moment >= at), seen).until(at, look)
}

/// Returns whether runs that a trigger led to count for it. While the host drains they do not,
/// because it would never end.
fn counts_own(look: Look<'_>) -> bool {
    look.retrigger && !look.situation.draining
}

fn after_run(condition: &Condition, look: Look<'_>) -> Verdict {
    let ended = look.situation.history.ended(look.trigger, condition);
    match ended.filter(|run| counts(&run.fired_by, look)) {
        Some(run) => {
            let verdict = Verdict::of(condition, Level::Met, format!("run #{} {}", run.number, run.state));
            Verdict { led_by: run.fired_by.clone(), ..verdict }
        }
        None => Verdict::of(condition, Level::Unmet, "no such run since".to_owned()),
    }
}

/// Returns the key of a component's answers, and what its next answer would be based on.
fn to_ask(condition: &Condition, look: Look<'_>) -> (Asked, Basis) {
    let asked = (look.trigger.to_owned(), condition.describe());
    let ended = look.situation.history.ended(look.trigger, condition).map_or(0, |run| run.seq);
    let Situation { pending, paused_resources, .. } = look.situation;
    let basis = match look.waits {
        Some(waits) => Basis::of_one(waits.pending, ended, due(look)),
        None => Basis::of_all(pending, paused_resources, ended, due(look)),
    };
    (asked, basis)
}

/// Returns the time up to which the schedules of a trigger that are due are accounted for.
fn due(look: Look<'_>) -> Option<Timestamp> {
    let flat = look.when.iter().flat_map(Condition::flat);
    let schedules = flat.filter(|it| matches!(it, Condition::Every(_) | Condition::Cron { .. }));
    let due = schedules.filter(|condition| evaluate(condition, look).is_met());
    due.filter_map(|condition| look.situation.history.mark(look.trigger, condition)).map(|mark| mark.at).max()
}

/// Evaluates a condition that a component decides. Until it has decided, times of schedules that
/// are combined with it do not pass.
fn decided(condition: &Condition, decider: &Decider, look: Look<'_>) -> Verdict {
    let Situation { history, now, draining, .. } = look.situation;
    let (asked, basis) = to_ask(condition, look);
    let has_fired = history.fired_at(&asked).is_some();
    let verdict = |level, seen: &str| Verdict::of(condition, level, seen.to_owned());
    match history.answers().of(&asked, &basis, has_fired, now.moment, draining) {
        Answer::Fire(reason) => {
            let ended = history.ended(look.trigger, condition).filter(|run| counts(&run.fired_by, look));
            let led_by = ended.map(|run| run.fired_by.clone()).unwrap_or_default();
            Verdict { led_by, ..verdict(Level::Met, reason) }
        }
        Answer::Skip(reason, wake) => Verdict { wake, ..verdict(Level::Unmet, reason) },
        Answer::UsedUp => verdict(Level::Unmet, "nothing new since it fired"),
        Answer::Open { last, at, asking } => {
            let (seen, failed) = last.unwrap_or(("not asked yet", false));
            let open = Verdict { wake: at, asking, failed, ..verdict(Level::Settling, seen) };
            if asking || at.is_some() {
                return open;
            }
            let question = Question { asked, name: decider.name.clone(), basis };
            Verdict { hope: Level::Met, ask: Some(question), ..open }
        }
    }
}

/// Returns whether a run with these triggers counts for a trigger.
fn counts(fired_by: &[String], look: Look<'_>) -> bool {
    counts_own(look) || !fired_by.iter().any(|name| name == look.trigger)
}

/// Returns the marks of a trigger that fires now.
pub(super) fn marks(conditions: &[Condition], look: Look<'_>) -> Vec<TriggerMark> {
    conditions.iter().flat_map(Condition::flat).filter_map(|condition| mark(condition, look)).collect()
}

fn mark(condition: &Condition, look: Look<'_>) -> Option<TriggerMark> {
    let Situation { history, now, due, .. } = look.situation;
    let old = history.mark(look.trigger, condition)?;
    let set = |at, seq, value| {
        Some(TriggerMark { trigger: look.trigger.to_owned(), condition: condition.describe(), at, seq, value })
    };
    match condition {
        Condition::Every(_) => set(now.time, 0, None),
        Condition::Cron { schedule, missed } => {
            let first = schedule.next_after(old.at).filter(|next| *next <= due.time)?;
            let at = if *missed == Missed::All { made_up(schedule, first, due.time) } else { None };
            set(at.unwrap_or(now.time), 0, None)
        }
        Condition::Metric { name, .. } => match history.metric(name) {
            Some(metric) => set(now.time, metric.seq, Some(metric.value).filter(|value| !value.is_nan())),
            None => set(now.time, old.seq, old.value),
        },
        Condition::AfterRun(_) => {
            history.ended(look.trigger, condition)?;
            set(now.time, history.ends_seen(look.trigger, condition), None)
        }
        Condition::Component(_) => {
            let (asked, basis) = to_ask(condition, look);
            // The trigger may have fired because of another condition in `any`.
            if !history.answers().fires(&asked, &basis) {
                return None;
            }
            set(now.time, history.ends_seen(look.trigger, condition), Some(1.0))
        }
        _ => None,
    }
}

/// Returns the first of the missed times that are made up for one by one. `None` if there are too
/// many.
fn made_up(schedule: &Schedule, first: Timestamp, until: Timestamp) -> Option<Timestamp> {
    let mut last = VecDeque::from([first]);
    let mut time = first;
    for _ in 0..MAX_MISSED {
        match schedule.next_after(time).filter(|next| *next <= until) {
            None => return last.front().copied(),
            Some(next) => {
                time = next;
                last.push_back(next);
                if last.len() > MAX_MADE_UP {
                    last.pop_front();
                }
            }
        }
    }
    None
}

/// Returns the marks of schedules whose time has passed without a run, because other conditions
/// were not met. A scheduled time does not wait for other conditions.
pub(super) fn passed(conditions: &[Condition], look: Look<'_>) -> Vec<TriggerMark> {
    let flat = conditions.iter().flat_map(Condition::flat);
    let due = flat.filter_map(|condition| match condition {
        Condition::Cron { .. } => mark(condition, look),
        _ => None,
    });
    due.map(|mark| TriggerMark { at: look.situation.now.time, ..mark }).collect()
}

/// Describes the conditions that are met, or those that are not, in one line.
pub(super) fn reasons(seen: &[ConditionSeen], met: bool) -> String {
    let mut reasons = Vec::new();
    for condition in seen.iter().filter(|condition| condition.met == met) {
        if condition.conditions.is_empty() {
            reasons.push(format!("{} {}: {}", condition.condition, condition.wanted, condition.seen));
        } else {
            reasons.push(reasons_of_group(condition, met));
        }
    }
    reasons.join(", ")
}

fn reasons_of_group(group: &ConditionSeen, met: bool) -> String {
    let inner = reasons(&group.conditions, met);
    if group.conditions.len() > 1 { format!("{} ({inner})", group.condition) } else { inner }
}
