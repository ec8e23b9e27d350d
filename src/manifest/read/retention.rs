//! `[retention]`: what is removed, and when.

use super::super::keys;
use super::super::problem::{Problem, quoted};
use super::super::retention::{Retention, RunRetention};
use super::super::settings::MAX_KEEP_TAGS;
use super::super::tree::{Reader, Table};
use super::{inner, refuse_twice};

pub(super) fn read(reader: &mut Reader<'_>, root: &Table<'_>) -> Retention {
    let example = "`[retention]`";
    let Some(table) = reader.table(root, "retention", "[retention]", &keys::RETENTION, example) else {
        return Retention::default();
    };
    let runs = runs(reader, &table);
    let logs = inner(reader, &table, "logs", &keys::RETENTION_LOGS, "{ keep_for = \"30d\" }");
    Retention {
        runs,
        keep_logs_for: logs.and_then(|logs| reader.duration(&logs, "keep_for")).map(|span| span.value),
        max_component_bytes: reader.size_or_default(&table, "components"),
        max_compiled_bytes: reader.size_or_default(&table, "compiled_code"),
    }
}

fn runs(reader: &mut Reader<'_>, parent: &Table<'_>) -> RunRetention {
    let Some(table) = inner(reader, parent, "runs", &keys::RETENTION_RUNS, "{ keep_for = \"90d\" }") else {
        return RunRetention::default();
    };
    let keep_for = reader.duration(&table, "keep_for").map(|span| span.value);
    let keep_last = reader.integer(&table, "keep_last").map(|count| count.value);
    let tags = reader.strings(&table, "keep_tags", "[\"release\"]");
    refuse_twice(reader, "keep_tags", &tags);
    if let Some(first) = tags.get(MAX_KEEP_TAGS) {
        let problem = Problem::new(format!("there are {} tags; the maximum is {MAX_KEEP_TAGS}", tags.len()));
        reader.complain(problem.at(&first.span, "the first too many"));
    }
    for tag in &tags {
        let name = tag.value.split_once('=').map_or(tag.value.as_str(), |(name, _)| name);
        if name.trim().is_empty() {
            let problem = Problem::new(format!("{} is not a tag", quoted(&tag.value))).at(&tag.span, "here");
            reader.complain(problem.help("write the name of a tag, or `NAME=VALUE`, such as \"stage=release\""));
        }
    }
    let limits = ["keep_for", "keep_last"];
    let is_limited = limits.iter().any(|key| table.get(key).is_some() || reader.is_meant(&table, key));
    if !is_limited && table.get("keep_tags").is_some() {
        let problem = Problem::new("`keep_tags` is given without `keep_for` and `keep_last`");
        let problem = problem.at(&table.key_span("keep_tags"), "has no effect");
        reader.complain(problem.help("without one of them all runs stay: add `keep_for = \"90d\"`, or remove this"));
    }
    RunRetention { keep_for, keep_last, keep_tags: tags.into_iter().map(|tag| tag.value).collect() }
}
