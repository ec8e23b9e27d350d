//! Rows of the table, and how they are printed.

use std::fmt::Write as _;

use crate::floor::Floors;

/// A figure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Figure {
    /// A span of time, in seconds.
    Seconds(f64),
    /// A rate per second; more is better.
    PerSecond(f64),
    /// MiB per second; more is better.
    Throughput(f64),
    /// MiB.
    Mebibytes(f64),
    /// 1,000 bytes.
    Kilobytes(f64),
    /// Percent of one core.
    Percent(f64),
}

impl Figure {
    fn value(self) -> f64 {
        match self {
            Self::Seconds(value)
            | Self::PerSecond(value)
            | Self::Throughput(value)
            | Self::Mebibytes(value)
            | Self::Kilobytes(value)
            | Self::Percent(value) => value,
        }
    }

    /// How many times better `other` is.
    fn behind(self, other: Self) -> f64 {
        match self {
            Self::PerSecond(value) | Self::Throughput(value) => other.value() / value,
            _ => self.value() / other.value(),
        }
    }

    fn text(self) -> String {
        match self {
            Self::Seconds(value) if value >= 1.0 => format!("{value:.2} s"),
            Self::Seconds(value) if value >= 1e-3 => format!("{:.2} ms", value * 1e3),
            Self::Seconds(value) => format!("{:.1} µs", value * 1e6),
            Self::PerSecond(value) => format!("{value:.0} /s"),
            Self::Throughput(value) => format!("{value:.0} MiB/s"),
            Self::Mebibytes(value) => format!("{value:.1} MiB"),
            Self::Kilobytes(value) => format!("{value:.1} kB"),
            Self::Percent(value) => format!("{value:.3} %"),
        }
    }
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) ours: Figure,
    pub(crate) floor: Option<Figure>,
    /// The name of another program, and its figure from the same run.
    pub(crate) peer: Option<(&'static str, Figure)>,
    /// The figure to reach.
    pub(crate) goal: Option<Figure>,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, ours: Figure) -> Self {
        Self { name: name.into(), ours, floor: None, peer: None, goal: None }
    }

    pub(crate) fn floor(self, floor: Figure) -> Self {
        Self { floor: Some(floor), ..self }
    }

    pub(crate) fn peer(self, who: &'static str, figure: Figure) -> Self {
        Self { peer: Some((who, figure)), ..self }
    }

    pub(crate) fn goal(self, goal: Figure) -> Self {
        Self { goal: Some(goal), ..self }
    }

    fn cells(&self) -> [String; 6] {
        let none = || "–".to_owned();
        let times = |other: Option<Figure>| other.map_or_else(none, |other| format!("{:.1}×", self.ours.behind(other)));
        [
            self.name.clone(),
            self.ours.text(),
            self.floor.map_or_else(none, Figure::text),
            times(self.floor),
            self.goal.map_or_else(none, |goal| format!("{} ({})", goal.text(), times(Some(goal)))),
            self.peer.map_or_else(none, |(who, peer)| format!("{who}: {} ({})", peer.text(), times(Some(peer)))),
        ]
    }
}

/// Returns the load of the machine, averaged over 1, 5 and 15 minutes.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Prints the table as Markdown that is also readable as plain text.
pub(crate) fn print(floors: &Floors, rows: &[Row], load_before: &str) {
    let head = ["figure", "ours", "floor", "ratio", "to reach", "peer"].map(str::to_owned);
    let mut lines = vec![head];
    lines.extend(rows.iter().map(Row::cells));
    let widths: Vec<usize> = (0..6)
        .map(|column| lines.iter().filter_map(|cells| cells.get(column)).map(|cell| cell.chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    println!();
    for (number, cells) in lines.iter().enumerate() {
        let mut line = String::from("|");
        for (cell, width) in cells.iter().zip(&widths) {
            // Padding counts characters, not bytes.
            let _ = write!(line, " {cell}{} |", " ".repeat(width - cell.chars().count()));
        }
        println!("{line}");
        if number == 0 {
            println!("|{}", widths.iter().map(|width| "-".repeat(width + 2) + "|").collect::<String>());
        }
    }
    println!("\nFloor, by bare code: {}.", floors.text());
    println!("Load of the machine: {load_before} before, {} after.", load());
}

/// Returns the value below which `part` of the samples lie; 0.5 is the median. Sorts the samples.
pub(crate) fn quantile(samples: &mut [f64], part: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let last = samples.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index of a short list"
    )]
    let index = (last as f64 * part).round() as usize;
    samples.get(index).copied().unwrap_or(f64::NAN)
}
