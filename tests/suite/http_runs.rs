//! The list of runs over HTTP: its filters, its orders, and what it says about invalid ones.

use std::sync::Arc;

use anacostia::base::{AttemptId, Digest, RunId, Timestamp, WriteId};
use anacostia::model::{Durability, LogPosition, RunAction, RunState};
use anacostia::store::{
    MetadataStore as _, NewAttempt, NewRevision, NewRun, RunChange, RunStep, logs, sqlite::SqliteStore,
};
use serde_json::{Value, json};

use crate::http_support::Server;

fn ends_as(state: RunState) -> RunStep {
    RunStep { run: Some(RunChange { state, reason: None }), ..RunStep::default() }
}

/// A run of the trigger `nightly` in even seconds, of `raw` in odd ones.
fn a_run(second: i64, step: RunStep, params: Value) -> NewRun {
    NewRun {
        id: RunId::new(),
        trigger: "a test".into(),
        params,
        revision: Digest::of(b"manifest"),
        claims: vec![],
        actions: vec![RunAction::pending("work")],
        ticks: vec![],
        fired_by: vec![if second % 2 == 0 { "nightly" } else { "raw" }.to_owned()],
        partition: None,
        marks: vec![],
        step,
        given: vec![],
        rerun_of: None,
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_772_366_400_000_000 + seconds * 1_000_000)
}

struct Fixture {
    server: Server,
    store: Arc<SqliteStore>,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("metadata.db"), Durability::Normal, at(0)).unwrap();
        let logs = logs::open(folder.path(), u64::MAX).unwrap();
        let server = Server::over(store.clone(), logs);
        let revision = NewRevision {
            digest: Digest::of(b"manifest"),
            manifest: "manifest_version = 1".into(),
            components: vec![],
        };
        server.wait(store.register_revision(revision, at(0))).unwrap();
        Self { server, store, _folder: folder }
    }

    /// Adds a run that was created and started at this second, and ends `took` seconds later.
    fn add(&self, second: i64, took: i64, state: RunState, params: Value) {
        let attempt = NewAttempt {
            id: AttemptId::new(),
            action: "work".into(),
            number: 1,
            component_digest: Digest::of(b"component"),
            grants: Arc::new(json!({})),
            log_from: LogPosition::default(),
        };
        let new = a_run(second, RunStep { starts: vec![attempt], ..RunStep::default() }, params);
        let id = new.id;
        self.server.wait(self.store.create_run(new, at(second))).unwrap();
        self.server.wait(self.store.advance(id, WriteId::new(), ends_as(state), at(second + took))).unwrap();
    }

    fn numbers(&self, query: &str) -> Vec<u64> {
        let body = self.server.get(&format!("/api/v1/runs?{query}")).json();
        let items = body["items"].as_array().unwrap_or_else(|| panic!("{query}: {body}"));
        items.iter().map(|run| run["number"].as_u64().unwrap()).collect()
    }
}

#[test]
fn runs_are_filtered_and_sorted() {
    let fixture = Fixture::new();
    for n in 1..=6 {
        let state = if n % 3 == 0 { RunState::Failed } else { RunState::Succeeded };
        fixture.add(n * 60, 10 - n, state, json!({ "lr": 0.1, "model": if n > 3 { "a b&c" } else { "tree" } }));
    }
    for (query, numbers) in [
        ("", vec![6, 5, 4, 3, 2, 1]),
        ("state=failed", vec![6, 3]),
        ("trigger=nightly", vec![6, 5, 4, 3, 2, 1]),
        ("trigger=raw", vec![]),
        ("param=lr%3D0.1&limit=2", vec![6, 5]),
        ("param=model=a+b%26c", vec![6, 5, 4]),
        ("since=2026-03-01T12:05", vec![6, 5]),
        ("until=2026-03-01T12:02:00Z", vec![1]),
        ("since=2026-03-01&until=2026-03-02&state=succeeded", vec![5, 4, 2, 1]),
        ("since=1h", vec![]),
        ("sort=longest&limit=3", vec![1, 2, 3]),
        ("sort=shortest&state=failed", vec![6, 3]),
        ("sort=oldest", vec![1, 2, 3, 4, 5, 6]),
        ("sort=&tag=&param=", vec![6, 5, 4, 3, 2, 1]),
        ("tag=best", vec![]),
    ] {
        assert_eq!(fixture.numbers(query), numbers, "{query}");
    }
    let first = fixture.server.get("/api/v1/runs?sort=longest&limit=4").json();
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_eq!(fixture.numbers(&format!("sort=longest&limit=4&cursor={cursor}")), [5, 6]);
}

#[test]
fn invalid_filters_are_refused_with_what_to_write() {
    let server = Server::start();
    for (query, detail) in [
        (
            "since=yesterday",
            "`since` is not valid: `yesterday` is not a time: write a date such as 2026-03-01, a time such as 2026-03-01T12:00:00Z, or how long ago it was, such as 24h",
        ),
        ("param=lr", "`param` is not valid: `lr` has no value: write NAME=VALUE, such as lr=0.1"),
        ("tag==x", "`tag` is not valid: `=x` has no name before `=`"),
        ("sort=longst", "`sort` is not valid: `longst` is not an order of runs: newest, oldest, longest or shortest"),
    ] {
        let problem = server.get(&format!("/api/v1/runs?{query}")).problem(400, "bad-parameter");
        assert_eq!(problem["detail"], detail);
    }
    assert_eq!(server.get("/api/v1/runs?sort=longst").json()["did_you_mean"], "longest");
}

/// The walk of a page is bounded: a filter that fits nothing looks at ten thousand runs, and says
/// where to go on.
#[test]
fn a_page_looks_at_a_bounded_number_of_runs() {
    let fixture = Fixture::new();
    fixture.add(1, 1, RunState::Failed, json!({ "seed": 1 }));
    for n in 0..10_050 {
        let second = 10 + 2 * n;
        let new = a_run(second, ends_as(RunState::Succeeded), json!({}));
        fixture.server.wait(fixture.store.create_run(new, at(second))).unwrap();
    }
    let path = "/api/v1/runs?trigger=nightly&state=failed&limit=5";
    let body = fixture.server.get(path).json();
    assert_eq!(body["items"], json!([]));
    assert_eq!(body["next_cursor"], "52", "of the 10,050 runs of the trigger, 50 are left");
    let rest = fixture.server.get(&format!("{path}&cursor=52")).json();
    assert_eq!((&rest["items"], &rest["next_cursor"]), (&json!([]), &Value::Null));
    assert_eq!(fixture.numbers("state=failed"), [1]);
    assert_eq!(fixture.numbers("limit=1"), [10_051]);
}
