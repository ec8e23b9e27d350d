//! Converts errors of the service to errors of a resource.

use crate::base::bounds;
use crate::resource::ResourceError;
use crate::resource::about::About;

/// The longest text of an error of the service. Some services answer with pages of HTML.
const MAX_REASON_BYTES: usize = 300;

/// Returns the error of an operation on a path.
pub(super) fn failed(about: About<'_>, doing: &str, error: &object_store::Error) -> ResourceError {
    match error {
        object_store::Error::NotFound { .. } => about.not_found(),
        object_store::Error::Precondition { .. } => about.changed("it was replaced by another object"),
        object_store::Error::AlreadyExists { .. } => about.exists(),
        _ => about.unavailable(doing, std::io::Error::other(reason(error))),
    }
}

/// Describes an error of the service for display, with what to do about it if that is known.
pub(super) fn reason(error: &object_store::Error) -> String {
    match error {
        object_store::Error::PermissionDenied { .. } => {
            "the service denies access: check the credentials, and the policy of the bucket".to_owned()
        }
        object_store::Error::Unauthenticated { .. } => {
            "the service does not accept the credentials: check `credentials` and the keys".to_owned()
        }
        _ => innermost(error),
    }
}

/// Returns the text of the innermost cause. The texts around it repeat it, with URLs in them.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let text = cause.to_string();
    let line: Vec<&str> = text.split_whitespace().collect();
    bounds::cut(&line.join(" "), MAX_REASON_BYTES).into_owned()
}
