//! Triggers over time: what each kind of condition does, including across restarts.

mod components;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::{Ask, Fire, GroupSeen, Groups, History, Plan, Said, Situation, Waiting, plan, preview};
use crate::base::{ArtifactId, Moment, Now, Timestamp};
use crate::manifest::{Pipeline, parse_pinned};
use crate::model::{Artifact, ArtifactState, EndedRun, MetricRecord, Pending, RunState};

const START: &str = "2026-03-02T00:00:00Z";

/// A pipeline that watches `raw`, with this trigger of `raw` and these others.
fn pipeline(raw: &str, triggers: &str) -> Pipeline {
    let manifest = format!(
        "manifest_version = 1\n[pipeline]\nname = \"p\"\nmax_concurrent_runs = 2\n\
         [resources.raw]\nkind = \"folder\"\npath = \"raw\"\nwatch = true\ntrigger = {raw}\n{triggers}\n\
         [actions.act]\ncomponent = \"a.wasm\"\nafter = [\"raw\"]\nreads = [\"raw\"]\n"
    );
    parse_pinned(&manifest, Path::new("/p"), Path::new("/p/anacostia.toml"), &|_| None).unwrap()
}

/// A host whose clock a test sets.
struct World {
    pipeline: Pipeline,
    history: History,
    waiting: Waiting,
    events: u64,
    draining: Option<Now>,
    paused_resources: BTreeMap<String, String>,
}

/// A time, in seconds since the start.
fn now(seconds: i64) -> Now {
    let start: Timestamp = START.parse().unwrap();
    let micros = seconds * 1_000_000;
    Now { time: Timestamp::from_micros(start.as_micros() + micros), moment: Moment::from_micros(micros) }
}

impl World {
    fn new(raw: &str, triggers: &str) -> Self {
        let pipeline = pipeline(raw, triggers);
        let mut history = History::default();
        history.arm(&pipeline, 0, now(0));
        let paused_resources = BTreeMap::new();
        Self { pipeline, history, waiting: Waiting::default(), events: 0, draining: None, paused_resources }
    }

    /// The host dies, and starts again at this time. Only the marks are left.
    fn restart(&mut self, seconds: i64) {
        self.history = History::new(&self.history.marks(), &self.pipeline, now(seconds));
        self.history.arm(&self.pipeline, self.events, now(seconds));
    }

    fn arrive(&mut self, count: u64, seconds: i64) {
        self.events += 1;
        let at = Some(now(seconds).time);
        let pending = Pending { count, bytes: count, oldest_at: at, newest_at: at, as_of: self.events };
        self.waiting.note("raw", pending, now(seconds));
    }

    /// The host reads the groups of `raw`: these artifacts are pending.
    fn read_groups(&mut self, artifacts: &[Artifact], seconds: i64) {
        let by = self.pipeline.resource("raw").and_then(|raw| raw.trigger.group_by.clone()).unwrap();
        assert!(!self.waiting.knows_groups("raw", &by), "nothing has changed");
        let mut groups = Groups::new(&by, self.events, now(seconds));
        for it in artifacts {
            groups.add(it.id, &it.path, it.size, it.created_at, now(seconds));
        }
        self.waiting.set_groups("raw", groups);
        assert!(self.waiting.knows_groups("raw", &by));
    }

    fn metric(&mut self, seq: u64, value: f64, fired_by: &[&str], seconds: i64) {
        let record = MetricRecord {
            seq,
            run_id: crate::base::RunId::new(),
            run_number: seq,
            action: "act".to_owned(),
            attempt_id: crate::base::AttemptId::new(),
            succeeded: true,
            name: "accuracy".to_owned(),
            value,
            step: None,
            recorded_at: now(seconds).time,
        };
        let fired_by = fired_by.iter().map(|name| (*name).to_owned()).collect();
        self.history.note_metric(&record, fired_by, now(seconds));
        self.history.arm(&self.pipeline, 0, now(seconds));
    }

