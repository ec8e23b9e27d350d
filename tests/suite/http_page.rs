//! The web page.

use anacostia::model::{ArtifactState, RunDetail, RunState};

use crate::http_support::{Server, a_run, an_artifact};

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
fn a_path_that_is_not_utf_8_is_answered_with_a_page() {
    let server = Server::start();
    for path in ["/resources/%ff", "/runs/%FF/logs", "/assets/%ff", "/artifacts/%ff"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (400, "text/html; charset=utf-8"), "{path}");
        let why = format!("<code>{path}</code> is not UTF-8 after its %-codes are decoded.");
        assert!(answer.text().contains(&why), "{}", answer.text());
    }
}

#[test]
fn the_address_of_a_form_leads_to_its_page() {
    let server = Server::start();
    for (form, page) in [
        ("/pipeline/run", "/"),
        ("/pipeline/pause", "/"),
        ("/resources/raw/pause", "/resources/raw"),
        ("/actions/train/resume", "/actions/train"),
        ("/runs/1/cancel", "/runs/1"),
    ] {
        let answer = server.get(form);
        assert_eq!((answer.status, answer.header("location")), (303, page), "{form}");
    }
}

#[test]
fn the_table_of_runs_escapes_all_text() {
    let server = Server::start();
    for (number, state) in [(1, RunState::Succeeded), (2, RunState::Failed), (3, RunState::Running)] {
        let mut run = a_run(number, state);
        run.trigger = "<img src=x onerror=alert(1)>".into();
        let input = an_artifact("a<b>.csv", b"1", ArtifactState::Old);
        server.store.inputs.lock().unwrap().insert(run.id, vec![input]);
        let detail = RunDetail { run, actions: vec![], attempts: vec![] };
        server.store.runs.lock().unwrap().push(detail);
    }
    let page = server.get("/").text();
    for text in ["succeeded", "failed", "running", "340 ms", "href=\"/runs/3\"", "&lt;img", "&lt;script&gt;"] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
    assert!(!page.contains("<img") && !page.contains("<script>"));
    let next = |number: u64| {
        page.contains(&format!(
            "after a fix: <code>anacostia runs retry {number} --current</code>, or <code>anacostia trigger --inputs \
             &#x27;raw/a&lt;b&gt;.csv&#x27;</code>; see <code>anacostia runs show {number}</code>"
        ))
    };
    assert_eq!([1, 2, 3].map(next), [false, true, false], "it is for the run that failed: {page}");
}

#[test]
fn the_page_obeys_its_content_security_policy_and_its_links_work() {
    let server = Server::start();
    let detail = RunDetail { run: a_run(1, RunState::Succeeded), actions: vec![], attempts: vec![] };
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

#[test]
fn every_page_has_the_navigation_and_says_where_the_reader_is() {
    let server = Server::start();
    for (path, label) in [
        ("/", "Pipeline"),
        ("/runs", "Runs"),
        ("/runs/metrics", "Metrics"),
        ("/approvals", "Approvals"),
        ("/api", "API"),
    ] {
        let page = server.get(path).text();
        let current = format!("<a href=\"{path}\" aria-current=\"page\">");
        assert!(page.contains(&current), "{path}: {page}");
        assert_eq!(page.matches("aria-current").count(), 1, "{path}");
        assert_eq!(page.matches("<h1>").count(), 1, "{path}");
        assert!(page.contains(label) && page.contains("<main id=\"main\"") && page.contains("href=\"#main\""));
    }
}

#[test]
fn an_unknown_address_is_a_page_for_people_and_a_problem_for_programs() {
    let server = Server::start();
    let browser = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    let page = server.send("GET", "/nowhere/at/all", &browser, b"");
    assert_eq!((page.status, page.header("content-type")), (404, "text/html; charset=utf-8"));
    let text = page.text();
    assert!(text.contains("<h1>Not found</h1>") && text.contains("aria-label=\"Main\""), "{text}");
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    for (path, headers) in [("/nowhere", &[][..]), ("/api/v1/nowhere", &browser[..])] {
        let problem = server.send("GET", path, headers, b"");
        assert_eq!((problem.status, problem.header("content-type")), (404, "application/problem+json"), "{path}");
    }
    let missing = server.get("/runs/99");
    assert!(missing.status == 404 && missing.text().contains("There is no run 99."), "{}", missing.text());
}

#[test]
fn a_store_that_does_not_answer_is_said_on_every_page() {
    let server = Server::start();
    *server.store.failing.lock().unwrap() = true;
    for path in ["/", "/runs", "/runs/1", "/approvals", "/runs/metrics"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{path}");
        assert_eq!(answer.header("refresh"), "5", "the page comes by itself once there is one: {path}");
        let page = answer.text();
        assert!(page.contains("The records cannot be read at the moment"), "{path}: {page}");
        assert!(page.contains("the disk is gone") && page.contains("aria-label=\"Main\""), "{path}: {page}");
    }
    // The address of a form has no page that could be loaded again.
    let sent = server.send("POST", "/runs/1/cancel", &[], b"");
    assert_eq!((sent.status, sent.header("refresh")), (503, ""), "{}", sent.text());
    *server.store.failing.lock().unwrap() = false;
    assert_eq!(server.get("/runs").header("refresh"), "");
}

#[test]
fn a_host_starts_only_until_it_has_seen_its_resources() {
    let server = Server::start();
    let chip = |what: &str| {
        let page = server.get("/").text();
        assert!(page.contains(&format!("</svg> {what}</span>")), "{what}: {page}");
        page
    };
    chip("running");
    *server.control.reasons.lock().unwrap() = vec!["nothing can be recorded since 03:00: disk full".to_owned()];
    let page = chip("not ready");
    assert!(!page.contains("starting") && page.contains("nothing can be recorded since 03:00: disk full"), "{page}");
    // The first scan of its only watched resource is all that is missing.
    let seen = std::mem::take(&mut *server.control.watches.lock().unwrap());
    *server.control.reasons.lock().unwrap() = vec!["raw is being scanned".to_owned()];
    chip("starting");
    server.control.reasons.lock().unwrap().push("the disk is full".to_owned());
    chip("not ready");
    *server.control.watches.lock().unwrap() = seen;
    server.control.reasons.lock().unwrap().clear();
    chip("running");
}

#[test]
fn the_page_of_the_api_has_what_the_document_has_and_its_links_lead_somewhere() {
    let server = Server::start();
    let (page, document) = (server.get("/api").text(), server.get("/openapi.json").json());
    let operations = document["paths"].as_object().unwrap().values().flat_map(|methods| methods.as_object().unwrap());
    let ids = operations.map(|(_, operation)| operation["operationId"].as_str().unwrap());
    let types = document["components"]["schemas"].as_object().unwrap().keys().map(String::as_str);
    for id in ids.chain(types) {
        assert_eq!(page.matches(&format!(" id=\"{id}\"")).count(), 1, "{id}");
    }
    for link in page.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(page.contains(&format!(" id=\"{link}\"")), "#{link} leads nowhere");
    }
    let description = document["info"]["description"].as_str().unwrap();
    assert!(page.contains(description.split_once("\n\n").unwrap().0), "what the API is");
    let command = "curl -X POST &#x27;http:&#x2f;&#x2f;";
    assert!(page.contains(command) && page.contains("Starts a run."), "{page}");
}
