//! Requests without a guest, over a network in which the test decides what names resolve to.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;

use async_trait::async_trait;
use hyper::http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::network::Network;
use super::*;
use crate::base::SystemClock;
use crate::manifest::Limits;
use crate::model::{HttpRequest, RequestOutcome};
use crate::sandbox::order::tests::order;
use crate::store::logs;

/// Each lookup returns the next scripted answer. Every connection goes to the same server on the
/// loopback address, whatever its target.
struct Scripted {
    answers: Mutex<Vec<Vec<&'static str>>>,
    looked_up: Mutex<Vec<String>>,
    connected: Mutex<Vec<SocketAddr>>,
    server: SocketAddr,
}

#[async_trait]
impl Network for Scripted {
    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.looked_up.lock().unwrap().push(name.to_owned());
        let answer = self.answers.lock().unwrap().remove(0);
        Ok(answer.iter().map(|address| SocketAddr::new(address.parse().unwrap(), port)).collect())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        self.connected.lock().unwrap().push(address);
        TcpStream::connect(self.server).await
    }
}

struct Bench {
    network: Arc<Scripted>,
    hooks: Hooks,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// Creates a bench with these grants and these answers to lookups.
    async fn new(http: &[&str], answers: &[&[&'static str]]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let network = Arc::new(Scripted {
            answers: Mutex::new(answers.iter().map(|answer| answer.to_vec()).collect()),
            looked_up: Mutex::default(),
            connected: Mutex::default(),
            server: listener.local_addr().unwrap(),
        });
        tokio::spawn(serve(listener));
        let folder = tempfile::tempdir().unwrap();
        let mut order = order();
        order.http = http.iter().map(|host| host.parse().unwrap()).collect();
        order.limits = Limits { http_wait: std::time::Duration::from_secs(30), ..Limits::default() };
        let masker = Arc::new(Masker::new(["hunter2"].into_iter()));
        let store = logs::open(folder.path(), u64::MAX).unwrap();
        let clock = Arc::new(SystemClock);
        let log = Arc::new(AttemptLog::new(order.fence.attempt_id, store, clock, Arc::clone(&masker), 1 << 20));
        let outbound = Arc::new(Outbound::over(Arc::clone(&network) as Arc<dyn Network>));
        let http = Http::new(&order, &outbound, &Arc::default(), &log, &masker);
        Self { network, hooks: http.hooks, _folder: folder }
    }

    async fn get(&mut self, uri: &str) -> Result<u16, Error> {
        self.send(Request::builder().method(Method::GET).uri(uri)).await
    }

    async fn send(&mut self, request: hyper::http::request::Builder) -> Result<u16, Error> {
        let request = request.body(nothing()).unwrap();
        let sending = self.hooks.send_request(request, None, Box::new(async { Ok(()) }));
        Box::into_pin(sending).await.map(|(response, _)| response.status().as_u16())
    }

    fn connected(&self) -> Vec<String> {
        self.network.connected.lock().unwrap().iter().map(ToString::to_string).collect()
    }

    fn close(self) -> Requests {
        self.hooks.0.unwrap().request_log.close()
    }
}

/// An empty body.
fn nothing() -> WasiBody {
    struct Nothing;
    impl hyper::body::Body for Nothing {
        type Data = tokio_util::bytes::Bytes;
        type Error = Error;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Error>>> {
            std::task::Poll::Ready(None)
        }
        fn is_end_stream(&self) -> bool {
            true
        }
    }
    WasiBody::new(Nothing)
}

async fn serve(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                break;
            }
            head.extend(byte);
        }
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    }
}

#[tokio::test]
async fn dns_rebinding_does_not_change_the_checked_address() {
    let (public, inside): (&[&str], &[&str]) = (&["93.184.216.34"], &["10.0.0.1"]);
    let mut bench = Bench::new(&["example.com:80"], &[public, inside, public]).await;
    assert_eq!(bench.get("http://example.com/").await.unwrap(), 204);
    assert_eq!(
        bench.network.looked_up.lock().unwrap().len(),
        1,
        "one lookup per request: the checked address is the one connected to"
    );
    assert!(matches!(bench.get("http://example.com/").await, Err(Error::DestinationIpProhibited)));
    assert_eq!(bench.get("http://EXAMPLE.com:80/").await.unwrap(), 204);
    assert_eq!(bench.connected(), ["93.184.216.34:80", "93.184.216.34:80"]);
    let requests = bench.close();
    assert_eq!(requests.recorded[1].outcome, RequestOutcome::Denied);
    assert!(requests.denials[0].message.contains("resolves to 10.0.0.1, a private address"), "{:?}", requests.denials);
}

