//! The page of runs.

use anacostia::model::{RunDetail, RunState};

use crate::http_support::{Server, a_run};

fn add(server: &Server, number: u64, state: RunState) {
    let mut run = a_run(number, state);
    run.params = serde_json::json!({ "a": "<i>x</i>", "b": 0.1, "c": 1, "d": 2, "e": 3 });
    let detail = RunDetail { run, actions: vec![], attempts: vec![] };
    server.store.runs.lock().unwrap().push(detail);
}

/// Returns the numbers of the runs in the table, in its order.
fn rows(page: &str) -> Vec<u64> {
    let keys = page.split("<tr data-key=\"run-").skip(1);
    keys.map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn runs_are_listed_with_their_state_reason_params_and_duration() {
    let server = Server::start();
    add(&server, 1, RunState::Succeeded);
    add(&server, 2, RunState::Failed);
    add(&server, 3, RunState::Queued);
    let page = server.get("/runs").text();
    assert_eq!(rows(&page), [3, 2, 1]);
    for part in [
        "<span class=\"state bad\">",
        "href=\"/runs/2\"",
        "&lt;script&gt;",
        "340 ms",
        "<b>b</b> 0.1",
        "&lt;i&gt;x&lt;",
        "and 1 more",
        "not yet",
        "action=\"/runs/compare\"",
        "name=\"run\" value=\"3\"",
    ] {
        assert!(page.contains(part), "`{part}` is not in {page}");
    }
    assert!(!page.contains("<i>") && !page.contains("style="), "{page}");
}

#[test]
fn a_filter_by_state_is_in_the_address_and_stays_in_the_form() {
    let server = Server::start();
    for (number, state) in [(1, RunState::Succeeded), (2, RunState::Failed), (3, RunState::Cancelled)] {
        add(&server, number, state);
    }
    let page = server.get("/runs?state=failed&state=cancelled").text();
    assert_eq!(rows(&page), [3, 2]);
    assert_eq!(page.matches(" checked").count(), 2, "{page}");
    assert!(page.contains("value=\"failed\" checked") && page.contains(">Clear</a>"), "{page}");
    let none = server.get("/runs?state=running").text();
    assert!(none.contains("No run fits this filter.") && rows(&none).is_empty(), "{none}");
    let wrong = server.get("/runs?state=%3Cb%3E");
    assert!(wrong.status == 400 && wrong.text().contains("&lt;b&gt;") && !wrong.text().contains("<b>"));
}

#[test]
fn pages_of_runs_lead_to_each_other_and_keep_the_filter() {
    let server = Server::start();
    (1..=120).for_each(|number| add(&server, number, RunState::Succeeded));
    let (mut path, mut seen) = ("/runs?state=succeeded".to_owned(), Vec::new());
    loop {
        let page = server.get(&path).text();
        seen.extend(rows(&page));
        assert_eq!(page.contains("Newest</a>"), path.contains("cursor="), "{path}");
        let Some((before, _)) = page.split_once("\" rel=\"next\"") else { break };
        path = before.rsplit('"').next().unwrap().replace("&amp;", "&").replace("&#x2f;", "/");
        assert!(path.starts_with("/runs?state=succeeded&cursor="), "{path}");
    }
    assert_eq!(seen, (1..=120).rev().collect::<Vec<u64>>());
}

#[test]
fn a_pipeline_without_runs_says_where_the_first_one_comes_from() {
    let page = Server::start().get("/runs").text();
    assert!(page.contains("No runs yet.") && !page.contains("<table"), "{page}");
}

#[test]
fn what_a_reader_has_filtered_by_stays_in_the_fields() {
    let server = Server::start();
    let page = server.get("/runs?trigger=raw&since=24h&param=lr%3D%22%3Cb%3E&tag=stage&sort=longest").text();
    for part in [
        "<option value=\"raw\" selected>",
        "name=\"since\" value=\"24h\"",
        "name=\"param\" value=\"lr=&quot;&lt;b&gt;\"",
        "name=\"tag\" value=\"stage\"",
        "<option value=\"longest\" selected>",
        "No run fits this filter.",
    ] {
        assert!(page.contains(part), "`{part}` is not in {page}");
    }
    let wrong = server.get("/runs?since=soon");
    assert!(
        wrong.status == 400 && wrong.text().contains("role=\"alert\">Created since is not valid: "),
        "{}",
        wrong.text()
    );
    assert!(wrong.text().contains("name=\"since\" value=\"soon\""), "what was written stays: {}", wrong.text());
}
