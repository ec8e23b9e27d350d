//! Outputs that are committed, and obstacles to making them visible. The real binary, real files, a
//! real guest.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::wait::{wait_for, wait_until};

/// `copy` writes each new file to `out`; `keys` has further manifest lines.
pub(crate) fn manifest(keys: &str) -> String {
    format!(
        r#"
manifest_version = 1
[pipeline]
name = "publishing"
max_concurrent_runs = 2
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.out]
kind = "folder"
path = "out"
[actions.copy]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["out"]
params = {{ steps = [{{ do = "copy", from = "raw", to = "out" }}] }}
{keys}
"#
    )
}

/// Creates a pipeline whose host has died after it committed the output `a.txt` and before it made
/// it visible. No host is running.
pub(crate) fn app_killed_after_commit(manifest: &str) -> TestApp {
    let mut app = TestApp::new(manifest).with_guest("worker");
    app.drop_file("raw/a.txt", b"content");
    app.die_at("publish.begin:1");
    assert!(!app.path("out/a.txt").exists());
    app
}

fn copy_of(app: &TestApp) -> Value {
    app.get("/api/v1/runs/1")["actions"][0].clone()
}

pub(crate) fn staged(app: &TestApp) -> usize {
    fs::read_dir(app.path("out/.anacostia/staging")).map_or(0, Iterator::count)
}

/// What a power cut can leave of a file that was not synced.
#[test]
fn a_staged_file_that_was_cut_off_is_not_published() {
    let mut app = app_killed_after_commit(&manifest(""));
    let attempt = fs::read_dir(app.path("out/.anacostia/staging")).unwrap().next().unwrap().unwrap().path();
    let staged = fs::read_dir(&attempt).unwrap().next().unwrap().unwrap().path();
    fs::write(&staged, b"con").unwrap();
    app.start();
    wait_until("the host to report it", || {
        app.said().contains("has 3 bytes instead of 7, probably because of a power cut")
    });
    assert_eq!(copy_of(&app)["attempts"][0]["state"], "publishing");
    assert!(!app.path("out/a.txt").exists(), "it was published");
    fs::write(&staged, b"content").unwrap();
    let runs = app.wait_for_runs(1);
    assert_eq!(runs[0]["state"], "succeeded", "{runs:#?}");
    assert_eq!(fs::read(app.path("out/a.txt")).unwrap(), b"content");
}

#[test]
fn a_committed_output_waits_for_its_folder_to_come_back() {
    // The folder is removed, or replaced by an empty one, like an unmounted mount point.
    for empty in [false, true] {
        let mut app = app_killed_after_commit(&manifest(""));
        let (out, elsewhere) = (app.path("out"), app.path("elsewhere"));
        fs::rename(&out, &elsewhere).unwrap();
        if empty {
            fs::create_dir(&out).unwrap();
        }
        app.start();
        wait_until("the host to report a retry", || app.said().contains("trying again in 1 s"));
        let run = app.get("/api/v1/runs/1");
        assert_eq!(run["state"], "running", "{run:#}");
        assert_eq!(copy_of(&app)["attempts"][0]["state"], "publishing", "{run:#}");
        if empty {
            fs::remove_dir(&out).unwrap();
        }
        assert!(!out.exists(), "the missing folder was created");
        fs::rename(&elsewhere, &out).unwrap();
        let runs = app.wait_for_runs(1);
        assert_eq!(runs[0]["state"], "succeeded", "{runs:#?}");
        assert_eq!(fs::read(out.join("a.txt")).unwrap(), b"content");
        // A host that shut down cleanly leaves nothing of an attempt; its only attempt is the one
        // that was taken over.
        app.signal(Signal::TERM);
        assert!(app.wait_for_end().success());
        assert_eq!(staged(&app), 0);
    }
}

#[test]
fn staged_files_are_kept_until_their_publication_is_recorded() {
    for point in ["publish.visible", "published.in_transaction", "published.committed"] {
        let mut app = TestApp::new(&manifest("")).with_guest("worker");
        app.drop_file("raw/a.txt", b"content");
        app.die_at(&format!("{point}:1"));
        assert_eq!(staged(&app), 1, "{point}");
        // An output that was published and removed in between is not missed.
        fs::remove_file(app.path("out/a.txt")).unwrap();
        app.start();
        assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded", "{point}");
        app.signal(Signal::TERM);
        assert!(app.wait_for_end().success());
        assert_eq!(staged(&app), 0, "{point}");
    }
}

