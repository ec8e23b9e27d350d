//! The API over the real store: it returns what was recorded, even while more is being recorded.

use std::sync::Arc;

use anacostia::base::{AttemptId, Digest, RunId, Timestamp, WriteId};
use anacostia::model::{
    Access, AccessKind, ActionState, Durability, Entry, Facts, Fence, LogLevel, LogLine, LogPosition, LogStream,
    Metric, Observation, RunAction, RunState, Tick, TickOutcome,
};
use anacostia::store::{
    AttemptEnd, Batch, Claim, GuestRecords, MetadataStore, NewAttempt, NewRevision, NewRun, PageRequest, RunChange,
    RunStep,
    logs::{self, LogStore},
    sqlite::SqliteStore,
};
use serde_json::Value;

use crate::http_support::Server;

/// A server over a store with run 1, whose actions `left` and `right` are both running.
struct Fixture {
    server: Server,
    store: Arc<SqliteStore>,
    logs: Arc<dyn LogStore>,
    run: RunId,
    left: Fence,
    right: Fence,
    written: u64,
    _folder: tempfile::TempDir,
}

fn now() -> Timestamp {
    Timestamp::from_micros(1_772_366_400_000_000)
}

fn action(name: &str) -> RunAction {
    RunAction {
        name: name.into(),
        state: ActionState::Pending,
        reason: None,
        attempts: 0,
        tries: 0,
        crashes: 0,
        retry_at: None,
        skipped_rest: false,
        approvals: Vec::new(),
    }
}

fn attempt(action: &str, log_from: LogPosition) -> NewAttempt {
    NewAttempt {
        id: AttemptId::new(),
        action: action.into(),
        number: 1,
        component_digest: Digest::of(b"component"),
        grants: Arc::new(serde_json::json!({ "reads": ["raw"] })),
        log_from,
    }
}

impl Fixture {
    fn new() -> Self {
        Self::with_logs(u64::MAX)
    }

    /// The same, with a log of at most about this many bytes.
    fn with_logs(max_log_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("metadata.db"), Durability::Normal, now()).unwrap();
        let logs = logs::open(folder.path(), max_log_bytes).unwrap();
        let server = Server::over(store.clone(), logs.clone());
        let run = RunId::new();
        let fences = server.wait(Self::begin(&store, run, logs.end()));
        let [left, right] = fences[..] else { panic!("two attempts: {fences:?}") };
        Self { server, store, logs, run, left, right, written: 0, _folder: folder }
    }

    async fn begin(store: &SqliteStore, run: RunId, log_from: LogPosition) -> Vec<Fence> {
        let revision = Digest::of(b"manifest");
        let components = vec![("left".to_owned(), Digest::of(b"component"))];
        let new = NewRevision { digest: revision, manifest: String::new(), components };
        store.register_revision(new, now()).await.unwrap();
        let seen = |path: &str| Observation::Present {
            path: path.into(),
            digest: Some(Digest::of(path.as_bytes())),
            size: 5,
            stamp: "s".into(),
        };
        store.record("raw", Batch::new(vec![seen("a.csv"), seen("b.csv")], u64::MAX), now()).await.unwrap();
        let tick = Tick {
            seq: 0,
            trigger: "raw".into(),
            resource: Some("raw".into()),
            time: now(),
            outcome: TickOutcome::Fired,
            reason: "2 new artifacts".into(),
            run_id: None,
            conditions: Vec::new(),
        };
        let new = NewRun {
            id: run,
            trigger: "raw: 2 new artifacts".into(),
            params: serde_json::json!({ "seed": 7 }),
            revision,
            claims: vec![Claim { resource: "raw".into(), at_most: None, at_least: 1, min_bytes: 0, only: None }],
            actions: vec![action("left"), action("right")],
            ticks: vec![tick],
            step: RunStep::default(),
            given: vec![],
            rerun_of: None,
            fired_by: Vec::new(),
            partition: None,
            marks: Vec::new(),
        };
        store.create_run(new, now()).await.unwrap().unwrap();
        let starts = vec![attempt("left", log_from), attempt("right", log_from)];
        let started =
            store.advance(run, WriteId::new(), RunStep { starts, ..RunStep::default() }, now()).await.unwrap();
        started.into_iter().map(|started| started.fence).collect()
    }

    fn log(&mut self, who: Fence, text: &str) {
        self.written += 1;
        let line = LogLine {
            t: now(),
            attempt: who.attempt_id,
            n: self.written,
            level: LogLevel::Info,
            stream: LogStream::Log,
            text: text.into(),
            fields: vec![("file".into(), "a.csv".into())],
        };
        self.logs.append(&[line]).unwrap();
    }

    fn end(&self, who: Fence, last: bool) {
        let page = PageRequest { cursor: None, limit: 1 };
        let artifacts = self.server.wait(self.store.run_inputs(self.run, page)).unwrap().items;
        let access = Access { artifact_id: artifacts[0].id, kind: AccessKind::Read, bytes: 5, calls: 1, digest: None };
        let end = AttemptEnd {
            state: anacostia::model::AttemptState::Succeeded,
            error: None,
            message: None,
            usage: anacostia::model::Usage::default(),
            accesses: vec![access],
            denials: vec![],
            requests: vec![],
            tags: vec![],
            cache: None,
            recording: anacostia::model::Recording::default(),
            log_to: self.logs.end(),
        };
        let run = last.then_some(RunChange { state: RunState::Succeeded, reason: None });
        let step = RunStep { run, ..RunStep::default() };
        self.server.wait(self.store.finish_attempt(who, end, step, now())).unwrap();
    }

    /// Returns the texts of a page of the log, and the cursor after it.
    fn page(&self, query: &str, cursor: Option<&str>) -> (Vec<String>, Option<String>) {
        let cursor = cursor.map_or(String::new(), |cursor| format!("&cursor={cursor}"));
        let page = self.server.get(&format!("/api/v1/runs/1/logs?{query}{cursor}")).json();
        (texts(&page), page["next_cursor"].as_str().map(str::to_owned))
    }

    /// Returns all texts from a cursor on, until there is nothing new.
    fn rest(&self, query: &str, mut cursor: Option<String>) -> (Vec<String>, Option<String>) {
        let mut all = Vec::new();
        loop {
            let (texts, next) = self.page(query, cursor.as_deref());
            let nothing = texts.is_empty();
            all.extend(texts);
            if next.is_none() || nothing {
                return (all, next);
            }
            cursor = next;
        }
    }
}

