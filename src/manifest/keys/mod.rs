//! The keys of a manifest, one table for each section: each key, its common wrong names, and its
//! allowed values. The reader uses these tables to find unknown keys and to suggest the right ones,
//! and the JSON Schema is generated from them.

mod openlineage;
mod resource;
mod retention;
mod section;
mod server;
mod sql;
mod store;
mod trigger;

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::action::{Backoff, Limits, Retry};
use super::schema::{
    DIGEST, ENV, HOST, NAME, SOURCE, STDIN, Shape, arguments, boolean, choice, form, integer, params, set, size, span,
    strings, text, variables, with_default, with_example, without_default, words,
};
use super::settings::{self, ChannelKind, StoreKind};
pub(super) use openlineage::OPENLINEAGE;
pub(super) use resource::{FOLDER, HTTP, Kind, PAGING, RESOURCE_KINDS, S3, SQL};
pub(super) use retention::{LOGS as RETENTION_LOGS, RETENTION, RUNS as RETENTION_RUNS};
pub(super) use section::Keys;
pub(crate) use section::nearest;
use section::{Row, by_kind, object};
pub(super) use server::{SERVER, TLS};
pub(super) use store::{POSTGRES_STORE, REDIS_STORE, STORE};
pub(super) use trigger::{
    COMPONENT, COMPONENT_LIMITS, CONDITION, CRON, METRIC, PIPELINE_CONDITION, PIPELINE_TRIGGER, TRIGGER,
};

/// The keys of each kind of metadata store.
pub(super) static STORE_KINDS: [(&str, (StoreKind, &LazyLock<Keys>)); 3] = [
    ("sqlite", (StoreKind::Sqlite, &STORE)),
    ("postgres", (StoreKind::Postgres, &POSTGRES_STORE)),
    ("redis", (StoreKind::Redis, &REDIS_STORE)),
];

/// The keys of each kind of notification.
pub(super) static NOTIFY_KINDS: [(&str, (ChannelKind, &LazyLock<Keys>)); 3] = [
    ("webhook", (ChannelKind::Webhook, &WEBHOOK)),
    ("slack", (ChannelKind::Slack, &SLACK)),
    ("email", (ChannelKind::Email, &EMAIL)),
];

pub(super) static ROOT: LazyLock<Keys> = LazyLock::new(|| {
    let version: Value = settings::MANIFEST_VERSION.parse::<u64>().map_or(Value::Null, Value::from);
    let nodes = |doc: &str, table: Shape| {
        json!({"type": "object", "description": doc, "propertyNames": {"pattern": NAME},
            "maxProperties": settings::MAX_NODES, "additionalProperties": table})
        .into()
    };
    let action = object("A job: one WASI component.", &ACTION, &["component"]);
    let stores = vec![
        ("sqlite", object("", &STORE, &[])),
        ("postgres", object("", &POSTGRES_STORE, &["kind", "url"])),
        ("redis", object("", &REDIS_STORE, &["kind", "url"])),
    ];
    let trigger = object("When to start a run. All its conditions must be met.", &PIPELINE_TRIGGER, &[]);
    let notify = by_kind(
        "Who is told, and how.",
        vec![
            ("webhook", object("A signed POST of JSON.", &WEBHOOK, &["kind", "url", "secret"])),
            (
                "slack",
                object(
                    "A message to an incoming webhook of Slack, or of a program that takes the same.",
                    &SLACK,
                    &["kind", "url"],
                ),
            ),
            ("email", object("An e-mail.", &EMAIL, &["kind", "from", "to", "smtp"])),
        ],
    );
    Keys {
        home: "the top of the manifest",
        later: &[],
        rows: vec![
            (
                "manifest_version",
                &["version"],
                json!({"type": "integer", "const": version, "description": "The version of the format."}).into(),
            ),
            ("pipeline", &[], object("The pipeline as a whole.", &PIPELINE, &["name"])),
            ("server", &[], object("The HTTP interface.", &SERVER, &[])),
            ("metadata_store", &["store", "metadata", "database"], by_kind("Where every run is recorded.", stores)),
            ("retention", &["cleanup", "gc", "keep"], object("What is removed by itself, and when.", &RETENTION, &[])),
            ("resources", &["inputs", "outputs", "nodes"], nodes("Inputs and outputs, by name.", resource::schema())),
            ("actions", &["steps", "tasks", "jobs", "ops"], nodes("Jobs, by name.", action)),
            (
                "triggers",
                &["schedules", "sensors"],
                nodes("Reasons to start a run besides new artifacts, by name.", trigger),
            ),
            (
                "notify",
                &["notifications", "alerts", "on_failure"],
                nodes("Who is told about failed runs and other things, by name.", notify),
            ),
            (
                "openlineage",
                &["lineage", "open_lineage", "marquez"],
                nodes("Who gets OpenLineage events, by name.", object("An endpoint, or a file.", &OPENLINEAGE, &[])),
            ),
        ],
    }
});

