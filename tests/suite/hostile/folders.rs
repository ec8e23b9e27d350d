//! Links and files of others, in real folders: nothing leads out of a resource, whenever it is
//! created.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anacostia::model::Outcome;
use anacostia::resource::Resource;
use anacostia::resource::folder::Folder;
use anacostia::sandbox::Stop;
use serde_json::{Value, json};

use crate::folder::recorder::spec;
use crate::sandbox::{Bench, done};
use crate::support::app::TestApp;
use crate::support::wait::wait_until;

const SECRET: &str = "what lies outside of the folder";

/// Returns every file in a folder, without following links.
fn files(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() && !path.is_symlink() { files(&path) } else { vec![path] }).collect()
}

/// A host with a secret beside its folders.
fn app(more: &str) -> TestApp {
    let app = TestApp::new(&format!(
        r#"
manifest_version = 1
[pipeline]
name = "folders"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
{more}
"#
    ));
    fs::create_dir(app.path("outside")).unwrap();
    fs::write(app.path("outside/secret.txt"), SECRET).unwrap();
    app.with_guest("worker")
}

fn action(app: &TestApp, run: u64, name: &str) -> Value {
    let run = app.get(&format!("/api/v1/runs/{run}"));
    run["actions"].as_array().unwrap().iter().find(|action| action["name"] == name).unwrap().clone()
}

/// Checks that the secret has not entered by any way.
#[track_caller]
fn check_secret_not_leaked(app: &TestApp) {
    for folder in ["out", "raw"] {
        for file in files(&app.path(folder)).iter().filter(|file| !file.is_symlink()) {
            assert!(!fs::read_to_string(file).unwrap_or_default().contains(SECRET), "{}", file.display());
        }
    }
    assert_eq!(files(&app.path("outside")), [app.path("outside/secret.txt")]);
    assert!(!app.said().contains(SECRET));
}

