//! The model registry: versions that actions publish or people register, aliases that both move,
//! over HTTP, on the command line and on the page, with and without a host.

use std::fs;
use std::process::Output;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::pages;

/// A file that is dropped leads to a run, which writes a model and makes it the candidate.
fn app(retention: &str) -> TestApp {
    let manifest = format!(
        r#"
manifest_version = 1
[pipeline]
name = "birds"
{retention}
[resources.inbox]
kind = "folder"
path = "inbox"
watch = true
trigger = {{ max_artifacts = 1 }}
[resources.models]
kind = "folder"
path = "models"
model = "penguins"
[actions.train]
component = "worker.wasm"
after = ["inbox"]
reads = ["inbox"]
writes = ["models"]
params = {{ steps = [
    {{ do = "metrics", name = "accuracy", values = [0.5, 0.75] }},
    {{ do = "write", to = "models", path = "model-{{run}}.json", text = "model {{run}}", tag = "candidate", unique = true }},
] }}
"#
    );
    let mut app = TestApp::new(&manifest).with_guest("worker");
    app.set_env("USER", "ann");
    fs::create_dir(app.path("inbox")).unwrap();
    app
}

/// Makes `count` runs, one after the other.
fn train(app: &TestApp, count: usize) {
    let before = app.get_all("/api/v1/runs").len();
    for run in before + 1..=before + count {
        app.drop_file(&format!("inbox/{run}.csv"), format!("rows of {run}").as_bytes());
        app.wait_for_runs(run);
    }
}

/// Sends JSON, and returns the status and the answer.
fn send(app: &TestApp, put: bool, path: &str, body: &Value) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let url = format!("{}{path}", app.url());
    let sent = if put { agent.put(url).send_json(body) } else { agent.post(url).send_json(body) };
    let mut answer = sent.unwrap();
    (answer.status().as_u16(), answer.body_mut().read_json().unwrap())
}

fn post(app: &TestApp, path: &str, body: &Value) -> (u16, Value) {
    send(app, false, path, body)
}

/// The aliases of `penguins` with their versions.
fn aliases(app: &TestApp) -> Vec<(String, u64)> {
    let model = app.cli_json(&["models", "show", "penguins", "--json", "PATH"])["model"].clone();
    let aliases = model["aliases"].as_array().unwrap().iter();
    aliases.map(|it| (it["alias"].as_str().unwrap().to_owned(), it["version"].as_u64().unwrap())).collect()
}

