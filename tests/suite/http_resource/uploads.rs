//! Other programs upload artifacts.

use std::io::Read as _;

use anacostia::base::Digest;
use serde_json::Value;

use super::{copies, versions, wait_for_copy};
use crate::support::app::TestApp;
use crate::support::wait::{wait_for, wait_until};

const PATH: &str = "/api/v1/resources/api/artifacts?path=rows/a.csv";

fn upload(app: &TestApp, path: &str, body: &[u8], headers: &[(&str, &str)]) -> Result<(u16, Value), ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let mut request = agent.post(format!("{}{path}", app.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.send(body)?;
    let text = response.body_mut().read_to_string()?;
    Ok((response.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null)))
}

/// Uploads go to disk as they arrive: the host holds the same memory for a large one as for none.
#[test]
fn a_large_upload_is_never_whole_in_memory() {
    const BYTES: u64 = 320 << 20;
    let mut app = copies("push = true");
    start(&mut app);
    assert_eq!(app.post("/api/v1/pipeline/pause").0, 200);
    let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
    let mut body = std::io::repeat(b'x').take(BYTES);
    let answer = agent.post(format!("{}{PATH}", app.url())).send(ureq::SendBody::from_reader(&mut body));
    let artifact: Value = serde_json::from_str(&answer.unwrap().body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!(artifact["size"], BYTES, "{artifact}");
    let most = app.most_resident();
    assert!(most < 160 << 20, "the host took {} MiB", most >> 20);
}

/// Starts a host, and waits until it takes uploads.
#[track_caller]
fn start(app: &mut TestApp) {
    app.start();
    wait_until("the host to be ready", || app.try_get("/readyz").is_ok_and(|(code, _)| code == 200));
}

#[test]
fn an_upload_is_an_artifact_and_starts_a_run() {
    let mut app = copies("push = true");
    start(&mut app);
    let digest = Digest::of(b"a,b\n").to_content_digest();
    let (code, first) = upload(&app, PATH, b"a,b\n", &[("content-digest", &digest)]).unwrap();
    assert_eq!((code, first["path"].as_str(), first["version"].as_u64()), (201, Some("rows/a.csv"), Some(1)));
    wait_for_copy(&app, "rows/a.csv", b"a,b\n");
    let hex = Digest::of(b"a,b\n").hex();
    let (code, again) = upload(&app, PATH, b"a,b\n", &[("x-content-sha256", &hex)]).unwrap();
    assert_eq!((code, &again["id"]), (200, &first["id"]), "the same bytes are there already");
    let (code, second) = upload(&app, PATH, b"c,d\n", &[]).unwrap();
    assert_eq!((code, second["version"].as_u64()), (201, Some(2)));
    wait_for_copy(&app, "rows/a.csv", b"c,d\n");
    let empty = upload(&app, "/api/v1/resources/api/artifacts?path=empty", b"", &[]).unwrap();
    assert_eq!((empty.0, empty.1["size"].as_u64()), (201, Some(0)));
}

#[test]
fn what_was_uploaded_can_be_given_to_another_run() {
    let mut app = copies("push = true");
    start(&mut app);
    assert_eq!(upload(&app, PATH, b"a,b\n", &[]).unwrap().0, 201);
    app.wait_for_runs(1);
    let again = app.cli(&["trigger", "PATH", "--inputs", "api/rows/*", "--wait"]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(app.get("/api/v1/runs/2")["inputs"][0]["path"], "rows/a.csv");
}

#[test]
fn a_run_on_an_upload_that_is_not_kept_any_more_is_refused() {
    let mut app = copies("push = true\nkeep = \"0B\"");
    start(&mut app);
    let kept = |app: &TestApp| std::fs::read_dir(app.path("state/resources/api")).unwrap().count();
    assert_eq!(upload(&app, PATH, b"a,b\n", &[]).unwrap().0, 201);
    app.wait_for_runs(1);
    let again = app.cli(&["trigger", "PATH", "--inputs", "api/rows/*", "--wait"]);
    assert!(again.status.success(), "it is still there: {}", String::from_utf8_lossy(&again.stderr));
    app.restart();
    wait_until("the content to be removed", || kept(&app) == 0);
    let refused = app.cli(&["trigger", "PATH", "--inputs", "api/rows/*"]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{error}");
    let why = "no run can use it again: `rows/a.csv` in api is not kept any more: the host keeps only 0 B of \
               content that no run needs, and removed this because it was older; raise `keep` in the manifest to keep more";
    assert!(error.contains(why), "{error}");
    assert_eq!(app.get_all("/api/v1/runs").len(), 2);
    // A dry run says so too, of each artifact.
    let dry = app.cli(&["trigger", "PATH", "--inputs", "api/rows/*", "--dry-run"]);
    assert_eq!(dry.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&dry.stdout).contains("its content is not kept any more"), "{dry:?}");
    let said = "Without `--dry-run` the host refuses this, because the content of 1 artifact is not kept any more: leave \
                them out; raise `keep` in the manifest to keep more.\n";
    assert_eq!(String::from_utf8_lossy(&dry.stderr), said);
    let listed = app.cli(&["trigger", "PATH", "--inputs", "api/rows/*", "--dry-run", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let gone = "`rows/a.csv` in api is not kept any more: the host keeps only 0 B of content that no run needs, and \
                removed this because it was older";
    assert_eq!(listed["items"][0]["gone"], gone);
}

#[test]
fn uploads_wait_at_the_bound_of_kept_content_until_runs_have_ended() {
    let mut app = copies("push = true\nkeep = \"0B\"\nmax_kept = \"10B\"");
    start(&mut app);
    assert_eq!(app.post("/api/v1/pipeline/pause").0, 200);
    let at = |name: &str| format!("/api/v1/resources/api/artifacts?path={name}");
    for name in ["a", "b"] {
        assert_eq!(upload(&app, &at(name), format!("{name} bytes.").as_bytes(), &[]).unwrap().0, 201);
    }
    for _ in 0..2 {
        let (code, problem) = upload(&app, &at("c"), b"8 bytes.", &[]).unwrap();
        assert_eq!(code, 503, "{problem}");
        assert!(
            problem["detail"].as_str().unwrap().contains("the content that runs need has reached `max_kept`"),
            "{problem}"
        );
    }
    let why = wait_for("the reason", || {
        let waiting = app.get("/api/v1/nodes/api")["resource"]["waiting"].clone();
        Some(waiting["items"][0]["reason"].as_str()?.to_owned())
    });
    assert!(why.starts_with("waiting, because runs need 10 B of kept content"), "{why}");
    app.wait_to_say("new content of api is waiting, because runs need 10 B");
    assert_eq!(app.try_get("/readyz").unwrap().0, 200, "runs have to start");
    // The next host knows it too.
    app.restart();
    wait_until("the next host to refuse", || upload(&app, &at("c"), b"8 bytes.", &[]).unwrap().0 == 503);
    assert_eq!(versions(&app).len(), 2, "something was taken");
    assert_eq!(app.post("/api/v1/pipeline/resume").0, 200);
    wait_until("room for the third", || upload(&app, &at("c"), b"8 bytes.", &[]).unwrap().0 == 201);
    wait_for_copy(&app, "c", b"8 bytes.");
    wait_until("nothing to wait", || app.get("/api/v1/nodes/api")["resource"]["waiting"].is_null());
}

#[test]
fn what_cannot_be_taken_is_refused_and_leaves_nothing() {
    let mut app = copies("push = true\nmax_body = \"8B\"");
    start(&mut app);
    let other = Digest::of(b"other").hex();
    let at = |path: &str| format!("/api/v1/resources/{path}");
    let cases = [
        (at("api/artifacts?path=a"), &b"nine byte"[..], vec![], 413, "the body has more than 8 bytes"),
        (at("api/artifacts?path=a"), b"x", vec![("x-content-sha256", other.as_str())], 400, "send it again"),
        (at("api/artifacts?path=a"), b"x", vec![("x-content-sha256", "12")], 400, "write 64 hexadecimal digits"),
        (at("api/artifacts?path=a"), b"x", vec![("content-digest", "md5=:x:")], 400, "write `sha-256=:BASE64:`"),
        (at("api/artifacts?path=../a"), b"x", vec![], 400, "it has the part `..` in it"),
        (at("api/artifacts"), b"x", vec![], 400, "add `?path=NAME`"),
        (at("none/artifacts?path=a"), b"x", vec![], 404, "the manifest has no resource `none`"),
        (at("out/artifacts?path=a"), b"x", vec![], 409, "`out` takes no uploads"),
        (at("api/artifacts?path=a"), b"x", vec![("origin", "http://evil.example.com")], 403, ""),
    ];
    for (path, body, headers, code, detail) in cases {
        let (got, problem) = upload(&app, &path, body, &headers).unwrap();
        assert_eq!(got, code, "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{path}: {problem}");
    }
    assert_eq!(versions(&app), []);
    let left = std::fs::read_dir(app.path("state/resources/api")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing stays of refused uploads");
}

#[test]
fn an_upload_that_is_acknowledged_is_on_record_and_another_is_sent_again() {
    for fault in ["http.uploaded:1", "http.upload_kept:1", "record.in_transaction:1", "record.committed:1"] {
        let mut app = copies("push = true");
        app.set_env("ANACOSTIA_FAULT", fault);
        start(&mut app);
        assert!(upload(&app, PATH, b"a,b\n", &[]).is_err(), "{fault}: it was acknowledged by a dead host");
        app.wait_for_end();
        app.unset_env("ANACOSTIA_FAULT");
        start(&mut app);
        let (code, _) = upload(&app, PATH, b"a,b\n", &[]).unwrap();
        assert_eq!(code, if fault == "record.committed:1" { 200 } else { 201 }, "{fault}");
        wait_for_copy(&app, "rows/a.csv", b"a,b\n");
        app.kill();
        start(&mut app);
        assert_eq!(versions(&app).len(), 1, "{fault}");
        assert_eq!(std::fs::read_dir(app.path("state/resources/api")).unwrap().count(), 1, "{fault}");
    }
}

/// Programs that upload at the same time do not disturb each other.
#[test]
fn uploads_at_the_same_time_are_all_on_record() {
    const CLIENTS: usize = 8;
    let mut app = copies("push = true");
    start(&mut app);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let app = &app;
            scope.spawn(move || {
                for number in 0..10 {
                    let path = format!("/api/v1/resources/api/artifacts?path={client}/{number}");
                    let (code, artifact) = upload(app, &path, path.as_bytes(), &[]).unwrap();
                    assert_eq!((code, artifact["version"].as_u64()), (201, Some(1)), "{artifact}");
                }
            });
        }
    });
    assert_eq!(versions(&app).len(), CLIENTS * 10);
    for client in 0..CLIENTS {
        let path = format!("/api/v1/resources/api/artifacts?path={client}/9");
        wait_for_copy(&app, &format!("{client}/9"), path.as_bytes());
    }
}
