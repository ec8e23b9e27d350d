//! Sends arbitrary bytes as HTTP to a complete host, with a real store, on a real socket. The host
//! responds with a status that the API defines, and continues to respond.
//!
//! The first byte says how the rest is sent: as it is (then no response is guaranteed), or as one
//! well-formed request with an arbitrary path, query, headers and body.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anacostia::base::{Clock, SystemClock};
use anacostia::http::{self, ServeOptions};
use anacostia::manifest::{self, LoadOptions};
use anacostia::model::Durability;
use anacostia::sandbox::{Sandbox, SandboxConfig};
use anacostia::scheduler::{Host, Options, Parts};
use anacostia::store::sqlite::SqliteStore;
use anacostia::store::{components, logs};
use tokio_util::sync::CancellationToken;

/// The time limit for a response. Nothing here is slow: a request that reaches it is stuck.
const PATIENCE: Duration = Duration::from_secs(30);
/// The maximum number of bytes of a response to examine.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

const MANIFEST: &str = r#"
manifest_version = 1
[pipeline]
name = "fuzz"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[actions.act]
component = "act.wasm"
after = ["raw"]
reads = ["raw"]
"#;

const PATHS: [&str; 16] = [
    "/healthz",
    "/readyz",
    "/metrics",
    "/api/v1/pipeline",
    "/api/v1/nodes",
    "/api/v1/nodes/",
    "/api/v1/runs",
    "/api/v1/runs/",
    "/api/v1/artifacts",
    "/api/v1/artifacts/",
    "/api/v1/metrics",
    "/api/v1/params",
    "/api/v1/tags",
    "/api/v1/triggers",
    "/api/v1/pipeline/pause",
    "/",
];
const METHODS: [&str; 8] = ["GET", "GET", "GET", "GET", "PUT", "POST", "DELETE", "OPTIONS"];

/// Starts a host that runs until the process ends. `component` is an action.
fn server(component: &[u8]) -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap().keep();
        std::fs::write(folder.join("anacostia.toml"), MANIFEST).unwrap();
        std::fs::write(folder.join("act.wasm"), component).unwrap();
        std::fs::create_dir(folder.join("raw")).unwrap();
        std::fs::write(folder.join("raw/a.txt"), b"content").unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(serve(&folder, tell)).unwrap();
        });
        told.recv_timeout(PATIENCE).unwrap()
    })
}

async fn serve(folder: &Path, tell: std::sync::mpsc::Sender<SocketAddr>) -> std::io::Result<()> {
    let pipeline = manifest::load(folder, &|_| None, LoadOptions::default()).unwrap();
    let store = SqliteStore::open(&folder.join("metadata.db"), Durability::Normal, SystemClock.now()).unwrap();
    let config = SandboxConfig { cache_folder: folder.join("cache"), executors: 1, ..SandboxConfig::default() };
    let parts = Parts {
        pipeline,
        store: store.clone(),
        lease: store.clone(),
        logs: logs::open(folder, u64::MAX).unwrap(),
        components: components::open(&folder.join("state")),
        compiled: Vec::new(),
        executor: Arc::new(Sandbox::new(config).unwrap()),
        clock: Arc::new(SystemClock),
    };
    let host = Host::start(parts, Options::default()).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    tell.send(listener.local_addr()?).unwrap();
    http::serve(listener, host.view(), ServeOptions::default(), CancellationToken::new()).await
}

/// Sends the bytes to a host with the action `component`, and checks the response.
pub(crate) fn run(component: &[u8], data: &[u8]) {
    let address = server(component);
    match data.split_first() {
        Some((0..=63, raw)) => drop(exchange(address, raw, true)),
        Some((_, rest)) => {
            let request = request(address, rest);
            let answer = exchange(address, &request, false);
            let status = status(&answer);
            let known = matches!(status, Some(200 | 201 | 202 | 204 | 206 | 304 | 400..=499 | 503));
            let (request, answer) = (String::from_utf8_lossy(&request), String::from_utf8_lossy(&answer));
            assert!(known, "{request}\nis answered with\n{answer}");
        }
        None => {}
    }
    let alive = exchange(
        address,
        format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes(),
        false,
    );
    assert_eq!(status(&alive), Some(200), "the server no longer responds");
}

/// Builds a well-formed request from bytes: method, path, query, headers and body are lines.
fn request(address: SocketAddr, data: &[u8]) -> Vec<u8> {
    let mut bytes = data.iter().copied();
    let mut choice = |of: usize| usize::from(bytes.next().unwrap_or(0)) % of;
    let (method, path) = (METHODS[choice(METHODS.len())], PATHS[choice(PATHS.len())]);
    let rest: Vec<u8> = bytes.collect();
    let mut parts = rest.splitn(4, |byte| *byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let target: String = part().iter().map(|byte| escaped(*byte)).collect();
    let header = |name: &str, value: &[u8]| {
        let value: String =
            value.iter().filter(|byte| (32..127).contains(*byte)).map(|byte| char::from(*byte)).collect();
        if value.is_empty() { String::new() } else { format!("{name}: {value}\r\n") }
    };
    let (one, other) = (header("range", part()), header("last-event-id", part()));
    let body = part();
    let head = format!(
        "{method} {path}{target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n{one}{other}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Encodes a byte for the target of a request.
fn escaped(byte: u8) -> String {
    match byte {
        b'/' | b'?' | b'&' | b'=' | b'%' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02x}"),
    }
}

/// Sends bytes, and reads the response: all of it, or as much as is examined.
fn exchange(address: SocketAddr, bytes: &[u8], half: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The host may respond and close before it has read everything.
    let _ = stream.write_all(bytes);
    if half {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    match stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer) {
        Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            panic!("{}\ngot no response", String::from_utf8_lossy(bytes))
        }
        _ => answer,
    }
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\r').next()?;
    std::str::from_utf8(line).ok()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}
