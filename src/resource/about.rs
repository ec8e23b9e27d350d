//! Converts errors of the operating system to errors of a resource.

use std::io;

use crate::base::{bounds, escape};
use crate::resource::ResourceError;

/// Creates errors about one path of one resource.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) resource: &'a str,
    pub(super) path: &'a str,
}

impl About<'_> {
    fn displayed_path(self) -> String {
        escape(bounds::cut(self.path, 200).as_bytes())
    }

    /// An operation failed and may succeed later.
    pub(super) fn unavailable(self, doing: &str, error: impl Into<io::Error>) -> ResourceError {
        let (resource, doing, error) =
            (self.resource.to_owned(), format!("{doing} `{}`", self.displayed_path()), error.into());
        let why = explain(&error);
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ResourceError::Full { resource, doing, why },
            _ => ResourceError::Unavailable { resource, doing, why },
        }
    }

    pub(super) fn not_found(self) -> ResourceError {
        ResourceError::NotFound { resource: self.resource.to_owned(), path: self.displayed_path() }
    }

    pub(super) fn changed(self, why: impl Into<String>) -> ResourceError {
        ResourceError::Changed { resource: self.resource.to_owned(), path: self.displayed_path(), why: why.into() }
    }

    pub(super) fn exists(self) -> ResourceError {
        ResourceError::AlreadyExists { resource: self.resource.to_owned(), path: self.displayed_path() }
    }

    pub(super) fn invalid(self, why: impl Into<String>) -> ResourceError {
        ResourceError::InvalidPath { path: self.displayed_path(), why: why.into() }
    }
}

/// Describes an error, and what to do about it.
fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "the disk is full: make room on it".to_owned(),
        io::ErrorKind::QuotaExceeded => "this user's disk quota is used up: make room".to_owned(),
        io::ErrorKind::PermissionDenied => format!("{error}: give this user access to it"),
        io::ErrorKind::ReadOnlyFilesystem => format!("{error}: mount it for writing"),
        io::ErrorKind::NotADirectory => format!("{error}: a file is where a folder must be; move it"),
        io::ErrorKind::IsADirectory => format!("{error}: a folder is where a file must be; move it"),
        io::ErrorKind::CrossesDevices => format!("{error}: another file system is mounted inside of the folder"),
        _ => error.to_string(),
    }
}
