//! Trains a random forest on all clean rows so far, except those that are held out for `evaluate`.
//!
//! The training curve is the out-of-bag accuracy over the number of trees: each row is classified
//! only by the trees that were trained without it. So the curve shows the benefit of more trees
//! without using the held-out rows.

use std::collections::BTreeSet;

use anacostia_guest::metadata::{self, Entry, Metric};
use anacostia_guest::{Error, Outcome, Result, log, run_context, write_all};
use penguins::model::{self, Forest};
use penguins::row::{self, Penguin};
use penguins::score::Score;
use penguins::{because, params};
use serde::Deserialize;
use smartcore::ensemble::random_forest_classifier::RandomForestClassifierParameters;
use smartcore::linalg::basic::matrix::DenseMatrix;

anacostia_guest::action!(run);

#[derive(Deserialize)]
struct Params {
    seed: u64,
    trees: u16,
    /// The curve has a point every this many trees.
    curve_every: u16,
}

fn run() -> Result<Outcome> {
    let params: Params = params()?;
    let rows: Vec<Penguin> = row::all()?.into_iter().filter(|row| !row.is_held_out()).collect();
    let species: BTreeSet<&str> = rows.iter().map(|row| row.species.name()).collect();
    if species.len() < 2 {
        return Ok(Outcome::Skip("there is one species so far, and nothing to tell apart".to_owned()));
    }
    let species = species.into_iter().collect::<Vec<_>>().join(", ");
    log::info("training", &[("rows", &rows.len()), ("trees", &params.trees), ("species", &species)]);
    let (x, y) = model::table(&rows)?;
    let accuracy = training_curve(&x, &y, &params)?;
    let model = fit(&x, &y, params.trees, params.seed, false)?;
    let model = serde_json::to_vec(&model).map_err(because("the model does not turn into JSON"))?;
    let path = format!("model-{:04}.json", run_context::info().run_number);
    write_all("candidates", &path, &model)?;

    metadata::log_metrics(&[Metric { name: "training_rows".to_owned(), value: rows.len() as f64, step: None }])?;
    metadata::log_params(&[Entry { name: "species".to_owned(), value: species }])?;
    Ok(Outcome::Done(Some(format!("{} rows, out-of-bag accuracy {accuracy:.3}", rows.len()))))
}

/// Records the curve, and returns its last point. Trees are grown one after the other from one
/// seed, so a smaller forest is the beginning of a larger one, and this is the curve of a single
/// training.
fn training_curve(x: &DenseMatrix<f64>, y: &Vec<u32>, params: &Params) -> Result<f64> {
    let mut last = 0.0;
    for trees in (params.curve_every.max(1)..=params.trees).step_by(params.curve_every.max(1).into()) {
        if run_context::cancelled() {
            return Err(Error::permanent("the run is being cancelled"));
        }
        let predicted =
            fit(x, y, trees, params.seed, true)?.predict_oob(x).map_err(because("the forest does not predict"))?;
        last = Score::count(y.iter().copied().zip(predicted)).accuracy();
        metadata::log_metrics(&[Metric { name: "oob_accuracy".to_owned(), value: last, step: Some(trees.into()) }])?;
        run_context::progress(f64::from(trees) / f64::from(params.trees), &format!("{trees} trees"));
    }
    Ok(last)
}

/// The same rows, trees and seed give the same forest, to the last bit.
fn fit(x: &DenseMatrix<f64>, y: &Vec<u32>, trees: u16, seed: u64, keep_samples: bool) -> Result<Forest> {
    let wishes = RandomForestClassifierParameters { seed, keep_samples, ..Default::default() }.with_n_trees(trees);
    Forest::fit(x, y, wishes).map_err(because("the forest does not fit"))
}
