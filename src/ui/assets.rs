//! Serves style, script and icon from the binary.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use minijinja::Value;

use crate::base::Digest;

struct Asset {
    name: &'static str,
    media_type: &'static str,
    text: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: [Asset; 8] = [
    Asset { name: "plain.css", media_type: "text/css; charset=utf-8", text: include_str!("assets/plain.css") },
    Asset { name: "pipeline.css", media_type: "text/css; charset=utf-8", text: include_str!("assets/pipeline.css") },
    Asset { name: "api.css", media_type: "text/css; charset=utf-8", text: include_str!("assets/api.css") },
    Asset { name: "live.js", media_type: SCRIPT, text: include_str!("assets/live.js") },
    Asset { name: "graph.js", media_type: SCRIPT, text: include_str!("assets/graph.js") },
    Asset { name: "countdown.js", media_type: SCRIPT, text: include_str!("assets/countdown.js") },
    Asset { name: "upload.js", media_type: SCRIPT, text: include_str!("assets/upload.js") },
    Asset { name: "icon.svg", media_type: "image/svg+xml", text: include_str!("assets/icon.svg") },
];

/// Returns the URL of an asset. It contains a digest that changes with the content, so that
/// browsers can cache the asset.
#[expect(clippy::needless_pass_by_value, reason = "a template calls it")]
pub(super) fn link(name: String) -> Value {
    let digest = ASSETS.iter().find(|asset| asset.name == name).map(|asset| Digest::of(asset.text.as_bytes()).hex());
    let version: String = digest.unwrap_or_default().chars().take(12).collect();
    // Only our own templates pass names, so they are safe.
    Value::from_safe_string(format!("/assets/{name}?v={version}"))
}

/// `GET /assets/{name}`
pub(super) async fn show(Path(name): Path<String>) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers =
        [(header::CONTENT_TYPE, asset.media_type), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, asset.text).into_response()
}
