//! The fault proxy of the tests does what its faults say.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::support::proxy::{Fault, Proxy};
use crate::support::upstream::Upstream;

/// What a server of the tests answers to `GET /page`.
const BODY: &str = "hello from /page";

/// Sends a request, and returns the status, and the body or the kind of error that ended it.
fn get(proxy: &Proxy) -> Result<(u16, Result<String, String>), String> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let response = agent.get(format!("{}/page", proxy.url())).call().map_err(|error| format!("{error:?}"))?;
    let status = response.status().as_u16();
    let mut body = String::new();
    let read = response.into_body().into_reader().read_to_string(&mut body);
    Ok((status, read.map(|_| body).map_err(|error| format!("{error:?}"))))
}

#[test]
fn forwards_and_answers_for_the_server() {
    let upstream = Upstream::plain();
    let proxy = Proxy::http(upstream.address);
    assert_eq!(get(&proxy), Ok((200, Ok(BODY.to_owned()))));
    proxy.next(2, "GET /page", Fault::retry_after(503, 7));
    assert_eq!(get(&proxy), Ok((503, Ok(String::new()))));
    assert_eq!(get(&proxy), Ok((503, Ok(String::new()))));
    proxy.next(1, "PUT ", Fault::status(500));
    assert_eq!(get(&proxy), Ok((200, Ok(BODY.to_owned()))), "the rule is about another method");
    assert_eq!((proxy.struck(), upstream.heads().len(), proxy.requests().len()), (2, 2, 4));
}

/// Sends a request without a library that interprets the end of the connection, and returns the
/// last of what was received, or the error.
fn get_raw(proxy: &Proxy) -> Result<String, ErrorKind> {
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(b"GET /page HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(|error| error.kind())?;
    Ok(text.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
}

#[test]
fn breaks_off_bodies_and_loses_answers() {
    let upstream = Upstream::plain();
    let proxy = Proxy::http(upstream.address);
    proxy.next(1, "GET ", Fault::TruncateAfter(5));
    assert_eq!(get_raw(&proxy), Ok(BODY[..5].to_owned()));
    proxy.next(1, "GET ", Fault::ResetAfter(5));
    assert_eq!(get_raw(&proxy), Err(ErrorKind::ConnectionReset));
    proxy.all("GET ", Fault::LoseAnswer);
    assert_eq!(get_raw(&proxy), Err(ErrorKind::ConnectionReset));
    assert_eq!(get_raw(&proxy), Err(ErrorKind::ConnectionReset));
    assert_eq!(upstream.heads().len(), 4, "the server did its work each time");
    proxy.heal();
    assert_eq!(get(&proxy), Ok((200, Ok(BODY.to_owned()))));
}

#[test]
fn refuses_connections_until_it_accepts_again() {
    let upstream = Upstream::plain();
    let proxy = Proxy::http(upstream.address);
    proxy.refuse();
    assert!(get(&proxy).unwrap_err().contains("ConnectionRefused"));
    proxy.heal();
    assert_eq!(get(&proxy), Ok((200, Ok(BODY.to_owned()))));
    proxy.next(1, "GET ", Fault::Refuse);
    get(&proxy).unwrap_err();
    assert!(get(&proxy).unwrap_err().contains("ConnectionRefused"));
    proxy.heal();
    assert_eq!(get(&proxy), Ok((200, Ok(BODY.to_owned()))));
    let bytes = Proxy::tcp(upstream.address);
    assert_eq!(get(&bytes), Ok((200, Ok(BODY.to_owned()))));
}

#[test]
fn slows_bodies_and_repeats_responses() {
    let upstream = Upstream::plain();
    let proxy = Proxy::http(upstream.address);
    proxy.next(1, "GET ", Fault::Slow(4, Duration::from_millis(20)));
    let began = Instant::now();
    assert_eq!(get(&proxy), Ok((200, Ok(BODY.to_owned()))));
    assert!(began.elapsed() >= Duration::from_millis(80));
    proxy.next(1, "user-agent: ureq", Fault::Late(Duration::from_millis(80)));
    let began = Instant::now();
    assert_eq!(get(&proxy), Ok((200, Ok(BODY.to_owned()))));
    assert!(began.elapsed() >= Duration::from_millis(80));
    proxy.next(1, "GET ", Fault::Repeat("GET /page"));
    assert_eq!(get(&proxy), Ok((200, Ok(BODY.to_owned()))));
    assert_eq!(upstream.heads().len(), 2, "the last response came from the proxy");
}

#[test]
fn slows_bodies_of_requests() {
    let upstream = Upstream::plain();
    let proxy = Proxy::http(upstream.address);
    proxy.next(1, "POST ", Fault::SlowRequest(1, Duration::from_millis(20)));
    let began = Instant::now();
    let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
    assert_eq!(agent.post(format!("{}/page", proxy.url())).send("four").unwrap().status(), 200);
    assert!(began.elapsed() >= Duration::from_millis(80));
    assert_eq!(upstream.bytes(), 4);
}

#[test]
fn resets_requests_of_which_the_server_gets_a_part() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::http(listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut received = String::new();
        listener.accept().unwrap().0.read_to_string(&mut received).unwrap();
        received
    });
    proxy.next(1, "PUT ", Fault::ResetRequestAfter(5));
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.write_all(b"PUT /page HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nall of it").unwrap();
    let mut answer = Vec::new();
    assert_eq!(client.read_to_end(&mut answer).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    drop(proxy);
    let received = server.join().unwrap();
    assert_eq!(received.split_once("\r\n\r\n").unwrap().1, "all o");
}

/// Returns a message of a PostgreSQL server.
fn message(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 4).unwrap().to_be_bytes();
    [&[kind][..], &length, content].concat()
}

/// Starts a server that answers what it receives with these bytes, and then waits for the end.
fn answers(bytes: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 100]);
            let _ = stream.write_all(&bytes);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    address
}

/// Sends a query, and returns what was received, and how the connection ended.
fn query(proxy: &Proxy) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(b"a query").unwrap();
    let _ = stream.shutdown(Shutdown::Write);
    let mut received = Vec::new();
    let end = stream.read_to_end(&mut received).map(|_| ()).map_err(|error| error.kind());
    (received, end)
}

#[test]
fn applies_faults_to_messages_of_a_postgresql_server() {
    let [one, two, done] = [message(b'D', b"row one"), message(b'D', b"row two"), message(b'C', b"COMMIT\0")];
    let all = [&one[..], &two, &done].concat();
    let proxy = Proxy::postgres(answers(all.clone()));
    assert_eq!(query(&proxy), (all.clone(), Ok(())));
    proxy.next(1, "CommandComplete COMMIT", Fault::LoseAnswer);
    let (received, end) = query(&proxy);
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    assert!([&one[..], &two].concat().starts_with(&received), "nothing of the answer to the commit");
    proxy.next(1, "two", Fault::ResetAfter(7));
    assert_eq!(query(&proxy).1, Err(ErrorKind::ConnectionReset));
    proxy.next(1, "two", Fault::TruncateAfter(7));
    assert_eq!(query(&proxy), ([&one[..], &two[..7]].concat(), Ok(())));
    proxy.next(1, "two", Fault::Slow(4, Duration::from_millis(20)));
    let began = Instant::now();
    assert_eq!(query(&proxy), (all, Ok(())));
    assert!(began.elapsed() >= Duration::from_millis(60));
    assert_eq!(proxy.struck(), 4);
}
