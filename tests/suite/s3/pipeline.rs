//! Pipelines between buckets: the real binary, a real service, and a proxy between them that fails.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anacostia::resource::s3::FAULT_POINTS;
use rustix::process::Signal;

use super::over_each_service;
use crate::support::app::TestApp;
use crate::support::proxy::{Fault, Proxy};
use crate::support::s3::{KEY_ID, SECRET, Service, TestBucket};
use crate::support::wait::wait_until;

/// More than one part of an upload.
pub(super) const LARGE: usize = (16 << 20) + 7;

over_each_service!(
    a_host_that_is_killed_while_it_uploads_parts_publishes_once,
    outputs_are_new_in_a_watched_prefix_only_with_retrigger,
);

/// A pipeline that copies what arrives under `in/` of a bucket to `out/`, through a proxy.
pub(super) struct Copying {
    pub(super) bucket: TestBucket,
    pub(super) proxy: Proxy,
    pub(super) app: TestApp,
    /// What was put under `in/`, by path.
    inputs: BTreeMap<String, Vec<u8>>,
}

impl Copying {
    pub(super) async fn new(service: Service) -> Self {
        Self::with_keys(service, |bucket, proxy| bucket.keys(&proxy.url())).await
    }

    /// The same with these keys of both resources, which lead to the bucket through the proxy.
    pub(super) async fn with_keys(service: Service, keys: impl FnOnce(&TestBucket, &Proxy) -> String) -> Self {
        let bucket = TestBucket::new(service).await;
        let proxy = Proxy::http(bucket.endpoint.strip_prefix("http://").unwrap().parse().unwrap());
        let keys = keys(&bucket, &proxy);
        let manifest = format!(
            "manifest_version = 1\n[pipeline]\nname = \"copying\"\nmax_concurrent_runs = 4\n\
             [resources.raw]\n{keys}prefix = \"in\"\nwatch = true\ninterval = \"100ms\"\ntrigger = {{ max_artifacts = 1 }}\n\
             [resources.out]\n{keys}prefix = \"out\"\n\
             [actions.copy]\ncomponent = \"worker.wasm\"\nafter = [\"raw\"]\nreads = [\"raw\"]\nwrites = [\"out\"]\n\
             retry = {{ max_attempts = 20, backoff = \"100ms\", max_backoff = \"500ms\" }}\n\
             params = {{ steps = [{{ do = \"copy\", from = \"raw\", to = \"out\" }}] }}\n"
        );
        let mut app = TestApp::new(&manifest).with_guest("worker");
        app.set_env("S3_KEY_ID", KEY_ID);
        app.set_env("S3_SECRET_KEY", SECRET);
        Self { bucket, proxy, app, inputs: BTreeMap::new() }
    }

    pub(super) async fn put(&mut self, path: &str, size: usize) {
        let bytes: Vec<u8> = path.bytes().cycle().take(size).collect();
        self.bucket.put(&format!("in/{path}"), bytes.clone()).await;
        self.inputs.insert(path.to_owned(), bytes);
    }

    /// Waits until every input was processed, and checks that each was processed once.
    pub(super) async fn check(&self) {
        let runs = self.app.wait_for_runs(self.inputs.len());
        assert_eq!(runs.len(), self.inputs.len(), "one run for each input: {runs:#?}");
        assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{runs:#?}");
        let claims: BTreeSet<String> = self
            .app
            .get_all("/api/v1/artifacts?resource=raw")
            .iter()
            .map(|artifact| {
                assert_eq!((&artifact["version"], &artifact["state"]), (&1.into(), &"old".into()), "{artifact:#}");
                artifact["path"].as_str().unwrap().to_owned()
            })
            .collect();
        assert!(claims.iter().eq(self.inputs.keys()), "{claims:?}");
        let published = self.app.get_all("/api/v1/artifacts?resource=out");
        assert_eq!(published.len(), self.inputs.len(), "{published:#?}");
        let outputs: Vec<String> = self.bucket.list().await.into_iter().filter(|key| key.starts_with("out/")).collect();
        assert_eq!(outputs, self.inputs.keys().map(|path| format!("out/{path}")).collect::<Vec<_>>());
        for (path, bytes) in &self.inputs {
            assert!(self.bucket.get(&format!("out/{path}")).await.unwrap() == *bytes, "{path}");
        }
    }

    /// Checks that the secret key is nowhere in what the host has written.
    pub(super) fn check_secrets(&self) {
        assert!(!self.app.said().contains(SECRET), "in the log of the host");
        let mut folders = vec![self.app.path("state")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let bytes = std::fs::read(&path).unwrap();
                    let found = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
                    assert!(!found, "in {}", path.display());
                }
            }
        }
    }
}

async fn a_host_that_is_killed_while_it_uploads_parts_publishes_once(service: Service) {
    let mut copying = Copying::new(service).await;
    let mut unknown = 0;
    // The others are points of the watch.
    for point in FAULT_POINTS.iter().filter(|point| !["s3.listed", "s3.told"].contains(point)) {
        // Of the first one, only the host that died knew the id.
        unknown += usize::from(*point == "s3.upload_begun");
        copying.put(&format!("{point}.bin"), LARGE).await;
        copying.app.die_at(&format!("{point}:1"));
        copying.app.start();
        copying.check().await;
        copying.app.kill();
    }
    copying.app.start();
    wait_until("what is left of uploads to be aborted", || {
        let uploads =
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(copying.bucket.uploads()));
        uploads.len() == unknown
    });
    copying.check().await;
    copying.check_secrets();
}

