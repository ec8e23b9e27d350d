//! `group_by`: one run for each group of artifacts.

use serde_json::json;

use crate::support::app::TestApp;
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
