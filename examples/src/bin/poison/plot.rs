//! The summary as a picture: for each partition, a row of dots for each rule, one for each share of bad participants, and
//! lines where the goal lies and where the mean lies without an attack.

use std::ops::Range;

use examples::plot::{self, Area, drawing};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::{BACKDOOR, Reference, Report, Summary};
use crate::vector::count;

/// Width of a panel in pixels.
const PANEL_WIDTH: u32 = 300;
/// Height of a panel without its rows, and of one row.
const PANEL_FRAME: u32 = 70;
const ROW: u32 = 20;
/// Width of the rules' names.
const NAMES: u32 = 140;
/// Height of the legend.
const LEGEND: u32 = 36;
/// Shares of bad participants, in percent, and their colours.
const SHARES: [(usize, RGBColor); 3] =
    [(10, RGBColor(125, 180, 220)), (20, RGBColor(25, 85, 150)), (30, RGBColor(215, 95, 0))];
/// The rules' rows, what is behind them, and the line of the mean without an attack.
const GUIDE: RGBColor = RGBColor(225, 225, 225);
const CLEAN: RGBColor = RGBColor(60, 160, 60);
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// What a panel shows.
struct Value {
    title: &'static str,
    /// The axis. What lies below it is drawn at its beginning.
    axis: Range<f64>,
    of: fn(&Summary) -> Option<f64>,
    clean: fn(&Reference) -> f64,
    goal: fn(&Reference) -> f64,
}

fn values() -> [Value; 2] {
    [
        Value {
            title: "accuracy under the worst attack",
            axis: 0.9..1.0,
            of: |summary| Some(summary.accuracy),
            clean: |reference| reference.clean,
            goal: Reference::required,
        },
        Value {
            title: "success of the best backdoor",
            axis: 0.0..1.0,
            of: |summary| summary.backdoor,
            clean: |reference| reference.clean_backdoor,
            goal: |_| BACKDOOR,
        },
    ]
}

/// The picture as SVG.
pub(crate) fn svg(report: &Report) -> anyhow::Result<String> {
    let rules = rules(&report.summaries);
    let columns = u32::try_from(report.references.len())?;
    let panel_height = u32::try_from(rules.len())?.saturating_mul(ROW).saturating_add(PANEL_FRAME);
    let size = (
        PANEL_WIDTH.saturating_mul(columns).saturating_add(NAMES),
        panel_height.saturating_mul(2).saturating_add(LEGEND),
    );
    plot::svg(size, |root| {
        let (legend, bands) = root.split_vertically(LEGEND);
        draw_legend(&legend)?;
        for (band, value) in bands.split_evenly((2, 1)).iter().zip(values()) {
            let (names, panels) = band.split_horizontally(NAMES);
            draw_names(&names, &rules)?;
            for (panel, reference) in panels.split_evenly((1, report.references.len())).iter().zip(&report.references) {
                draw_panel(panel, reference, &value, &rules, &report.summaries)?;
            }
        }
        Ok(())
    })
}

/// The rules in the order in which they were compared, each once.
fn rules(summaries: &[Summary]) -> Vec<&'static str> {
    let mut rules: Vec<&'static str> = Vec::new();
    for summary in summaries {
        if !rules.contains(&summary.rule) {
            rules.push(summary.rule);
        }
    }
    rules
}

/// A chart with a row for each rule, the first on top.
fn frame<'a, 'b>(area: &'a Area<'b>, title: &str, axis: Range<f64>, rules: usize) -> anyhow::Result<Chart<'a, 'b>> {
    ChartBuilder::on(area)
        .caption(title, ("sans-serif", 14))
        .margin_top(4)
        .margin_left(20)
        .margin_right(16)
        .x_label_area_size(28)
        .build_cartesian_2d(axis, count(rules)..0.0)
        .map_err(drawing)
}

fn draw_names(area: &Area<'_>, rules: &[&'static str]) -> anyhow::Result<()> {
    let mut chart = frame(area, " ", 0.0..1.0, rules.len())?;
    let style = TextStyle::from(("sans-serif", 13)).pos(Pos::new(HPos::Right, VPos::Center));
    let names = rules.iter().enumerate().map(|(row, rule)| Text::new(*rule, (1.1, middle(row)), style.clone()));
    chart.draw_series(names).map_err(drawing)?;
    Ok(())
}

