//! `anacostia component inspect`: shows what a `.wasm` file is, what it imports and what it
//! exports.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::show::{Cell, Column, Table, styles};
use super::{End, Failure, out};
use crate::base::ByteSize;
use crate::manifest::{
    ComponentError, ComponentInfo, Grant, Need, Origin, World, inspect, origin, read_component, wit,
};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Show what a component is, what it imports and exports, and what it needs
    Inspect(Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A `.wasm` file
    file: PathBuf,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    /// Print only its imports and exports, with their types, as WIT
    #[arg(long, conflicts_with = "json")]
    wit: bool,
}

pub(crate) fn component(verb: Verb) -> Result<End, Failure> {
    let Verb::Inspect(args) = verb;
    let refuse = |error: ComponentError| {
        let advice = error.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
        Failure::usage(format!("{} {error}{advice}", args.file.display()))
    };
    let bytes = read_component(&args.file).map_err(refuse)?;
    let about = inspect(&bytes).map_err(refuse)?;
    let wit = wit(&bytes);
    if args.wit {
        let wit = wit.map_err(|why| Failure::usage(format!("{}: {why}", args.file.display())))?;
        out::result(&wit)?;
        return Ok(End::Well);
    }
    let origin = origin(&bytes);
    let lines = manifest_lines(&args.file, &about);
    if args.json {
        let why_not = useless(&about);
        let needs: serde_json::Map<_, _> = about.needs().map(|(name, need)| (name.to_owned(), json!(need))).collect();
        out::json(&json!({
            "component": about,
            "kind": about.world(),
            "action": about.not_an_action().is_none(),
            "trigger": about.not_a_trigger().is_none(),
            "command": about.is_command(),
            "hooks": about.has_hooks(),
            "why_not": why_not,
            "language": origin.language,
            "tool": origin.tool,
            "needs": needs,
            "wit": wit.ok(),
            "manifest": lines,
        }))?;
    } else {
        out::result(&render(&about, &origin, &lines, out::result_width()))?;
    }
    Ok(End::Well)
}

/// Describes a world for display.
fn words(world: World) -> &'static str {
    match world {
        World::Action => "Anacostia action",
        World::ActionWithHooks => "Anacostia action with hooks",
        World::Command => "WASI command (wasi:cli/command)",
        World::Trigger => "Anacostia trigger",
        World::Unknown => "a component of another world",
    }
}

/// Returns why a manifest cannot name the component, as an action or a trigger.
fn useless(about: &ComponentInfo) -> Option<String> {
    if about.world() == World::Trigger { about.not_a_trigger() } else { about.not_an_action() }
}

/// The lines of a manifest that make an action or a trigger of the component, with the grants that
/// it needs.
fn manifest_lines(file: &Path, about: &ComponentInfo) -> String {
    let name = action_name(file);
    // A JSON string is a valid TOML string. A `$` is doubled, because the manifest expands
    // variables.
    let component = json!(file.display().to_string().replace('$', "$$"));
    if about.world() == World::Trigger {
        return format!("[resources.raw]\ntrigger = {{ component = {component} }}\n");
    }
    let mut lines = format!("[actions.{name}]\ncomponent = {component}\n");
    let mut given: Vec<String> = Vec::new();
    for (_, need) in about.needs() {
        let Need::Grant(grant) = need else { continue };
        let text = Grant::lines(grant, &name, "raw");
        // Several imports may need the same grant.
        let keys = text.lines().filter(|line| !line.starts_with('[') && !given.iter().any(|known| known == line));
        let keys: Vec<String> = keys.map(str::to_owned).collect();
        given.extend(keys);
    }
    if about.is_command() {
        // A command's imports do not show which data it uses: its arguments name that.
        given.extend([
            "args = []".to_owned(),
            "reads = [\"raw\"]     # the files in /in/raw".to_owned(),
            "writes = [\"out\"]    # what it writes to /out/out".to_owned(),
        ]);
    }
    for line in given {
        let _ = writeln!(lines, "{line}");
    }
    lines
}

/// Derives the name of an action from its component's file: letters, digits, `_` and `-`, beginning
/// with a letter.
fn action_name(file: &Path) -> String {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let name: String = stem.chars().map(|c| if fits(c) { c } else { '_' }).take(63).collect();
    if name.starts_with(|c: char| c.is_ascii_lowercase()) { name } else { "work".to_owned() }
}

