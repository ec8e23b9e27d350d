//! The pages of one run.

use std::sync::Arc;
use std::time::Duration;

use anacostia::base::{AttemptId, Digest, RunId, Timestamp};
use anacostia::model::{
    AccessKind, ActionState, Approval, ArtifactState, Attempt, AttemptState, ErrorInfo, Event, EventKind, LogLevel,
    LogLine, LogPosition, LogStream, RunAction, RunDetail, RunState, Usage,
};
use anacostia::store::logs::{self, LogStore};
use anacostia::store::{LineageEdge, Revision};

use crate::http_fake::FakeStore;
use crate::http_support::{Answer, Server, a_run, an_artifact};

/// The manifest of the runs, which is another one than that in force.
const MANIFEST: &str = r#"
manifest_version = 1
[pipeline]
name = "old"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.models]
kind = "folder"
path = "models"
[actions.prepare]
component = "prepare.wasm"
after = ["raw"]
reads = ["raw"]
[actions.train]
component = "train.wasm"
after = ["prepare"]
reads = ["raw"]
writes = ["models"]
[actions.publish]
component = "publish.wasm"
after = ["train"]
reads = ["models"]
"#;

fn start() -> Timestamp {
    Timestamp::from_micros(1_772_366_400_000_000)
}

fn attempt(action: &str, number: u32, state: AttemptState) -> Attempt {
    Attempt {
        id: AttemptId::new(),
        run_id: RunId::new(),
        action: action.into(),
        number,
        state,
        started_at: start(),
        ended_at: Some(start().after(Duration::from_millis(100))),
        component_digest: Digest::of(b"component"),
        grants: serde_json::json!({}),
        error: None,
        message: None,
        usage: Usage::default(),
        log_from: LogPosition::default(),
        log_to: None,
        fence: None,
        cache: None,
    }
}

fn action(name: &str, state: ActionState) -> RunAction {
    RunAction { state, ..RunAction::pending(name) }
}

/// Returns a page, with its slashes as they are displayed.
fn shown(answer: &Answer) -> String {
    answer.text().replace("&#x2f;", "/")
}

/// A run whose second action has failed, and whose third was not reached.
fn failed_run() -> RunDetail {
    let mut run = a_run(1, RunState::Failed);
    run.reason = Some("`train` failed: <b>no</b> rows".into());
    let mut train = action("train", ActionState::Failed);
    train.attempts = 1;
    let mut publish = action("publish", ActionState::Skipped);
    publish.reason = Some("`train` failed".into());
    let mut failing = attempt("train", 1, AttemptState::Failed);
    failing.error = Some(ErrorInfo::permanent("bad_input", "<b>no</b> rows\nat line 7"));
    let attempts = vec![attempt("prepare", 1, AttemptState::Succeeded), failing];
    RunDetail { run, actions: vec![action("prepare", ActionState::Succeeded), train, publish], attempts }
}

