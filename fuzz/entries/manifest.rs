//! Reads arbitrary text as a manifest: the result is a pipeline, or problems that can be displayed.

use std::path::Path;

use anacostia::manifest;

/// Reads the bytes as a manifest.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let folder = Path::new("/nonexistent/pipeline");
    let variables = |name: &str| name.starts_with('A').then(|| format!("value of {name}"));
    match manifest::parse_pinned(text, folder, &folder.join("anacostia.toml"), &variables) {
        Ok(pipeline) => {
            assert!(!pipeline.actions.is_empty(), "a pipeline without actions was accepted");
            // The actions of an accepted manifest can be ordered.
            let graph = anacostia::graph::Graph::of(&pipeline);
            let _ = format!("{graph:?}");
        }
        Err(problems) => assert!(!problems.to_string().is_empty(), "refused without a problem"),
    }
}