    fn situation<'a>(&'a self, unseen: &'a BTreeMap<String, String>, seconds: i64) -> Situation<'a> {
        Situation {
            pending: &self.waiting,
            unseen,
            history: &self.history,
            runs: 0,
            left: 0,
            queued: 0,
            paused: false,
            paused_resources: &self.paused_resources,
            draining: self.draining.is_some(),
            now: now(seconds),
            due: self.draining.unwrap_or(now(seconds)),
        }
    }

    /// Decides at a time, and does what is decided. Returns why a run starts, if one does.
    fn at(&mut self, seconds: i64) -> Option<String> {
        self.fire(seconds).map(|fire| fire.trigger)
    }

    fn fire(&mut self, seconds: i64) -> Option<Fire> {
        match plan(&self.pipeline, self.situation(&BTreeMap::new(), seconds)) {
            Plan::Fire(mut fires) => {
                assert_eq!(fires.len(), 1);
                self.history.set(&fires[0].marks, now(seconds));
                self.history.use_up(&fires[0].marks);
                fires.pop()
            }
            Plan::Wait { passed, .. } => {
                self.history.set(&passed, now(seconds));
                None
            }
        }
    }

    /// Returns the components to ask.
    fn asks(&self, seconds: i64) -> Vec<Ask> {
        match plan(&self.pipeline, self.situation(&BTreeMap::new(), seconds)) {
            Plan::Wait { asks, .. } => asks,
            Plan::Fire(_) => Vec::new(),
        }
    }

    /// The only component to ask answers at once.
    #[track_caller]
    fn answer(&mut self, said: Said, seconds: i64) {
        let asks = self.asks(seconds);
        let [ask] = &asks[..] else { panic!("{asks:?}") };
        let question = self.history.answers_mut().ask(ask.asked.clone(), ask.basis.clone());
        assert_eq!(self.asks(seconds), [], "it is being asked");
        self.history.answers_mut().answer(&ask.asked, question, said, Duration::ZERO, now(seconds).moment);
    }

    /// Returns the second at which the host would look again.
    fn until(&self, seconds: i64) -> Option<i64> {
        let Plan::Wait { until, .. } = plan(&self.pipeline, self.situation(&BTreeMap::new(), seconds)) else {
            return None;
        };
        until.map(|until| i64::try_from(until.since(Moment::from_micros(0)).as_secs()).unwrap())
    }

    /// Returns each condition of the last trigger, as `condition wanted: seen (met)`.
    fn sees(&self, seconds: i64) -> Vec<String> {
        let unseen = BTreeMap::new();
        let preview = preview(&self.pipeline, self.situation(&unseen, seconds)).pop().unwrap();
        let line = |it: &crate::model::ConditionSeen| {
            format!("{} {}: {} ({})", it.condition, it.wanted, it.seen, if it.met { "met" } else { "not met" })
        };
        preview.conditions.iter().map(line).collect()
    }
}

#[test]
fn every_counts_from_the_last_fire_also_across_a_restart() {
    let mut world = World::new("{}", "[triggers.hourly]\nevery = \"1h\"");
    assert_eq!(world.until(10), Some(3_600));
    assert_eq!(world.at(3_599), None);
    world.restart(3_599);
    let fire = world.fire(3_600).unwrap();
    assert_eq!(fire.trigger, "hourly: every 1h: due since 2026-03-02 01:00 UTC");
    assert_eq!((fire.claims[0].at_least, fire.fired_by), (0, vec!["hourly".to_owned()]), "claims what is new");
    assert_eq!(world.at(3_600), None, "once");
    world.restart(3_601);
    assert_eq!(world.at(3_601), None, "also after a restart");
    assert_eq!(world.sees(3_601), ["every 1h: next at 2026-03-02 02:00 UTC (not met)"]);
    assert!(world.at(20_000).is_some() && world.at(20_000).is_none(), "one run for all that was missed");
    assert_eq!(world.at(23_599), None);
    assert!(world.at(23_600).is_some());
}