pub(super) static PIPELINE: LazyLock<Keys> = LazyLock::new(|| {
    Keys {
    home: "[pipeline]",
    later: &[],
    rows: vec![
        (
            "name",
            &["title", "id"],
            form("The name of the pipeline: a letter a-z, then a-z, 0-9, `_` or `-`.", NAME, "penguins"),
        ),
        (
            "join",
            &[],
            choice("A run starts when `all` watched resources have what they need, or `any` of them.", &settings::JOIN),
        ),
        (
            "max_concurrent_runs",
            &["max_runs"],
            integer("How many runs are active at once.", settings::CONCURRENT_RUNS, Some(1)),
        ),
        (
            "max_concurrent_actions",
            &["max_actions", "parallelism", "workers"],
            integer(
                "How many attempts of actions are active at once, over all runs.",
                settings::CONCURRENT_ACTIONS,
                Some(settings::DEFAULT_CONCURRENT_ACTIONS.into()),
            ),
        ),
        (
            "concurrency",
            &["pools", "slots"],
            json!({"type": "object", "default": {}, "examples": [{"gpu": 1}], "propertyNames": {"pattern": NAME},
                "description": "How many attempts at once may use something that actions share, by a name of your choice; `uses` of an action names it.",
                "additionalProperties": integer("The maximum number of attempts at once, over all runs.", settings::CONCURRENCY, None)})
            .into(),
        ),
        (
            "state",
            &[],
            text(
                "The folder in which the host keeps logs and components. If not given: the folder of the metadata store's file, or `state` if the store is on another machine.",
            ),
        ),
        (
            "logs",
            &["log", "max_logs", "log_retention"],
            size(
                "Log lines that are kept. Beyond that, those of runs that have ended are removed, oldest first.",
                &settings::LOGS,
                settings::DEFAULT_LOGS,
            ),
        ),
        (
            "params",
            &[],
            params(
                "For every action. An action's own and a run's own params override them; `${…}` is not expanded here.",
            ),
        ),
        (
            "params_schema",
            &["schema"],
            json!({"type": "object", "examples": [{"properties": {"seed": {"type": "integer"}}}],
                "description": "The JSON Schema (draft 2020-12) of the params of a run: those here, overridden by its own."})
            .into(),
        ),
    ],
}
});

pub(super) static ACTION: LazyLock<Keys> = LazyLock::new(|| {
    let build = object("How the component is built.", &BUILD, &["command"]);
    let limits = object("What an attempt may use. An attempt that exceeds a limit is ended.", &LIMITS, &[]);
    let approval = object("A person must approve it before it starts.", &APPROVAL, &["who"]);
    let retry = object("When a failed attempt is retried.", &RETRY, &[]);
    Keys {
        home: "[actions.NAME]",
        later: &[],
        rows: vec![
            (
                "component",
                &["wasm", "module", "file", "path", "image"],
                text("The `.wasm` file, relative to the manifest's folder."),
            ),
            (
                "digest",
                &["sha256"],
                form("The digest that the component must have.", DIGEST, &format!("sha256:{}", "0".repeat(64))),
            ),
            ("build", &["command"], build),
            (
                "after",
                &["depends_on", "needs", "requires", "upstream"],
                strings("The nodes before it, resources and actions: the edges of the graph.", Some(NAME), "raw"),
            ),
            ("reads", &["inputs", "input"], strings("The resources that it may read.", Some(NAME), "raw")),
            ("writes", &["outputs", "output"], strings("The resources that it may write.", Some(NAME), "models")),
            ("retrigger", &[], boolean("Whether its outputs are new in watched resources, and start runs there.")),
            (
                "params",
                &["config"],
                params("Its params, which override those of the pipeline; `${…}` is not expanded here."),
            ),
            ("args", &["argv", "arguments"], arguments()),
            (
                "stdin",
                &[],
                form(
                    "The input that a command's standard input reads: `RESOURCE`, or `RESOURCE/GLOB`; exactly one must match.",
                    STDIN,
                    "raw/*.csv",
                ),
            ),
            ("tables", &["databases"], tables()),
            ("env", &["environment"], variables("Its environment.", &json!({"type": "string"}))),
            (
                "secrets",
                &[],
                variables(
                    "Its secrets, by the name that it sees. Each is a variable of the host's environment.",
                    &json!({"anyOf": [form(SOURCE, ENV, "env:API_TOKEN"),
                    object("A secret that the host puts into a header of requests to one host.", &SECRET, &["from", "header", "host"])]}),
                ),
            ),
            (
                "http",
                &["hosts", "allowed_hosts", "allowed_outbound_hosts", "network"],
                strings(
                    "Hosts that it may send requests to, by name or by address, with a port unless it is 443.",
                    Some(HOST),
                    "api.example.com:443",
                ),
            ),
            (
                "uses",
                &["pool", "slots", "concurrency"],
                strings("Names in `concurrency` of the pipeline: what it needs while it runs.", Some(NAME), "gpu"),
            ),
            ("limits", &["timeout"], limits),
            ("retry", &["retries"], retry),
            ("approval", &["approve", "manual", "gate"], approval),
            ("cache", &["memoize", "caching", "cached"], cache()),
            ("run_when", &["when"], choice("When it runs, given how those before it ended.", &settings::RUN_WHEN)),
        ],
    }
});

