//! Reads tables whose keys are names of environment variables.

use toml::Spanned;
use toml::de::DeValue;

use super::super::expand::is_variable;
use super::super::problem::{Problem, quoted};
use super::super::tree::{At, Reader, Table};

/// Reads the values of a table whose keys are names of variables.
pub(super) fn named_values<'t>(
    reader: &mut Reader<'_>,
    table: &Table<'t>,
    key: &str,
    example: &str,
) -> Vec<(At<String>, &'t Spanned<DeValue<'t>>)> {
    let Some(value) = table.get(key) else { return Vec::new() };
    let name = format!("`{key}` of {}", table.name);
    let Some(inside) = reader.open_table(name, table.key_span(key), value, &format!("`{key} = {example}`")) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (name, value) in inside.in_order() {
        if !is_variable(name.value) {
            reader.complain(
                Problem::new(format!("{} is not a valid name of an environment variable", quoted(name.value)))
                    .at(&name.span, "here")
                    .help("names are made of letters, digits and `_`, and do not start with a digit"),
            );
        }
        found.push((At { value: name.value.to_owned(), span: name.span }, value));
    }
    found
}