#[test]
fn a_schedule_that_was_missed_is_made_up_for_as_the_manifest_says() {
    let cron = |missed: &str| {
        let triggers = format!("[triggers.t]\ncron = {{ schedule = \"0 * * * *\", missed = \"{missed}\" }}");
        let mut world = World::new("{}", &triggers);
        assert!(world.at(3_600).is_some() && world.at(3_601).is_none());
        // Down from 01:00 to 05:30.
        world.restart(19_800);
        let mut fires = 0;
        while world.at(19_800).is_some() {
            fires += 1;
            world.restart(19_800);
        }
        assert!(world.at(21_599).is_none() && world.at(21_600).is_some(), "it goes on at 06:00");
        fires
    };
    assert_eq!((cron("once"), cron("all"), cron("none")), (1, 4, 0));
    let mut world = World::new("{}", "[triggers.t]\ncron = { schedule = \"* * * * *\", missed = \"all\" }");
    let mut fires = 0;
    while world.at(600 * 60).is_some() {
        fires += 1;
    }
    assert_eq!(fires, 100, "of 600 missed, the last 100");
    let mut world = World::new("{}", "[triggers.t]\ncron = { schedule = \"* * * * * *\", missed = \"all\" }");
    assert!(world.at(20_000).is_some() && world.at(20_000).is_none(), "far too many to make up for each");
}

#[test]
fn a_time_of_a_schedule_does_not_wait_for_other_conditions() {
    let mut world = World::new("{ cron = \"0 6 * * *\" }", "");
    assert_eq!(world.until(0), Some(60), "schedules are looked at again, in case the clock is set");
    assert_eq!(world.at(21_600), None, "nothing is there at 06:00");
    world.arrive(1, 25_000);
    assert_eq!(world.at(25_000), None, "what comes later waits for the next morning");
    world.restart(26_000);
    assert_eq!(world.at(26_000), None);
    let fired = world.at(86_400 + 21_600).unwrap();
    let due = "cron 0 6 * * * UTC: due since 2026-03-03 06:00 UTC";
    assert_eq!(fired, format!("raw: 1 new artifact, {due}"));
    // Nor does it wait for more artifacts, although the oldest will have waited long enough.
    let mut world = World::new("{ min_artifacts = 2, max_wait = \"20h\", cron = \"0 6 * * *\" }", "");
    world.arrive(1, 21_000);
    assert_eq!(world.at(21_600), None);
    world.arrive(2, 25_000);
    assert_eq!(world.at(25_000), None);
    assert!(world.at(97_000).unwrap().ends_with("the oldest of which has waited for 20h"));
    // It waits for quiet, which comes by itself.
    let mut world = World::new("{ cron = \"0 6 * * *\", quiet_for = \"10s\" }", "");
    world.arrive(1, 21_595);
    assert_eq!((world.at(21_600), world.until(21_600)), (None, Some(21_605)));
    assert!(world.at(21_605).is_some());
}

#[test]
fn conditions_combine() {
    let trigger = "{ any = [{ min_artifacts = 100 }, { cron = \"0 6 * * *\" }], max_wait = \"9h\" }";
    let mut world = World::new(trigger, "");
    world.arrive(99, 10);
    assert_eq!(world.at(11), None);
    world.arrive(100, 20);
    assert!(world.at(20).unwrap().contains("min_artifacts 100: 100 new artifacts"));
    world.waiting = Waiting::default();
    world.arrive(3, 21_000);
    let due = "cron 0 6 * * * UTC: due since 2026-03-02 06:00 UTC";
    assert_eq!(world.at(21_600).unwrap(), format!("raw: 3 new artifacts, any ({due})"));
    world.waiting = Waiting::default();
    world.arrive(3, 30_000);
    assert_eq!(world.at(50_000), None);
    assert!(world.at(62_400).unwrap().ends_with("the oldest of which has waited for 9h"), "whatever the others say");
    let sees = world.sees(62_400);
    assert_eq!(sees[0], "min_artifacts 1: 3 new artifacts (met)");
    assert!(sees[2].starts_with("any 1 of 2: 0 of 2 (not met)"), "{sees:?}");
}

