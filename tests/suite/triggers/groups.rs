//! `group_by`: one run for each group of artifacts.

use serde_json::json;

use crate::support::app::TestApp;
use crate::support::pages::page;
use crate::support::wait::wait_until;

const PIPELINE: &str = r#"
manifest_version = 1
[pipeline]
name = "groups"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
trigger = { min_artifacts = 2, group_by = "{day}/*.csv" }
[actions.work]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = { steps = [{ do = "done" }] }
"#;

#[test]
fn each_day_has_its_own_run_also_when_the_host_is_killed() {
    let mut app = TestApp::new(PIPELINE).with_guest("worker");
    for file in ["1/a", "2/a", "3/a", "1/b", "2/b"] {
        app.drop_file(&format!("raw/{file}.csv"), file.as_bytes());
    }
    app.drop_file("raw/readme.txt", b"of no day");
    app.die_at("claim.committed");
    app.start();
    let runs = app.wait_for_runs(2);
    let mut partitions: Vec<&str> = runs.iter().map(|run| run["partition"].as_str().unwrap()).collect();
    partitions.sort_unstable();
    assert_eq!(partitions, ["day=1", "day=2"], "{runs:#?}");
    for run in &runs {
        let day = run["partition"].as_str().unwrap().replace("day=", "");
        let inputs = app.get(&format!("/api/v1/runs/{}", run["number"]))["inputs"].clone();
        let paths: Vec<_> = inputs.as_array().unwrap().iter().map(|it| it["path"].as_str().unwrap()).collect();
        assert_eq!(paths.len(), 2);
        assert!(paths.iter().all(|path| path.starts_with(&day)), "{paths:?} in {day}");
        assert_eq!(run["trigger"], json!(format!("raw: day={day}: 2 new artifacts")));
    }
    wait_until("the third day to be evaluated", || {
        app.get("/api/v1/triggers/preview")["items"][0]["reason"] == "day=3: 1 of 2 artifacts"
    });
    let listed = String::from_utf8(app.cli(&["triggers", "PATH"]).stdout).unwrap();
    let words = listed.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("raw waits of the group day=3 · min_artifacts 2 1 new artifact"), "{listed}");
    app.drop_file("raw/3/b.csv", b"3/b");
    assert_eq!(app.wait_for_runs(3)[2]["partition"], "day=3");
    let shown = app.cli(&["runs", "show", "3", "PATH"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("partition  day=3"), "{shown:?}");
    assert_eq!(app.get_all("/api/v1/artifacts?state=new").len(), 1, "what is in no group waits");
    assert_eq!(app.get("/api/v1/triggers/preview")["items"][0]["without_group"], 1);
    for list in [&["triggers", "PATH"][..], &["triggers", "list", "PATH"]] {
        let listed = String::from_utf8(app.cli(list).stdout).unwrap();
        let last = listed.lines().last().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(last, "in no group 1 new artifact", "{listed}");
    }
}

#[test]
fn artifacts_of_no_group_do_not_hold_up_those_of_a_group() {
    let mut app = TestApp::new(PIPELINE).with_guest("worker");
    // More than are put into groups at once, and recorded before the others.
    std::fs::create_dir_all(app.path("raw")).unwrap();
    for number in 0..10_001 {
        std::fs::write(app.path(&format!("raw/{number}.txt")), b"").unwrap();
    }
    app.start();
    wait_until("all of them to be recorded", || {
        app.get("/api/v1/nodes/raw")["resource"]["pending"]["count"].as_u64().is_some_and(|count| count > 10_000)
    });
    app.drop_file("raw/1/a.csv", b"a");
    app.drop_file("raw/1/b.csv", b"b");
    assert_eq!(app.wait_for_runs(1)[0]["partition"], "day=1");
}

/// Returns the preview of the only trigger.
fn preview(app: &TestApp) -> serde_json::Value {
    app.get("/api/v1/triggers/preview")["items"][0].clone()
}

#[test]
fn incomplete_groups_do_not_hold_up_a_complete_one_however_many_they_are() {
    let manifest = PIPELINE.replace("{day}/*.csv", "{k}-*.csv");
    let mut app = TestApp::new(&manifest).with_guest("worker");
    std::fs::create_dir_all(app.path("raw")).unwrap();
    for number in 0..10_050 {
        std::fs::write(app.path(&format!("raw/{number}-a.csv")), b"").unwrap();
    }
    app.start();
    wait_until("all of them to be recorded", || app.get("/api/v1/nodes/raw")["resource"]["pending"]["count"] == 10_050);
    app.drop_file("raw/z-a.csv", b"a");
    app.drop_file("raw/z-b.csv", b"b");
    assert_eq!(app.wait_for_runs(1)[0]["partition"], "k=z");
    let seen = preview(&app);
    assert_eq!((seen["groups"].as_array().unwrap().len(), &seen["more_groups"]), (20, &json!(10_030)));
    assert_eq!(seen["beyond"], 0);
}

