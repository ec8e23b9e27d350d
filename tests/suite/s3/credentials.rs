//! Where a bucket's credentials come from, and how its service is reached. SeaweedFS checks every
//! signature, so that a run starts only if the right keys were found.

use std::sync::{Arc, Mutex};

use axum::routing::{get, put};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::pipeline::{Copying, LARGE};
use crate::support::app::TestApp;
use crate::support::proxy::{Fault, Proxy};
use crate::support::s3::{KEY_ID, SECRET, Service, TestBucket};
use crate::support::wait::wait_until;

/// A host with a watched bucket whose keys are not in the manifest.
struct Watching {
    bucket: TestBucket,
    app: TestApp,
}

impl Watching {
    async fn new(service: Service, keys: &str) -> Self {
        let bucket = TestBucket::new(service).await;
        let manifest = format!(
            "manifest_version = 1\n[pipeline]\nname = \"keys\"\n\
             [resources.raw]\nkind = \"s3\"\nbucket = \"{}\"\nwatch = true\ninterval = \"100ms\"\n{keys}\n\
             [actions.read]\ncomponent = \"worker.wasm\"\nafter = [\"raw\"]\nreads = [\"raw\"]\n\
             params = {{ steps = [{{ do = \"read\", from = \"raw\" }}] }}\n",
            bucket.name
        );
        let mut app = TestApp::new(&manifest.replace("ENDPOINT", &bucket.endpoint)).with_guest("worker");
        // Nothing of the machine's own account.
        let nowhere = app.path("nowhere").display().to_string();
        app.set_env("AWS_SHARED_CREDENTIALS_FILE", &nowhere);
        app.set_env("AWS_CONFIG_FILE", &nowhere);
        Self { bucket, app }
    }

