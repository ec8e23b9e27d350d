//! `[actions.NAME]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::action::{ActionSpec, Backoff, Limits, Retry, RunWhen};
use super::super::keys;
use super::super::problem::{Problem, quoted};
use super::super::settings;
use super::super::tree::{At, Reader, Table};
use super::component::{build, component_file, digest};
use super::secrets::{self, Secrets};
use super::variables::named_values;
use super::{UncheckedAction, approval, cache, command, http, inner, params, refuse_twice, tables};

pub(super) fn read(reader: &mut Reader<'_>, name: At<String>, table: &Table<'_>) -> UncheckedAction {
    let table = &reader.section(table, &keys::ACTION);
    let component = component(reader, table);
    let digest = digest(reader, table);
    let (build, sources) = build(reader, table);
    let [after, reads, writes, uses] = ["after", "reads", "writes", "uses"].map(|key| {
        let names = reader.strings(table, key, if key == "uses" { "[\"gpu\"]" } else { "[\"raw\"]" });
        refuse_twice(reader, key, &names);
        names
    });
    let tables = tables::read(reader, table);
    let retrigger = reader.boolean(table, "retrigger");
    let run_when = reader.choice(table, "run_when", &settings::RUN_WHEN, &[]);
    let command = command::read(reader, table, &name.value, &reads);
    let env = env(reader, table);
    let http = http::read(reader, table);
    let Secrets { plain: secrets, headers: header_secrets } = secrets::read(reader, table, &env, &http);
    let plain = |names: &[At<String>]| names.iter().map(|name| name.value.clone()).collect();
    let spec = ActionSpec {
        name: name.value.clone(),
        component: PathBuf::new(),
        digest: digest.as_ref().map(|digest| digest.value),
        build,
        after: plain(&after),
        reads: plain(&reads),
        writes: plain(&writes),
        tables: tables.iter().map(|tables| (tables.resource.value.clone(), tables.names.clone())).collect(),
        retrigger: retrigger.as_ref().is_some_and(|retrigger| retrigger.value),
        params: params::read(reader, table, "params", "{ seed = 7 }"),
        args: command.args,
        stdin: command.stdin,
        env: env.into_iter().map(|(key, value)| (key, value.value)).collect(),
        secrets,
        header_secrets,
        http: http.into_iter().map(|host| host.value).collect(),
        uses: plain(&uses),
        limits: limits(reader, table),
        retry: retry(reader, table),
        run_when: run_when.as_ref().map_or(RunWhen::default(), |when| when.value),
        approval: approval::read(reader, table),
        cache: cache::read(reader, table),
    };
    let perhaps_more = ["after", "reads", "writes"].into_iter().any(|key| table.may_mean(&keys::ACTION, key));
    let asks = table.get("approval").is_some() || table.may_mean(&keys::ACTION, "approval");
    let for_commands = command.keys;
    UncheckedAction {
        name,
        spec,
        component,
        digest,
        sources,
        after,
        reads,
        writes,
        tables,
        uses,
        perhaps_uses: table.may_mean(&keys::ACTION, "uses"),
        retrigger,
        for_commands,
        run_when,
        asks,
        perhaps_more,
    }
}

fn component(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<At<String>> {
    let text = reader.required_string(table, "component", "\"train.wasm\"");
    component_file(reader, text, "component")
}

fn env(reader: &mut Reader<'_>, table: &Table<'_>) -> BTreeMap<String, At<String>> {
    let example = "{ MODE = \"prod\" }";
    let mut env = BTreeMap::new();
    for (name, value) in named_values(reader, table, "env", example) {
        let example = reader.as_string(&name.value, value).unwrap_or_else(|| example.to_owned());
        if let Some(value) = reader.string_value(&quoted(&name.value), value, &example) {
            env.insert(name.value, At { value: value.value, span: name.span });
        }
    }
    env
}

fn limits(reader: &mut Reader<'_>, table: &Table<'_>) -> Limits {
    let example = "{ memory = \"256MiB\", cpu = \"60s\" }";
    let Some(table) = inner(reader, table, "limits", &keys::LIMITS, example) else { return Limits::default() };
    let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Limits {
        memory_bytes: reader.size_or_default(&table, "memory"),
        cpu: reader.duration_or_default(&table, "cpu"),
        wall: reader.duration_or_default(&table, "wall"),
        output_bytes: reader.size_or_default(&table, "output"),
        log_bytes: reader.size_or_default(&table, "log"),
        handles: count(reader.integer_or_default(&table, "handles")),
        metric_names: count(reader.integer_or_default(&table, "metric_names")),
        http_body_bytes: reader.size_or_default(&table, "http_body"),
        http_requests: count(reader.integer_or_default(&table, "http_requests")),
        http_wait: reader.duration_or_default(&table, "http_wait"),
    }
}

fn retry(reader: &mut Reader<'_>, table: &Table<'_>) -> Retry {
    let mut retry = Retry::default();
    let Some(table) = inner(reader, table, "retry", &keys::RETRY, "{ max_attempts = 3 }") else { return retry };
    retry.max_attempts = u32::try_from(reader.integer_or_default(&table, "max_attempts")).unwrap_or(1);
    let first = reader.duration(&table, "backoff");
    let max = reader.duration(&table, "max_backoff");
    let Backoff { first: usual_first, max: usual_max } = Backoff::default();
    if let (Some(first), Some(max)) = (&first, &max)
        && max.value < first.value
    {
        reader.complain(
            Problem::new("`max_backoff` is shorter than `backoff`")
                .at(&max.span, "at most")
                .at(&first.span, "to begin with"),
        );
    }
    // If only one of the two is given, the default of the other is adjusted.
    retry.backoff = match (first.map(|span| span.value), max.map(|span| span.value)) {
        (Some(first), Some(max)) => Backoff { first, max },
        (Some(first), None) => Backoff { first, max: usual_max.max(first) },
        (None, Some(max)) => Backoff { first: usual_first.min(max), max },
        (None, None) => Backoff::default(),
    };
    retry
}