/// `max_wait` of a table in `all` or `any` is about the conditions of this table only.
#[test]
fn max_wait_ends_the_wait_of_its_table() {
    let trigger =
        "{ all = [{ min_artifacts = 5, max_wait = \"1h\" }, { metric = { name = \"accuracy\", below = 0.9 } }] }";
    let mut world = World::new(trigger, "");
    world.metric(1, 0.95, &[], 1);
    world.arrive(1, 10);
    assert_eq!(world.until(10), Some(3_610));
    assert_eq!((world.at(3_609), world.at(3_611)), (None, None), "the metric is not low yet");
    world.metric(2, 0.85, &[], 3_700);
    let fire = world.fire(3_700).unwrap();
    let waited = "any (max_wait 1h: the oldest has waited longer)";
    assert!(fire.trigger.contains(waited) && fire.trigger.contains("0.85 in run #2"), "{}", fire.trigger);
    assert_eq!(fire.claims[0].at_least, 1, "one is enough");

    let mut world = World::new("{ any = [{ min_artifacts = 5, max_wait = \"1h\" }, { every = \"1d\" }] }", "");
    world.arrive(1, 10);
    assert_eq!((world.at(3_609), world.until(3_609)), (None, Some(3_610)));
    assert!(world.at(3_610).unwrap().contains(waited));
}

#[test]
fn a_metric_fires_once_for_each_value_and_not_for_what_the_trigger_led_to() {
    let below = "[triggers.retrain]\nmetric = { name = \"accuracy\", below = 0.9 }";
    let mut world = World::new("{}", below);
    assert_eq!(world.at(1), None);
    world.metric(1, 0.95, &["raw"], 2);
    assert_eq!(world.at(3), None);
    world.metric(2, 0.85, &["raw"], 4);
    let fire = world.fire(5).unwrap();
    assert_eq!(fire.trigger, "retrain: metric accuracy below 0.9: 0.85 in run #2");
    assert_eq!(fire.fired_by, ["retrain", "raw"]);
    world.restart(6);
    world.metric(2, 0.85, &["raw"], 4);
    assert_eq!(world.at(6), None, "the same value");
    assert_eq!(world.sees(6), ["metric accuracy below 0.9: 0.85 in run #2, unchanged since it last fired (met)"]);
    world.metric(3, 0.8, &["retrain", "raw"], 7);
    assert_eq!(world.at(8), None, "a value of the run that it started");
    world.metric(4, 0.7, &["raw"], 9);
    assert!(world.at(10).is_some());
    let mut world = World::new("{}", &format!("{below}\nretrigger = true"));
    world.metric(3, 0.8, &["retrain", "raw"], 7);
    assert!(world.at(8).is_some(), "if that is asked for");
    let mut world = World::new("{}", "[triggers.t]\nmetric = { name = \"accuracy\", below = 0.9 }\nevery = \"1h\"");
    world.metric(1, 0.8, &["t"], 1);
    assert!(world.at(3_600).is_some() && world.at(7_200).is_some(), "with another condition, it is a state");
}

#[test]
fn a_metric_changes_from_the_value_at_the_last_fire_and_grows_old() {
    let mut world = World::new("{}", "[triggers.t]\nmetric = { name = \"accuracy\", changed_by = 0.05 }");
    world.metric(1, 0.9, &[], 1);
    assert_eq!(world.at(1), None, "the first value has nothing to differ from");
    world.metric(2, 0.93, &[], 2);
    assert_eq!(world.at(2), None);
    world.metric(3, 0.96, &[], 3);
    assert_eq!(world.at(3).unwrap(), "t: metric accuracy changed by 0.05: 0.96 in run #3, after 0.9");
    world.metric(4, f64::NAN, &[], 4);
    assert_eq!(world.at(4), None);
    let mut world = World::new("{}", "[triggers.t]\nmetric = { name = \"accuracy\", no_update_for = \"24h\" }");
    assert_eq!(world.until(0), Some(86_400), "also without any value");
    world.metric(1, 0.9, &[], 1_000);
    assert_eq!((world.at(86_400), world.until(86_400)), (None, Some(87_400)));
    assert!(world.at(87_400).is_some() && world.at(87_401).is_none());
    assert_eq!(world.until(87_401), Some(87_400 + 86_400), "the next warning comes a day later");
}

