//! Commands in a pipeline: the real binary, real files, and a program with nothing specific to
//! either.

use std::fs;

use serde_json::Value;

use crate::support::app::TestApp;

/// `sort` is a command with these arguments; `more` has further manifest lines for it.
fn manifest(args: &[&str], more: &str) -> String {
    let args: Vec<String> = args.iter().map(|arg| format!("{arg:?}")).collect();
    format!(
        r#"
manifest_version = 1
[pipeline]
name = "commands"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.out]
kind = "folder"
path = "out"
[actions.first]
component = "command.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["out"]
args = [{}]
{more}
"#,
        args.join(", ")
    )
}

fn host(manifest: &str) -> TestApp {
    TestApp::new(manifest).with_guest("command")
}

/// Returns the run once it has ended.
fn ended_run(app: &TestApp) -> Value {
    let runs = app.wait_for_runs(1);
    app.get(&format!("/api/v1/runs/{}", runs[0]["number"]))
}

fn log(app: &TestApp) -> String {
    let output = app.cli(&["runs", "logs", "1", "PATH"]);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn outputs_of_a_command_are_published_with_lineage() {
    let args = [
        "stdin",
        "write|/out/out/a.tmp|sorted: ",
        "append|/out/out/a.tmp|1 2 3",
        "cat|/out/out/a.tmp",
        "rename|/out/out/a.tmp|/out/out/deep/a.txt",
        "keep|/out/out/b.txt|left open",
        "write|/out/metrics.jsonl|{\"name\": \"rows\", \"value\": 3}\n",
        "env|ANACOSTIA_PARAMS",
    ];
    // The second command reads what the first has written, and nothing else in the resource.
    let second = r#"
stdin = "raw/*.csv"
params = { seed = 7 }
[actions.second]
component = "command.wasm"
after = ["first"]
reads = ["out"]
writes = ["out"]
args = ["list|/in/out", "cat|/in/out/deep/a.txt", "write|/out/out/second.txt|x"]
"#;
    let mut app = host(&manifest(&args, second));
    app.drop_file("out/b.txt", b"by someone before");
    app.drop_file("raw/a.csv", b"3 1 2\n");
    app.start();
    let run = ended_run(&app);
    assert_eq!(run["state"], "succeeded", "{run:#}\n{}", log(&app));
    assert_eq!(fs::read(app.path("out/deep/a.txt")).unwrap(), b"sorted: 1 2 3");
    assert_eq!(fs::read(app.path("out/b.txt")).unwrap(), b"left open");
    assert_eq!(fs::read(app.path("out/second.txt")).unwrap(), b"x");
    let log = log(&app);
    for line in ["called first with 8", "3 1 2", "sorted: 1 2 3cat: ok", "{\"seed\":7}", "list: b.txt deep/ (2)"] {
        assert!(log.contains(line), "{line} is not in the log:\n{log}");
    }
    let lineage = app.get("/api/v1/runs/1/lineage");
    let mut edges: Vec<String> = lineage["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| {
            let word = |name: &str| edge[name].as_str().unwrap_or("?").to_owned();
            format!("{} {} {}", word("action"), word("kind"), edge["artifact"]["path"].as_str().unwrap_or("?"))
        })
        .collect();
    edges.sort();
    let wanted = [
        "first read a.csv",
        "first wrote b.txt",
        "first wrote deep/a.txt",
        "second read deep/a.txt",
        "second wrote second.txt",
    ];
    assert_eq!(edges, wanted, "{lineage:#}");
    let metrics = app.get("/api/v1/metrics");
    assert_eq!((&metrics["items"][0]["name"], &metrics["items"][0]["value"]), (&"rows".into(), &3.0.into()));
    let node = app.get("/api/v1/nodes/first");
    assert_eq!(node["action"]["component"]["command"], true, "{node:#}");
}

#[test]
fn a_command_that_fails_publishes_nothing() {
    let args = ["write|/out/out/a.txt|half of it", "err|disk of cheese", "write|/in/raw/a.csv|x", "exit|3"];
    let mut app = host(&manifest(&args, ""));
    app.drop_file("raw/a.csv", b"x");
    app.start();
    let run = ended_run(&app);
    assert_eq!(run["state"], "failed", "{run:#}");
    let error = &run["actions"][0]["attempts"][0]["error"];
    assert_eq!(error["code"], "exit_code", "{run:#}");
    assert_eq!(
        error["message"],
        "it exited with code 1. Its last output:\n    disk of cheese\nThe host had refused a call: `first` may not change files \
         in `/in`: they are its inputs; to let it make new versions in `/out/raw`, write in anacostia.toml:\n\
         [actions.first]\nwrites = [\"out\", \"raw\"]"
    );
    let published: Vec<_> = fs::read_dir(app.path("out")).map_or(Vec::new(), |out| {
        out.map(|entry| entry.unwrap().file_name()).filter(|name| name != ".anacostia").collect()
    });
    assert!(published.is_empty(), "{published:?}");
    assert!(log(&app).contains("denied: wasi:filesystem on /in/raw/a.csv"), "{}", log(&app));
}

#[test]
fn impossible_output_paths_are_refused_at_open_or_rename() {
    // The real folder checks paths early: the program gets the error when it opens or renames a
    // file.
    let args = [
        "write|/out/out/taken/x.txt|x",
        "write|/out/out/folder|x",
        "write|/out/out/ok.txt|x",
        "rename|/out/out/ok.txt|/out/out/folder",
        "rename|/out/out/ok.txt|/out/out/taken/y",
        "write|/out/out/.anacostia/x|x",
        "create|/out/out/taken|x",
    ];
    let mut app = host(&manifest(&args, ""));
    app.drop_file("out/taken", b"a file");
    app.drop_file("out/folder/a.txt", b"in a folder");
    app.drop_file("raw/a.csv", b"x");
    app.start();
    let run = ended_run(&app);
    let log = log(&app);
    assert_eq!(run["state"], "succeeded", "{run:#}\n{log}");
    let told = |line: &str| log.matches(line).count();
    assert_eq!(
        (told("write: EINVAL"), told("write: ok"), told("rename: EINVAL"), told("create: EEXIST")),
        (3, 1, 2, 1),
        "{log}"
    );
    assert_eq!(fs::read(app.path("out/ok.txt")).unwrap(), b"x");
    assert_eq!(fs::read(app.path("out/folder/a.txt")).unwrap(), b"in a folder");
}
