//! `/triggers/{name}`: a trigger of the pipeline, `[triggers.NAME]`: what it waits for, and what it
//! decided. A trigger of a resource is on the page of the resource.

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;

use super::decided::Decided;
use super::nodes::Now;
use super::triggers::TriggerCard;
use crate::base::{Clock as _, SystemClock, escape};
use crate::scheduler::preview_triggers;
use crate::ui::page::{self, Head, Params, Refusal, Result, Section};
use crate::ui::{Pages, text};

#[derive(Debug, Serialize)]
struct Content {
    name: String,
    trigger: Option<TriggerCard>,
    #[serde(flatten)]
    decided: Decided,
    /// The runs that it started.
    runs: String,
}

/// `GET /triggers/{name}`
pub(in crate::ui) async fn show(State(pages): State<Pages>, Path(name): Path<String>, uri: Uri) -> Response {
    let content = gather(&pages, &name, &uri).await;
    let head = Head::below(Section::Pipeline, "trigger_page.html", &name);
    page::answer(&pages, content.map(|content| (head, content))).await
}

async fn gather(pages: &Pages, name: &str, uri: &Uri) -> Result<Content> {
    let (view, pipeline, at) = (&pages.view, pages.view.pipeline(), SystemClock.now());
    if !pipeline.triggers.iter().any(|trigger| trigger.name == name) {
        let name = escape(crate::base::bounds::cut(name, 100).as_bytes());
        return Err(Refusal::Missing(format!("The manifest has no trigger {name}.")));
    }
    let params = Params::of(uri)?;
    let now = Now::look(view, &pipeline, at).await?;
    let watches = view.control.watches();
    let previews = preview_triggers(view.store.as_ref(), &pipeline, Some(&watches), SystemClock.both()).await?;
    let own = previews.into_iter().find(|preview| preview.resource.is_none() && preview.trigger == name);
    let encoded = text::encoded(name);
    Ok(Content {
        name: name.to_owned(),
        trigger: own.map(|preview| TriggerCard::of(&pipeline, &now, preview, at)),
        decided: Decided::gather(view, name, &params, &format!("/triggers/{encoded}")).await?,
        runs: format!("/runs?trigger={encoded}"),
    })
}
