//! Everything on one core: the host, eight guests that use all resources they can get, and an
//! honest one. The honest action completes, and the HTTP API responds, while all eight are still
//! running.
//!
//! The test does not measure time to decide: either what was promised happens before the limits of
//! the eight are used up, or the test fails. How long it took is printed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::wait::{wait_for, wait_until};

const GUESTS: usize = 8;
/// The number of requests of each kind.
const REQUESTS: usize = 60;

/// Eight actions on `bait`, each with one of these params in turn, and an honest one on `raw`.
fn manifest(hostile: &[&str]) -> String {
    let mut text = r#"
manifest_version = 1
[pipeline]
name = "fairness"
join = "any"
max_concurrent_runs = 2
[resources.bait]
kind = "folder"
path = "bait"
watch = true
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.out]
kind = "folder"
path = "out"
[actions.honest]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["out"]
params = { steps = [{ do = "copy", from = "raw", to = "out" }, { do = "spin", rounds = 20000000 }] }
"#
    .to_owned();
    for (number, params) in hostile.iter().cycle().take(GUESTS).enumerate() {
        text.push_str(&format!(
            r#"
[actions.hostile{number}]
component = "hostile.wasm"
after = ["bait"]
reads = ["bait"]
params = {{ from = "bait", {params} }}
limits = {{ cpu = "2m", wall = "10m", log = "1GiB" }}
"#
        ));
    }
    text
}

/// Returns how many of the eight are running.
fn running(app: &TestApp) -> usize {
    let (status, run) = app.try_get("/api/v1/runs/1").unwrap();
    let Some(actions) = run["actions"].as_array().filter(|_| status == 200) else { return 0 };
    actions.iter().filter(|action| action["name"] != "honest" && action["state"] == "running").count()
}

/// Returns the median, the 95th percentile, and the maximum of the times.
fn percentiles(mut times: Vec<Duration>) -> [Duration; 3] {
    times.sort_unstable();
    let last = times.len() - 1;
    [times[last / 2], times[last * 95 / 100], times[last]]
}

fn answers(app: &TestApp, path: &str) -> Value {
    let times = (0..REQUESTS).map(|_| {
        let began = Instant::now();
        app.get(path);
        began.elapsed()
    });
    let [half, most, all] = percentiles(times.collect()).map(|time| time.as_secs_f64() * 1000.0);
    json!({ "path": path, "p50_ms": half, "p95_ms": most, "max_ms": all })
}

fn measure_with(kind: &str, hostile: &[&str]) {
    let mut app = TestApp::new(&manifest(hostile)).with_guest("hostile").with_guest("worker");
    app.start_on_one_core();
    app.drop_file("bait/bait.txt", b"bait");
    wait_until("eight hostile guests to be running", || running(&app) == GUESTS);

    for path in ["/healthz", "/api/v1/runs"] {
        println!("beside {kind}: {}", answers(&app, path));
    }
    assert_eq!(running(&app), GUESTS, "the API responded while all of them were running");

    let began = Instant::now();
    app.drop_file("raw/a.csv", b"1,2,3\n");
    let done = wait_for("the honest run to end", || {
        let runs = app.get_all("/api/v1/runs");
        runs.into_iter().find(|run| run["number"] == 2 && run["ended_at"].is_string())
    });
    println!("beside {kind}: an honest run took {} ms", began.elapsed().as_millis());
    assert_eq!(done["state"], "succeeded", "{done:#}");
    assert_eq!(std::fs::read(app.path("out/a.csv")).unwrap(), b"1,2,3\n");
    assert_eq!(running(&app), GUESTS, "the honest action ended while all of them were running");

    // They can be cancelled like any other.
    let run = app.get("/api/v1/runs/1");
    let id = run["id"].as_str().unwrap();
    assert_eq!(app.post(&format!("/api/v1/runs/{id}/cancel")).0, 200);
    wait_until("the hostile run to be cancelled", || app.get("/api/v1/runs/1")["state"] == "cancelled");
}

#[test]
fn eight_spinning_guests_do_not_starve_another_on_one_core() {
    measure_with("eight that spin", &["mode = \"spin\""]);
}

#[test]
fn eight_guests_in_endless_host_calls_do_not_starve_another() {
    measure_with("eight that call the host", &["mode = \"spin_in_host\"", "mode = \"list\""]);
}

#[test]
fn eight_flooding_guests_do_not_starve_another() {
    measure_with(
        "eight that flood",
        &[
            "mode = \"fill\", bytes = 67108864",
            "mode = \"progress\", times = 18446744073709551",
            "mode = \"stderr\"",
            "mode = \"denials\", other = \"out\", times = 18446744073709551",
        ],
    );
}