#[test]
fn a_run_that_a_trigger_led_to_does_not_fire_it_again() {
    let mut world = World::new("{}", "[triggers.a]\nafter_run = \"succeeded\"\n[triggers.b]\nafter_run = \"ended\"");
    let ended = |seq, state, fired_by: &[&str]| EndedRun {
        seq,
        number: seq,
        state,
        fired_by: fired_by.iter().map(|name| (*name).to_owned()).collect(),
    };
    // The dispatcher offers each condition the newest run that counts for it.
    let note = |world: &mut World, run: EndedRun| {
        for condition in world.history.after_runs(&world.pipeline, false) {
            let wanted = condition.trigger == "b" || run.state == RunState::Succeeded;
            if wanted && !run.fired_by.contains(&condition.trigger) {
                world.history.note_ended(condition, run.clone());
            }
        }
    };
    note(&mut world, ended(1, RunState::Failed, &["raw"]));
    assert_eq!(world.fire(1).unwrap().fired_by, ["b", "raw"]);
    assert_eq!(world.at(1), None);
    note(&mut world, ended(2, RunState::Succeeded, &["b", "raw"]));
    let fire = world.fire(2).unwrap();
    assert_eq!((fire.trigger.as_str(), world.at(2)), ("a: after_run succeeded: run #2 succeeded", None));
    assert_eq!(fire.fired_by, ["a", "b", "raw"], "no trigger of these fires for it again");
    note(&mut world, ended(3, RunState::Succeeded, &["a", "b", "raw"]));
    assert_eq!(world.at(3), None);
    note(&mut world, ended(4, RunState::Succeeded, &[]));
    let both = [world.at(4), world.at(4), world.at(4)];
    assert!(both[0].is_some() && both[1].is_some() && both[2].is_none(), "each by itself: {both:?}");
}

#[test]
fn a_host_that_drains_waits_for_no_time_and_fires_what_was_due() {
    let mut world = World::new("{}", "[triggers.t]\nevery = \"1h\"");
    world.draining = Some(now(3_599));
    assert_eq!((world.at(4_000), world.until(4_000)), (None, None), "it became due after the start");
    world.draining = Some(now(3_600));
    assert!(world.at(4_000).is_some() && world.at(90_000).is_none(), "once, however long it takes");
}

#[test]
fn a_clock_that_was_wrong_stops_no_schedule() {
    let mut world = World::new("{}", "[triggers.t]\ncron = \"0 * * * *\"");
    assert!(world.at(86_400 * 365).is_some(), "the clock is a year ahead");
    world.restart(100);
    assert!(world.at(3_600).is_some(), "and was corrected");
}

/// New artifacts at these paths, one recorded in each second.
fn artifacts(paths: &[&str]) -> Vec<Artifact> {
    let artifact = |(seconds, path): (i64, &&str)| Artifact {
        id: ArtifactId::new(),
        resource: "raw".to_owned(),
        path: (*path).to_owned(),
        version: 1,
        digest: None,
        size: 1,
        state: ArtifactState::New,
        reason: None,
        run_id: None,
        produced_by: None,
        created_at: now(seconds).time,
        tags: Vec::new(),
        present: true,
        stamp: String::new(),
    };
    (0..).zip(paths).map(artifact).collect()
}

