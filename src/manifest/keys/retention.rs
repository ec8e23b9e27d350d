//! The keys of `[retention]`.

use std::sync::LazyLock;

use super::section::{Keys, object};
use crate::manifest::retention;
use crate::manifest::schema::{integer, size, span, strings, with_example};
use crate::manifest::settings;

pub(in crate::manifest) static RETENTION: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "[retention]",
    later: &[],
    rows: vec![
        (
            "runs",
            &["run", "history"],
            object("A run that has ended stays as long as one of these keeps it.", &RUNS, &[]),
        ),
        ("logs", &["log"], object("How long log lines stay.", &LOGS, &[])),
        (
            "components",
            &["kept_components", "component"],
            size(
                "Stored components that only a retry of a run that has ended would need. Beyond that, those of the oldest runs are removed.",
                &settings::COMPONENTS,
                retention::DEFAULT_COMPONENTS,
            ),
        ),
        (
            "compiled_code",
            &["cache", "compiled"],
            size(
                "Compiled code, which all pipelines of a user share. Beyond that, what was not used for longest is removed.",
                &settings::COMPILED_CODE,
                retention::DEFAULT_COMPILED_CODE,
            ),
        ),
    ],
});

pub(in crate::manifest) static RUNS: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "`runs` of [retention]",
    later: &[],
    rows: vec![
        (
            "keep_for",
            &["keep", "keep_days", "max_age", "age", "days"],
            with_example(span("How long ago it ended.", &settings::KEEP_RUNS_FOR, None), "90d"),
        ),
        (
            "keep_last",
            &["max_runs", "count", "last"],
            with_example(integer("How many of the newest runs stay.", settings::KEEP_LAST, None), 1_000),
        ),
        (
            "keep_tags",
            &["tags", "keep_tag"],
            strings(
                "Tags of a run, `NAME` or `NAME=VALUE`, and of an artifact that it wrote: it stays.",
                None,
                "release",
            ),
        ),
    ],
});

pub(in crate::manifest) static LOGS: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "`logs` of [retention]",
    later: &[],
    rows: vec![(
        "keep_for",
        &["keep", "keep_days", "max_age", "age", "days"],
        with_example(
            span("How long ago they were written, besides those of running runs.", &settings::KEEP_LOGS_FOR, None),
            "30d",
        ),
    )],
});
