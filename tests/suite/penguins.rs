//! The example `penguins`: the real pipeline on the real data, in its own folders. The example's
//! script fetches the data once.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::postgres::Database;
use crate::support::redis_server;
use crate::support::s3::{KEY_ID, SECRET, Service, TestBucket};

const COMPONENTS: [(&str, &str); 4] = [
    ("clean.wasm", "penguins/clean"),
    ("train.wasm", "penguins/train"),
    ("evaluate.wasm", "penguins/evaluate"),
    ("promote.wasm", "penguins/promote"),
];

/// A day whose model is promoted, early in the data: 2007-11-27, on which no row is rejected.
const EVENTFUL_DAY: usize = 13;

/// The digests of the artifacts in a resource, by path.
type Digests = BTreeMap<String, String>;

/// Returns the daily files of the Palmer penguins, in the order of the days: name and content.
static DAYS: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join("scripts/python"))
        .arg(root.join("guest-examples/pipelines/penguins/daily-files.py"))
        .output()
        .expect("scripts/python starts");
    assert!(output.status.success(), "the data cannot be fetched:\n{}", String::from_utf8_lossy(&output.stderr));
    let folder = String::from_utf8(output.stdout).unwrap();
    let mut days: Vec<_> = fs::read_dir(folder.trim_end())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    days.sort();
    days
});

/// Returns the results of an undisturbed host for the first days.
static UNINTERRUPTED: LazyLock<Results> = LazyLock::new(|| {
    let app = start();
    drop_days(&app, 0, EVENTFUL_DAY);
    Results::of(&app)
});

/// The results of a host for its first days: everything that must not depend on when and where it
/// runs.
#[derive(Debug, PartialEq)]
struct Results {
    /// By resource.
    artifacts: BTreeMap<&'static str, Digests>,
    /// The name, state and reason of each action, by run.
    actions: Vec<Vec<[Value; 3]>>,
    /// The metrics of the last run.
    metrics: BTreeMap<&'static str, Vec<f64>>,
}

impl Results {
    fn of(app: &TestApp) -> Self {
        let resources = ["cleaned", "candidates", "evaluations", "models", "reports"];
        let names = ["training_rows", "holdout_accuracy", "holdout_accuracy_in_use", "precision_gentoo"];
        let run = EVENTFUL_DAY.to_string();
        Self {
            artifacts: resources.map(|name| (name, artifacts(app, &format!("resource={name}")))).into(),
            actions: (1..=EVENTFUL_DAY).map(|run| actions(app, run)).collect(),
            metrics: names.map(|name| (name, metric(app, name, &run))).into(),
        }
    }
}

/// Returns the name, state and reason of each action of a run.
fn actions(app: &TestApp, run: usize) -> Vec<[Value; 3]> {
    let run = app.get(&format!("/api/v1/runs/{run}"));
    let actions = run["actions"].as_array().unwrap();
    actions.iter().map(|action| ["name", "state", "reason"].map(|key| action[key].clone())).collect()
}

fn start() -> TestApp {
    let mut app = TestApp::example("penguins", &COMPONENTS);
    app.start();
    app
}

/// Drops days, each after the run of the one before has ended.
fn drop_days(app: &TestApp, from: usize, to: usize) {
    for (place, (name, content)) in DAYS.iter().enumerate().take(to).skip(from) {
        app.drop_file(&format!("data/raw/{name}"), content);
        let runs = app.wait_for_runs(place + 1);
        assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{runs:?}");
    }
}

fn artifacts(app: &TestApp, query: &str) -> Digests {
    let text = |artifact: &Value, key: &str| artifact[key].as_str().unwrap().to_owned();
    let all = app.get_all(&format!("/api/v1/artifacts?{query}"));
    all.iter().map(|artifact| (text(artifact, "path"), text(artifact, "digest"))).collect()
}