    /// Puts an object, and checks that a run reads it.
    async fn check(mut self) -> TestApp {
        self.bucket.put("a.csv", b"one").await;
        self.app.start();
        let runs = self.app.wait_for_runs(1);
        assert_eq!(runs[0]["state"], "succeeded", "{runs:#?}\n{}", self.app.said());
        self.app
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_the_environment() {
    let mut watching = Watching::new(Service::SeaweedFs, "endpoint = \"ENDPOINT\"").await;
    watching.app.set_env("AWS_ACCESS_KEY_ID", KEY_ID);
    watching.app.set_env("AWS_SECRET_ACCESS_KEY", SECRET);
    watching.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_a_profile() {
    let keys = "endpoint = \"ENDPOINT\"\ncredentials = \"profile\"\nprofile = \"team\"";
    let mut watching = Watching::new(Service::SeaweedFs, keys).await;
    let text = format!(
        "[default]\naws_access_key_id = other\naws_secret_access_key = other\n\
         [team]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n"
    );
    let file = watching.app.path("credentials");
    std::fs::write(&file, text).unwrap();
    watching.app.set_env("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap());
    watching.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_manifest_or_a_profile_go_without_the_session_token_of_others() {
    for own in
        ["access_key_id = \"env:S3_KEY_ID\"\nsecret_access_key = \"env:S3_SECRET_KEY\"", "credentials = \"profile\""]
    {
        let mut watching = Watching::new(Service::SeaweedFs, &format!("endpoint = \"ENDPOINT\"\n{own}")).await;
        let file = watching.app.path("credentials");
        let text = format!("[default]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n");
        std::fs::write(&file, text).unwrap();
        let file = file.display().to_string();
        for (name, value) in [
            ("AWS_SHARED_CREDENTIALS_FILE", &*file),
            ("S3_KEY_ID", KEY_ID),
            ("S3_SECRET_KEY", SECRET),
            ("AWS_ACCESS_KEY_ID", "other"),
            ("AWS_SECRET_ACCESS_KEY", "other"),
            ("AWS_SESSION_TOKEN", "of-the-others"),
        ] {
            watching.app.set_env(name, value);
        }
        watching.check().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_the_container() {
    let mut watching = Watching::new(Service::SeaweedFs, "endpoint = \"ENDPOINT\"").await;
    let token = watching.app.path("token");
    std::fs::write(&token, "the-token-of-the-container").unwrap();
    watching.app.set_env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{}/container", metadata(lasting()).await));
    watching.app.set_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap());
    watching.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_the_instance() {
    let mut watching = Watching::new(Service::SeaweedFs, "endpoint = \"ENDPOINT\"").await;
    watching.app.set_env("AWS_METADATA_ENDPOINT", &metadata(lasting()).await);
    watching.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_instance_are_renewed_before_they_expire() {
    let keys = |bucket: &TestBucket, proxy: &Proxy| {
        format!("kind = \"s3\"\nbucket = \"{}\"\nendpoint = \"{}\"\n", bucket.name, proxy.url())
    };
    let mut copying = Copying::with_keys(Service::SeaweedFs, keys).await;
    let soon = (jiff::Timestamp::now() + jiff::SignedDuration::from_mins(2)).to_string();
    let given = Arc::new(Mutex::new(temporary(KEY_ID, SECRET, &soon)));
    copying.app.set_env("AWS_METADATA_ENDPOINT", &metadata(Arc::clone(&given)).await);
    copying.app.start();
    copying.put("a.csv", 10).await;
    copying.check().await;
    let (id, secret) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_LICENSE"));
    *given.lock().unwrap() = temporary(id, secret, LATER);
    let renewed = format!("X-Amz-Credential={id}%2F");
    wait_until("the next keys", || copying.proxy.requests().last().is_some_and(|line| line.contains(&renewed)));
    // From now on the service takes the first key no more, in a header or in a URL.
    copying.proxy.all(&format!("Credential={KEY_ID}"), Fault::status(403));
    copying.put("b.csv", 10).await;
    copying.put("large.bin", LARGE).await;
    copying.check().await;
    assert_eq!(copying.proxy.struck(), 0, "something was asked with the first key");
}

#[test]
fn a_profile_without_keys_of_its_own_is_refused_with_what_to_do() {
    let app = |profile: &str| {
        let manifest = "manifest_version = 1\n[pipeline]\nname = \"keys\"\n\
            [resources.raw]\nkind = \"s3\"\nbucket = \"b\"\nwatch = true\ncredentials = \"profile\"\nprofile = \"team\"\n\
            [actions.read]\ncomponent = \"worker.wasm\"\nafter = [\"raw\"]\nreads = [\"raw\"]\n";
        let mut app = TestApp::new(manifest).with_guest("worker");
        let nowhere = app.path("nowhere").display().to_string();
        let file = app.path("config");
        std::fs::write(&file, format!("[default]\naws_access_key_id = a\n[profile team]\n{profile}\n")).unwrap();
        app.set_env("AWS_SHARED_CREDENTIALS_FILE", &nowhere);
        app.set_env("AWS_CONFIG_FILE", file.to_str().unwrap());
        app
    };
    let keys = "aws_access_key_id = a\naws_secret_access_key = b\n";
    let role = format!("{keys}role_arn = arn:aws:iam::1:role/r\nsource_profile = default");
    for (profile, key) in [
        (&*role, "role_arn"),
        ("sso_session = corp\nsso_account_id = 1", "sso_session"),
        ("sso_start_url = https://corp.example.com\nsso_account_id = 1", "sso_start_url"),
        ("credential_process = /usr/bin/keys", "credential_process"),
    ] {
        let why = format!(
            "the profile `team` has `{key}`, and only profiles with `aws_access_key_id` and `aws_secret_access_key` are \
             supported: remove `credentials` and `profile` from the manifest, and start the host with the variables that \
             `aws configure export-credentials --profile team --format env` prints"
        );
        check_refusal(&app(profile), &why);
    }
    let why = "the profile `team` has no `aws_access_key_id` and `aws_secret_access_key` in ~/.aws/credentials or \
               ~/.aws/config";
    check_refusal(&app("region = eu-west-1"), why);
}

/// Checks that no host starts, for this reason.
#[track_caller]
fn check_refusal(app: &TestApp, why: &str) {
    let output = app.cli(&["run", "--once", "PATH"]);
    let said = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("raw cannot be used: {why}")), "{said}");
}

const LATER: &str = "2099-01-01T00:00:00Z";

/// Returns keys as a container or an instance gets them.
fn temporary(id: &str, secret: &str, expiration: &str) -> Value {
    json!({ "AccessKeyId": id, "SecretAccessKey": secret, "Token": "", "Expiration": expiration })
}

/// Returns keys that stay.
fn lasting() -> Arc<Mutex<Value>> {
    Arc::new(Mutex::new(temporary(KEY_ID, SECRET, LATER)))
}

/// Starts a service like the ones that give keys to containers and instances; returns its URL.
async fn metadata(keys: Arc<Mutex<Value>>) -> String {
    let of_container = Arc::clone(&keys);
    let container = async move |headers: axum::http::HeaderMap| {
        assert_eq!(headers["authorization"], "the-token-of-the-container");
        Json(of_container.lock().unwrap().clone())
    };
    let instance = async move |headers: axum::http::HeaderMap| {
        assert_eq!(headers["x-aws-ec2-metadata-token"], "the-token-of-the-instance");
        Json(keys.lock().unwrap().clone())
    };
    let router = Router::new()
        .route("/container", get(container))
        .route("/latest/api/token", put(async || "the-token-of-the-instance"))
        .route("/latest/meta-data/iam/security-credentials/", get(async || "role"))
        .route("/latest/meta-data/iam/security-credentials/role", get(instance));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}
