//! Serves style, script and icon from the binary.

use axum::extract::Path;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use minijinja::Value;

use crate::base::Digest;

struct Asset {
    name: &'static str,
    media_type: &'static str,
    text: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

const STYLE: &str = "text/css; charset=utf-8";

const ASSETS: [Asset; 14] = [
    Asset { name: "plain.css", media_type: STYLE, text: include_str!("assets/plain.css") },
    Asset { name: "pipeline.css", media_type: STYLE, text: include_str!("assets/pipeline.css") },
    Asset { name: "charts.css", media_type: STYLE, text: include_str!("assets/charts.css") },
    Asset { name: "uPlot.min.css", media_type: STYLE, text: include_str!("assets/vendor/uPlot.min.css") },
    Asset { name: "uPlot.iife.min.js", media_type: SCRIPT, text: include_str!("assets/vendor/uPlot.iife.min.js") },
    Asset { name: "charts.js", media_type: SCRIPT, text: include_str!("assets/charts.js") },
    Asset { name: "api.css", media_type: STYLE, text: include_str!("assets/api.css") },
    Asset { name: "live.js", media_type: SCRIPT, text: include_str!("assets/live.js") },
    Asset { name: "login.js", media_type: SCRIPT, text: include_str!("assets/login.js") },
    Asset { name: "graph.js", media_type: SCRIPT, text: include_str!("assets/graph.js") },
    Asset { name: "choose.js", media_type: SCRIPT, text: include_str!("assets/choose.js") },
    Asset { name: "countdown.js", media_type: SCRIPT, text: include_str!("assets/countdown.js") },
    Asset { name: "upload.js", media_type: SCRIPT, text: include_str!("assets/upload.js") },
    Asset { name: "icon.svg", media_type: "image/svg+xml", text: include_str!("assets/icon.svg") },
];

/// Returns the URL of an asset. It contains a digest that changes with the content, so that
/// browsers can cache the asset.
#[expect(clippy::needless_pass_by_value, reason = "a template calls it")]
pub(super) fn link(name: String) -> Value {
    let version = ASSETS.iter().find(|asset| asset.name == name).map(version).unwrap_or_default();
    // Only our own templates pass names, so they are safe.
    Value::from_safe_string(format!("/assets/{name}?v={version}"))
}

fn version(asset: &Asset) -> String {
    Digest::of(asset.text.as_bytes()).hex().chars().take(12).collect()
}

/// `GET /assets/{name}`. Only an address with the version of the content may be cached for good.
pub(super) async fn show(Path(name): Path<String>, uri: Uri) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return (StatusCode::NOT_FOUND, "There is no such asset.\n").into_response();
    };
    let version = version(asset);
    let is_pinned = uri.query().and_then(|query| query.strip_prefix("v=")) == Some(version.as_str());
    let headers = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CACHE_CONTROL, if is_pinned { "public, max-age=31536000, immutable" } else { "no-cache" }),
        (header::ETAG, &format!("W/\"{version}\"")),
    ];
    (headers, asset.text).into_response()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::ASSETS;
    use crate::base::Digest;
    use crate::ui::TEMPLATES;

    #[test]
    fn files_of_others_are_as_they_were_published() {
        let list = include_str!("assets/vendor/README.md");
        for name in ["uPlot.iife.min.js", "uPlot.min.css"] {
            let asset = ASSETS.iter().find(|asset| asset.name == name).unwrap();
            let row = list.lines().find(|line| line.starts_with(&format!("| `{name}`"))).unwrap();
            assert!(row.contains(&format!("`{}`", Digest::of(asset.text.as_bytes()).hex())), "{row}");
        }
    }

    #[test]
    fn everything_together_is_small() {
        const MOST: usize = 150_000;
        let size = |text: &str| {
            let mut gzip = Command::new("gzip");
            let mut gzip = gzip.args(["-6", "-c"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            // Each file fits into a pipe once it is packed, so nobody waits for the other.
            gzip.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            gzip.wait_with_output().unwrap().stdout.len()
        };
        // Templates are not sent as they are, but they bound what is sent besides data.
        let all = ASSETS.iter().map(|asset| asset.text).chain(TEMPLATES.iter().map(|(_, text)| *text));
        let sum: usize = all.map(size).sum();
        assert!((MOST / 10..MOST).contains(&sum), "{sum} bytes");
    }
}
