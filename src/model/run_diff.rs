//! The difference between two runs: a pure function from the records of both to the lists that the
//! API, the command line and the pages show.
//!
//! Params, components, metrics and timings are listed whole, with what differs first, because the
//! equal ones say what the runs have in common. There may be thousands of inputs and outputs, so
//! only those that differ are listed, and the equal ones are counted.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::diff_list::{DiffList, MAX_DIFF_ITEMS};
use super::{ActionState, Artifact, Run, RunState};
use crate::base::double::Number;
use crate::base::{ArtifactId, Digest, RunId, Timestamp};

/// What is compared of one run.
#[derive(Debug, Clone)]
pub struct RunRecords {
    /// The run.
    pub run: Run,
    /// Params that its actions recorded, by action and name.
    pub params: BTreeMap<(String, String), String>,
    /// Its actions, by name.
    pub actions: BTreeMap<String, ActionRecord>,
    /// What it claimed or was given.
    pub inputs: Vec<Artifact>,
    /// The last value of each metric, by action and name.
    pub metrics: BTreeMap<(String, String), f64>,
    /// What its actions wrote, with the action.
    pub outputs: Vec<(String, Artifact)>,
    /// The kinds of records of which there were too many to read, such as `inputs`.
    pub incomplete: Vec<&'static str>,
}

/// What is compared of one action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ActionRecord {
    /// Its state.
    pub state: ActionState,
    /// How many attempts it had.
    pub attempts: u32,
    /// The time of all its attempts together, in microseconds.
    pub took_us: u64,
    /// The component of its last attempt.
    #[serde(skip)]
    pub component: Option<Digest>,
}

/// The difference between two runs. In every list `a` or `b` is absent where only the other run has
/// the item.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RunDiff {
    /// The first run.
    pub a: DiffRun,
    /// The second run.
    pub b: DiffRun,
    /// Whether both ran with the same manifest.
    pub same_manifest: bool,
    /// Params that the runs were given, or that their actions recorded.
    pub params: ParamDiffs,
    /// The components that ran.
    pub components: ComponentDiffs,
    /// Inputs that differ.
    pub inputs: FileDiffs,
    /// The last values of metrics, of attempts that succeeded.
    pub metrics: MetricDiffs,
    /// How long the actions took.
    pub timings: TimingDiffs,
    /// Outputs that differ.
    pub outputs: FileDiffs,
}

/// One of the two runs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DiffRun {
    /// Its id.
    pub id: RunId,
    /// Its number.
    pub number: u64,
    /// Its state.
    pub state: RunState,
    /// Why it started.
    pub trigger: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// The time from its start to its end, in microseconds; `null` until it has ended.
    #[schema(required)]
    pub took_us: Option<u64>,
    /// The kinds of records of which there were too many to compare, such as `inputs`.
    pub incomplete: Vec<&'static str>,
}

// The derive refers to a type by its name only if it has no parameters here.
type ParamDiffs = DiffList<ParamDiff>;
type ComponentDiffs = DiffList<ComponentDiff>;
type MetricDiffs = DiffList<MetricDiff>;
type TimingDiffs = DiffList<TimingDiff>;
type FileDiffs = DiffList<FileDiff>;

/// A param of both runs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ParamDiff {
    /// The action that recorded it; `null` if the runs were given it.
    #[schema(required)]
    pub action: Option<String>,
    /// Its name.
    pub name: String,
    /// Its value in the first run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub a: Option<Value>,
    /// Its value in the second run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<Value>,
    /// Whether both are the same.
    pub same: bool,
}

/// The component of an action in both runs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ComponentDiff {
    /// The action.
    pub action: String,
    /// Its digest in the first run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub a: Option<Digest>,
    /// Its digest in the second run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<Digest>,
    /// Whether both are the same.
    pub same: bool,
}

