//! Globs of a resource that match nothing because of other keys: another glob always wins, or the
//! name of the resource was taken for a part of its paths.

use std::ops::Range;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::{inside, matches_nothing};
use crate::manifest::problem::{Problem, quoted};
use crate::manifest::read::late::{Depends, LateProblem};
use crate::manifest::tree::Table;

/// Returns the globs at a key, with their places.
fn written<'t>(table: &Table<'t>, key: &str) -> Vec<(&'t str, Range<usize>)> {
    let items = table.get(key).and_then(|value| value.get_ref().as_array());
    let items = items.into_iter().flat_map(|items| items.iter());
    items.filter_map(|item| Some((item.get_ref().as_str()?, item.span()))).collect()
}

/// Adds the problems of globs that begin with the name of the resource, which is no part of a path.
pub(super) fn named_like_resource(table: &Table<'_>, name: &str, folder: &str, all: &mut Vec<LateProblem>) {
    for (glob, span) in ["include", "exclude"].into_iter().flat_map(|key| written(table, key)) {
        let Some(rest) = inside(glob, name).filter(|_| inside(glob, folder).is_none()) else { continue };
        let message = format!("{} matches no path: there is no folder `{name}` inside the resource", quoted(glob));
        let help = format!(
            "write {}: the name of a resource is no part of its paths; for a folder that is still to come, `*/{rest}`",
            quoted(rest)
        );
        let problem = Problem::new(message).at(&span, "this glob").help(help);
        all.push(LateProblem { problem, depends: Depends::IsAbsent(name.to_owned()) });
    }
}

/// Adds the problems of globs in `include` that name a folder: a folder is no artifact, and the
/// globs do not match what is in it.
pub(super) fn folders(table: &Table<'_>, all: &mut Vec<LateProblem>) {
    let is_plain = |glob: &str| !glob.contains(['*', '?', '[', '{', '\\']) && matches_nothing(glob, None).is_none();
    for (glob, span) in written(table, "include").into_iter().filter(|(glob, _)| is_plain(glob)) {
        let problem = Problem::new(format!("{} matches no path: it is a folder", quoted(glob)));
        let help = format!("write {} for everything in it", quoted(&format!("{glob}/**")));
        let problem = problem.at(&span, "this glob").help(help);
        all.push(LateProblem { problem, depends: Depends::IsFolder(glob.to_owned()) });
    }
}

/// Adds the problems of globs that were meant to be several: a comma separates them within braces
/// only.
pub(super) fn joined(table: &Table<'_>, all: &mut Vec<LateProblem>) {
    for (glob, span) in ["include", "exclude", "ignore"].into_iter().flat_map(|key| written(table, key)) {
        let Some(parts) = joined_globs(glob) else { continue };
        let problem = Problem::new(format!("{} is one glob, with a comma in the name", quoted(glob)));
        let apart = parts.iter().map(|part| format!("\"{part}\"")).collect::<Vec<_>>().join(", ");
        let help = format!("write {apart}; for a comma in a name, `[,]`");
        all.push(problem.at(&span, "matches no name without it").help(help).into());
    }
}

