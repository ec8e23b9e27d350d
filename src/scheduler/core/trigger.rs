//! Decides when the next runs start.

use std::collections::BTreeMap;

use super::waiting::{Waiting, Waits};
use crate::base::{Moment, Now, TimeSpan, Timestamp};
use crate::manifest::{Join, Pipeline, Trigger};
use crate::model::{Tick, TickOutcome};
use crate::store::Claim;

/// The input of a decision.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The pending artifacts in each watched resource.
    pub pending: &'a Waiting,
    /// Watched resources that may differ from the record, with the reason. Their pending artifacts
    /// may have been replaced.
    pub unseen: &'a BTreeMap<String, String>,
    /// The number of active runs.
    pub runs: usize,
    /// The number of runs that wait for a slot: started by hand, retried, or left by the last host.
    pub queued: usize,
    /// Whether the pipeline is paused.
    pub paused: bool,
    /// Whether no more artifacts will come (`run --once`), so that no trigger waits for quiet.
    pub draining: bool,
    /// The time.
    pub now: Now,
}

/// The most runs that are decided on together.
const MAX_TOGETHER: usize = 64;

/// The decision.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// Create these runs, at least one, in this order.
    Fire(Vec<Fire>),
    /// Wait.
    Wait {
        /// One tick, with the reason, for each trigger that has pending artifacts.
        ticks: Vec<Tick>,
        /// When time alone could change the decision.
        until: Option<Moment>,
    },
}

/// A run to create.
#[derive(Debug, Clone, PartialEq)]
pub struct Fire {
    /// What the run claims.
    pub claims: Vec<Claim>,
    /// A tick for each trigger, with its reason.
    pub ticks: Vec<Tick>,
    /// Why the run starts, for display; becomes part of the run's record.
    pub trigger: String,
}

/// Decides whether runs start now. Only watched resources count.
///
/// If there are enough pending artifacts for several runs, decides on these together, so that the
/// runs of a burst share commits. If the claim of one run leaves open whether the next may start,
/// decides only on that one.
#[must_use]
pub fn plan(pipeline: &Pipeline, situation: Situation<'_>) -> Plan {
    let mut fires = Vec::new();
    let mut left = situation.pending.clone();
    while fires.len() < MAX_TOGETHER {
        let now = Situation { pending: &left, runs: situation.runs + fires.len(), ..situation };
        match decide(pipeline, now) {
            Decision::Fire(fire) => {
                let is_known = subtract(pipeline, &fire.claims, &mut left);
                fires.push(fire);
                if !is_known {
                    break;
                }
            }
            Decision::Wait { ticks, until } if fires.is_empty() => return Plan::Wait { ticks, until },
            Decision::Wait { .. } => break,
        }
    }
    Plan::Fire(fires)
}

/// Subtracts what a run claims. `false` if the rest is not known without asking the store: its
/// bytes, or the age of its oldest artifact.
fn subtract(pipeline: &Pipeline, claims: &[Claim], left: &mut Waiting) -> bool {
    claims.iter().all(|claim| {
        let trigger = pipeline.resource(&claim.resource).map(|resource| &resource.trigger);
        let is_plain = trigger.is_some_and(|trigger| trigger.min_bytes == 0 && trigger.max_wait.is_none());
        is_plain && claim.at_most.is_some_and(|most| left.claim(&claim.resource, most))
    })
}

enum Decision {
    Fire(Fire),
    Wait { ticks: Vec<Tick>, until: Option<Moment> },
}

/// A trigger of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Named<'p> {
    /// The name under which its ticks are recorded.
    name: &'p str,
    /// What it waits for.
    condition: Condition<'p>,
}

/// What a trigger waits for. A new kind of trigger needs a variant here, with its evaluation and
/// its claim.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Condition<'p> {
    /// Enough new artifacts in a resource, which the run claims.
    Artifacts {
        /// The resource.
        resource: &'p str,
        /// How many are enough.
        needs: &'p Trigger,
    },
}

/// Returns the triggers of a pipeline. The trigger of a watched resource has the name of the
/// resource.
fn triggers(pipeline: &Pipeline) -> impl Iterator<Item = Named<'_>> {
    let watched = pipeline.resources.iter().filter(|resource| resource.watch);
    watched.map(|resource| Named {
        name: &resource.name,
        condition: Condition::Artifacts { resource: &resource.name, needs: &resource.trigger },
    })
}

impl Condition<'_> {
    /// Evaluates the condition.
    fn evaluate(self, situation: Situation<'_>) -> Evaluation {
        match self {
            Condition::Artifacts { resource, needs } => {
                let waits = situation.pending.of(resource);
                match situation.unseen.get(resource) {
                    Some(why) => {
                        let (reason, waiting) = (why.clone(), waits.is_some_and(|waits| waits.pending.count > 0));
                        Evaluation { ready: false, overdue: false, waiting, reason, until: None }
                    }
                    None => evaluate(needs, waits, situation),
                }
            }
        }
    }
}

