//! Checks of `tables` of actions.

use super::super::pipeline::ResourceSpec;
use super::super::problem::{Problem, quoted};
use super::super::read::{UncheckedAction, UncheckedManifest};
use super::super::sql::SqlDatabase;
use super::super::tree::{At, Reader};

/// Checks that each database whose tables are named is one of SQLite, and is granted.
pub(in super::super) fn tables(reader: &mut Reader<'_>, draft: &UncheckedManifest) {
    if reader.is_incomplete() {
        return;
    }
    for action in &draft.actions {
        for tables in &action.tables {
            let resource = draft.resources.iter().find(|resource| resource.name.value == tables.resource.value);
            match resource.map(|resource| resource.spec.as_ref().map(ResourceSpec::database)) {
                // Reported where the resource is.
                Some(None) => {}
                Some(Some(Some(database))) => {
                    if let SqlDatabase::Postgres { .. } = database {
                        on_server(reader, &tables.resource);
                    }
                    granted(reader, action, &tables.resource, "reads", &action.reads, tables.names.read.is_some());
                    granted(reader, action, &tables.resource, "writes", &action.writes, tables.names.write.is_some());
                }
                Some(Some(None)) | None => {
                    let problem = Problem::new(format!("{} is not a database", quoted(&tables.resource.value)));
                    let help = "name a resource with `kind = \"sql\"`";
                    reader.complain(problem.at(&tables.resource.span, "has no tables").help(help));
                }
            }
        }
    }
}

fn on_server(reader: &mut Reader<'_>, name: &At<String>) {
    let problem = Problem::new(format!("the tables of {} are on a server of PostgreSQL", quoted(&name.value)));
    let help = "remove this: there, the rights of the user in `url` say which tables an action may use";
    reader.complain(problem.at(&name.span, "cannot be named here").help(help));
}

/// Checks that `reads` or `writes` grants the database whose tables are named.
fn granted(
    reader: &mut Reader<'_>,
    action: &UncheckedAction,
    name: &At<String>,
    key: &str,
    list: &[At<String>],
    is_named: bool,
) {
    if !is_named || list.iter().any(|granted| granted.value == name.value) {
        return;
    }
    let verb = if key == "reads" { "read" } else { "write" };
    let problem = Problem::new(format!(
        "`{}` names tables of {} to {verb}, and does not {verb} it",
        action.name.value,
        quoted(&name.value)
    ));
    reader.complain(problem.at(&name.span, "here").help(format!("add it to `{key}`, or remove `{verb}`")));
}