pub(super) static APPROVAL: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "`approval` of an action",
    later: &[],
    rows: vec![
        ("who", &["by", "approvers", "users", "groups"], text("Who should decide. It is shown, and not enforced.")),
        (
            "timeout",
            &["within", "deadline"],
            with_example(
                span(
                    "How long it waits for a decision before the action fails. If not given, it waits for ever.",
                    &settings::APPROVAL_TIMEOUT,
                    None,
                ),
                "24h",
            ),
        ),
    ],
});

/// The schema of `cache` of an action.
fn cache() -> Shape {
    let table = object("What to leave out of account.", &CACHE, &[]);
    json!({"description": "Whether its result is taken from an earlier attempt if nothing has changed that it depends on.",
        "anyOf": [{"type": "boolean"}, table], "default": false})
    .into()
}

pub(super) static CACHE: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "`cache` of an action",
    later: &[],
    rows: vec![(
        "ignore",
        &["except", "allow"],
        words("What it may use although it is not on record, because it does not matter.", &settings::CACHE_IGNORE),
    )],
});

pub(super) static SECRET: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "a secret of an action",
    later: &[],
    rows: vec![
        ("from", &["env", "value", "source"], form(SOURCE, ENV, "env:API_TOKEN")),
        ("header", &["name"], text("The header.")),
        ("host", &["url"], form("The host, which `http` names too.", HOST, "api.example.com:443")),
        ("prefix", &["scheme"], with_default(text("Text before the value, such as `Bearer `."), "")),
    ],
});

/// The schema of `tables` of an action.
fn tables() -> Shape {
    let each = object("The tables of one database.", &TABLES, &[]);
    json!({"type": "object", "description": "The tables that it may use of a SQLite database that it reads or writes; all if this is not given.",
        "additionalProperties": each})
    .into()
}

pub(super) static TABLES: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "`tables` of an action",
    later: &[],
    rows: vec![
        ("read", &["reads", "select"], strings("Tables that it may read.", None, "readings")),
        ("write", &["writes", "insert"], strings("Tables that it may change, and read.", None, "summaries")),
    ],
});

pub(super) static BUILD: LazyLock<Keys> = LazyLock::new(|| Keys {
    home: "`build` of an action",
    later: &[],
    rows: vec![
        ("command", &["cmd", "run", "script"], text("For `sh -c`, in the manifest's folder.")),
        ("watch", &["sources"], strings("The component is rebuilt when these sources change.", None, "src")),
    ],
});

/// Returns the schema of `build`.
pub(super) fn build() -> Shape {
    object("How the component is built.", &BUILD, &["command"])
}

