//! Watches for what no event says: that nothing new arrives, and that a resource cannot be reached.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use super::time::now;
use crate::base::{AttemptId, Timestamp, fault};
use crate::manifest::NotifySpec;
use crate::model::{Notification, NotifyCause};
use crate::resource::Status;
use crate::store::{ArtifactQuery, PageRequest, StoreError};

/// How often the conditions are checked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a resource must be unreachable before anyone is notified, so that a watch that only
/// restarts is not reported.
const UNREACHABLE_FOR: Duration = Duration::from_secs(5);

/// Returns whether a receiver is told about conditions.
pub(super) fn concern(spec: &NotifySpec) -> bool {
    spec.nothing_new_for.is_some() || spec.on.contains(&NotifyCause::ResourceUnreachable)
}

/// Watches until `stop`.
///
/// # Errors
/// When the store fails. The next call begins from the record.
pub(super) async fn watch(shared: Arc<Shared>, stop: CancellationToken) -> Result<(), String> {
    let mut state = State::read(&shared).await.map_err(|error| error.to_string())?;
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return Ok(()),
        }
        fault::panic_point("notify.conditions");
        let new = state.look(&shared);
        if !new.is_empty() {
            shared.record(None, new).await.map_err(|error| error.to_string())?;
        }
        state.note_reachable(&shared).await.map_err(|error| error.to_string())?;
    }
}

struct State {
    watched: Vec<String>,
    /// When the watch began.
    began: Instant,
    /// When the newest artifact arrived in each resource that has one.
    arrivals: BTreeMap<String, Instant>,
    /// The newest event that this includes.
    as_of: u64,
    /// Who was told about the silence since then: the receiver, and the resource unless it was
    /// about all together.
    told_silence: BTreeSet<(String, Option<String>)>,
    /// Since when resources are unreachable.
    unreachable: BTreeMap<String, Instant>,
    /// The outages that were reported, as pairs of the resource and the receiver.
    told_outages: BTreeSet<(String, String)>,
    /// Resources with a reported outage that may be reachable again.
    back: BTreeSet<String>,
    /// The attempts whose outputs have waited for a resource with a reported outage, and those that
    /// had unpublished outputs when this watch began. There are as many as attempts that wait until
    /// the resource is back.
    waited: BTreeSet<AttemptId>,
}

impl State {
    /// Reads when something last arrived, and who was told about the silence since then.
    async fn read(shared: &Shared) -> Result<Self, StoreError> {
        // Read before the artifacts, so that no arrival is missed.
        let as_of = *shared.store().newest_event().borrow();
        let pipeline = shared.view.pipeline();
        let watched: Vec<String> = pipeline.resources.iter().filter(|it| it.watch).map(|it| it.name.clone()).collect();
        let mut last: BTreeMap<String, Timestamp> = BTreeMap::new();
        for resource in &watched {
            let query = ArtifactQuery { resource: Some(resource.clone()), ..ArtifactQuery::default() };
            let page = shared.store().artifacts(query, PageRequest { cursor: None, limit: 1 }).await?;
            last.extend(page.items.first().map(|artifact| (resource.clone(), artifact.created_at)));
        }
        let mut told_silence = BTreeSet::new();
        for spec in shared.specs.iter().filter(|spec| spec.nothing_new_for.is_some()) {
            for about in subjects(spec) {
                let told = shared.store().last_notification(&spec.name, NotifyCause::NothingNew, about).await?;
                if told.is_some_and(|told| newest(&last, about).is_none_or(|last| told.created_at > last)) {
                    told_silence.insert((spec.name.clone(), about.map(str::to_owned)));
                }
            }
        }
        let arrivals = last.into_iter().map(|(resource, time)| (resource, ago(time))).collect();
        let told_outages = shared.store().told_outages().await?.into_iter().collect();
        let (unreachable, back) = (BTreeMap::new(), BTreeSet::new());
        let waited = shared.store().open_intents().await?.into_iter().map(|output| output.attempt_id).collect();
        let began = Instant::now();
        Ok(Self { watched, began, arrivals, as_of, told_silence, unreachable, told_outages, back, waited })
    }

    /// Returns the notifications to send now.
    fn look(&mut self, shared: &Shared) -> Vec<Notification> {
        let statuses = shared.view.control.watches();
        let mut new = self.silence(shared, &statuses);
        let mut outages: BTreeMap<String, String> = BTreeMap::new();
        for (attempt, outage) in shared.view.control.outages() {
            if self.told_outages.iter().any(|(resource, _)| *resource == outage.resource) {
                self.waited.insert(attempt);
            }
            outages.entry(outage.resource.clone()).or_insert_with(|| outage.to_string());
        }
        new.extend(self.unreachable(shared, &statuses, outages));
        new
    }

