//! Where a bucket's credentials come from, and how its service is reached. SeaweedFS checks every
//! signature, so that a run starts only if the right keys were found.

use axum::routing::{get, put};
use axum::{Json, Router};

use crate::support::app::TestApp;
use crate::support::proxy::Proxy;
use crate::support::s3::{KEY_ID, SECRET, Service, TestBucket};

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
    watching.app.set_env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{}/container", metadata().await));
    watching.app.set_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap());
    watching.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_the_instance() {
    let mut watching = Watching::new(Service::SeaweedFs, "endpoint = \"ENDPOINT\"").await;
    watching.app.set_env("AWS_METADATA_ENDPOINT", &metadata().await);
    watching.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_in_the_name_of_the_host_is_reached_through_the_proxy_of_the_environment() {
    // The name resolves nowhere: only the proxy, which is moto itself, can answer for it.
    let keys = "endpoint = \"http://s3.us-east-1.amazonaws.com\"\nstyle = \"virtual\"";
    let mut watching = Watching::new(Service::Moto, keys).await;
    let proxy = Proxy::http(watching.bucket.endpoint.strip_prefix("http://").unwrap().parse().unwrap());
    watching.app.set_env("AWS_ACCESS_KEY_ID", KEY_ID);
    watching.app.set_env("AWS_SECRET_ACCESS_KEY", SECRET);
    watching.app.set_env("http_proxy", &proxy.url());
    let host = format!("http://{}.s3.us-east-1.amazonaws.com/", watching.bucket.name);
    let app = watching.check().await;
    let requests = proxy.requests();
    let foreign = requests.iter().find(|line| !line.split(' ').nth(1).unwrap().starts_with(&host));
    assert!(!requests.is_empty() && foreign.is_none(), "{foreign:?}");
    drop(app);
}

/// Starts a service like the ones that give keys to containers and instances; returns its URL.
async fn metadata() -> String {
    let keys = serde_json::json!({
        "AccessKeyId": KEY_ID, "SecretAccessKey": SECRET, "Token": "", "Expiration": "2099-01-01T00:00:00Z",
    });
    let of_container = keys.clone();
    let container = async move |headers: axum::http::HeaderMap| {
        assert_eq!(headers["authorization"], "the-token-of-the-container");
        Json(of_container)
    };
    let instance = async move |headers: axum::http::HeaderMap| {
        assert_eq!(headers["x-aws-ec2-metadata-token"], "the-token-of-the-instance");
        Json(keys)
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
