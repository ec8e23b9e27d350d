//! The pages of a host, as a browser gets them, and their forms, as it sends them.

use super::app::TestApp;

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).proxy(None).build().into()
}

/// Reads HTML. Slashes are written as they are: templates escape them.
fn read(answer: &mut ureq::http::Response<ureq::Body>) -> String {
    answer.body_mut().with_config().limit(16 << 20).read_to_string().unwrap().replace("&#x2f;", "/")
}

/// Returns the status and the HTML of a page.
#[track_caller]
pub(crate) fn html(app: &TestApp, path: &str) -> (u16, String) {
    let mut answer = agent().get(format!("{}{path}", app.url())).header("accept", "text/html").call().unwrap();
    (answer.status().as_u16(), read(&mut answer))
}

/// Returns the HTML of a page that exists.
#[track_caller]
pub(crate) fn page(app: &TestApp, path: &str) -> String {
    let (status, html) = html(app, path);
    assert_eq!(status, 200, "GET {path}: {html}");
    html
}

/// Sends a form of a page, and returns the status, where it leads, and the body.
#[track_caller]
pub(crate) fn submit(app: &TestApp, path: &str, form: &str) -> (u16, String, String) {
    submit_from(app, app.url(), path, form)
}

/// The same from a page of another origin.
#[track_caller]
pub(crate) fn submit_from(app: &TestApp, origin: &str, path: &str, form: &str) -> (u16, String, String) {
    let mut answer = agent()
        .post(format!("{}{path}", app.url()))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("origin", origin)
        .send(form)
        .unwrap();
    let location = answer.headers().get("location").map(|it| it.to_str().unwrap().to_owned()).unwrap_or_default();
    (answer.status().as_u16(), location, read(&mut answer))
}

/// Returns the id that the form with this address gives to the run that it starts.
#[track_caller]
pub(crate) fn new_run(html: &str, action: &str) -> String {
    let (_, form) =
        html.split_once(&format!("action=\"{action}\"")).unwrap_or_else(|| panic!("no {action} in\n{html}"));
    let (_, id) = form.split_once("name=\"id\" value=\"").unwrap();
    id.split('"').next().unwrap().to_owned()
}

/// Asserts that each part is in a page.
#[track_caller]
pub(crate) fn has(html: &str, parts: &[&str]) {
    for part in parts {
        assert!(html.contains(part), "`{part}` is not in\n{html}");
    }
}

/// Asserts that a page has nothing that its content security policy forbids.
#[track_caller]
pub(crate) fn obeys(html: &str) {
    for forbidden in ["style=", "<style", "onclick", "onload", "javascript:", "<script>"] {
        assert!(!html.contains(forbidden), "`{forbidden}` is in\n{html}");
    }
}
