//! `anacostia component inspect`: what a `.wasm` file is, what it asks for and what it offers.

use std::path::PathBuf;

use serde_json::json;

use super::show::{Cell, Column, Table, styles};
use super::{End, Failure, out};
use crate::base::ByteSize;
use crate::manifest::{ComponentInfo, Grant, Need, inspect_file};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Show what a component is, what it imports and what it exports
    Inspect(Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A `.wasm` file
    file: PathBuf,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn component(verb: Verb) -> Result<End, Failure> {
    let Verb::Inspect(args) = verb;
    let about = inspect_file(&args.file).map_err(|error| {
        let advice = error.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
        Failure::usage(format!("{} {error}{advice}", args.file.display()))
    })?;
    if args.json {
        let why_not = about.not_an_action();
        let needs: serde_json::Map<_, _> = about.needs().map(|(name, need)| (name.to_owned(), json!(need))).collect();
        let (action, hooks, command) = (why_not.is_none(), about.has_hooks(), about.is_command());
        out::json(&json!({
            "component": about, "action": action, "command": command, "hooks": hooks, "why_not": why_not, "needs": needs,
        }))?;
    } else {
        out::result(&render(&about, out::result_width()))?;
    }
    Ok(End::Well)
}

fn render(about: &ComponentInfo, width: usize) -> String {
    let mut table = Table::new(&[("", Column::Word), ("", Column::Prose)]);
    let mut fact = |name: &str, value: Cell| table.row(vec![Cell::new(name).style(styles::FAINT), value]);
    let action = match (about.is_command(), about.has_hooks()) {
        (true, _) => "a command",
        (false, true) => "an action with hooks",
        (false, false) => "an action",
    };
    let kind = about.not_an_action().map_or(action.to_owned(), |why| format!("no action: {why}"));
    fact("kind", Cell::new(kind));
    fact("digest", Cell::new(about.digest.to_string()));
    fact("size", Cell::new(ByteSize(about.size).to_string()));
    for (place, (name, need)) in about.needs().enumerate() {
        let import = match need {
            Need::Nothing => Cell::new(name),
            Need::Grant(Grant::Resources) => Cell::new(format!("{name}  needs `reads` or `writes`")),
            Need::Refused(why) => Cell::new(format!("{name}  refused: {why}")).style(styles::BAD),
        };
        fact(if place == 0 { "imports" } else { "" }, import);
    }
    for (heading, list) in [("exports", &about.exports), ("written in", &about.languages), ("made with", &about.tools)]
    {
        for (place, value) in list.iter().enumerate() {
            fact(if place == 0 { heading } else { "" }, Cell::new(value));
        }
    }
    table.render(width)
}

#[cfg(test)]
mod tests {
    use super::{ComponentInfo, render};
    use crate::base::Digest;

    #[test]
    fn what_a_component_needs_stands_beside_its_imports() {
        let about = ComponentInfo {
            digest: Digest::of(b""),
            size: 70_000,
            imports: ["anacostia:pipeline/log@0.1.0", "anacostia:pipeline/resources@0.1.0", "wasi:http/types@0.2.0"]
                .map(str::to_owned)
                .to_vec(),
            exports: vec!["anacostia:pipeline/action@0.1.0".to_owned()],
            languages: vec!["Rust".to_owned()],
            tools: vec!["rustc 1.95.0".to_owned(), "wit-component 0.254.0".to_owned()],
        };
        insta::assert_snapshot!(anstream::adapter::strip_str(&render(&about, 100)));
    }
}
