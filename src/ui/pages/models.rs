//! `/models`: the registered models. [`super::model`] has the page of one.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;

use crate::model::RegisteredModel;
use crate::scheduler::View;
use crate::ui::page::{self, Head, Params, Result, Section};
use crate::ui::{Pages, text};

/// Models on a page.
const MODELS: u32 = 50;

#[derive(Debug, Serialize)]
struct Content {
    models: Vec<Row>,
    first: Option<String>,
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    newest: u64,
    /// Each alias with its version.
    aliases: Vec<(String, u64)>,
    created: text::Moment,
}

/// `GET /models`
pub(in crate::ui) async fn show(State(pages): State<Pages>, uri: Uri) -> Response {
    let content = gather(&pages.view, &uri).await;
    let head = || Head::of(Section::Models, "models.html", "Models");
    page::answer(&pages, content.map(|content| (head(), content))).await
}

async fn gather(view: &View, uri: &Uri) -> Result<Content> {
    let params = Params::of(uri)?;
    let page = view.store.models(params.page(MODELS)).await?;
    let link = |cursor: &str| params.link("/models", &["cursor"], &[("cursor", cursor)]);
    Ok(Content {
        models: page.items.into_iter().map(row).collect(),
        first: params.text("cursor").map(|_| "/models".to_owned()),
        next: page.next_cursor.as_deref().map(link),
    })
}

fn row(model: RegisteredModel) -> Row {
    Row {
        name: model.name,
        newest: model.newest_version,
        aliases: model.aliases.into_iter().map(|alias| (alias.alias, alias.version)).collect(),
        created: text::both(model.created_at),
    }
}
