//! What holds for everything that actions write, whatever the kind.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::target::Target;
use super::{over_each_kind, resource};
use crate::support::app::TestApp;
use crate::support::wait::{wait_for, wait_until};

over_each_kind!(target [folder, seaweedfs, moto, http_sent, sqlite, postgres] [
    an_attempt_publishes_all_of_its_outputs_or_none,
    a_host_that_dies_at_any_step_publishes_each_output_once,
    hosts_that_are_killed_at_random_publish_each_output_once,
    what_is_there_is_replaced_only_with_overwrite,
    no_fault_of_the_network_loses_or_doubles_an_output,
    it_is_watched_only_if_the_kind_can_be_watched,
]);

/// A pipeline that writes what is in a folder to a target.
struct Lab {
    app: TestApp,
    target: Box<dyn Target>,
    expected: BTreeMap<String, Vec<Vec<u8>>>,
}

fn manifest(target: &dyn Target, more: &str, steps: &str) -> String {
    let watched = "kind = \"folder\"\npath = \"in\"\nwatch = true\ntrigger = { max_artifacts = 1 }";
    format!(
        "manifest_version = 1\n[pipeline]\nname = \"lab\"\nmax_concurrent_runs = 2\n{}{}\
         [actions.copy]\ncomponent = \"worker.wasm\"\nafter = [\"in\"]\nreads = [\"in\"]\nwrites = [\"out\"]\n\
         retry = {{ max_attempts = 50, backoff = \"50ms\", max_backoff = \"200ms\" }}\nparams = {{ steps = [{steps}] }}\n",
        resource("in", watched),
        resource("out", &format!("{}\n{more}", target.keys())),
    )
}

impl Lab {
    fn new(target: Box<dyn Target>) -> Self {
        let steps = target.steps();
        Self::with_steps(target, &steps)
    }

    fn with_steps(mut target: Box<dyn Target>, steps: &str) -> Self {
        let mut app = TestApp::new(&manifest(&*target, "", steps)).with_guest("worker");
        target.prepare(&mut app);
        Self { app, target, expected: BTreeMap::new() }
    }

    /// Puts an input, and expects its outputs.
    fn put(&mut self, name: &str) {
        self.app.drop_file(&format!("in/{name}"), name.as_bytes());
        for (prefix, end) in [("x", '!'), ("y", '?')] {
            self.expected.insert(format!("{prefix}-{name}"), vec![format!("{name}{end}").into_bytes()]);
        }
    }

    /// Waits until every run has ended, and retries those that too many hosts have died under.
    fn retry_crash_loops(&self) {
        for run in self.app.wait_for_runs(self.expected.len() / 2) {
            if run["state"] == "failed" {
                assert!(run["reason"].as_str().unwrap().contains("crash_loop"), "seed {SEED}: {run:#}");
                let (status, answer) = self.app.post(&format!("/api/v1/runs/{}/retry", run["number"]));
                assert_eq!(status, 200, "{answer}");
            }
        }
    }

