//! Tracks the pending artifacts in each watched resource, as far as the scheduler knows them.
//!
//! The counts are copies of those in the store, and arrive out of order: the recorder of a resource
//! sends the count when its batch was recorded, and a run may have claimed some of these artifacts
//! before the message is read. So each count contains the number of the event as of which it was
//! taken, and an older count never replaces a newer one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::groups::Groups;
use super::waits::Waits;
use crate::base::Now;
use crate::manifest::GroupBy;
use crate::model::Pending;

/// The pending artifacts in each watched resource, as far as the scheduler knows them; and the
/// groups of those whose trigger groups them.
#[derive(Debug, Clone, Default)]
pub struct Waiting(BTreeMap<String, Waits>, BTreeMap<String, Arc<Groups>>);

impl Waiting {
    /// Stores a count, unless a later one is known already.
    pub fn note(&mut self, resource: &str, pending: Pending, now: Now) {
        match self.0.get_mut(resource) {
            Some(known) if known.pending.as_of > pending.as_of => {}
            Some(known) => *known = known.next(pending, now),
            None => {
                self.0.insert(resource.to_owned(), Waits::first(pending, now));
            }
        }
    }

    /// Returns the pending artifacts in a resource; `None` if no count of it was received.
    pub(super) fn of(&self, resource: &str) -> Option<Waits> {
        self.0.get(resource).copied()
    }

