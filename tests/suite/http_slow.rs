//! Clients that are slow, or stop: what the server gives up, after how long, and what it answers.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use anacostia::base::RunId;
use anacostia::http::{MAX_BODY_BYTES, Patience};
use anacostia::model::{ArtifactState, RunDetail, RunState};
use serde_json::Value;

use crate::http_support::{Server, a_run, an_artifact};
use crate::support::wait::wait_until;

/// How long the server of a test waits: a moment, because nothing else comes.
const MOMENT: Duration = Duration::from_millis(200);

/// Returns the method and the path of each request that takes a body, for a server with a run.
fn taking_bodies() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (path, operations) in anacostia::http::document()["paths"].as_object().unwrap() {
        let operations = operations.as_object().unwrap().iter();
        for (method, _) in operations.filter(|(_, operation)| operation.get("requestBody").is_some()) {
            let id = if method == "put" { RunId::new().to_string() } else { "1".to_owned() };
            let name = if path.contains("/actions/") { "train" } else { "raw" };
            let query = if path.ends_with("/artifacts") { "?path=a.csv" } else { "" };
            let path = path.replace("{id}", &id).replace("{name}", name);
            found.push((method.to_uppercase(), format!("{path}{query}")));
        }
    }
    // It takes an empty body alone, and so it has to look.
    found.push(("POST".to_owned(), "/api/v1/pipeline/pause".to_owned()));
    assert!(found.len() >= 9, "{found:?}");
    found
}

/// Begins a request with a body of this length.
fn begin(server: &Server, method: &str, path: &str, length: usize) -> TcpStream {
    let mut stream = server.connect();
    let host = server.address;
    let kind = "Content-Type: application/json";
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{kind}\r\nContent-Length: {length}\r\n\r\n").unwrap();
    stream
}

/// Asserts that the rest of a connection is an answer with this problem, and its end. Returns the
/// problem.
#[track_caller]
fn assert_problem(mut stream: TcpStream, status: u16, kind: &str, what: &str) -> Value {
    let mut answer = Vec::new();
    // The server may close it while there is something that it has not read.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer:?}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains("\r\ncontent-type: application/problem+json"), "{what}: {head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["type"], format!("urn:anacostia:problem:{kind}"), "{what}");
    body
}

/// Adds run 1, which the paths of [`taking_bodies`] name.
fn with_a_run(server: &Server) {
    let detail = RunDetail { run: a_run(1, RunState::Succeeded), actions: vec![], attempts: vec![] };
    server.store.runs.lock().unwrap().push(detail);
}

#[test]
fn a_body_that_does_not_arrive_is_given_up_on_every_route() {
    let server = Server::patient(Patience { body: MOMENT, upload: MOMENT, ..Patience::default() });
    with_a_run(&server);
    for (method, path) in taking_bodies() {
        for sent in ["", "{"] {
            let mut stream = begin(&server, &method, &path, 9);
            stream.write_all(sent.as_bytes()).unwrap();
            assert_problem(stream, 408, "body-too-slow", &format!("{method} {path} after {sent:?}"));
        }
    }
    assert!(!*server.store.paused.lock().unwrap());
}

#[test]
fn a_body_that_is_too_large_is_refused_on_every_route_before_it_has_arrived() {
    let server = Server::patient(Patience::default());
    with_a_run(&server);
    for (method, path) in taking_bodies() {
        let mut stream = begin(&server, &method, &path, 3 << 20);
        // The server may have refused it already, by its length.
        let _ = stream.write_all(&vec![b' '; MAX_BODY_BYTES + 1]);
        assert_problem(stream, 413, "body-too-large", &format!("{method} {path}"));
    }
    assert!(!*server.store.paused.lock().unwrap());
}

#[test]
fn a_body_that_ends_early_is_refused_on_every_route() {
    let server = Server::patient(Patience::default());
    with_a_run(&server);
    for (method, path) in taking_bodies() {
        for sent in ["", "{}"] {
            let mut stream = begin(&server, &method, &path, 9);
            stream.write_all(sent.as_bytes()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let problem = assert_problem(stream, 400, "body-incomplete", &format!("{method} {path} after {sent:?}"));
            assert_eq!(
                problem["detail"],
                "the body ended early: end of file before message length reached; send it again"
            );
        }
    }
    assert!(!*server.store.paused.lock().unwrap());
    assert_eq!(*server.control.calls.lock().unwrap(), Vec::<String>::new());
}

/// Also one whose length nobody has announced.
#[test]
fn a_body_in_chunks_without_the_last_one_is_refused() {
    let server = Server::patient(Patience::default());
    let mut stream = server.connect();
    let head = "Content-Type: application/json\r\nTransfer-Encoding: chunked";
    write!(stream, "POST /api/v1/pipeline/pause HTTP/1.1\r\nHost: {}\r\n{head}\r\n\r\n", server.address).unwrap();
    stream.write_all(b"2\r\n{}\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_problem(stream, 400, "body-incomplete", "a pause");
    assert!(!*server.store.paused.lock().unwrap());
}

#[test]
fn a_connection_without_a_request_is_closed() {
    let server = Server::patient(Patience { head: MOMENT, ..Patience::default() });
    for sent in ["", "GET /healthz HTTP/1.1\r\nHost: 127"] {
        let mut stream = server.connect();
        stream.write_all(sent.as_bytes()).unwrap();
        let mut answer = Vec::new();
        assert_eq!(stream.read_to_end(&mut answer).unwrap(), 0, "{sent:?}: {}", String::from_utf8_lossy(&answer));
    }
    // Nor is one kept after its request.
    let mut stream = server.connect();
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", server.address).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// The system counts, so this holds on Linux only.
#[cfg(target_os = "linux")]
#[test]
fn a_client_that_does_not_read_its_answer_is_disconnected() {
    const BYTES: usize = 32 << 20; // more than the buffers of the system hold
    let server = Server::patient(Patience { stall: MOMENT, ..Patience::default() });
    let content = vec![b'x'; BYTES];
    let artifact = an_artifact("large", &content, ArtifactState::New);
    let path = format!("/api/v1/artifacts/{}/content", artifact.id);
    server.store.artifacts.lock().unwrap().push(artifact);
    server.resource.contents.lock().unwrap().insert("large".to_owned(), content);
    let mut stream = server.connect();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", server.address).unwrap();
    wait_until("the answer to begin", || server.resource.open_readers() == 1);
    wait_until("the server to give it up", || server.resource.open_readers() == 0);
    let mut read = Vec::new();
    let _ = stream.read_to_end(&mut read);
    assert!(read.len() < BYTES, "all of it was sent");
    assert_eq!(server.get("/healthz").status, 200);
}