/// A server over a store with this run, and the log of its attempts.
struct Scene {
    server: Server,
    store: Arc<FakeStore>,
    logs: Arc<dyn LogStore>,
    detail: RunDetail,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn of(detail: RunDetail) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let logs = logs::open(folder.path(), u64::MAX).unwrap();
        let store = Arc::new(FakeStore::default());
        store.runs.lock().unwrap().push(detail.clone());
        let scene = Self { server: Server::over(store.clone(), logs.clone()), store, logs, detail, _folder: folder };
        scene.began_with(MANIFEST);
        scene
    }

    /// Says with which manifest the run began.
    fn began_with(&self, manifest: &str) {
        *self.store.revisions.lock().unwrap() = vec![Revision {
            digest: self.detail.run.revision,
            manifest: manifest.to_owned(),
            components: Vec::new(),
            registered_at: start(),
        }];
    }

    /// Records that an attempt has used a new artifact of a resource.
    fn uses(&self, attempt: usize, kind: AccessKind, resource: &str, path: &str) {
        let Attempt { id: attempt_id, action, .. } = self.detail.attempts[attempt].clone();
        let mut artifact = an_artifact(path, b"1", ArtifactState::Current);
        resource.clone_into(&mut artifact.resource);
        self.store.lineage.lock().unwrap().push(LineageEdge { attempt_id, action, kind, artifact, bytes: 1 });
    }

    fn log(&self, attempt: usize, n: u64, level: LogLevel, text: &str) {
        let (stream, fields) = (LogStream::Stdout, vec![("key".to_owned(), "<u>value</u>".to_owned())]);
        let attempt = self.detail.attempts[attempt].id;
        self.logs.append(&[LogLine { t: start(), attempt, n, level, stream, text: text.into(), fields }]).unwrap();
    }

    fn page(&self, path: &str) -> String {
        let answer = self.server.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let page = shown(&answer);
        for forbidden in ["style=", "<script>", "<b>no</b>", "<u>value", "onclick", "javascript:"] {
            assert!(!page.contains(forbidden), "{path}: {forbidden}");
        }
        page
    }
}

#[test]
fn a_failed_run_says_why_and_how_to_do_it_again() {
    let scene = Scene::of(failed_run());
    scene.log(0, 1, LogLevel::Info, "prepared");
    scene.log(1, 1, LogLevel::Info, "begins");
    scene.log(1, 2, LogLevel::Error, "\\u{1b}[31mno rows\\u{1b}[0m in a.csv");
    scene.log(1, 3, LogLevel::Info, "ends");
    let page = scene.page("/runs/1");
    for part in [
        "<code>train</code> failed: &lt;b&gt;no&lt;/b&gt; rows.",
        "action=\"/runs/1/retry\"",
        "action=\"/runs/1/again\"",
        "<code>train</code>, <code>publish</code> will run again. What 1 other action has done stays.",
        "id=\"L2\" class=\"error marked\"",
        "<span class=\"ansi-1\">no rows</span> in a.csv",
        "skipped: <code>train</code> failed",
        "The whole error",
        "train, attempt 1: failed after 100 ms",
        // Only an action of the manifest in force has a page.
        "<h3><a href=\"/actions/train\">train</a>",
        "<h3><span>publish</span>",
    ] {
        assert!(page.contains(part), "`{part}` is not in {page}");
    }
    assert!(!page.contains("action=\"/runs/1/cancel\"") && !page.contains("prepared"), "{page}");
    // The link in the head leads to the line.
    let (before, _) = page.split_once("Show the line of the log").unwrap();
    let link = before.rsplit("<a href=\"").next().unwrap().split('"').next().unwrap();
    let link = link.replace("&amp;", "&");
    assert!(link.ends_with("&line=2#L2"), "{link}");
    let log = scene.page(link.split('#').next().unwrap());
    assert!(log.contains("id=\"L2\" class=\"error marked\"") && log.contains("id=\"L3\""), "{log}");
}

#[test]
fn a_run_is_found_by_number_and_by_id_and_all_its_pages_have_one_head() {
    let scene = Scene::of(failed_run());
    let id = scene.detail.run.id;
    for name in ["1".to_owned(), id.to_string()] {
        for tab in ["", "/graph", "/logs", "/artifacts", "/metrics", "/events"] {
            let page = scene.page(&format!("/runs/{name}{tab}"));
            assert!(page.contains("<h1>Run 1</h1>"), "{tab}: {page}");
            assert_eq!(page.matches("aria-current=\"page\"").count(), 1, "{tab}");
            let events = format!("data-events=\"/api/v1/events?run={id}&amp;newest=true\"");
            assert!(page.contains(&events), "{tab}: {page}");
        }
    }
    for missing in ["/runs/2", "/runs/x%3Cb%3E", "/runs/2/logs", &format!("/runs/{}", RunId::new())] {
        let answer = scene.server.get(missing);
        assert!(answer.status == 404 && !answer.text().contains("<b>"), "{missing}");
    }
}

