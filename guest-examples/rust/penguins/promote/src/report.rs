//! The report, in Markdown.

use std::fmt::{self, Write};

use penguins::row::SPECIES;
use penguins::score::{Evaluation, Score};

/// Returns the page about the run in which `model` was promoted.
pub fn write(run: u64, model: &str, evaluation: &Evaluation, plot: &str) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = fill(&mut page, run, model, evaluation, plot);
    page
}

fn fill(page: &mut String, run: u64, model: &str, evaluation: &Evaluation, plot: &str) -> fmt::Result {
    let new = &evaluation.new;
    let rows = new.rows();
    writeln!(page, "# {model} is in use\n")?;
    writeln!(
        page,
        "Run {run}: it recognises {} of {rows} held-out penguins, accuracy {:.3}.",
        new.right(),
        new.accuracy()
    )?;
    match (&evaluation.in_use, &evaluation.in_use_path) {
        (Some(old), Some(path)) => {
            writeln!(page, "`{path}`, which was in use before, recognises {}: {:.3}.\n", old.right(), old.accuracy())?;
        }
        _ => writeln!(page, "It is the first model.\n")?,
    }
    species(page, new)?;
    confusion(page, new)?;
    writeln!(page, "![Hold-out accuracy of each run]({plot})")
}

fn species(page: &mut String, score: &Score) -> fmt::Result {
    let figure = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.3}"));
    writeln!(page, "| species | held out | precision | recall |\n|---|---:|---:|---:|")?;
    for species in SPECIES {
        let (precision, recall) = (figure(score.precision(species)), figure(score.recall(species)));
        writeln!(page, "| {} | {} | {precision} | {recall} |", species.name(), score.actual(species))?;
    }
    writeln!(page)
}

fn confusion(page: &mut String, score: &Score) -> fmt::Result {
    let heads: Vec<&str> = SPECIES.iter().map(|species| species.name()).collect();
    writeln!(page, "| taken for → | {} |\n|---|{}", heads.join(" | "), "---:|".repeat(heads.len()))?;
    for actual in SPECIES {
        let counts = SPECIES.map(|predicted| score.taken(actual, predicted).to_string());
        writeln!(page, "| {} | {} |", actual.name(), counts.join(" | "))?;
    }
    writeln!(page)
}