pub(super) static LIMITS: LazyLock<Keys> = LazyLock::new(|| {
    let usual = Limits::default();
    Keys {
        home: "`limits` of an action",
        later: &[],
        rows: vec![
            (
                "memory",
                &["ram"],
                size("All linear memories and tables together.", &settings::MEMORY, usual.memory_bytes),
            ),
            ("cpu", &[], span("Time on a CPU inside the component.", &settings::TIME, Some(usual.cpu))),
            (
                "wall",
                &["timeout", "time", "duration"],
                span("Time from start to end.", &settings::TIME, Some(usual.wall)),
            ),
            ("output", &["disk"], size("Bytes written to resources.", &settings::OUTPUT, usual.output_bytes)),
            ("log", &[], size("Bytes of log lines.", &settings::LOG, usual.log_bytes)),
            (
                "handles",
                &[],
                integer("Readers and writers open at once.", settings::HANDLES, Some(usual.handles.into())),
            ),
            (
                "metric_names",
                &[],
                integer("Distinct names of metrics.", settings::METRIC_NAMES, Some(usual.metric_names.into())),
            ),
            (
                "http_body",
                &[],
                size("The body of one request, and of one answer.", &settings::HTTP_BODY, usual.http_body_bytes),
            ),
            (
                "http_requests",
                &[],
                integer("Requests over the network.", settings::HTTP_REQUESTS, Some(usual.http_requests.into())),
            ),
            (
                "http_wait",
                &[],
                span(
                    "The longest wait of a request: for the connection, for the answer, between two parts of its body.",
                    &settings::HTTP_WAIT,
                    Some(usual.http_wait),
                ),
            ),
        ],
    }
});

pub(super) static RETRY: LazyLock<Keys> = LazyLock::new(|| {
    let usual = Retry::default();
    let Backoff { first, max } = usual.backoff;
    let tries = "Attempts in all. Only errors that are marked as retryable are retried.";
    Keys {
        home: "`retry` of an action",
        later: &[],
        rows: vec![
            (
                "max_attempts",
                &["attempts", "max_retries", "retries", "count"],
                integer(tries, settings::ATTEMPTS, Some(usual.max_attempts.into())),
            ),
            ("backoff", &["delay"], span("The first wait; doubled each time.", &settings::BACKOFF, Some(first))),
            ("max_backoff", &["max_delay"], span("The longest wait.", &settings::BACKOFF, Some(max))),
        ],
    }
});

pub(super) static WEBHOOK: LazyLock<Keys> = LazyLock::new(|| {
    let secret = form("The key of the signature: a variable of the host's environment.", ENV, "env:WEBHOOK_SECRET");
    notification("a webhook", vec![("url", &["endpoint", "address"], url()), ("secret", &["key", "token"], secret)])
});

pub(super) static SLACK: LazyLock<Keys> =
    LazyLock::new(|| notification("a Slack notification", vec![("url", &["webhook", "webhook_url"], url())]));

pub(super) static EMAIL: LazyLock<Keys> = LazyLock::new(|| {
    let smtp =
        "The mail server: `smtps://HOST` (TLS), `smtp://HOST:587?tls=required` (STARTTLS) or `smtp://HOST:PORT`.";
    notification(
        "an e-mail",
        vec![
            ("from", &["sender"], text("The address of the sender.")),
            (
                "to",
                &["recipients", "address"],
                without_default(strings("The addresses of the recipients.", None, "you@example.com")),
            ),
            ("smtp", &["server", "host", "url"], text(smtp)),
            ("user", &["username", "login"], form("The user at the mail server.", ENV, "env:SMTP_USER")),
            ("password", &["pass"], form("The password at the mail server.", ENV, "env:SMTP_PASSWORD")),
        ],
    )
});

fn url() -> Shape {
    text("The address, or `env:NAME` for a variable of the host's environment that holds it.")
}

/// Returns the keys of a kind of notification: those of all kinds, and its own.
fn notification(home: &'static str, own: Vec<Row>) -> Keys {
    let on = words("What to notify about.", &settings::NOTIFY_ON);
    let silence = "Notify when no watched resource has received a new artifact for this long.";
    let resources = "Only about these resources (`resource_unreachable`, `nothing_new_for`). Then `nothing_new_for` is about each by itself.";
    let retry = "For how long a delivery is tried again before it is given up.";
    let action = "Only runs in which this action succeeded (`run_succeeded`) or failed (`run_failed`), or its approvals (`awaiting_approval`).";
    let mut rows: Vec<Row> = vec![
        ("kind", &["type", "channel"], without_default(choice("How the message is sent.", &NOTIFY_KINDS))),
        ("on", &["events", "when"], on),
        (
            "nothing_new_for",
            &["nothing_new", "silence"],
            with_example(span(silence, &settings::NOTHING_NEW_FOR, None), "6h"),
        ),
        ("resources", &["resource", "inputs"], strings(resources, Some(NAME), "raw")),
        ("action", &["actions"], text(action)),
        ("retry_for", &["give_up_after"], span(retry, &settings::RETRY_FOR, Some(settings::DEFAULT_RETRY_FOR))),
    ];
    rows.extend(own);
    Keys { home, later: &[], rows }
}

