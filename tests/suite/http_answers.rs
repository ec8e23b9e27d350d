//! What every answer gets: the id of its request, compression, entity tags, `HEAD` and `OPTIONS`.

use std::io::Read as _;

use anacostia::model::{ArtifactState, RunDetail, RunState};

use crate::http_support::{Answer, Server, a_run, an_artifact};

const GZIP: [(&str, &str); 1] = [("accept-encoding", "br, gzip;q=0.8")];

/// Starts a server with `runs` runs, and one artifact with this content.
fn filled(runs: u64, content: &[u8]) -> (Server, String) {
    let server = Server::start();
    for number in 1..=runs {
        let detail = RunDetail { run: a_run(number, RunState::Succeeded), actions: vec![], attempts: vec![] };
        server.store.runs.lock().unwrap().push(detail);
    }
    let artifact = an_artifact("a.csv", content, ArtifactState::New);
    let id = artifact.id.to_string();
    server.resource.contents.lock().unwrap().insert("a.csv".into(), content.to_vec());
    server.store.artifacts.lock().unwrap().push(artifact);
    (server, id)
}

fn unzipped(answer: &Answer) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(answer.body.as_ref().unwrap().as_slice()).read_to_end(&mut plain).unwrap();
    plain
}

#[test]
fn pages_json_and_assets_are_compressed_for_clients_that_accept_it() {
    let (server, _) = filled(20, b"");
    for path in ["/", "/api/v1/runs", "/openapi.json", "/assets/plain.css", "/assets/live.js"] {
        let (zipped, plain) = (server.send("GET", path, &GZIP, b""), server.get(path));
        assert_eq!((zipped.status, zipped.header("content-encoding")), (200, "gzip"), "{path}");
        assert_eq!((plain.status, plain.header("content-encoding")), (200, ""), "{path}");
        for answer in [&zipped, &plain] {
            assert!(answer.headers.get_all("vary").iter().any(|name| name == "accept-encoding"), "{path}");
        }
        assert!(zipped.body.as_ref().unwrap().len() * 2 < plain.body.as_ref().unwrap().len(), "{path}");
        if path != "/" {
            assert_eq!(unzipped(&zipped), *plain.body.as_ref().unwrap(), "{path}");
        }
        assert_eq!(zipped.header("etag"), plain.header("etag"), "{path}");
    }
    let refused = server.send("GET", "/api/v1/runs", &[("accept-encoding", "gzip;q=0, identity")], b"");
    assert_eq!(refused.header("content-encoding"), "");
}

#[test]
fn small_answers_events_and_artifacts_are_not_compressed() {
    let content = "a,b\n".repeat(5000);
    let (server, id) = filled(1, content.as_bytes());
    let path = format!("/api/v1/artifacts/{id}/content");
    for (path, range) in [("/healthz", ""), (&path, ""), (&path, "bytes=0-3999")] {
        let mut headers = GZIP.to_vec();
        if !range.is_empty() {
            headers.push(("range", range));
        }
        let answer = server.send("GET", path, &headers, b"");
        assert!(
            matches!(answer.status, 200 | 206) && answer.header("content-encoding").is_empty(),
            "{path}: {answer:?}"
        );
        assert_eq!(answer.header("content-length"), answer.text().len().to_string(), "{path}");
    }
    // A `HEAD` has the headers of the stream, which has no end.
    let events = server.send("HEAD", "/api/v1/events", &GZIP, b"");
    assert_eq!((events.header("content-type"), events.header("content-encoding")), ("text/event-stream", ""));
}

