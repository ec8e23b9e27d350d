//! Decides when the next runs start.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answers::{Asked, Basis};
use super::evaluation::{Evaluation, KeptBy, first_groups, of_pipeline, of_resource};
use super::groups::GroupSeen;
use super::situation::Situation;
use super::waiting::Waiting;
use crate::base::{Moment, Timestamp};
use crate::manifest::{Condition, Join, Pipeline, ResourceSpec, Trigger};
use crate::model::{ConditionSeen, Tick, TickOutcome, TriggerMark};
use crate::store::Claim;

/// The most runs that are decided on together.
const MAX_TOGETHER: usize = 64;
/// The longest time until a schedule is looked at again. Schedules follow the clock, and timers do
/// not notice when it is set, or when the machine sleeps.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// The decision.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// Create these runs, at least one, in this order.
    Fire(Vec<Fire>),
    /// Wait.
    Wait {
        /// One tick, with the reason, for each trigger that has pending artifacts or needs none.
        ticks: Vec<Tick>,
        /// One tick for each trigger that has nothing to report and is not held. It is recorded
        /// only if the trigger's previous tick gave another reason.
        idle: Vec<Tick>,
        /// When time alone could change the decision.
        until: Option<Moment>,
        /// Marks of schedules whose time has passed while their trigger could not fire.
        passed: Vec<TriggerMark>,
        /// The components to ask, because their answers decide whether a run starts.
        asks: Vec<Ask>,
    },
}

/// A component to ask.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// The key under which the component's answers are kept.
    pub asked: Asked,
    /// Its name; see [`Decider::name`](crate::manifest::Decider::name).
    pub name: String,
    /// The resource whose trigger asks, if it is the trigger of one.
    pub resource: Option<String>,
    /// What its answer will be based on.
    pub basis: Basis,
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
    /// The triggers that led to it; see [`Run::fired_by`](crate::model::Run::fired_by).
    pub fired_by: Vec<String>,
    /// The new marks of its triggers.
    pub marks: Vec<TriggerMark>,
    /// The group of artifacts that it is about, if its trigger groups them.
    pub partition: Option<String>,
}

/// What a trigger would do now, and when it could fire next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = TriggerPreview)]
pub struct Preview {
    /// The trigger.
    pub trigger: String,
    /// The resource whose trigger it is, if it is the trigger of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// What would happen now.
    pub outcome: TickOutcome,
    /// Why.
    pub reason: String,
    /// Why no run starts, even if its own conditions are met.
    #[schema(required)]
    pub held: Option<String>,
    /// When time alone would meet its conditions, if they are not met and time alone is enough.
    #[schema(required)]
    pub next_at: Option<Timestamp>,
    /// Each condition, with what it sees and what it wants.
    pub conditions: Vec<ConditionSeen>,
    /// The group of artifacts that this is about, if its trigger groups them: one that is ready, or
    /// the oldest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The groups that wait, that of the oldest artifact first, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupSeen>,
    /// How many more groups wait.
    #[serde(default)]
    #[schema(required)]
    pub more_groups: u64,
    /// How many new artifacts belong to no group of its `group_by`.
    #[serde(default)]
    #[schema(required)]
    pub without_group: u64,
    /// How many new artifacts are left out of the groups until older ones are claimed, because of
    /// the bound on artifacts in groups.
    #[serde(default)]
    #[schema(required)]
    pub beyond: u64,
}

impl Preview {
    /// Returns the group that this is about, and how many more there are: `day=1, and 2 more
    /// groups`.
    #[must_use]
    pub fn group_line(&self) -> Option<String> {
        let group = self.group.as_ref()?;
        Some(match (self.groups.len() as u64 + self.more_groups).saturating_sub(1) {
            0 => group.clone(),
            1 => format!("{group}, and 1 more group"),
            several => format!("{group}, and {several} more groups"),
        })
    }

    /// Returns how many artifacts wait because too many older ones are in groups, and what to do.
    #[must_use]
    pub fn beyond_line(&self) -> Option<String> {
        let what =
            if self.beyond == 1 { "1 new artifact".to_owned() } else { format!("{} new artifacts", self.beyond) };
        let why = "until older ones are claimed by a run that is started by hand, or removed";
        (self.beyond > 0).then(|| format!("{what}, {why}"))
    }
}

