//! Simulates random pipelines with every kind of condition over days, with hosts that die between
//! any two steps, and checks that no fire is doubled or lost.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;

use super::{Ask, Fire, History, Plan, Said, Situation, Waiting, plan};
use crate::base::{AttemptId, Moment, Now, RunId, Timestamp};
use crate::manifest::{Pipeline, parse_pinned};
use crate::model::{EndedRun, MetricRecord, Pending, RunState, TriggerMark};

const HOUR: i64 = 3_600;
/// The conditions of the triggers. The name of each says what is checked of it.
const TRIGGERS: [(&str, &str); 10] = [
    ("every", "every = \"3h\""),
    ("all", "cron = { schedule = \"0 * * * *\", missed = \"all\" }"),
    ("once", "cron = { schedule = \"30 */2 * * *\", time_zone = \"Europe/Berlin\" }"),
    ("none", "cron = { schedule = \"15 * * * *\", missed = \"none\" }"),
    ("below", "metric = { name = \"accuracy\", below = 0.5 }"),
    ("after", "after_run = \"failed\""),
    ("mixed", "any = [{ cron = \"0 6 * * *\" }, { all = [{ every = \"5h\" }, { after_run = \"ended\" }] }]"),
    ("eager", "component = \"eager.wasm\""),
    ("moody", "any = [{ component = \"moody.wasm\" }, { every = \"9h\" }]"),
    ("stale", "metric = { name = \"accuracy\", no_update_for = \"12h\" }"),
];

fn pipeline(rng: &mut Rng) -> (Pipeline, Vec<&'static str>) {
    let chosen: Vec<_> = TRIGGERS.iter().filter(|_| rng.bool()).collect();
    let triggers: Vec<String> = chosen.iter().map(|(name, when)| format!("[triggers.{name}]\n{when}\n")).collect();
    let triggers = triggers.concat();
    let manifest = format!(
        "manifest_version = 1\n[pipeline]\nname = \"p\"\nmax_concurrent_runs = {}\n\
         [resources.raw]\nkind = \"folder\"\npath = \"raw\"\nwatch = true\n\
         trigger = {{ min_artifacts = 2, cron = \"*/10 * * * *\" }}\n{triggers}\
         [actions.act]\ncomponent = \"a.wasm\"\nafter = [\"raw\"]\nreads = [\"raw\"]\n",
        rng.u8(1..4)
    );
    let folder = Path::new("/p");
    (parse_pinned(&manifest, folder, &folder.join("m"), &|_| None).unwrap(), chosen.iter().map(|it| it.0).collect())
}

/// A run, as the store has it.
struct SimulatedRun {
    number: u64,
    fired_by: Vec<String>,
    ended: Option<(u64, RunState)>,
}

struct World {
    rng: Rng,
    pipeline: Pipeline,
    // On record.
    marks: Vec<TriggerMark>,
    runs: Vec<SimulatedRun>,
    metric: Option<(MetricRecord, Vec<String>)>,
    event: u64,
    waiting: u64,
    // What the host has in memory.
    history: History,
    pending: Waiting,
    time: i64,
    started: i64,
    /// The time and the marks of each fire, with the triggers.
    fires: Vec<(i64, Fire)>,
}

fn now(seconds: i64) -> Now {
    let start: Timestamp = "2026-03-27T00:00:00Z".parse().unwrap();
    let micros = seconds * 1_000_000;
    Now { time: Timestamp::from_micros(start.as_micros() + micros), moment: Moment::from_micros(micros) }
}

impl World {
    fn new(seed: u64) -> (Self, Vec<&'static str>) {
        let mut rng = Rng::with_seed(seed);
        let (pipeline, names) = pipeline(&mut rng);
        let mut world = Self {
            rng,
            pipeline,
            marks: Vec::new(),
            runs: Vec::new(),
            metric: None,
            event: 0,
            waiting: 0,
            history: History::default(),
            pending: Waiting::default(),
            time: 0,
            started: 0,
            fires: Vec::new(),
        };
        world.start();
        (world, names)
    }

    /// A host starts, with nothing but the record.
    fn start(&mut self) {
        self.started = self.time;
        self.history = History::new(&self.marks, &self.pipeline, now(self.time));
        self.pending = Waiting::default();
        self.note_pending();
        self.look_back();
    }

