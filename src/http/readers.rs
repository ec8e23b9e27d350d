//! Requests that no route answers: a person gets a page, a program a problem.

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use super::problem::Problem;

/// Answers with the fallback of `pages` if a browser asks for a page, otherwise with the problem.
pub(super) async fn page_or(pages: Router, request: Request, problem: Problem) -> Response {
    if !wants_page(&request) {
        return problem.into_response();
    }
    match TowerToHyperService::new(pages).call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Returns whether a browser asks for a page.
fn wants_page(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD) && shows_pages(request)
}

/// Returns whether a browser that shows pages sends the request. The addresses of the API are for
/// programs, even when somebody opens one in a browser.
pub(super) fn shows_pages(request: &Request) -> bool {
    let values = request.headers().get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let html = |kind: &str| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/html"));
    !request.uri().path().starts_with("/api/") && values.flat_map(|value| value.split(',')).any(html)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;

    use super::wants_page;

    #[test]
    fn browsers_get_pages_and_programs_get_problems() {
        let asks = |method: &str, path: &str, accept: &str| {
            let request = Request::builder().method(method).uri(path).header("accept", accept);
            wants_page(&request.body(Body::empty()).unwrap())
        };
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        assert!(asks("GET", "/nothing", browser) && asks("HEAD", "/nothing", "application/json, Text/HTML;q=0.5"));
        assert!(!asks("GET", "/nothing", "*/*") && !asks("GET", "/nothing", "application/json"));
        assert!(!asks("GET", "/api/v1/nothing", browser) && !asks("POST", "/nothing", browser));
    }
}
