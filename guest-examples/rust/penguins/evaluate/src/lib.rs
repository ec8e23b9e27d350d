//! Evaluates the new model, and the model in use, on the same rows: the held-out ones, which
//! neither has seen.

use anacostia_guest::metadata::{self, Metric};
use anacostia_guest::{Outcome, Result, list_all, log, run_context, write_all};
use penguins::row::{self, Penguin, SPECIES};
use penguins::score::{Evaluation, Score};
use penguins::{because, model, only_input, params};
use serde::Deserialize;

anacostia_guest::action!(run);

#[derive(Deserialize)]
struct Params {
    /// If fewer rows are held out, a comparison is not meaningful.
    min_holdout_rows: usize,
}

fn run() -> Result<Outcome> {
    let params: Params = params()?;
    let rows: Vec<Penguin> = row::all()?.into_iter().filter(Penguin::is_held_out).collect();
    if rows.len() < params.min_holdout_rows {
        let reason = format!("{} rows are held out so far, and {} are needed", rows.len(), params.min_holdout_rows);
        return Ok(Outcome::Skip(reason));
    }
    let new = model::score(&model::read(&only_input("candidates")?)?, &rows)?;
    // The contents of `models` when this run started. `promote`, which writes there, comes later.
    let in_use_model = list_all("models")?.into_iter().find(|model| model.tags.iter().any(|tag| tag == "production"));
    let in_use = in_use_model.as_ref().map(|artifact| model::score(&model::read(artifact)?, &rows)).transpose()?;
    record(&new, in_use.as_ref())?;

    let evaluation = Evaluation { new, in_use, in_use_path: in_use_model.map(|model| model.path) };
    let path = format!("evaluation-{:04}.json", run_context::info().run_number);
    write_all("evaluations", &path, &serde_json::to_vec_pretty(&evaluation).map_err(because("no JSON"))?)?;
    let in_use = evaluation.in_use.as_ref().map_or("none".to_owned(), |score| format!("{:.3}", score.accuracy()));
    let accuracy = format!("{:.3}", evaluation.new.accuracy());
    log::info("evaluated", &[("rows", &rows.len()), ("accuracy", &accuracy), ("in_use", &in_use)]);
    Ok(Outcome::Done(Some(format!("accuracy {accuracy} on {} rows, in use: {in_use}", rows.len()))))
}

fn record(new: &Score, in_use: Option<&Score>) -> Result<()> {
    let mut metrics = Vec::new();
    let mut add = |name: String, value: f64| metrics.push(Metric { name, value, step: None });
    add("holdout_rows".to_owned(), new.rows().into());
    add("holdout_accuracy".to_owned(), new.accuracy());
    if let Some(in_use) = in_use {
        add("holdout_accuracy_in_use".to_owned(), in_use.accuracy());
    }
    for species in SPECIES {
        // A species without rows has neither.
        if let Some(precision) = new.precision(species) {
            add(format!("precision_{}", species.name()), precision);
        }
        if let Some(recall) = new.recall(species) {
            add(format!("recall_{}", species.name()), recall);
        }
        for predicted in SPECIES {
            let name = format!("confusion_{}_as_{}", species.name(), predicted.name());
            add(name, new.taken(species, predicted).into());
        }
    }
    metadata::log_metrics(&metrics)
}
