//! The measures as bars in an SVG file.

use std::path::Path;

use plotters::prelude::*;

use super::{MODES, Measures, Outcome};

const SIZE: (u32, u32) = (860, 420);
/// Paul Tol's bright scheme: told apart by colour-blind readers too.
const COLOURS: [RGBColor; 3] = [
    RGBColor(68, 119, 170),
    RGBColor(204, 187, 68),
    RGBColor(238, 102, 119),
];

type Read = fn(&Measures) -> f64;
const BARS: [(&str, Read); 4] = [
    ("nDCG@10", |found| found.ndcg_at_10),
    ("recall@10", |found| found.recall_at_10),
    ("recall@100", |found| found.recall_at_100),
    ("MRR@10", |found| found.mrr_at_10),
];

/// Writes the plot.
pub fn write(path: &Path, outcome: &Outcome) -> Result<(), String> {
    let mut text = String::new();
    draw(&mut text, outcome).map_err(|error| error.to_string())?;
    std::fs::write(path, text).map_err(|error| error.to_string())
}

fn draw(into: &mut String, outcome: &Outcome) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(into, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let caption = format!("{}, embedded by {}", outcome.dataset, outcome.embedder);
    let mut chart = ChartBuilder::on(&area)
        .caption(caption, ("sans-serif", 20))
        .margin(14)
        .x_label_area_size(30)
        .y_label_area_size(40)
        .build_cartesian_2d(-0.5f64..BARS.len() as f64 - 0.5, 0.0f64..1.0)?;
    let name = |at: &f64| {
        let measure = BARS.get(at.round() as usize);
        measure.map_or(String::new(), |(name, _)| (*name).to_owned())
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(BARS.len())
        .x_label_formatter(&name)
        .draw()?;
    for (number, ((mode, _), colour)) in MODES.iter().zip(COLOURS).enumerate() {
        let found = &outcome.results[mode];
        let left = |at: usize| at as f64 + (number as f64 - 1.5) * 0.25;
        let bars = BARS.iter().enumerate().map(|(at, (_, read))| {
            Rectangle::new(
                [(left(at), 0.0), (left(at) + 0.23, read(found))],
                colour.filled(),
            )
        });
        chart
            .draw_series(bars)?
            .label(*mode)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
        let values = BARS.iter().enumerate().map(|(at, (_, read))| {
            Text::new(
                format!("{:.3}", read(found)),
                (left(at), read(found) + 0.04),
                ("sans-serif", 12),
            )
        });
        chart.draw_series(values)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}
