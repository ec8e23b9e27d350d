//! How well a model tells the species apart: counts, and what follows from them.

use serde::{Deserialize, Serialize};

use crate::row::{SPECIES, Species};

/// What `evaluate` found, and `promote` decides by.
#[derive(Debug, Serialize, Deserialize)]
pub struct Evaluation {
    pub new: Score,
    /// The model in use, on the same rows. Absent as long as there is none.
    pub in_use: Option<Score>,
    /// Its path in `models`.
    pub in_use_path: Option<String>,
}

impl Evaluation {
    /// Better means more of the same rows right. A model that is only as good does not displace the
    /// one in use.
    pub fn is_better(&self) -> bool {
        self.in_use.as_ref().is_none_or(|in_use| self.new.right() > in_use.right())
    }
}

/// How often which species was taken for which: `confusion[actual][predicted]`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    pub confusion: [[u32; SPECIES.len()]; SPECIES.len()],
}

impl Score {
    /// Count pairs of the actual and the predicted species.
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

    /// How often `actual` was taken for `predicted`.
    pub fn taken(&self, actual: Species, predicted: Species) -> u32 {
        self.confusion[actual as usize][predicted as usize]
    }

    pub fn accuracy(&self) -> f64 {
        f64::from(self.right()) / f64::from(self.rows())
    }

    /// Of those that were taken for this species, the part that is. None where there were none.
    pub fn precision(&self, species: Species) -> Option<f64> {
        self.part_of(species, SPECIES.iter().map(|&actual| self.taken(actual, species)).sum())
    }

    /// Of this species, the part that was recognised. None where there were none.
    pub fn recall(&self, species: Species) -> Option<f64> {
        self.part_of(species, self.actual(species))
    }

    /// How many are of this species.
    pub fn actual(&self, species: Species) -> u32 {
        SPECIES.iter().map(|&predicted| self.taken(species, predicted)).sum()
    }

    fn part_of(&self, species: Species, all: u32) -> Option<f64> {
        (all > 0).then(|| f64::from(self.taken(species, species)) / f64::from(all))
    }
}
