//! Converts errors of the service to errors of a resource.

use crate::base::innermost;
use crate::resource::ResourceError;
use crate::resource::about::About;

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
