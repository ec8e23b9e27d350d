//! The web page.

use anacostia::model::{RunDetail, RunState};

use crate::http_support::{Server, a_run};

#[test]
fn an_empty_pipeline_shows_what_to_do_next() {
    let server = Server::start();
    let answer = server.get("/");
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/html; charset=utf-8"));
    let page = answer.text();
    assert!(page.contains("No runs yet."));
    // The folder is displayed as in the manifest: the variable is not replaced.
    assert!(page.contains("cp FILE &#x27;${DATA}&#x2f;raw&#x2f;&#x27;") || page.contains("${DATA}"), "{page}");
}

#[test]
fn the_table_of_runs_escapes_all_text() {
    let server = Server::start();
    for (number, state) in [(1, RunState::Succeeded), (2, RunState::Failed), (3, RunState::Running)] {
        let mut run = a_run(number, state);
        run.trigger = "<img src=x onerror=alert(1)>".into();
        let detail = RunDetail { run, inputs: vec![], actions: vec![], attempts: vec![] };
        server.store.runs.lock().unwrap().push(detail);
    }
    let page = server.get("/").text();
    for text in ["succeeded", "failed", "running", "340 ms", "href=\"/runs/3\"", "&lt;img", "&lt;script&gt;"] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
    assert!(!page.contains("<img") && !page.contains("<script>"));
    let next = |number: u64| page.contains(&format!("`anacostia runs show {number}` says what to do next"));
    assert_eq!([1, 2, 3].map(next), [false, true, false], "it is for the run that failed: {page}");
}

#[test]
fn the_page_obeys_its_content_security_policy_and_its_links_work() {
    let server = Server::start();
    let detail = RunDetail { run: a_run(1, RunState::Succeeded), inputs: vec![], actions: vec![], attempts: vec![] };
    server.store.runs.lock().unwrap().push(detail);
    let page = server.get("/").text();
    for forbidden in ["style=", "onclick", "<style", "http://", "https://", "javascript:"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    let attributes = page.split(['\n', ' ', '>']);
    let links: Vec<String> = attributes
        .filter_map(|text| text.strip_prefix("href=\"").or_else(|| text.strip_prefix("src=\"")))
        .map(|rest| rest.split('"').next().unwrap().replace("&amp;", "&").replace("&#x2f;", "/"))
        // The pages of runs have tests of their own.
        .filter(|link| !link.starts_with('#') && !link.starts_with("/runs"))
        .collect();
    assert!(links.len() > 15, "{links:?}");
    assert!(links.iter().any(|link| link.starts_with("/assets/live.js?v=")));
    for link in links {
        assert_eq!(server.get(&link).status, 200, "{link}");
    }
}
