//! Decides which actions may start under the named limits of `[pipeline.concurrency]`.
//!
//! An action that waits has one ticket, for all names that it uses. A ticket is granted as a whole
//! or not at all, so nothing is held while something else is waited for, and no two actions can
//! keep each other waiting. Tickets are granted in the order in which they were taken: one that
//! waits reserves a place in each of its names before later ones, so an action that needs two names
//! is not passed over forever by those that need one of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

/// How the reason of each action begins that waits for a named limit, or until its log can be
/// written.
pub const WAITS_FOR: &str = "waits for ";

/// Identifies a ticket. Later tickets have larger numbers.
pub type TicketId = u64;

/// The limits, and the tickets of actions that run or wait.
#[derive(Debug, Default)]
pub struct Slots {
    limits: BTreeMap<String, u32>,
    /// The names that each granted ticket uses.
    granted: BTreeMap<TicketId, Arc<[String]>>,
    /// The names that each waiting ticket uses.
    waiting: BTreeMap<TicketId, Arc<[String]>>,
    last: TicketId,
}

/// How much of one limit is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct SlotUse {
    /// Most attempts at once.
    pub limit: u32,
    /// The attempts that use it. Exceeds the limit if that was lowered since they began.
    pub in_use: u32,
    /// The actions that wait for it, or for another limit besides.
    pub waiting: u32,
}

impl Slots {
    /// Sets the limits. Returns the tickets that are granted by that. Granted tickets stay granted,
    /// even under a lower limit. A name without a limit never has to be waited for.
    pub fn set_limits(&mut self, limits: BTreeMap<String, u32>) -> Vec<TicketId> {
        self.limits = limits;
        self.grant()
    }

    /// Takes a ticket for all of these names, each given once. It may be granted at once.
    pub fn take(&mut self, uses: Arc<[String]>) -> TicketId {
        self.last += 1;
        self.waiting.insert(self.last, uses);
        self.grant();
        self.last
    }

    /// Gives a ticket back, granted or not. Returns the tickets that are granted by that.
    pub fn give_back(&mut self, ticket: TicketId) -> Vec<TicketId> {
        let is_known = self.granted.remove(&ticket).or_else(|| self.waiting.remove(&ticket)).is_some();
        if is_known { self.grant() } else { Vec::new() }
    }

    /// Returns what a ticket waits for, for display: `waits for gpu (1 of 1 in use)`. `None` if it
    /// is granted.
    #[must_use]
    pub fn waits_for(&self, ticket: TicketId) -> Option<String> {
        let uses = self.waiting.get(&ticket)?;
        let missing = uses.iter().filter_map(|name| {
            let limit = *self.limits.get(name)?;
            let in_use = count(&self.granted, name);
            let before = count(self.waiting.range(..ticket), name);
            let why = match (in_use < limit, in_use + before < limit) {
                (_, true) => return None,
                (false, _) => format!("{name} ({in_use} of {limit} in use)"),
                (true, false) => format!("{name} (another action has waited longer)"),
            };
            Some(why)
        });
        Some(format!("{WAITS_FOR}{}", missing.collect::<Vec<_>>().join(" and ")))
    }

    /// Returns how much of each limit is used, by name.
    #[must_use]
    pub fn used(&self) -> BTreeMap<String, SlotUse> {
        let of = |(name, limit): (&String, &u32)| {
            let (in_use, waiting) = (count(&self.granted, name), count(&self.waiting, name));
            (name.clone(), SlotUse { limit: *limit, in_use, waiting })
        };
        self.limits.iter().map(of).collect()
    }

    /// Grants what can be granted, oldest first.
    fn grant(&mut self) -> Vec<TicketId> {
        let free = |(name, limit): (&String, &u32)| (name.clone(), limit.saturating_sub(count(&self.granted, name)));
        let mut free: BTreeMap<String, u32> = self.limits.iter().map(free).collect();
        let mut granted = Vec::new();
        for (ticket, uses) in &self.waiting {
            if uses.iter().all(|name| free.get(name).is_none_or(|free| *free > 0)) {
                granted.push(*ticket);
            }
            // A waiting ticket reserves its places, too.
            for name in uses.iter() {
                if let Some(free) = free.get_mut(name) {
                    *free = free.saturating_sub(1);
                }
            }
        }
        for ticket in &granted {
            if let Some(uses) = self.waiting.remove(ticket) {
                self.granted.insert(*ticket, uses);
            }
        }
        granted
    }
}

