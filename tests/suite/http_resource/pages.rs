//! An endpoint has pages.

use super::origin::{Document, Origin};
use super::{copies, versions, wait_for_copy, wait_for_reason};
use crate::support::app::TestApp;
use crate::support::proxy::{Fault, Proxy};
use crate::support::wait::wait_until;

fn polls(proxy: &Proxy, paging: &str) -> TestApp {
    copies(&format!("url = \"{}/list.json\"\ninterval = \"100ms\"\npaging = {paging}", proxy.url()))
}

/// Puts pages at their targets, each with a link to the next.
fn put_linked(origin: &Origin, bodies: &[&str]) {
    for (at, body) in bodies.iter().enumerate() {
        let target = if at == 0 { "/list.json".to_owned() } else { format!("/list.json?page={}", at + 1) };
        let next = format!("Link: </list.json?page={}>; rel=\"next\"", at + 2);
        let headers = if at + 1 < bodies.len() { vec![next] } else { Vec::new() };
        let etag = Some(format!("\"{at}-{body}-{}\"", headers.len()));
        origin.put(&target, Document { body: (*body).into(), etag, modified: None, headers });
    }
}

fn paths_and_versions(app: &TestApp) -> Vec<(String, u64)> {
    let mut found: Vec<_> = versions(app).into_iter().map(|(path, version, _)| (path, version)).collect();
    found.sort();
    found
}

fn pages(versions: &[(u64, u64)]) -> Vec<(String, u64)> {
    versions.iter().map(|(page, version)| (format!("list-{page:06}.json"), *version)).collect()
}

#[test]
fn a_list_is_followed_by_its_links_and_each_page_is_an_artifact() {
    let origin = Origin::start();
    put_linked(&origin, &["[1]", "[2]", "[3]"]);
    let proxy = Proxy::http(origin.address);
    let mut app = polls(&proxy, "\"link\"");
    app.start();
    for page in 1..=3 {
        wait_for_copy(&app, &format!("list-{page:06}.json"), format!("[{page}]").as_bytes());
    }
    put_linked(&origin, &["[1]", "[22]", "[3]"]);
    wait_for_copy(&app, "list-000002.json", b"[22]");
    assert_eq!(paths_and_versions(&app), pages(&[(1, 1), (2, 1), (2, 2), (3, 1)]));
    app.wait_for_runs(2);

    // Page 2 is answered with page 1, which names page 2 as the next one.
    proxy.all("GET /list.json?page=2", Fault::Repeat("GET /list.json HTTP"));
    put_linked(&origin, &["[111]", "[22]", "[3]"]);
    wait_for_reason(&app, "a page names a page before it, or itself, as the next one");
    assert_eq!(versions(&app).len(), 4, "nothing of half a list counts");
    proxy.heal();
    wait_for_copy(&app, "list-000001.json", b"[111]");
    assert_eq!(paths_and_versions(&app), pages(&[(1, 1), (1, 2), (2, 1), (2, 2), (3, 1)]));
    app.wait_for_runs(3);

    put_linked(&origin, &["[111]", "[22]"]);
    wait_until("the page to be gone", || {
        let newest = app.get("/api/v1/artifacts?resource=api&path=list-000003.json")["items"][0].clone();
        newest["present"] == false
    });
}

#[test]
fn a_list_that_leads_to_another_server_is_not_followed() {
    let (origin, other) = (Origin::start(), Origin::start());
    let link = format!("Link: <http://{}/list.json>; rel=next", other.address);
    origin.put("/list.json", Document { body: b"[]".to_vec(), headers: vec![link], ..Document::default() });
    let proxy = Proxy::http(origin.address);
    let mut app = polls(&proxy, "\"link\"");
    app.start();
    wait_for_reason(&app, "the next page is on another server");
    assert!(other.requests().is_empty() && versions(&app).is_empty());
}

/// Puts a page of a list that is paged by a cursor.
fn put_page(origin: &Origin, after: Option<&str>, body: &str) {
    let target = after.map_or("/list.json".to_owned(), |after| format!("/list.json?after={after}"));
    origin.put_text(&target, body);
}

#[test]
fn a_list_with_a_cursor_goes_on_at_its_last_page_also_after_a_restart() {
    let origin = Origin::start();
    put_page(&origin, None, r#"{"items": [1], "meta": {"next": "a"}}"#);
    put_page(&origin, Some("a"), r#"{"items": [2], "meta": {"next": 7}}"#);
    put_page(&origin, Some("7"), r#"{"items": [3], "meta": {"next": null}}"#);
    let proxy = Proxy::http(origin.address);
    let mut app = polls(&proxy, "{ param = \"after\", field = \"meta.next\" }");
    for fault in ["http.kept:1", "http.recorded:1"] {
        app.die_at(fault);
    }
    app.start();
    wait_for_copy(&app, "list-000003.json", br#"{"items": [3], "meta": {"next": null}}"#);
    let before = proxy.requests().len();
    put_page(&origin, Some("7"), r#"{"items": [3, 4], "meta": {"next": "b"}}"#);
    put_page(&origin, Some("b"), r#"{"items": [5], "meta": {}}"#);
    wait_for_copy(&app, "list-000004.json", br#"{"items": [5], "meta": {}}"#);
    wait_until("further polls", || proxy.requests().len() > before + 5);
    let first = proxy.requests()[before..].iter().filter(|line| line.starts_with("GET /list.json HTTP")).count();
    assert_eq!(first, 0, "the first page is not read again");
    assert_eq!(paths_and_versions(&app), pages(&[(1, 1), (2, 1), (3, 1), (3, 2), (4, 1)]));
    origin.remove("/list.json?after=b");
    origin.put_text("/list.json?after=b", "<html>");
    wait_for_reason(&app, "`meta.next` cannot be read from the body, which is not JSON");
}
