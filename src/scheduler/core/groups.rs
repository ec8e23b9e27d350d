//! The groups of the pending artifacts in one resource, for a trigger with `group_by`.
//!
//! They are read from the store once, and follow its events from then on. So an evaluation costs
//! nothing for artifacts that wait in no group, and little for groups that are not complete.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::waits::Waits;
use crate::base::{ArtifactId, Moment, Now, RunId, Timestamp};
use crate::manifest::GroupBy;
use crate::model::{Event, EventKind};

/// The most artifacts that are in groups at once, oldest first, for each resource. Each takes 130
/// to 400 bytes of memory: most if it is alone in its group.
const MAX_GROUPED: usize = 1_000_000;

/// The most groups in the preview of a trigger.
pub(super) const MAX_GROUPS: usize = 20;

/// Where an artifact stands in the order of age: since when it waits, and its number in the order
/// in which artifacts came into groups.
type Place = (Moment, u64);

/// The groups of the pending artifacts in one resource.
#[derive(Debug, Clone)]
pub struct Groups {
    by: GroupBy,
    /// The last event that they have followed.
    as_of: u64,
    /// When they have followed it. Artifacts of later events are not older.
    followed: Moment,
    /// By the place of their oldest artifact.
    by_age: BTreeMap<Place, Group>,
    /// Where each group is, by its name.
    places: HashMap<Arc<str>, Place>,
    /// The group and the place of each artifact.
    members: HashMap<ArtifactId, (Arc<str>, Place)>,
    /// The number of the next artifact.
    next: u64,
    /// The most artifacts that are in groups.
    most: usize,
    /// Whether artifacts were left out because of that.
    left_out: bool,
}

/// A group of artifacts that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupSeen {
    /// Its name, such as `day=2026-03-01`.
    pub name: String,
    /// The number of its artifacts.
    pub count: u64,
    /// What it waits for; absent if its conditions are met.
    #[schema(required)]
    pub waits_for: Option<String>,
}

/// Pending artifacts that are one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// Its name, such as `day=2026-03-01`.
    pub(super) name: Arc<str>,
    /// Oldest first.
    members: VecDeque<Member>,
    bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Member {
    place: Place,
    id: ArtifactId,
    size: u64,
}

/// What became of an artifact that was offered to the groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is in a group.
    Grouped,
    /// It belongs to no group.
    Without,
    /// It belongs to a group, but as many artifacts as can be are in groups.
    Beyond,
}

/// What the record says about an event, and the event does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Which artifacts a run has claimed.
    Claims(RunId),
    /// What an artifact is that came into a group because it was renamed.
    Renamed(ArtifactId),
}

impl Groups {
    /// Returns groups without an artifact, which follow the events after `as_of`.
    #[must_use]
    pub fn new(by: &GroupBy, as_of: u64, now: Now) -> Self {
        Self {
            by: by.clone(),
            as_of,
            followed: now.moment,
            by_age: BTreeMap::new(),
            places: HashMap::new(),
            members: HashMap::new(),
            next: 0,
            most: MAX_GROUPED,
            left_out: false,
        }
    }

    /// Returns the last event that they have followed.
    #[must_use]
    pub fn as_of(&self) -> u64 {
        self.as_of
    }

    /// Returns whether they are groups of this pattern, as of an event or a later one.
    #[must_use]
    pub fn are_of(&self, by: &GroupBy, as_of: u64) -> bool {
        self.by == *by && self.as_of >= as_of && !self.has_room_again()
    }

    /// Returns whether artifacts were left out, and there is room for many of them now.
    #[must_use]
    pub fn has_room_again(&self) -> bool {
        self.left_out && self.members.len() + self.most / 64 < self.most
    }

    /// Returns why newer artifacts wait, if as many as can be are in groups.
    pub(super) fn full(&self) -> Option<String> {
        let most = self.most;
        self.left_out.then(|| format!("newer artifacts wait, because the oldest {most} are in groups already"))
    }

    /// Adds a pending artifact of the record. Artifacts are added in the order of their record.
    pub fn add(&mut self, id: ArtifactId, path: &str, size: u64, at: Timestamp, now: Now) -> Added {
        self.insert(id, path, size, now.moment.before(now.time.since(at)))
    }

    fn insert(&mut self, id: ArtifactId, path: &str, size: u64, since: Moment) -> Added {
        let Some(name) = self.by.group(path) else { return Added::Without };
        if self.members.contains_key(&id) {
            return Added::Grouped;
        }
        if self.left_out || self.members.len() >= self.most {
            self.left_out = true;
            return Added::Beyond;
        }
        self.next += 1;
        self.put(name, Member { place: (since, self.next), id, size });
        Added::Grouped
    }

