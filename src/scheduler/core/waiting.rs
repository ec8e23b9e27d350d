//! What waits in each watched resource, as far as the scheduler has heard.
//!
//! It is a copy of counts that the store keeps, and copies arrive out of order: a resource's recorder tells what waited
//! when its batch was recorded, and a run may have claimed some of it before that message is read. So each count says
//! as of which event it was taken, and an older one never replaces a newer one.

use std::collections::BTreeMap;

use crate::model::Pending;

/// What waits in each watched resource, as far as the scheduler has heard.
#[derive(Debug, Clone, Default)]
pub struct Waiting(BTreeMap<String, Pending>);

impl Waiting {
    /// Takes note of a count, unless a later one is known already.
    pub fn note(&mut self, resource: &str, pending: Pending) {
        match self.0.get_mut(resource) {
            Some(known) if known.as_of > pending.as_of => {}
            Some(known) => *known = pending,
            None => {
                self.0.insert(resource.to_owned(), pending);
            }
        }
    }

    /// What waits in a resource; nothing, if nobody has said so.
    #[must_use]
    pub fn of(&self, resource: &str) -> Pending {
        self.0.get(resource).copied().unwrap_or_default()
    }

    /// The resources of which something was heard.
    pub fn resources(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Takes off `count` artifacts that a planned run will claim. `false` if not more than these wait.
    pub(super) fn claim(&mut self, resource: &str, count: u64) -> bool {
        match self.0.get_mut(resource) {
            Some(known) if known.count > count => {
                known.count -= count;
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
    use crate::base::Timestamp;
    use crate::manifest::{Pipeline, parse_pinned};
    use crate::model::Pending;
    use crate::scheduler::core::{Plan, Situation, plan};

    const MIN: u64 = 10;

    fn pipeline() -> Pipeline {
        let manifest = format!(
            "manifest_version = 1\n[pipeline]\nname = \"p\"\nmax_concurrent_runs = 8\n\
             [resources.raw]\nkind = \"folder\"\npath = \"raw\"\nwatch = true\n\
             trigger = {{ min_artifacts = {MIN}, max_artifacts = {MIN} }}\n\
             [actions.act]\ncomponent = \"a.wasm\"\nafter = [\"raw\"]\nreads = [\"raw\"]\n"
        );
        parse_pinned(&manifest, Path::new("/p"), Path::new("/p/anacostia.toml"), &|_| None).unwrap()
    }

    /// A store of counts: artifacts arrive and are claimed, each with an event.
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

    /// Every run that is planned finds enough, whenever the recorder's messages are read; and once all are read, what waits is known.
    #[test]
    fn a_count_that_arrives_late_starts_no_run_with_too_few() {
        let (pipeline, unseen) = (pipeline(), std::collections::BTreeMap::new());
        for seed in 0..300 {
            let mut rng = Rng::with_seed(seed);
            let (mut store, mut waiting) = (Store::default(), Waiting::default());
            let mut messages = VecDeque::new();
            for _ in 0..400 {
                match rng.u8(0..10) {
                    0..6 => messages.push_back(store.change(1)),
                    6..8 => drop(messages.pop_front().map(|pending| waiting.note("raw", pending))),
                    _ => {
                        let situation = Situation {
                            pending: &waiting,
                            unseen: &unseen,
                            runs: 0,
                            queued: 0,
                            paused: false,
                            draining: false,
                            now: Timestamp::from_micros(1),
                        };
                        let Plan::Fire(fires) = plan(&pipeline, situation) else { continue };
                        for claim in fires.iter().flat_map(|fire| &fire.claims) {
                            assert_eq!(claim.at_least, MIN, "seed {seed}: the store may create a run with fewer");
                            assert!(store.count >= MIN, "seed {seed}: a run was planned of {} artifacts", store.count);
                            let claimed = i64::try_from(MIN).unwrap();
                            waiting.note("raw", store.change(-claimed));
                        }
                    }
                }
            }
            messages.drain(..).for_each(|pending| waiting.note("raw", pending));
            assert_eq!(waiting.of("raw").count, store.count, "seed {seed}: what waits is not known");
        }
    }
}
