//! `[resources.NAME]`.

mod folder;
mod http;
mod idle;
mod never;
mod s3;
mod shadowed;
mod sql;

use std::ops::Range;
use std::path::Path;

use toml::Spanned;

use super::super::condition::Condition;
use super::super::http::HttpForm;
use super::super::keys;
use super::super::pipeline::{ResourceKind, ResourceSpec, Trigger};
use super::super::problem::{Problem, quoted};
use super::super::tree::{At, Reader, Table};
use super::trigger::{conditions, group_by, retrigger, waits};
use super::{UncheckedDecider, UncheckedResource, decider, inner, refuse_twice};
use crate::base::check_name;

pub(super) fn read(reader: &mut Reader<'_>, name: At<String>, table: &Table<'_>) -> UncheckedResource {
    let has_kind = table.get("kind").is_some();
    let kind = reader.choice(table, "kind", &keys::RESOURCE_KINDS, &[]);
    if has_kind && kind.is_none() {
        // The allowed keys are then unknown, and a problem about any of them would be a guess.
        let place = name.span.clone();
        let (deciders, late) = (Vec::new(), Vec::new());
        let perhaps_watched = true;
        return UncheckedResource { name, spec: None, path: None, place, deciders, perhaps_watched, model: None, late };
    }
    let kind = kind.map_or(keys::Kind::Folder, |kind| kind.value);
    let keys = kind.keys();
    let table = &reader.section(table, keys);
    if !has_kind {
        reader.missing(table, "kind", "`kind = \"folder\"`");
    }
    let (kind, path) = match kind {
        keys::Kind::Folder => {
            let (folder, path) = folder::read(reader, table);
            (Some(ResourceKind::Folder(folder)), path)
        }
        keys::Kind::Http => (Some(ResourceKind::Http(http::read(reader, table))), None),
        keys::Kind::Sql => {
            let (sql, path) = sql::read(reader, table);
            (sql.map(ResourceKind::Sql), path)
        }
        keys::Kind::S3 => (Some(ResourceKind::S3(s3::read(reader, table))), None),
    };
    let watch = reader.boolean(table, "watch").is_some_and(|watch| watch.value);
    let (trigger, deciders) = trigger(reader, table, &name.value);
    let perhaps_watched = match table.get("watch") {
        Some(value) => !value.get_ref().is_bool(),
        None => table.may_mean(keys, "watch"),
    };
    if !watch && !perhaps_watched {
        unwatched(reader, table);
    }
    let mut late = Vec::new();
    if let Some(kind) = &kind {
        if !watch && !perhaps_watched {
            not_looked_at(reader, table, kind);
        }
        never::check(reader, table, kind, &trigger);
        late = idle::problems(table, &name.value, path.as_ref(), kind);
    }
    let model = model(reader, table);
    let of_model = model.as_ref().map(|model| model.value.clone());
    let spec = kind.map(|kind| ResourceSpec { name: name.value.clone(), kind, watch, trigger, model: of_model });
    let place = place(table, &name);
    UncheckedResource { name, spec, path, place, deciders, perhaps_watched, model, late }
}

