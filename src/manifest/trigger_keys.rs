//! The keys of triggers and of their conditions, for the tables in [`keys`](super::keys).

use serde_json::json;

use super::decider::Decider;
use super::pipeline::Trigger;
use super::schema::{
    DIGEST, Row, boolean, choice, form, integer, object, params, size, span, text, with_default, with_example,
    without_default,
};
use super::settings;

/// The keys of `trigger` of a resource.
pub(super) fn of_a_resource() -> Vec<Row> {
    let usual = Trigger::default();
    let counts: Vec<Row> = vec![
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
            with_example(
                span("How long no new artifact must have arrived.", &settings::QUIET_FOR, Some(usual.quiet_for)),
                "10s",
            ),
        ),
        (
            "max_wait",
            &["timeout"],
            with_example(
                span("Start anyway once the oldest artifact has waited for this long.", &settings::MAX_WAIT, None),
                "10m",
            ),
        ),
    ];
    let doc = "One run for each group of paths: those with the same named parts.";
    let group_by: Row = ("group_by", &["partition_by", "partitions"], with_example(text(doc), "{day}/*.csv"));
    [counts, vec![group_by], events("condition"), vec![retrigger()]].concat()
}

/// The keys of a table in `all` or `any` of such a trigger.
pub(super) fn condition() -> Vec<Row> {
    let counts: Vec<Row> = vec![
        ("min_artifacts", &[], integer("How many new artifacts are needed.", settings::ARTIFACTS, None)),
        (
            "min_bytes",
            &[],
            without_default(size("How many bytes the new artifacts must have together.", &settings::MIN_BYTES, 0)),
        ),
        (
            "quiet_for",
            &[],
            with_example(span("How long no new artifact must have arrived.", &settings::QUIET_FOR, None), "10s"),
        ),
        (
            "max_wait",
            &[],
            with_example(
                span("Met anyway once the oldest artifact has waited for this long.", &settings::MAX_WAIT, None),
                "10m",
            ),
        ),
    ];
    [counts, events("condition")].concat()
}

/// The keys of `[triggers.NAME]`.
pub(super) fn of_the_pipeline() -> Vec<Row> {
    [events("pipeline_condition"), vec![retrigger()]].concat()
}

/// The keys of a table in `all` or `any` of such a trigger.
pub(super) fn pipeline_condition() -> Vec<Row> {
    events("pipeline_condition")
}

/// The keys of `cron`.
pub(super) fn cron() -> Vec<Row> {
    let missed =
        "What happens to times that passed while the host was down: one run for all of them, one for each, or none.";
    vec![
        ("schedule", &["cron", "expression"], text("Minute, hour, day of month, month, day of week.")),
        ("time_zone", &["timezone", "tz", "zone"], with_default(text("A name of the IANA time zone database."), "UTC")),
        ("missed", &["catch_up", "catchup"], choice(missed, &settings::MISSED)),
    ]
}

/// The keys of `metric`.
pub(super) fn metric() -> Vec<Row> {
    let number = |doc: &str| json!({"type": "number", "description": doc}).into();
    vec![
        ("name", &["metric"], text("The name of the metric.")),
        ("below", &["less_than", "lt"], number("The value is less than this.")),
        ("above", &["more_than", "greater_than", "gt"], number("The value is more than this.")),
        ("changed_by", &["changed"], number("The value is this far from that at the last fire.")),
        (
            "no_update_for",
            &["stale_for"],
            with_example(span("No value was recorded for this long.", &settings::NO_UPDATE_FOR, None), "1d"),
        ),
    ]
}

/// The keys of `component`.
pub(super) fn component() -> Vec<Row> {
    let limits = object("What one decision may use.", &component_limits(), &[]);
    vec![
        ("file", &["component", "path", "wasm"], text("The `.wasm` file, of the world `trigger`.")),
        (
            "digest",
            &["sha256"],
            form("The digest that the component must have.", DIGEST, &format!("sha256:{}", "0".repeat(64))),
        ),
        ("build", &["command"], super::keys::build()),
        ("params", &["config", "settings"], params("Params that the component reads.")),
        ("limits", &["timeout"], limits),
    ]
}

/// The keys of `limits` of `component`.
pub(super) fn component_limits() -> Vec<Row> {
    let usual = Decider::usual_limits();
    vec![
        ("memory", &["ram"], size("All linear memories and tables together.", &settings::MEMORY, usual.memory_bytes)),
        ("cpu", &[], span("Time on a CPU inside the component.", &settings::TIME, Some(usual.cpu))),
        ("wall", &["timeout", "time", "duration"], span("Time from start to end.", &settings::TIME, Some(usual.wall))),
        ("log", &[], size("Bytes of log lines.", &settings::LOG, usual.log_bytes)),
    ]
}

/// The conditions that count no artifacts. `inner` names the schema of the tables in `all` and
/// `any`.
fn events(inner: &str) -> Vec<Row> {
    let table = object("A schedule in a time zone.", &cron(), &["schedule"]);
    let cron = json!({"anyOf": [text("A schedule in UTC."), table], "examples": ["0 6 * * 1-5"],
        "description": "A time of this schedule has come: minute, hour, day of month, month, day of week."});
    let group = |doc: &str| {
        json!({"type": "array", "description": doc, "minItems": 1, "items": {"$ref": format!("#/$defs/{inner}")}})
            .into()
    };
    let metric = object("The newest value of a metric that succeeded attempts recorded.", &metric(), &["name"]);
    let after_run = without_default(choice("A run of this pipeline has ended so.", &settings::AFTER_RUN));
    let file = text("Its `.wasm` file, of the world `trigger`.");
    let decider = json!({"$ref": "#/$defs/trigger_component"});
    let decides = json!({"anyOf": [file, decider], "examples": ["decide.wasm"],
        "description": "A component decides so: it is asked when the other conditions are met."});
    let every =
        with_example(span("This much time has passed since the trigger fired last.", &settings::EVERY, None), "1h");
    vec![
        ("every", &["interval"], every),
        ("cron", &["schedule"], cron.into()),
        ("metric", &[], metric),
        ("after_run", &["on_run"], after_run),
        ("component", &["sensor", "decider", "wasm"], decides.into()),
        ("all", &["and"], group("Each of these is met.")),
        ("any", &["or"], group("One of these is met.")),
    ]
}

fn retrigger() -> Row {
    let doc = "Whether runs that the trigger led to count for its own `after_run`, `metric` and `component`.";
    ("retrigger", &[], boolean(doc))
}