#[test]
fn an_unpublished_output_is_left_to_the_next_host() {
    let mut app = app_killed_after_commit(&manifest(""));
    fs::create_dir(app.path("out/a.txt")).unwrap();
    app.start();
    wait_until("the host to report a retry", || app.said().contains("trying again in 1 s"));
    app.signal(Signal::TERM);
    assert!(app.wait_for_end().success(), "stopping is not an error");
    fs::remove_dir(app.path("out/a.txt")).unwrap();
    app.start();
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    assert_eq!(fs::read(app.path("out/a.txt")).unwrap(), b"content");
}
/// A second action that reads the output `a.txt` of any run, and retries.
const LOOK: &str = r#"
[actions.look]
component = "worker.wasm"
after = ["copy"]
reads = ["out"]
retry = { max_attempts = 100, backoff = "10ms", max_backoff = "100ms" }
params = { steps = [{ do = "read_range", from = "out", path = "a.txt", length = 100, expect = "content" }] }
"#;

#[test]
fn files_being_published_are_not_reported_gone_or_changed() {
    let mut app = app_killed_after_commit(&manifest(LOOK));
    // Another file is there, as if it were the version before.
    fs::create_dir(app.path("out/a.txt")).unwrap();
    app.start();
    let artifact = app.get_all("/api/v1/artifacts?resource=out")[0].clone();
    let content = format!("/api/v1/artifacts/{}/content", artifact["id"].as_str().unwrap());
    let (status, problem) = app.try_get(&content).unwrap();
    assert_eq!(status, 503, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("it is being published; ask again"), "{problem}");

    app.drop_file("raw/b.txt", b"other");
    let error = wait_for("the second run to look", || {
        let run = app.try_get("/api/v1/runs/2").ok()?.1;
        let error = run["actions"][1]["attempts"][0]["error"].clone();
        error.is_object().then_some(error)
    });
    assert_eq!((&error["code"], &error["retryable"]), (&"unavailable".into(), &true.into()), "{error:#}");

    fs::remove_dir(app.path("out/a.txt")).unwrap();
    let runs = app.wait_for_runs(2);
    assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{runs:#?}");
    let gone = app.path("out/a.txt");
    assert_eq!(fs::read(&gone).unwrap(), b"content");
    // An output that was published and then removed is a loss, and is reported as one.
    fs::remove_file(gone).unwrap();
    assert_eq!(app.try_get(&content).unwrap().0, 410);
}

/// A store that is a server can commit and lose the connection before it responds. This must not be
/// visible in the records.
#[test]
fn a_host_continues_when_the_result_of_a_write_is_lost() {
    let steps = r#"params = { steps = [
        { do = "metrics", name = "loss", values = [0.5] },
        { do = "copy", from = "raw", to = "out" },
    ] }"#;
    let copy = r#"params = { steps = [{ do = "copy", from = "raw", to = "out" }] }"#;
    let mut app = TestApp::new(&manifest(LOOK).replace(copy, steps)).with_guest("worker");
    let writes = ["record", "claim", "facts", "intent", "published", "finish"];
    app.set_env("ANACOSTIA_LOSE_ANSWERS", &writes.join(","));
    app.start();
    app.drop_file("raw/a.txt", b"content");
    let runs = app.wait_for_runs(1);
    assert_eq!(runs[0]["state"], "succeeded", "{runs:#?}");
    for action in app.get("/api/v1/runs/1")["actions"].as_array().unwrap() {
        assert_eq!(action["attempts"].as_array().unwrap().len(), 1, "{action:#}");
    }
    assert_eq!(app.get_all("/api/v1/metrics").len(), 1, "a metric was recorded twice");
    assert_eq!(app.get_all("/api/v1/artifacts").len(), 2);
    assert_eq!(fs::read(app.path("out/a.txt")).unwrap(), b"content");
    // The sandbox repeats the facts, without a message.
    let lost = || app.said().matches("the answer was lost; it is tried again every second").count();
    wait_until("every lost answer to be logged", || lost() >= writes.len() - 1);
    assert_eq!(lost(), writes.len() - 1, "{}", app.said());
    app.signal(Signal::TERM);
    assert!(app.wait_for_end().success());
    assert_eq!(staged(&app), 0);
}

