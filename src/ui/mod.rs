//! Floor 7: the pages.
//!
//! The server renders HTML, so that a page shows everything without a script. A small script then
//! keeps it up to date with the event stream. Every asset is in the binary and comes from this
//! server only, as the content security policy requires.
//!
//! The pages do not depend on the API's handlers, nor the API on the pages: both read the same
//! [`View`](crate::scheduler::View), and `cli` puts [`router`] behind the API's guards
//! (`ServeOptions::pages`).

mod assets;
mod pages;
mod text;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};

use crate::scheduler::View;

/// State that the pages share.
#[derive(Clone)]
struct Pages {
    view: View,
    templates: Arc<Environment<'static>>,
}

/// Returns the router of all pages and their assets.
///
/// # Errors
/// When a template in the binary is invalid; never for a binary whose tests have passed.
pub fn router(view: View) -> Result<Router, minijinja::Error> {
    let pages = Pages { view, templates: Arc::new(templates()?) };
    Ok(Router::new()
        .route("/", get(pages::home::show))
        .route("/approvals", post(pages::decision::decide))
        .route("/assets/{name}", get(assets::show))
        .with_state(pages))
}

fn templates() -> Result<Environment<'static>, minijinja::Error> {
    let mut templates = Environment::new();
    // Escapes all output, whatever the template's name.
    templates.set_auto_escape_callback(|_| AutoEscape::Html);
    // A misspelt name is an error in tests, not a gap in the page.
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.add_function("asset", assets::link);
    templates.add_template("home.html", include_str!("templates/home.html"))?;
    Ok(templates)
}

#[cfg(test)]
mod tests {
    #[test]
    fn templates_are_templates() {
        super::templates().unwrap();
    }
}
