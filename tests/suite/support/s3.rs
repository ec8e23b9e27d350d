//! Real S3 services: SeaweedFS and moto. Each test has a bucket of its own.

use std::path::Path as FilePath;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anacostia::base::tls;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer as _};
use object_store::{MultipartUpload as _, ObjectStore as _, ObjectStoreExt as _};
use reqwest::Method;

use super::server::{free_ports, programs, start};
use super::wait::DEADLINE;

/// The key of the account that every test uses.
pub(crate) const KEY_ID: &str = "test-key";
pub(crate) const SECRET: &str = "test-secret-6271";

/// A signature, wrong for any request.
const SIGNATURE: &str =
    "AWS4-HMAC-SHA256 Credential=test-key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

/// The name of the services, which resolves nowhere: buckets have names in it.
pub(crate) const DOMAIN: &str = "s3.us-east-1.amazonaws.com";

/// From how many bytes on an object is uploaded in parts. Moto hashes an object when it is first
/// listed or answered about, and two such requests at once give it different entity tags. One that
/// comes in parts has its tag from the beginning.
const IN_PARTS_FROM: usize = 1 << 20;

/// A service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    SeaweedFs,
    Moto,
}

/// Returns the URL of a service, which the first caller starts.
pub(crate) fn endpoint(service: Service) -> &'static str {
    static SEAWEEDFS: OnceLock<String> = OnceLock::new();
    static MOTO: OnceLock<String> = OnceLock::new();
    match service {
        Service::SeaweedFs => SEAWEEDFS.get_or_init(seaweedfs),
        Service::Moto => MOTO.get_or_init(moto),
    }
}

fn moto() -> String {
    let [port] = free_ports();
    let mut command = Command::new(programs("s3").join("moto_server"));
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
    start(command, &folder("moto").join("log"));
    format!("http://127.0.0.1:{port}")
}