    /// Does what the dispatcher does when a run has ended.
    fn look_back(&mut self) {
        let at = now(self.time);
        if let Some((record, fired_by)) = &self.metric {
            self.history.note_metric(record, fired_by.clone(), at);
        }
        self.history.arm(&self.pipeline, self.event, at);
        for condition in self.history.after_runs(&self.pipeline, false) {
            let counts = |run: &&SimulatedRun| {
                let state = run.ended.map(|(_, state)| state);
                let wanted = condition.how.as_str() == "ended" || state == Some(RunState::Failed);
                wanted
                    && run.ended.is_some_and(|(seq, _)| seq > condition.after)
                    && !run.fired_by.contains(&condition.trigger)
            };
            let newest = self.runs.iter().filter(counts).max_by_key(|run| run.ended.map(|(seq, _)| seq));
            self.history.note_looked(&condition, self.event);
            if let Some((run, (seq, state))) = newest.and_then(|run| Some((run, run.ended?))) {
                let (number, fired_by) = (run.number, run.fired_by.clone());
                self.history.note_ended(condition, EndedRun { seq, number, state, fired_by });
            }
        }
        self.marks = self.history.marks();
    }

    fn note_pending(&mut self) {
        let at = (self.waiting > 0).then(|| now(self.time).time);
        let count = self.waiting;
        let pending = Pending { count, bytes: count, oldest_at: at, newest_at: at, as_of: self.event };
        self.pending.note("raw", pending, now(self.time));
    }

    fn step(&mut self) {
        match self.rng.u8(0..20) {
            0..9 => {
                self.time += self.rng.i64(1..1_800);
                self.decide();
            }
            9..12 => {
                self.event += 1;
                self.waiting += self.rng.u64(1..3);
                self.note_pending();
            }
            12..18 => self.end_one(),
            18 => self.start(),
            _ => {
                self.time += self.rng.i64(1..6 * HOUR);
                self.start();
            }
        }
        self.decide();
    }

    fn end_one(&mut self) {
        let Some(run) = self.runs.iter_mut().find(|run| run.ended.is_none()) else { return };
        self.event += 1;
        let state = if self.rng.bool() { RunState::Failed } else { RunState::Succeeded };
        run.ended = Some((self.event, state));
        if state == RunState::Succeeded {
            let record = MetricRecord {
                seq: self.event,
                run_id: RunId::new(),
                run_number: run.number,
                action: "act".to_owned(),
                attempt_id: AttemptId::new(),
                succeeded: true,
                name: "accuracy".to_owned(),
                value: self.rng.f64(),
                step: None,
                recorded_at: now(self.time).time,
            };
            self.metric = Some((record, run.fired_by.clone()));
        }
        // The host may die before it looks back.
        if self.rng.u8(0..10) == 0 { self.start() } else { self.look_back() }
    }

    fn decide(&mut self) {
        for _ in 0..1_000 {
            let unseen = BTreeMap::new();
            let situation = Situation {
                pending: &self.pending,
                unseen: &unseen,
                history: &self.history,
                runs: self.runs.iter().filter(|run| run.ended.is_none()).count(),
                left: 0,
                queued: 0,
                paused: false,
                paused_resources: &BTreeMap::new(),
                draining: false,
                now: now(self.time),
                due: now(self.time),
            };
            let decided = plan(&self.pipeline, situation);
            assert_eq!(decided, plan(&self.pipeline, situation), "the same situation, another decision");
            match decided {
                Plan::Wait { asks, .. } if !asks.is_empty() => asks.iter().for_each(|ask| self.answer(ask)),
                Plan::Wait { passed, until, .. } => {
                    assert!(until.is_none_or(|until| until > now(self.time).moment), "it would look again at once");
                    self.history.set(&passed, now(self.time));
                    self.marks = self.history.marks();
                    return;
                }
                Plan::Fire(fires) => fires.into_iter().for_each(|fire| self.create(&fire)),
            }
        }
        panic!("it fires for ever");
    }

    /// A component answers, unless the host dies before. The eager one always says yes.
    fn answer(&mut self, ask: &Ask) {
        let question = self.history.answers_mut().ask(ask.asked.clone(), ask.basis.clone());
        let said = match self.rng.u8(0..10) {
            0 => return self.start(),
            1 => Said::Failed("trap".to_owned()),
            2..5 if ask.asked.0 == "moody" => Said::Skip { reason: "no".to_owned(), ask_again: None },
            5 if ask.asked.0 == "moody" => {
                Said::Skip { reason: "not yet".to_owned(), ask_again: Some(Duration::from_hours(1)) }
            }
            _ => Said::Fire("yes".to_owned()),
        };
        let now = now(self.time).moment;
        self.history.answers_mut().answer(&ask.asked, question, said, Duration::ZERO, now);
    }