    /// Waits until every run has ended, and checks what is published and what is on record of it.
    #[track_caller]
    fn check(&self) {
        let runs = self.app.wait_for_runs(self.expected.len() / 2);
        assert_eq!(runs.len(), self.expected.len() / 2, "{runs:#?}");
        assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{runs:#?}\n{}", self.app.said());
        assert_eq!(self.target.published(), self.expected);
        let recorded = self.app.get_all("/api/v1/artifacts?resource=out");
        if !self.target.promises().files {
            return assert_eq!(recorded.len(), runs.len(), "{recorded:#?}");
        }
        let mut paths: Vec<&str> = recorded.iter().map(|it| it["path"].as_str().unwrap()).collect();
        paths.sort_unstable();
        assert!(paths.iter().eq(self.expected.keys()), "{paths:?}");
    }
}

fn an_attempt_publishes_all_of_its_outputs_or_none(target: Box<dyn Target>) {
    let fails = r#"{ do = "fail", attempts = 1, retryable = false, message = "not now" }"#;
    let steps = target.steps();
    let mut lab = Lab::with_steps(target, &format!("{steps}, {fails}"));
    lab.put("a.txt");
    lab.app.start();
    assert_eq!(lab.app.wait_for_runs(1)[0]["state"], "failed");
    assert_eq!(lab.target.published(), BTreeMap::new(), "both outputs were finished, and neither is there");
    assert_eq!(lab.app.get_all("/api/v1/artifacts?resource=out"), Vec::<Value>::new());
    let (status, answer) = lab.app.post("/api/v1/runs/1/retry");
    assert_eq!(status, 200, "{answer}");
    wait_until("the retry to end", || lab.app.get("/api/v1/runs/1")["state"] == "succeeded");
    lab.check();
}

/// The fault points of every kind from the end of the guest to the record of what it has written.
const POINTS: [&str; 5] =
    ["attempt.guest_done", "intent.in_transaction", "intent.committed", "publish.begin", "published.committed"];
/// Those of files.
const FILE_POINTS: [&str; 2] = ["stage.finished", "publish.visible"];

fn a_host_that_dies_at_any_step_publishes_each_output_once(target: Box<dyn Target>) {
    let mut lab = Lab::new(target);
    let files = lab.target.promises().files;
    let of_files: &[&str] = if files { &FILE_POINTS } else { &[] };
    for point in lab.target.points().iter().chain(&POINTS).chain(of_files) {
        lab.put(&format!("{point}.txt"));
        lab.app.die_at(&format!("{point}:1"));
        lab.app.start();
        lab.check();
        lab.app.kill();
    }
    if !files {
        // All statements of an attempt are one transaction.
        return;
    }
    // Between the first output and the second one.
    let point = lab.target.points().last().unwrap();
    lab.put("second.txt");
    lab.app.die_at(&format!("{point}:2"));
    lab.app.start();
    lab.check();
}

const SEED: u64 = 41;
const KILLS: usize = 10;

fn hosts_that_are_killed_at_random_publish_each_output_once(target: Box<dyn Target>) {
    let mut lab = Lab::new(target);
    let mut random = fastrand::Rng::with_seed(SEED);
    for round in 0..KILLS {
        lab.app.start();
        for number in 0..3 {
            lab.put(&format!("{round}-{number}.txt"));
        }
        // The kill comes at any moment, not when something is ready.
        std::thread::sleep(Duration::from_millis(random.u64(0..150)));
        lab.app.kill();
    }
    lab.app.start();
    lab.retry_crash_loops();
    lab.check();
}

fn what_is_there_is_replaced_only_with_overwrite(target: Box<dyn Target>) {
    if !target.promises().guards {
        // Only the server knows what is there, so nothing is refused.
        let mut lab = Lab::new(target);
        lab.put("a.txt");
        lab.app.start();
        return lab.check();
    }
    let step = |to: &str, overwrite: bool| {
        format!(r#"{{ do = "write", to = "out", path = "{to}", text = "ours", overwrite = {overwrite} }}"#)
    };
    let refused = format!(r#"{{ do = "expect", code = "already-exists", step = {} }}"#, step("taken", false));
    let mut lab = Lab::with_steps(target, &format!("{refused}, {}, {}", step("replaced", true), step("new", true)));
    lab.target.put("taken", b"theirs");
    lab.target.put("replaced", b"theirs");
    lab.app.drop_file("in/a.txt", b"a");
    lab.app.start();
    assert_eq!(lab.app.wait_for_runs(1)[0]["state"], "succeeded", "{}", lab.app.get("/api/v1/runs/1"));
    let expected = [("new", "ours"), ("replaced", "ours"), ("taken", "theirs")];
    let expected = expected.map(|(path, text)| (path.to_owned(), vec![text.as_bytes().to_vec()]));
    assert_eq!(lab.target.published(), BTreeMap::from(expected));
}

fn no_fault_of_the_network_loses_or_doubles_an_output(target: Box<dyn Target>) {
    let mut lab = Lab::new(target);
    lab.app.start();
    lab.put("first.txt");
    lab.check();
    let faults = lab.target.faults();
    if lab.target.proxy().is_none() {
        assert!(faults.is_empty(), "a kind without a network has no faults of it");
        return;
    }
    for (number, (part, fault)) in faults.into_iter().enumerate() {
        let proxy = lab.target.proxy().unwrap();
        let before = proxy.struck();
        proxy.next(2, part, fault.clone());
        lab.put(&format!("fault-{number}.txt"));
        let proxy = lab.target.proxy().unwrap();
        wait_until(&format!("{fault:?} to strike"), || proxy.struck() > before);
        lab.check();
        proxy.heal();
    }
    lab.target.proxy().unwrap().refuse();
    lab.put("refused.txt");
    wait_for("the run to begin", || (lab.app.get_all("/api/v1/runs").len() * 2 >= lab.expected.len()).then_some(()));
    lab.app.kill();
    lab.app.start();
    lab.target.proxy().unwrap().heal();
    lab.check();
}

fn it_is_watched_only_if_the_kind_can_be_watched(mut target: Box<dyn Target>) {
    let watches = target.promises().watches;
    let reader = "[actions.next]\ncomponent = \"worker.wasm\"\nafter = [\"out\", \"copy\"]\nreads = [\"out\"]\n";
    let text = manifest(&*target, target.watch(), &target.steps()) + reader;
    let mut app = TestApp::new(&text).with_guest("worker");
    target.prepare(&mut app);
    let output = app.cli(&["check", "PATH"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.success(), watches, "{said}");
    if !watches {
        assert!(said.contains("watch"), "{said}");
    }
}
