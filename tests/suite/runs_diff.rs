//! Finding and comparing runs, with a host and without: the real binary.

use rustix::process::Signal;
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::pages;

const MANIFEST: &str = r#"
manifest_version = 1
[pipeline]
name = "compared"
params = { lr = 0.1 }
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
params = { steps = [{ do = "copy", from = "raw", to = "out" }] }
"#;

fn text(output: &std::process::Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn two_runs_are_compared_with_and_without_a_host() {
    let mut app = TestApp::new(MANIFEST).with_guest("worker");
    app.start();
    app.drop_file("raw/a.csv", b"1,2\n");
    app.wait_for_runs(1);
    app.drop_file("raw/a.csv", b"1,2,3\n");
    app.wait_for_runs(2);
    let diff = app.get("/api/v1/runs/1/diff/2");
    assert_eq!(
        (&diff["a"]["number"], &diff["b"]["number"], &diff["same_manifest"]),
        (&1.into(), &2.into(), &true.into())
    );
    let inputs = &diff["inputs"];
    assert_eq!(
        (&inputs["different"], &inputs["equal"], &inputs["items"][0]["path"]),
        (&1.into(), &0.into(), &"a.csv".into())
    );
    assert_eq!((&inputs["items"][0]["a"]["size"], &inputs["items"][0]["b"]["size"]), (&4.into(), &6.into()));
    assert_eq!(diff["outputs"]["items"][0]["action"], "copy");
    assert_eq!(diff["components"]["items"][0]["same"], true);
    assert!(diff["timings"]["items"][0]["change_us"].is_i64(), "{diff:#}");
    // A run and itself.
    let same = app.get("/api/v1/runs/1/diff/1");
    for list in ["params", "components", "inputs", "metrics", "outputs"] {
        assert_eq!(same[list]["different"], 0, "{list}");
    }
    assert_eq!(same["inputs"], json!({ "items": [], "different": 0, "equal": 1, "left_out": 0 }));
    let page = pages::page(&app, "/runs/compare?run=1&run=2");
    let link = ["href=\"/api/v1/runs/1/diff/2\"", "<h2 id=\"timings\">Timings</h2>", "v1, 4 B", "v2, 6 B"];
    pages::has(&page, &[&["<h1>Run 1 and run 2</h1>"][..], &link].concat());
    pages::obeys(&page);
    for (choice, status, why) in [
        ("run=1", 400, "Two to six runs are compared, and 1 was chosen."),
        ("run=1&run=2&run=1&run=2&run=1&run=2&run=1", 400, "Two to six runs are compared, and 7 were chosen."),
        ("run=1&run=2&run=1", 400, "Run 1 was chosen twice, and is compared with others only."),
        ("run=1&run=9", 404, "There is no run 9."),
    ] {
        let (found, page) = pages::html(&app, &format!("/runs/compare?{choice}"));
        assert_eq!(found, status, "{page}");
        pages::has(&page, &[why]);
    }
    let (status, problem) = app.try_get("/api/v1/runs/1/diff/9").unwrap();
    assert_eq!((status, &problem["detail"]), (404, &"there is no run 9".into()));
    assert_eq!(app.cli_json(&["runs", "diff", "1", "latest", "PATH", "--json"]), diff);
    app.signal(Signal::TERM);
    assert!(app.wait_for_end().success());
    assert_eq!(app.cli_json(&["runs", "diff", "#1", "2", "PATH", "--json"]), diff);
    let (shown, error) = text(&app.cli(&["runs", "diff", "1", "2", "PATH"]));
    for part in ["Run #1", "Run #2", "Components\n", "Inputs\n", "raw/a.csv", "v1, 4 B", "v2, 6 B", "Outputs\n"] {
        assert!(shown.contains(part), "{part}: {shown}\n{error}");
    }
    let (_, error) = text(&app.cli(&["runs", "diff", "1", "7", "PATH"]));
    assert!(error.contains("there is no run #7; `anacostia runs list` shows those on record"), "{error}");
}

#[test]
fn runs_are_listed_by_filters_on_the_command_line() {
    let mut app = TestApp::new(MANIFEST).with_guest("worker");
    app.start();
    app.drop_file("raw/a.csv", b"1");
    app.wait_for_runs(1);
    for seed in ["1", "2"] {
        let started = app.cli(&["trigger", "PATH", "--wait", "-p", &format!("seed={seed}")]);
        assert!(started.status.success(), "{}", text(&started).1);
    }
    let numbers = |args: &[&str]| {
        let all = [&["runs", "list", "PATH", "--json"], args].concat();
        let body = app.cli_json(&all);
        body["items"].as_array().unwrap().iter().map(|run| run["number"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&["--param", "seed=2"]), [3]);
    assert_eq!(numbers(&["--trigger", "raw"]), [1]);
    assert_eq!(numbers(&["--since", "1h", "--sort", "oldest"]), [1, 2, 3]);
    assert_eq!(numbers(&["--until", "1h"]), [0_u64; 0]);
    assert_eq!(numbers(&["--sort", "longest"]).len(), 3);
    for (args, said) in [
        (vec!["--state", "failed"], "no run is failed; leave out `--state` to see all\n"),
        (vec!["--tag", "best", "--since", "1h"], "no run fits; leave out `--since`, `--tag` to see all\n"),
    ] {
        let (_, error) = text(&app.cli(&[vec!["runs", "list", "PATH"], args].concat()));
        assert_eq!(error, said);
    }
    let refused = app.cli(&["runs", "list", "PATH", "--param", "seed"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused).1.contains("`seed` has no value: write NAME=VALUE, such as lr=0.1"), "{:?}", text(&refused));
}