/// A metric of both runs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MetricDiff {
    /// The action that recorded it.
    pub action: String,
    /// Its name.
    pub name: String,
    /// Its last value in the first run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub a: Option<Number>,
    /// Its last value in the second run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<Number>,
    /// The second value minus the first, if both are finite.
    #[schema(required)]
    pub change: Option<Number>,
    /// The change in per cent of the absolute first value, which is not zero.
    #[schema(required)]
    pub change_percent: Option<Number>,
    /// Whether both are the same.
    pub same: bool,
}

/// How long an action took in both runs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TimingDiff {
    /// The action.
    pub action: String,
    /// In the first run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub a: Option<ActionRecord>,
    /// In the second run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<ActionRecord>,
    /// The second time minus the first, in microseconds.
    #[schema(required)]
    pub change_us: Option<i64>,
    /// The change in per cent of the first time, which is not zero.
    #[schema(required)]
    pub change_percent: Option<Number>,
}

/// An input or an output at one path.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FileDiff {
    /// The resource.
    pub resource: String,
    /// The path.
    pub path: String,
    /// The action that wrote it; `null` for an input.
    #[schema(required)]
    pub action: Option<String>,
    /// The version in the first run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub a: Option<FileVersion>,
    /// The version in the second run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<FileVersion>,
}

/// A version of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FileVersion {
    /// The artifact.
    pub artifact_id: ArtifactId,
    /// Its version.
    pub version: u64,
    /// Its digest, if it is known.
    #[schema(required)]
    pub digest: Option<Digest>,
    /// Its size in bytes.
    pub size: u64,
}

impl RunDiff {
    /// Compares two runs.
    #[must_use]
    pub fn of(a: &RunRecords, b: &RunRecords) -> Self {
        Self {
            a: side(a),
            b: side(b),
            same_manifest: a.run.revision == b.run.revision,
            params: params(a, b),
            components: components(a, b),
            inputs: files(&inputs(a), &inputs(b)),
            metrics: metrics(a, b),
            timings: timings(a, b),
            outputs: files(&outputs(a), &outputs(b)),
        }
    }
}

fn side(records: &RunRecords) -> DiffRun {
    let run = &records.run;
    let took = run.started_at.zip(run.ended_at).map(|(started, ended)| ended.since(started).as_micros());
    DiffRun {
        id: run.id,
        number: run.number,
        state: run.state,
        trigger: run.trigger.clone(),
        created_at: run.created_at,
        took_us: took.map(|took| u64::try_from(took).unwrap_or(u64::MAX)),
        incomplete: records.incomplete.clone(),
    }
}

/// Pairs the values of two maps by their keys, in order.
fn pairs<'m, K: Ord, V>(
    a: &'m BTreeMap<K, V>,
    b: &'m BTreeMap<K, V>,
) -> impl Iterator<Item = (&'m K, Option<&'m V>, Option<&'m V>)> {
    let keys: BTreeSet<&K> = a.keys().chain(b.keys()).collect();
    keys.into_iter().map(move |key| (key, a.get(key), b.get(key)))
}

/// Makes a list of all items, of which some are the same.
fn list<T>(items: Vec<T>, same: impl Fn(&T) -> bool) -> DiffList<T> {
    let all = items.len();
    let (equal, mut items): (Vec<T>, Vec<T>) = items.into_iter().partition(same);
    let different = items.len();
    items.extend(equal);
    items.truncate(MAX_DIFF_ITEMS);
    DiffList { different, equal: all - different, left_out: all - items.len(), items }
}

fn params(a: &RunRecords, b: &RunRecords) -> DiffList<ParamDiff> {
    let all = |records: &RunRecords| {
        let given = records.run.params.as_object().into_iter().flatten();
        let given = given.map(|(name, value)| ((None, name.clone()), value.clone()));
        let recorded = records.params.iter();
        let recorded =
            recorded.map(|((action, name), value)| ((Some(action.clone()), name.clone()), Value::from(value.as_str())));
        given.chain(recorded).collect::<BTreeMap<_, _>>()
    };
    let (a, b) = (all(a), all(b));
    let items = pairs(&a, &b).map(|((action, name), a, b)| ParamDiff {
        action: action.clone(),
        name: name.clone(),
        same: a == b,
        a: a.cloned(),
        b: b.cloned(),
    });
    list(items.collect(), |item| item.same)
}