/// Returns the globs that a text was meant to be: several that are separated by commas, each with a
/// wildcard of its own. `None` if it is one, such as `*,v`.
fn joined_globs(text: &str) -> Option<Vec<&str>> {
    let (mut depth, mut from, mut parts) = (0_u32, 0, Vec::new());
    for (at, character) in text.char_indices() {
        match character {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text.get(from..at)?.trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(from..)?.trim());
    (parts.len() > 1 && parts.iter().all(|part| part.contains(['*', '?']))).then_some(parts)
}

/// Adds the problems of globs of which `exclude` or `ignore` always leaves out what they match, and
/// of an `exclude` or `ignore` that leaves out everything.
pub(super) fn always_left_out(
    table: &Table<'_>,
    [include, exclude, ignore]: [&[String]; 3],
    all: &mut Vec<LateProblem>,
) {
    let Some(rules) = Rules::new(exclude, ignore) else { return };
    let places = |key| written(table, key);
    let place_of = |key, glob: &str| places(key).into_iter().find(|(text, _)| *text == glob).map(|(_, span)| span);
    let all_of_them = rules.always("**").map(|why| match why {
        Why::Excluded(glob) => ("exclude", glob),
        Why::Ignored(glob) => ("ignore", glob),
    });
    if let Some((key, glob)) = all_of_them
        && let Some(span) = place_of(key, glob)
    {
        let problem = Problem::new(format!("{} in `{key}` leaves out every path", quoted(glob)));
        let help = format!("remove it: what `{key}` matches does not count, whatever `include` says");
        all.push(problem.at(&span, "this glob").help(help).into());
        return;
    }
    // What matches nothing by itself was reported already.
    for glob in include.iter().filter(|glob| matches_nothing(glob, None).is_none()) {
        let (Some(why), Some(span)) = (rules.always(glob), place_of("include", glob)) else { continue };
        let problem = match why {
            Why::Excluded(other) => {
                let mut problem =
                    Problem::new(format!("{} matches no path: `exclude` leaves out all that it matches", quoted(glob)));
                problem = problem.at(&span, "this glob");
                if let Some(other) = place_of("exclude", other) {
                    problem = problem.at(&other, "wins");
                }
                problem.help("remove one of the two")
            }
            Why::Ignored(name) => {
                let name = quoted(name);
                let help = if table.get("ignore").is_some() {
                    format!("remove {name} from `ignore`")
                } else {
                    format!("write `ignore` without {name}, such as `ignore = [\"*.tmp\"]`: it replaces the default")
                };
                let message = format!("{} matches no path: names such as {name} are ignored", quoted(glob));
                Problem::new(message).at(&span, "this glob").help(help)
            }
        };
        all.push(problem.into());
    }
}

/// What leaves a path out.
enum Why<'r> {
    Excluded(&'r str),
    Ignored(&'r str),
}

/// The globs that leave paths out.
struct Rules<'r> {
    exclude: Vec<&'r str>,
    ignore: Vec<&'r str>,
    excluded: GlobSet,
    ignored: GlobSet,
}

impl<'r> Rules<'r> {
    /// `None` if a glob is invalid, which is reported elsewhere.
    fn new(exclude: &'r [String], ignore: &'r [String]) -> Option<Self> {
        // A class such as `[!a]` may match each sample, and not each path. What matches nothing was
        // reported already.
        let is_sure = |glob: &&str| !glob.contains('[') && matches_nothing(glob, None).is_none();
        let sure = |globs: &'r [String]| globs.iter().map(String::as_str).filter(is_sure).collect();
        let (exclude, ignore): (Vec<&str>, Vec<&str>) = (sure(exclude), sure(ignore));
        let (excluded, ignored) = (set(&exclude, false)?, set(&ignore, true)?);
        Some(Self { exclude, ignore, excluded, ignored })
    }

    /// Returns what leaves out every path that a glob matches.
    fn always(&self, glob: &str) -> Option<Why<'_>> {
        let mut reasons = samples(glob)?.into_iter().map(|sample| self.leaves_out(&sample));
        let first = reasons.next()??;
        reasons.all(|reason| reason.is_some()).then_some(first)
    }

    /// Returns what leaves out a path, or a folder above it.
    fn leaves_out(&self, path: &str) -> Option<Why<'_>> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        ends.filter_map(|end| path.get(..end)).find_map(|part| {
            let name = part.rsplit('/').next().unwrap_or(part);
            let first = |set: &GlobSet, text: &str| set.matches(text).first().copied();
            let ignored = first(&self.ignored, name).and_then(|at| self.ignore.get(at)).map(|glob| Why::Ignored(glob));
            let excluded = || first(&self.excluded, part).and_then(|at| self.exclude.get(at));
            ignored.or_else(|| excluded().map(|glob| Why::Excluded(glob)))
        })
    }
}

fn set(globs: &[&str], any_case: bool) -> Option<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(GlobBuilder::new(glob).literal_separator(true).case_insensitive(any_case).build().ok()?);
    }
    set.build().ok()
}

/// Maximum number of alternatives of a glob that are looked at.
const MAX_ALTERNATIVES: usize = 50;