async fn outputs_are_new_in_a_watched_prefix_only_with_retrigger(service: Service) {
    for retrigger in [false, true] {
        let mut copying = Copying::new(service).await;
        let follow = "[actions.follow]\ncomponent = \"worker.wasm\"\nafter = [\"copy\", \"out\"]\nreads = [\"out\"]\n\
                      params = { steps = [{ do = \"read\", from = \"out\" }] }\n";
        let manifest = std::fs::read_to_string(copying.app.path("anacostia.toml")).unwrap();
        let manifest = manifest
            .replace("name = \"copying\"", "name = \"copying\"\njoin = \"any\"")
            .replace("prefix = \"out\"", "prefix = \"out\"\nwatch = true\ninterval = \"100ms\"")
            .replace("writes = [\"out\"]", &format!("writes = [\"out\"]\nretrigger = {retrigger}"));
        std::fs::write(copying.app.path("anacostia.toml"), manifest + follow).unwrap();
        // The watch sees each output before the host learns that the service has it.
        copying.proxy.all("PUT /", Fault::Late(Duration::from_millis(300)));
        copying.app.start();
        for path in ["a.csv", "b.csv"] {
            copying.put(path, 10).await;
        }
        let outputs = |state: &str| copying.app.get_all(&format!("/api/v1/artifacts?resource=out&state={state}")).len();
        let done = if retrigger { "old" } else { "published" };
        wait_until("the outputs to be published", || outputs(done) == 2);
        // Whoever has seen this one has seen the outputs.
        copying.bucket.put("out/theirs.csv", b"x").await;
        wait_until("the next object to be processed", || outputs("old") == if retrigger { 3 } else { 1 });

        let recorded = copying.app.get_all("/api/v1/artifacts?resource=out");
        assert!(recorded.iter().all(|artifact| artifact["version"] == 1), "{recorded:#?}");
        let runs = copying.app.wait_for_runs(1);
        assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{runs:#?}");
        let mut claims = Vec::new();
        for run in &runs {
            let run = copying.app.get(&format!("/api/v1/runs/{}", run["number"]));
            let inputs = run["inputs"].as_array().unwrap().iter();
            claims.extend(inputs.map(|input| format!("{}/{}", input["resource"], input["path"]).replace('"', "")));
        }
        claims.sort();
        let again = if retrigger { &["out/a.csv", "out/b.csv"][..] } else { &[] };
        assert_eq!(claims, [again, &["out/theirs.csv", "raw/a.csv", "raw/b.csv"]].concat());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_output_is_uploaded_before_the_commit_point() {
    let mut copying = Copying::new(Service::Moto).await;
    copying.put("large.bin", LARGE).await;
    copying.app.die_at("publish.begin:1");
    assert_eq!(copying.bucket.uploads().await.len(), 1, "only its completion is left");
    copying.app.start();
    copying.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_stops_in_the_middle_of_an_upload_and_the_next_one_makes_the_output() {
    let mut copying = Copying::new(Service::Moto).await;
    // The service takes minutes to tell the id of the upload.
    copying.proxy.all("POST /", Fault::Slow(1, Duration::from_secs(1)));
    copying.put("large.bin", LARGE).await;
    copying.app.start();
    wait_until("the upload to begin", || copying.proxy.struck() > 0);
    copying.app.signal(Signal::TERM);
    assert!(copying.app.wait_for_end().success(), "{}", copying.app.said());
    copying.proxy.heal();
    copying.app.start();
    copying.check().await;
    assert_eq!(copying.bucket.uploads().await.len(), 1, "only the upload whose id has not arrived is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_the_service_refuses_is_put_once_it_may_be() {
    let mut copying = Copying::new(Service::Moto).await;
    copying.proxy.all("PUT /", Fault::status(403));
    copying.app.start();
    copying.put("a.csv", 10).await;
    wait_until("the reason", || {
        let why = "the service denies access: check the credentials, and the policy of the bucket; trying again";
        copying.app.said().contains(&format!("out failed to publish `a.csv`: {why} in 1 s"))
    });
    // The host says so where people look, not only in its log.
    let why = "outputs wait for out: out failed to publish `a.csv`: the service denies access: check the credentials, \
               and the policy of the bucket (tried ";
    let node = copying.app.get("/api/v1/nodes/out");
    assert_eq!(node["state"], "unreachable", "{node:#}");
    assert!(node["reason"].as_str().unwrap().starts_with(why), "{node:#}");
    let run = copying.app.get("/api/v1/runs/1");
    let attempt = &run["actions"][0]["attempts"][0];
    assert_eq!((&attempt["state"], &attempt["outage"]["resource"]), (&"publishing".into(), &"out".into()), "{run:#}");
    assert!(attempt["outage"]["tries"].as_u64() >= Some(1) && attempt["outage"]["since"].is_string(), "{run:#}");
    let shown = copying.app.cli(&["runs", "show", "latest", "PATH"]);
    let shown = String::from_utf8_lossy(&shown.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains(why), "{shown}");
    copying.proxy.heal();
    copying.check().await;
    assert_eq!(copying.app.get("/api/v1/nodes/out")["state"], "unwatched");
    assert!(copying.app.get("/api/v1/runs/1")["actions"][0]["attempts"][0]["outage"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_key_stops_the_start_with_the_variable_to_set() {
    let mut copying = Copying::new(Service::Moto).await;
    copying.app.unset_env("S3_SECRET_KEY");
    let output = copying.app.cli(&["run", "--once", "PATH"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("S3_SECRET_KEY"), "{said}");
}