fn components(a: &RunRecords, b: &RunRecords) -> DiffList<ComponentDiff> {
    let items = pairs(&a.actions, &b.actions).map(|(action, a, b)| {
        let (a, b) = (a.and_then(|it| it.component), b.and_then(|it| it.component));
        ComponentDiff { action: action.clone(), a, b, same: a == b }
    });
    // An action that ran in neither has no component to compare.
    list(items.filter(|item| item.a.is_some() || item.b.is_some()).collect(), |item| item.same)
}

fn metrics(a: &RunRecords, b: &RunRecords) -> DiffList<MetricDiff> {
    let items = pairs(&a.metrics, &b.metrics).map(|((action, name), a, b)| {
        let (a, b) = (a.copied(), b.copied());
        let change = a.zip(b).map(|(a, b)| b - a).filter(|change| change.is_finite());
        let both_nan = a.zip(b).is_some_and(|(a, b)| a.is_nan() && b.is_nan());
        MetricDiff {
            action: action.clone(),
            name: name.clone(),
            a: a.map(Number),
            b: b.map(Number),
            change: change.map(Number),
            change_percent: percent(change, a),
            same: a == b || both_nan,
        }
    });
    list(items.collect(), |item| item.same)
}

/// A change in per cent of the absolute value before.
fn percent(change: Option<f64>, before: Option<f64>) -> Option<Number> {
    let (change, before) = change.zip(before.filter(|before| *before != 0.0))?;
    Some(change / before.abs() * 100.0).filter(|percent| percent.is_finite()).map(Number)
}

#[expect(clippy::cast_precision_loss, reason = "times in microseconds are far below the precision of a double")]
fn timings(a: &RunRecords, b: &RunRecords) -> DiffList<TimingDiff> {
    let items = pairs(&a.actions, &b.actions).map(|(action, a, b)| {
        let ran = |record: Option<&ActionRecord>| record.filter(|it| it.attempts > 0).map(|it| it.took_us);
        let took = ran(a).zip(ran(b));
        let change_us = took.and_then(|(a, b)| i64::try_from(b).ok()?.checked_sub(i64::try_from(a).ok()?));
        TimingDiff {
            action: action.clone(),
            change_us,
            change_percent: percent(change_us.map(|change| change as f64), took.map(|(a, _)| a as f64)),
            a: a.cloned(),
            b: b.cloned(),
        }
    });
    // Times are equal only by chance, so what counts as different is another end state.
    let same = |item: &TimingDiff| item.a.as_ref().map(|it| it.state) == item.b.as_ref().map(|it| it.state);
    list(items.collect(), same)
}

/// Files by resource, path and the action that wrote them.
type Files<'r> = BTreeMap<(&'r str, &'r str, Option<&'r str>), &'r Artifact>;

fn inputs(records: &RunRecords) -> Files<'_> {
    records.inputs.iter().map(|it| ((it.resource.as_str(), it.path.as_str(), None), it)).collect()
}

fn outputs(records: &RunRecords) -> Files<'_> {
    let outputs = records.outputs.iter();
    outputs.map(|(action, it)| ((it.resource.as_str(), it.path.as_str(), Some(action.as_str())), it)).collect()
}