#[test]
fn the_graph_of_a_run_is_that_of_its_manifest_with_what_became_of_each_node() {
    let scene = Scene::of(failed_run());
    scene.uses(0, AccessKind::Read, "raw", "a.csv");
    scene.uses(1, AccessKind::Read, "raw", "<b>no</b>.csv");
    let page = scene.page("/runs/1/graph");
    for part in [
        "<svg class=\"graph\" role=\"group\" aria-label=\"Graph of run 1\"",
        "<a class=\"node action ok\" href=\"/runs/1#action-prepare\"",
        "<a class=\"node action bad\" href=\"/runs/1#action-train\"",
        "<a class=\"node action skip\" href=\"/runs/1#action-publish\"",
        "<title>action prepare: succeeded, ",
        "<title>action publish: skipped, `train` failed</title>",
        "<title>resource raw: 2 read</title>",
        "<title>resource models: not used</title>",
        "href=\"/runs/1/artifacts\"",
        "<a class=\"node store ok\" href=\"/runs/1/events\"",
        // The same as a list.
        "<th scope=\"row\" data-label=\"Node\"><a href=\"/runs/1#action-train\">train</a></th>",
        "<td data-label=\"Leads to\"><span><a href=\"/runs/1/artifacts\">models</a></span></td>",
        "data-live=\"graph\"",
    ] {
        assert!(page.contains(part), "`{part}` is not in {page}");
    }
    // A run that has ended does not change by itself, and no data waits in it.
    assert!(!page.contains("data-poll") && !page.contains("data waits"), "{page}");
    // Wide and narrow windows have a drawing each.
    assert_eq!(page.matches("<svg class=\"graph\"").count(), 2);
    // What its nodes lead to is on the page of the run.
    let overview = scene.page("/runs/1");
    for action in ["prepare", "train", "publish"] {
        assert!(overview.contains(&format!("id=\"action-{action}\"")), "{overview}");
    }
}

#[test]
fn the_graph_of_a_run_shows_what_runs_now_and_what_was_not_reached() {
    let mut detail = failed_run();
    detail.run = a_run(1, RunState::Running);
    detail.actions[1] = RunAction { attempts: 2, ..action("train", ActionState::Running) };
    detail.actions[2] = action("publish", ActionState::Cancelled);
    detail.attempts[1] = Attempt { ended_at: None, ..attempt("train", 2, AttemptState::Running) };
    let page = Scene::of(detail).page("/runs/1/graph");
    for part in [
        "<title>action train: running, attempt 2</title>",
        "<title>action publish: not reached</title>",
        "<title>resource raw: nothing on record</title>",
        "<path class=\"edge reads busy\"",
        "<path class=\"edge writes busy\"",
        "data-live=\"graph\" data-poll=\"2000\"",
    ] {
        assert!(page.contains(part), "`{part}` is not in {page}");
    }
}

#[test]
fn a_manifest_that_cannot_be_read_leaves_the_graph_out_and_says_why() {
    let scene = Scene::of(failed_run());
    scene.began_with(&MANIFEST.replace("\"raw\"\nwatch", "\"${NOT_SET_ANYWHERE}\"\nwatch"));
    let page = scene.page("/runs/1/graph");
    assert!(page.contains("There is no graph here: the manifest of run #1 cannot be read here: set the variable"));
    assert!(page.contains("NOT_SET_ANYWHERE") && !page.contains("<svg class=\"graph\""), "{page}");
}

