//! The keys of a trigger.

use std::sync::LazyLock;

use super::section::Keys;
use crate::manifest::pipeline::Trigger;
use crate::manifest::schema::{integer, size, span};
use crate::manifest::settings;

pub(in crate::manifest) static TRIGGER: LazyLock<Keys> = LazyLock::new(|| {
    let usual = Trigger::default();
    Keys {
        home: "`trigger` of a resource",
        later: &["every", "cron", "metric", "all", "any", "group_by"],
        rows: vec![
            (
                "min_artifacts",
                &["min", "count", "min_files"],
                integer("How many new artifacts are needed.", settings::ARTIFACTS, Some(usual.min_artifacts)),
            ),
            (
                "max_artifacts",
                &["max", "max_files", "batch_size"],
                integer(
                    "How many artifacts one run takes at most, oldest first.",
                    settings::ARTIFACTS,
                    usual.max_artifacts,
                ),
            ),
            (
                "min_bytes",
                &[],
                size("How many bytes the new artifacts must have together.", &settings::MIN_BYTES, usual.min_bytes),
            ),
            (
                "quiet_for",
                &["debounce", "quiet"],
                span("How long no new artifact must have arrived.", &settings::QUIET_FOR, Some(usual.quiet_for)),
            ),
            (
                "max_wait",
                &["timeout"],
                span("Start anyway once the oldest artifact has waited for this long.", &settings::MAX_WAIT, None),
            ),
        ],
    }
});