    fn put(&mut self, name: String, member: Member) {
        let known = self.places.get_key_value(name.as_str()).map(|(known, _)| Arc::clone(known));
        let name = known.unwrap_or_else(|| name.into());
        self.members.insert(member.id, (Arc::clone(&name), member.place));
        self.change(name, |group| group.insert(member));
    }

    /// Removes an artifact that is not pending any more.
    pub fn remove(&mut self, id: ArtifactId) {
        let _ = self.take(id);
    }

    fn take(&mut self, id: ArtifactId) -> Option<Member> {
        let (name, place) = self.members.remove(&id)?;
        self.change(name, |group| group.remove(place))
    }

    /// Changes a group, which may be new, or be empty afterwards.
    fn change<T>(&mut self, name: Arc<str>, change: impl FnOnce(&mut Group) -> T) -> T {
        let known = self.places.remove(&name).and_then(|place| self.by_age.remove(&place));
        let empty = || Group { name: Arc::clone(&name), members: VecDeque::new(), bytes: 0 };
        let mut group = known.unwrap_or_else(empty);
        let result = change(&mut group);
        if let Some(first) = group.members.front() {
            self.places.insert(name, first.place);
            self.by_age.insert(first.place, group);
        }
        result
    }

    /// Follows the next event. If the event does not say enough, returns what to look up. An event
    /// that is known already changes nothing.
    pub fn follow(&mut self, resource: &str, event: &Event, now: Now) -> Option<Look> {
        self.as_of = event.seq;
        let text = |key: &str| event.data.get(key).and_then(serde_json::Value::as_str);
        let number = |key: &str| event.data.get(key).and_then(serde_json::Value::as_u64).unwrap_or_default();
        if event.kind == EventKind::RunCreated {
            return event.run_id.filter(|_| number("inputs") > 0).map(Look::Claims);
        }
        let id = event.artifact_id.filter(|_| text("resource") == Some(resource))?;
        match event.kind {
            EventKind::ArtifactRecorded => {
                let since = now.moment.before(now.time.since(event.time)).max(self.followed);
                self.insert(id, text("path")?, number("size"), since);
            }
            EventKind::ArtifactSuperseded | EventKind::ArtifactDeleted => self.remove(id),
            EventKind::ArtifactRenamed => {
                let name = self.by.group(text("path")?);
                match (self.take(id), name) {
                    (Some(member), Some(name)) => self.put(name, member),
                    (None, Some(_)) => return Some(Look::Renamed(id)),
                    (_, None) => {}
                }
            }
            _ => {}
        }
        None
    }

    /// Notes that all events up to now were followed.
    pub fn note_followed(&mut self, now: Now) {
        self.followed = now.moment;
    }

    /// Returns the groups, that of the oldest artifact first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.by_age.values()
    }

    /// Returns how many groups there are.
    pub(super) fn len(&self) -> usize {
        self.by_age.len()
    }
}

impl Group {
    fn insert(&mut self, member: Member) {
        let at = self.members.partition_point(|other| other.place < member.place);
        self.members.insert(at, member);
        self.bytes += member.size;
    }

    fn remove(&mut self, place: Place) -> Option<Member> {
        let at = self.members.binary_search_by_key(&place, |member| member.place).ok()?;
        let member = self.members.remove(at)?;
        self.bytes -= member.size;
        Some(member)
    }

    /// Returns its artifacts, oldest first.
    pub(super) fn artifacts(&self) -> impl Iterator<Item = ArtifactId> {
        self.members.iter().map(|member| member.id)
    }

