//! The forms of pages.
//!
//! A form is sent by the page of the same origin only: the guard of the server refuses requests
//! that change something and come from another origin.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

pub(super) use crate::base::read_form as read;

/// What a form that cannot be read is answered with.
pub(super) const UNREADABLE: &str = "the form could not be read";

/// Leads the browser to a page, which it gets.
pub(super) fn lead_to(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response()
}