    /// The transaction of a run. The host may die before it, or before it learns that it succeeded.
    fn create(&mut self, fire: &Fire) {
        if self.rng.u8(0..10) == 0 {
            return self.start();
        }
        self.event += 1;
        self.waiting = 0;
        let mut record = History::default();
        record.set(&self.marks, now(self.time));
        record.set(&fire.marks, now(self.time));
        self.marks = record.marks();
        let number = self.runs.len() as u64 + 1;
        self.runs.push(SimulatedRun { number, fired_by: fire.fired_by.clone(), ended: None });
        self.fires.push((self.time, fire.clone()));
        if self.rng.u8(0..10) == 0 {
            return self.start();
        }
        self.history.set(&fire.marks, now(self.time));
        self.history.use_up(&fire.marks);
        self.note_pending();
    }

    /// Returns when a trigger fired.
    fn fires_of(&self, name: &str) -> Vec<i64> {
        self.fires.iter().filter(|(_, fire)| fire.fired_by[0] == name).map(|(time, _)| *time).collect()
    }

    /// Ends all runs, and lets the host do what is left to do at this time.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            self.decide();
            if self.runs.iter().all(|run| run.ended.is_some()) {
                return;
            }
            self.end_one();
        }
        panic!("runs start runs for ever");
    }
}

fn check(world: &World, name: &str, seed: u64) {
    let fires = world.fires_of(name);
    let last = world.time;
    let apart = |least: i64| fires.windows(2).all(|two| two[1] - two[0] >= least);
    match name {
        "every" => assert!(apart(3 * HOUR) && fires.last().copied().unwrap_or(0) + 3 * HOUR > last, "seed {seed}"),
        // Each hour is made up for, whatever happened: none is lost, none is doubled.
        "all" => assert_eq!(fires.len(), usize::try_from(last / HOUR).unwrap(), "seed {seed}: {fires:?}"),
        "once" => {
            let period = |time: i64| (time - HOUR / 2).div_euclid(HOUR);
            assert!(fires.windows(2).all(|two| period(two[0]) != period(two[1])), "seed {seed}: {fires:?}");
            assert!(last < 3 * HOUR || !fires.is_empty(), "seed {seed}");
        }
        "none" => {
            let period = |time: i64| (time - 900).div_euclid(HOUR);
            assert!(fires.windows(2).all(|two| period(two[0]) < period(two[1])), "seed {seed}: {fires:?}");
        }
        "stale" => assert!(apart(12 * HOUR), "seed {seed}"),
        _ => {}
    }
    if name == "after" {
        let own = |run: &SimulatedRun| run.fired_by.iter().any(|by| by == name);
        let ends = world.runs.iter().filter(|run| !own(run)).filter_map(|run| run.ended);
        let failed = ends.filter(|(_, state)| *state == RunState::Failed).map(|(seq, _)| seq).max().unwrap_or(0);
        let mark = world.marks.iter().find(|mark| mark.trigger == name).map_or(0, |mark| mark.seq);
        assert!(mark >= failed, "seed {seed}: a failed run was not answered");
    }
}

#[test]
fn no_fire_is_doubled_or_lost_whenever_the_host_dies() {
    let mut fired: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..60 {
        let (mut world, names) = World::new(seed);
        for _ in 0..200 {
            world.step();
        }
        world.settle();
        for name in names {
            check(&world, name, seed);
            *fired.entry(name.to_owned()).or_default() += world.fires_of(name).len();
        }
        *fired.entry("raw".to_owned()).or_default() += world.fires_of("raw").len();
        for (_, fire) in &world.fires {
            let mut by = fire.fired_by.clone();
            by.sort();
            by.dedup();
            assert_eq!(by.len(), fire.fired_by.len(), "seed {seed}: a trigger led to its own run");
        }
    }
    assert_eq!(fired.len(), TRIGGERS.len() + 1);
    assert!(fired.values().all(|count| *count > 4), "{fired:?}");
}