/// The path in `models` that has a tag.
fn tagged(app: &TestApp, tag: &str) -> Vec<String> {
    let found = app.cli_json(&["artifacts", "list", "--resource", "models", "--tag", tag, "--json", "PATH"]);
    found["items"].as_array().unwrap().iter().map(|it| it["path"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn ends_with(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{error}");
    (out, error)
}

/// Asserts what a command prints, and returns nothing.
#[track_caller]
fn says(app: &TestApp, args: &[&str], expected: &str) {
    let args: Vec<&str> = args.iter().copied().chain(["PATH"]).collect();
    assert_eq!(ends_with(&app.cli(&args), 0).0, expected, "{args:?}");
}

/// Asserts how a command is refused.
#[track_caller]
fn is_refused(app: &TestApp, args: &[&str], code: i32, expected: &str) {
    let args: Vec<&str> = args.iter().copied().chain(["PATH"]).collect();
    assert_eq!(ends_with(&app.cli(&args), code).1, format!("error: {expected}\n"), "{args:?}");
}

fn stop(app: &mut TestApp) {
    app.signal(Signal::TERM);
    assert!(app.wait_for_end().success());
}

#[test]
fn outputs_become_versions_and_aliases_are_moved_by_actions_and_by_people() {
    let mut app = app("");
    app.start();
    train(&app, 3);
    let versions = app.get_all("/api/v1/models/penguins/versions");
    let told: Vec<Value> = versions
        .iter()
        .map(|it| json!([it["version"], it["artifact"]["path"], it["run_number"], it["action"]]))
        .collect();
    let model = |n: u64| json!([n, format!("model-{n}.json"), n, "train"]);
    assert_eq!(told, [model(3), model(2), model(1)]);
    assert_eq!(aliases(&app), [("candidate".to_owned(), 3)]);

    says(&app, &["models", "promote", "penguins", "2", "production"], "production of penguins is version 2 now\n");
    says(&app, &["models", "promote", "penguins", "2", "production"], "production of penguins is version 2 already\n");
    let by = ["--by", "bob", "--note", " better on all species "];
    let promote = [&["models", "promote", "penguins", "candidate", "production"], by.as_slice()].concat();
    says(&app, &promote, "production of penguins is version 3 now (was 2)\n");
    assert_eq!(
        (aliases(&app), tagged(&app, "production")),
        (vec![("candidate".to_owned(), 3), ("production".to_owned(), 3)], vec!["model-3.json".to_owned()],)
    );
    // An action that trains again moves only its own alias.
    train(&app, 1);
    assert_eq!(aliases(&app), [("candidate".to_owned(), 4), ("production".to_owned(), 3)]);
    says(
        &app,
        &["models", "rollback", "penguins", "production"],
        "production of penguins is version 2 again (was 3)\n",
    );
    says(&app, &["models", "rollback", "penguins", "candidate"], "candidate of penguins is version 3 again (was 4)\n");
    assert_eq!(
        (tagged(&app, "production"), tagged(&app, "candidate")),
        (vec!["model-2.json".to_owned()], vec!["model-3.json".to_owned()])
    );

    let moves = app.get_all("/api/v1/models/penguins/moves");
    let told: Vec<Value> = moves
        .iter()
        .map(|it| {
            json!([it["alias"], it["version"], it["before"], it["rolled_back"], it["by"], it["note"], it["run_number"]])
        })
        .collect();
    assert_eq!(
        told,
        [
            json!(["candidate", 3, 4, true, "ann", null, null]),
            json!(["production", 2, 3, true, "ann", null, null]),
            json!(["candidate", 4, 3, false, null, null, 4]),
            json!(["production", 3, 2, false, "bob", "better on all species", null]),
            json!(["production", 2, null, false, "ann", null, null]),
            json!(["candidate", 3, 2, false, null, null, 3]),
            json!(["candidate", 2, 1, false, null, null, 2]),
            json!(["candidate", 1, null, false, null, null, 1]),
        ]
    );
    let (shown, _) = ends_with(&app.cli(&["models", "show", "penguins", "--metric", "accuracy", "PATH"]), 0);
    for part in
        ["  production is version 2, since ", "models/model-2.json", "0.75", "rolled back", "train in run #4", "bob"]
    {
        assert!(shown.contains(part), "`{part}` is not in:\n{shown}");
    }
    let (listed, _) = ends_with(&app.cli(&["models", "list", "PATH"]), 0);
    assert!(listed.contains("candidate = 3, production = 2"), "{listed}");
}

#[test]
fn the_registry_is_changed_without_a_host_too() {
    let mut app = app("");
    let (_, error) = ends_with(&app.cli(&["models", "list", "PATH"]), 2);
    assert!(error.contains("nothing is on record yet"), "{error}");
    app.start();
    train(&app, 2);
    stop(&mut app);
    let empty = json!({ "items": [], "next_cursor": null });
    assert_eq!(app.cli_json(&["models", "list", "--cursor", "penguins", "--json", "PATH"]), empty);
    says(&app, &["models", "register", "others", "inbox/2.csv"], "others version 1 is inbox/2.csv v1\n");
    let again = app.cli_json(&["models", "register", "others", "inbox/2.csv", "--note", "again", "--json", "PATH"]);
    assert_eq!((&again["version"], &again["by"], &again["note"]), (&json!(1), &json!("ann"), &Value::Null));
    says(&app, &["models", "promote", "penguins", "v1", "production"], "production of penguins is version 1 now\n");
    let moved = app.cli_json(&["models", "promote", "penguins", "latest", "production", "--json", "PATH"]);
    assert_eq!((&moved["version"], &moved["before"], &moved["alias"]), (&json!(2), &json!(1), &json!("production")));
    says(
        &app,
        &["models", "rollback", "penguins", "production"],
        "production of penguins is version 1 again (was 2)\n",
    );
    app.drop_file("card.md", b"# Penguins\n\nTells <b>three</b> species apart.\n");
    let card = app.path("card.md");
    let card = card.to_str().unwrap();
    says(&app, &["models", "card", "penguins", card], &format!("penguins has the card {card}\n"));
    assert_eq!(tagged(&app, "production"), ["model-1.json"]);

    // What a host does is the same, with its own answers.
    app.start();
    assert_eq!(app.get("/api/v1/models/penguins")["card"], "# Penguins\n\nTells <b>three</b> species apart.\n");
    says(&app, &["models", "register", "others", "inbox/1.csv"], "others version 2 is inbox/1.csv v1\n");
    fs::write(card, "other").unwrap();
    let model = app.cli_json(&["models", "card", "penguins", card, "--json", "PATH"]);
    assert_eq!((&model["card"], &model["newest_version"]), (&json!("other"), &json!(2)));
}

#[test]
fn what_the_registry_refuses_is_said_word_for_word() {
    let mut app = app("");
    app.start();
    let (_, error) = ends_with(&app.cli(&["models", "list", "PATH"]), 0);
    let none = "no models yet: add `model = \"NAME\"` to the resource that an action publishes its models to, or register \
                an artifact with `anacostia models register`\n";
    assert_eq!(error, none);
    train(&app, 1);
    for host in [true, false] {
        if !host {
            stop(&mut app);
        }
        is_refused(&app, &["models", "show", "penguin"], 2, "there is no model `penguin`; did you mean `penguins`?");
        let list = "`anacostia models list` shows those on record";
        is_refused(&app, &["models", "rollback", "x", "production"], 2, &format!("there is no model `x`; {list}"));
        let newest = "`penguins` has no version 7: its newest is 1";
        is_refused(&app, &["models", "promote", "penguins", "7", "production"], 2, newest);
        let alias = "`penguins` has no alias `production`; it has candidate";
        is_refused(&app, &["models", "rollback", "penguins", "production"], 2, alias);
        let nothing = "`candidate` of `penguins` has named no version before 1, so there is nothing to roll back to";
        let refused = if host {
            format!("the host at {} refused: {nothing}", app.url().trim_start_matches("http://"))
        } else {
            nothing.to_owned()
        };
        is_refused(&app, &["models", "rollback", "penguins", "candidate"], 1, &refused);
        let missing = "there is no artifact `inbox/x`; `anacostia artifacts list` shows what is on record";
        is_refused(&app, &["models", "register", "penguins", "inbox/x"], 2, missing);
        let long = "an alias has 1 to 100 bytes, and no control characters";
        is_refused(&app, &["models", "promote", "penguins", "1", &"a".repeat(101)], 2, long);
        let card = app.path("no-card.md");
        let card = card.to_str().unwrap();
        let missing = format!("failed to read the model card {card}: No such file or directory (os error 2)");
        is_refused(&app, &["models", "card", "penguins", card], 2, &missing);
    }
    let (_, error) = ends_with(&app.cli(&["models", "card", "No", "x", "PATH"]), 2);
    assert!(error.contains("invalid value 'No' for '<MODEL>': a name starts with a letter a-z"), "{error}");
}

#[test]
fn the_api_refuses_what_makes_no_sense() {
    let mut app = app("");
    app.start();
    train(&app, 1);
    let detail = |(status, problem): (u16, Value)| (status, problem["detail"].as_str().unwrap().to_owned());
    let (status, problem) = post(&app, "/api/v1/models/penguin/promote", &json!({ "alias": "a", "version": 1 }));
    assert_eq!((status, &problem["did_you_mean"]), (404, &json!("penguins")));
    let promote = |body: Value| detail(post(&app, "/api/v1/models/penguins/promote", &body));
    assert_eq!(
        promote(json!({ "alias": "production", "version": 2 })),
        (409, "`penguins` has no version 2: its newest is 1".to_owned())
    );
    assert_eq!(promote(json!({ "alias": "a\n", "version": 1 })).0, 400);
    assert_eq!(promote(json!({ "alias": "a", "version": 1, "by": "a".repeat(201) })).0, 400);
    assert_eq!(promote(json!({ "version": 1 })).0, 400);
    let register = |body: Value| detail(post(&app, "/api/v1/models/others/versions", &body));
    let none = "the body has no `artifact_id`, the artifact that becomes a version";
    assert_eq!(register(json!({})), (400, none.to_owned()));
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    assert_eq!(register(json!({ "artifact_id": unknown })), (409, format!("there is no artifact {unknown}")));
    assert_eq!(send(&app, true, "/api/v1/models/No", &json!({ "card": "x" })).0, 400);
    let (status, model) = send(&app, true, "/api/v1/models/others", &json!({ "card": "x" }));
    assert_eq!((status, &model["card"], &model["newest_version"]), (200, &json!("x"), &json!(0)));
    let (status, model) = send(&app, true, "/api/v1/models/others", &json!({}));
    assert_eq!((status, &model["card"]), (200, &json!("x")), "without a card it stays");
}

#[test]
fn runs_that_wrote_a_version_outlive_the_retention() {
    let mut app = app("[retention]\nruns = { keep_last = 1 }");
    app.start();
    train(&app, 3);
    assert!(app.cli(&["gc", "PATH"]).status.success());
    let numbers: Vec<Value> = app.get_all("/api/v1/runs").iter().map(|run| run["number"].clone()).collect();
    assert_eq!(numbers, [json!(3), json!(2), json!(1)]);
    assert_eq!(app.get_all("/api/v1/metrics?run=1").len(), 2, "with their metrics");
}

#[test]
fn the_page_of_a_model_shows_it_and_moves_its_aliases() {
    let mut app = app("");
    app.start();
    pages::has(&pages::page(&app, "/models"), &["No models yet.", "anacostia models register"]);
    assert_eq!(pages::html(&app, "/models/penguins").0, 404);
    train(&app, 2);
    let card = json!({ "card": "Not for *other* birds. <script>alert(1)</script>" });
    assert_eq!(send(&app, true, "/api/v1/models/penguins", &card).0, 200);
    let list = pages::page(&app, "/models");
    pages::has(&list, &["href=\"/models/penguins\"", "<b>candidate</b> 2", "aria-current=\"page\""]);
    let page = pages::page(&app, "/models/penguins");
    let parts = [
        "version 2</span>",
        "models/model-1.json",
        "accuracy",
        "0.75",
        "Not for <em>other</em> birds. &lt;script&gt;",
        "Roll candidate back to version 1?",
        "<a href=\"/runs/2\">run 2</a>",
    ];
    pages::has(&page, &parts);
    pages::obeys(&page);

    let (status, location, _) =
        pages::submit(&app, "/models/penguins/promote", "alias=production&version=1&by=eve&note=first");
    assert_eq!((status, location.as_str()), (303, "/models/penguins"));
    assert_eq!(aliases(&app), [("candidate".to_owned(), 2), ("production".to_owned(), 1)]);
    let (status, location, _) = pages::submit(&app, "/models/penguins/rollback", "alias=candidate&by=&note=");
    assert_eq!((status, location.as_str()), (303, "/models/penguins"));
    pages::has(&pages::page(&app, "/models/penguins"), &["rolled back", "not said", "eve", "first"]);
    let refused = pages::submit(&app, "/models/penguins/rollback", "alias=production");
    assert_eq!(refused.0, 409);
    pages::has(&refused.2, &["has named no version before 1, so there is nothing to roll back to", "role=\"alert\""]);
    assert_eq!(pages::submit(&app, "/models/penguins/promote", "alias=production&version=x").0, 400);
    assert_eq!(pages::submit(&app, "/models/nothing/promote", "alias=production&version=1").0, 404);
    assert_eq!(
        pages::submit_from(&app, "http://evil.example.com", "/models/penguins/promote", "alias=a&version=1").0,
        403
    );
}
