//! What every page shows around its content, and how a page is answered.
//!
//! A page's handler gathers its content, and gives it to [`answer`] with a [`Head`]. The template
//! of the page gets the content's fields by name, and what every page shows as `frame`. If the
//! content cannot be gathered, the answer is a page that says why, and what to do next.

use std::fmt::Display;
use std::str::FromStr;

use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use minijinja::value::Serde;
use serde::Serialize;

use super::{Pages, base_path, text};
use crate::base::{RunId, bounds::cut, escape, read_query};
use crate::manifest::Pipeline;
use crate::model::{NodeKind, Pause};
use crate::scheduler::View;
use crate::store::{PageRequest, StoreError};

/// Most approvals that are counted for the navigation.
const COUNTED_APPROVALS: u32 = 99;
/// Seconds after which the page of a host that starts is loaded again.
const STARTING_RELOAD_SECS: u64 = 2;

/// A part of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// The graph, and what it does now.
    Pipeline,
    /// What ran.
    Runs,
    /// Metrics over runs.
    Metrics,
    /// What waits for a person.
    Approvals,
    /// The manifest, the store, the version.
    Settings,
    /// The HTTP API.
    Api,
    /// No part of it.
    None,
}

/// The navigation: the section, its path, its name and its icon.
const SECTIONS: [(Section, &str, &str, &str); 6] = [
    (Section::Pipeline, "/", "Pipeline", "pipeline"),
    (Section::Runs, "/runs", "Runs", "runs"),
    (Section::Metrics, "/runs/metrics", "Metrics", "chart"),
    (Section::Approvals, "/approvals", "Approvals", "hand"),
    (Section::Settings, "/settings", "Settings", "settings"),
    (Section::Api, "/api", "API", "web"),
];

/// What a page is.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// The file of its template.
    pub(super) template: &'static str,
    /// The section of the navigation that it belongs to.
    pub(super) section: Section,
    /// Whether it is the section's own page, not one below it.
    pub(super) top: bool,
    /// Its title.
    pub(super) title: String,
    /// The run whose events alone change it; `None` if those of any run do.
    pub(super) run: Option<RunId>,
    /// The status of the answer.
    pub(super) status: StatusCode,
    /// Why what the reader has sent was not recorded, and the address of the page without the form
    /// that was sent.
    pub(super) refusal: Option<(String, String)>,
}

impl Head {
    /// Creates the head of a section's own page.
    pub(super) fn of(section: Section, template: &'static str, title: impl Into<String>) -> Self {
        let (title, status) = (title.into(), StatusCode::OK);
        Self { template, section, top: true, title, run: None, status, refusal: None }
    }

    /// Creates the head of a page below a section.
    pub(super) fn below(section: Section, template: &'static str, title: impl Into<String>) -> Self {
        Self { top: false, ..Self::of(section, template, title) }
    }

    /// Says that only the events of one run change the page.
    pub(super) fn about(self, run: RunId) -> Self {
        Self { run: Some(run), ..self }
    }

    /// Says whether what is written in the fields of its filter is wrong.
    pub(super) fn wrong(self, wrong: bool) -> Self {
        Self { status: if wrong { StatusCode::BAD_REQUEST } else { self.status }, ..self }
    }

    /// Says that a form was refused, and why. `source` is the address of the page itself.
    pub(super) fn refusing(self, status: StatusCode, why: impl Into<String>, source: impl Into<String>) -> Self {
        Self { status, refusal: Some((why.into(), source.into())), ..self }
    }
}

/// Why there is no page.
#[derive(Debug)]
pub(super) enum Refusal {
    /// What the address names does not exist.
    Missing(String),
    /// The address is not valid.
    Invalid(String),
    /// The records cannot be read.
    Store(StoreError),
    /// The host has failed; the text is for its log.
    Internal(String),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Invalid(why) => Self::Invalid(why),
            error => Self::Store(error),
        }
    }
}