/// Counts the tickets that use a name.
fn count<'t>(tickets: impl IntoIterator<Item = (&'t TicketId, &'t Arc<[String]>)>, name: &str) -> u32 {
    let used = tickets.into_iter().filter(|(_, uses)| uses.iter().any(|used| used == name)).count();
    u32::try_from(used).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::{SlotUse, Slots, TicketId};

    const NONE: [TicketId; 0] = [];

    fn limits(limits: &[(&str, u32)]) -> BTreeMap<String, u32> {
        limits.iter().map(|(name, limit)| ((*name).to_owned(), *limit)).collect()
    }

    fn slots(with: &[(&str, u32)]) -> Slots {
        let mut slots = Slots::default();
        assert!(slots.set_limits(limits(with)).is_empty());
        slots
    }

    fn take(slots: &mut Slots, uses: &[&str]) -> TicketId {
        slots.take(uses.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn at_most_the_limit_is_granted_oldest_first() {
        let mut slots = slots(&[("gpu", 2)]);
        let [a, b, c, d] = [(); 4].map(|()| take(&mut slots, &["gpu"]));
        assert_eq!([a, b].map(|it| slots.waits_for(it)), [None, None]);
        assert_eq!(slots.waits_for(c).unwrap(), "waits for gpu (2 of 2 in use)");
        assert_eq!(slots.used()["gpu"], SlotUse { limit: 2, in_use: 2, waiting: 2 });
        assert_eq!(slots.give_back(a), [c]);
        assert_eq!(slots.give_back(a), NONE, "once");
        assert_eq!(slots.give_back(d), NONE, "it only waited");
        assert_eq!(slots.give_back(c), NONE);
        assert_eq!(slots.used()["gpu"], SlotUse { limit: 2, in_use: 1, waiting: 0 });
    }

    #[test]
    fn all_names_are_granted_or_none_and_none_is_passed_over() {
        let mut slots = slots(&[("gpu", 1), ("api", 2)]);
        let one = take(&mut slots, &["api"]);
        let gpu = take(&mut slots, &["gpu"]);
        let both = take(&mut slots, &["gpu", "api"]);
        assert_eq!(slots.waits_for(both).unwrap(), "waits for gpu (1 of 1 in use)");
        let later = take(&mut slots, &["api"]);
        assert_eq!(slots.waits_for(later).unwrap(), "waits for api (another action has waited longer)");
        let free = take(&mut slots, &["no_limit"]);
        assert_eq!(slots.waits_for(free), None);
        assert_eq!(slots.give_back(gpu), [both]);
        assert_eq!(slots.waits_for(later).unwrap(), "waits for api (2 of 2 in use)");
        assert_eq!(slots.give_back(one), [later]);
        assert_eq!(slots.give_back(both), NONE);
    }

    #[test]
    fn a_limit_that_changes_counts_for_what_starts_from_then_on() {
        let mut slots = slots(&[("gpu", 3)]);
        let running = [(); 3].map(|()| take(&mut slots, &["gpu"]));
        assert!(slots.set_limits(limits(&[("gpu", 1)])).is_empty());
        let next = take(&mut slots, &["gpu"]);
        assert_eq!(slots.waits_for(next).unwrap(), "waits for gpu (3 of 1 in use)");
        assert_eq!([slots.give_back(running[0]), slots.give_back(running[1])], [[0; 0]; 2]);
        let another = take(&mut slots, &["gpu"]);
        assert_eq!(slots.set_limits(limits(&[("gpu", 2)])), [next]);
        assert_eq!(slots.set_limits(limits(&[])), [another], "without a limit it is free");
    }

    /// Random actions with random names, until all have had their turn.
    #[test]
    fn random_actions_keep_the_limits_and_all_have_their_turn() {
        let names = ["a", "b", "c"];
        for seed in 0..2_000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let draw = |rng: &mut fastrand::Rng| names.map(|name| (name, rng.u32(1..4)));
            let mut now = draw(&mut rng);
            let mut slots = slots(&now);
            let mut running: BTreeMap<TicketId, Arc<[String]>> = BTreeMap::new();
            let mut waiting: BTreeMap<TicketId, Arc<[String]>> = BTreeMap::new();
            for step in 0..300 {
                let mut granted = Vec::new();
                match rng.u8(0..12) {
                    0..6 if step < 200 => {
                        let uses: Arc<[String]> =
                            names.iter().filter(|_| rng.bool()).map(|name| (*name).to_owned()).collect();
                        let ticket = slots.take(Arc::clone(&uses));
                        waiting.insert(ticket, uses);
                        granted.extend(slots.waits_for(ticket).is_none().then_some(ticket));
                    }
                    6 if !waiting.is_empty() => {
                        let ticket = *waiting.keys().nth(rng.usize(0..waiting.len())).unwrap();
                        waiting.remove(&ticket);
                        granted = slots.give_back(ticket);
                    }
                    7 if rng.u8(0..8) == 0 => {
                        now = draw(&mut rng);
                        granted = slots.set_limits(limits(&now));
                    }
                    _ if !running.is_empty() => {
                        let ticket = *running.keys().nth(rng.usize(0..running.len())).unwrap();
                        running.remove(&ticket);
                        granted = slots.give_back(ticket);
                    }
                    _ => {}
                }
                for ticket in granted {
                    let uses = waiting.remove(&ticket).expect("a ticket that waits is granted, once");
                    for name in uses.iter() {
                        let (_, limit) = now.iter().find(|(known, _)| known == name).unwrap();
                        let used = running.values().filter(|uses| uses.contains(name)).count();
                        assert!(used < *limit as usize, "seed {seed}: {name} is used more often than its limit");
                        let passed = waiting.range(..ticket).filter(|(_, uses)| uses.contains(name)).count();
                        let left = *limit as usize - used;
                        assert!(passed < left, "seed {seed}: an older one that waits for {name} has lost its place");
                    }
                    running.insert(ticket, uses);
                }
                let oldest = waiting.first_key_value();
                let is_full = |(name, limit): &(&str, u32)| {
                    running.values().filter(|uses| uses.iter().any(|used| used == name)).count() >= *limit as usize
                };
                let full: Vec<&str> = now.iter().filter(|it| is_full(it)).map(|(name, _)| *name).collect();
                let blocked = |uses: &Arc<[String]>| uses.iter().any(|name| full.contains(&name.as_str()));
                assert!(oldest.is_none_or(|(_, uses)| blocked(uses)), "seed {seed}: the oldest waits for nothing");
                for ticket in waiting.keys() {
                    assert!(slots.waits_for(*ticket).unwrap().len() > "waits for ".len(), "seed {seed}: no reason");
                }
            }
            // All that run end, one after the other, and everything else has its turn.
            while let Some((ticket, _)) = running.pop_first() {
                for ticket in slots.give_back(ticket) {
                    running.insert(ticket, waiting.remove(&ticket).unwrap());
                }
            }
            assert!(waiting.is_empty(), "seed {seed}: {} wait for ever", waiting.len());
        }
    }
}
