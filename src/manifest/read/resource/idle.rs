//! What has no effect in a resource, although each value by itself is valid.

use toml::Spanned;
use toml::de::DeValue;

use super::shadowed;
use crate::manifest::pipeline::ResourceKind;
use crate::manifest::problem::Problem;
use crate::manifest::read::late::LateProblem;
use crate::manifest::tree::{At, Table};

/// Returns what has no effect in the resource of this name. `path` is that of its folder.
pub(super) fn problems(
    table: &Table<'_>,
    name: &str,
    path: Option<&At<String>>,
    kind: &ResourceKind,
) -> Vec<LateProblem> {
    let mut all: Vec<LateProblem> = Vec::new();
    all.extend(max_wait(table).map(LateProblem::from));
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

/// Returns the problem of a `max_wait` that ends no wait: one artifact fires the trigger.
fn max_wait(table: &Table<'_>) -> Option<Problem> {
    let trigger = table.get("trigger")?.get_ref().as_table()?;
    let wait = trigger.get("max_wait")?;
    let waits = |key: &str, value: &Spanned<DeValue<'_>>| match key {
        "max_wait" | "max_artifacts" | "group_by" | "retrigger" => false,
        "min_artifacts" => value.get_ref().as_integer().is_none_or(|number| number.as_str() != "1"),
        _ => true,
    };
    if trigger.iter().any(|(key, value)| waits(key.get_ref(), value)) {
        return None;
    }
    let problem = Problem::new("`max_wait` ends a wait, and the trigger waits for one artifact only");
    let help = "remove it, or add what the trigger waits for, such as `min_artifacts = 10` or `quiet_for = \"10s\"`";
    Some(problem.at(&wait.span(), "has no effect").help(help))
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