#[test]
fn the_time_axis_keeps_what_an_action_waited_for() {
    let mut detail = failed_run();
    let run_id = Some(detail.run.id);
    detail.attempts[1].started_at = start().after(Duration::from_millis(50));
    let scene = Scene::of(detail);
    let record = |ms: u64, state: &str, reason: Option<&str>| {
        scene.store.events.lock().unwrap().push(Event {
            seq: ms,
            epoch: 1,
            time: start().after(Duration::from_millis(ms)),
            kind: EventKind::ActionState,
            v: 1,
            run_id,
            action: Some("train".to_owned()),
            attempt: None,
            artifact_id: None,
            data: serde_json::json!({ "state": state, "reason": reason }),
        });
    };
    record(10, "ready", Some("waits for <b>no</b> gpu (1 of 1 in use)"));
    assert!(!scene.page("/runs/1").contains("gpu"), "it may wait still, which its state says");
    record(50, "running", None);
    let page = scene.page("/runs/1");
    assert!(page.contains("<title>waited 40 ms for &lt;b&gt;no&lt;/b&gt; gpu (1 of 1 in use)</title>"), "{page}");
}

#[test]
fn the_lineage_of_a_run_is_a_drawing_and_a_list() {
    let scene = Scene::of(failed_run());
    assert!(!scene.page("/runs/1/artifacts").contains("id=\"lineage\""));
    scene.uses(0, AccessKind::Read, "raw", "in/a.csv");
    scene.uses(1, AccessKind::Wrote, "models", "m.onnx");
    let page = scene.page("/runs/1/artifacts");
    let log = |attempt: usize| format!("/runs/1/logs?attempt={}", scene.detail.attempts[attempt].id);
    for part in [
        "<h2 id=\"lineage\">Lineage</h2>",
        "<svg class=\"graph\" role=\"group\" aria-label=\"Lineage\"",
        "<title>in/a.csv in raw, version 1, current, 1 B</title>",
        &format!("<a class=\"node action ok\" href=\"{}\"", log(0)),
        &format!("<a class=\"node action ok\" href=\"{}\"", log(1)),
        "models/m.onnx version 1</a>",
    ] {
        assert!(page.contains(part), "`{part}` is not in {page}");
    }
    assert!(!page.contains("Only what is listed below is drawn"), "{page}");
    (0..200).for_each(|number| scene.uses(0, AccessKind::Read, "raw", &format!("{number}.csv")));
    let page = scene.page("/runs/1/artifacts");
    let more = "193 more inputs or outputs are in the list only. Only what is listed below is drawn";
    assert!(page.contains(more), "{page}");
    assert!(page.contains("<summary>Show 150 more</summary>"), "{page}");
    // The next page of the list has a drawing of its own.
    let next = page.split("href=\"/runs/1/artifacts?uses=").nth(1).unwrap().split('"').next().unwrap();
    let page = scene.page(&format!("/runs/1/artifacts?uses={next}"));
    for part in ["<title>199.csv in raw, version 1, current, 1 B</title>", "Only what is listed below is drawn"] {
        assert!(page.contains(part), "`{part}` is not in {page}");
    }
    assert!(!page.contains("in/a.csv"), "{page}");
}

