//! Floor 7: the pages.
//!
//! The server renders HTML, so that a page shows everything without a script. A small script then
//! keeps it up to date with the event stream. Every asset is in the binary and comes from this
//! server only, as the content security policy requires.
//!
//! [`page`] has what all pages share, `pages` a file for each page, `templates` its HTML. Rejected:
//! an application in the browser over the JSON API. It would need a build of its own, show nothing
//! before its script has run, and have a second copy of every rule about what may be done.
//!
//! The pages do not depend on the API's handlers, nor the API on the pages: both read the same
//! [`View`](crate::scheduler::View), and `cli` puts [`router`] behind the API's guards
//! (`ServeOptions::pages`).

mod ansi;
mod assets;
mod base_path;
mod chart;
mod drawings;
mod form;
mod html;
mod look;
mod markdown;
mod page;
mod pages;
mod peek;
mod svg;
mod text;
mod tone;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::Value;

use self::drawings::Drawings;
use crate::manifest::Pipeline;
use crate::scheduler::View;

/// The templates: those that others include or extend, then one for each page.
const TEMPLATES: [(&str, &str); 37] = [
    ("base.html", include_str!("templates/base.html")),
    ("macros.html", include_str!("templates/macros.html")),
    ("sprite.html", include_str!("templates/sprite.html")),
    ("approvals_list.html", include_str!("templates/approvals_list.html")),
    ("log_lines.html", include_str!("templates/log_lines.html")),
    ("peek.html", include_str!("templates/peek.html")),
    ("run_top.html", include_str!("templates/run_top.html")),
    ("timeline.html", include_str!("templates/timeline.html")),
    ("chart.html", include_str!("templates/chart.html")),
    ("charts_head.html", include_str!("templates/charts_head.html")),
    ("graph.html", include_str!("templates/graph.html")),
    ("lineage.html", include_str!("templates/lineage.html")),
    ("trigger.html", include_str!("templates/trigger.html")),
    ("api.html", include_str!("templates/api.html")),
    ("action.html", include_str!("templates/action.html")),
    ("approvals.html", include_str!("templates/approvals.html")),
    ("home.html", include_str!("templates/home.html")),
    ("login.html", include_str!("templates/login.html")),
    ("metrics.html", include_str!("templates/metrics.html")),
    ("model.html", include_str!("templates/model.html")),
    ("models.html", include_str!("templates/models.html")),
    ("problem.html", include_str!("templates/problem.html")),
    ("run.html", include_str!("templates/run.html")),
    ("run_artifacts.html", include_str!("templates/run_artifacts.html")),
    ("artifact.html", include_str!("templates/artifact.html")),
    ("compare.html", include_str!("templates/compare.html")),
    ("run_graph.html", include_str!("templates/run_graph.html")),
    ("run_events.html", include_str!("templates/run_events.html")),
    ("run_logs.html", include_str!("templates/run_logs.html")),
    ("run_metrics.html", include_str!("templates/run_metrics.html")),
    ("runs.html", include_str!("templates/runs.html")),
    ("decided.html", include_str!("templates/decided.html")),
    ("decisions.html", include_str!("templates/decisions.html")),
    ("resource.html", include_str!("templates/resource.html")),
    ("trigger_now.html", include_str!("templates/trigger_now.html")),
    ("trigger_page.html", include_str!("templates/trigger_page.html")),
    ("settings.html", include_str!("templates/settings.html")),
];

/// Seconds after which a page that could not be made is loaded again.
const RELOAD_SECS: &str = "5";

/// State that the pages share.
#[derive(Clone)]
struct Pages {
    view: View,
    /// The description of the HTTP API, as OpenAPI has it.
    api: &'static Value,
    templates: Arc<Environment<'static>>,
    drawings: Drawings,
}

