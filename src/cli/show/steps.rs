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

/// Quotes a word of a command for a shell.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// Returns the glob that matches only this path.
pub(crate) fn as_glob(path: &str) -> String {
    path.chars().map(|it| if "*?[]{}\\".contains(it) { format!("[{it}]") } else { it.to_string() }).collect()
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

#[cfg(test)]
mod tests {
    use globset::Glob;

    use super::{as_glob, quoted};

    #[test]
    fn the_glob_of_a_path_matches_nothing_else() {
        let path = "a[1]/{b}*?\\.csv";
        let glob = Glob::new(&as_glob(path)).unwrap().compile_matcher();
        assert!(glob.is_match(path));
        assert!(!["a1/{b}xx\\.csv", "a[1]/b*?\\.csv"].iter().any(|other| glob.is_match(other)));
        assert_eq!(as_glob("2026-01-01.csv"), "2026-01-01.csv");
    }

    #[test]
    fn a_word_is_quoted_if_a_shell_would_read_something_else() {
        assert_eq!(quoted("raw/2026-01-01.csv"), "raw/2026-01-01.csv");
        assert_eq!(quoted("it's here/x"), "'it'\\''s here/x'");
    }
}
