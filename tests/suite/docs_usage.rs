//! `docs/HTTP.md` has each route of `/openapi.json`, and `docs/CLI.md` each command and option of
//! the program's own help; neither has one that is not there. `docs/ERRORS.md` has each code of an
//! error that the source gives to an attempt.

use std::collections::{BTreeMap, BTreeSet};

use crate::docs_keys::{quoted, rows};
use crate::house::{files, root};
use crate::support::app::anacostia;

const HTTP: &str = include_str!("../../docs/HTTP.md");
const CLI: &str = include_str!("../../docs/CLI.md");
const ERRORS: &str = include_str!("../../docs/ERRORS.md");

type Words = BTreeSet<String>;

// --- Routes --------------------------------------------------------------------------------------

/// The method and the path of a route.
type Route = (String, String);

/// Returns the routes of the document, each with its query parameters.
fn routes() -> BTreeMap<Route, Words> {
    let mut routes = BTreeMap::new();
    for (path, operations) in anacostia::http::document()["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let in_query =
                parameters.filter(|it| it["in"] == "query").map(|it| it["name"].as_str().unwrap().to_owned());
            routes.insert((method.to_uppercase(), path.clone()), in_query.collect());
        }
    }
    routes
}

/// Returns what a short form may stand for after `path`: `/nodes` continues the path, or any path
/// above it. `…/resume` takes the place of the last part of each path before it.
fn meant(short: &str, before: &[String]) -> Vec<String> {
    if let Some(last) = short.strip_prefix("…/") {
        return before.iter().map(|path| format!("{}/{last}", path.rsplit_once('/').unwrap().0)).collect();
    }
    let ends = before[0].match_indices('/').map(|(at, _)| at).chain([before[0].len()]);
    ends.map(|end| format!("{}{short}", &before[0][..end])).collect()
}

/// Reads a row of the page: its routes, each with the parameters that it names.
fn listed(cell: &str, known: &BTreeMap<Route, Words>) -> Vec<(Route, Words)> {
    let (mut found, mut before): (Vec<(Route, Words)>, Vec<String>) = (Vec::new(), Vec::new());
    let mut method = String::new();
    for text in quoted(cell) {
        let (address, query) = text.split_once('?').unwrap_or((text, ""));
        let named: Words = query.split('&').filter_map(|it| it.strip_suffix('=')).map(str::to_owned).collect();
        // `/triggers?trigger=` (or `resource=`)
        if let (Some(other), Some((_, named))) = (address.strip_suffix('='), found.last_mut()) {
            named.insert(other.to_owned());
            continue;
        }
        let paths = if let Some((first, path)) = address.split_once(' ') {
            first.clone_into(&mut method);
            vec![path.to_owned()]
        } else {
            let is_known = |path: &String| known.contains_key(&(method.clone(), path.clone()));
            let all = meant(address, &before);
            let paths: Vec<String> = all.iter().filter(|path| is_known(path)).cloned().collect();
            // An abbreviation that stands for all of them, or for exactly one.
            let wanted = if address.starts_with('…') { all.len() } else { 1 };
            assert_eq!(paths.len(), wanted, "docs/HTTP.md: `{text}` after `{method} {}`: {paths:?}", before[0]);
            paths
        };
        before.extend(paths.clone());
        found.extend(paths.into_iter().map(|path| ((method.clone(), path), named.clone())));
    }
    found
}

#[test]
fn the_http_page_has_each_route_and_no_other() {
    let known = routes();
    let of_people = |cell: &str| cell.starts_with("`GET /`") || cell.starts_with("`GET /login`");
    let mut described = BTreeSet::new();
    for row in rows(HTTP, "route").into_iter().filter(|row| !of_people(row[0])) {
        for (route, named) in listed(row[0], &known) {
            let parameters = known.get(&route).unwrap_or_else(|| panic!("docs/HTTP.md: there is no route {route:?}"));
            // Every list is paged, so the page says that once. Who names one filter names all.
            let filters: Words =
                parameters.iter().filter(|it| !["limit", "cursor"].contains(&it.as_str())).cloned().collect();
            assert!(named.is_empty() || named == filters, "docs/HTTP.md: {route:?} has {filters:?}, not {named:?}");
            described.insert(route);
        }
    }
    let missing: Vec<_> = known.keys().filter(|route| !described.contains(*route)).collect();
    assert!(missing.is_empty(), "docs/HTTP.md has no row for {missing:?}");
}

// --- Commands ------------------------------------------------------------------------------------

fn help(command: &[&str]) -> String {
    let output = anacostia().args(command).arg("--help").output().unwrap();
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the lines below a heading of a help.
fn below<'a>(help: &'a str, heading: &str) -> impl Iterator<Item = &'a str> {
    let lines = help.lines().skip_while(move |line| *line != heading).skip(1);
    lines.take_while(|line| !line.is_empty())
}