/// The content of a page, or why there is none.
pub(super) type Result<T> = std::result::Result<T, Refusal>;

/// What every page shows.
#[derive(Debug, Serialize)]
struct Frame {
    /// Which page it is, for the script that follows what happens.
    page: &'static str,
    pipeline: String,
    folder: String,
    version: &'static str,
    title: String,
    nav: Vec<NavItem>,
    /// The icon and the text of the pipeline's state; `None` if it is not known.
    state: Option<(&'static str, &'static str)>,
    paused: bool,
    /// The resources and actions that are paused.
    pauses: Vec<PauseRow>,
    /// Why the host is not ready; empty if it is.
    not_ready: Vec<String>,
    /// What people should know about a host that is ready.
    warnings: Vec<String>,
    /// Why what the reader has sent was not recorded.
    refusal: Option<String>,
    /// The address from which the page is refreshed, if it is not the one of the page.
    source: Option<String>,
    /// The event stream that refreshes the page.
    events: Option<String>,
    /// The number of the newest event, if the stream is not that of one run: the numbers of those
    /// count the events of other runs.
    newest: Option<u64>,
    /// Whether the page keeps itself up to date.
    live: bool,
    reload_secs: Option<u64>,
    /// Whether people log in, so that they can log out.
    has_login: bool,
}

#[derive(Debug, Serialize)]
struct NavItem {
    path: &'static str,
    label: &'static str,
    icon: &'static str,
    /// The value of `aria-current`.
    current: Option<&'static str>,
    count: Option<String>,
}

#[derive(Debug, Serialize)]
struct PauseRow {
    name: String,
    /// What the pause means.
    means: &'static str,
    /// The option of `anacostia resume`.
    option: &'static str,
    since: text::Moment,
    reason: Option<String>,
}

/// The values of a template.
#[derive(Serialize)]
struct Whole<T> {
    frame: Frame,
    #[serde(flatten)]
    content: T,
}

/// The content of a page that says what went wrong.
#[derive(Debug, Serialize)]
struct Problem {
    status: u16,
    title: &'static str,
    detail: String,
    advice: Option<&'static str>,
    /// Where to go on: address and text.
    links: Vec<(&'static str, &'static str)>,
}

/// Answers with a page, or with one that says why there is none.
pub(super) async fn answer<T: Serialize>(pages: &Pages, gathered: Result<(Head, T)>) -> Response {
    let (head, content) = match gathered {
        Ok(gathered) => gathered,
        Err(refusal) => return refused(pages, refusal).await,
    };
    match Frame::gather(&pages.view, &head).await {
        Ok(frame) => write(pages, head.template, head.status, &Whole { frame, content }),
        Err(error) => refused(pages, error.into()).await,
    }
}

/// Answers with a page that says why there is no other.
pub(super) async fn refused(pages: &Pages, refusal: Refusal) -> Response {
    let (status, problem) = explain(refusal);
    let head = Head { status, ..Head::below(Section::None, "problem.html", problem.title) };
    let bare = || Frame { live: false, ..Frame::bare(&pages.view.pipeline(), &head) };
    // A store that does not answer is asked nothing more.
    let frame = if status.is_server_error() {
        bare()
    } else {
        Frame::gather(&pages.view, &head).await.unwrap_or_else(|_| bare())
    };
    let mut response = write(pages, head.template, status, &Whole { frame, content: problem });
    if status == StatusCode::SERVICE_UNAVAILABLE {
        retry_soon(&mut response);
    }
    response
}

/// Answers requests for pages that do not exist.
pub(super) async fn missing(pages: &Pages, uri: &Uri) -> Response {
    let path = escape(cut(uri.path(), 100).as_bytes());
    refused(pages, Refusal::Missing(format!("There is no page {path}."))).await
}

