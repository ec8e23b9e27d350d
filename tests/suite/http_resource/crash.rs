//! `kill -9` at every fault point and at random, while an endpoint is polled and outputs are sent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anacostia::base::Digest;
use anacostia::resource::http::FAULT_POINTS;

use super::origin::Origin;
use super::versions;
use crate::support::app::TestApp;
use crate::support::wait::wait_until;

const SEED: u64 = 17;
const RANDOM_KILLS: u32 = 12;

fn relays(origin: &Origin) -> TestApp {
    let url = format!("http://{}", origin.address);
    let manifest = format!(
        r#"
manifest_version = 1
[pipeline]
name = "relays"
[resources.api]
kind = "http"
url = "{url}/items.json"
interval = "100ms"
watch = true
[resources.registry]
kind = "http"
url = "{url}/models"
method = "PUT"
[actions.copy]
component = "worker.wasm"
after = ["api"]
reads = ["api"]
writes = ["registry"]
params = {{ steps = [{{ do = "copy", from = "api", to = "registry", overwrite = true }}] }}
"#
    );
    TestApp::new(&manifest).with_guest("worker")
}

#[test]
fn a_host_that_dies_again_and_again_claims_each_version_once_and_sends_each_output() {
    let origin = Origin::start();
    let mut app = relays(&origin);
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut next = {
        let (mut version, origin) = (0, &origin);
        move || {
            version += 1;
            origin.put_text("/items.json", &format!("version {version}"));
            version
        }
    };
    for point in FAULT_POINTS.iter().filter(|point| !point.starts_with("http.upload")) {
        next();
        app.die_at(&format!("{point}:1"));
    }
    for _ in 0..RANDOM_KILLS {
        next();
        app.start();
        // The kill comes at any moment, not when something is ready.
        std::thread::sleep(Duration::from_millis(random.u64(0..200)));
        app.kill();
    }
    let last = next();
    app.start();
    let body = format!("version {last}").into_bytes();
    wait_until("the last version to be sent", || origin.brought().iter().any(|request| request.body == body));
    wait_until("all runs to end", || {
        versions(&app).iter().all(|(_, _, state)| state == "old" || state == "superseded")
    });
    app.wait_for_runs(1);

    let mut claimed = BTreeSet::new();
    for run in app.get_all("/api/v1/runs") {
        for input in app.get(&format!("/api/v1/runs/{}", run["number"]))["inputs"].as_array().unwrap() {
            assert!(claimed.insert(input["id"].to_string()), "seed {SEED}: {input} is claimed twice");
        }
    }
    let digests: BTreeSet<String> =
        app.get_all("/api/v1/artifacts?resource=api").iter().map(|it| it["digest"].to_string()).collect();
    assert_eq!(digests.len(), versions(&app).len(), "seed {SEED}: a version is there twice");
    let sent: BTreeMap<String, String> = origin
        .brought()
        .into_iter()
        .map(|request| (request.headers["idempotency-key"].clone(), Digest::of(&request.body).to_string()))
        .collect();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let outputs: BTreeMap<String, String> = app
        .get_all("/api/v1/artifacts?resource=registry")
        .iter()
        .map(|output| (text(&output["id"]), text(&output["digest"])))
        .collect();
    assert_eq!(sent, outputs, "seed {SEED}: what was sent is what is on record");
}