#[tokio::test]
async fn every_address_of_a_name_must_be_allowed() {
    for answer in [
        &["93.184.216.34", "127.0.0.1"] as &[&str],
        &["::ffff:169.254.169.254"],
        &["64:ff9b::a00:1", "93.184.216.34"],
        &["fd00::1"],
        &["0.0.0.0"],
    ] {
        let mut bench = Bench::new(&["example.com:80", "10.9.9.9:80"], &[answer]).await;
        assert!(matches!(bench.get("http://example.com/").await, Err(Error::DestinationIpProhibited)), "{answer:?}");
        assert!(bench.connected().is_empty(), "{answer:?}");
    }
    let mut bench =
        Bench::new(&["example.com:80", "10.9.9.9:80"], &[&["10.9.9.9"], &["::ffff:10.9.9.9"], &["10.9.9.9"]]).await;
    assert_eq!(bench.get("http://example.com/").await.unwrap(), 204, "a granted address is allowed");
    assert_eq!(bench.get("http://example.com/").await.unwrap(), 204, "an IPv4-mapped address is the same address");
    assert_eq!(bench.connected(), ["10.9.9.9:80", "10.9.9.9:80"]);
    let mut bench = Bench::new(&["example.com:81", "10.9.9.9:80"], &[&["10.9.9.9"], &[]]).await;
    assert!(
        matches!(bench.get("http://example.com:81/").await, Err(Error::DestinationIpProhibited)),
        "only at the granted port"
    );
    assert!(matches!(bench.get("http://example.com:81/").await, Err(Error::DestinationNotFound)));
}

#[tokio::test]
async fn a_literal_address_is_not_resolved_and_must_be_granted() {
    let mut bench = Bench::new(&["10.0.0.1:8080", "[fd00::1]:80"], &[]).await;
    assert_eq!(bench.get("http://10.0.0.1:8080/").await.unwrap(), 204);
    assert_eq!(bench.get("http://[fd00:0::1]/").await.unwrap(), 204);
    for other in
        ["http://10.0.0.1/", "http://10.0.0.2:8080/", "https://10.0.0.1:8081/", "http://8.8.8.8/", "http://[::1]:8080/"]
    {
        assert!(matches!(bench.get(other).await, Err(Error::HttpRequestDenied)), "{other}");
    }
    for odd in [
        "http://167772161:8080/",
        "http://0xa000001:8080/",
        "http://[::ffff:10.0.0.1]:8080/",
        "http://me@10.0.0.1:8080/",
    ] {
        assert!(matches!(bench.get(odd).await, Err(Error::HttpRequestUriInvalid)), "{odd}");
    }
    assert_eq!(bench.connected(), ["10.0.0.1:8080", "[fd00::1]:80"]);
}

#[tokio::test]
async fn recorded_texts_omit_secrets_queries_and_control_characters() {
    let mut bench = Bench::new(&["a.b:80"], &[]).await;
    let long = format!("https://hunter2.example.com/hunter2/{}?hunter2", "x".repeat(500));
    assert!(bench.get(&long).await.is_err());
    let requests = bench.close();
    let HttpRequest { authority, path, error, .. } = &requests.recorded[0];
    assert_eq!(authority, "•••.example.com");
    assert!(path.starts_with("/•••/xxx") && path.ends_with("…?…") && path.len() < 220, "{path}");
    let denial = &requests.denials[0];
    for text in [error.as_deref().unwrap(), &denial.target, &denial.message] {
        assert!(!text.contains("hunter2") && text.contains("•••.example.com"), "{text}");
    }
}

#[test]
fn secrets_are_removed_from_response_headers() {
    let mut order = order();
    order.header_secrets = vec![crate::sandbox::order::HeaderSecret {
        name: "T".to_owned(),
        variable: "CARGO_PKG_NAME".to_owned(),
        header: "authorization".to_owned(),
        endpoint: "127.0.0.1:80".parse().unwrap(),
        prefix: "Bearer ".to_owned(),
    }];
    let Ok(secrets) = HeaderValues::read(&order) else { panic!("the variable is set by cargo") };
    let mut headers = hyper::HeaderMap::new();
    let at = |text: &str| text.parse::<Endpoint>().unwrap();
    assert_eq!(secrets.put_in(&mut headers, &Scheme::HTTP, &at("127.0.0.1:81")), Put::None);
    assert_eq!(secrets.put_in(&mut headers, &Scheme::HTTP, &at("localhost:80")), Put::None);
    assert!(headers.is_empty());
    assert_eq!(secrets.put_in(&mut headers, &Scheme::HTTP, &at("127.0.0.1:80")), Put::In);
    assert_eq!(headers["authorization"], "Bearer anacostia");
    assert!(headers["authorization"].is_sensitive());
    headers.insert("x-other", HeaderValue::from_static("kept"));
    secrets.take_out_of(&mut headers);
    assert_eq!(
        (&headers["authorization"], &headers["x-other"]),
        (&HeaderValue::from_static("***"), &HeaderValue::from_static("kept"))
    );

    order.header_secrets[0].endpoint = at("10.0.0.1:80");
    let Ok(secrets) = HeaderValues::read(&order) else { panic!("the variable is set by cargo") };
    let mut headers = hyper::HeaderMap::new();
    assert_eq!(secrets.put_in(&mut headers, &Scheme::HTTP, &at("10.0.0.1:80")), Put::InTheOpen);
    assert!(headers.is_empty());
    assert_eq!(secrets.put_in(&mut headers, &Scheme::HTTPS, &at("10.0.0.1:80")), Put::In);
    order.header_secrets[0].variable = "ANACOSTIA_NO_SUCH_VARIABLE".to_owned();
    assert_eq!(HeaderValues::read(&order).err().map(|error| error.code), Some("secret_missing".to_owned()));
}