#[test]
fn a_symlink_created_between_check_and_use_is_not_followed() {
    let read = |path: &str| {
        format!(r#"steps = [{{ do = "read_range", from = "raw", path = "{path}", length = 100, expect = "content" }}]"#)
    };
    let after = "component = \"worker.wasm\"\nafter = [\"reads\"]\nreads = [\"raw\"]\nrun_when = \"all_done\"";
    let (opens, beside) = (read("a.txt"), read("b.txt"));
    let mut app = app(&format!(
        r#"trigger = {{ min_artifacts = 2 }}
[actions.reads]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = {{ steps = [{{ do = "read_forever", from = "raw" }}] }}
[actions.opens]
{after}
params = {{ {opens} }}
[actions.beside]
{after}
params = {{ {beside} }}
"#
    ));
    app.start();
    app.drop_file("raw/a.txt", b"content");
    app.drop_file("raw/b.txt", b"content");
    wait_until("the action to read", || {
        app.try_get("/api/v1/runs/1/logs").is_ok_and(|(_, lines)| lines.to_string().contains("reading a.txt"))
    });
    // Checked when it was recorded, and open by now; from here on its path leads elsewhere.
    let (draft, original) = (app.path(".link"), app.path("original"));
    symlink(app.path("outside/secret.txt"), &draft).unwrap();
    fs::rename(app.path("raw/a.txt"), &original).unwrap();
    fs::rename(draft, app.path("raw/a.txt")).unwrap();
    // A reader that is already open continues to read the recorded content, until that is changed.
    assert_eq!(action(&app, 1, "reads")["state"], "running");
    fs::File::options().append(true).open(original).unwrap().write_all(b" that is not on record").unwrap();
    app.wait_for_runs(1);
    for name in ["reads", "opens"] {
        let attempt = &action(&app, 1, name)["attempts"][0];
        assert_eq!(
            (&attempt["state"], &attempt["error"]["code"]),
            (&"failed".into(), &"changed".into()),
            "{attempt:#}"
        );
    }
    assert_eq!(action(&app, 1, "beside")["state"], "succeeded", "{:#}", action(&app, 1, "beside"));
    check_secret_not_leaked(&app);
}

#[test]
fn existing_symlinks_are_not_artifacts() {
    let mut app = app(r#"
[resources.out]
kind = "folder"
path = "out"
[actions.copy]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["out"]
params = { steps = [
    { do = "list", from = "raw", expect = ["honest.txt"] },
    { do = "expect", code = "not-found", step = { do = "read_range", from = "raw", path = "link.txt", length = 9 } },
    { do = "expect", code = "not-found", step = { do = "read_range", from = "raw", path = "folder/secret.txt", length = 9 } },
    { do = "copy", from = "raw", to = "out" },
] }
"#);
    fs::create_dir(app.path("raw")).unwrap();
    symlink(app.path("outside/secret.txt"), app.path("raw/link.txt")).unwrap();
    symlink(app.path("outside"), app.path("raw/folder")).unwrap();
    app.start();
    app.drop_file("raw/honest.txt", b"content");
    let runs = app.wait_for_runs(1);
    assert_eq!(runs[0]["state"], "succeeded", "{:#}", action(&app, 1, "copy"));
    assert_eq!(fs::read(app.path("out/honest.txt")).unwrap(), b"content");
    check_secret_not_leaked(&app);
}

#[test]
fn a_symlink_created_between_writing_and_publishing_is_not_followed() {
    let mut app = app(r#"
[resources.out]
kind = "folder"
path = "out"
[actions.writes]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["out"]
params = { steps = [{ do = "write", to = "out", path = "sub/x.txt", text = "made by an action" }] }
"#);
    app.drop_file("raw/a.txt", b"content");
    app.die_at("publish.begin:1");
    // Written and committed, but made visible by the next host, when the folder leads elsewhere.
    symlink(app.path("outside"), app.path("out/sub")).unwrap();
    app.start();
    wait_until("the host to report a retry", || app.said().contains("trying again in 1 s"));
    check_secret_not_leaked(&app);

    fs::remove_file(app.path("out/sub")).unwrap();
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    assert_eq!(fs::read(app.path("out/sub/x.txt")).unwrap(), b"made by an action");
    check_secret_not_leaked(&app);
}

#[tokio::test]
async fn files_staged_by_another_action_cannot_be_read_or_replaced() {
    let mut bench = Bench::new();
    let folder = Arc::new(Folder::new("out", &spec(&bench.folder.path().join("out")), false).unwrap());
    let mut resources = (*bench.services.resources).clone();
    resources.insert("out".to_owned(), Arc::clone(&folder) as Arc<dyn Resource>);
    bench.services.resources = Arc::new(resources);

    let steps =
        json!([{ "do": "write", "to": "out", "path": "x", "text": "staged" }, { "do": "spin", "rounds": u64::MAX }]);
    let other = bench.run(bench.order(bench.guest("worker").await, &json!({ "steps": steps })));
    let spy = async {
        let deadline = Instant::now() + Duration::from_mins(1);
        let staged = loop {
            if let [staged] = files(folder.path()).as_slice()
                && fs::read(staged).is_ok_and(|text| text == b"staged")
            {
                break staged.clone();
            }
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let known = staged.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned();
        let params = json!({
            "mode": "call", "call": "staging", "from": "out", "to": "out",
            "known": known, "other": "", "taken": "", "artifact": "",
        });
        let mut order = bench.order(bench.guest("hostile").await, &params);
        order.reads.push("out".to_owned());
        let report = bench.run(order).await;
        assert!(done(&report).contains("read what is staged: not-found; write what is staged: invalid"), "{report:?}");
        assert_eq!(report.staged.len(), 1, "the permitted writes succeeded");
        assert_eq!(fs::read(staged).unwrap(), b"staged");
        bench.stop.send_replace(Stop::HandBack);
    };
    let (report, ()) = tokio::join!(other, spy);
    assert_eq!(report.outcome, Outcome::HandedBack);
}
