//! Records for the snapshot tests of this module.

use serde_json::json;

use crate::base::{ArtifactId, AttemptId, Digest, RunId, Timestamp};
use crate::model::{
    ActionState, Approval, Artifact, ArtifactState, Attempt, AttemptState, ErrorInfo, LogLevel, LogLine, LogPosition,
    LogStream, Run, RunAction, RunDetail, RunState, Usage,
};

/// 2026-03-01T12:00:00Z.
pub(crate) const NOON: i64 = 1_772_366_400_000_000;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(NOON + seconds * 1_000_000)
}

fn id(n: u8) -> [u8; 16] {
    [1, 0x8e, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, n]
}

pub(crate) fn attempt_id(n: u8) -> AttemptId {
    AttemptId::from_bytes(id(n))
}

pub(crate) fn run(number: u64, state: RunState) -> Run {
    Run {
        id: RunId::from_bytes(id(u8::try_from(number).unwrap())),
        number,
        state,
        trigger: "data_store: 1 new artifact".to_owned(),
        params: json!({}),
        revision: Digest::of(b"manifest"),
        snapshot: 1,
        created_at: at(0),
        started_at: Some(at(1)),
        ended_at: state.ended().then(|| at(3)),
        reason: (state == RunState::Failed).then(|| "`train` failed".to_owned()),
        rerun_of: None,
        fired_by: Vec::new(),
        partition: None,
        trimmed_at: None,
    }
}

pub(crate) fn artifact(path: &str, version: u64, size: u64) -> Artifact {
    Artifact {
        id: ArtifactId::from_bytes(id(9)),
        resource: "data_store".to_owned(),
        path: path.to_owned(),
        version,
        digest: Some(Digest::of(path.as_bytes())),
        size,
        state: ArtifactState::Old,
        reason: None,
        run_id: None,
        produced_by: None,
        created_at: at(0),
        tags: vec![],
        present: true,
        stamp: String::new(),
    }
}

pub(crate) fn action(name: &str, state: ActionState, attempts: u32, reason: Option<&str>) -> RunAction {
    RunAction {
        name: name.to_owned(),
        state,
        reason: reason.map(str::to_owned),
        attempts,
        tries: attempts,
        crashes: 0,
        retry_at: None,
        skipped_rest: false,
        approvals: Vec::new(),
    }
}

/// An approval that is asked for at second 3, and times out after a day.
pub(crate) fn approval() -> Approval {
    let (since, until) = (at(3), Some(at(86_403)));
    Approval { who: "data team".to_owned(), since, until, decision: None }
}

pub(crate) fn attempt(action: &str, number: u32, state: AttemptState) -> Attempt {
    Attempt {
        id: attempt_id(u8::try_from(number).unwrap()),
        run_id: RunId::from_bytes(id(7)),
        action: action.to_owned(),
        number,
        state,
        started_at: at(1),
        ended_at: Some(at(2)),
        component_digest: Digest::of(b"component"),
        grants: json!({"reads": ["data_store"]}),
        error: (state == AttemptState::Failed)
            .then(|| ErrorInfo::retryable("unavailable", "failed to reach the \u{1b}[31mserver")),
        message: (state == AttemptState::Succeeded).then(|| "3 rows".to_owned()),
        usage: Usage {
            peak_memory_bytes: 12 << 20,
            cpu_time_us: 3_210,
            wall_time_us: 1_000_000,
            bytes_read: 1_536,
            bytes_written: 0,
            ..Usage::default()
        },
        log_from: LogPosition::default(),
        log_to: None,
        fence: None,
        cache: None,
    }
}

/// The error message of an attempt that reached a limit.
pub(crate) const LIMIT: &str = "the limit of 16 MiB of memory is reached; to raise it, write in anacostia.toml:\n[actions.train]\n\
    limits = { memory = \"32MiB\" }\nIt then stopped: it reached `unreachable`\n  at worker.wasm!abort";

/// A run with a chain of three: one succeeded at the second attempt, one failed, one was skipped.
pub(crate) fn detail() -> RunDetail {
    RunDetail {
        run: Run { params: json!({"seed": 7}), ..run(7, RunState::Failed) },
        actions: vec![
            action("prepare", ActionState::Succeeded, 2, None),
            action("train", ActionState::Failed, 1, Some("failed to reach the server")),
            action("publish", ActionState::Skipped, 0, Some("`train` failed")),
        ],
        attempts: vec![
            attempt("prepare", 1, AttemptState::Failed),
            attempt("prepare", 2, AttemptState::Succeeded),
            attempt("train", 1, AttemptState::Failed),
        ],
    }
}

/// The inputs of the run #7, which has claimed them.
pub(crate) fn inputs() -> [Artifact; 2] {
    let run_id = Some(RunId::from_bytes(id(7)));
    [artifact("a.csv", 1, 12_288), artifact("deep/down/b.csv", 12, 3)].map(|it| Artifact { run_id, ..it })
}

pub(crate) fn line(level: LogLevel, text: &str) -> LogLine {
    LogLine {
        t: Timestamp::from_micros(NOON + 1_234_567),
        attempt: attempt_id(1),
        n: 1,
        level,
        stream: LogStream::Log,
        text: text.to_owned(),
        fields: vec![("rows".to_owned(), "3".to_owned()), ("file".to_owned(), "my file.csv".to_owned())],
    }
}
