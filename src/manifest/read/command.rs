//! The keys of `[actions.NAME]` for commands: the arguments and the source of standard input.

use super::super::problem::{Problem, quoted};
use super::super::settings::MAX_ARGS;
use super::super::tree::{At, Reader, Table};
use super::resource::matches_nothing;

/// The values of these keys.
pub(super) struct Command {
    pub(super) args: Vec<String>,
    pub(super) stdin: Option<String>,
    /// The keys that are present.
    pub(super) keys: Vec<At<&'static str>>,
}

pub(super) fn read(reader: &mut Reader<'_>, table: &Table<'_>, action: &str, reads: &[At<String>]) -> Command {
    let there = |key: &&str| table.get(key).is_some();
    let keys = ["args", "stdin"].into_iter().filter(there).map(|key| At { value: key, span: table.key_span(key) });
    let keys = keys.collect();
    Command { args: args(reader, table), stdin: stdin(reader, table, action, reads), keys }
}

fn args(reader: &mut Reader<'_>, table: &Table<'_>) -> Vec<String> {
    let args = reader.strings(table, "args", "[\"--verbose\"]");
    if args.len() > MAX_ARGS {
        let (count, span) = (args.len(), table.key_span("args"));
        reader.complain(Problem::new(format!("`args` has {count} items; the maximum is {MAX_ARGS}")).at(&span, "here"));
    }
    args.into_iter().map(|arg| arg.value).collect()
}

fn stdin(reader: &mut Reader<'_>, table: &Table<'_>, action: &str, reads: &[At<String>]) -> Option<String> {
    let stdin = reader.string(table, "stdin", "\"raw/*.csv\"")?;
    let (resource, glob) = stdin.value.split_once('/').unwrap_or((&stdin.value, "**"));
    if !reads.iter().any(|granted| granted.value == resource) {
        let granted = reads.iter().map(|granted| granted.value.as_str()).chain([resource]);
        let list: Vec<String> = granted.map(|name| format!("\"{}\"", quoted(name).trim_matches('`'))).collect();
        reader.complain(
            Problem::new(format!("{} may not read {}, which `stdin` names", quoted(action), quoted(resource)))
                .at(&stdin.span, "not among `reads`")
                .help(format!(
                    "write the name of a resource that it reads, alone or with a glob behind it, or grant it:\nreads = [{}]",
                    list.join(", ")
                )),
        );
        return None;
    }
    if let Some((why, help)) = matches_nothing(glob, None) {
        let problem = Problem::new(format!("{} matches no path: {why}", quoted(glob))).at(&stdin.span, "this glob");
        reader.complain(help.into_iter().fold(problem, Problem::help));
        return None;
    }
    Some(stdin.value)
}