/// Returns the options of a help. Those of which every command says the same are left out.
fn options(help: &str) -> Words {
    let begins = |line: &&str| line.trim_start().starts_with('-') && line.find('-').is_some_and(|at| at <= 6);
    let long = |line: &str| line.split([' ', ',']).find(|word| word.starts_with("--")).map(str::to_owned);
    let mut options: Words = below(help, "Options:").filter(begins).filter_map(long).collect();
    options.retain(|option| !["--help", "--version", "--json"].contains(&option.as_str()));
    options
}

/// Adds a command and those below it, each with its options.
fn add_commands(command: &mut Vec<String>, all: &mut BTreeMap<String, Words>) {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let help = help(&words);
    let indented = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let names = below(&help, "Commands:").filter(indented).filter_map(|line| line.split_whitespace().next());
    let names: Vec<String> = names.filter(|name| *name != "help").map(str::to_owned).collect();
    // A command that only groups others is none by itself.
    if !command.is_empty() && (names.is_empty() || help.contains("[PATH]")) {
        all.insert(command.join(" "), options(&help));
    }
    for name in names {
        command.push(name);
        add_commands(command, all);
        command.pop();
    }
}

/// Returns the commands that a cell names: `anacostia runs approve RUN` · `runs reject` are two,
/// and so is `anacostia triggers [list] [PATH]`.
fn commands_of(cell: &str) -> Vec<String> {
    let mut found = Vec::new();
    for text in quoted(cell) {
        let words = text.strip_prefix("anacostia ").unwrap_or(text).split(' ');
        let is_name = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || b"[]".contains(&byte));
        let words: Vec<&str> = words.take_while(is_name).collect();
        let required: Vec<&str> = words.iter().filter(|word| !word.starts_with('[')).copied().collect();
        let all: Vec<&str> = words.iter().map(|word| word.trim_matches(['[', ']'])).collect();
        found.push(required.join(" "));
        if all.len() > required.len() {
            found.push(all.join(" "));
        }
    }
    found
}

/// Returns the options that a text names.
fn named_options(text: &str) -> Words {
    let words = text.split(|letter: char| !(letter.is_ascii_lowercase() || letter == '-'));
    words.filter(|word| word.starts_with("--") && word.len() > 2).map(str::to_owned).collect()
}

#[test]
fn the_page_of_commands_has_each_command_and_option_and_no_other() {
    let mut known = BTreeMap::new();
    add_commands(&mut Vec::new(), &mut known);
    assert!(known.len() > 20, "{known:?}");
    let mut described: BTreeMap<String, Words> = BTreeMap::new();
    for row in rows(CLI, "command") {
        // A bar inside of a cell is written `\|`.
        let (cell, about) = (row[..row.len() - 1].join("|"), row[row.len() - 1]);
        for command in commands_of(&cell) {
            let options = known.get(&command).unwrap_or_else(|| panic!("docs/CLI.md: there is no command `{command}`"));
            // The options of the second command of a row may be fewer: `resume` has no `--reason`.
            if cell.starts_with(&format!("`anacostia {command} ")) {
                let mut named = named_options(&cell);
                named.remove("--json");
                let unknown: Vec<_> = named.difference(options).collect();
                assert!(unknown.is_empty(), "docs/CLI.md: `{command}` has no option {unknown:?}");
            }
            let mut named = named_options(&format!("{cell} {about}"));
            // A short form stands for the long one.
            if cell.contains("[-p ") {
                named.insert("--param".to_owned());
            }
            described.entry(command).or_default().extend(named);
        }
    }
    for (command, options) in &known {
        let named = described.get(command).unwrap_or_else(|| panic!("docs/CLI.md has no row for `{command}`"));
        let missing: Vec<_> = options.difference(named).collect();
        assert!(missing.is_empty(), "docs/CLI.md does not say what {missing:?} of `{command}` is");
    }
}

// --- Codes of errors -----------------------------------------------------------------------------

#[test]
fn the_page_of_errors_has_each_code_of_an_attempt() {
    let described: Words = rows(ERRORS, "code").iter().flat_map(|row| quoted(row[0])).map(str::to_owned).collect();
    let code = regex_lite::Regex::new(r#"ErrorInfo::(?:permanent|retryable)\(\s*"([a-z_-]+)""#).unwrap();
    let mut found = Words::new();
    for path in files(&root().join("src"), &|path| path.extension().is_some_and(|end| end == "rs")) {
        let text = std::fs::read_to_string(path).unwrap();
        let product = text.split("#[cfg(test)]").next().unwrap();
        found.extend(code.captures_iter(product).map(|it| it[1].to_owned()));
    }
    assert!(found.len() > 5, "{found:?}");
    // `limit` and `…_limit` is one row.
    let missing: Vec<_> = found.iter().filter(|code| !code.ends_with("_limit") && !described.contains(*code)).collect();
    assert!(missing.is_empty(), "docs/ERRORS.md has no row for {missing:?}");
}
