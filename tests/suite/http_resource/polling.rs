//! An endpoint is polled.

use std::time::{Duration, Instant};

use super::origin::{Document, Origin};
use super::{copies, status, versions, wait_for_copy, wait_for_reason};
use crate::support::app::TestApp;
use crate::support::proxy::{Fault, Proxy};
use crate::support::wait::{wait_for, wait_until};

fn polls(proxy: &Proxy, more: &str) -> TestApp {
    copies(&format!("url = \"{}/items.json\"\ninterval = \"100ms\"\n{more}", proxy.url()))
}

/// Waits until the proxy has received so many more requests.
#[track_caller]
fn wait_for_polls(proxy: &Proxy, more: usize) {
    let before = proxy.requests().len();
    wait_until("further polls", || proxy.requests().len() >= before + more);
}

fn items(versions: &[(u64, &str)]) -> Vec<(String, u64, String)> {
    versions.iter().map(|(version, state)| ("items.json".to_owned(), *version, (*state).to_owned())).collect()
}

#[test]
fn a_new_body_is_a_version_and_an_old_one_costs_a_conditional_request() {
    let origin = Origin::start();
    origin.put_text("/items.json", "[1]");
    let proxy = Proxy::http(origin.address);
    let mut app = polls(&proxy, "");
    app.start();
    wait_for_copy(&app, "items.json", b"[1]");
    wait_for_polls(&proxy, 3);
    origin.put_text("/items.json", "[1, 2]");
    wait_for_copy(&app, "items.json", b"[1, 2]");
    app.wait_for_runs(2);
    app.restart();
    wait_for_polls(&proxy, 3);
    assert_eq!(versions(&app), items(&[(1, "old"), (2, "old")]));
    let requests = origin.requests();
    let unconditional = requests.iter().filter(|it| !it.headers.contains_key("if-none-match")).count();
    assert_eq!(unconditional, 1, "the validator survives a restart");
    assert!(requests.last().unwrap().headers["if-none-match"].contains("[1, 2]"));
    let id = app.get("/api/v1/artifacts?resource=api")["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(app.get(&format!("/api/v1/artifacts/{id}/content")), serde_json::json!([1, 2]));
}

#[test]
fn without_an_entity_tag_the_time_or_the_digest_decides() {
    let origin = Origin::start();
    origin.put("/items.json", Document { body: b"a".to_vec(), ..Document::default() });
    let proxy = Proxy::http(origin.address);
    let mut app = polls(&proxy, "");
    app.start();
    wait_for_copy(&app, "items.json", b"a");
    wait_for_polls(&proxy, 4);
    let modified = Some("Sun, 01 Mar 2026 12:00:00 GMT".to_owned());
    origin.put("/items.json", Document { body: b"b".to_vec(), modified: modified.clone(), ..Document::default() });
    wait_for_copy(&app, "items.json", b"b");
    wait_for_polls(&proxy, 3);
    assert_eq!(versions(&app).len(), 2);
    assert_eq!(origin.requests().last().unwrap().headers.get("if-modified-since"), modified.as_ref());
}

#[test]
fn nothing_is_polled_at_the_bound_of_kept_content_until_runs_have_ended() {
    let origin = Origin::start();
    origin.put_text("/items.json", "the first");
    let proxy = Proxy::http(origin.address);
    let mut app = polls(&proxy, "keep = \"0B\"\nmax_kept = \"8B\"");
    app.start();
    wait_for_copy(&app, "items.json", b"the first");
    app.wait_for_runs(1);
    assert_eq!(app.post("/api/v1/pipeline/pause").0, 200);
    origin.put_text("/items.json", "the second");
    wait_until("the second body", || versions(&app).len() == 2);
    let reason = |app: &TestApp| app.get("/api/v1/nodes/api")["resource"]["waiting"]["items"][0]["reason"].clone();
    wait_until("the reason", || reason(&app).to_string().contains("runs need 8 B of kept content"));
    origin.put_text("/items.json", "the third");
    app.restart();
    // It says why it waits before it says that it watches, so that runs start.
    wait_until("the next host to wait", || reason(&app).is_string());
    wait_until("the resource to be watched", || status(&app).0 == "watching");
    assert_eq!(versions(&app).len(), 2);
    assert_eq!(app.post("/api/v1/pipeline/resume").0, 200);
    wait_for_copy(&app, "items.json", b"the third");
    // The copy is published before its run ends.
    app.wait_for_runs(3);
    assert_eq!(versions(&app), items(&[(1, "old"), (2, "old"), (3, "old")]));
    wait_until("nothing to wait", || reason(&app).is_null());
}

#[test]
fn no_fault_loses_or_doubles_a_version() {
    let origin = Origin::start();
    origin.put_text("/items.json", "version 0");
    let proxy = Proxy::http(origin.address);
    let mut app = polls(&proxy, "");
    app.start();
    wait_for_copy(&app, "items.json", b"version 0");
    let faults = [
        Fault::ResetAfter(4),
        Fault::TruncateAfter(4),
        Fault::LoseAnswer,
        Fault::status(500),
        Fault::status(503),
        Fault::Slow(1, Duration::from_millis(5)),
    ];
    let mut expected: u64 = 1;
    for fault in faults {
        let struck = proxy.struck();
        proxy.next(2, "GET ", fault);
        let text = format!("version {expected}");
        origin.put_text("/items.json", &text);
        wait_for_copy(&app, "items.json", text.as_bytes());
        expected += 1;
        assert!(proxy.struck() > struck);
        proxy.heal();
    }
    proxy.refuse();
    wait_for_reason(&app, "cannot connect to the server: Connection refused");
    origin.put_text("/items.json", "the last");
    proxy.heal();
    wait_for_copy(&app, "items.json", b"the last");
    wait_until("the endpoint to be reached again", || status(&app).0 == "watching");
    let versions: Vec<u64> = versions(&app).into_iter().map(|(_, version, _)| version).collect();
    assert_eq!(versions, (1..=expected + 1).collect::<Vec<_>>());
}

#[test]
fn what_is_wrong_is_said_until_it_passes() {
    let origin = Origin::start();
    let proxy = Proxy::http(origin.address);
    let mut app = polls(&proxy, "max_body = \"10B\"\ntimeout = \"200ms\"");
    app.start();
    wait_for_reason(&app, "the server answers 404 Not Found");
    origin.put_text("/items.json", "more than ten bytes");
    wait_for_reason(&app, "the body has 19 B, and `max_body` is 10 B");
    proxy.all("GET ", Fault::Slow(1, Duration::from_secs(1)));
    origin.put_text("/items.json", "ten bytes!");
    wait_for_reason(&app, "the server was silent for 200ms");
    proxy.heal();
    let elsewhere = vec!["Location: http://127.0.0.2:9/".to_owned()];
    proxy.all("GET ", Fault::Answer(302, elsewhere));
    wait_for_reason(&app, "the server redirects to another server, or too many times: set `url` to the new address");
    assert_eq!(versions(&app), []);
    proxy.heal();
    wait_for_copy(&app, "items.json", b"ten bytes!");
}

#[test]
fn the_server_says_how_long_to_wait() {
    let origin = Origin::start();
    origin.put_text("/items.json", "[]");
    let proxy = Proxy::http(origin.address);
    proxy.next(1, "GET ", Fault::retry_after(503, 2));
    let mut app = polls(&proxy, "");
    app.start();
    wait_until("the first poll", || proxy.struck() == 1);
    let began = Instant::now();
    let first = wait_for("the second poll", || origin.requests().first().map(|request| request.at));
    // The first poll was a moment before it was noticed here.
    assert!(first - began > Duration::from_millis(1_500), "only {:?}", first - began);
}

#[test]
fn a_host_that_dies_loses_and_doubles_nothing() {
    for fault in ["http.kept:1", "http.recorded:1", "http.kept:2", "http.recorded:2"] {
        let origin = Origin::start();
        origin.put_text("/items.json", "first");
        let proxy = Proxy::http(origin.address);
        let mut app = polls(&proxy, "");
        if fault.ends_with('2') {
            app.start();
            wait_for_copy(&app, "items.json", b"first");
            app.wait_for_runs(1);
            app.kill();
            origin.put_text("/items.json", "second");
        }
        app.die_at(&fault.replace(":2", ":1"));
        app.start();
        let (content, count): (&[u8], _) = if fault.ends_with('2') { (b"second", 2) } else { (b"first", 1) };
        wait_for_copy(&app, "items.json", content);
        wait_for_polls(&proxy, 2);
        assert_eq!(versions(&app).len(), count, "{fault}");
        let kept = std::fs::read_dir(app.path("state/resources/api")).unwrap().count();
        assert_eq!(kept, count, "{fault}");
    }
}

#[test]
fn a_secret_is_in_the_request_and_nowhere_else() {
    const SECRETS: [&str; 2] = ["Bearer tops3cret-header", "tops3cret-query"];
    let origin = Origin::start();
    let next = "Link: </items.json?page=2&key=tops3cret-query>; rel=\"next\"".to_owned();
    let page = |headers| Document { body: b"[]".to_vec(), headers, ..Document::default() };
    origin.put("/items.json?key=tops3cret-query", page(vec![next]));
    origin.put("/items.json?page=2&key=tops3cret-query", page(Vec::new()));
    let proxy = Proxy::http(origin.address);
    let keys = "paging = \"link\"\nheaders = { Authorization = \"env:HEADER\", accept = \"application/json\" }\nquery = { key = \"env:QUERY\" }";
    let mut app = polls(&proxy, keys);
    app.set_env("HEADER", SECRETS[0]);
    app.set_env("QUERY", SECRETS[1]);
    app.start();
    wait_for_copy(&app, "items-000002.json", b"[]");
    proxy.next(1, "GET ", Fault::ResetAfter(1));
    proxy.next(1, "GET ", Fault::status(500));
    proxy.next(1, "GET ", Fault::LoseAnswer);
    wait_until("the faults", || proxy.struck() == 3);
    proxy.refuse();
    wait_for_reason(&app, "cannot connect to the server");
    let request = &origin.requests()[0];
    assert_eq!(
        (request.headers["authorization"].as_str(), request.headers["accept"].as_str()),
        (SECRETS[0], "application/json")
    );
    let answers = ["/api/v1/nodes/api", "/api/v1/nodes", "/api/v1/artifacts", "/api/v1/pipeline"]
        .map(|path| app.get(path).to_string());
    let listed = app.cli(&["artifacts", "list", "PATH"]).stdout;
    app.kill();
    let told = format!("{}{}{}", app.said(), answers.concat(), String::from_utf8_lossy(&listed));
    assert!(!told.contains("tops3cret"), "{told}");
    for entry in walk(&app.path("state")) {
        let bytes = std::fs::read(&entry).unwrap();
        assert!(!bytes.windows(9).any(|part| part == b"tops3cret"), "{} has the secret", entry.display());
    }
}

#[test]
fn the_query_of_an_endpoint_is_not_shown() {
    let origin = Origin::start();
    let proxy = Proxy::http(origin.address);
    for (at, written) in [("", "key=tops3cret"), ("items.json", "key=${QUERY}&more=tops3cret")] {
        let mut app = copies(&format!("url = \"{}/{at}?{written}\"", proxy.url()));
        app.set_env("QUERY", "tops3cret");
        app.start();
        let place = format!("{}/{at}", proxy.url());
        assert_eq!(app.get("/api/v1/nodes/api")["resource"]["path"], place);
        let page = app.page();
        assert!(page.contains(&place.replace('/', "&#x2f;")), "{page}");
        let all = [page, app.get("/api/v1/nodes").to_string(), app.get("/api/v1/pipeline").to_string(), app.said()];
        assert!(all.iter().all(|text| !text.contains("tops3cret") && !text.contains("QUERY")), "{all:?}");
    }
}

pub(super) fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn what_no_run_needs_is_removed_and_reading_it_says_so() {
    let origin = Origin::start();
    origin.put_text("/items.json", "needed by nobody");
    let proxy = Proxy::http(origin.address);
    let mut app = polls(&proxy, "keep = \"0B\"");
    app.start();
    wait_for_copy(&app, "items.json", b"needed by nobody");
    app.wait_for_runs(1);
    app.restart();
    wait_until("the content to be removed", || {
        std::fs::read_dir(app.path("state/resources/api")).unwrap().count() == 0
    });
    let id = app.get("/api/v1/artifacts?resource=api")["items"][0]["id"].as_str().unwrap().to_owned();
    let (code, problem) = app.try_get(&format!("/api/v1/artifacts/{id}/content")).unwrap();
    assert_eq!(code, 410);
    assert_eq!(
        problem["detail"],
        "`items.json` in api is not kept any more: the host keeps only 0 B of content that no run needs, and removed \
         this because it was older"
    );
}

#[test]
fn what_a_paused_run_still_needs_is_kept() {
    let origin = Origin::start();
    origin.put_text("/items.json", "needed");
    let proxy = Proxy::http(origin.address);
    let mut app = polls(&proxy, "keep = \"0B\"");
    assert!(app.cli(&["check", "PATH"]).status.success());
    app.start();
    app.post("/api/v1/pipeline/pause");
    wait_until("the first body to be recorded", || versions(&app).iter().any(|(_, version, _)| *version == 1));
    origin.put_text("/items.json", "needed too");
    wait_until("the body to be recorded", || versions(&app).iter().any(|(_, version, _)| *version == 2));
    app.restart();
    wait_for_polls(&proxy, 2);
    app.post("/api/v1/pipeline/resume");
    wait_for_copy(&app, "items.json", b"needed too");
}

/// The body goes to disk as it arrives.
#[test]
fn a_large_body_is_never_whole_in_memory() {
    const BYTES: usize = 192 << 20;
    let origin = Origin::start();
    origin.put("/items.json", Document { body: vec![b'x'; BYTES], ..Document::default() });
    let proxy = Proxy::http(origin.address);
    let mut app = polls(&proxy, "");
    app.start();
    app.post("/api/v1/pipeline/pause");
    wait_until("the body to be recorded", || {
        app.get("/api/v1/artifacts?resource=api")["items"][0]["size"] == serde_json::json!(BYTES)
    });
    let most = app.most_resident();
    assert!(most < 160 << 20, "the host took {} MiB", most >> 20);
}

#[test]
fn a_trigger_says_that_its_resource_cannot_be_reached_until_it_can() {
    let origin = Origin::start();
    origin.put_text("/items.json", "[1]");
    let proxy = Proxy::http(origin.address);
    proxy.refuse();
    let mut app = polls(&proxy, "[triggers.tick]\nevery = \"1s\"");
    app.start();
    let why = "api cannot be reached: cannot connect to the server: Connection refused (os error 111)";
    let last =
        |app: &TestApp, trigger: &str| app.get_all(&format!("/api/v1/triggers?trigger={trigger}")).into_iter().next();
    for trigger in ["api", "tick"] {
        let tick = wait_for(&format!("{trigger} to say why"), || last(&app, trigger).filter(|it| it["reason"] == why));
        assert_eq!(tick["outcome"], "not_ready", "{tick}");
    }
    let listed = String::from_utf8(app.cli(&["triggers", "PATH"]).stdout).unwrap();
    let words = listed.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words.matches(&format!("held {why}")).count(), 2, "{listed}");
    let page = app.page();
    let next = page.split_once("Next runs").unwrap().1;
    assert!(next.matches(why).count() >= 2, "each of the two says it: {page}");
    proxy.heal();
    wait_for_copy(&app, "items.json", b"[1]");
    wait_until("the schedule to fire", || last(&app, "tick").is_some_and(|tick| tick["outcome"] == "fired"));
    // What is over is not shown as if it were not, also by the next host.
    for restarts in [false, true] {
        proxy.refuse();
        wait_until("the next outage", || last(&app, "api").is_some_and(|tick| tick["reason"] == why));
        if restarts {
            app.kill();
        }
        proxy.heal();
        if restarts {
            app.start();
        }
        wait_until("its end", || last(&app, "api").is_some_and(|tick| tick["reason"] == "nothing new"));
    }
}
