//! Checks whether a row is valid.

use csv::StringRecord;
use penguins::row::{Penguin, SPECIES, Species};

/// Why a row is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    Malformed,
    UnknownSpecies,
    Missing,
    NotANumber,
    OutOfRange,
    /// All four measurements are equal to those of an earlier row in the file: one penguin,
    /// recorded twice.
    Duplicate,
}

impl Reason {
    pub const ALL: [Self; 6] =
        [Self::Malformed, Self::UnknownSpecies, Self::Missing, Self::NotANumber, Self::OutOfRange, Self::Duplicate];

    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownSpecies => "unknown_species",
            Self::Missing => "missing",
            Self::NotANumber => "not_a_number",
            Self::OutOfRange => "out_of_range",
            Self::Duplicate => "duplicate",
        }
    }
}

/// A measurement: its column, and the plausible range for an adult penguin.
const MEASUREMENTS: [(&str, f64, f64); 4] = [
    ("Culmen Length (mm)", 20.0, 80.0),
    ("Culmen Depth (mm)", 10.0, 30.0),
    ("Flipper Length (mm)", 140.0, 260.0),
    ("Body Mass (g)", 1500.0, 8000.0),
];

/// The positions of the columns: a file may have its columns in any order, and additional ones.
pub struct Columns {
    count: usize,
    species: usize,
    measurements: [usize; 4],
}

impl Columns {
    /// The error is the name of the missing column.
    pub fn find(header: &StringRecord) -> Result<Self, &'static str> {
        let find = |name: &'static str| header.iter().position(|column| column == name).ok_or(name);
        let mut measurements = [0; 4];
        for (place, (name, _, _)) in measurements.iter_mut().zip(MEASUREMENTS) {
            *place = find(name)?;
        }
        Ok(Self { count: header.len(), species: find("Species")?, measurements })
    }

    /// Returns the penguin in a row, or what is wrong with it.
    pub fn check(&self, row: &StringRecord) -> Result<Penguin, Reason> {
        if row.len() != self.count {
            return Err(Reason::Malformed);
        }
        let species = species(&row[self.species])?;
        let mut values = [0.0; 4];
        for ((value, &column), (_, least, most)) in values.iter_mut().zip(&self.measurements).zip(MEASUREMENTS) {
            *value = number(&row[column], least, most)?;
        }
        let [bill_length_mm, bill_depth_mm, flipper_length_mm, body_mass_g] = values;
        Ok(Penguin { species, bill_length_mm, bill_depth_mm, flipper_length_mm, body_mass_g })
    }
}

/// `Gentoo penguin (Pygoscelis papua)` is a Gentoo: only the first word counts.
fn species(text: &str) -> Result<Species, Reason> {
    let first = text.split_whitespace().next().unwrap_or_default();
    SPECIES.into_iter().find(|species| first.eq_ignore_ascii_case(species.name())).ok_or(Reason::UnknownSpecies)
}

fn number(text: &str, least: f64, most: f64) -> Result<f64, Reason> {
    if matches!(text.trim(), "" | "NA") {
        return Err(Reason::Missing);
    }
    let number: f64 = text.trim().parse().map_err(|_| Reason::NotANumber)?;
    if (least..=most).contains(&number) { Ok(number) } else { Err(Reason::OutOfRange) }
}
