//! Checks that actions do not write rows that start them again.
//!
//! A run that a new row has started, and that writes another one to the same table, starts the next
//! run. Outputs in a folder or bucket are known as such and start none; rows have no author. In
//! SQLite, `tables` says what an action may write, so this can be told. In PostgreSQL, the rights
//! of a user say it, which a manifest does not show.

use std::collections::BTreeSet;

use super::super::pipeline::Join;
use super::super::problem::{Problem, quoted};
use super::super::read::{UncheckedAction, UncheckedManifest, UncheckedResource};
use super::super::sql::{SqlDatabase, SqlFrom, SqlSpec};
use super::super::tree::{At, Reader};
use super::paths::real;

/// Checks each action that writes to a SQLite file of which rows are watched. Needs absolute paths.
pub(in super::super) fn rows(reader: &mut Reader<'_>, draft: &UncheckedManifest) {
    if reader.is_incomplete() {
        return;
    }
    let watched = draft.resources.iter().filter(|resource| resource.spec.as_ref().is_some_and(|spec| spec.watch));
    for resource in watched {
        let Some(sql) = sql(resource) else { continue };
        let Some(rows) = &sql.rows else { continue };
        for place in started_by(draft, &resource.name.value) {
            let Some(action) = draft.actions.get(place) else { continue };
            let written = action.writes.iter().find(|name| is_the_same_file(draft, name, sql));
            if let Some(written) = written
                && let Some(problem) = comes_back(action, written, resource, &rows.from)
            {
                reader.complain(problem);
            }
        }
    }
}

/// Returns the settings of a resource that is a SQLite file.
fn sql(resource: &UncheckedResource) -> Option<&SqlSpec> {
    let sql = resource.spec.as_ref()?.sql()?;
    matches!(sql.database, SqlDatabase::Sqlite { .. }).then_some(sql)
}

/// Returns whether the resource of this name is another one on the file of `watched`.
fn is_the_same_file(draft: &UncheckedManifest, name: &At<String>, watched: &SqlSpec) -> bool {
    let resource = draft.resources.iter().find(|resource| resource.name.value == name.value);
    // One that is watched itself takes no outputs, which is reported elsewhere.
    let resource = resource.filter(|resource| resource.spec.as_ref().is_some_and(|spec| !spec.watch));
    let Some(other) = resource.and_then(sql) else { return false };
    let (SqlDatabase::Sqlite { path: one }, SqlDatabase::Sqlite { path: other }) = (&watched.database, &other.database)
    else {
        return false;
    };
    real(one).is_some_and(|one| Some(one) == real(other))
}

/// Returns the actions of runs that new artifacts in a resource start.
fn started_by(draft: &UncheckedManifest, resource: &str) -> BTreeSet<usize> {
    let watched = draft.resources.iter().filter(|it| it.spec.as_ref().is_some_and(|spec| spec.watch)).count();
    if draft.top.join.value == Join::All && watched == 1 {
        return (0..draft.actions.len()).collect();
    }
    let mut names = BTreeSet::from([resource]);
    let mut started = BTreeSet::new();
    loop {
        let before = started.len();
        for (place, action) in draft.actions.iter().enumerate() {
            if action.after.iter().any(|name| names.contains(name.value.as_str())) {
                started.insert(place);
                names.insert(&action.name.value);
            }
        }
        if started.len() == before {
            return started;
        }
    }
}

/// Returns what is wrong if an action may write the rows that start it.
fn comes_back(
    action: &UncheckedAction,
    written: &At<String>,
    watched: &UncheckedResource,
    from: &SqlFrom,
) -> Option<Problem> {
    let tables = action.tables.iter().find(|tables| tables.resource.value == written.value);
    let named = tables.and_then(|tables| tables.names.write.as_deref());
    let writer = &action.name.value;
    let (message, help) = match (named, from) {
        (None, _) => (
            format!("`{writer}` may write any table of the file whose rows start it, so it may start itself for ever"),
            format!(
                "say which tables it writes, such as\n[actions.{writer}]\ntables = {{ {} = {{ write = [\"totals\"] }} }}",
                written.value
            ),
        ),
        (Some(names), SqlFrom::Table(table)) if names.iter().any(|name| is_table(table, name)) => (
            format!("`{writer}` may write {}, whose new rows start it, so it may start itself for ever", quoted(table)),
            format!(
                "let it write to another table, or watch a `query` that leaves out what it writes, such as\n\
                 [resources.{}]\nquery = \"select * from {} where origin <> '{writer}'\"",
                watched.name.value,
                crate::base::escape(table.as_bytes())
            ),
        ),
        // What a query reads cannot be told.
        (Some(_), _) => return None,
    };
    let span = tables.filter(|_| named.is_some()).map_or(&written.span, |tables| &tables.resource.span);
    Some(Problem::new(message).at(span, "written here").at(&watched.name.span, "watched").help(help))
}

/// Returns whether a name in `tables` is the watched table. SQLite ignores the case, and its own
/// schema is `main`.
fn is_table(watched: &str, name: &str) -> bool {
    let [watched, name] = [watched, name].map(str::to_ascii_lowercase);
    watched.strip_prefix("main.").unwrap_or(&watched) == name.strip_prefix("main.").unwrap_or(&name)
}
