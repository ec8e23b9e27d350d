//! What has no effect in a resource, although each value by itself is valid.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::shadowed;
use crate::manifest::pipeline::ResourceKind;
use crate::manifest::problem::Problem;
use crate::manifest::read::late::LateProblem;
use crate::manifest::tree::{At, Table};

/// What a table in `all` or `any` is called in messages.
const TABLE: &str = "the table";

/// Returns what has no effect in the resource of this name. `path` is that of its folder.
pub(super) fn problems(
    table: &Table<'_>,
    name: &str,
    path: Option<&At<String>>,
    kind: &ResourceKind,
) -> Vec<LateProblem> {
    let mut all: Vec<LateProblem> = Vec::new();
    if let Some(trigger) = table.get("trigger").and_then(|value| value.get_ref().as_table()) {
        max_wait(trigger, "the trigger", &mut all);
    }
    all.extend(keep(table, kind).map(LateProblem::from));
    match kind {
        ResourceKind::Folder(spec) => {
            let folder = path.map(|path| path.value.as_str()).unwrap_or_default();
            shadowed::named_like_resource(table, name, folder, &mut all);
            shadowed::folders(table, &mut all);
            shadowed::joined(table, &mut all);
            shadowed::always_left_out(table, [&spec.include, &spec.exclude, &spec.ignore], &mut all);
        }
        ResourceKind::S3(s3) => {
            shadowed::joined(table, &mut all);
            shadowed::always_left_out(table, [&s3.include, &s3.exclude, &[]], &mut all);
        }
        ResourceKind::Http(_) | ResourceKind::Sql(_) => {}
    }
    all
}

/// Adds the problem of a `max_wait` that ends no wait, because one artifact is enough for `what`: a
/// trigger, or a table in its `all` or `any`. In such a table it is a condition by itself, too.
fn max_wait(table: &DeTable<'_>, what: &str, all: &mut Vec<LateProblem>) {
    let waits = |key: &str, value: &Spanned<DeValue<'_>>| match key {
        "max_wait" | "max_artifacts" | "group_by" | "retrigger" => false,
        "min_artifacts" => value.get_ref().as_integer().is_none_or(|number| number.as_str() != "1"),
        _ => true,
    };
    let ends_one = table.iter().any(|(key, value)| waits(key.get_ref(), value));
    let is_condition = what == TABLE && table.len() == 1;
    if let Some(wait) = table.get("max_wait").filter(|_| !ends_one && !is_condition) {
        let problem = Problem::new(format!("`max_wait` ends a wait, and {what} waits for one artifact only"));
        let help =
            format!("remove it, or add what {what} waits for, such as `min_artifacts = 10` or `quiet_for = \"10s\"`");
        all.push(problem.at(&wait.span(), "has no effect").help(help).into());
    }
    let groups = ["all", "any"].iter().filter_map(|key| table.get(*key)?.get_ref().as_array());
    for inner in groups.flat_map(|group| group.iter()).filter_map(|value| value.get_ref().as_table()) {
        max_wait(inner, TABLE, all);
    }
}

/// Returns the problem of a `keep` that `max_kept` does not leave room for.
fn keep(table: &Table<'_>, kind: &ResourceKind) -> Option<Problem> {
    let (keep, most) = match kind {
        ResourceKind::Http(http) => (http.keep, http.max_kept),
        ResourceKind::Sql(sql) => (sql.keep, sql.max_kept),
        ResourceKind::Folder(_) | ResourceKind::S3(_) => return None,
    };
    let written = table.get("keep").filter(|_| keep > most)?;
    let [keep, most] = [keep, most].map(crate::base::ByteSize);
    let mut problem = Problem::new("`keep` is more than `max_kept`, so it is never reached")
        .at(&written.span(), format!("{keep} that no run needs"));
    if let Some(max_kept) = table.get("max_kept") {
        problem = problem.at(&max_kept.span(), format!("{most} in all"));
    }
    Some(problem.help(format!("at most {most} are kept in all: lower `keep`, or raise `max_kept`")))
}