/// Returns what the fields of a filter say, or why they are no filter: the page then has the form
/// with what was written, and no list.
pub(super) fn or_wrong<T: Default>(read: Result<T>) -> Result<(T, Option<String>)> {
    match read {
        Ok(read) => Ok((read, None)),
        Err(Refusal::Invalid(why)) => Ok((T::default(), Some(why))),
        Err(refusal) => Err(refusal),
    }
}

/// Answers for a path that is not UTF-8.
pub(super) async fn unreadable(pages: &Pages, uri: &Uri) -> Response {
    let path = cut(uri.path(), 100);
    refused(pages, Refusal::Invalid(format!("`{path}` is not UTF-8 after its %-codes are decoded."))).await
}

/// Returns the page of a host that starts, which loads itself again until the host has started.
///
/// # Errors
/// When a template in the binary is invalid.
pub(super) fn starting(
    templates: &minijinja::Environment<'_>,
    pipeline: &Pipeline,
) -> std::result::Result<String, minijinja::Error> {
    let head = Head::below(Section::None, "problem.html", "Starting");
    let frame = Frame {
        state: Some(("wait", "starting")),
        live: false,
        reload_secs: Some(STARTING_RELOAD_SECS),
        ..Frame::bare(pipeline, &head)
    };
    let content = Problem {
        status: StatusCode::SERVICE_UNAVAILABLE.as_u16(),
        title: "Starting",
        detail: format!("{} is getting ready: it opens its store and loads its components.", pipeline.name),
        advice: Some("This page loads itself again every two seconds, and shows the pipeline as soon as it can."),
        links: Vec::new(),
    };
    Ok(base_path::put_before(
        &pipeline.base_path,
        templates.get_template(head.template)?.render(Serde(&Whole { frame, content }))?,
    ))
}

/// The content of the page with the form for the token.
#[derive(Debug, Serialize)]
struct Login<'a> {
    next: &'a str,
    wrong: Option<&'a str>,
}

/// Returns the page with the form for the token. `next` is where it leads, `wrong` why the last
/// attempt failed, and `reload` whether the page loads itself again at once.
///
/// # Errors
/// When a template in the binary is invalid.
pub(super) fn login(
    templates: &minijinja::Environment<'_>,
    pipeline: &Pipeline,
    next: &str,
    wrong: Option<&str>,
    reload: bool,
) -> std::result::Result<String, minijinja::Error> {
    let head = Head::below(Section::None, "login.html", "Log in");
    let frame = Frame {
        // Who has not logged in learns the name only, to know which token is asked for.
        folder: String::new(),
        nav: Vec::new(),
        events: None,
        live: false,
        reload_secs: reload.then_some(0),
        has_login: false,
        ..Frame::bare(pipeline, &head)
    };
    let content = Login { next, wrong };
    Ok(base_path::put_before(
        &pipeline.base_path,
        templates.get_template(head.template)?.render(Serde(&Whole { frame, content }))?,
    ))
}

/// Asks the client to come back in a moment.
pub(super) fn retry_soon(response: &mut Response) {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
}

