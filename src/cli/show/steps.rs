//! Next steps, at the end of an answer.

use super::{Cell, Column, Table, styles};
use crate::model::NodeKind;

/// Formats a PATH for a command, with a blank before it; `.` is left out.
pub(crate) fn beside(path: &str) -> String {
    if path == "." { String::new() } else { format!(" {path}") }
}

/// Returns the command that ends a pause: of a node, or else of the pipeline.
pub(crate) fn resume_command(path: &str, node: Option<(NodeKind, &str)>) -> String {
    let option = node.map(|(kind, name)| format!(" --{kind} {name}")).unwrap_or_default();
    format!("anacostia resume{}{option}", beside(path))
}

/// What to do next: a description, and the command to copy. Empty if there is nothing to do.
pub(crate) fn next_steps(steps: &[(&str, String)]) -> String {
    if steps.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[("", Column::Word), ("", Column::Word)]).indent(2);
    for (what, command) in steps {
        table.row(vec![Cell::new(what).style(styles::FAINT), Cell::new(command)]);
    }
    format!("\n{}\n{}", Cell::new("Next").style(styles::STRONG), table.render(usize::MAX))
}