/// Decides whether runs start now. Only watched resources count, and triggers of the pipeline.
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
                let is_known = fire.marks.is_empty() && subtract(pipeline, &fire.claims, &mut left);
                fires.push(fire);
                if !is_known {
                    break;
                }
            }
            Decision::Wait(wait) if fires.is_empty() => return wait,
            Decision::Wait(_) => break,
        }
    }
    Plan::Fire(fires)
}

/// Subtracts what a run claims. `false` if the rest is not known without asking the store: its
/// bytes, or the age of its oldest artifact.
fn subtract(pipeline: &Pipeline, claims: &[Claim], left: &mut Waiting) -> bool {
    claims.iter().all(|claim| {
        let trigger = pipeline.resource(&claim.resource).map(|resource| &resource.trigger);
        let is_plain = trigger.is_some_and(|it| it.min_bytes == 0 && it.max_wait.is_none() && it.when.is_empty());
        is_plain && claim.only.is_none() && claim.at_most.is_some_and(|most| left.claim(&claim.resource, most))
    })
}

/// Returns what each trigger would do now. The triggers of resources come first.
#[must_use]
pub fn preview(pipeline: &Pipeline, situation: Situation<'_>) -> Vec<Preview> {
    let resources = of_resources(pipeline, situation);
    let held = hold(pipeline, situation);
    let joined = is_joined(pipeline, &resources);
    let waits_for = waits_for(&resources, situation);
    let Situation { now, .. } = situation;
    let of = |(named, result): (Named<'_>, Evaluation)| {
        let waits = || (named.resource.is_some() && result.ready && !joined).then(|| waits_for.clone());
        let held = result.held.or_else(|| held.clone()).or_else(waits);
        let of_groups = |it: &ResourceSpec| first_groups(&it.name, &it.trigger, situation);
        let (groups, more_groups) = named.resource.map(of_groups).unwrap_or_default();
        Preview {
            trigger: named.name.to_owned(),
            resource: named.resource.map(|resource| resource.name.clone()),
            outcome: match (result.ready, &held) {
                (false, _) if result.kept == KeptBy::Failure => TickOutcome::Error,
                (false, _) => TickOutcome::NotReady,
                (true, Some(_)) => TickOutcome::Held,
                (true, None) => TickOutcome::Fired,
            },
            reason: result.reason,
            held,
            next_at: result.next.map(|next| now.time.after(next.since(now.moment))),
            conditions: result.conditions,
            group: result.about,
            groups,
            more_groups,
            without_group: 0,
            beyond: 0,
        }
    };
    resources.into_iter().chain(of_pipelines(pipeline, situation)).map(of).collect()
}

/// Returns what a run claims if it is not about a single resource: all new artifacts, even if there
/// are none, except those in resources that are `paused`.
#[must_use]
pub fn all_new(pipeline: &Pipeline, paused: &BTreeMap<String, String>) -> Vec<Claim> {
    let watched = pipeline.resources.iter().filter(|it| it.watch && !paused.contains_key(&it.name));
    let claim = |resource: &ResourceSpec| Claim {
        resource: resource.name.clone(),
        at_most: resource.trigger.max_artifacts,
        at_least: 0,
        min_bytes: 0,
        only: None,
    };
    watched.map(claim).collect()
}

enum Decision {
    Fire(Fire),
    Wait(Plan),
}

/// A trigger of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Named<'p> {
    /// The name under which its ticks are recorded.
    name: &'p str,
    /// The resource from which its runs claim new artifacts. Without one, a run claims all new
    /// artifacts.
    resource: Option<&'p ResourceSpec>,
}

type Evaluated<'p> = (Named<'p>, Evaluation);

/// Evaluates the triggers of watched resources, which have the names of the resources.
fn of_resources<'p>(pipeline: &'p Pipeline, situation: Situation<'_>) -> Vec<Evaluated<'p>> {
    let watched = pipeline.resources.iter().filter(|resource| resource.watch);
    watched
        .map(|resource| {
            let named = Named { name: &resource.name, resource: Some(resource) };
            (named, of_resource(&resource.name, &resource.trigger, situation))
        })
        .collect()
}

/// Evaluates the triggers of the pipeline. With `join = "all"` a run is about all resources, so no
/// trigger fires while one of them is paused. Otherwise the runs leave out paused resources.
fn of_pipelines<'p>(pipeline: &'p Pipeline, situation: Situation<'_>) -> Vec<Evaluated<'p>> {
    let named = |name| Named { name, resource: None };
    let mut watched = pipeline.resources.iter().filter(|it| it.watch && pipeline.join == Join::All);
    let held = watched.find_map(|it| Some(format!("{} is {}", it.name, situation.paused_resources.get(&it.name)?)));
    let all = pipeline.triggers.iter().map(|trigger| {
        let result = of_pipeline(trigger, situation);
        let held = held.clone().or_else(|| result.held.clone());
        (named(&trigger.name), Evaluation { held, ..result })
    });
    all.collect()
}

