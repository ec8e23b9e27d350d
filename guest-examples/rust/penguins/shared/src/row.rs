//! One penguin, as `clean` writes it and the other actions read it.

use anacostia_guest::{Result, list_all};
use serde::{Deserialize, Serialize};

use crate::{because, content};

/// The species, in the order in which tables list them.
pub const SPECIES: [Species; 3] = [Species::Adelie, Species::Chinstrap, Species::Gentoo];

/// One in this many rows is held out: a quarter.
const HELD_OUT_ONE_IN: u64 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Species {
    Adelie,
    Chinstrap,
    Gentoo,
}

impl Species {
    /// The name of the species in metrics and table headings.
    pub fn name(self) -> &'static str {
        ["adelie", "chinstrap", "gentoo"][self as usize]
    }
}

/// A penguin with four plausible measurements.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Penguin {
    pub species: Species,
    pub bill_length_mm: f64,
    pub bill_depth_mm: f64,
    pub flipper_length_mm: f64,
    pub body_mass_g: f64,
}

impl Penguin {
    /// Returns the input of the model.
    pub fn measurements(&self) -> [f64; 4] {
        [self.bill_length_mm, self.bill_depth_mm, self.flipper_length_mm, self.body_mass_g]
    }

    /// Returns whether this row is held out for evaluation, and never used for training. A hash of
    /// the row decides, so that the same row is always on the same side, in whatever file and run
    /// it comes, and no model is evaluated on rows that it was trained on.
    pub fn is_held_out(&self) -> bool {
        let bytes = self.measurements().map(f64::to_bits).into_iter().flat_map(u64::to_le_bytes);
        // FNV-1a. (The hasher of the standard library may change with its version.)
        let hash =
            bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        // The low bits of this hash are weak, so the higher bits are mixed in.
        (hash ^ (hash >> 32)) % HELD_OUT_ONE_IN == 0
    }
}

/// Returns all clean rows so far, of this run and of earlier ones: the files of `cleaned` in the
/// order of their days.
pub fn all() -> Result<Vec<Penguin>> {
    let mut rows = Vec::new();
    for day in list_all("cleaned")? {
        for row in csv::Reader::from_reader(content(&day)?.as_slice()).deserialize() {
            rows.push(row.map_err(because(&format!("{} does not hold clean rows", day.path)))?);
        }
    }
    Ok(rows)
}