/// Returns paths that a glob matches and that have little in common besides. `None` if there may be
/// others of which this does not know.
fn samples(glob: &str) -> Option<Vec<String>> {
    let mut samples = Vec::new();
    for plain in alternatives(glob)? {
        samples.extend(["a", "Z9", "\u{e000}-\u{e001}", ""].iter().filter_map(|filler| filled(&plain, filler)));
    }
    (!samples.is_empty()).then_some(samples)
}

/// Returns the globs without alternatives that a glob stands for.
fn alternatives(glob: &str) -> Option<Vec<String>> {
    let mut done = Vec::new();
    let mut todo = vec![glob.to_owned()];
    while let Some(next) = todo.pop() {
        if next.contains(['[', '\\']) || todo.len() + done.len() > MAX_ALTERNATIVES {
            return None;
        }
        // The innermost one: the last that begins.
        let Some((before, rest)) = next.rsplit_once('{') else {
            done.push(next);
            continue;
        };
        let (inner, after) = rest.split_once('}')?;
        todo.extend(inner.split(',').map(|one| format!("{before}{one}{after}")));
    }
    Some(done)
}

/// Returns a path that a glob without alternatives matches, with this text for each `*`. `None` if
/// that would make a part empty.
fn filled(glob: &str, filler: &str) -> Option<String> {
    let mut parts = Vec::new();
    let last = glob.matches('/').count();
    for (at, part) in glob.split('/').enumerate() {
        match part {
            "**" if filler.is_empty() && at < last => {}
            part => parts.push(part.replace("**", "*").replace('*', filler).replace('?', "q")),
        }
    }
    (!parts.iter().any(String::is_empty)).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::{Rules, Why, joined_globs};

    fn always(include: &str, exclude: &[&str], ignore: &[&str]) -> Option<String> {
        let own = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect::<Vec<_>>();
        let (exclude, ignore) = (own(exclude), own(ignore));
        let rules = Rules::new(&exclude, &ignore).unwrap();
        rules.always(include).map(|why| match why {
            Why::Excluded(glob) => format!("exclude {glob}"),
            Why::Ignored(glob) => format!("ignore {glob}"),
        })
    }

    #[test]
    fn globs_that_others_always_win_over_are_found() {
        for (include, exclude, ignore, by) in [
            ("**", "**", "", "exclude **"),
            ("*.csv", "**/*", "", "exclude **/*"),
            ("sub/*.csv", "*", "", "exclude *"),
            ("*.csv", "*.csv", "", "exclude *.csv"),
            ("a/b/*.csv", "a/**", "", "exclude a/**"),
            ("*.{csv,tsv}", "*.?sv", "", "exclude *.?sv"),
            ("*.PART", "", "*.part", "ignore *.part"),
            ("**/*.part", "", "*.part", "ignore *.part"),
            (".hidden/*", "", ".*", "ignore .*"),
            ("{x,y}.{part,part}", "", "*.part", "ignore *.part"),
        ] {
            assert_eq!(always(include, &[exclude], &[ignore]).as_deref(), Some(by), "{include}");
        }
    }

    #[test]
    fn globs_that_were_meant_to_be_several_are_told_from_names_with_a_comma() {
        for (text, parts) in [
            ("*.csv,*.txt", Some(vec!["*.csv", "*.txt"])),
            ("*.csv, a/?", Some(vec!["*.csv", "a/?"])),
            ("*.{csv,txt},*.json", Some(vec!["*.{csv,txt}", "*.json"])),
            ("*.{csv,*txt}", None),
            ("*,v", None),
            ("*[,]*", None),
            ("a,b", None),
            ("*", None),
        ] {
            assert_eq!(joined_globs(text), parts, "{text}");
        }
    }

    #[test]
    fn globs_that_may_match_something_are_left_alone() {
        for (include, exclude, ignore) in [
            ("**", "*.csv", ".*"),
            ("*", "?", ".*"),
            ("*.csv", "draft-*", "*.part"),
            ("*.csv*", "*.csv", "*.part"),
            ("*.{csv,part}", "x", "*.part"),
            ("[ab].part", "x", "*.part"),
            ("*", "[!b]*", "x"),
            ("a*", "?*?*?*?", "x"),
        ] {
            assert_eq!(always(include, &[exclude], &[ignore]), None, "{include}");
        }
    }
}
