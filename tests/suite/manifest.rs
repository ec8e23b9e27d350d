//! Manifests: each bad one in `tests/manifests/invalid` has its exact diagnostic beside it, each
//! good one loads, and no text makes the reader panic.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests, outside of test functions")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anacostia::base::{Digest, bounds};
use anacostia::manifest::{
    ApprovalSpec, ChannelSpec, Components, FolderSpec, HttpForm, HttpValue, LoadOptions, MAX_PROBLEMS, Paging,
    Pipeline, Problems, ResourceKind, RunWhen, SecretSource, SqlDatabase, SqlFormat, SqlFrom, SqlRows, StoreSpec,
    UrlSource, inspect, load, parse_pinned,
};
use anacostia::model::{Durability, NotifyCause};
use proptest::prelude::*;
use tempfile::TempDir;

const ACTION: &str = r#"(instance $i) (export "anacostia:pipeline/action@0.1.0" (instance $i))"#;

fn manifests(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests").join(kind)
}

fn variables(name: &str) -> Option<String> {
    match name {
        "HOME" => Some("/home/me".to_owned()),
        "CRON" => Some("0 6 * * MON-FRI".to_owned()),
        "API_TOKEN" => Some("s3cret".to_owned()),
        _ => None,
    }
}

fn component(imports: &[&str], rest: &str) -> Vec<u8> {
    let imports: Vec<String> = imports.iter().map(|name| format!("(import \"{name}\" (instance))")).collect();
    wat::parse_str(format!("(component {} {rest})", imports.join(" "))).unwrap()
}

