//! Costs as bars in an SVG file: one bar for each day, the models on top of one another.

use std::path::Path;

use plotters::prelude::*;

use super::Bars;

const SIZE: (u32, u32) = (860, 420);
/// Paul Tol's bright scheme: told apart by colour-blind readers too.
const COLOURS: [RGBColor; 5] = [
    RGBColor(68, 119, 170),
    RGBColor(238, 102, 119),
    RGBColor(34, 136, 51),
    RGBColor(204, 187, 68),
    RGBColor(187, 187, 187),
];

/// Writes the plot.
pub fn write(path: &Path, bars: &Bars) -> Result<(), String> {
    let mut text = String::new();
    draw(&mut text, bars).map_err(|error| error.to_string())?;
    std::fs::write(path, text).map_err(|error| error.to_string())
}

fn draw(into: &mut String, bars: &Bars) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(into, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let total = |day: usize| bars.series.iter().map(|(_, costs)| costs[day]).sum::<f64>();
    let most = (0..bars.days.len()).map(total).fold(0.0, f64::max);
    // A span without costs has an axis all the same.
    let top = if most > 0.0 { most * 1.15 } else { 1.0 };
    let days = bars.days.len().max(1) as f64;
    let mut chart = ChartBuilder::on(&area)
        .caption(&bars.title, ("sans-serif", 20))
        .margin(14)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .build_cartesian_2d(-0.5f64..days - 0.5, 0.0f64..top)?;
    let name = |at: &f64| {
        let whole = (at - at.round()).abs() < 1e-6;
        let day = bars.days.get(at.round().max(0.0) as usize);
        day.filter(|_| whole).cloned().unwrap_or_default()
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(bars.days.len().clamp(1, 8))
        .x_label_formatter(&name)
        .y_label_formatter(&|usd| format!("{usd:.4}"))
        .draw()?;
    let mut below = vec![0.0; bars.days.len()];
    for ((model, costs), colour) in bars.series.iter().zip(COLOURS) {
        let parts: Vec<_> = costs
            .iter()
            .enumerate()
            .map(|(day, cost)| {
                let (left, from) = (day as f64 - 0.4, below[day]);
                Rectangle::new([(left, from), (left + 0.8, from + cost)], colour.filled())
            })
            .collect();
        for (below, cost) in below.iter_mut().zip(costs) {
            *below += cost;
        }
        chart
            .draw_series(parts)?
            .label(model.as_str())
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}
