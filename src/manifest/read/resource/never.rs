//! Triggers that never fire, because of what a resource of their kind can have.

use crate::base::ByteSize;
use crate::manifest::condition::Condition;
use crate::manifest::group_by::GroupBy;
use crate::manifest::http::HttpForm;
use crate::manifest::pipeline::{ResourceKind, Trigger};
use crate::manifest::problem::{Problem, quoted};
use crate::manifest::sql::SqlFormat;
use crate::manifest::tree::{Reader, Table};

/// Refuses a trigger of this kind of resource that never fires.
pub(super) fn check(reader: &mut Reader<'_>, table: &Table<'_>, kind: &ResourceKind, trigger: &Trigger) {
    bytes(reader, table, kind, trigger);
    if let Some(path) = only_path(reader, table, kind) {
        artifacts(reader, table, trigger);
        groups(reader, table, trigger, &format!("its only artifact has the path {}", quoted(path)), |pattern| {
            pattern.group(path).is_none()
        });
    }
    if let ResourceKind::Sql(sql) = kind {
        let format = sql.rows.as_ref().map_or(SqlFormat::Jsonl, |rows| rows.format);
        let end = format!(".{}", format.extension());
        let paths = format!("its artifacts have paths such as `000000000042_1017..1033{end}`");
        groups(reader, table, trigger, &paths, |pattern| pattern.misses_names(&end));
    }
}

/// Returns the path of the only artifact that a resource ever has; `None` if it may have more.
fn only_path<'k>(reader: &Reader<'_>, table: &Table<'_>, kind: &'k ResourceKind) -> Option<&'k str> {
    let ResourceKind::Http(http) = kind else { return None };
    let HttpForm::Poll { path, paging: None, .. } = &http.form else { return None };
    // What could not be read was reported already: it may be `push`, or `paging`.
    let is_sure = table.get("url").is_some() && table.get("paging").is_none() && !reader.is_meant(table, "paging");
    is_sure.then_some(path)
}

/// Refuses a trigger that waits for as many bytes as are kept: nothing more would be taken, and no
/// run would make room.
fn bytes(reader: &mut Reader<'_>, table: &Table<'_>, kind: &ResourceKind, trigger: &Trigger) {
    let least = trigger.when.iter().map(Condition::least_bytes).fold(trigger.min_bytes, u64::max);
    let Some(most) = kind.max_kept().filter(|most| least >= *most) else { return };
    let (least, most) = (ByteSize(least), ByteSize(most));
    let mut problem = Problem::new("`min_bytes` of the trigger is not less than `max_kept`, so it is never reached")
        .at(&table.key_span("trigger"), format!("waits for {least}"));
    if table.get("max_kept").is_some() {
        problem = problem.at(&table.key_span("max_kept"), "nothing more is taken beyond this");
    }
    reader.complain(problem.help(format!(
        "at most {most} of content are kept: lower `min_bytes`, or raise `max_kept` to more than any run takes"
    )));
}

/// Refuses a trigger that waits for several artifacts where there is never more than one.
fn artifacts(reader: &mut Reader<'_>, table: &Table<'_>, trigger: &Trigger) {
    let is_never = trigger.min_artifacts > 1 || trigger.when.iter().any(needs_several);
    if !is_never || trigger.max_wait.is_some() {
        return;
    }
    reader.complain(
        Problem::new(format!("the trigger of {} waits for several artifacts, but there is never more than one", table.name))
            .at(&table.key_span("trigger"), "would never fire")
            .help("without `paging`, each version supersedes the last, unless a run has taken it: remove `min_artifacts`, or add `max_wait`"),
    );
}

/// Returns whether a condition is never met by one artifact.
fn needs_several(condition: &Condition) -> bool {
    match condition {
        Condition::MinArtifacts(least) => *least > 1,
        Condition::All(all) => all.iter().any(needs_several),
        Condition::Any(any) => any.iter().all(needs_several),
        _ => false,
    }
}

/// Refuses a `group_by` that matches no path of the resource, as `misses` says of its pattern.
fn groups(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    trigger: &Trigger,
    paths: &str,
    misses: impl FnOnce(&GroupBy) -> bool,
) {
    let Some(pattern) = trigger.group_by.as_ref() else { return };
    if misses(pattern) {
        reader.complain(
            Problem::new(format!("`group_by` matches no artifact of {}, so no run would start", table.name))
                .at(&table.key_span("trigger"), format!("by {}", quoted(pattern.as_str())))
                .help(paths),
        );
    }
}