/// Returns the status for something that a reader wanted and that was not recorded.
pub(super) fn refused_write(error: &StoreError) -> StatusCode {
    match error {
        StoreError::Conflict(_) | StoreError::PathTaken { .. } | StoreError::Fenced { .. } => StatusCode::CONFLICT,
        StoreError::Invalid(_) => StatusCode::BAD_REQUEST,
        StoreError::Unavailable { .. }
        | StoreError::InUse { .. }
        | StoreError::StateInUse { .. }
        | StoreError::ReadOnly { .. }
        | StoreError::Lost { .. }
        | StoreError::TakenOver { .. }
        | StoreError::Forgotten { .. } => StatusCode::SERVICE_UNAVAILABLE,
        StoreError::Corrupt(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn explain(refusal: Refusal) -> (StatusCode, Problem) {
    let home = vec![("/", "To the pipeline"), ("/runs", "All runs")];
    let (status, title, detail, advice) = match refusal {
        Refusal::Missing(detail) => (StatusCode::NOT_FOUND, "Not found", detail, None),
        Refusal::Invalid(detail) => (StatusCode::BAD_REQUEST, "This address is not valid", detail, None),
        Refusal::Store(error @ StoreError::Corrupt(_)) => return explain(Refusal::Internal(error.to_string())),
        Refusal::Store(error) => {
            tracing::error!("failed to make a page: {error}");
            let advice = "What runs is not lost: the host repeats what it could not record. Try again in a moment.";
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "The records cannot be read at the moment",
                error.to_string(),
                Some(advice),
            )
        }
        Refusal::Internal(what) => {
            // The details may name files of the host, so they go to its log.
            let number = format!("{:08x}", fastrand::u32(..));
            tracing::error!("failed to make a page (fault {number}): {what}");
            let detail = format!("The host's log says what happened: look for fault {number}.");
            (StatusCode::INTERNAL_SERVER_ERROR, "The host failed to make this page", detail, None)
        }
    };
    (status, Problem { status: status.as_u16(), title, detail, advice, links: home })
}

fn write<T: Serialize>(pages: &Pages, template: &str, status: StatusCode, values: &Whole<T>) -> Response {
    match pages.templates.get_template(template).and_then(|template| template.render(Serde(values))) {
        // An address has a page for people, or a problem for programs.
        Ok(html) => {
            let html = base_path::put_before(&pages.view.pipeline().base_path, html);
            (status, [(header::VARY, "accept")], Html(html)).into_response()
        }
        Err(error) => {
            tracing::error!("failed to make the page `{template}`: {error:#}");
            let plain: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            let why = "failed to make the page: the host's log says why\n";
            (StatusCode::INTERNAL_SERVER_ERROR, plain, why).into_response()
        }
    }
}

impl Frame {
    /// Returns what is known without a look at the records.
    fn bare(pipeline: &Pipeline, head: &Head) -> Self {
        let nav = SECTIONS.iter().map(|(section, path, label, icon)| {
            let current = (*section == head.section).then_some(if head.top { "page" } else { "true" });
            NavItem { path, label, icon, current, count: None }
        });
        let (refusal, source) = head.refusal.clone().unzip();
        let run = head.run.map_or_else(String::new, |run| format!("run={run}&"));
        Self {
            page: head.template.trim_end_matches(".html"),
            pipeline: pipeline.name.clone(),
            folder: pipeline.folder.display().to_string(),
            version: env!("CARGO_PKG_VERSION"),
            title: head.title.clone(),
            nav: nav.collect(),
            state: None,
            paused: false,
            pauses: Vec::new(),
            not_ready: Vec::new(),
            warnings: Vec::new(),
            refusal,
            source,
            events: Some(format!("/api/v1/events?{run}newest=true")),
            newest: None,
            live: true,
            reload_secs: None,
            has_login: pipeline.token.is_some(),
        }
    }

    async fn gather(view: &View, head: &Head) -> crate::store::Result<Self> {
        let mut frame = Self::bare(&view.pipeline(), head);
        frame.newest = head.run.is_none().then(|| *view.store.newest_event().borrow());
        frame.paused = view.store.paused().await?;
        frame.pauses = view.store.paused_nodes().await?.into_iter().map(PauseRow::of).collect();
        frame.not_ready = view.control.not_ready();
        frame.warnings = view.store.warnings();
        frame.state = Some(match (frame.paused, frame.not_ready.is_empty()) {
            (true, _) => ("stop", "paused"),
            (false, false) if is_starting(view, &frame.not_ready) => ("wait", "starting"),
            (false, false) => ("wait", "not ready"),
            (false, true) => ("ok", "running"),
        });
        let first = PageRequest { cursor: None, limit: COUNTED_APPROVALS };
        let waiting = view.store.awaiting_approval(first).await?;
        let more = if waiting.next_cursor.is_some() { "+" } else { "" };
        let count = Some(waiting.items.len()).filter(|count| *count > 0).map(|count| format!("{count}{more}"));
        if let Some(item) = frame.nav.iter_mut().find(|item| item.path == "/approvals") {
            item.count = count;
        }
        Ok(frame)
    }
}

/// Returns whether these are the reasons of a host that starts: each is about a resource that is
/// scanned for the first time.
fn is_starting(view: &View, reasons: &[String]) -> bool {
    let (pipeline, seen) = (view.pipeline(), view.control.watches());
    let unseen = pipeline.resources.iter().filter(|it| it.watch && !seen.contains_key(&it.name)).count();
    unseen == reasons.len()
}

impl PauseRow {
    fn of(pause: Pause) -> Self {
        let (means, option) = match pause.kind {
            NodeKind::Resource => ("New artifacts in it are recorded and wait.", "--resource"),
            NodeKind::Action => ("No attempt of it starts.", "--action"),
        };
        Self { name: pause.name, means, option, since: text::both(pause.since), reason: pause.reason }
    }
}

/// The parameters of a page's address. Unlike the API, a page ignores those that it does not know:
/// an address that somebody has kept still leads to the page.
#[derive(Debug, Clone, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the query of an address. Parameters without a value count as absent, so that an empty
    /// field of a form does not filter.
    pub(super) fn of(uri: &Uri) -> Result<Self> {
        let mut pairs: Vec<(String, String)> =
            read_query(uri).map_err(|why| Refusal::Invalid(format!("The address could not be read: {why}.")))?;
        pairs.retain(|(_, value)| !value.is_empty());
        Ok(Self(pairs))
    }

    /// Returns the first value of a parameter.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Reads a parameter, the field of a form with this label. `None` if it is absent.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, name: &str, label: &str) -> Result<Option<T>> {
        let value = self.text(name).map(|text| text.trim().parse::<T>());
        value.transpose().map_err(|error| Refusal::Invalid(format!("{label} is not valid: {error}.")))
    }

    /// Returns all values of a parameter, in their order.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the requested page of a list.
    pub(super) fn page(&self, limit: u32) -> PageRequest {
        PageRequest { cursor: self.text("cursor").map(str::to_owned), limit }
    }

    /// Returns `path` with these parameters, except those named in `without`, and with `with`.
    pub(super) fn link(&self, path: &str, without: &[&str], with: &[(&str, &str)]) -> String {
        let kept = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let kept = kept.filter(|(name, _)| !without.contains(name));
        let mut query = String::new();
        for (name, value) in kept.chain(with.iter().copied()) {
            query.push(if query.is_empty() { '?' } else { '&' });
            query.push_str(&text::encoded(name));
            query.push('=');
            query.push_str(&text::encoded(value));
        }
        format!("{path}{query}")
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::{Params, refused_write};
    use crate::store::StoreError;

    #[test]
    fn the_address_of_another_page_keeps_the_filters() {
        let params = Params::of(&"/runs?state=failed&cursor=7&q=a%26b+c&empty=".parse().unwrap()).unwrap();
        assert_eq!(params.text("q"), Some("a&b c"));
        assert_eq!(params.text("empty"), None);
        assert_eq!(params.page(5).cursor.as_deref(), Some("7"));
        assert_eq!(params.link("/runs", &["cursor"], &[("cursor", "9")]), "/runs?state=failed&q=a%26b%20c&cursor=9");
        assert_eq!(Params::default().link("/runs", &[], &[]), "/runs");
    }

    #[test]
    fn a_store_that_does_not_answer_is_no_conflict() {
        let unavailable = StoreError::Unavailable { doing: "decide".to_owned(), why: "disk I/O error".to_owned() };
        assert_eq!(refused_write(&unavailable), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused_write(&StoreError::Conflict("it was decided already".to_owned())), StatusCode::CONFLICT);
        assert_eq!(refused_write(&StoreError::Invalid("the note is too long".to_owned())), StatusCode::BAD_REQUEST);
    }
}