fn texts(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap().to_owned()).collect()
}

/// Returns the texts of one attempt, in the order of arrival.
fn of(texts: &[String], who: &str) -> Vec<String> {
    texts.iter().filter(|text| text.starts_with(who)).cloned().collect()
}

#[test]
fn following_two_concurrent_attempts_shows_each_log_line_once() {
    let mut scene = Fixture::new();
    let (left, right) = (scene.left, scene.right);
    for number in 0..10 {
        scene.log(left, &format!("left {number}"));
        scene.log(right, &format!("right {number}"));
    }
    let (mut all, cursor) = scene.rest("limit=3", None);
    assert_eq!(all.len(), 20);
    // More lines of both, one ends, then more lines of the other.
    for number in 10..15 {
        scene.log(right, &format!("right {number}"));
        scene.log(left, &format!("left {number}"));
    }
    scene.end(left, false);
    let (more, cursor) = scene.rest("limit=3", cursor);
    all.extend(more);
    scene.log(right, "right 15");
    scene.end(right, true);
    let (more, cursor) = scene.rest("limit=3", cursor);
    all.extend(more);
    assert_eq!(cursor, None, "the run has ended and everything was read");
    let wanted = |who: &str, count| (0..count).map(|number| format!("{who} {number}")).collect::<Vec<_>>();
    assert_eq!((of(&all, "left"), of(&all, "right")), (wanted("left", 15), wanted("right", 16)));
    assert_eq!(all.len(), 31);
    // Reading from the beginning returns the same; each line says which attempt it belongs to.
    let page = scene.server.get("/api/v1/runs/1/logs?limit=1000").json();
    assert_eq!((texts(&page).len(), &page["next_cursor"]), (31, &Value::Null));
    assert_eq!((&page["items"][0]["action"], &page["items"][0]["fields"]["file"]), (&"left".into(), &"a.csv".into()));
}

#[test]
fn logs_can_be_filtered_by_action_or_attempt() {
    let mut scene = Fixture::new();
    let (left, right) = (scene.left, scene.right);
    scene.log(left, "left 0");
    scene.log(right, "right 0");
    scene.end(left, false);
    // The action may be tried again, while the run continues.
    assert!(matches!(scene.page("action=left", None), (lines, Some(_)) if lines == ["left 0"]));
    scene.end(right, true);
    assert_eq!(scene.page("action=right", None), (vec!["right 0".to_owned()], None));
    assert_eq!(scene.page(&format!("attempt={}", left.attempt_id), None), (vec!["left 0".to_owned()], None));
    let none = AttemptId::new();
    scene.server.get(&format!("/api/v1/runs/1/logs?attempt={none}")).problem(404, "not-found");
    scene.server.get("/api/v1/runs/1/logs?attempt=x").problem(400, "bad-parameter");
    scene.server.get("/api/v1/runs/1/logs?cursor=9,1@2").problem(400, "bad-parameter");
    scene.server.get("/api/v1/runs/1/logs?cursor=2,0@x").problem(400, "bad-request");
}

