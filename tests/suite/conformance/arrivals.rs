//! What holds for everything that arrives, whatever the kind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anacostia::base::Digest;
use rustix::process::Signal;
use serde_json::Value;

use super::source::Source;
use super::{over_each_kind, resource};
use crate::support::app::TestApp;
use crate::support::wait::{wait_for, wait_until};

over_each_kind!(source [folder, seaweedfs, moto, http_polled, http_pushed, sqlite, postgres] [
    an_arrival_is_recorded_once_with_its_size_and_digest,
    other_content_is_the_next_version_where_the_kind_sees_it,
    an_end_is_recorded_where_the_kind_sees_it,
    restarts_neither_lose_nor_double,
    a_host_that_dies_at_any_step_neither_loses_nor_doubles,
    hosts_that_are_killed_at_random_neither_lose_nor_double,
    many_at_once_are_claimed_once_each,
    a_place_that_is_away_is_shown_with_the_reason_and_loses_nothing,
    no_fault_of_the_network_loses_or_doubles,
    an_action_reads_its_version_or_learns_that_it_changed,
    actions_write_to_it_only_if_the_kind_can_be_written,
]);

const COPY: &str = r#"{ do = "copy", from = "in", to = "out", overwrite = true }"#;

/// A pipeline that copies what arrives to a folder, one artifact in each run.
struct Lab {
    app: TestApp,
    source: Box<dyn Source>,
    /// What is to be recorded of each item: its versions.
    expected: BTreeMap<u32, Vec<String>>,
}

fn manifest(source: &dyn Source, writes: &str, steps: &str) -> String {
    let watched = format!("{}\nwatch = true\ntrigger = {{ max_artifacts = 1 }}", source.keys());
    format!(
        "manifest_version = 1\n[pipeline]\nname = \"lab\"\nmax_concurrent_runs = 4\n{}{}\
         [actions.copy]\ncomponent = \"worker.wasm\"\nafter = [\"in\"]\nreads = [\"in\"]\nwrites = [\"{writes}\"]\n\
         retry = {{ max_attempts = 50, backoff = \"50ms\", max_backoff = \"200ms\" }}\nparams = {{ steps = [{steps}] }}\n",
        resource("in", &watched),
        resource("out", "kind = \"folder\"\npath = \"out\""),
    )
}

impl Lab {
    fn new(source: Box<dyn Source>) -> Self {
        Self::with_steps(source, COPY)
    }

    fn with_steps(mut source: Box<dyn Source>, steps: &str) -> Self {
        let mut app = TestApp::new(&manifest(&*source, "out", steps)).with_guest("worker");
        source.prepare(&mut app);
        Self { app, source, expected: BTreeMap::new() }
    }

    #[track_caller]
    fn start(&mut self) {
        self.app.start();
        self.source.connect(&self.app);
    }

    /// Returns new items, and expects each as a first version.
    fn new_items(&mut self, count: u32) -> Vec<(u32, String)> {
        let last = self.expected.keys().last().copied().unwrap_or_default();
        let items: Vec<_> = (last + 1..=last + count).map(|item| (item, format!("item {item}, first"))).collect();
        self.expected.extend(items.iter().map(|(item, text)| (*item, vec![text.clone()])));
        items
    }

    fn put(&mut self, count: u32) {
        let items = self.new_items(count);
        self.source.put(&self.app, &items);
    }

    /// Puts other content of an item, which is to be recorded if the kind sees that.
    fn replace(&mut self, item: u32, text: &str) {
        if self.source.promises().replaces {
            self.expected.get_mut(&item).unwrap().push(text.to_owned());
        }
        self.source.put(&self.app, &[(item, text.to_owned())]);
    }

    /// Returns the record of the newest version of an item.
    fn newest(&self, item: u32) -> Option<Value> {
        let all = self.app.get_all("/api/v1/artifacts?resource=in");
        let of_item = all.into_iter().filter(|it| self.source.item_at(it["path"].as_str().unwrap()) == item);
        of_item.max_by_key(|it| it["version"].as_u64())
    }