/// Reads the name of the model of which outputs in the resource become versions.
fn model(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<At<String>> {
    let text = reader.string(table, "model", "\"penguins\"")?;
    match check_name(&text.value) {
        Ok(()) => Some(text),
        Err(error) => {
            let problem = Problem::new(format!("{} cannot name a model", quoted(&text.value)));
            reader.complain(problem.at(&text.span, "here").help(error.to_string()));
            None
        }
    }
}

/// Returns the place of `prefix` or `bucket`, or of its name.
fn place(table: &Table<'_>, name: &At<String>) -> Range<usize> {
    let mut values = ["prefix", "bucket"].into_iter().filter_map(|key| table.get(key));
    values.next().map_or_else(|| name.span.clone(), Spanned::span)
}

/// Refuses a trigger on a resource that is not watched, because it would have no effect.
fn unwatched(reader: &mut Reader<'_>, table: &Table<'_>) {
    if table.get("trigger").is_some() {
        reader.complain(
            Problem::new(format!("{} has a trigger, and is not watched", table.name))
                .at(&table.key_span("trigger"), "would never fire")
                .help("add `watch = true`, or remove the trigger"),
        );
    }
}

/// Refuses an `interval` at which nothing is looked at. What is sent to a server, uploaded, or in a
/// database without rows was refused already.
fn not_looked_at(reader: &mut Reader<'_>, table: &Table<'_>, kind: &ResourceKind) {
    let is_polled = match kind {
        ResourceKind::S3(_) => true,
        ResourceKind::Http(http) => matches!(http.form, HttpForm::Poll { .. }),
        ResourceKind::Folder(_) | ResourceKind::Sql(_) => false,
    };
    if is_polled && table.get("interval").is_some() {
        reader.complain(
            Problem::new(format!("{} has an interval, and is not watched", table.name))
                .at(&table.key_span("interval"), "has no effect")
                .help("add `watch = true`, or remove `interval`"),
        );
    }
}

/// Reads `trigger` of the resource with this name.
fn trigger(reader: &mut Reader<'_>, table: &Table<'_>, name: &str) -> (Trigger, Vec<UncheckedDecider>) {
    let (mut trigger, mut deciders) = (Trigger::default(), Vec::new());
    let Some(table) = inner(reader, table, "trigger", &keys::TRIGGER, "{ min_artifacts = 1 }") else {
        return (trigger, deciders);
    };
    let min = reader.integer(&table, "min_artifacts");
    let max = reader.integer(&table, "max_artifacts");
    if let (Some(max), least) = (&max, min.as_ref().map_or(1, |min| min.value))
        && max.value < least
    {
        let mut problem = Problem::new("`max_artifacts` is less than `min_artifacts`")
            .at(&max.span, format!("at most {}", max.value));
        if let Some(min) = &min {
            problem = problem.at(&min.span, format!("at least {}", min.value));
        }
        reader.complain(problem);
    }
    let bytes = reader.size_or_default(&table, "min_bytes");
    let (quiet, wait) = waits(reader, &table);
    trigger.min_artifacts = min.map_or(trigger.min_artifacts, |min| min.value);
    // A `min_artifacts` above the default raises the default.
    let most = super::super::pipeline::DEFAULT_MAX_ARTIFACTS.max(trigger.min_artifacts);
    trigger.max_artifacts = Some(max.as_ref().map_or(most, |max| max.value));
    trigger.min_bytes = bytes;
    trigger.quiet_for = quiet.unwrap_or_default();
    trigger.max_wait = wait;
    trigger.group_by = group_by(reader, &table);
    trigger.when = conditions(reader, &table, &keys::CONDITION, &mut deciders);
    if let Some(max) = &max {
        too_few(reader, &table, max, &trigger);
    }
    decider::name(name, &mut trigger.when, &mut deciders);
    if let (Some(decider), true) = (deciders.first(), trigger.group_by.is_some()) {
        reader.complain(
            Problem::new("`component` decides about all new artifacts, and `group_by` makes runs of one group")
                .at(&decider.text.span, "asked about all of them")
                .at(&table.key_span("group_by"), "one run for each group")
                .help("remove one of the two: they cannot be combined in this version"),
        );
    }
    trigger.retrigger = retrigger(reader, &table, &trigger.when);
    (trigger, deciders)
}

/// Refuses conditions in `all` and `any` that wait for more artifacts than a run may have.
fn too_few(reader: &mut Reader<'_>, table: &Table<'_>, max: &At<u64>, trigger: &Trigger) {
    let least = trigger.when.iter().flat_map(Condition::flat).filter_map(|condition| match condition {
        Condition::MinArtifacts(least) => Some(*least),
        _ => None,
    });
    let Some(least) = least.max().filter(|least| *least > max.value) else { return };
    let has = |key: &&&str| table.get(key).is_some();
    let mut problem =
        Problem::new("`max_artifacts` is less than a `min_artifacts`").at(&max.span, format!("at most {}", max.value));
    for key in ["all", "any"].iter().filter(has) {
        problem = problem.at(&table.key_span(key), format!("at least {least} in one of them"));
    }
    reader.complain(problem);
}

/// Reads globs of paths inside the resource. `folder` is the path of its folder.
fn globs(reader: &mut Reader<'_>, table: &Table<'_>, key: &str, folder: Option<&str>) -> Vec<String> {
    let usual = "such as `*.csv`, `2026-*/**` or `*.{jpg,png}`";
    checked_globs(reader, table, (key, "[\"*.csv\"]"), |glob| {
        let (wrong, help) = matches_nothing(glob, folder)?;
        Some((format!("path: {wrong}"), help.unwrap_or_else(|| usual.to_owned())))
    })
}

/// Reads the globs at `key`. For a glob that matches nothing, `wrong` returns the reason, and what
/// to write instead.
fn checked_globs(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    (key, example): (&str, &str),
    wrong: impl Fn(&str) -> Option<(String, String)>,
) -> Vec<String> {
    let items = reader.strings(table, key, example);
    refuse_twice(reader, key, &items);
    for item in &items {
        if let Some((never, help)) = wrong(&item.value) {
            let problem = Problem::new(format!("{} matches no {never}", quoted(&item.value)));
            reader.complain(problem.at(&item.span, "this glob").help(help));
        }
    }
    items.into_iter().map(|item| item.value).collect()
}

/// Returns why a glob matches no path in a resource with this folder, and what to write
/// instead, if that is known.
pub(super) fn matches_nothing(glob: &str, folder: Option<&str>) -> Option<(String, Option<String>)> {
    if glob.is_empty() {
        return Some(("it is empty".to_owned(), None));
    }
    if glob.trim() != glob {
        let help = format!("write {}", quoted(glob.trim()));
        return Some(("it begins or ends with a space".to_owned(), Some(help)));
    }
    if glob.starts_with('/') {
        return Some(("paths in a resource never start with `/`".to_owned(), None));
    }
    if glob.split('/').any(|part| part == ".." || part == ".") {
        return Some(("paths in a resource have no `.` or `..` in them".to_owned(), None));
    }
    if glob.contains("//") {
        return Some(("paths in a resource have no empty parts".to_owned(), None));
    }
    if glob.starts_with('!') {
        let help = "to leave paths out, put them into `exclude`, without the `!`".to_owned();
        return Some(("a leading `!` does not negate a glob here".to_owned(), Some(help)));
    }
    if let Some(inner) = glob.strip_suffix('/') {
        let help = match inner {
            "**" => "write `**` for everything".to_owned(),
            _ => format!("write `{}/**` for everything in the folder", inner.strip_suffix("/**").unwrap_or(inner)),
        };
        return Some(("it ends with `/`, and a path never does".to_owned(), Some(help)));
    }
    if let Some(inner) = folder.and_then(|folder| inside(glob, folder)) {
        let help = format!("write {}; for a folder of that name inside, `*/{inner}`", quoted(inner));
        return Some(("paths begin inside the resource, after the name of its folder".to_owned(), Some(help)));
    }
    globset::Glob::new(glob).err().map(|error| (error.kind().to_string(), None))
}

/// Returns the part of a glob behind the folder of its resource, if the glob begins with the
/// folder's path or name.
fn inside<'a>(glob: &'a str, folder: &str) -> Option<&'a str> {
    let path = folder.trim_start_matches("./").trim_end_matches('/');
    let name = Path::new(path).file_name()?.to_str()?;
    [path, name].into_iter().find_map(|start| glob.strip_prefix(start)?.strip_prefix('/'))
}
