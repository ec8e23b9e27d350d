//! The model: a random forest from smartcore over the four measurements.

use anacostia_guest::{Artifact, Result};
use smartcore::ensemble::random_forest_classifier::RandomForestClassifier;
use smartcore::linalg::basic::matrix::DenseMatrix;

use crate::row::Penguin;
use crate::score::Score;
use crate::{because, content};

/// Predicts an index into `SPECIES` from measurements.
pub type Forest = RandomForestClassifier<f64, u32, DenseMatrix<f64>, Vec<u32>>;

/// Converts rows to the input of smartcore: a matrix of measurements, and the species.
pub fn table(rows: &[Penguin]) -> Result<(DenseMatrix<f64>, Vec<u32>)> {
    let measurements = rows.iter().map(|row| row.measurements().to_vec()).collect();
    let measurements = DenseMatrix::from_2d_vec(&measurements).map_err(because("there are no rows"))?;
    Ok((measurements, rows.iter().map(|row| row.species as u32).collect()))
}

/// Reads a model that `train` wrote.
pub fn read(artifact: &Artifact) -> Result<Forest> {
    serde_json::from_slice(&content(artifact)?).map_err(because(&format!("{} is not a model", artifact.path)))
}

/// Scores a model on rows that it has not seen.
pub fn score(model: &Forest, rows: &[Penguin]) -> Result<Score> {
    let (measurements, species) = table(rows)?;
    let predicted = model.predict(&measurements).map_err(because("the model does not predict"))?;
    Ok(Score::count(species.into_iter().zip(predicted)))
}