#[test]
fn every_answer_has_the_id_of_its_request() {
    let (server, id) = filled(1, b"1");
    let content = format!("/api/v1/artifacts/{id}/content");
    let asked = [
        ("GET", "/", 200),
        ("GET", "/healthz", 200),
        ("GET", content.as_str(), 200),
        ("GET", "/nowhere", 404),
        ("DELETE", "/api/v1/runs", 405),
        ("OPTIONS", "/api/v1/runs", 204),
        ("HEAD", "/api/v1/events", 200),
    ];
    for (method, path, status) in asked {
        let answer = server.send(method, path, &[("x-request-id", "proxy-17.a")], b"");
        assert_eq!((answer.status, answer.header("x-request-id")), (status, "proxy-17.a"), "{method} {path}");
        let answer = server.send(method, path, &[("x-request-id", "not \"one\" word")], b"");
        let made = answer.header("x-request-id");
        assert!(made.len() == 32 && made.bytes().all(|c| c.is_ascii_hexdigit()), "{method} {path}: {made}");
    }
    let refused = server.send("GET", "/", &[("host", "evil.example"), ("x-request-id", "r-2")], b"");
    assert_eq!((refused.status, refused.header("x-request-id")), (421, "r-2"));
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let (server, id) = filled(20, b"1,2,3");
    let content = format!("/api/v1/artifacts/{id}/content");
    for path in ["/api/v1/runs", "/api/v1/runs/1", "/openapi.json", "/assets/plain.css", "/nowhere", &content] {
        for headers in [&[][..], &GZIP] {
            let (get, head) = (server.send("GET", path, headers, b""), server.send("HEAD", path, headers, b""));
            assert_eq!((head.status, head.text().as_str()), (get.status, ""), "{path}");
            for name in ["content-type", "content-encoding", "content-length", "etag", "cache-control", "vary"] {
                assert_eq!(head.header(name), get.header(name), "{path}: {name}");
            }
        }
    }
}

#[test]
fn options_and_refused_methods_say_which_methods_there_are() {
    let (server, id) = filled(1, b"1");
    for (path, methods) in [
        ("/", "GET,HEAD,OPTIONS"),
        ("/approvals", "GET,HEAD,POST,OPTIONS"),
        ("/assets/plain.css", "GET,HEAD,OPTIONS"),
        ("/api/v1/events", "GET,HEAD,OPTIONS"),
        ("/api/v1/pipeline/pause", "POST,OPTIONS"),
        (&format!("/api/v1/artifacts/{id}/content"), "GET,HEAD,OPTIONS"),
        ("/api/v1/runs/1", "GET,HEAD,PUT,OPTIONS"),
    ] {
        let options = server.send("OPTIONS", path, &[], b"");
        assert_eq!((options.status, options.header("allow"), options.text().as_str()), (204, methods, ""), "{path}");
        let refused = server.send("DELETE", path, &[], b"");
        refused.problem(405, "method-not-allowed");
        assert_eq!(refused.header("allow"), methods, "{path}");
    }
    assert_eq!(server.send("OPTIONS", "/nowhere", &[], b"").status, 404);
    assert_eq!(server.send("HEAD", "/api/v1/pipeline/pause", &[], b"").status, 405);
    assert!(!*server.store.paused.lock().unwrap());
}

#[test]
fn a_client_that_has_the_answer_gets_304() {
    let (server, id) = filled(1, b"1,2,3");
    let (artifact, content) = (format!("/api/v1/artifacts/{id}"), format!("/api/v1/artifacts/{id}/content"));
    for path in ["/api/v1/runs/1", "/api/v1/runs", "/openapi.json", "/assets/live.js", &artifact, &content] {
        let first = server.get(path);
        let tag = first.header("etag").to_owned();
        assert!(first.status == 200 && tag.ends_with('"'), "{path}: {tag}");
        for known in [tag.clone(), format!("\"other\", {tag}"), "*".to_owned()] {
            let again = server.send("GET", path, &[("if-none-match", &known)], b"");
            assert_eq!((again.status, again.header("etag"), again.text().as_str()), (304, tag.as_str(), ""), "{path}");
            assert!(!again.header("cache-control").contains("no-store"), "{path}");
        }
        let other = server.send("GET", path, &[("if-none-match", "\"other\"")], b"");
        assert_eq!((other.status, other.text()), (200, first.text()), "{path}");
    }
    let tag = server.get("/api/v1/runs/1").header("etag").to_owned();
    server.store.runs.lock().unwrap()[0].run.state = RunState::Failed;
    let changed = server.send("GET", "/api/v1/runs/1", &[("if-none-match", &tag)], b"");
    assert!(changed.status == 200 && changed.header("etag") != tag);
    // What changes something is not answered from a cache.
    let pause = server.send("POST", "/api/v1/pipeline/pause", &[("if-none-match", "*")], b"");
    assert_eq!((pause.status, pause.header("etag")), (200, ""));
}