/// Decides whether one run starts now.
///
/// A trigger of the pipeline fires by itself. The triggers of resources fire together, as `join`
/// says. Triggers of the pipeline come first, because a busy resource would leave them no slot;
/// their runs also claim what is new in that resource.
fn decide(pipeline: &Pipeline, situation: Situation<'_>) -> Decision {
    let others = of_pipelines(pipeline, situation);
    let resources = of_resources(pipeline, situation);
    let hold = hold(pipeline, situation);
    let now = situation.now.time;
    if hold.is_none() {
        let ready = others.iter().filter(|(_, result)| result.fires());
        // The one that fired least recently.
        if let Some(first) = ready.min_by_key(|(named, _)| situation.history.last_fire(named.name)) {
            let claims = all_new(pipeline, situation.paused_resources);
            return Decision::Fire(Fire { claims, ..fire(&[first], now) });
        }
        if is_joined(pipeline, &resources) {
            let ready: Vec<&Evaluated<'_>> = resources.iter().filter(|(_, result)| result.fires()).collect();
            return Decision::Fire(fire(&ready, now));
        }
    }
    let asks = if hold.is_none() { asks(pipeline, &resources, &others) } else { Vec::new() };
    let waits_for = hold.clone().unwrap_or_else(|| waits_for(&resources, situation));
    let is_asked = |(named, result): &&Evaluated<'_>| {
        result.kept == KeptBy::Asking || asks.iter().any(|ask| ask.asked.0 == named.name)
    };
    // A trigger whose component is being asked has no tick until the component has answered.
    let resources_told = resources.iter().filter(|it| !is_asked(it));
    let ticks = resources_told.map(|it| (it, waiting(it, &waits_for, now)));
    let held = hold.unwrap_or_default();
    let others_told = others.iter().filter(|it| !is_asked(it));
    let ticks = ticks.chain(others_told.map(|it| (it, waiting(it, &held, now))));
    let (told, rest): (Vec<_>, Vec<_>) = ticks.partition(|((_, result), _)| result.waiting);
    let idle = rest.into_iter().filter(|((_, result), _)| result.held.is_none()).map(|(_, tick)| tick).collect();
    let ticks = told.into_iter().map(|(_, tick)| tick).collect();
    let all = || resources.iter().chain(&others).map(|(_, result)| result);
    let until = all().filter_map(|result| result.until).min();
    let look_again = has_schedule(pipeline).then(|| situation.now.moment.after(LOOK_AGAIN));
    let passed = all().filter(|result| !result.ready).flat_map(|result| result.marks.clone()).collect();
    let until = until.map(|until| look_again.map_or(until, |again| again.min(until)));
    Decision::Wait(Plan::Wait { ticks, idle, until, passed, asks })
}

/// Returns the components to ask. With `join = "all"`, those of resources are asked only if their
/// answers decide: every other resource is ready, or waits for an answer too.
fn asks(pipeline: &Pipeline, resources: &[Evaluated<'_>], others: &[Evaluated<'_>]) -> Vec<Ask> {
    let could_be_ready = |(_, result): &Evaluated<'_>| result.held.is_none() && (result.ready || result.ask.is_some());
    let decides = pipeline.join == Join::Any || resources.iter().all(could_be_ready);
    let all = resources.iter().filter(|_| decides).chain(others).filter(|(_, result)| result.kept != KeptBy::Asking);
    let ask = |(named, result): &Evaluated<'_>| {
        let question = result.ask.clone().filter(|_| result.held.is_none())?;
        let resource = named.resource.map(|resource| resource.name.clone());
        Some(Ask { asked: question.asked, name: question.name, resource, basis: question.basis })
    };
    all.filter_map(ask).collect()
}