/// A folder with everything that the manifests of these tests refer to.
fn house() -> TempDir {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let contract = ["types", "run-context", "resources", "metadata", "log"];
    let contract: Vec<String> = contract.iter().map(|name| format!("anacostia:pipeline/{name}@0.1.0")).collect();
    let mut all: Vec<&str> = contract.iter().map(String::as_str).collect();
    all.push("wasi:io/poll@0.2.3");
    let good = component(&all, ACTION);
    write("good.wasm", &good);
    write("truncated.wasm", &good[..good.len() / 2]);
    write("plain.wasm", &component(&["anacostia:pipeline/log@0.1.0"], ACTION));
    let fetching = ["wasi:http/types@0.2.4", "wasi:http/outgoing-handler@0.2.4"];
    write("fetching.wasm", &component(&fetching, ACTION));
    let greedy = ["wasi:http/incoming-handler@0.2.0", "anacostia:pipeline/metdata@0.1.0", "acme:tools/drill@1.0.0"];
    write("greedy.wasm", &component(&greedy, ACTION));
    write("library.wasm", &component(&[], ""));
    write("command.wasm", &component(&[], r#"(instance $i) (export "wasi:cli/run@0.2.0" (instance $i))"#));
    let later = r#"(instance $i) (export "wasi:cli/run@0.3.0" (instance $i))"#;
    let decider = r#"(instance $i) (export "anacostia:pipeline/decider@0.1.0" (instance $i))"#;
    write(
        "decide.wasm",
        &component(&["anacostia:pipeline/trigger-context@0.1.0", "anacostia:pipeline/log@0.1.0"], decider),
    );
    let reaching =
        ["anacostia:pipeline/resources@0.1.0", "wasi:http/types@0.2.4", "anacostia:pipeline/run-context@0.1.0"];
    write("reaching.wasm", &component(&reaching, decider));
    write("later-command.wasm", &component(&[], later));
    let future = r#"(instance $i) (export "anacostia:pipeline/action@0.2.0" (instance $i))"#;
    write("future.wasm", &component(&["anacostia:pipeline/log@0.2.0"], future));
    write("core.wasm", b"\0asm\x01\0\0\0");
    write("text.wasm", b"(component)");
    write("empty.wasm", b"");
    write("script.wasm", b"#!/bin/sh\n");
    write("file.txt", b"text");
    fs::File::create(folder.path().join("large.wasm")).unwrap().set_len(bounds::MAX_COMPONENT_BYTES + 1).unwrap();
    fs::create_dir_all(folder.path().join("data/raw/sub")).unwrap();
    std::os::unix::fs::symlink("data/raw", folder.path().join("link")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).unwrap();
    folder
}

fn load_text(house: &TempDir, name: &str, text: &[u8], options: LoadOptions) -> Result<Pipeline, Problems> {
    let path = house.path().join(name);
    fs::write(&path, text).unwrap();
    let result = load(&path, &variables, options);
    fs::remove_file(path).unwrap();
    result
}

/// Returns the manifests of a kind, by name.
fn each(kind: &str) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = fs::read_dir(manifests(kind))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect();
    found.sort();
    found
}

#[test]
fn the_command_in_the_help_makes_the_digest_of_a_token() {
    let diagnostic = fs::read_to_string(manifests("invalid").join("listen-malformed.snap")).unwrap();
    let command = diagnostic.split_once("help: the digest of a token: ").unwrap().1.trim();
    let output = Command::new("sh").args(["-c", command]).env("TOKEN", "open sesame").output().unwrap();
    let printed: Digest = String::from_utf8(output.stdout).unwrap().trim_end().parse().unwrap();
    assert_eq!(printed, Digest::of(b"open sesame"));
}

#[test]
fn each_bad_manifest_has_its_exact_diagnostic() {
    let house = house();
    let here = format!("{}/", house.path().display());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(manifests("invalid"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let all = each("invalid");
    assert!(all.len() >= 25);
    for (name, text) in &all {
        let loaded = load_text(&house, &format!("{name}.toml"), text, LoadOptions::default());
        let Err(problems) = loaded else { panic!("{name}.toml is valid, but should be invalid") };
        let picture = problems.render(100, false).replace(&here, "");
        settings.bind(|| insta::assert_snapshot!(name.as_str(), picture));
    }
}

#[test]
fn advice_is_valid_manifest_text() {
    let house = house();
    let text = "manifest_version = 1\n[pipeline]\nname = \"a\"\n[server]\nlisten = \"0.0.0.0:8000\"\ninsecure = true\n\
        [resources.raw]\nkind = \"folder\"\npath = \"data/raw\"\nwatch = true\ntrigger = { min_artifacts = 0, min_bytes = \"2048TiB\" }\n\
        [actions.train]\ncomponent = \"good.wasm\"\nafter = [\"raw\"]\nreads = [\"raw\"]\nenv = { EPOCHS = 12 }\n";
    let problems = load_text(&house, "advice.toml", text.as_bytes(), LoadOptions::default()).unwrap_err();
    let told: Vec<(&str, &str)> =
        problems.list().iter().map(|problem| (problem.message(), problem.advice().unwrap_or_default())).collect();
    let [listen, artifacts, bytes, env] = told[..] else { panic!("{told:#?}") };
    assert!(listen.1.contains("token_sha256") && !listen.1.contains("insecure"), "{listen:?}");
    assert_eq!(artifacts.0, "`min_artifacts` must be from 1 to 1,000,000,000");
    assert_eq!(bytes.0, "`min_bytes` must be from \"0B\" to \"1024TiB\"");
    assert_eq!(env.1, "write `EPOCHS = \"12\"`");
}

#[test]
fn every_diagnostic_belongs_to_a_manifest() {
    let known: BTreeSet<String> = each("invalid").into_iter().map(|(name, _)| name).collect();
    for entry in fs::read_dir(manifests("invalid")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(known.contains(name), "{} belongs to no manifest", path.display());
    }
}

#[test]
fn each_good_manifest_loads() {
    let house = house();
    for (name, text) in each("valid") {
        if let Err(problems) = load_text(&house, "anacostia.toml", &text, LoadOptions::default()) {
            panic!("{name}.toml:\n{}", problems.render(100, false));
        }
    }
}

#[test]
fn a_store_on_a_server_is_read_correctly() {
    let house = house();
    let text = fs::read(manifests("valid").join("postgres-store.toml")).unwrap();
    let pipeline = load_text(&house, "anacostia.toml", &text, LoadOptions::default()).unwrap();
    let store = StoreSpec::Postgres {
        url: "postgres://anna@db.example.com/lab?sslmode=require".to_owned(),
        password: Some(SecretSource::Env("API_TOKEN".to_owned())),
        schema: "penguins_2".to_owned(),
    };
    assert_eq!((pipeline.store, pipeline.durability), (store, Durability::Full));
    assert_eq!(pipeline.state, house.path().join("state"));
}

#[test]
fn every_key_is_read_correctly() {
    let house = house();
    let text = fs::read(manifests("valid").join("everything.toml")).unwrap();
    let pipeline = load_text(&house, "anacostia.toml", &text, LoadOptions::default()).unwrap();
    let raw = pipeline.resource("raw").unwrap();
    let ResourceKind::Folder(folder) = &raw.kind else { panic!("{raw:?}") };
    let train = pipeline.action("train").unwrap();
    let json = serde_json::json!({"seed": 7, "since": "2026-01-01T00:00:00Z", "price": "5$${",
        "layers": [1, 2.5, {"wide": true}]});
    assert_eq!(serde_json::Value::Object(pipeline.params.clone()), json, "params are not expanded");
    assert_eq!(folder.path, Path::new("/home/me/raw"));
    assert_eq!(folder.settle, Duration::from_millis(500));
    assert_eq!(folder.ignore, ["*.bak", ".*"], "instead of the default");
    assert_eq!(raw.trigger.max_wait, Some(Duration::from_mins(1)));
    assert_eq!(raw.trigger.min_bytes, 1024);
    assert_eq!(train.build.as_ref().unwrap().command, "make $HOME ${x}");
    assert_eq!(train.env["MODE"], "prod-/home/me");
    assert_eq!(train.secrets["TOKEN"], SecretSource::Env("API_TOKEN".to_owned()));
    let key = &train.header_secrets["KEY"];
    assert_eq!(
        (key.header.as_str(), key.prefix.as_str(), key.host.to_string()),
        ("x-api-key", "v1 ", "api.example.com:443".to_owned())
    );
    assert!(!train.secrets.contains_key("KEY"), "the action does not receive it");
    let http: Vec<String> = train.http.iter().map(ToString::to_string).collect();
    assert_eq!(http, ["api.example.com:443", "127.0.0.1:8080", "[::1]:9000", "10.0.0.5:443"]);
    assert_eq!((train.limits.http_body_bytes, train.limits.http_requests), (1 << 30, 10));
    assert_eq!(train.limits.http_wait, Duration::from_mins(2));
    assert_eq!(train.limits.memory_bytes, 512 << 20);
    assert_eq!((&train.uses[..], pipeline.concurrency["api"]), (&["gpu".to_owned(), "api".to_owned()][..], 1_000));
    assert_eq!(train.retry.max_attempts, 3);
    assert_eq!(train.retry.backoff.max, Duration::from_mins(2), "the default maximum is raised");
    assert_eq!(pipeline.action("alarm").unwrap().run_when, RunWhen::AnyFailed);
    let approval = ApprovalSpec { who: "data team".to_owned(), timeout: Some(Duration::from_hours(24)) };
    assert_eq!(pipeline.action("send").unwrap().approval, Some(approval));
    assert_eq!(pipeline.text.as_bytes(), text, "the text stays unexpanded");
    let names: Vec<&str> = pipeline.actions.iter().map(|action| action.name.as_str()).collect();
    assert_eq!(names, ["train", "send", "alarm", "label"], "the order is that of the manifest");
    let ResourceKind::Http(items) = &pipeline.resource("items").unwrap().kind else { panic!("no endpoint") };
    let (url, path, interval) = (
        "https://api.example.com/v1/items.json?sort=id".to_owned(),
        "items/list.json".to_owned(),
        Duration::from_mins(1),
    );
    let paging = Some(Paging::Cursor { param: "after".to_owned(), field: vec!["meta".to_owned(), "next".to_owned()] });
    assert_eq!(items.form, HttpForm::Poll { url, path, interval, paging });
    let token = HttpValue::Secret(SecretSource::Env("API_TOKEN".to_owned()));
    assert_eq!(items.headers["authorization"], token);
    assert_eq!(items.headers["accept"], HttpValue::Plain("application/json".to_owned()));
    assert_eq!((&items.query["key"], items.max_body, items.keep), (&token, 10 << 20, 1 << 30));
    let ResourceKind::Http(news) = &pipeline.resource("news").unwrap().kind else { panic!("no endpoint") };
    let HttpForm::Poll { path, paging, interval, .. } = &news.form else { panic!("{:?}", news.form) };
    assert_eq!((path.as_str(), paging.as_ref(), *interval), ("news", Some(&Paging::Link), Duration::from_secs(30)));
    let ResourceKind::Folder(models) = &pipeline.resource("models").unwrap().kind else { panic!("no folder") };
    let of = |name: &str| pipeline.resource(name).unwrap().model.as_deref();
    assert_eq!(["models", "archive", "raw"].map(of), [Some("penguins"), Some("old-penguins"), None]);
    assert_eq!(models.path, house.path().join("data/models"));
    assert_eq!(models.ignore, FolderSpec::default_ignore());
    check_databases(&pipeline, house.path());
    check_deciders(&pipeline, house.path());
    assert_eq!(pipeline.max_log_bytes, 256 << 20);
    assert_eq!(pipeline.public_url.as_deref(), Some("https://ml.example.com"), "without a slash at the end");
    assert_eq!(pipeline.base_path, "/ml/anacostia");
    let tls = pipeline.tls.as_ref().unwrap();
    assert_eq!((tls.cert.clone(), tls.key.clone()), (house.path().join("tls/cert.pem"), "/etc/tls/key.pem".into()));
    let [ops, chat, mail] = &pipeline.notify[..] else { panic!("{:?}", pipeline.notify) };
    let runs = [NotifyCause::RunFailed, NotifyCause::RunSucceeded, NotifyCause::AwaitingApproval];
    assert_eq!((&ops.on[..3], ops.on[3]), (&runs[..], NotifyCause::ResourceUnreachable));
    assert_eq!((ops.nothing_new_for, ops.retry_for), (Some(Duration::from_hours(6)), Duration::from_hours(2)));
    let secret = SecretSource::Env("API_TOKEN".to_owned());
    assert_eq!(chat.channel, ChannelSpec::Slack { url: UrlSource::Secret(secret.clone()) });
    assert_eq!(chat.retry_for, Duration::from_hours(24));
    let ChannelSpec::Email(mail) = &mail.channel else { panic!("{mail:?}") };
    assert_eq!((mail.to.len(), &mail.login), (2, &Some((secret.clone(), secret))));
    assert_eq!((pipeline.state, pipeline.durability), (house.path().join("kept"), Durability::Full));
}

fn check_deciders(pipeline: &Pipeline, folder: &Path) {
    let [outer, inner] = pipeline.deciders().collect::<Vec<_>>()[..] else { panic!("{:?}", pipeline.triggers) };
    assert_eq!((outer.name.as_str(), inner.name.as_str()), ("trigger repair", "trigger repair 2"));
    assert_eq!((&outer.file, &inner.file), (&folder.join("decide.wasm"), &folder.join("decide.wasm")));
    assert_eq!(outer.build.as_ref().unwrap().watch, [folder.join("data")]);
    assert_eq!((inner.params["least"].clone(), inner.build.is_none()), (serde_json::json!(3), true));
    let limits = &outer.limits;
    assert_eq!((limits.memory_bytes, limits.cpu, limits.log_bytes), (32 << 20, Duration::from_secs(2), 1 << 20));
    assert_eq!(inner.limits.wall, Duration::from_secs(10), "the default is smaller than that of actions");
}

fn check_databases(pipeline: &Pipeline, folder: &Path) {
    let sql = |name: &str| match &pipeline.resource(name).unwrap().kind {
        ResourceKind::Sql(sql) => sql.clone(),
        other => panic!("{other:?}"),
    };
    let readings = sql("readings");
    let url = "postgres://anna@db.example.com:5433/lab?sslmode=require".to_owned();
    assert_eq!(readings.database, SqlDatabase::Postgres { url });
    assert_eq!(readings.password, Some(SecretSource::Env("API_TOKEN".to_owned())));
    let rows = SqlRows {
        from: SqlFrom::Table("lab.readings".to_owned()),
        high_water: "at".to_owned(),
        key: vec!["id".to_owned()],
        overlap: Duration::from_mins(1),
        interval: Duration::from_secs(5),
        notify: Some("readings".to_owned()),
        max_rows: 500,
        format: SqlFormat::Csv,
    };
    assert_eq!((readings.rows, readings.keep), (Some(rows), 10 << 20));
    let notes = sql("notes");
    assert_eq!(notes.database, SqlDatabase::Sqlite { path: folder.join("data/app.db") });
    let rows = notes.rows.unwrap();
    assert_eq!(rows.from, SqlFrom::Query("select * from notes where kind = 'a'".to_owned()));
    assert_eq!(rows.format, SqlFormat::Jsonl);
    assert_eq!((rows.overlap, rows.interval, rows.max_rows), (Duration::from_secs(30), Duration::from_secs(1), 10_000));
}

#[test]
fn a_folder_argument_means_the_manifest_in_it() {
    let house = house();
    let text = fs::read(manifests("valid").join("smallest.toml")).unwrap();
    fs::write(house.path().join("anacostia.toml"), text).unwrap();
    let pipeline = load(house.path(), &variables, LoadOptions::default()).unwrap();
    assert_eq!(pipeline.file, house.path().join("anacostia.toml"));
    assert_eq!(pipeline.state, house.path().join("state"));
    assert_eq!(pipeline.max_log_bytes, 1 << 30);
}

/// This way, the host still finds the logs and components of a manifest that was written before the
/// key existed.
#[test]
fn the_state_folder_is_beside_the_database_by_default() {
    let house = house();
    for (keys, expected) in [
        ("", "state"),
        ("metadata_store.path = \"db/runs.db\"", "db"),
        ("metadata_store.path = \"runs.db\"", ""),
        ("metadata_store.path = \"db/runs.db\"\npipeline.state = \"./kept/\"", "kept"),
    ] {
        let text =
            format!("manifest_version = 1\npipeline.name = \"p\"\n{keys}\n[actions.a]\ncomponent = \"plain.wasm\"");
        let pipeline = load_text(&house, "anacostia.toml", text.as_bytes(), LoadOptions::default()).unwrap();
        assert_eq!(pipeline.state, house.path().join(expected), "{keys}");
    }
}

#[test]
fn building_needs_the_sources_and_running_does_not() {
    let house = house();
    let text = r#"manifest_version = 1
        pipeline.name = "p"
        [actions.a]
        component = "plain.wasm"
        build = { command = "make", watch = ["scr"] }"#;
    assert!(load_text(&house, "m.toml", text.as_bytes(), LoadOptions::default()).is_ok());
    let skip = LoadOptions { components: Components::Skip };
    let problems = load_text(&house, "m.toml", text.as_bytes(), skip).unwrap_err();
    assert_eq!(
        problems.list().iter().map(anacostia::manifest::Problem::message).collect::<Vec<_>>(),
        ["there is no file or folder `scr`"]
    );
}

#[test]
fn building_needs_no_components_and_no_secrets() {
    let house = house();
    let text = r#"manifest_version = 1
        pipeline.name = "p"
        [actions.a]
        component = "later.wasm"
        build = { command = "make" }
        secrets = { TOKEN = "env:NOWHERE" }"#;
    let skip = LoadOptions { components: Components::Skip };
    assert!(load_text(&house, "m.toml", text.as_bytes(), skip).is_ok());
    let problems = load_text(&house, "m.toml", text.as_bytes(), LoadOptions::default()).unwrap_err();
    let messages: Vec<&str> = problems.list().iter().map(anacostia::manifest::Problem::message).collect();
    assert_eq!(
        messages,
        ["the component `later.wasm` is not built yet", "the environment variable `NOWHERE`, a secret, is not set"]
    );
}

#[test]
fn a_pinned_manifest_is_read_again_without_disk_access() {
    let house = house();
    let text = fs::read_to_string(manifests("valid").join("everything.toml")).unwrap();
    let loaded = load_text(&house, "anacostia.toml", text.as_bytes(), LoadOptions::default()).unwrap();
    let (folder, file) = (house.path().to_owned(), house.path().join("anacostia.toml"));
    drop(house);
    assert_eq!(parse_pinned(&text, &folder, &file, &variables).unwrap(), loaded);
    let problems = parse_pinned(&text, &folder, &file, &|_| None).unwrap_err();
    assert_eq!(problems.list()[0].message(), "the environment variable `HOME` is not set");
}

#[test]
fn a_correct_digest_is_accepted() {
    let house = house();
    let digest = Digest::of(&fs::read(house.path().join("plain.wasm")).unwrap());
    let text = format!(
        "manifest_version = 1\npipeline.name = \"p\"\n[actions.a]\ncomponent = \"plain.wasm\"\ndigest = \"{digest}\"\n"
    );
    let pipeline = load_text(&house, "m.toml", text.as_bytes(), LoadOptions::default()).unwrap();
    assert_eq!(pipeline.actions[0].digest, Some(digest));
}

#[test]
fn an_unreadable_manifest_is_a_problem_without_a_location() {
    let house = house();
    let pipe = house.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    for (name, expected) in [
        ("gone.toml", "there is no manifest `gone.toml`"),
        ("data", "there is no manifest `data/anacostia.toml`"),
        ("large.wasm", "the manifest `large.wasm` is larger than 1 MiB"),
        ("pipe", "the manifest `pipe` is not a file"),
    ] {
        let problems = load(&house.path().join(name), &variables, LoadOptions::default()).unwrap_err();
        assert_eq!(problems.list()[0].location(), None);
        assert!(!problems.render(80, false).is_empty());
        let message = problems.list()[0].message().replace(&format!("{}/", house.path().display()), "");
        assert_eq!(message, expected);
    }
}

#[test]
fn text_that_is_not_utf8_is_refused_with_its_location() {
    let house = house();
    let problems = load_text(&house, "m.toml", b"manifest_version = 1\n# \xff\n", LoadOptions::default()).unwrap_err();
    let place = problems.list()[0].location().unwrap();
    assert_eq!((place.line, place.column), (2, 3));
}

#[test]
fn colors_are_used_only_on_terminals() {
    let house = house();
    let problems = load_text(&house, "m.toml", b"zebra = 1", LoadOptions::default()).unwrap_err();
    assert!(problems.render(80, true).contains("\x1b["));
    assert!(!problems.render(80, false).contains('\x1b'));
}

/// Returns the messages about a manifest whose actions have these edges.
fn messages_about(edges: impl Iterator<Item = (String, Vec<String>)>) -> Vec<String> {
    let actions = edges.map(|(name, after)| format!("[actions.{name}]\ncomponent = \"a.wasm\"\nafter = {after:?}\n"));
    let text = format!("manifest_version = 1\npipeline.name = \"p\"\n{}", actions.collect::<String>());
    match parse_pinned(&text, Path::new("/"), Path::new("/anacostia.toml"), &variables) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.list().iter().map(|problem| problem.message().to_owned()).collect(),
    }
}

#[test]
fn each_cycle_is_shown_once_and_a_long_one_is_shortened() {
    let edge = |name: &str, after: &[&str]| (name.to_owned(), after.iter().map(|&name| name.to_owned()).collect());
    let two_and_a_bridge = [
        edge("a", &["b"]),
        edge("b", &["a"]),
        edge("bridge", &["b"]),
        edge("x", &["bridge", "z"]),
        edge("y", &["x"]),
        edge("z", &["y"]),
        edge("last", &["z"]),
    ];
    let found = messages_about(two_and_a_bridge.into_iter());
    let drawn = |path: &str| format!("the actions wait for each other in a cycle: {path}");
    assert_eq!(found, [drawn("a -> b -> a"), drawn("x -> y -> z -> x")]);

    let chain = |count: usize| (1..count).map(|n| (format!("a{n}"), vec![format!("a{}", n - 1)]));
    assert!(messages_about(chain(1000).chain([("a0".to_owned(), vec![])])).is_empty());
    let ring = chain(1000).chain([("a0".to_owned(), vec!["a999".to_owned()])]);
    let path = "a1 -> a2 -> a3 -> a4 -> a5 -> a6 -> a7 -> a8 -> a9 -> a10 -> a11 -> … -> a1";
    assert_eq!(messages_about(ring), [drawn(path)]);
}

#[test]
fn the_number_of_reported_problems_is_limited() {
    let names = (0..100_000).map(|n| format!("n{n}")).collect();
    assert_eq!(messages_about([("a".to_owned(), names)].into_iter()).len(), MAX_PROBLEMS);
}

#[test]
fn oversized_manifests_are_refused_with_the_limit() {
    let nodes = (0..1001).map(|n| format!("[actions.a{n}]\ncomponent = \"a.wasm\"\n")).collect::<String>();
    let text = format!("manifest_version = 1\npipeline.name = \"p\"\n{nodes}");
    let env = |name: &str| (name == "LONG").then(|| "x".repeat(40 << 10));
    let messages = |text: &str| -> Vec<String> {
        let problems = parse_pinned(text, Path::new("/"), Path::new("/anacostia.toml"), &env).unwrap_err();
        problems.list().iter().map(|problem| problem.message().to_owned()).collect()
    };
    assert_eq!(messages(&text), ["there are 1001 actions; the maximum is 1000"]);

    let params = |key: &str| format!("params = {{ {key} = \"{}\" }}\n", "x".repeat(500 << 10));
    let action = "[actions.a]\ncomponent = \"a.wasm\"\n";
    let text = format!("manifest_version = 1\n[pipeline]\nname = \"p\"\n{}{action}{}", params("a"), params("b"));
    assert!(parse_pinned(&text, Path::new("/"), Path::new("/anacostia.toml"), &env).is_ok());
    let text = text.replace("b = \"", &format!("b = \"{}", "x".repeat(100 << 10)));
    assert_eq!(messages(&text), ["the params of `a` are larger than 1 MiB as JSON"]);

    let text = format!("manifest_version = 1\npipeline.name = \"p\"\n{action}env = {{ A = \"${{LONG}}${{LONG}}\" }}\n");
    assert_eq!(messages(&text), ["`A` is longer than 64 KiB with its variables put in"]);
}

/// A change to a manifest: replaces a line, or inserts after it.
#[derive(Debug, Clone)]
struct Edit {
    line: proptest::sample::Index,
    keep: bool,
    piece: String,
}

/// Generates texts that look like manifests: some are good or bad manifests with a few changes,
/// some are composed of random pieces of all of them.
fn text() -> impl Strategy<Value = String> {
    let whole: Vec<Vec<String>> = each("invalid")
        .into_iter()
        .chain(each("valid"))
        .map(|(_, text)| String::from_utf8(text).unwrap().split_inclusive('\n').map(str::to_owned).collect())
        .collect();
    let piece = prop_oneof![
        8 => proptest::sample::select(whole.concat()),
        1 => any::<String>(),
        1 => "[\\[\\]{}\"'=.,#a-z0-9$\\n\\\\ ]{0,20}",
        1 => Just("\u{feff}".to_owned()),
        1 => Just("\r\n".to_owned()),
        1 => Just(String::new()),
    ];
    let edit = (any::<proptest::sample::Index>(), any::<bool>(), piece.clone());
    let edit = edit.prop_map(|(line, keep, piece)| Edit { line, keep, piece });
    let changed =
        (proptest::sample::select(whole), proptest::collection::vec(edit, 0..4)).prop_map(|(mut lines, edits)| {
            lines.push(String::new());
            for Edit { line, keep, piece } in edits {
                let place = line.index(lines.len());
                let line = &mut lines[place];
                *line = if keep { format!("{line}{piece}") } else { piece };
            }
            lines.concat()
        });
    let heap = proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat());
    prop_oneof![3 => changed, 1 => heap]
}

thread_local! {
    static HOUSE: TempDir = house();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_panic_and_every_span_is_in_bounds(text in text(), cut in 0usize..2000, color: bool) {
        let cut = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        for text in [text.as_str(), &text[cut..]] {
            let loaded = HOUSE.with(|house| load_text(house, "m.toml", text.as_bytes(), LoadOptions::default()));
            if let Err(problems) = loaded {
                prop_assert!(!problems.list().is_empty());
                for problem in problems.list() {
                    prop_assert!(problem.location().is_some(), "{problem}");
                    for span in problem.spans() {
                        prop_assert!(text.get(span.clone()).is_some(), "{span:?} of {problem}");
                    }
                }
                prop_assert!(!problems.render(80, color).is_empty());
            }
        }
    }

    #[test]
    fn no_component_makes_the_inspection_panic(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8),
        length: proptest::sample::Index,
    ) {
        let mut bytes = HOUSE.with(|house| fs::read(house.path().join("good.wasm")).unwrap());
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        for bytes in [&bytes[..], &bytes[..length.index(bytes.len())]] {
            if let Ok(info) = inspect(bytes) {
                prop_assert_eq!(info.size, bytes.len() as u64);
                prop_assert!(info.needs().count() == info.imports.len());
            }
        }
    }
}