#[test]
fn a_removed_log_is_410_and_a_truncated_log_is_marked() {
    let mut scene = Fixture::with_logs(1);
    let (left, right) = (scene.left, scene.right);
    for (who, name) in [(left, "left"), (right, "right")] {
        for number in 0..400 {
            scene.log(who, &format!("{name} {number} {}", "x".repeat(1_000)));
        }
    }
    scene.end(left, false);
    scene.end(right, true);
    let (whole, _) = scene.rest("limit=1000", None);
    assert_eq!(whole.len(), 800);
    let needed = scene.server.wait(scene.store.unfinished_logs()).unwrap();
    assert_eq!(needed, [], "the run has ended");
    scene.logs.trim(&needed, None, false).unwrap();

    let answer = scene.server.get("/api/v1/runs/1/logs?action=left");
    let problem = answer.problem(410, "gone");
    assert_eq!(
        problem["detail"],
        "the requested log lines were removed; `logs` in `[pipeline]` and in `[retention]` say which are kept"
    );
    let page = scene.server.get("/api/v1/runs/1/logs?limit=1000").json();
    let kept = texts(&page);
    assert!((1..400).contains(&kept.len()) && of(&kept, "right") == kept, "{} lines", kept.len());
    assert!(kept.last().unwrap().starts_with("right 399 "), "the newest are kept");
    assert_eq!(page["removed"], serde_json::json!([left.attempt_id, right.attempt_id]));
    assert_eq!(page["next_cursor"], Value::Null);
}

#[test]
fn the_inputs_reads_and_facts_of_a_run_are_listed() {
    let scene = Fixture::new();
    let metric = Metric { name: "loss".into(), value: 0.25, step: Some(1) };
    let entry = |name: &str| Entry { name: name.into(), value: "x".into() };
    let facts = Facts { metrics: vec![metric], params: vec![entry("seed")], tags: vec![entry("stage")] };
    scene.server.wait(scene.store.record_facts(scene.left, WriteId::new(), facts, now())).unwrap();
    scene.end(scene.left, false);
    scene.end(scene.right, true);
    let get = |path: &str| scene.server.get(path).json();
    let run = get("/api/v1/runs/1");
    assert_eq!((&run["state"], &run["inputs_count"]), (&"succeeded".into(), &2.into()));
    assert_eq!(run["actions"][1]["attempts"][0]["id"], scene.right.attempt_id.to_string());
    let old = get(&format!("/api/v1/artifacts?run={}&state=old&limit=1", scene.run));
    assert_eq!((&old["items"][0]["run_id"], old["next_cursor"].is_null()), (&run["id"], false));
    let lineage = get("/api/v1/runs/1/lineage");
    assert_eq!(lineage["items"].as_array().unwrap().len(), 2);
    let edge = &lineage["items"][0];
    assert_eq!(
        (&edge["kind"], &edge["bytes"], &edge["artifact"]["resource"]),
        (&"read".into(), &5.into(), &"raw".into())
    );
    let first = get("/api/v1/runs/1/lineage?limit=1");
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_eq!(get(&format!("/api/v1/runs/1/lineage?cursor={cursor}"))["items"][0], lineage["items"][1]);
    assert_eq!(get("/api/v1/metrics?name=loss&run=1")["items"][0]["value"], 0.25);
    assert_eq!(get("/api/v1/metrics?name=other")["items"], serde_json::json!([]));
    assert_eq!(get("/api/v1/params?run=1")["items"][0]["name"], "seed");
    assert_eq!(get("/api/v1/tags?run=1")["items"][0]["name"], "stage");
    let tick = &get("/api/v1/triggers?resource=raw")["items"][0];
    assert_eq!(
        (&tick["outcome"], &tick["reason"], &tick["run_id"]),
        (&"fired".into(), &"2 new artifacts".into(), &run["id"])
    );
    scene.server.get("/api/v1/metrics?run=2").problem(404, "not-found");
}

#[test]
fn the_events_of_a_run_are_paged_and_end_with_it() {
    let scene = Fixture::new();
    let first = scene.server.get("/api/v1/runs/1/events?limit=2").json();
    assert_eq!(first["items"][0]["type"], "run_created");
    let cursor = first["next_cursor"].as_str().unwrap().to_owned();
    // No lines are left, but the run continues.
    let rest = scene.server.get(&format!("/api/v1/runs/1/events?cursor={cursor}")).json();
    let cursor = rest["next_cursor"].as_str().unwrap().to_owned();
    scene.end(scene.left, false);
    scene.end(scene.right, true);
    let last = scene.server.get(&format!("/api/v1/runs/1/events?cursor={cursor}")).json();
    assert!(last["next_cursor"].is_null());
    let all = [&first, &rest, &last].map(|page| page["items"].as_array().unwrap().clone()).concat();
    let whole = scene.server.get("/api/v1/runs/1/events?limit=1000").json();
    assert_eq!(whole["items"], Value::Array(all));
}