/// Returns whether the triggers of resources fire.
fn is_joined(pipeline: &Pipeline, resources: &[Evaluated<'_>]) -> bool {
    let mut ready = resources.iter().map(|(_, result)| result.fires());
    match pipeline.join {
        Join::All => !resources.is_empty() && ready.all(|ready| ready),
        Join::Any => ready.any(|ready| ready),
    }
}

/// Names the resources that keep the others waiting.
fn waits_for(resources: &[Evaluated<'_>], situation: Situation<'_>) -> String {
    let missing = resources.iter().filter(|(_, result)| !result.fires()).map(|(named, _)| {
        let paused = if situation.paused_resources.contains_key(named.name) { " (paused)" } else { "" };
        format!("{}{paused}", named.name)
    });
    format!("waits for {}", missing.collect::<Vec<_>>().join(", "))
}

fn has_schedule(pipeline: &Pipeline) -> bool {
    let of_resources = pipeline.resources.iter().flat_map(|resource| &resource.trigger.when);
    let all = of_resources.chain(pipeline.triggers.iter().flat_map(|trigger| &trigger.when));
    all.flat_map(Condition::flat).any(Condition::follows_clock)
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
    let left = match situation.left {
        0 => String::new(),
        1 => ", 1 of them waits for a person".to_owned(),
        several => format!(", {several} of them wait for a person"),
    };
    Some(format!("{} of {} runs active{left}{queued}", situation.runs, pipeline.max_concurrent_runs))
}

fn fire(ready: &[&Evaluated<'_>], now: Timestamp) -> Fire {
    let claims = ready
        .iter()
        .filter_map(|(named, result)| named.resource.map(|it| claim(&it.name, &it.trigger, result)))
        .collect();
    let ticks = ready
        .iter()
        .map(|(named, result)| tick(named, result, TickOutcome::Fired, result.reason.clone(), now))
        .collect();
    let reasons = ready.iter().map(|(named, result)| format!("{}: {}", named.name, result.reason));
    let mut fired_by: Vec<String> = ready.iter().map(|(named, _)| named.name.to_owned()).collect();
    for name in ready.iter().flat_map(|(_, result)| &result.led_by) {
        if !fired_by.contains(name) {
            fired_by.push(name.clone());
        }
    }
    let marks = ready.iter().flat_map(|(_, result)| result.marks.clone()).collect();
    let partitions = ready.iter().filter_map(|(_, result)| result.group.as_ref().map(|group| group.name.to_string()));
    let partition = partitions.reduce(|all, other| format!("{all}; {other}"));
    Fire { claims, ticks, trigger: reasons.collect::<Vec<_>>().join("; "), fired_by, marks, partition }
}

/// Returns what a run claims from a resource whose trigger fired.
fn claim(resource: &str, needs: &Trigger, result: &Evaluation) -> Claim {
    // The claim repeats the bounds, because pending artifacts may have been replaced since they
    // were counted. After `max_wait`, any number is enough.
    let (at_least, min_bytes) = if result.overdue { (1, 0) } else { (needs.min_artifacts, needs.min_bytes) };
    let most = needs.max_artifacts.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let only = result.group.as_ref().map(|group| group.artifacts().take(most).collect());
    Claim { resource: resource.to_owned(), at_most: needs.max_artifacts, at_least, min_bytes, only }
}

/// Returns the tick of a trigger that did not fire.
fn waiting((named, result): &Evaluated<'_>, held: &str, now: Timestamp) -> Tick {
    match (result.ready, &result.held) {
        (true, paused) => {
            let held = paused.as_deref().unwrap_or(held);
            tick(named, result, TickOutcome::Held, format!("{}, but {held}", result.reason), now)
        }
        (false, Some(paused)) if !result.reason.ends_with(paused) => {
            tick(named, result, TickOutcome::NotReady, format!("{}; {paused}", result.reason), now)
        }
        (false, _) => {
            let outcome = if result.kept == KeptBy::Failure { TickOutcome::Error } else { TickOutcome::NotReady };
            tick(named, result, outcome, result.reason.clone(), now)
        }
    }
}

fn tick(named: &Named<'_>, result: &Evaluation, outcome: TickOutcome, reason: String, time: Timestamp) -> Tick {
    Tick {
        seq: 0,
        trigger: named.name.to_owned(),
        resource: named.resource.map(|resource| resource.name.clone()),
        time,
        outcome,
        reason,
        run_id: None,
        conditions: result.conditions.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::base::Now;
    use crate::manifest::parse_pinned;
    use crate::model::Pending;
    use crate::scheduler::core::History;

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
            history: &History::default(),
            runs,
            left: 0,
            queued: 0,
            paused: false,
            paused_resources: &BTreeMap::new(),
            draining: false,
            now: now(100),
            due: now(100),
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
            ["raw: 2 of 5 new artifacts", "raw: 2 of 3 new artifacts", "raw: 1 new artifact"]
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
