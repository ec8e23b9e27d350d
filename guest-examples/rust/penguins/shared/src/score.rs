//! How well a model distinguishes the species: counts, and figures derived from them.

use serde::{Deserialize, Serialize};

use crate::row::{SPECIES, Species};

/// The result of `evaluate`, by which `promote` decides.
#[derive(Debug, Serialize, Deserialize)]
pub struct Evaluation {
    pub new: Score,
    /// The score of the model in use on the same rows. Absent if no model is in use.
    pub in_use: Option<Score>,
    /// The path of the model in use in `models`.
    pub in_use_path: Option<String>,
}

impl Evaluation {
    /// A model is better if it classifies more of the same rows correctly. An equally good model
    /// does not replace the one in use.
    pub fn is_better(&self) -> bool {
        self.in_use.as_ref().is_none_or(|in_use| self.new.right() > in_use.right())
    }
}

/// How often each species was classified as each: `confusion[actual][predicted]`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    pub confusion: [[u32; SPECIES.len()]; SPECIES.len()],
}

impl Score {
    /// Counts pairs of the actual and the predicted species.
    pub fn count(pairs: impl Iterator<Item = (u32, u32)>) -> Self {
        let mut score = Self::default();
        for (actual, predicted) in pairs {
            score.confusion[actual as usize][predicted as usize] += 1;
        }
        score
    }

    pub fn rows(&self) -> u32 {
        self.confusion.as_flattened().iter().sum()
    }

    pub fn right(&self) -> u32 {
        SPECIES.iter().map(|&species| self.taken(species, species)).sum()
    }

    /// Returns how often `actual` was classified as `predicted`.
    pub fn taken(&self, actual: Species, predicted: Species) -> u32 {
        self.confusion[actual as usize][predicted as usize]
    }

    pub fn accuracy(&self) -> f64 {
        f64::from(self.right()) / f64::from(self.rows())
    }

    /// Returns the fraction of rows classified as this species that really are. `None` if there are
    /// none.
    pub fn precision(&self, species: Species) -> Option<f64> {
        self.part_of(species, SPECIES.iter().map(|&actual| self.taken(actual, species)).sum())
    }

    /// Returns the fraction of rows of this species that were recognised. `None` if there are none.
    pub fn recall(&self, species: Species) -> Option<f64> {
        self.part_of(species, self.actual(species))
    }

    /// Returns the number of rows of this species.
    pub fn actual(&self, species: Species) -> u32 {
        SPECIES.iter().map(|&predicted| self.taken(species, predicted)).sum()
    }

    fn part_of(&self, species: Species, all: u32) -> Option<f64> {
        (all > 0).then(|| f64::from(self.taken(species, species)) / f64::from(all))
    }
}