    /// Waits until what is expected is on record and worked on, and checks that nothing else is.
    #[track_caller]
    fn check(&self) {
        let mut expected = BTreeSet::new();
        for (item, versions) in &self.expected {
            for (version, text) in (1_u64..).zip(versions) {
                let bytes = self.source.bytes(*item, text);
                expected.insert((*item, version, bytes.len() as u64, Digest::of(&bytes).to_string()));
            }
        }
        let runs = self.app.wait_for_runs(expected.len());
        assert_eq!(runs.len(), expected.len(), "one run for each version: {runs:#?}");
        assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{runs:#?}\n{}", self.app.said());
        let text = |it: &Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
        let recorded = self.app.get_all("/api/v1/artifacts?resource=in");
        let seen: BTreeSet<_> = recorded
            .iter()
            .map(|it| {
                assert_eq!(it["state"], "old", "{it:#}");
                let item = self.source.item_at(it["path"].as_str().unwrap());
                (item, it["version"].as_u64().unwrap(), it["size"].as_u64().unwrap(), text(it, "digest"))
            })
            .collect();
        assert_eq!((recorded.len(), &seen), (expected.len(), &expected));
        let mut claimed = BTreeSet::new();
        for run in &runs {
            for input in self.app.get(&format!("/api/v1/runs/{}", run["number"]))["inputs"].as_array().unwrap() {
                assert!(claimed.insert(text(input, "id")), "claimed twice: {input}");
            }
        }
        assert_eq!(claimed, recorded.iter().map(|it| text(it, "id")).collect(), "each is claimed");
        let copies = self.app.get_all("/api/v1/artifacts?resource=out");
        let mut copied: Vec<_> =
            copies.iter().map(|it| (self.source.item_at(&text(it, "path")), text(it, "digest"))).collect();
        copied.sort();
        let mut digests: Vec<_> = expected.into_iter().map(|(item, _, _, digest)| (item, digest)).collect();
        digests.sort();
        assert_eq!(copied, digests, "each version was read as it is");
    }
}

fn an_arrival_is_recorded_once_with_its_size_and_digest(source: Box<dyn Source>) {
    let mut lab = Lab::new(source);
    if lab.source.promises().arrives_without_host {
        lab.put(2);
    }
    lab.start();
    lab.put(1);
    lab.check();
    lab.put(3);
    lab.check();
}

fn other_content_is_the_next_version_where_the_kind_sees_it(source: Box<dyn Source>) {
    let mut lab = Lab::new(source);
    lab.start();
    lab.put(2);
    lab.check();
    lab.replace(2, "item 2, second");
    // What comes later shows that the kind has looked.
    lab.put(1);
    lab.check();
    lab.app.restart();
    lab.source.connect(&lab.app);
    lab.replace(1, "item 1, second");
    lab.put(1);
    lab.check();
}

fn an_end_is_recorded_where_the_kind_sees_it(source: Box<dyn Source>) {
    let mut lab = Lab::new(source);
    lab.start();
    lab.put(3);
    lab.check();
    lab.source.remove(&lab.app, 3);
    let is_gone = |lab: &Lab| lab.newest(3).is_some_and(|it| it["present"] == false);
    if lab.source.promises().removes {
        wait_until("the end to be recorded", || is_gone(&lab));
        lab.check();
        // It may come again, and is another version then.
        lab.replace(3, "item 3, again");
        lab.check();
        assert!(!is_gone(&lab));
    } else {
        lab.put(1);
        lab.check();
        assert!(!is_gone(&lab), "the kind does not say that it sees this");
    }
}

fn restarts_neither_lose_nor_double(source: Box<dyn Source>) {
    let mut lab = Lab::new(source);
    for signal in [Signal::TERM, Signal::KILL, Signal::TERM, Signal::KILL] {
        lab.start();
        // The host may or may not have seen them when it ends.
        lab.put(3);
        lab.app.signal(signal);
        lab.app.wait_for_end();
        if lab.source.promises().arrives_without_host {
            lab.put(2);
        }
    }
    lab.start();
    lab.check();
    lab.app.restart();
    lab.source.connect(&lab.app);
    lab.put(1);
    lab.check();
}

/// The fault points of every kind between an item and its claim.
const POINTS: [&str; 5] =
    ["record.observed", "record.in_transaction", "record.committed", "claim.in_transaction", "claim.committed"];

fn a_host_that_dies_at_any_step_neither_loses_nor_doubles(source: Box<dyn Source>) {
    let mut lab = Lab::new(source);
    for point in lab.source.points().iter().chain(&POINTS) {
        let items = lab.new_items(2);
        let fault = format!("{point}:1");
        if lab.source.promises().arrives_without_host {
            lab.source.put(&lab.app, &items);
            lab.app.die_at(&fault);
            continue;
        }
        lab.app.set_env("ANACOSTIA_FAULT", &fault);
        lab.start();
        lab.source.try_put(&lab.app, &items);
        lab.app.wait_for_end();
        lab.app.unset_env("ANACOSTIA_FAULT");
        lab.start();
        lab.source.put(&lab.app, &items);
        // Nothing is left to do for the host that dies next, until its upload comes.
        lab.check();
        lab.app.kill();
    }
    lab.start();
    lab.check();
}

const SEED: u64 = 43;
const KILLS: usize = 10;

fn hosts_that_are_killed_at_random_neither_lose_nor_double(source: Box<dyn Source>) {
    let mut lab = Lab::new(source);
    let mut random = fastrand::Rng::with_seed(SEED);
    for _ in 0..KILLS {
        lab.start();
        let items = lab.new_items(3);
        // Its clients are answered before the kill, because they know nothing of another host.
        lab.source.put(&lab.app, &items);
        // The kill comes at any moment, not when something is ready.
        std::thread::sleep(Duration::from_millis(random.u64(0..150)));
        lab.app.kill();
    }
    lab.start();
    let expected: usize = lab.expected.values().map(Vec::len).sum();
    for run in lab.app.wait_for_runs(expected).iter().filter(|run| run["state"] == "failed") {
        // Too many hosts have died under it.
        assert!(run["reason"].as_str().unwrap().contains("crash_loop"), "seed {SEED}: {run:#}");
        let (status, answer) = lab.app.post(&format!("/api/v1/runs/{}/retry", run["number"]));
        assert_eq!(status, 200, "{answer}");
    }
    lab.check();
}

fn many_at_once_are_claimed_once_each(source: Box<dyn Source>) {
    let mut lab = Lab::new(source);
    lab.start();
    lab.put(1);
    lab.check();
    lab.put(300);
    lab.check();
}

/// Returns why `in` cannot be reached, once it cannot.
#[track_caller]
fn wait_for_reason(app: &TestApp) -> String {
    wait_for("the reason to be shown", || {
        let node = app.get("/api/v1/nodes/in");
        let (status, ready) = app.try_get("/readyz").ok()?;
        let reason = ready["reasons"].as_array()?.first()?.as_str()?.to_owned();
        (node["state"] == "unreachable" && status == 503).then_some(reason)
    })
}

fn a_place_that_is_away_is_shown_with_the_reason_and_loses_nothing(source: Box<dyn Source>) {
    let mut lab = Lab::new(source);
    lab.start();
    lab.put(2);
    lab.check();
    if !lab.source.take_away() {
        let url = lab.app.url().to_owned();
        lab.app.kill();
        assert!(ureq::get(format!("{url}/readyz")).call().is_err(), "without a host there is no place");
        return;
    }
    let reason = wait_for_reason(&lab.app);
    assert!(reason.starts_with("in "), "it names the resource: {reason}");
    lab.put(2);
    if !lab.source.is_made_at_start() {
        // A host that starts meanwhile shows the same.
        lab.app.restart();
        wait_for_reason(&lab.app);
    }
    lab.source.bring_back();
    lab.check();
    wait_until("the host to be ready", || lab.app.try_get("/readyz").is_ok_and(|(status, _)| status == 200));
    let gone = lab.app.get_all("/api/v1/artifacts?resource=in").into_iter().filter(|it| it["present"] == false);
    assert_eq!(gone.count(), 0, "what cannot be seen is not gone");
}

fn no_fault_of_the_network_loses_or_doubles(source: Box<dyn Source>) {
    let mut lab = Lab::new(source);
    lab.start();
    lab.put(1);
    lab.check();
    if lab.source.proxy().is_none() {
        assert!(lab.source.faults().is_empty(), "a kind without a network has no faults of it");
        return;
    }
    for (part, fault) in lab.source.faults() {
        let proxy = lab.source.proxy().unwrap();
        let before = proxy.struck();
        proxy.next(2, part, fault.clone());
        lab.put(1);
        let proxy = lab.source.proxy().unwrap();
        wait_until(&format!("{fault:?} to strike"), || proxy.struck() > before);
        lab.check();
        proxy.heal();
    }
    for _ in 0..3 {
        lab.source.proxy().unwrap().reset_open();
        lab.put(2);
        lab.source.proxy().unwrap().reset_open();
    }
    lab.check();
}

fn an_action_reads_its_version_or_learns_that_it_changed(source: Box<dyn Source>) {
    let (keeps, replaces) = (source.promises().keeps, source.promises().replaces);
    let wait = "{ do = \"log\", message = \"begun\" }, { do = \"sleep\", ms = 300 }";
    let until_changed = r#"{ do = "read_forever", from = "in" }"#;
    let steps = if keeps { format!("{wait}, {COPY}") } else { until_changed.to_owned() };
    let mut lab = Lab::with_steps(source, &steps);
    lab.start();
    lab.put(1);
    let begun = if keeps { "begun" } else { "reading" };
    wait_until("the action to begin", || {
        let (_, lines) = lab.app.try_get("/api/v1/runs/1/logs?action=copy").unwrap();
        lines.to_string().contains(begun)
    });
    lab.replace(1, "item 1, second");
    if keeps {
        lab.check();
        return;
    }
    assert!(replaces);
    // A reader that is open may read to the end what it has begun. The next attempt opens another.
    lab.app.kill();
    lab.app.start();
    let run = wait_for("the action to learn of it", || {
        let run = lab.app.get("/api/v1/runs/1");
        (run["state"] == "failed").then_some(run)
    });
    let attempts = run["actions"][0]["attempts"].as_array().unwrap();
    assert_eq!(attempts.last().unwrap()["error"]["code"], "changed", "{run:#}");
}

fn actions_write_to_it_only_if_the_kind_can_be_written(mut source: Box<dyn Source>) {
    let writes = source.promises().writes;
    let mut app = TestApp::new(&manifest(&*source, "in", COPY)).with_guest("worker");
    source.prepare(&mut app);
    let output = app.cli(&["check", "PATH"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.success(), writes, "{said}");
    if !writes {
        assert!(said.contains("`in`") && said.contains("writ"), "{said}");
    }
}