#[test]
fn each_group_of_artifacts_has_its_own_run() {
    let mut world = World::new("{ min_artifacts = 2, max_artifacts = 3, group_by = \"{day}/*.csv\" }", "");
    let artifacts = artifacts(&["1/a.csv", "readme.txt", "2/a.csv", "2/b.csv", "2/c.csv", "2/d.csv"]);
    world.arrive(6, 10);
    world.read_groups(&artifacts, 10);
    let fire = world.fire(10).unwrap();
    assert_eq!((fire.trigger.as_str(), fire.partition.as_deref()), ("raw: day=2: 3 of 4 new artifacts", Some("day=2")));
    let claim = &fire.claims[0];
    assert_eq!(
        (claim.only.as_deref(), claim.at_least),
        (Some(&artifacts[2..5].iter().map(|it| it.id).collect::<Vec<_>>()[..]), 2)
    );
    world.arrive(3, 11);
    world.read_groups(&artifacts[..2], 11);
    let Plan::Wait { ticks, .. } = plan(&world.pipeline, world.situation(&BTreeMap::new(), 11)) else { panic!() };
    assert_eq!(ticks[0].reason, "day=1: 1 of 2 artifacts", "a file in no group counts for none");
}

#[test]
fn a_schedule_is_due_until_each_group_has_its_run() {
    let mut world = World::new("{ group_by = \"{day}/*.csv\", cron = \"0 6 * * *\" }", "");
    let artifacts = artifacts(&["1/a.csv", "2/a.csv", "3/a.csv"]);
    let mut fired = Vec::new();
    for left in 0..3 {
        world.arrive(3 - left, 21_600);
        world.read_groups(&artifacts[usize::try_from(left).unwrap()..], 21_600);
        fired.extend(world.fire(21_600).and_then(|fire| fire.partition));
        world.restart(21_600);
    }
    assert_eq!(fired, ["day=1", "day=2", "day=3"]);
    world.arrive(1, 21_700);
    world.read_groups(&artifacts[..1], 21_700);
    assert_eq!(world.at(21_700), None, "and then until tomorrow");
}

#[test]
fn a_trigger_of_the_pipeline_takes_what_waits_in_all_groups() {
    let raw = "{ min_artifacts = 2, max_artifacts = 7, group_by = \"{day}/*.csv\" }";
    let mut world = World::new(raw, "[triggers.hourly]\nevery = \"1h\"");
    world.arrive(2, 10);
    world.read_groups(&artifacts(&["1/a.csv", "2/a.csv"]), 10);
    let fire = world.fire(3_600).unwrap();
    assert_eq!((fire.fired_by.as_slice(), fire.partition), (&["hourly".to_owned()][..], None));
    assert_eq!((&fire.claims[0].only, fire.claims[0].at_most), (&None, Some(7)));
}