/// Returns the values of a metric, oldest first; only those of one run if `run` is set.
fn metric(app: &TestApp, name: &str, run: &str) -> Vec<f64> {
    let query = if run.is_empty() { String::new() } else { format!("&run={run}") };
    let mut records = app.get_all(&format!("/api/v1/metrics?name={name}{query}"));
    records.sort_by_key(|record| record["step"].as_u64());
    records.iter().map(|record| record["value"].as_f64().unwrap()).collect()
}

/// Returns the value of a metric that was recorded once in this run.
fn figure(app: &TestApp, name: &str, run: usize) -> f64 {
    let values = metric(app, name, &run.to_string());
    assert_eq!(values.len(), 1, "{name} of run {run}: {values:?}");
    values[0]
}

/// Returns whether two values are the same. JSON may round the last digit.
fn nearly_equal(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-12
}

#[test]
fn daily_files_lead_to_promotions_skips_and_a_good_model() {
    let app = start();
    drop_days(&app, 0, DAYS.len());
    check_promotions(&app);
    check_accuracy_of_the_last_model(&app);
    check_reports(&app);
}

fn check_promotions(app: &TestApp) {
    let shown = |run: usize| {
        let output = app.cli(&["runs", "show", &run.to_string(), "PATH"]);
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let mut promoted = Vec::new();
    let mut skipped = 0;
    for run in 1..=DAYS.len() {
        let shown = shown(run);
        let model = format!("model-{run:04}.json");
        if shown.contains(&format!("promoted: {model}")) {
            promoted.push(model);
        } else if shown.contains("skip: not promoted: accuracy") {
            skipped += 1;
        }
    }
    assert!(promoted.len() >= 3, "promoted models: {promoted:?}");
    assert!(skipped >= 1);

    let models = artifacts(app, "resource=models");
    assert_eq!(
        models.keys().collect::<Vec<_>>(),
        promoted.iter().collect::<Vec<_>>(),
        "nothing else was written to `models`"
    );
    let candidates = artifacts(app, "resource=candidates");
    assert!(
        models.iter().all(|(path, digest)| candidates.get(path) == Some(digest)),
        "a model is the copy of a candidate"
    );
    let registered: Vec<String> = app
        .get_all("/api/v1/models/penguins/versions")
        .iter()
        .rev()
        .map(|version| version["artifact"]["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(registered, promoted, "each is a version");
    let model = app.get("/api/v1/models/penguins");
    let alias = &model["aliases"][0];
    assert_eq!((&alias["alias"], &alias["version"]), (&"production".into(), &promoted.len().into()));
    let in_use = artifacts(app, "resource=models&tag=production");
    assert_eq!(in_use.into_keys().collect::<Vec<_>>(), promoted[promoted.len() - 1..], "the tag has moved to the last");
}

fn check_accuracy_of_the_last_model(app: &TestApp) {
    let last = DAYS.len();
    let rows = figure(app, "holdout_rows", last);
    assert!(rows > 60.0, "{rows} rows are too few for this claim");
    assert!(figure(app, "holdout_accuracy", last) > 0.95);
    assert!(figure(app, "holdout_accuracy_in_use", last) > 0.95, "the model in use is as accurate");
    // No row is lost, or on both sides.
    let clean: f64 = metric(app, "rows_clean", "").iter().sum();
    let rejected: f64 = metric(app, "rows_rejected", "").iter().sum();
    assert_eq!((clean, rejected), (342.0, 2.0), "two of the 344 penguins were not measured");
    assert!(nearly_equal(figure(app, "training_rows", last) + rows, clean));

    let species = ["adelie", "chinstrap", "gentoo"];
    let taken = |actual: &str, predicted: &str| figure(app, &format!("confusion_{actual}_as_{predicted}"), last);
    let right: f64 = species.iter().map(|species| taken(species, species)).sum();
    assert!(nearly_equal(right / rows, figure(app, "holdout_accuracy", last)));
    for name in species {
        let actual: f64 = species.iter().map(|predicted| taken(name, predicted)).sum();
        let predicted: f64 = species.iter().map(|actual| taken(actual, name)).sum();
        assert!(
            nearly_equal(figure(app, &format!("recall_{name}"), last), taken(name, name) / actual),
            "recall of {name}"
        );
        assert!(
            nearly_equal(figure(app, &format!("precision_{name}"), last), taken(name, name) / predicted),
            "precision of {name}"
        );
    }
    let curve = metric(app, "oob_accuracy", &last.to_string());
    assert_eq!(curve.len(), 10, "a point every ten trees");
    assert!(curve.iter().all(|accuracy| (0.9..=1.0).contains(accuracy)), "{curve:?}");
}

fn check_reports(app: &TestApp) {
    for model in artifacts(app, "resource=models").into_keys() {
        let run = model.trim_start_matches("model-").trim_end_matches(".json").to_owned();
        let page = fs::read_to_string(app.path(&format!("data/reports/report-{run}.md"))).unwrap();
        for part in
            [&format!("# {model} is in use"), "| species |", "| taken for → |", &format!("(accuracy-{run}.svg)")]
        {
            assert!(page.contains(part), "{part} is missing in\n{page}");
        }
        let plot = fs::read_to_string(app.path(&format!("data/reports/accuracy-{run}.svg"))).unwrap();
        assert!(plot.starts_with("<svg ") && plot.ends_with("</svg>\n") && plot.contains("<polyline"), "{plot}");
    }
}

#[test]
fn the_same_files_in_another_folder_give_the_same_models() {
    let app = start();
    drop_days(&app, 0, EVENTFUL_DAY);
    assert_eq!(Results::of(&app), *UNINTERRUPTED);
}

/// Starts a host whose records are in another store, which these keys describe.
fn start_over(store: &str) -> TestApp {
    let sqlite = "[metadata_store]\nkind = \"sqlite\"\npath = \"state/metadata.db\"\n";
    let mut app = TestApp::example_with("penguins", &COMPONENTS, "anacostia.toml", |text| {
        assert!(text.contains(sqlite), "{text}");
        text.replace(sqlite, &format!("[metadata_store]\n{store}\n"))
    });
    app.start();
    app
}

#[test]
fn records_in_postgres_give_the_same_models_and_are_cached() {
    let records = Database::new();
    let app = start_over(&format!("kind = \"postgres\"\nurl = \"{}\"", records.url()));
    check_the_same_over(&app);
}

#[test]
fn records_in_redis_give_the_same_models_and_are_cached() {
    let port = redis_server::server().port;
    let app = start_over(&format!("kind = \"redis\"\nurl = \"redis://127.0.0.1:{port}\"\nprefix = \"penguins\""));
    check_the_same_over(&app);
}

fn check_the_same_over(app: &TestApp) {
    drop_days(app, 0, EVENTFUL_DAY);
    assert_eq!(Results::of(app), *UNINTERRUPTED);
    // The first run promotes its model, and so changes what `evaluate` reads.
    assert_eq!(run_again(app, EVENTFUL_DAY, EVENTFUL_DAY + 1), ["cached", "cached", "succeeded", "succeeded"]);
    assert_eq!(run_again(app, EVENTFUL_DAY, EVENTFUL_DAY + 2), ["cached"; 4]);
}

/// The same components and graph, with every folder in a bucket.
#[tokio::test(flavor = "multi_thread")]
async fn folders_in_a_bucket_give_the_same_models() {
    let bucket = TestBucket::new(Service::SeaweedFs).await;
    let mut app = TestApp::example_manifest("penguins", "s3.toml", &COMPONENTS);
    let settings = [
        ("S3_ENDPOINT", bucket.endpoint.as_str()),
        ("S3_BUCKET", &bucket.name),
        ("S3_KEY_ID", KEY_ID),
        ("S3_SECRET_KEY", SECRET),
    ];
    for (name, value) in settings {
        app.set_env(name, value);
    }
    app.start();
    for (place, (name, content)) in DAYS.iter().enumerate().take(EVENTFUL_DAY) {
        bucket.put(&format!("raw/{name}"), content.clone()).await;
        let runs = app.wait_for_runs(place + 1);
        assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{runs:?}");
    }
    assert_eq!(Results::of(&app), *UNINTERRUPTED);
    let models: Vec<String> = bucket.list().await.into_iter().filter(|key| key.starts_with("models/")).collect();
    let recorded = artifacts(&app, "resource=models");
    assert_eq!(models, recorded.keys().map(|path| format!("models/{path}")).collect::<Vec<_>>());
}

/// The same components and graph, with rows of a table as the input.
#[test]
fn rows_in_postgres_give_the_same_models() {
    let data = Database::new();
    data.execute(include_str!("../../guest-examples/pipelines/penguins/postgres.sql"));
    let mut app = TestApp::example_manifest("penguins", "postgres.toml", &COMPONENTS);
    app.set_env("DATABASE_URL", &data.url());
    app.set_env("PGPASSWORD", "none is needed");
    app.start();
    for (place, (_, content)) in DAYS.iter().enumerate().take(EVENTFUL_DAY) {
        let names = std::str::from_utf8(content).unwrap().lines().next().unwrap();
        let columns = names.split(',').map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let copy = format!("copy penguins ({columns}) from stdin (format csv, header, null 'NA')");
        data.copy(&copy, content.clone());
        let runs = app.wait_for_runs(place + 1);
        assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{runs:?}");
    }
    let mut results = Results::of(&app);
    // The rows of a day are the same, at a path that says which rows they are, not which day.
    let days = UNINTERRUPTED.artifacts["cleaned"].keys().cloned();
    let cleaned = results.artifacts.remove("cleaned").unwrap().into_values();
    results.artifacts.insert("cleaned", days.zip(cleaned).collect());
    assert_eq!(results, *UNINTERRUPTED);
}

#[test]
fn a_killed_training_resumes_without_cleaning_again_and_gives_the_same_model() {
    let mut app = start();
    drop_days(&app, 0, EVENTFUL_DAY - 1);
    app.signal(Signal::TERM);
    assert!(app.wait_for_end().success());
    // The first write of this run is by `clean`, and the second by `train`, which has recorded its
    // curve by then and is writing its model.
    app.set_env("ANACOSTIA_FAULT", "stage.write:2");
    app.start();
    let (name, content) = &DAYS[EVENTFUL_DAY - 1];
    app.drop_file(&format!("data/raw/{name}"), content);
    assert_eq!(app.wait_for_end().signal(), Some(Signal::KILL.as_raw()), "the host is killed in the middle");
    app.unset_env("ANACOSTIA_FAULT");
    app.start();
    app.wait_for_runs(EVENTFUL_DAY);

    let run = app.get(&format!("/api/v1/runs/{EVENTFUL_DAY}"));
    let attempts = |action: usize| -> Vec<&str> {
        let attempts = run["actions"][action]["attempts"].as_array().unwrap();
        attempts.iter().map(|attempt| attempt["state"].as_str().unwrap()).collect()
    };
    assert_eq!(run["state"], "succeeded");
    assert_eq!(attempts(0), ["succeeded"], "`clean` was not run again");
    assert_eq!(attempts(1), ["crashed", "succeeded"], "`train` was");
    assert_eq!(Results::of(&app), *UNINTERRUPTED);
}

#[test]
fn bad_rows_are_rejected_with_a_reason_and_a_wrong_file_fails() {
    let app = start();
    let header = "Species,Comments,Culmen Length (mm),Culmen Depth (mm),Flipper Length (mm),Body Mass (g)";
    let rows = [
        ("Gentoo penguin (Pygoscelis papua),\"big, calm\",46.1,13.2,211,4500", None),
        ("Gentoo penguin (Pygoscelis papua),again,46.1,13.2,211,4500", Some("duplicate")),
        ("Adelie Penguin (Pygoscelis adeliae),,NA,18.7,181,3750", Some("missing")),
        ("Adelie Penguin (Pygoscelis adeliae),,39.1,18.7,1e1x,3750", Some("not_a_number")),
        ("Adelie Penguin (Pygoscelis adeliae),,39.1,18.7,181,3.75", Some("out_of_range")),
        ("Adelie Penguin (Pygoscelis adeliae),,39.1,NaN,181,3750", Some("out_of_range")),
        ("Emperor,,39.1,18.7,181,3750", Some("unknown_species")),
        ("Adelie Penguin (Pygoscelis adeliae),39.1", Some("malformed")),
    ];
    let lines: String = rows.iter().map(|(row, _)| format!("{row}\n")).collect();
    app.drop_file("data/raw/bad.csv", format!("{header}\n{lines}").as_bytes());
    app.wait_for_runs(1);
    let bad = rows.iter().filter_map(|(row, reason)| reason.map(|reason| format!("{row},{reason}\n")));
    let expected = format!("{header},reason\n{}", bad.collect::<String>());
    assert_eq!(fs::read_to_string(app.path("data/rejected/bad.csv")).unwrap(), expected);
    let clean = fs::read_to_string(app.path("data/cleaned/bad.csv")).unwrap();
    assert_eq!(
        clean,
        "species,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g\nGentoo,46.1,13.2,211.0,4500.0\n"
    );
    for (reason, count) in [("duplicate", 1.0), ("missing", 1.0), ("out_of_range", 2.0), ("malformed", 1.0)] {
        assert!(nearly_equal(figure(&app, &format!("rejected_{reason}"), 1), count), "{reason}");
    }
    assert_eq!((figure(&app, "rows_clean", 1), figure(&app, "rows_rejected", 1)), (1.0, 7.0));

    app.drop_file("data/raw/birds.csv", b"name,colour\nrobin,red\n");
    let runs = app.wait_for_runs(2);
    assert_eq!(runs[1]["state"], "failed");
    let text = app.get("/api/v1/runs/2").to_string();
    assert!(text.contains("birds.csv has no column"), "{text}");
}

/// Starts a run on the inputs of another one, and returns the states of its actions.
fn run_again(app: &TestApp, run: usize, expected: usize) -> Vec<Value> {
    let output = app.cli(&["runs", "retry", &run.to_string(), "PATH", "--current"]);
    assert!(output.status.success(), "{output:?}");
    app.wait_for_runs(expected);
    actions(app, expected).into_iter().map(|[_, state, _]| state).collect()
}

/// A run that promotes its model changes what it has read itself: the model in use. So the next one
/// on the same day evaluates again. All others are cached.
#[test]
fn a_second_run_on_the_same_data_is_cached() {
    let app = start();
    let (eventful, quiet) = (EVENTFUL_DAY, EVENTFUL_DAY + 1);
    drop_days(&app, 0, quiet);
    assert_eq!(run_again(&app, quiet, 15), ["cached"; 4]);
    let curve = |run: usize| metric(&app, "oob_accuracy", &run.to_string());
    assert_eq!((curve(15), curve(15).len()), (curve(quiet), 10));
    drop(app);

    let app = start();
    drop_days(&app, 0, eventful);
    assert_eq!(run_again(&app, eventful, 14), ["cached", "cached", "succeeded", "succeeded"]);
    assert_eq!(run_again(&app, eventful, 15), ["cached"; 4]);
}

/// `evaluate` of the eventful day has read the model in use, which is no longer the one with the
/// tag `production`.
#[test]
fn replays_of_the_first_model_and_of_a_promotion_are_identical() {
    let app = start();
    drop_days(&app, 0, EVENTFUL_DAY);
    for run in [1, 8, EVENTFUL_DAY] {
        let output = app.cli(&["replay", &run.to_string(), "PATH"]);
        assert!(output.status.success(), "run {run}: {output:?}");
    }
}