fn files(a: &Files<'_>, b: &Files<'_>) -> DiffList<FileDiff> {
    let equal = |a: &Artifact, b: &Artifact| a.id == b.id || (a.digest.is_some() && a.digest == b.digest);
    let version =
        |it: &&Artifact| FileVersion { artifact_id: it.id, version: it.version, digest: it.digest, size: it.size };
    let (mut items, mut different, mut same) = (Vec::new(), 0, 0);
    for ((resource, path, action), a, b) in pairs(a, b) {
        if a.zip(b).is_some_and(|(a, b)| equal(a, b)) {
            same += 1;
            continue;
        }
        different += 1;
        if items.len() < MAX_DIFF_ITEMS {
            items.push(FileDiff {
                resource: (*resource).to_owned(),
                path: (*path).to_owned(),
                action: action.map(str::to_owned),
                a: a.map(version),
                b: b.map(version),
            });
        }
    }
    DiffList { left_out: different - items.len(), items, different, equal: same }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::{ActionRecord, MAX_DIFF_ITEMS, RunDiff, RunRecords};
    use crate::base::{ArtifactId, Digest, RunId, Timestamp};
    use crate::model::{ActionState, Artifact, ArtifactState, Run, RunState};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn records(number: u64) -> RunRecords {
        let run = Run {
            id: RunId::new(),
            number,
            state: RunState::Succeeded,
            trigger: "a test".to_owned(),
            params: json!({}),
            revision: Digest::of(b"manifest"),
            snapshot: 1,
            created_at: at(0),
            started_at: Some(at(1)),
            ended_at: Some(at(3)),
            reason: None,
            rerun_of: None,
            fired_by: Vec::new(),
            partition: None,
            trimmed_at: None,
        };
        RunRecords {
            run,
            params: BTreeMap::new(),
            actions: BTreeMap::new(),
            inputs: Vec::new(),
            metrics: BTreeMap::new(),
            outputs: Vec::new(),
            incomplete: Vec::new(),
        }
    }

    fn artifact(path: &str, version: u64, content: &str) -> Artifact {
        Artifact {
            id: ArtifactId::new(),
            resource: "raw".to_owned(),
            path: path.to_owned(),
            version,
            digest: Some(Digest::of(content.as_bytes())),
            size: content.len() as u64,
            state: ArtifactState::Old,
            reason: None,
            run_id: None,
            produced_by: None,
            created_at: at(0),
            tags: Vec::new(),
            present: true,
            stamp: String::new(),
        }
    }

    fn action(took_us: u64, component: &str) -> ActionRecord {
        let component = Some(Digest::of(component.as_bytes()));
        ActionRecord { state: ActionState::Succeeded, attempts: 1, took_us, component }
    }

    fn key(name: &str) -> (String, String) {
        ("train".to_owned(), name.to_owned())
    }

    #[test]
    fn params_are_compared_with_what_differs_first() {
        let (mut a, mut b) = (records(1), records(2));
        a.run.params = json!({ "alpha": 1, "seed": 7, "old": null });
        b.run.params = json!({ "alpha": 1, "seed": "7" });
        a.params.insert(key("alpha"), "x".to_owned());
        b.params.insert(key("alpha"), "x".to_owned());
        let found = RunDiff::of(&a, &b).params;
        assert_eq!(
            serde_json::to_value(&found).unwrap(),
            json!({
                "items": [
                    { "action": null, "name": "old", "a": null, "same": false },
                    { "action": null, "name": "seed", "a": 7, "b": "7", "same": false },
                    { "action": null, "name": "alpha", "a": 1, "b": 1, "same": true },
                    { "action": "train", "name": "alpha", "a": "x", "b": "x", "same": true },
                ],
                "different": 2, "equal": 2, "left_out": 0,
            })
        );
    }

    #[test]
    fn metrics_have_a_change_where_there_is_one() {
        let (mut a, mut b) = (records(1), records(2));
        for (name, one, other) in [
            ("accuracy", Some(0.5), Some(0.75)),
            ("below", Some(-2.0), Some(-1.0)),
            ("diverged", Some(1.0), Some(f64::NAN)),
            ("from_zero", Some(0.0), Some(3.0)),
            ("huge", Some(f64::MIN), Some(f64::MAX)),
            ("new", None, Some(1.0)),
            ("still_nan", Some(f64::NAN), Some(f64::NAN)),
        ] {
            a.metrics.extend(one.map(|value| (key(name), value)));
            b.metrics.extend(other.map(|value| (key(name), value)));
        }
        let found = RunDiff::of(&a, &b).metrics;
        let changes: Vec<_> = found
            .items
            .iter()
            .map(|it| (it.name.as_str(), it.change.map(|it| it.0), it.change_percent.map(|it| it.0), it.same))
            .collect();
        assert_eq!(
            changes,
            [
                ("accuracy", Some(0.25), Some(50.0), false),
                ("below", Some(1.0), Some(50.0), false),
                ("diverged", None, None, false),
                ("from_zero", Some(3.0), None, false),
                ("huge", None, None, false),
                ("new", None, None, false),
                ("still_nan", None, None, true),
            ]
        );
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(json["items"][2]["b"], "NaN");
    }

    #[test]
    fn components_and_timings_are_compared_by_action() {
        let (mut a, mut b) = (records(1), records(2));
        a.actions = BTreeMap::from([
            ("clean".to_owned(), action(1_000, "clean")),
            ("train".to_owned(), action(2_000, "old")),
            ("test".to_owned(), ActionRecord { state: ActionState::Skipped, attempts: 0, took_us: 0, component: None }),
        ]);
        b.actions = BTreeMap::from([
            ("clean".to_owned(), action(500, "clean")),
            ("train".to_owned(), action(3_000, "new")),
            ("test".to_owned(), action(7, "test")),
        ]);
        let found = RunDiff::of(&a, &b);
        let components: Vec<_> = found.components.items.iter().map(|it| (it.action.as_str(), it.same)).collect();
        assert_eq!(components, [("test", false), ("train", false), ("clean", true)]);
        let timings: Vec<_> = found
            .timings
            .items
            .iter()
            .map(|it| (it.action.as_str(), it.change_us, it.change_percent.map(|it| it.0)))
            .collect();
        assert_eq!(
            timings,
            [("test", None, None), ("clean", Some(-500), Some(-50.0)), ("train", Some(1_000), Some(50.0))]
        );
    }

    #[test]
    fn files_that_differ_are_listed_up_to_a_bound_and_the_others_counted() {
        let (mut a, mut b) = (records(1), records(2));
        let same = artifact("same.csv", 1, "same");
        let moved = Artifact { id: ArtifactId::new(), version: 2, ..same.clone() };
        a.inputs = vec![same.clone(), artifact("changed.csv", 1, "a"), artifact("gone.csv", 1, "x")];
        b.inputs = vec![moved, artifact("changed.csv", 2, "b")];
        a.outputs = vec![("train".to_owned(), artifact("model", 1, "m"))];
        b.outputs = (0..MAX_DIFF_ITEMS + 5).map(|n| ("train".to_owned(), artifact(&n.to_string(), 1, "m"))).collect();
        let found = RunDiff::of(&a, &b);
        let paths: Vec<_> =
            found.inputs.items.iter().map(|it| (it.path.as_str(), it.a.is_some(), it.b.is_some())).collect();
        assert_eq!(paths, [("changed.csv", true, true), ("gone.csv", true, false)]);
        assert_eq!((found.inputs.different, found.inputs.equal, found.inputs.left_out), (2, 1, 0));
        let outputs = &found.outputs;
        assert_eq!((outputs.items.len(), outputs.different, outputs.left_out), (500, 506, 6));
        assert_eq!(found.a.took_us, Some(2_000_000));
    }

    #[test]
    fn long_lists_keep_what_differs() {
        let (mut a, mut b) = (records(1), records(2));
        for n in 0..MAX_DIFF_ITEMS + 50 {
            a.metrics.insert(key(&format!("{n:04}")), 1.0);
            b.metrics.insert(key(&format!("{n:04}")), if n == MAX_DIFF_ITEMS + 20 { 2.0 } else { 1.0 });
        }
        let found = RunDiff::of(&a, &b).metrics;
        assert_eq!((found.items[0].name.as_str(), found.items.len(), found.left_out), ("0520", 500, 50));
        assert_eq!((found.different, found.equal), (1, 549));
    }
}