    /// Returns the count of its artifacts.
    pub(super) fn waits(&self) -> Waits {
        let since = |member: Option<&Member>| member.map_or(Moment::from_micros(0), |member| member.place.0);
        Waits::of_group(self.members.len() as u64, self.bytes, since(self.members.front()), since(self.members.back()))
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use serde_json::json;

    use super::*;

    const fn now(seconds: i64) -> Now {
        let micros = seconds * 1_000_000;
        Now { time: Timestamp::from_micros(micros), moment: Moment::from_micros(micros) }
    }

    fn groups(most: usize) -> Groups {
        Groups { most, ..Groups::new(&GroupBy::parse("{k}-*.csv").unwrap(), 0, now(0)) }
    }

    fn event(seq: u64, kind: EventKind, artifact: ArtifactId, mut data: serde_json::Value) -> Event {
        data["resource"] = json!("raw");
        Event {
            seq,
            epoch: 1,
            time: now(seq.cast_signed()).time,
            kind,
            v: 1,
            run_id: None,
            action: None,
            attempt: None,
            artifact_id: Some(artifact),
            data,
        }
    }

    /// Returns the names of the groups with their artifacts, in order.
    fn shown(groups: &Groups) -> Vec<(String, Vec<ArtifactId>)> {
        groups.iter().map(|group| (group.name.to_string(), group.artifacts().collect())).collect()
    }

    /// Whatever happens to artifacts, the groups that follow the events are those that a host reads
    /// which starts now.
    #[test]
    fn groups_that_follow_events_are_those_on_record() {
        for seed in 0..200 {
            let mut rng = Rng::with_seed(seed);
            let mut followed = groups(1_000);
            // The record: what is pending, in order.
            let mut pending: Vec<(ArtifactId, String, i64)> = Vec::new();
            for seq in 1..120_i64 {
                let path = format!("{}-{}{}", rng.u8(0..4), seq, if rng.u8(0..4) == 0 { ".txt" } else { ".csv" });
                let (kind, data, id) = if pending.is_empty() || rng.u8(0..3) > 0 {
                    let id = ArtifactId::new();
                    pending.push((id, path.clone(), seq));
                    (EventKind::ArtifactRecorded, json!({ "path": path, "size": 2 }), id)
                } else {
                    let at = rng.usize(0..pending.len());
                    if rng.bool() {
                        pending[at].1.clone_from(&path);
                        (EventKind::ArtifactRenamed, json!({ "path": path }), pending[at].0)
                    } else {
                        (EventKind::ArtifactDeleted, json!({}), pending.remove(at).0)
                    }
                };
                let seq_number = seq.cast_unsigned();
                let look = followed.follow("raw", &event(seq_number, kind, id, data), now(seq));
                if let Some(Look::Renamed(id)) = look {
                    let (_, path, at) = pending.iter().find(|it| it.0 == id).unwrap();
                    followed.add(id, path, 2, now(*at).time, now(seq));
                }
            }
            let mut read = groups(1_000);
            for (id, path, at) in &pending {
                read.add(*id, path, 2, now(*at).time, now(200));
            }
            assert_eq!(shown(&followed), shown(&read), "seed {seed}");
            let waits = |groups: &Groups| groups.iter().map(Group::waits).collect::<Vec<_>>();
            assert_eq!(waits(&followed), waits(&read), "seed {seed}");
            assert_eq!(
                followed.members.len(),
                shown(&read).iter().map(|(_, ids)| ids.len()).sum::<usize>(),
                "seed {seed}"
            );
        }
    }

    #[test]
    fn a_claim_is_looked_up_and_an_event_of_another_resource_changes_nothing() {
        let (mut groups, id, run) = (groups(10), ArtifactId::new(), RunId::new());
        let recorded = event(1, EventKind::ArtifactRecorded, id, json!({ "path": "a-1.csv", "size": 3 }));
        assert_eq!(groups.follow("other", &recorded, now(1)), None);
        assert_eq!(groups.len(), 0);
        groups.follow("raw", &recorded, now(1));
        groups.follow("raw", &recorded, now(2));
        assert_eq!(shown(&groups), [("k=a".to_owned(), vec![id])]);
        let mut created = event(2, EventKind::RunCreated, id, json!({ "inputs": 1 }));
        (created.run_id, created.artifact_id) = (Some(run), None);
        assert_eq!(groups.follow("raw", &created, now(2)), Some(Look::Claims(run)));
        created.data = json!({ "inputs": 0 });
        assert_eq!(groups.follow("raw", &created, now(2)), None);
        groups.remove(id);
        assert_eq!((groups.len(), groups.as_of()), (0, 2));
        assert!(groups.places.is_empty() && groups.members.is_empty());
    }

    #[test]
    fn artifacts_beyond_the_bound_are_left_out_until_there_is_room_again() {
        let mut groups = groups(3);
        let ids: Vec<ArtifactId> = (0..4).map(|_| ArtifactId::new()).collect();
        let added: Vec<Added> =
            (0..).zip(&ids).map(|(at, id)| groups.add(*id, "a-1.csv", 1, now(at).time, now(9))).collect();
        assert_eq!(added, [Added::Grouped, Added::Grouped, Added::Grouped, Added::Beyond]);
        assert_eq!(groups.add(ids[3], "a.txt", 1, now(5).time, now(9)), Added::Without);
        let why = "newer artifacts wait, because the oldest 3 are in groups already";
        assert_eq!((groups.full().as_deref(), groups.has_room_again()), (Some(why), false));
        groups.remove(ids[0]);
        assert!(groups.has_room_again());
        assert_eq!(groups.add(ids[0], "a-1.csv", 1, now(6).time, now(9)), Added::Beyond, "older ones come first");
    }
}