/// Returns the router of all pages and their assets. Its fallback is the page for addresses that do
/// not exist. `api` is the description of the HTTP API, as OpenAPI has it.
///
/// # Errors
/// When a template in the binary is invalid; never for a binary whose tests have passed.
pub fn router(view: View, api: &'static Value) -> Result<Router, minijinja::Error> {
    let pages = Pages { view, api, templates: Arc::new(templates()?), drawings: Drawings::default() };
    Ok(Router::new()
        .route("/", get(pages::home::show))
        .route("/runs", get(pages::runs::show))
        .route("/pipeline/pause", post(pages::steer::pause_pipeline).get(to_its_page))
        .route("/pipeline/resume", post(pages::steer::resume_pipeline).get(to_its_page))
        .route("/pipeline/run", post(pages::steer::run_pipeline).get(to_its_page))
        .route("/resources/{name}", get(pages::resource::show))
        .route("/resources/{name}/pause", post(pages::steer::pause_resource).get(to_its_page))
        .route("/resources/{name}/resume", post(pages::steer::resume_resource).get(to_its_page))
        .route("/resources/{name}/trigger", post(pages::steer::trigger_resource).get(to_its_page))
        .route("/triggers/{name}", get(pages::trigger::show))
        .route("/actions/{name}", get(pages::action::show))
        .route("/actions/{name}/pause", post(pages::steer::pause_action).get(to_its_page))
        .route("/actions/{name}/resume", post(pages::steer::resume_action).get(to_its_page))
        .route("/artifacts/{id}", get(pages::artifact::show))
        .route("/artifacts/{id}/image", get(pages::artifact::image))
        .route("/runs/metrics", get(pages::metrics::show))
        .route("/runs/compare", get(pages::compare::show))
        .route("/runs/{run}", get(pages::run::overview::show))
        .route("/runs/{run}/graph", get(pages::run::graph::show))
        .route("/runs/{run}/logs", get(pages::run::logs::show))
        .route("/runs/{run}/artifacts", get(pages::run::artifacts::show))
        .route("/runs/{run}/metrics", get(pages::run::metrics::show))
        .route("/runs/{run}/events", get(pages::run::events::show))
        .route("/runs/{run}/retry", post(pages::run::act::retry).get(to_its_page))
        .route("/runs/{run}/again", post(pages::run::act::again).get(to_its_page))
        .route("/runs/{run}/cancel", post(pages::run::act::cancel).get(to_its_page))
        .route("/approvals", get(pages::approvals::show).post(pages::decision::decide))
        .route("/models", get(pages::models::show))
        .route("/models/{name}", get(pages::model::show))
        .route("/models/{name}/promote", post(pages::model::promote).get(to_its_page))
        .route("/models/{name}/rollback", post(pages::model::roll_back).get(to_its_page))
        .route("/settings", get(pages::settings::show))
        .route("/api", get(pages::api::show))
        .route("/assets/{name}", get(assets::show))
        .route_layer(from_fn_with_state(pages.clone(), readable))
        .fallback(missing)
        .layer(from_fn(loaded_again))
        .with_state(pages))
}

/// Answers with a page if a part of the path is not UTF-8. What the framework answers then is for
/// programs.
async fn readable(
    State(pages): State<Pages>,
    parts: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    if matches!(parts, Err(RawPathParamsRejection::InvalidUtf8InPathParam(_))) {
        return page::unreadable(&pages, request.uri()).await;
    }
    next.run(request).await
}

/// Has the browser load a page again that could not be made, because the records could not be read:
/// it comes by itself once they can. The answer to a form is not loaded again, because its address
/// is none of a page.
async fn loaded_again(request: Request, next: Next) -> Response {
    let is_read = request.method() == Method::GET;
    let mut response = next.run(request).await;
    if is_read && response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::REFRESH, HeaderValue::from_static(RELOAD_SECS));
    }
    response
}

/// Returns the router of a host that starts: every address is a page that loads itself again until
/// the host has started.
///
/// # Errors
/// When a template in the binary is invalid; never for a binary whose tests have passed.
pub fn starting_router(pipeline: &Pipeline) -> Result<Router, minijinja::Error> {
    let html = page::starting(&templates()?, pipeline)?;
    let show = move || async move {
        let mut response = (StatusCode::SERVICE_UNAVAILABLE, Html(html)).into_response();
        page::retry_soon(&mut response);
        response
    };
    Ok(Router::new().route("/assets/{name}", get(assets::show)).fallback(show))
}

/// Returns what makes the page with the form for the token: from the address where a login leads,
/// why the last attempt failed, and whether the page loads itself again at once.
///
/// # Errors
/// When a template in the binary is invalid; never for a binary whose tests have passed.
pub fn login_page(
    pipeline: &Pipeline,
) -> Result<impl Fn(&str, Option<&str>, bool) -> String + Send + Sync + use<>, minijinja::Error> {
    let (templates, pipeline) = (templates()?, pipeline.clone());
    page::login(&templates, &pipeline, "/", None, false)?;
    Ok(move |next: &str, wrong: Option<&str>, reload| {
        page::login(&templates, &pipeline, next, wrong, reload).unwrap_or_else(|error| {
            tracing::error!("failed to make the page of the login: {error:#}");
            String::new()
        })
    })
}

/// Leads a browser from the address of a form to its page. After a form that was refused, the
/// address bar has the former.
async fn to_its_page(uri: Uri) -> Response {
    let page = uri.path().rsplit_once('/').map_or("/", |(page, _)| page);
    form::lead_to(if page == "/pipeline" { "/" } else { page })
}

async fn missing(State(pages): State<Pages>, uri: Uri) -> Response {
    page::missing(&pages, &uri).await
}

fn templates() -> Result<Environment<'static>, minijinja::Error> {
    let mut templates = Environment::new();
    // Escapes all output, whatever the template's name.
    templates.set_auto_escape_callback(|_| AutoEscape::Html);
    // A misspelt name is an error in tests, not a gap in the page.
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    html::install(&mut templates);
    templates.add_function("asset", assets::link);
    templates.add_filter("ticks", text::ticks);
    templates.add_filter("markdown", |text: &str| markdown::html(text));
    templates.add_filter("encoded", |text: String| text::encoded(&text));
    for (name, text) in TEMPLATES {
        templates.add_template(name, text)?;
    }
    Ok(templates)
}

#[cfg(test)]
mod tests {
    #[test]
    fn templates_are_templates() {
        super::templates().unwrap();
    }
}
