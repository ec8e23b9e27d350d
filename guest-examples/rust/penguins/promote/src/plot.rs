//! Plots lines over the runs, as a self-contained SVG.

use std::fmt::{self, Write};

/// The size of the image, and the margins around the axes.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
const MARGIN: f64 = 40.0;

/// Points are (number of the run, value from 0 to 1), oldest first.
pub struct Line {
    pub name: &'static str,
    pub color: &'static str,
    pub points: Vec<(u64, f64)>,
}

/// The ranges of the axes.
struct Axes {
    first_run: u64,
    last_run: u64,
    lowest: f64,
}

pub fn draw(title: &str, lines: &[Line]) -> String {
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = fill(&mut svg, title, lines);
    svg
}

impl Axes {
    fn around(lines: &[Line]) -> Self {
        let points = || lines.iter().flat_map(|line| &line.points);
        let first_run = points().map(|point| point.0).min().unwrap_or(0);
        let last_run = points().map(|point| point.0).max().unwrap_or(0).max(first_run + 1);
        let lowest = points().map(|point| point.1).fold(0.9, f64::min);
        Self { first_run, last_run, lowest: (lowest * 10.0).floor() / 10.0 }
    }

    fn x(&self, run: u64) -> f64 {
        MARGIN + (run - self.first_run) as f64 / (self.last_run - self.first_run) as f64 * (WIDTH - 2.0 * MARGIN)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - MARGIN - (value - self.lowest) / (1.0 - self.lowest) * (HEIGHT - 2.0 * MARGIN)
    }
}

fn fill(svg: &mut String, title: &str, lines: &[Line]) -> fmt::Result {
    let axes = Axes::around(lines);
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">"#
    )?;
    writeln!(svg, r##"<title>{title}</title><rect width="100%" height="100%" fill="#fff"/>"##)?;
    for value in [axes.lowest, (axes.lowest + 1.0) / 2.0, 1.0] {
        let (y, right, label) = (axes.y(value), WIDTH - MARGIN, MARGIN - 6.0);
        writeln!(svg, r##"<path d="M{MARGIN} {y:.1}H{right}" stroke="#ccc"/>"##)?;
        writeln!(svg, r#"<text x="{label}" y="{y:.1}" dy="4" text-anchor="end">{value:.2}</text>"#)?;
    }
    for run in [axes.first_run, axes.last_run] {
        let (x, y) = (axes.x(run), HEIGHT - MARGIN + 20.0);
        writeln!(svg, r#"<text x="{x:.1}" y="{y}" text-anchor="middle">run {run}</text>"#)?;
    }
    // The first line is the most important: it is drawn last, above the others.
    for (place, line) in lines.iter().enumerate().rev() {
        line.fill(svg, &axes, MARGIN + 120.0 * place as f64)?;
    }
    writeln!(svg, "</svg>")
}

impl Line {
    /// Draws the line with its points, and its name in the legend at `x`.
    fn fill(&self, svg: &mut String, axes: &Axes, x: f64) -> fmt::Result {
        let (name, color) = (self.name, self.color);
        let path: Vec<String> =
            self.points.iter().map(|&(run, value)| format!("{:.1},{:.1}", axes.x(run), axes.y(value))).collect();
        writeln!(svg, r#"<text x="{x}" y="20" fill="{color}">● {name}</text>"#)?;
        writeln!(svg, r#"<polyline points="{}" fill="none" stroke="{color}" stroke-width="2"/>"#, path.join(" "))?;
        for &(run, value) in &self.points {
            let (x, y) = (axes.x(run), axes.y(value));
            writeln!(
                svg,
                r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{color}"><title>run {run}: {value:.3}</title></circle>"#
            )?;
        }
        Ok(())
    }
}