    /// Returns the counts of all resources, by name.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&str, Pending)> {
        self.0.iter().map(|(name, waits)| (name.as_str(), waits.pending))
    }

    /// Returns whether the groups of a resource are those of its last count.
    pub fn knows_groups(&self, resource: &str, by: &GroupBy) -> bool {
        let count = self.0.get(resource).map_or(0, |waits| waits.pending.as_of);
        self.1.get(resource).is_some_and(|groups| groups.are_of(by, count))
    }

    /// Takes the groups of a resource, to bring them up to date.
    pub fn take_groups(&mut self, resource: &str) -> Option<Groups> {
        self.1.remove(resource).map(Arc::unwrap_or_clone)
    }

    /// Stores the groups of a resource.
    pub fn set_groups(&mut self, resource: &str, groups: Groups) {
        self.1.insert(resource.to_owned(), Arc::new(groups));
    }

    /// Returns the groups of a resource; `None` if none is known.
    pub(super) fn groups(&self, resource: &str) -> Option<&Groups> {
        self.1.get(resource).map(|groups| &**groups).filter(|groups| groups.len() > 0)
    }

    /// Returns the resources for which a count was received.
    pub fn resources(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Subtracts `count` artifacts that a planned run will claim. Returns `false` and changes
    /// nothing unless there are more than these.
    pub(super) fn claim(&mut self, resource: &str, count: u64) -> bool {
        match self.0.get_mut(resource) {
            Some(known) if known.pending.count > count => {
                known.pending.count -= count;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::path::Path;

    use fastrand::Rng;

    use super::Waiting;
    use crate::base::{Moment, Now, Timestamp};
    use crate::manifest::{Pipeline, parse_pinned};
    use crate::model::Pending;
    use crate::scheduler::core::{History, Plan, Situation, plan};

    const MIN: u64 = 10;
    const NOW: Now = now(1, 1);

    const fn now(time_s: i64, moment_s: i64) -> Now {
        Now { time: Timestamp::from_micros(time_s * 1_000_000), moment: Moment::from_micros(moment_s * 1_000_000) }
    }

    fn pipeline() -> Pipeline {
        let manifest = format!(
            "manifest_version = 1\n[pipeline]\nname = \"p\"\nmax_concurrent_runs = 8\n\
             [resources.raw]\nkind = \"folder\"\npath = \"raw\"\nwatch = true\n\
             trigger = {{ min_artifacts = {MIN}, max_artifacts = {MIN} }}\n\
             [actions.act]\ncomponent = \"a.wasm\"\nafter = [\"raw\"]\nreads = [\"raw\"]\n"
        );
        parse_pinned(&manifest, Path::new("/p"), Path::new("/p/anacostia.toml"), &|_| None).unwrap()
    }

    /// A model of the store's counts: artifacts arrive and are claimed, each with an event.
    #[derive(Default)]
    struct Store {
        count: u64,
        event: u64,
    }

    impl Store {
        fn pending(&self) -> Pending {
            let at = (self.count > 0).then(|| Timestamp::from_micros(0));
            Pending { count: self.count, bytes: self.count, oldest_at: at, newest_at: at, as_of: self.event }
        }

        fn change(&mut self, by: i64) -> Pending {
            self.count = self.count.checked_add_signed(by).unwrap();
            self.event += 1;
            self.pending()
        }
    }

    /// Every planned run finds enough artifacts, whenever the recorder's messages are read. Once
    /// all are read, the count is correct.
    #[test]
    fn a_late_count_starts_no_run_with_too_few_artifacts() {
        let (pipeline, unseen) = (pipeline(), std::collections::BTreeMap::new());
        let history = History::default();
        for seed in 0..300 {
            let mut rng = Rng::with_seed(seed);
            let (mut store, mut waiting) = (Store::default(), Waiting::default());
            let mut messages = VecDeque::new();
            for _ in 0..400 {
                match rng.u8(0..10) {
                    0..6 => messages.push_back(store.change(1)),
                    6..8 => drop(messages.pop_front().map(|pending| waiting.note("raw", pending, NOW))),
                    _ => {
                        let situation = Situation {
                            pending: &waiting,
                            unseen: &unseen,
                            history: &history,
                            runs: 0,
                            left: 0,
                            queued: 0,
                            paused: false,
                            paused_resources: &unseen,
                            draining: false,
                            now: NOW,
                            due: NOW,
                        };
                        let Plan::Fire(fires) = plan(&pipeline, situation) else { continue };
                        for claim in fires.iter().flat_map(|fire| &fire.claims) {
                            assert_eq!(claim.at_least, MIN, "seed {seed}: the store may create a run with fewer");
                            assert!(store.count >= MIN, "seed {seed}: a run was planned of {} artifacts", store.count);
                            let claimed = i64::try_from(MIN).unwrap();
                            waiting.note("raw", store.change(-claimed), NOW);
                        }
                    }
                }
            }
            messages.drain(..).for_each(|pending| waiting.note("raw", pending, NOW));
            assert_eq!(
                waiting.of("raw").map_or(0, |waits| waits.pending.count),
                store.count,
                "seed {seed}: the pending artifacts are unknown"
            );
        }
    }

    fn counted(oldest_s: i64, newest_s: i64, as_of: u64) -> Pending {
        let at = |seconds: i64| Some(Timestamp::from_micros(seconds * 1_000_000));
        Pending { count: 2, bytes: 2, oldest_at: at(oldest_s), newest_at: at(newest_s), as_of }
    }

    /// Returns the moments of the oldest and the newest, in seconds.
    fn moments(waiting: &Waiting) -> (i64, i64) {
        let waits = waiting.of("raw").unwrap();
        let seconds = |moment: Moment| {
            let since = i64::try_from(moment.since(Moment::from_micros(0)).as_secs()).unwrap();
            let before = i64::try_from(Moment::from_micros(0).since(moment).as_secs()).unwrap();
            since - before
        };
        (seconds(waits.oldest), seconds(waits.newest))
    }

    #[test]
    fn waiting_time_is_independent_of_clock_changes() {
        let mut waiting = Waiting::default();
        waiting.note("raw", counted(9_990, 10_000, 1), now(10_000, 100));
        assert_eq!(moments(&waiting), (90, 100), "artifacts that an earlier host recorded are as old as recorded");
        // The clock is set back by an hour: an artifact recorded now has an earlier time than the
        // others.
        waiting.note("raw", counted(9_990, 6_410, 2), now(6_410, 110));
        assert_eq!(moments(&waiting), (90, 110));
        // The older artifacts are claimed, and the clock is corrected again.
        waiting.note("raw", counted(6_410, 6_410, 3), now(10_020, 120));
        assert_eq!(moments(&waiting), (90, 110), "not older than the artifacts recorded before");
        waiting.note("raw", counted(6_410, 10_030, 4), now(10_030, 130));
        assert_eq!(moments(&waiting), (90, 130));
        waiting.note("raw", Pending { as_of: 5, ..Pending::default() }, now(10_040, 140));
        waiting.note("raw", counted(20_000, 20_000, 6), now(20_000, 150));
        assert_eq!(moments(&waiting), (150, 150));
    }

    #[test]
    fn a_recorded_time_in_the_future_counts_as_now() {
        let mut waiting = Waiting::default();
        waiting.note("raw", counted(13_600, 13_600, 1), now(10_000, 100));
        assert_eq!(moments(&waiting), (100, 100), "the clock was set back before this host started");
    }
}