/// Returns all sections.
fn all() -> [&'static Keys; 33] {
    [
        &ROOT,
        &PIPELINE,
        &SERVER,
        &STORE,
        &POSTGRES_STORE,
        &REDIS_STORE,
        &FOLDER,
        &HTTP,
        &PAGING,
        &S3,
        &SQL,
        &TRIGGER,
        &PIPELINE_TRIGGER,
        &CONDITION,
        &PIPELINE_CONDITION,
        &CRON,
        &METRIC,
        &ACTION,
        &APPROVAL,
        &CACHE,
        &SECRET,
        &BUILD,
        &LIMITS,
        &COMPONENT,
        &COMPONENT_LIMITS,
        &RETRY,
        &WEBHOOK,
        &SLACK,
        &EMAIL,
        &OPENLINEAGE,
        &RETENTION,
        &RETENTION_RUNS,
        &RETENTION_LOGS,
    ]
}

/// Returns the JSON Schema (draft 2020-12) of `anacostia.toml`.
#[must_use]
pub fn schema() -> Value {
    let mut root = object("", &ROOT, &["manifest_version", "pipeline"]).schema;
    let about = [
        ("$schema", "https://json-schema.org/draft/2020-12/schema"),
        ("title", "anacostia.toml"),
        ("description", "The manifest of an Anacostia pipeline."),
    ];
    for (key, text) in about {
        set(&mut root, key, json!(text));
    }
    // Conditions contain conditions, so they are defined once, by name. The component of a trigger
    // is long, and appears in many places.
    let condition = |keys: &Keys| object("Conditions that must all be met.", keys, &[]);
    let component = object("A component that decides, with its params and limits.", &COMPONENT, &["file"]);
    let definitions = json!({
        "condition": condition(&CONDITION),
        "pipeline_condition": condition(&PIPELINE_CONDITION),
        "trigger_component": component,
    });
    set(&mut root, "$defs", definitions);
    root
}

impl Keys {
    /// Returns advice for a user who wrote `key` in this section.
    pub(super) fn advice(&self, key: &str) -> String {
        let elsewhere = all().into_iter().find(|keys| keys.knows(key));
        match (self.meant_by(key), elsewhere) {
            // A key that exists is not a typing error for one that is a little like it.
            (Some(meant), Some(other)) if self.is_only_similar(key, meant) => {
                format!("`{key}` belongs to {}", other.home)
            }
            (Some(meant), _) => format!("did you mean `{meant}`?"),
            (None, Some(other)) => format!("`{key}` belongs to {}", other.home),
            (None, None) => format!("the keys here are {}", super::problem::listed(self.known(), "and")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ACTION, CONDITION, FOLDER, S3, all, nearest};

    #[test]
    fn typos_of_keys_are_recognised_and_unrelated_words_are_not() {
        let names = ["component", "after", "reads"];
        assert_eq!(nearest("componnet", names.into_iter()), Some("component"));
        assert_eq!(nearest("After", names.into_iter()), Some("after"));
        assert_eq!(nearest("zebra", names.into_iter()), None);
        assert_eq!(nearest(&"a".repeat(100_000), names.into_iter()), None);
        assert_eq!(nearest("b", ["a"].into_iter()), None);
    }

    #[test]
    fn advice_names_the_key_or_its_section() {
        assert_eq!(ACTION.advice("depends_on"), "did you mean `after`?");
        assert_eq!(FOLDER.advice("incldue"), "did you mean `include`?");
        assert_eq!(FOLDER.advice("listen"), "`listen` belongs to [server]");
        assert_eq!(S3.advice("settle"), "`settle` belongs to resources of the kind `folder`", "not `style`");
        assert_eq!(CONDITION.advice("max_artifacts"), "`max_artifacts` belongs to `trigger` of a resource");
        assert_eq!(ACTION.advice("param"), "did you mean `params`?", "one letter is a typing error");
        assert!(FOLDER.advice("zebra").starts_with("the keys here are `kind`, `path`"));
    }

    #[test]
    fn keys_are_unique_in_their_section_and_documented() {
        for keys in all() {
            let mut seen = std::collections::BTreeSet::new();
            for (key, theirs, shape) in &keys.rows {
                assert!(theirs.iter().chain([key]).all(|word| seen.insert(*word)), "{key} in {}", keys.home);
                assert!(
                    shape.schema["description"].as_str().is_some_and(|doc| !doc.is_empty()),
                    "{key} in {}",
                    keys.home
                );
            }
        }
    }
}
