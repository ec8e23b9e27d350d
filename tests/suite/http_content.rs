//! The content of artifacts.

use anacostia::model::{Artifact, ArtifactState};

use crate::http_support::{Answer, Server, an_artifact};

/// Content that is longer than several chunks, without repetitions.
fn long() -> Vec<u8> {
    (0..1_000_003_u32)
        .flat_map(|number| [number % 251, number / 251 % 256])
        .map(|byte| u8::try_from(byte).unwrap())
        .collect()
}

fn put(server: &Server, path: &str, content: &[u8], change: impl FnOnce(&mut Artifact)) -> String {
    let mut artifact = an_artifact(path, content, ArtifactState::New);
    change(&mut artifact);
    let address = format!("/api/v1/artifacts/{}/content", artifact.id);
    server.store.artifacts.lock().unwrap().push(artifact);
    server.resource.contents.lock().unwrap().insert(path.to_owned(), content.to_vec());
    address
}

fn part(server: &Server, address: &str, range: &str) -> Answer {
    server.send("GET", address, &[("Range", range)], b"")
}

#[test]
fn content_is_sent_as_a_sandboxed_download() {
    let server = Server::start();
    let content = long();
    let address = put(&server, "in/<script>\"ü.html", &content, |_| ());
    let answer = server.get(&address);
    assert_eq!(answer.status, 200);
    assert!(answer.body.as_ref().unwrap() == &content);
    assert_eq!(answer.header("content-length"), content.len().to_string());
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert!(answer.header("content-security-policy").starts_with("sandbox; default-src 'none'"));
    assert_eq!(
        answer.header("content-disposition"),
        "attachment; filename=\"_script___.html\"; filename*=UTF-8''%3Cscript%3E%22%C3%BC.html"
    );
    let head = server.send("HEAD", &address, &[], b"");
    assert_eq!((head.status, head.header("content-length")), (200, content.len().to_string().as_str()));
}

#[test]
fn ranges_are_206_and_unsatisfiable_ranges_are_416() {
    let server = Server::start();
    let content = long();
    let address = put(&server, "a.bin", &content, |_| ());
    let size = content.len();
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=300000-900000", 300_000, 900_001),
        ("bytes=2000000-", 2_000_000, size),
        ("bytes=-7", size - 7, size),
    ] {
        let answer = part(&server, &address, range);
        assert_eq!(answer.status, 206, "{range}");
        assert_eq!(answer.header("content-range"), format!("bytes {from}-{}/{size}", to - 1));
        assert_eq!(answer.header("content-length"), (to - from).to_string());
        assert!(answer.body.as_ref().unwrap() == &content[from..to], "{range}");
    }
    let answer = part(&server, &address, &format!("bytes={size}-"));
    answer.problem(416, "range-not-satisfiable");
    assert_eq!(answer.header("content-range"), format!("bytes */{size}"));
    assert_eq!(part(&server, &address, "bytes=0-1,5-6").status, 200);
}

#[test]
fn an_empty_artifact_has_an_empty_body() {
    let server = Server::start();
    let address = put(&server, "empty", b"", |_| ());
    let answer = server.get(&address);
    assert_eq!((answer.status, answer.header("content-length"), answer.text().as_str()), (200, "0", ""));
    part(&server, &address, "bytes=0-").problem(416, "range-not-satisfiable");
}

#[test]
fn conditional_requests_honour_the_etag() {
    let server = Server::start();
    let address = put(&server, "a.csv", b"1,2,3", |_| ());
    let tag = server.get(&address).header("etag").to_owned();
    assert_eq!(server.send("GET", &address, &[("If-None-Match", &tag)], b"").status, 304);
    assert_eq!(server.send("GET", &address, &[("If-None-Match", "\"sha256:00\"")], b"").status, 200);
    let other = [("Range", "bytes=0-0"), ("If-Range", "\"sha256:00\"")];
    assert_eq!(server.send("GET", &address, &other, b"").status, 200);
    assert_eq!(server.send("GET", &address, &[("Range", "bytes=0-0"), ("If-Range", &tag)], b"").status, 206);
}

#[test]
fn overwritten_content_is_410_and_unknown_artifacts_are_404() {
    let server = Server::start();
    let absent = put(&server, "overwritten", b"1", |artifact| artifact.present = false);
    server.get(&absent).problem(410, "gone");
    let replaced = put(&server, "replaced", b"1", |_| ());
    server.resource.contents.lock().unwrap().insert("replaced".into(), b"2".to_vec());
    server.get(&replaced).problem(410, "gone");
    let deleted = put(&server, "deleted", b"1", |_| ());
    server.resource.contents.lock().unwrap().remove("deleted");
    server.get(&deleted).problem(410, "gone");
    let elsewhere = put(&server, "elsewhere", b"1", |artifact| artifact.resource = "former".into());
    server.get(&elsewhere).problem(410, "gone");
    let ignored = put(&server, "fifo", b"", |artifact| {
        (artifact.state, artifact.digest) = (ArtifactState::Ignored, None);
        artifact.reason = Some("it is a FIFO".into());
    });
    assert!(server.get(&ignored).problem(404, "not-found")["detail"].as_str().unwrap().contains("it is a FIFO"));
    server.get("/api/v1/artifacts/01890a5d-ac96-774b-bcce-b302099a8057/content").problem(404, "not-found");
    server.get("/api/v1/artifacts/..%2f..%2fetc%2fpasswd/content").problem(400, "bad-request");
}

#[test]
fn a_response_is_cut_off_when_the_content_changes() {
    let server = Server::start();
    let content = long();
    let address = put(&server, "a.bin", &content, |_| ());
    *server.resource.changes_at.lock().unwrap() = Some(1_500_000);
    let answer = server.get(&address);
    assert_eq!(answer.status, 200);
    assert!(answer.body.is_err(), "the response must be cut off");
    *server.resource.changes_at.lock().unwrap() = Some(0);
    server.get(&address).problem(410, "gone");
}