    fn silence(&mut self, shared: &Shared, statuses: &BTreeMap<String, Status>) -> Vec<Notification> {
        self.note_arrivals(shared);
        // Until a resource has been reconciled, nobody knows whether something has arrived in it.
        let known = |name: &String| statuses.get(name).is_some_and(|status| !matches!(status, Status::Reconciling));
        let mut new = Vec::new();
        for spec in &shared.specs {
            let Some(span) = spec.nothing_new_for else { continue };
            for about in subjects(spec) {
                let mut concerned = self.watched.iter().filter(|name| about.is_none_or(|about| about == **name));
                let since = newest(&self.arrivals, about).unwrap_or(self.began);
                if concerned.all(known)
                    && since.elapsed() >= span
                    && self.told_silence.insert((spec.name.clone(), about.map(str::to_owned)))
                {
                    new.push(shared.writer.about_silence(spec, span, about, &self.watched));
                }
            }
        }
        new
    }

    /// Notes what has arrived, which ends a silence.
    fn note_arrivals(&mut self, shared: &Shared) {
        let arrivals = shared.arrivals.borrow();
        for (resource, (_, time)) in arrivals.iter().filter(|(_, (event, _))| *event > self.as_of) {
            self.arrivals.insert(resource.clone(), ago(*time));
            self.told_silence.retain(|(_, about)| about.as_ref().is_some_and(|about| about != resource));
        }
        self.as_of = arrivals.values().map(|(event, _)| *event).max().unwrap_or(0).max(self.as_of);
    }

    /// Returns the notifications about resources that their watch, or outputs to be published
    /// there, cannot reach.
    fn unreachable(
        &mut self,
        shared: &Shared,
        statuses: &BTreeMap<String, Status>,
        mut away: BTreeMap<String, String>,
    ) -> Vec<Notification> {
        // A watch that has not reported yet, or is reconciling, shows nothing.
        let mut unclear: BTreeSet<&String> = self.watched.iter().filter(|name| !statuses.contains_key(*name)).collect();
        for (name, status) in statuses {
            match status {
                Status::Watching | Status::Scanning(_) => {}
                Status::Reconciling => drop(unclear.insert(name)),
                Status::Unreachable(why) => drop(away.insert(name.clone(), why.clone())),
            }
        }
        self.unreachable.retain(|name, _| away.contains_key(name) || unclear.contains(name));
        let told = self.told_outages.iter().map(|(resource, _)| resource);
        self.back = told.filter(|name| !away.contains_key(*name) && !unclear.contains(name)).cloned().collect();
        let mut new = Vec::new();
        for (name, why) in away {
            if self.unreachable.entry(name.clone()).or_insert_with(Instant::now).elapsed() < UNREACHABLE_FOR {
                continue;
            }
            let told = |it: &&NotifySpec| it.on.contains(&NotifyCause::ResourceUnreachable) && it.is_about(&name);
            for spec in shared.specs.iter().filter(told) {
                if self.told_outages.insert((name.clone(), spec.name.clone())) {
                    new.push(shared.writer.about_unreachable(spec, &name, &why));
                }
            }
        }
        new
    }

    /// Records which resources can be reached again. A resource does not count as reachable while
    /// outputs that have waited for it are unpublished: after a restart, it takes a moment until
    /// their first try has failed. Outputs that came later do not count, because a busy resource
    /// always has some.
    async fn note_reachable(&mut self, shared: &Shared) -> Result<(), StoreError> {
        if self.back.is_empty() {
            return Ok(());
        }
        let mut waiting = shared.store().open_intents().await?;
        waiting.retain(|output| self.waited.contains(&output.attempt_id));
        self.waited = waiting.iter().map(|output| output.attempt_id).collect();
        for resource in std::mem::take(&mut self.back) {
            if waiting.iter().all(|output| output.file.resource != resource) {
                shared.store().note_reachable(&resource).await?;
                self.told_outages.retain(|(told, _)| *told != resource);
            }
        }
        Ok(())
    }
}

/// Returns what `nothing_new_for` of a receiver is about: each of its resources, or `None` for all
/// watched resources together.
fn subjects(spec: &NotifySpec) -> Vec<Option<&str>> {
    if spec.resources.is_empty() { vec![None] } else { spec.resources.iter().map(|name| Some(name.as_str())).collect() }
}

/// Returns the newest arrival in a resource, or in any.
fn newest<T: Copy + Ord>(arrivals: &BTreeMap<String, T>, about: Option<&str>) -> Option<T> {
    match about {
        Some(name) => arrivals.get(name).copied(),
        None => arrivals.values().max().copied(),
    }
}

/// Returns the moment of a recorded time. A time in the future, or before the machine started,
/// counts as now.
fn ago(time: Timestamp) -> Instant {
    let now_here = Instant::now();
    now_here.checked_sub(now().since(time)).unwrap_or(now_here)
}