fn render(about: &ComponentInfo, origin: &Origin, lines: &str, width: usize) -> String {
    let mut table = Table::new(&[("", Column::Word), ("", Column::Prose)]);
    let mut fact = |name: &str, value: Cell| table.row(vec![Cell::new(name).style(styles::FAINT), value]);
    let kind = words(about.world());
    match useless(about) {
        None => fact("kind", Cell::new(kind).style(styles::GOOD)),
        Some(why) => fact(
            "kind",
            Cell::new(format!(
                "{kind}{}: it {why}",
                if about.world() == World::Trigger { "" } else { ", not an action" }
            ))
            .style(styles::BAD),
        ),
    }
    let unknown = "it does not say";
    fact("language", Cell::new(origin.language.as_deref().unwrap_or(unknown)));
    fact("tool", Cell::new(origin.tool.as_deref().unwrap_or(unknown)));
    fact("size", Cell::new(format!("{} ({} bytes)", ByteSize(about.size), about.size)));
    fact("digest", Cell::new(about.digest.to_string()).whole());
    for (place, (name, need)) in about.needs().enumerate() {
        let import = match need {
            Need::Nothing => Cell::new(name),
            Need::Grant(Grant::Resources) => Cell::new(format!("{name}  needs `reads` or `writes`")),
            Need::Grant(Grant::Http) => Cell::new(format!("{name}  needs `http`")),
            Need::Refused(why) => Cell::new(format!("{name}  refused: {why}")).style(styles::BAD),
        };
        fact(if place == 0 { "imports" } else { "" }, import);
    }
    for (heading, list) in [("exports", &about.exports), ("made with", &about.tools)] {
        for (place, value) in list.iter().enumerate() {
            fact(if place == 0 { heading } else { "" }, Cell::new(value));
        }
    }
    let mut text = table.render(width);
    if useless(about).is_none() {
        let _ = write!(text, "\n{}\n{lines}", Cell::new("For the manifest").style(styles::STRONG));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{ComponentInfo, action_name, manifest_lines, render};
    use crate::base::Digest;
    use crate::manifest::Origin;

    fn component(imports: &[&str], exports: &[&str]) -> ComponentInfo {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ComponentInfo {
            digest: Digest::of(b""),
            size: 70_000,
            imports: owned(imports),
            exports: owned(exports),
            languages: vec!["Rust".to_owned()],
            tools: vec!["rustc 1.95.0".to_owned(), "wit-component 0.254.0".to_owned()],
        }
    }

    fn drawn(about: &ComponentInfo) -> String {
        let origin = Origin { language: Some("Rust".to_owned()), tool: Some("rustc 1.95.0".to_owned()) };
        let lines = manifest_lines(Path::new("build/train.wasm"), about);
        anstream::adapter::strip_str(&render(about, &origin, &lines, 100)).to_string()
    }

    #[test]
    fn imports_are_shown_with_the_grants_they_need() {
        let about = component(
            &[
                "wasi:http/types@0.2.0",
                "anacostia:pipeline/log@0.1.0",
                "anacostia:pipeline/resources@0.1.0",
                "wasi:http/outgoing-handler@0.2.0",
                "wasi:nn/graph@0.2.0",
            ],
            &["anacostia:pipeline/action@0.1.0"],
        );
        insta::assert_snapshot!(drawn(&about));
    }

    #[test]
    fn components_that_are_not_actions_are_explained() {
        insta::assert_snapshot!(drawn(&component(&["wasi:cli/stdout@0.2.6"], &["acme:tools/thing@1.0.0"])));
    }

    #[test]
    fn a_trigger_component_is_shown_with_the_lines_that_name_it() {
        let about = component(
            &[
                "anacostia:pipeline/trigger-context@0.1.0",
                "anacostia:pipeline/metadata@0.1.0",
                "anacostia:pipeline/resources@0.1.0",
            ],
            &["anacostia:pipeline/decider@0.1.0"],
        );
        insta::assert_snapshot!(drawn(&about));
    }

    #[test]
    fn an_action_is_named_after_its_file() {
        let name = |file: &str| action_name(Path::new(file));
        assert_eq!(["a/Train.wasm", "x.y.wasm", "9.wasm", "/"].map(name), ["train", "x_y", "work", "work"]);
    }
}
