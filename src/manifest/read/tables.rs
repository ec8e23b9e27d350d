//! `tables` of an action: which tables of a database it may use.

use super::super::keys;
use super::super::sql::TableNames;
use super::super::tree::{At, Reader, Table};
use super::refuse_twice;

const EXAMPLE: &str = "{ lab = { read = [\"readings\"] } }";

/// The tables of one database, with the places of the keys.
pub(in super::super) struct UncheckedTables {
    pub(in super::super) resource: At<String>,
    pub(in super::super) names: TableNames,
}

/// Reads the tables of each database.
pub(super) fn read(reader: &mut Reader<'_>, action: &Table<'_>) -> Vec<UncheckedTables> {
    let Some(value) = action.get("tables") else { return Vec::new() };
    let title = format!("`tables` of {}", action.name);
    let Some(inside) = reader.open_table(title, action.key_span("tables"), value, &format!("`tables = {EXAMPLE}`"))
    else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for (name, value) in inside.in_order() {
        let resource = At { value: name.value.to_owned(), span: name.span.clone() };
        let title = format!("the tables of `{}`", crate::base::escape(name.value.as_bytes()));
        let Some(table) = reader.open_table(title, name.span, value, EXAMPLE) else { continue };
        let table = reader.section(&table, &keys::TABLES);
        let mut names = |key| {
            let names = reader.strings(&table, key, "[\"readings\"]");
            refuse_twice(reader, key, &names);
            table.get(key).map(|_| names.into_iter().map(|name| name.value).collect())
        };
        let (read, write) = (names("read"), names("write"));
        all.push(UncheckedTables { resource, names: TableNames { read, write } });
    }
    all
}