fn seaweedfs() -> String {
    let folder = folder("seaweedfs");
    // The second account is for resources that are opened in the test process.
    let config = format!(
        r#"{{"identities": [{{"name": "test", "credentials": [{{"accessKey": "{KEY_ID}", "secretKey": "{SECRET}"}}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"]}},
            {{"name": "same", "credentials": [{{"accessKey": "{}", "secretKey": "{}"}}],
            "actions": ["Read", "Write", "List", "Tagging"]}},
            {{"name": "anonymous", "actions": ["Read", "Write", "List", "Tagging"]}}]}}"#,
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_LICENSE"),
    );
    std::fs::write(folder.join("s3.json"), config).unwrap();
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    let ports = free_ports::<8>();
    let names = ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"];
    let mut command = Command::new(programs("s3").join("weed"));
    command.current_dir(&folder).args(["server", "-master.telemetry=false", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]);
    command.args(["-filer", "-s3", "-s3.config=s3.json", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
    command.arg(format!("-s3.domainName={DOMAIN}"));
    command.args(["-volume.max=4000", "-master.volumeSizeLimitMB=64"]).arg(format!("-dir={}", data.display()));
    command.args(
        names.iter().chain(&["s3.port", "s3.port.grpc"]).zip(ports).map(|(name, port)| format!("-{name}={port}")),
    );
    start(command, &folder.join("log"));
    format!("http://127.0.0.1:{}", ports[6])
}

/// Returns a new, empty folder for a service of this process.
fn folder(name: &str) -> std::path::PathBuf {
    let servers = FilePath::new(env!("CARGO_TARGET_TMPDIR")).join("servers");
    let folder = servers.join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A new bucket.
pub(crate) struct TestBucket {
    pub(crate) name: String,
    /// The URL of the service.
    pub(crate) endpoint: String,
    pub(crate) store: AmazonS3,
}

impl TestBucket {
    pub(crate) async fn new(service: Service) -> Self {
        tls::use_ring();
        let endpoint = tokio::task::spawn_blocking(move || endpoint(service)).await.unwrap();
        let name = format!("bucket-{:016x}", fastrand::u64(..));
        let store = AmazonS3Builder::new()
            .with_endpoint(endpoint)
            .with_bucket_name(&name)
            .with_region("us-east-1")
            .with_access_key_id(KEY_ID)
            .with_secret_access_key(SECRET)
            .with_allow_http(true)
            .build()
            .unwrap();
        let bucket = Self { name, endpoint: endpoint.to_owned(), store };
        let mut url = bucket.store.signed_url(Method::PUT, &Path::ROOT, Duration::from_mins(5)).await.unwrap();
        if service == Service::Moto {
            // It takes the `/` at the end for the key of an object, and does not check signatures.
            url.set_path(&bucket.name);
        }
        let end = std::time::Instant::now() + DEADLINE;
        // The service may still be starting.
        loop {
            let answer = reqwest::Client::new().put(url.clone()).header("content-length", "0").send().await;
            if answer.as_ref().is_ok_and(|answer| answer.status().is_success()) {
                return bucket;
            }
            assert!(std::time::Instant::now() < end, "{service:?} creates no bucket: {answer:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends a request to a path of the service, which must be moto.
    async fn send(&self, method: Method, path: &str, body: &[u8]) {
        let request = reqwest::Client::new().request(method, format!("{}/{path}", self.endpoint));
        // Moto only looks whether there is a signature.
        let request = request.header("authorization", SIGNATURE);
        let request = request.header("content-length", body.len()).body(body.to_vec());
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {answer:?}");
    }

    /// Creates another bucket.
    pub(crate) async fn create_beside(&self, name: &str) {
        self.send(Method::PUT, name, b"").await;
    }

    /// Puts an object at an encoded key, which need not be a path.
    pub(crate) async fn put_raw(&self, key: &str, bytes: &[u8]) {
        self.send(Method::PUT, &format!("{}/{key}", self.name), bytes).await;
    }

    pub(crate) async fn delete_raw(&self, key: &str) {
        self.send(Method::DELETE, &format!("{}/{key}", self.name), b"").await;
    }

    /// Returns the ids of unfinished uploads.
    pub(crate) async fn uploads(&self) -> Vec<String> {
        let options = SignedUrlOptions::default().with_query([("uploads", "")]);
        let url = self.store.signed_url_opts(Method::GET, &Path::ROOT, Duration::from_mins(5), &options).await.unwrap();
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        let ids = text.split("<UploadId>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned());
        ids.collect()
    }

    /// Returns the keys of a resource in this bucket, for a manifest. `endpoint` is the service, or
    /// a proxy in front of it.
    pub(crate) fn keys(&self, endpoint: &str) -> String {
        format!(
            "kind = \"s3\"\nbucket = \"{}\"\nendpoint = \"{endpoint}\"\naccess_key_id = \"env:S3_KEY_ID\"\n\
             secret_access_key = \"env:S3_SECRET_KEY\"\n",
            self.name
        )
    }

    pub(crate) async fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        let (key, bytes) = (Path::parse(key).unwrap(), bytes.into());
        if bytes.len() < IN_PARTS_FROM {
            self.store.put(&key, bytes.into()).await.unwrap();
            return;
        }
        let mut upload = self.store.put_multipart(&key).await.unwrap();
        upload.put_part(bytes.into()).await.unwrap();
        upload.complete().await.unwrap();
    }

    pub(crate) async fn get(&self, key: &str) -> Option<Vec<u8>> {
        match self.store.get(&Path::parse(key).unwrap()).await {
            Ok(found) => Some(found.bytes().await.unwrap().to_vec()),
            Err(object_store::Error::NotFound { .. }) => None,
            Err(error) => panic!("{key}: {error}"),
        }
    }

    pub(crate) async fn delete(&self, key: &str) {
        self.store.delete(&Path::parse(key).unwrap()).await.unwrap();
    }

    /// Returns all keys, sorted.
    pub(crate) async fn list(&self) -> Vec<String> {
        use futures_util::TryStreamExt as _;
        let objects: Vec<_> = self.store.list(None).try_collect().await.unwrap();
        let mut keys: Vec<String> = objects.into_iter().map(|object| object.location.to_string()).collect();
        keys.sort();
        keys
    }
}
