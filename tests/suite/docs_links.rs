//! The README fits on a few screens and names every page in `docs`; each page begins with a line
//! that says who it is for; and every link, anchor and name of a page leads to something.

use std::fs;
use std::path::Path;

use crate::house::{files, root};

const MAX_README: usize = 200;

/// Returns the lines outside of fenced blocks, each with its number.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().zip(1..).filter_map(move |(line, number)| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        (!fenced && !is_fence).then_some((number, line))
    })
}

/// Returns the anchor that GitHub makes for a heading: its letters, digits, `_` and `-` in lower
/// case, with `-` for each space.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|&it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|it| if it == ' ' { '-' } else { it }).collect()
}

/// Returns the anchors of a page. Headings of the same name are told apart by a number.
fn anchors(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (_, line) in prose(text) {
        let Some(heading) = line.strip_prefix('#') else { continue };
        let base = anchor(heading.trim_start_matches('#'));
        let numbered = (1..).map(|number| format!("{base}-{number}"));
        let free = std::iter::once(base.clone()).chain(numbered).find(|name| !found.contains(name));
        found.extend(free);
    }
    found
}

/// Returns what is wrong with a link of the page at `path`, if anything is.
fn fault(path: &Path, text: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, fragment) = target.split_once('#').map_or((target, None), |(file, name)| (file, Some(name)));
    let to = path.parent().unwrap().join(file);
    if !file.is_empty() && !to.exists() {
        return Some(format!("`{target}`: there is no such file"));
    }
    let fragment = fragment?;
    let page = if file.is_empty() { text.to_owned() } else { fs::read_to_string(&to).unwrap_or_default() };
    (!anchors(&page).iter().any(|name| name == fragment)).then(|| format!("`{target}`: there is no such heading"))
}

/// Returns the links of the page at `path` that lead to nothing.
fn broken(path: &Path, text: &str) -> Vec<String> {
    let code = regex_lite::Regex::new("`[^`]*`").unwrap();
    let link = regex_lite::Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let in_line = |(number, line): (usize, &str)| {
        let line = code.replace_all(line, "");
        let targets: Vec<String> = link.captures_iter(&line).map(|found| found[1].to_owned()).collect();
        targets.into_iter().map(move |target| (number, target))
    };
    let faults = prose(text).flat_map(in_line).filter_map(|(number, target)| {
        let fault = fault(path, text, &target)?;
        Some(format!("{}:{number}: {fault}", path.strip_prefix(root()).unwrap().display()))
    });
    faults.collect()
}

/// Returns the pages in `docs`.
fn pages() -> Vec<std::path::PathBuf> {
    let pages = files(&root().join("docs"), &|path| path.extension().is_some_and(|it| it == "md"));
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    // The README of a new project (below `src`) is a template. Hidden folders hold tools.
    let is_ours = |path: &Path| {
        let path = path.strip_prefix(root()).unwrap();
        !path.starts_with("src") && !path.components().any(|part| part.as_os_str().to_string_lossy().starts_with('.'))
    };
    let mut all = files(&root(), &|path| path.ends_with("README.md") && is_ours(path));
    all.extend(["ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root().join(name)));
    all.extend(pages());
    let faults: Vec<_> = all.iter().flat_map(|path| broken(path, &fs::read_to_string(path).unwrap())).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The check itself finds what it has to find.
#[test]
fn a_link_that_leads_nowhere_is_found() {
    let path = root().join("README.md");
    let text = "# A `b`, c-d\n## Same\n## Same\n[1](#a-b-c-d) [`2`](#same-1) [3](docs/CLI.md#exit-codes) [4](https://example.com/#x)\n\
                `[5](#gone)`\n```\n# no heading\n[6](#gone)\n```\n[7](docs/GONE.md) [8](#no-heading)\n[9](docs/CLI.md#gone) [10](#same-2)\n";
    let expected = [
        "README.md:10: `docs/GONE.md`: there is no such file",
        "README.md:10: `#no-heading`: there is no such heading",
        "README.md:11: `docs/CLI.md#gone`: there is no such heading",
        "README.md:11: `#same-2`: there is no such heading",
    ];
    assert_eq!(broken(&path, text), expected);
}

/// Code, messages and comments name a page as `docs/NAME`.
#[test]
fn every_page_that_a_text_names_is_there() {
    let name = regex_lite::Regex::new(r"\bdocs/[A-Z_]+\.md\b").unwrap();
    let this = root().join(file!());
    let is_text = |path: &Path| {
        let extension = path.extension().and_then(|it| it.to_str()).unwrap_or("sh");
        matches!(extension, "rs" | "md" | "toml" | "wit" | "sh" | "py") && path != this
    };
    let mut count = 0;
    for path in files(&root(), &is_text) {
        let text = fs::read_to_string(&path).unwrap_or_default();
        if !text.contains("docs/") {
            continue;
        }
        for found in name.find_iter(&text) {
            assert!(root().join(found.as_str()).exists(), "{} names {}", path.display(), found.as_str());
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn the_readme_is_short_and_names_every_page() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let lines = readme.lines().count();
    assert!(lines <= MAX_README, "README.md has {lines} lines, and may have {MAX_README}: move the rest to docs");
    for page in pages() {
        let name = page.file_name().unwrap().to_str().unwrap();
        assert!(readme.contains(&format!("](docs/{name}")), "README.md does not link to docs/{name}");
    }
}

#[test]
fn each_page_begins_with_whom_it_is_for() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let lines: Vec<&str> = text.lines().take(3).collect();
        let [title, "", reader] = lines[..] else { panic!("{}: a title, an empty line, a reader", page.display()) };
        assert!(title.starts_with("# ") && reader.starts_with("For "), "{}: {title:?}, {reader:?}", page.display());
    }
}
