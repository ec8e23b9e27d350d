//! `/settings`: the manifest as it was read, the store, the version.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::ui::Pages;
use crate::ui::page::{self, Head, Section};

#[derive(Debug, Serialize)]
struct Content {
    file: String,
    /// The manifest as it is written, with `${…}` unexpanded.
    manifest: String,
    state: String,
    epoch: u64,
    event: u64,
}

/// `GET /settings`
pub(in crate::ui) async fn show(State(pages): State<Pages>) -> Response {
    let (pipeline, store) = (pages.view.pipeline(), &pages.view.store);
    let content = Content {
        file: pipeline.file.display().to_string(),
        manifest: pipeline.text.clone(),
        state: pipeline.state.display().to_string(),
        epoch: store.epoch(),
        event: *store.newest_event().borrow(),
    };
    let head = Head::of(Section::Settings, "settings.html", "Settings");
    page::answer(&pages, Ok((head, content))).await
}