/// Decides whether one run starts now.
fn decide(pipeline: &Pipeline, situation: Situation<'_>) -> Decision {
    let evaluated: Vec<(Named<'_>, Evaluation)> =
        triggers(pipeline).map(|trigger| (trigger, trigger.condition.evaluate(situation))).collect();
    let ready: Vec<&(Named<'_>, Evaluation)> = evaluated.iter().filter(|(_, result)| result.ready).collect();
    let joined = match pipeline.join {
        Join::All => !evaluated.is_empty() && ready.len() == evaluated.len(),
        Join::Any => !ready.is_empty(),
    };
    let hold = hold(pipeline, situation);
    let now = situation.now.time;
    if joined && hold.is_none() {
        return Decision::Fire(fire(&ready, now));
    }
    let not_ready = evaluated.iter().filter(|(_, result)| !result.ready);
    let waits_for = not_ready.map(|(trigger, _)| trigger.name).collect::<Vec<_>>().join(", ");
    let hold = hold.unwrap_or_else(|| format!("waits for {waits_for}"));
    let ticks = evaluated
        .iter()
        .filter(|(_, result)| result.waiting)
        .map(|(trigger, result)| {
            if result.ready {
                tick(trigger, TickOutcome::Held, format!("{}, but {hold}", result.reason), now)
            } else {
                tick(trigger, TickOutcome::NotReady, result.reason.clone(), now)
            }
        })
        .collect();
    Decision::Wait { ticks, until: evaluated.iter().filter_map(|(_, result)| result.until).min() }
}

/// Returns why no run may start, regardless of the triggers.
fn hold(pipeline: &Pipeline, situation: Situation<'_>) -> Option<String> {
    if situation.paused {
        return Some("the pipeline is paused".to_owned());
    }
    if situation.runs + situation.queued < pipeline.max_concurrent_runs as usize {
        return None;
    }
    let queued = if situation.queued == 0 { String::new() } else { format!(", {} waiting", situation.queued) };
    Some(format!("{} of {} runs at work{queued}", situation.runs, pipeline.max_concurrent_runs))
}

fn fire(ready: &[&(Named<'_>, Evaluation)], now: Timestamp) -> Fire {
    let claims = ready
        .iter()
        .map(|(trigger, result)| match trigger.condition {
            Condition::Artifacts { resource, needs } => claim(resource, needs, result),
        })
        .collect();
    let ticks =
        ready.iter().map(|(trigger, result)| tick(trigger, TickOutcome::Fired, result.reason.clone(), now)).collect();
    let reasons = ready.iter().map(|(trigger, result)| format!("{}: {}", trigger.name, result.reason));
    Fire { claims, ticks, trigger: reasons.collect::<Vec<_>>().join("; ") }
}

/// Returns what a run claims from a resource whose trigger fired.
fn claim(resource: &str, needs: &Trigger, result: &Evaluation) -> Claim {
    // The claim repeats the bounds, because pending artifacts may have been replaced since they
    // were counted. After `max_wait`, any number is enough.
    let (at_least, min_bytes) = if result.overdue { (1, 0) } else { (needs.min_artifacts, needs.min_bytes) };
    Claim { resource: resource.to_owned(), at_most: needs.max_artifacts, at_least, min_bytes }
}

fn tick(trigger: &Named<'_>, outcome: TickOutcome, reason: String, time: Timestamp) -> Tick {
    let resource = match trigger.condition {
        Condition::Artifacts { resource, .. } => Some(resource.to_owned()),
    };
    Tick { seq: 0, trigger: trigger.name.to_owned(), resource, time, outcome, reason, run_id: None }
}

/// The result of evaluating one trigger.
#[derive(Debug, PartialEq)]
struct Evaluation {
    ready: bool,
    /// Whether it is ready because the oldest artifact has waited for `max_wait`, however few there
    /// are.
    overdue: bool,
    /// Whether there are any pending artifacts.
    waiting: bool,
    reason: String,
    until: Option<Moment>,
}

fn evaluate(trigger: &Trigger, waits: Option<Waits>, situation: Situation<'_>) -> Evaluation {
    let not_ready = |reason: String, until: Option<Moment>| Evaluation {
        ready: false,
        overdue: false,
        waiting: true,
        reason,
        until,
    };
    let now = situation.now.moment;
    let Some(Waits { pending, oldest, newest, .. }) = waits.filter(|waits| waits.pending.count > 0) else {
        return Evaluation {
            ready: false,
            overdue: false,
            waiting: false,
            reason: "nothing new".to_owned(),
            until: None,
        };
    };
    let patience_ends = trigger.max_wait.map(|wait| oldest.after(wait));
    if let (Some(end), Some(wait)) = (patience_ends, trigger.max_wait)
        && now >= end
    {
        let reason = format!("{}, the oldest of which has waited for {}", artifacts(pending.count), TimeSpan(wait));
        return Evaluation { ready: true, overdue: true, waiting: true, reason, until: None };
    }
    if pending.count < trigger.min_artifacts {
        return not_ready(format!("{} of {} artifacts", pending.count, trigger.min_artifacts), patience_ends);
    }
    if pending.bytes < trigger.min_bytes {
        return not_ready(format!("{} of {} bytes", pending.bytes, trigger.min_bytes), patience_ends);
    }
    let quiet_at = newest.after(trigger.quiet_for);
    if now < quiet_at && !situation.draining {
        let until = patience_ends.map_or(quiet_at, |end| end.min(quiet_at));
        let span = TimeSpan(trigger.quiet_for);
        return not_ready(format!("{}, waits for {span} without a new one", artifacts(pending.count)), Some(until));
    }
    Evaluation { ready: true, overdue: false, waiting: true, reason: artifacts(pending.count), until: None }
}

fn artifacts(count: u64) -> String {
    if count == 1 { "1 new artifact".to_owned() } else { format!("{count} new artifacts") }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::manifest::parse_pinned;
    use crate::model::Pending;

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
            runs: 0,
            queued: 0,
            paused: false,
            draining: false,
            now: now(seconds),
        };
        let result = evaluate(trigger, waiting.of("raw"), situation);
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
    fn quiet_is_waited_for_but_not_beyond_the_longest_wait() {
        let trigger = Trigger {
            quiet_for: Duration::from_secs(5),
            max_wait: Some(Duration::from_secs(12)),
            ..Trigger::default()
        };
        let reason = "2 new artifacts, waits for 5s without a new one".to_owned();
        assert_eq!(seen(&trigger, waiting(2, 0, 0, 4), 6), (false, reason.clone(), Some(moment(9))));
        assert_eq!(seen(&trigger, waiting(2, 0, 0, 10), 11), (false, reason, Some(moment(12))));
        let reason = "2 new artifacts, the oldest of which has waited for 12s".to_owned();
        assert_eq!(seen(&trigger, waiting(2, 0, 0, 10), 12), (true, reason, None));
        assert_eq!(seen(&trigger, waiting(1, 0, 0, 4), 9), (true, "1 new artifact".into(), None));
    }

    /// A pipeline that watches `raw` with this trigger.
    fn watching(trigger: &str) -> Pipeline {
        let manifest = format!(
            "manifest_version = 1\n[pipeline]\nname = \"p\"\nmax_concurrent_runs = 5\n\
             [resources.raw]\nkind = \"folder\"\npath = \"raw\"\nwatch = true\ntrigger = {trigger}\n\
             [actions.act]\ncomponent = \"a.wasm\"\nafter = [\"raw\"]\nreads = [\"raw\"]\n"
        );
        let folder = Path::new("/nowhere");
        parse_pinned(&manifest, folder, &folder.join("anacostia.toml"), &|_| None).unwrap()
    }

    /// What is decided at second 100.
    fn decided(trigger: &str, waits: Pending, runs: usize) -> Vec<Fire> {
        let (mut pending, unseen) = (Waiting::default(), BTreeMap::new());
        pending.note("raw", waits, now(100));
        let situation = Situation {
            pending: &pending,
            unseen: &unseen,
            runs,
            queued: 0,
            paused: false,
            draining: false,
            now: now(100),
        };
        match plan(&watching(trigger), situation) {
            Plan::Fire(fires) => fires,
            Plan::Wait { .. } => Vec::new(),
        }
    }

    #[test]
    fn a_run_claims_what_its_trigger_asks_for_or_does_not_start() {
        let claim = |trigger: &str, waits| {
            let claim = decided(trigger, waits, 0)[0].claims[0].clone();
            (claim.at_least, claim.min_bytes)
        };
        let trigger = "{ min_artifacts = 3, min_bytes = \"10B\", max_wait = \"60s\" }";
        assert_eq!(claim(trigger, waiting(3, 10, 90, 90)), (3, 10));
        assert_eq!(claim(trigger, waiting(1, 1, 0, 0)), (1, 0), "the oldest has waited for long enough");
    }

    /// How many runs are decided on together, and why each.
    fn together(trigger: &str, waits: Pending, runs: usize) -> Vec<String> {
        decided(trigger, waits, runs).into_iter().map(|fire| fire.trigger).collect()
    }

    #[test]
    fn runs_that_can_be_foreseen_are_decided_on_together() {
        let burst = waiting(5, 100, 0, 0);
        assert_eq!(
            together("{ max_artifacts = 2 }", burst, 0),
            ["raw: 5 new artifacts", "raw: 3 new artifacts", "raw: 1 new artifact"]
        );
        assert_eq!(together("{ max_artifacts = 1 }", burst, 3).len(), 2, "as many as there are slots");
        assert_eq!(together("{ min_artifacts = 1 }", burst, 0), ["raw: 5 new artifacts"]);
        assert_eq!(together("{ max_artifacts = 2, min_artifacts = 2 }", burst, 0).len(), 2, "one is not enough");
        assert_eq!(
            together("{ max_artifacts = 1, min_bytes = \"10B\" }", burst, 0).len(),
            1,
            "whose bytes, nobody knows"
        );
        assert_eq!(together("{ max_artifacts = 1, max_wait = \"1h\" }", burst, 0).len(), 1, "nor how old the next is");
    }
}