/// Names that a watched resource ignores are published as well, and a later host that does not find
/// them by scanning does not record them as gone.
#[test]
fn an_output_with_an_ignored_name_stays_published() {
    let manifest = r#"
manifest_version = 1
[pipeline]
name = "names"
join = "any"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.out]
kind = "folder"
path = "out"
watch = true
exclude = ["old/**"]
[actions.write]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["out"]
params = { steps = [
    { do = "write", to = "out", path = "plain", text = "1", overwrite = true },
    { do = "write", to = "out", path = "left.tmp", text = "2", overwrite = true },
    { do = "write", to = "out", path = "old/model", text = "3", overwrite = true },
] }
[actions.look]
component = "worker.wasm"
after = ["out", "write"]
reads = ["out"]
params = { steps = [] }
"#;
    let mut app = TestApp::new(manifest).with_guest("worker");
    app.start();
    app.drop_file("raw/a.txt", b"a");
    app.wait_for_runs(1);
    app.restart();
    // The files that are there at the start have been examined.
    app.drop_file("raw/b.txt", b"b");
    app.wait_for_runs(2);
    let written = app.get_all("/api/v1/artifacts?resource=out");
    assert_eq!(written.len(), 3, "the same bytes make no new version: {written:#?}");
    for artifact in written {
        assert_eq!(artifact["state"], "published", "{artifact:#}");
        let content = format!("/api/v1/artifacts/{}/content", artifact["id"].as_str().unwrap());
        assert_eq!(app.try_get(&content).unwrap().0, 200, "{artifact:#}");
    }
}

#[test]
fn a_foreign_file_at_an_overwritten_path_is_moved_aside() {
    let manifest = manifest("").replace("to = \"out\" }] }", "to = \"out\", overwrite = true }] }");
    for before in [None, Some(&b"before"[..])] {
        let mut app = TestApp::new(&manifest).with_guest("worker");
        if let Some(before) = before {
            app.drop_file("out/a.txt", before);
        }
        app.set_env("ANACOSTIA_FAULT", "publish.begin:1");
        app.drop_file("raw/a.txt", b"content");
        if app.try_start().is_ok() {
            app.wait_for_end();
        }
        app.unset_env("ANACOSTIA_FAULT");
        assert_eq!(staged(&app), 1, "the host crashed after the commit point");
        fs::write(app.path("out/a.txt"), b"by a user").unwrap();
        app.start();
        assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
        assert_eq!(fs::read(app.path("out/a.txt")).unwrap(), b"content");
        let kept = fs::read_dir(app.path("out")).unwrap().map(|entry| entry.unwrap().path());
        let kept: Vec<_> = kept.filter(|path| path.to_str().unwrap().ends_with('~')).collect();
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert_eq!(fs::read(&kept[0]).unwrap(), b"by a user");
        app.wait_to_say("a file at the path of an output was moved aside");
    }
}

#[test]
fn a_second_pipeline_may_read_a_folder_but_not_write_to_it() {
    let mut first = TestApp::new(&manifest("")).with_guest("worker");
    first.drop_file("out/old.txt", b"old");
    first.start();
    let out = first.path("out");
    let with_out = |text: String| {
        let text = text.replace("name = \"publishing\"", "name = \"second\"");
        TestApp::new(&text.replace("path = \"out\"", &format!("path = {:?}", out.to_str().unwrap())))
            .with_guest("worker")
    };
    let mut second = with_out(manifest(""));
    let status = second.try_start().unwrap_err();
    assert_eq!(status.code(), Some(1));
    let (file, out) = (first.path("anacostia.toml"), out.display().to_string());
    let holder = format!("pipeline `publishing` ({}, process {})", file.display(), first.pid());
    assert!(
        second
            .said()
            .contains(&format!("out cannot be used: {holder} writes to the folder {out} already; stop that host")),
        "{}",
        second.said()
    );
    // A host that only reads removes nothing that the writer has staged.
    let staging = first.path("out/.anacostia/staging/0199aaaa-0000-7000-8000-000000000001");
    fs::create_dir_all(&staging).unwrap();
    let reads =
        manifest("").replace("path = \"out\"", "path = \"out\"\nwatch = true").replace("writes = [\"out\"]\n", "");
    let reads = reads
        .replace("reads = [\"raw\"]", "reads = [\"raw\", \"out\"]")
        .replace("after = [\"raw\"]", "after = [\"raw\", \"out\"]");
    let mut reader =
        with_out(reads.replace("{ do = \"copy\", from = \"raw\", to = \"out\" }", "{ do = \"read\", from = \"out\" }"));
    reader.drop_file("raw/a.txt", b"a");
    reader.start();
    assert_eq!(reader.wait_for_runs(1)[0]["state"], "succeeded");
    assert!(staging.exists());
    // The lock is released when its process ends, in whatever way.
    first.kill();
    second.start();
}
