//! Charts as an SVG file, one below the other.

use std::{error::Error, ops::Range, path::Path};

use plotters::prelude::*;

/// Points of a line drawn; of more, the extremes of each stretch.
const POINTS_MAX: usize = 4_000;
const WIDTH: u32 = 960;
const HEIGHT: u32 = 300;
/// Charts in a file; a hundred below each other help nobody.
const CHARTS_MAX: usize = 20;

/// Lines over one axis.
#[derive(Clone, Debug, Default)]
pub(super) struct Chart {
    pub(super) title: String,
    /// What the horizontal axis counts.
    pub(super) x_name: String,
    pub(super) lines: Vec<Line>,
    /// Stretches to shade: where something was labelled.
    pub(super) shaded: Vec<Range<f64>>,
    /// A level to mark.
    pub(super) level: Option<f64>,
}

/// A line with a name.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Draws the charts; the file appears only when it is whole.
pub(super) fn write(path: &Path, charts: &[Chart]) -> Result<(), Box<dyn Error>> {
    let svg = draw(&charts[..charts.len().min(CHARTS_MAX)])?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(dir.unwrap_or(Path::new(".")))?;
    std::io::Write::write_all(&mut file, svg.as_bytes())?;
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(permissions)?;
    file.persist(path)?;
    Ok(())
}

fn draw(charts: &[Chart]) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    {
        let size = (WIDTH, HEIGHT * charts.len().max(1) as u32);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        for (chart, area) in charts
            .iter()
            .zip(area.split_evenly((charts.len().max(1), 1)))
        {
            one(chart, &area)?;
        }
        area.present()?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn one(chart: &Chart, area: &Area<'_>) -> Result<(), Box<dyn Error>> {
    let points = || chart.lines.iter().flat_map(|line| &line.points);
    let x = span(points().map(|point| point.0));
    let y = span(points().map(|point| point.1).chain(chart.level));
    let mut context = ChartBuilder::on(area)
        .caption(&chart.title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(x, y.clone())?;
    context.configure_mesh().x_desc(&chart.x_name).draw()?;
    let shade = RED.mix(0.12).filled();
    let shaded = chart.shaded.iter();
    let shaded = shaded.map(|r| Rectangle::new([(r.start, y.start), (r.end, y.end)], shade));
    context.draw_series(shaded)?;
    for (line, colour) in chart.lines.iter().zip([BLACK, BLUE, GREEN].iter().cycle()) {
        context
            .draw_series(LineSeries::new(thinned(&line.points), colour))?
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
    }
    if let Some(level) = chart.level {
        let ends = points().map(|point| point.0);
        let ends = span(ends);
        context.draw_series(LineSeries::new(
            [(ends.start, level), (ends.end, level)],
            RED,
        ))?;
    }
    context
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .position(SeriesLabelPosition::UpperLeft)
        .draw()?;
    Ok(())
}

/// From the least to the greatest number, never empty.
fn span(values: impl Iterator<Item = f64>) -> Range<f64> {
    let finite = values.filter(|value| value.is_finite());
    let ends = finite.fold(None, |ends: Option<(f64, f64)>, value| {
        Some(ends.map_or((value, value), |(low, high)| {
            (low.min(value), high.max(value))
        }))
    });
    let (low, high) = ends.unwrap_or((0.0, 1.0));
    let room = if high > low {
        (high - low) * 0.03
    } else {
        low.abs().max(1.0) * 0.5
    };
    low - room..high + room
}

/// The line with at most so many points that a peak still shows.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let finite: Vec<(f64, f64)> = points.iter().copied().filter(|p| p.1.is_finite()).collect();
    if finite.len() <= POINTS_MAX {
        return finite;
    }
    let stretch = finite.len().div_ceil(POINTS_MAX / 2);
    let extremes = finite.chunks(stretch).flat_map(|points| {
        let by_height = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let low = points.iter().min_by(by_height);
        let high = points.iter().max_by(by_height);
        let mut both: Vec<(f64, f64)> = low.into_iter().chain(high).copied().collect();
        both.sort_by(|a, b| a.0.total_cmp(&b.0));
        both
    });
    extremes.collect()
}

#[cfg(test)]
mod tests;