#[test]
fn a_log_is_shown_from_its_end_and_searched_from_its_start() {
    let mut detail = failed_run();
    detail.attempts.truncate(1);
    let scene = Scene::of(detail);
    for n in 1..=1_200 {
        let level = if n % 400 == 0 { LogLevel::Warn } else { LogLevel::Info };
        scene.log(0, n, level, &format!("line {n} of many"));
    }
    let numbers = |page: &str| {
        let ids = page.split("<li id=\"L").skip(1);
        ids.map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect::<Vec<u64>>()
    };
    let last = scene.page("/runs/1/logs");
    assert_eq!(numbers(&last), (701..=1_200).collect::<Vec<_>>());
    assert!(last.contains("aria-label=\"Lines of the log\" data-follow"), "it opens at its end: {last}");
    let link = |page: &str, text: &str| {
        let (before, _) = page.split_once(text)?;
        let href = before.rsplit("href=\"").next()?.split('"').next()?;
        Some(href.replace("&amp;", "&"))
    };
    let earlier = scene.page(&link(&last, "<svg class=\"icon back\"").unwrap());
    assert_eq!(numbers(&earlier), (201..=700).collect::<Vec<_>>());
    let first = scene.page(&link(&last, "From the start").unwrap());
    assert_eq!(numbers(&first)[..2], [1, 2]);
    assert!(!first.contains("data-follow"), "{first}");
    // The address of a line opens a page that has the line, from wherever it was taken.
    let found = scene.page("/runs/1/logs?find=of+many&level=warn");
    for (page, n) in [(&last, 900), (&earlier, 300), (&first, 2), (&found, 400), (&found, 800), (&found, 1_200)] {
        let (_, rest) = page.split_once(&format!("<li id=\"L{n}\"")).unwrap();
        let href = rest.split("href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
        let (address, _) = href.split_once(&format!("#L{n}")).unwrap();
        assert!(numbers(&scene.page(address)).contains(&n), "{href}");
    }
    assert_eq!(numbers(&scene.page("/runs/1/logs?level=warn")), [400, 800, 1_200]);
    assert_eq!(numbers(&scene.page("/runs/1/logs?find=LINE+77+of")), [77]);
    let none = scene.page("/runs/1/logs?find=%3Cscript%3E");
    assert!(none.contains("No line here fits.") && none.contains("value=\"&lt;script&gt;\""), "{none}");
    assert_eq!(scene.server.get("/runs/1/logs?level=loud").status, 400);
    assert_eq!(scene.server.get("/runs/1/logs?at=x").status, 400);
    assert_eq!(scene.server.get(&format!("/runs/1/logs?attempt={}", AttemptId::new())).status, 404);
}

#[test]
fn an_active_run_refreshes_itself_and_can_be_cancelled_and_approved() {
    let server = Server::start();
    let mut asked = action("publish", ActionState::AwaitingApproval);
    asked.approvals = vec![Approval { who: "<b>no</b> team".into(), since: start(), until: None, decision: None }];
    let run = a_run(1, RunState::Running);
    let id = run.id;
    let mut running = attempt("train", 1, AttemptState::Running);
    running.ended_at = None;
    let actions = vec![action("train", ActionState::Running), asked, action("tell", ActionState::Pending)];
    server.store.runs.lock().unwrap().push(RunDetail { run, actions, attempts: vec![running] });
    let page = shown(&server.get("/runs/1"));
    for part in [
        "<code>train</code> runs; <code>publish</code> waits for approval. 0 of 3 actions done.",
        "data-poll=\"1000\"",
        "action=\"/runs/1/cancel\"",
        "<code>train</code> will be stopped",
        "2 actions will not start.",
        "value=\"approved\"",
        "&lt;b&gt;no&lt;",
        "<summary class=\"button ok\">",
        "Approve publish of run 1?",
        "<code>publish</code> starts.",
        "value=\"rejected\"",
        "<code>publish</code> fails, and what comes after it is skipped.",
    ] {
        assert!(page.contains(part), "`{part}` is not in {page}");
    }
    assert!(!page.contains("/runs/1/retry\"") && !page.contains("/runs/1/again\""), "{page}");
    let cancelled = server.send("POST", "/runs/1/cancel", &[], b"");
    assert_eq!((cancelled.status, cancelled.header("location")), (303, "/runs/1"));
    let evil = [("origin", "http://evil.example.com")];
    assert_eq!(server.send("POST", "/runs/1/cancel", &evil, b"").status, 403);
    assert_eq!(*server.control.calls.lock().unwrap(), [format!("cancel {id}")]);
}

#[test]
fn a_form_that_starts_a_run_again_starts_one_even_if_it_is_sent_twice() {
    let server = Server::start();
    server.store.runs.lock().unwrap().push(failed_run());
    let page = shown(&server.get("/runs/1"));
    let id = page.split("name=\"id\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let form = format!("id={id}");
    let send = || server.send("POST", "/runs/1/again", &[], form.as_bytes());
    assert_eq!(
        [send(), send()].map(|answer| (answer.status, answer.header("location").to_owned())),
        [(303, "/runs/2".to_owned()), (303, "/runs/2".to_owned())]
    );
    let wrong = server.send("POST", "/runs/1/again", &[], b"id=1");
    assert!(wrong.status == 400 && shown(&wrong).contains("the form could not be read"), "{}", wrong.text());
    let retried = server.send("POST", "/runs/1/retry", &[], b"");
    assert_eq!((retried.status, retried.header("location")), (303, "/runs/1"));
    assert_eq!(server.send("POST", "/runs/9/retry", &[], b"").status, 404);
}

#[test]
fn a_refused_retry_is_said_on_the_page_of_the_run() {
    let server = Server::start();
    let detail = RunDetail { run: a_run(1, RunState::Succeeded), actions: vec![], attempts: vec![] };
    server.store.runs.lock().unwrap().push(detail);
    let refused = server.send("POST", "/runs/1/retry", &[], b"");
    let page = shown(&refused);
    assert_eq!(refused.status, 409);
    assert!(page.contains("Not recorded:") && page.contains("run 1 has succeeded"), "{page}");
    // The page is refreshed from its own address, not from that of the form.
    assert!(page.contains("data-source=\"/runs/1\""), "{page}");
}

#[test]
fn artifacts_are_previewed_and_cannot_run() {
    let server = Server::start();
    let contents: [(&str, &[u8]); 6] = [
        ("a.csv", b"name,rows\n<b>x</b>,1\n"),
        ("b.json", b"{\"k\":[1,2]}"),
        ("c.html", b"<script>alert(1)</script>"),
        ("d.png", b"\x89PNG\r\n\x1a\n\0\0"),
        ("e.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"),
        ("f.bin", b"\0\x01\x02"),
    ];
    let inputs: Vec<_> =
        contents.iter().map(|(path, bytes)| an_artifact(path, bytes, ArtifactState::Current)).collect();
    for ((path, bytes), artifact) in contents.iter().zip(&inputs) {
        server.resource.contents.lock().unwrap().insert((*path).to_owned(), bytes.to_vec());
        server.store.artifacts.lock().unwrap().push(artifact.clone());
    }
    let run = a_run(1, RunState::Succeeded);
    server.store.inputs.lock().unwrap().insert(run.id, inputs.clone());
    let detail = RunDetail { run, actions: vec![], attempts: vec![] };
    server.store.runs.lock().unwrap().push(detail);
    let path = |at: usize| format!("/artifacts/{}", inputs[at].id);
    let page = |at: usize| {
        let answer = server.get(&path(at));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.text().contains("<script>") && !answer.text().contains("<b>x"), "{}", answer.text());
        shown(&answer)
    };
    let list = shown(&server.get("/runs/1/artifacts"));
    assert!(inputs.iter().all(|input| list.contains(&input.path)), "{list}");
    assert!(page(0).contains("<td>&lt;b&gt;x&lt;/b&gt;</td><td>1</td>"));
    assert!(page(1).contains("&quot;k&quot;: ["));
    assert!(page(2).contains("&lt;script&gt;alert(1)"));
    assert!(page(3).contains("<img src=") && page(4).contains("<img src=") && !page(2).contains("<img"));
    assert!(page(5).contains("00 01 02"));
    for (at, kind) in [(3, "image/png"), (4, "image/svg+xml")] {
        let image = server.get(&format!("{}/image", path(at)));
        assert_eq!((image.status, image.header("content-type")), (200, kind));
        assert!(image.header("content-security-policy").starts_with("sandbox; default-src 'none'"));
        assert_eq!(image.header("x-content-type-options"), "nosniff");
    }
    assert_eq!(server.get(&format!("{}/image", path(2))).status, 404);
}
