//! The scripts. Each is a file with the names that it needs before it, so that every method is one
//! script, which is executed as a whole or not at all.

use std::sync::LazyLock;

use redis::Script;

macro_rules! script {
    ($($file:literal),+) => {
        LazyLock::new(|| Script::new(concat!($(include_str!(concat!("scripts/", $file, ".lua")), "\n"),+)))
    };
}

/// The methods that write.
pub(super) static WRITE: LazyLock<Script> = script!(
    "work",
    "artifacts",
    "record",
    "runs",
    "ticks",
    "create",
    "memories",
    "tags",
    "models",
    "attempts",
    "facts",
    "reuse",
    "publish",
    "others",
    "registry",
    "old_runs",
    "remove_runs",
    "write"
);

/// The methods that read.
pub(super) static READ: LazyLock<Script> = script!(
    "work",
    "artifacts",
    "runs",
    "memories",
    "tags",
    "models",
    "attempts",
    "old_runs",
    "lists",
    "run_lists",
    "other_lists",
    "model_lists",
    "check",
    "read"
);

/// The methods of a copy.
pub(super) static COPY: LazyLock<Script> = script!(
    "work",
    "artifacts",
    "runs",
    "ticks",
    "memories",
    "tags",
    "models",
    "attempts",
    "facts",
    "others",
    "copy_read",
    "copy_write",
    "copy"
);

/// The lease.
pub(super) static LEASE: LazyLock<Script> = script!("work", "lease");