#[test]
fn groups_follow_claims_by_hand_removals_and_renames() {
    let mut app = TestApp::new(PIPELINE).with_guest("worker");
    app.drop_file("raw/1/a.csv", b"1a");
    app.drop_file("raw/2/a.csv", b"2a");
    app.drop_file("raw/3/a.csv", b"3a");
    app.drop_file("raw/lone.txt", b"4a");
    app.start();
    let names = |app: &TestApp| {
        let groups = preview(app)["groups"].as_array().cloned().unwrap_or_default();
        groups.iter().map(|it| format!("{} {}", it["name"].as_str().unwrap(), it["count"])).collect::<Vec<_>>()
    };
    wait_until("three groups", || names(&app).len() == 3);
    std::fs::remove_file(app.path("raw/3/a.csv")).unwrap();
    wait_until("the removal", || names(&app) == ["day=1 1", "day=2 1"]);
    // A second artifact comes into the group by a rename.
    std::fs::create_dir_all(app.path("raw/2")).unwrap();
    std::fs::rename(app.path("raw/lone.txt"), app.path("raw/2/b.csv")).unwrap();
    assert_eq!(app.wait_for_runs(1)[0]["partition"], "day=2");
    // What a run by hand has claimed counts for no group any more.
    assert!(app.cli(&["trigger", "PATH", "--resource", "raw", "--wait"]).status.success());
    app.drop_file("raw/1/b.csv", b"1b");
    let reason = |app: &TestApp| app.get("/api/v1/triggers?limit=1")["items"][0]["reason"].clone();
    wait_until("the next file to be counted alone", || reason(&app) == "day=1: 1 of 2 artifacts");
    app.drop_file("raw/1/c.csv", b"1c");
    let run = app.wait_for_runs(3).remove(2);
    assert_eq!((&run["partition"], &run["trigger"]), (&json!("day=1"), &json!("raw: day=1: 2 new artifacts")));
}

#[test]
fn each_incomplete_group_is_shown() {
    let manifest = PIPELINE.replace("min_artifacts = 2", "min_artifacts = 3");
    let mut app = TestApp::new(&manifest).with_guest("worker");
    for file in ["d1/a", "d2/a", "d2/b", "d3/a"] {
        app.drop_file(&format!("raw/{file}.csv"), file.as_bytes());
    }
    app.start();
    wait_until("all groups", || preview(&app)["groups"].as_array().is_some_and(|groups| groups.len() == 3));
    let mut groups = preview(&app)["groups"].as_array().unwrap().clone();
    groups.sort_by_key(|group| group["name"].to_string());
    assert_eq!(groups[0], json!({ "name": "day=d1", "count": 1, "waits_for": "1 of 3 artifacts" }));
    assert_eq!(groups[1], json!({ "name": "day=d2", "count": 2, "waits_for": "2 of 3 artifacts" }));
    wait_until("a tick that says so", || {
        let tick = app.get("/api/v1/triggers?limit=1")["items"][0].clone();
        tick["reason"].as_str().is_some_and(|reason| reason.ends_with(" of 3 artifacts; 2 more groups wait"))
    });
    let listed = String::from_utf8(app.cli(&["triggers", "PATH"]).stdout).unwrap();
    let words = listed.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(", and 2 more groups"), "{listed}");
    let page = page(&app, "/resources/raw");
    assert!(page.contains(", and 2 more groups</dd>"), "{page}");
}

#[test]
fn work_that_is_done_again_keeps_the_groups() {
    let manifest = PIPELINE.replace("min_artifacts = 2", "max_artifacts = 2");
    let mut app = TestApp::new(&manifest).with_guest("worker");
    for file in ["1/a", "2/a", "2/b", "2/c"] {
        app.drop_file(&format!("raw/{file}.csv"), file.as_bytes());
    }
    app.drop_file("raw/readme.txt", b"of no day");
    app.start();
    wait_until("all groups to be done", || app.get_all("/api/v1/artifacts?state=old").len() == 4);
    wait_until("the text to be recorded", || app.get_all("/api/v1/artifacts?state=new").len() == 1);
    let before = app.get_all("/api/v1/runs").len();
    let all = ["trigger", "PATH", "--inputs", "raw/**"];
    let dry = app.cli(&[&all[..], &["--dry-run"]].concat());
    let said = String::from_utf8(dry.stderr).unwrap();
    let mut lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.remove(0), "Without `--dry-run`: 4 runs on 5 artifacts.");
    lines.sort_unstable();
    let wanted = [
        "  1 artifact: runs work",
        "  day=1, 1 artifact: runs work",
        "  day=2, 1 artifact: runs work",
        "  day=2, 2 artifacts: runs work",
    ];
    assert_eq!(lines, wanted);
    let runs = app.cli_json(&[&all[..], &["--dry-run", "--json"]].concat())["runs"].clone();
    assert!(runs.as_array().unwrap().iter().all(|run| run["actions"] == json!(["work"])), "{runs}");
    let started = app.cli(&[&all[..], &["--wait"]].concat());
    assert!(started.status.success(), "{started:?}");
    let of = |from: usize| {
        let runs = app.get_all("/api/v1/runs");
        let mut new: Vec<_> = runs.iter().filter(|run| run["number"].as_u64() > Some(from as u64)).collect();
        new.sort_by_key(|run| run["number"].as_u64());
        new.iter().map(|run| run["partition"].as_str().unwrap_or("none").to_owned()).collect::<Vec<_>>()
    };
    let mut partitions = of(before);
    partitions.sort_unstable();
    assert_eq!(partitions, ["day=1", "day=2", "day=2", "none"]);
    let first = app.get("/api/v1/runs/1")["partition"].as_str().unwrap().to_owned();
    let retry = ["runs", "retry", "1", "PATH", "--current"];
    let dry = app.cli(&[&retry[..], &["--dry-run"]].concat());
    let said = String::from_utf8(dry.stderr).unwrap();
    assert!(said.ends_with("artifacts: runs work\n") || said.ends_with("artifact: runs work\n"), "{said}");
    assert!(said.contains(&format!("\n  {first}, ")), "{said}");
    assert_eq!(of(before + 4), [""; 0], "nothing was started");
    assert!(app.cli(&retry).status.success());
    assert_eq!(of(before + 4), [first]);
}
