//! How a person does the work of a failed run again: the commands that each message about it names.

use super::{Artifact, Page, Run};

/// How many inputs of a run are looked at, to name them all by one pattern.
pub const NAMED_INPUTS: u32 = 50;
/// The longest pattern that a message names.
const MAX_PATTERN: usize = 80;

impl Run {
    /// Says what to do about the failed run with this number: both ways to do its work again, and
    /// where a person finds more. `path` is what follows in the commands: a blank and the PATH of
    /// the pipeline, or nothing. `inputs` is the first page of its inputs.
    #[must_use]
    pub fn what_next(number: u64, path: &str, inputs: &Page<Artifact>) -> String {
        let [retry, show] = Self::next_commands(number, path);
        let choose = Self::choose_inputs(path, &inputs.items, inputs.next_cursor.is_none());
        let choose = choose.map(|command| format!(", or `{command}`")).unwrap_or_default();
        format!("after a fix: `{retry}`{choose}; see `{show}`")
    }

    /// Returns the commands that do the work again on the same inputs, and that show more.
    #[must_use]
    pub fn next_commands(number: u64, path: &str) -> [String; 2] {
        [format!("anacostia runs retry {number}{path} --current"), format!("anacostia runs show {number}{path}")]
    }

    /// Returns the command that starts runs on inputs that one chooses, with a pattern that all
    /// `inputs` match. `None` if there are none. It has a placeholder if they are not all
    /// (`is_whole`), are too many, are in several resources, or have no short pattern.
    #[must_use]
    pub fn choose_inputs(path: &str, inputs: &[Artifact], is_whole: bool) -> Option<String> {
        let first = inputs.first()?;
        let of_first = inputs.iter().filter(|input| input.resource == first.resource);
        let paths: Vec<&str> = of_first.map(|input| input.path.as_str()).collect();
        let is_known = is_whole && paths.len() == inputs.len() && inputs.len() <= NAMED_INPUTS as usize;
        let glob = is_known.then(|| glob(&paths));
        let is_short = |glob: &String| glob.len() <= MAX_PATTERN && !glob.chars().any(char::is_control);
        let glob = glob.filter(is_short).unwrap_or_else(|| "GLOB".to_owned());
        Some(format!("anacostia trigger{path} --inputs {}", quoted(&format!("{}/{glob}", first.resource))))
    }
}

/// Returns the glob that matches these paths, at least one: the path itself, or what they begin
/// with and their extension.
fn glob(paths: &[&str]) -> String {
    let (Some(least), Some(most)) = (paths.iter().min(), paths.iter().max()) else { return "**".to_owned() };
    if least == most {
        return as_glob(least);
    }
    // All that lies between two paths in order begins as both do.
    let same = least.chars().zip(most.chars()).take_while(|(one, other)| one == other);
    let prefix: String = same.map(|(one, _)| one).collect();
    let rests = || paths.iter().map(|path| path.get(prefix.len()..).unwrap_or_default());
    let extension =
        |rest: &'_ str| rest.rsplit_once('.').map(|(_, end)| format!(".{end}")).filter(|end| !end.contains('/'));
    let first = rests().next().and_then(extension);
    let end = first.filter(|end| rests().all(|rest| rest.ends_with(end.as_str()))).unwrap_or_default();
    if rests().any(|rest| rest.contains('/')) {
        let folder = prefix.rfind('/').and_then(|at| prefix.get(..=at)).unwrap_or_default();
        return format!("{}**/*{}", as_glob(folder), as_glob(&end));
    }
    format!("{}*{}", as_glob(&prefix), as_glob(&end))
}

