//! The growth as a picture: seconds of a round and the coordinator's memory, over participants and over parameters, both
//! axes logarithmic, so that what grows in proportion is a line of slope 1.

use examples::plot::{self, Area, colour, drawing};
use plotters::prelude::*;

use crate::growth::{Growth, Point};

/// Size of one panel in pixels.
const PANEL: (u32, u32) = (460, 320);
/// Width of the legend.
const LEGEND: u32 = 190;
const LINES: [&str; 2] = ["measured", "in proportion"];

/// What a panel shows over what.
struct Panel<'a> {
    title: &'static str,
    across: &'static str,
    points: &'a [Point],
    x: fn(&Point) -> f64,
    y: fn(&Point) -> f64,
}

/// The picture as SVG.
pub(crate) fn svg(growth: &Growth) -> anyhow::Result<String> {
    let panels = panels(growth);
    let size = (PANEL.0.saturating_mul(2).saturating_add(LEGEND), PANEL.1.saturating_mul(2));
    plot::svg(size, |root| {
        let (areas, legend) = root.split_horizontally(PANEL.0.saturating_mul(2));
        areas.split_evenly((2, 2)).iter().zip(&panels).try_for_each(|(area, panel)| panel.draw(area))?;
        plot::legend(&legend, &LINES)
    })
}

fn panels(growth: &Growth) -> [Panel<'_>; 4] {
    let seconds = |point: &Point| point.round_s;
    let megabytes = |point: &Point| point.coordinator_mb;
    let participants = |title, y| Panel {
        title,
        across: "participants, 1e5 parameters each",
        points: &growth.over_participants,
        x: |point| f64::from(point.participants),
        y,
    };
    let parameters = |title, y| Panel {
        title,
        across: "parameters, 10 participants",
        points: &growth.over_parameters,
        x: |point| f64::from(point.dim),
        y,
    };
    [
        participants("seconds a round", seconds),
        parameters("seconds a round", seconds),
        participants("coordinator's peak, MB", megabytes),
        parameters("coordinator's peak, MB", megabytes),
    ]
}

impl Panel<'_> {
    fn draw(&self, area: &Area<'_>) -> anyhow::Result<()> {
        let points: Vec<(f64, f64)> = self.points.iter().map(|point| ((self.x)(point), (self.y)(point))).collect();
        let Some(&(last_x, last_y)) = points.last() else { return Ok(()) };
        let first_x = points.first().map_or(last_x, |(x, _)| *x);
        let (low, high) = decades(points.iter().map(|(_, y)| *y));
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, ("sans-serif", 15))
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d((first_x..last_x).log_scale(), (low..high).log_scale())
            .map_err(drawing)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc(self.across)
            .x_label_formatter(&power)
            .y_label_formatter(&power)
            .draw()
            .map_err(drawing)?;
        let [measured, proportional] = [0, 1].map(|place| colour(place, LINES.len()).stroke_width(2));
        // In proportion to the largest: where it ends below the axis, it is cut off there.
        let cut_x = first_x.max(last_x * low / last_y);
        let slope = [(cut_x, last_y * cut_x / last_x), (last_x, last_y)];
        chart.draw_series(LineSeries::new(slope, proportional)).map_err(drawing)?;
        chart.draw_series(LineSeries::new(points.clone(), measured)).map_err(drawing)?;
        chart.draw_series(points.into_iter().map(|point| Circle::new(point, 3, measured.filled()))).map_err(drawing)?;
        Ok(())
    }
}

/// The powers of ten around all of `values`.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), y| (low.min(y), high.max(y)));
    let low = 10f64.powf(low.log10().floor());
    (low, 10f64.powf(high.log10().ceil()).max(10.0 * low))
}

/// A label of a logarithmic axis.
fn power(value: &f64) -> String {
    if (0.01..1e4).contains(value) { format!("{value}") } else { format!("{value:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::growth;

    #[test]
    fn the_picture_has_four_panels_and_every_point_in_two_of_them() {
        let growth = growth();
        let svg = svg(&growth).unwrap();
        assert!(LINES.iter().all(|line| svg.contains(line)) && svg.contains("10 participants"), "{svg}");
        let points = growth.over_participants.len() + growth.over_parameters.len();
        assert_eq!(svg.matches("<circle").count(), 2 * points);
    }

    #[test]
    fn an_axis_reaches_from_one_power_of_ten_to_another() {
        let (low, high) = decades([0.02, 0.5, 3.0].into_iter());
        assert!((low - 0.01).abs() < 1e-12 && (high - 10.0).abs() < 1e-9, "{low} {high}");
        assert_eq!([0.1, 1000.0, 1e7].map(|value| power(&value)), ["0.1", "1000", "1e7"]);
    }
}