#[test]
fn incomplete_groups_are_counted_and_listed() {
    let mut world = World::new("{ min_artifacts = 3, max_wait = \"1h\", group_by = \"{day}/*.csv\" }", "");
    let paths: Vec<String> = ["1/a", "2/a", "2/b"].into_iter().map(str::to_owned).collect();
    let others = (3..30).map(|day| format!("{day}/a"));
    let paths: Vec<String> = paths.into_iter().chain(others).map(|path| format!("{path}.csv")).collect();
    let artifacts = artifacts(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    world.arrive(3, 10);
    world.read_groups(&artifacts[..3], 10);
    assert_eq!(ticks(&world, 10), ["raw not_ready: day=1: 1 of 3 artifacts; 1 more group waits"]);
    assert_eq!(world.until(10), Some(3_600), "the longest wait of the oldest");
    world.arrive(30, 11);
    world.read_groups(&artifacts, 29);
    assert_eq!(ticks(&world, 29), ["raw not_ready: day=1: 1 of 3 artifacts; 28 more groups wait"]);
    let unseen = BTreeMap::new();
    let seen = preview(&world.pipeline, world.situation(&unseen, 29)).pop().unwrap();
    let group = |name: &str, count, waits_for: &str| GroupSeen {
        name: name.to_owned(),
        count,
        waits_for: Some(waits_for.to_owned()),
    };
    assert_eq!(seen.groups[..2], [group("day=1", 1, "1 of 3 artifacts"), group("day=2", 2, "2 of 3 artifacts")]);
    assert_eq!((seen.groups.len(), seen.more_groups, seen.group.as_deref()), (20, 9, Some("day=1")));
    let fire = world.fire(3_600).unwrap();
    assert_eq!(fire.partition.as_deref(), Some("day=1"), "the oldest has waited long enough");
}

const RAW_IS_PAUSED: &str = "paused since 2026-03-02 00:00 UTC: it moves";

fn pause(world: &mut World, resource: &str) {
    world.paused_resources.insert(resource.to_owned(), RAW_IS_PAUSED.to_owned());
}

/// Returns the outcome and the reason of each tick, if no run starts.
fn ticks(world: &World, seconds: i64) -> Vec<String> {
    let Plan::Wait { ticks, .. } = plan(&world.pipeline, world.situation(&BTreeMap::new(), seconds)) else {
        panic!("a run starts");
    };
    ticks.into_iter().map(|tick| format!("{} {}: {}", tick.trigger, tick.outcome, tick.reason)).collect()
}

/// The pipeline of a world, which also watches `labels`.
fn with_labels(world: &mut World, join: &str) {
    let text = world.pipeline.text.replace("name = \"p\"", &format!("name = \"p\"\njoin = \"{join}\""));
    let labels = "[resources.labels]\nkind = \"folder\"\npath = \"labels\"\nwatch = true\n[resources.raw]";
    let text = text.replace("[resources.raw]", labels).replace("= [\"raw\"]", "= [\"raw\", \"labels\"]");
    world.pipeline = parse_pinned(&text, Path::new("/p"), Path::new("/p/anacostia.toml"), &|_| None).unwrap();
}

fn labels_arrive(world: &mut World, seconds: i64) {
    world.events += 1;
    let at = Some(now(seconds).time);
    let pending = Pending { count: 1, bytes: 1, oldest_at: at, newest_at: at, as_of: world.events };
    world.waiting.note("labels", pending, now(seconds));
}

#[test]
fn a_paused_resource_starts_no_run_and_says_why_until_it_is_resumed() {
    let mut world = World::new("{ min_artifacts = 2, max_wait = \"1h\" }", "");
    pause(&mut world, "raw");
    let why = format!("raw is {RAW_IS_PAUSED}");
    assert_eq!(ticks(&world, 1), [format!("raw not_ready: nothing new; {why}")]);
    world.arrive(1, 2);
    assert_eq!(ticks(&world, 3), [format!("raw not_ready: 1 of 2 artifacts; {why}")]);
    world.arrive(2, 4);
    assert_eq!(ticks(&world, 5), [format!("raw held: 2 new artifacts, but {why}")]);
    assert_eq!(world.until(9_000), None, "no time ends a pause, not even `max_wait`");
    let seen = preview(&world.pipeline, world.situation(&BTreeMap::new(), 5)).pop().unwrap();
    assert_eq!((seen.outcome.as_str(), seen.held), ("held", Some(why)));
    world.paused_resources.clear();
    assert_eq!(world.at(6).as_deref(), Some("raw: 2 new artifacts"));
}

#[test]
fn a_pause_holds_the_other_resources_only_if_they_are_joined() {
    let mut world = World::new("{}", "");
    with_labels(&mut world, "any");
    pause(&mut world, "raw");
    world.arrive(1, 1);
    assert!(world.at(2).is_none());
    labels_arrive(&mut world, 3);
    let fire = world.fire(4).unwrap();
    assert_eq!(fire.trigger, "labels: 1 new artifact");
    assert_eq!(fire.claims.iter().map(|claim| claim.resource.as_str()).collect::<Vec<_>>(), ["labels"]);

    labels_arrive(&mut world, 5);
    world.pipeline.join = crate::manifest::Join::All;
    let ticks = ticks(&world, 5);
    assert_eq!(ticks[0], "labels held: 1 new artifact, but waits for raw (paused)");
    assert_eq!(ticks[1], format!("raw held: 1 new artifact, but raw is {RAW_IS_PAUSED}"));
    world.paused_resources.clear();
    assert_eq!(world.fire(6).unwrap().claims.len(), 2);
}

#[test]
fn a_trigger_of_the_pipeline_leaves_out_what_is_paused_and_waits_if_all_belongs_together() {
    let mut world = World::new("{}", "[triggers.hourly]\nevery = \"1h\"");
    with_labels(&mut world, "any");
    pause(&mut world, "raw");
    world.arrive(1, 1);
    let fire = world.fire(3_600).unwrap();
    assert_eq!(fire.fired_by, ["hourly"]);
    assert_eq!(fire.claims.iter().map(|claim| claim.resource.as_str()).collect::<Vec<_>>(), ["labels"]);
    world.pipeline.join = crate::manifest::Join::All;
    let held = ticks(&world, 7_200).pop().unwrap();
    let due = "every 1h: due since 2026-03-02 02:00 UTC";
    assert_eq!(held, format!("hourly held: {due}, but raw is {RAW_IS_PAUSED}"));
    world.paused_resources.clear();
    assert!(world.at(7_300).unwrap().starts_with("hourly: every 1h: due since 2026-03-02 02"), "it was not lost");
}

#[test]
fn a_pause_of_a_resource_that_the_manifest_does_not_have_changes_nothing() {
    let mut world = World::new("{}", "[triggers.hourly]\nevery = \"1h\"");
    pause(&mut world, "gone");
    world.arrive(1, 1);
    assert!(world.at(2).is_some() && world.at(3_600).is_some());
}

#[test]
fn a_resource_that_cannot_be_reached_holds_triggers_and_is_named_until_it_can() {
    let mut world = World::new("{}", "[triggers.hourly]\nevery = \"1h\"");
    let said = |world: &World, why: &str| {
        let unseen = BTreeMap::from([("raw".to_owned(), why.to_owned())]);
        let situation = world.situation(&unseen, 3_600);
        let Plan::Wait { ticks, idle, .. } = plan(&world.pipeline, situation) else { panic!("a run starts") };
        let previews = preview(&world.pipeline, situation);
        assert!(previews.iter().all(|it| it.outcome.as_str() == "not_ready" && it.held.as_deref() == Some(why)));
        assert!(idle.is_empty(), "{idle:?}");
        ticks.into_iter().map(|tick| format!("{} {}: {}", tick.trigger, tick.outcome, tick.reason)).collect::<Vec<_>>()
    };
    let away = "raw cannot be reached: it is away";
    assert_eq!(said(&world, away), [format!("raw not_ready: {away}"), format!("hourly not_ready: {away}")]);
    let scan = "raw is being scanned";
    assert_eq!(said(&world, scan), [format!("hourly not_ready: {scan}")], "nothing waits for the scan");
    world.arrive(1, 3_000);
    assert_eq!(said(&world, scan).len(), 2);
    pause(&mut world, "raw");
    let unseen = BTreeMap::from([("raw".to_owned(), away.to_owned())]);
    let Plan::Wait { ticks, .. } = plan(&world.pipeline, world.situation(&unseen, 1)) else { panic!() };
    assert_eq!(ticks[0].reason, format!("{away}; raw is {RAW_IS_PAUSED}"));
    world.paused_resources.clear();
    assert!(world.at(3_600).is_some());
    let world = World::new("{}", "");
    let Plan::Wait { ticks, idle, .. } = plan(&world.pipeline, world.situation(&BTreeMap::new(), 1)) else { panic!() };
    assert_eq!((ticks.len(), idle.len(), idle[0].reason.as_str()), (0, 1, "nothing new"));
}