/// Quotes a word of a command for a shell.
#[must_use]
pub fn quoted(word: &str) -> String {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// Returns the glob that matches only this path.
fn as_glob(path: &str) -> String {
    path.chars().map(|it| if "*?[]{}\\".contains(it) { format!("[{it}]") } else { it.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use globset::GlobBuilder;

    use super::{as_glob, glob, quoted};
    use crate::base::Timestamp;
    use crate::model::{Artifact, ArtifactState, Page, Run};

    fn matches(glob: &str, path: &str) -> bool {
        GlobBuilder::new(glob).literal_separator(true).build().unwrap().compile_matcher().is_match(path)
    }

    fn input(resource: &str, path: &str) -> Artifact {
        Artifact {
            id: crate::base::ArtifactId::new(),
            resource: resource.to_owned(),
            path: path.to_owned(),
            version: 1,
            digest: None,
            size: 1,
            state: ArtifactState::Old,
            reason: None,
            run_id: None,
            produced_by: None,
            created_at: Timestamp::from_micros(0),
            tags: Vec::new(),
            present: true,
            stamp: String::new(),
        }
    }

    fn next(inputs: &[(&str, &str)], is_whole: bool) -> String {
        let items = inputs.iter().map(|(resource, path)| input(resource, path)).collect();
        Run::what_next(7, " lab", &Page { items, next_cursor: (!is_whole).then(String::new) })
    }

    #[test]
    fn what_to_do_next_names_the_inputs_of_the_run() {
        let around = |inputs: &str| {
            format!(
                "after a fix: `anacostia runs retry 7 lab --current`, or `anacostia trigger lab --inputs {inputs}`; see \
                 `anacostia runs show 7 lab`"
            )
        };
        assert_eq!(next(&[("raw", "a.csv")], true), around("raw/a.csv"));
        assert_eq!(next(&[("raw", "it's [1].csv")], true), around("'raw/it'\\''s [[]1[]].csv'"));
        assert_eq!(next(&[("raw", "03-01.csv"), ("raw", "03-02.csv")], true), around("'raw/03-0*.csv'"));
        let placeholder = around("raw/GLOB");
        assert_eq!(next(&[("raw", "a.csv")], false), placeholder, "there are more");
        assert_eq!(next(&[("raw", "a.csv"), ("more", "a.csv")], true), placeholder, "two resources");
        assert_eq!(next(&[("raw", &"long".repeat(30))], true), placeholder);
        assert_eq!(next(&[("raw", "a\nb")], true), placeholder);
        let none = "after a fix: `anacostia runs retry 7 lab --current`; see `anacostia runs show 7 lab`";
        assert_eq!(next(&[], true), none);
    }

    #[test]
    fn the_glob_of_several_paths_matches_each() {
        for (paths, expected) in [
            (&["a.csv", "a.csv"][..], "a.csv"),
            (&["2026-01.csv", "2026-02.csv", "2025-12.csv"], "202*.csv"),
            (&["a.csv", "aa.csv"], "a*.csv"),
            (&["a.csv", "b.txt"], "*"),
            (&["a", "a.b"], "a*"),
            (&["day/1/x.csv", "day/1/y.csv"], "day/1/*.csv"),
            (&["day/1/x.csv", "day/2/y.csv", "day/z.csv"], "day/**/*.csv"),
            (&["1.d/x", "2.d/x"], "**/*"),
            (&["x[1].csv", "x[2].csv"], "x[[]*.csv"),
            (&["ä1.csv", "äß.csv"], "ä*.csv"),
        ] {
            let found = glob(paths);
            assert_eq!(found, expected);
            assert!(paths.iter().all(|path| matches(&found, path)), "{found}");
        }
    }

    #[test]
    fn the_glob_of_a_path_matches_nothing_else() {
        let path = "a[1]/{b}*?\\.csv";
        assert!(matches(&as_glob(path), path));
        assert!(!["a1/{b}xx\\.csv", "a[1]/b*?\\.csv"].iter().any(|other| matches(&as_glob(path), other)));
        assert_eq!(as_glob("2026-01-01.csv"), "2026-01-01.csv");
    }

    #[test]
    fn a_word_is_quoted_if_a_shell_would_read_something_else() {
        assert_eq!(quoted("raw/2026-01-01.csv"), "raw/2026-01-01.csv");
        assert_eq!(quoted("it's here/x"), "'it'\\''s here/x'");
    }
}