fn draw_panel(
    area: &Area<'_>,
    reference: &Reference,
    value: &Value,
    rules: &[&str],
    summaries: &[Summary],
) -> anyhow::Result<()> {
    let Range { start, end } = value.axis;
    let bottom = count(rules.len());
    let mut chart = frame(area, &format!("{}: {}", reference.partition, value.title), start..end, rules.len())?;
    let label = |at: &f64| if *at <= start && start > 0.0 { format!("≤ {at:.2}") } else { format!("{at:.2}") };
    let mut mesh = chart.configure_mesh();
    mesh.disable_mesh().disable_y_axis().x_labels(6).x_label_formatter(&label).draw().map_err(drawing)?;
    let guides = (0..rules.len()).map(|row| PathElement::new([(start, middle(row)), (end, middle(row))], GUIDE));
    chart.draw_series(guides).map_err(drawing)?;
    let upright = |at: f64| [(at, 0.0), (at, bottom)];
    chart.draw_series(LineSeries::new(upright((value.clean)(reference)), CLEAN)).map_err(drawing)?;
    let goal = DashedLineSeries::new(upright((value.goal)(reference)), 4, 3, BLACK.stroke_width(1));
    chart.draw_series(goal).map_err(drawing)?;
    let dots = summaries.iter().filter(|summary| summary.partition == reference.partition).filter_map(|summary| {
        let row = rules.iter().position(|rule| *rule == summary.rule)?;
        let (offset, colour) = share(summary.bad_percent)?;
        let at = (value.of)(summary)?.clamp(start, end);
        Some(Circle::new((at, middle(row) + offset), 3, colour.filled()))
    });
    chart.draw_series(dots).map_err(drawing)?;
    Ok(())
}

/// Where the row of rule number `row` lies.
fn middle(row: usize) -> f64 {
    count(row) + 0.5
}

/// How far from the middle of a row a share's dots lie, so that none hides another, and their colour.
fn share(percent: usize) -> Option<(f64, RGBColor)> {
    let mut offsets = [-0.2, 0.0, 0.2].into_iter().zip(SHARES);
    offsets.find(|(_, (share, _))| *share == percent).map(|(offset, (_, colour))| (offset, colour))
}

fn draw_legend(area: &Area<'_>) -> anyhow::Result<()> {
    let mut chart = ChartBuilder::on(area)
        .margin_left(20)
        .build_cartesian_2d(0.0..f64::from(area.dim_in_pixel().0), 0.0..1.0)
        .map_err(drawing)?;
    let style = TextStyle::from(("sans-serif", 13)).pos(Pos::new(HPos::Left, VPos::Center));
    let word = |text: String, at: f64| Text::new(text, (at + 9.0, 0.5), style.clone());
    let upright = |at: f64| [(at, 0.2), (at, 0.8)];
    let mut at = 0.0;
    for (percent, colour) in SHARES {
        chart.draw_series([Circle::new((at, 0.5), 4, colour.filled())]).map_err(drawing)?;
        chart.draw_series([word(format!("{percent} % bad"), at)]).map_err(drawing)?;
        at += 78.0;
    }
    chart.draw_series(LineSeries::new(upright(at), CLEAN)).map_err(drawing)?;
    chart.draw_series([word("mean of all, no attack".to_owned(), at)]).map_err(drawing)?;
    at += 155.0;
    chart.draw_series(DashedLineSeries::new(upright(at), 4, 3, BLACK.stroke_width(1))).map_err(drawing)?;
    chart.draw_series([word("goal".to_owned(), at)]).map_err(drawing)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn the_picture_names_each_rule_and_has_a_dot_for_each_summary() {
        let report = report();
        let svg = svg(&report).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("fltrust") && svg.contains("success of the best backdoor"));
        let legend = SHARES.len();
        assert_eq!(svg.matches("<circle").count(), 2 * report.summaries.len() + legend);
    }
}
