//! `anacostia new`: creates a project that builds and runs without further setup.

mod templates;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::show::{Cell, Column, Table, next_steps, styles};
use super::{End, Failure, out};
use crate::base::check_name;
use crate::manifest;
use crate::model::quoted;
use templates::{COMMON, Kit, Lang, kit};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder to create; the pipeline gets its name
    #[arg(value_name = "NAME")]
    folder: PathBuf,
    /// The language of its action
    #[arg(long, value_enum)]
    lang: Lang,
}

pub(crate) fn new(args: &Args) -> Result<End, Failure> {
    let name = name(&args.folder)?;
    refuse_what_is_there(&args.folder)?;
    let kit = kit(args.lang);
    write_all(&args.folder, name, kit)
        .with_context(|| format!("failed to make the project in {}", args.folder.display()))?;
    out::result(&made(&args.folder, name, kit))?;
    Ok(End::Well)
}

/// The name of the pipeline: that of the folder.
fn name(folder: &Path) -> Result<&str, Failure> {
    let last = folder.file_name().unwrap_or_default();
    let name = last.to_str().filter(|name| check_name(name).is_ok());
    name.ok_or_else(|| {
        let shown = last.to_string_lossy();
        let why = crate::base::NameError;
        Failure::usage(format!("`{shown}` cannot be the name of a pipeline: {why}; such as `anacostia new cold-room`"))
    })
}

/// A project is made in a new or empty folder: no file is overwritten.
fn refuse_what_is_there(folder: &Path) -> Result<(), Failure> {
    let shown = folder.display();
    let why = match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(false) => format!("the folder {shown} is not empty: nothing was written; name a folder that is not there"),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            format!(
                "{shown} is a file, or its path leads through one: nothing was written; name a folder that is not there"
            )
        }
        Err(error) => format!("{shown} cannot be read: {error}"),
    };
    Err(Failure::usage(why))
}

fn write_all(folder: &Path, name: &str, kit: &Kit) -> Result<(), anyhow::Error> {
    let watched: Vec<String> =
        ["actions/summary"].iter().chain(kit.helpers).map(|path| format!("\"{path}\"")).collect();
    let watch = watched.join(", ");
    let blanks = [
        ("@NAME@", name),
        ("@LANGUAGE@", kit.language),
        ("@SCRIPT@", kit.script),
        ("@SOURCE@", kit.source),
        ("@HELPERS@", &kit.helpers.join("`, `")),
        ("@NEEDS@", kit.needs),
        ("@WATCH@", &watch),
    ];
    for file in COMMON.iter().chain(kit.files) {
        // Only the project's own files have placeholders: shared files may contain an `@`.
        let replace = file.replace.iter().copied().chain(blanks);
        let text = replace.fold(file.text.to_owned(), |text, (from, to)| text.replace(from, to));
        write(&folder.join(file.path), &text)?;
    }
    let schema = format!("{:#}\n", manifest::schema());
    write(&folder.join("anacostia.schema.json"), &schema)
}

/// Creates a file, which must not exist yet. Scripts are executable.
fn write(path: &Path, text: &str) -> Result<(), anyhow::Error> {
    let context = || path.display().to_string();
    fs::create_dir_all(path.parent().unwrap_or(path)).with_context(context)?;
    let mode = if text.starts_with("#!") { 0o777 } else { 0o666 };
    let mut file = fs::File::options().write(true).create_new(true).mode(mode).open(path).with_context(context)?;
    file.write_all(text.as_bytes()).with_context(context)
}

/// Describes what was created, and the next three commands.
fn made(folder: &Path, name: &str, kit: &Kit) -> String {
    let mut table = Table::new(&[("", Column::Word), ("", Column::Word)]).indent(2);
    for (path, what) in [
        ("anacostia.toml", "what starts it, what it may touch"),
        (kit.source, "what it does"),
        ("data/readings", "where files arrive; two are there"),
    ] {
        table.row(vec![Cell::new(path).style(styles::STRONG), Cell::new(what).style(styles::FAINT)]);
    }
    let steps = [
        ("go there", format!("cd {}", quoted(&folder.display().to_string()))),
        ("build, run, rebuild on each save", "anacostia dev".to_owned()),
        ("let a file arrive", "cp samples/wednesday.csv data/readings/".to_owned()),
    ];
    format!(
        "{} created {}: a pipeline with one action in {}\n\n{}{}",
        Cell::new("✓").style(styles::GOOD),
        Cell::new(name).style(styles::STRONG),
        kit.language,
        table.render(usize::MAX),
        next_steps(&steps)
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Lang, kit, made, name};

    #[test]
    fn a_project_is_named_after_its_folder() {
        assert_eq!(name(Path::new("a/cold-room")).unwrap(), "cold-room");
        for bad in ["", "/", "..", "a/..", "Cold", "1a", "a b", "ä", &"a".repeat(64)] {
            let failure = format!("{:?}", name(Path::new(bad)).unwrap_err());
            assert!(failure.contains("cannot be the name of a pipeline: a name starts with a letter a-z"), "{failure}");
        }
    }

    #[test]
    fn the_next_commands_can_be_copied() {
        let text = made(Path::new("a/cold-room"), "cold-room", kit(Lang::Rust));
        insta::assert_snapshot!(anstream::adapter::strip_str(&text));
    }
}
