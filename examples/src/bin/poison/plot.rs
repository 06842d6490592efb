//! The summary as a picture: for each partition the accuracy that the worst attack leaves and the success of the best
//! backdoor, over the share of bad participants, a line for each rule.

use examples::plot::{self, Area, colour, drawing};
use plotters::prelude::*;

use crate::partition::Partition;
use crate::report::{Report, Summary};
use crate::vector::count;

/// Size of one panel in pixels.
const PANEL: (u32, u32) = (420, 320);
/// Width of the legend.
const LEGEND: u32 = 190;

/// What a panel shows.
#[derive(Clone, Copy)]
struct Value {
    title: &'static str,
    /// Where the axis begins. What lies below is drawn here.
    floor: f64,
    of: fn(&Summary) -> Option<f64>,
}

const VALUES: [Value; 2] = [
    Value {
        title: "accuracy under the worst attack, .9 and less below",
        floor: 0.9,
        of: |summary| Some(summary.accuracy),
    },
    Value { title: "success of the backdoor", floor: 0.0, of: |summary| summary.backdoor },
];

/// The picture as SVG.
pub(crate) fn svg(report: &Report) -> anyhow::Result<String> {
    let partitions: Vec<Partition> = report.references.iter().map(|reference| reference.partition).collect();
    let rules = rules(&report.summaries);
    let columns = u32::try_from(partitions.len())?;
    let size = (PANEL.0.saturating_mul(columns).saturating_add(LEGEND), PANEL.1.saturating_mul(2));
    plot::svg(size, |root| {
        let (panels, legend) = root.split_horizontally(PANEL.0.saturating_mul(columns));
        for (row, value) in panels.split_evenly((2, 1)).iter().zip(VALUES) {
            for (panel, partition) in row.split_evenly((1, partitions.len())).iter().zip(&partitions) {
                draw(panel, *partition, value, &rules, &report.summaries)?;
            }
        }
        plot::legend(&legend, &rules)
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

fn draw(
    panel: &Area<'_>,
    partition: Partition,
    value: Value,
    rules: &[&str],
    summaries: &[Summary],
) -> anyhow::Result<()> {
    let Value { title, floor, of } = value;
    let mut chart = ChartBuilder::on(panel)
        .caption(format!("{partition}: {title}"), ("sans-serif", 15))
        .margin(8)
        .x_label_area_size(32)
        .y_label_area_size(40)
        .build_cartesian_2d(8.0..32.0, floor..1.0)
        .map_err(drawing)?;
    chart.configure_mesh().disable_mesh().x_desc("bad participants, %").draw().map_err(drawing)?;
    for (place, rule) in rules.iter().enumerate() {
        let of_rule = summaries.iter().filter(|summary| summary.rule == *rule && summary.partition == partition);
        let points: Vec<(f64, f64)> =
            of_rule.filter_map(|summary| Some((count(summary.bad_percent), of(summary)?.max(floor)))).collect();
        let style = colour(place, rules.len()).stroke_width(2);
        chart.draw_series(LineSeries::new(points.clone(), style)).map_err(drawing)?;
        chart.draw_series(points.into_iter().map(|point| Circle::new(point, 3, style.filled()))).map_err(drawing)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn the_picture_names_each_rule_and_has_a_point_for_each_summary() {
        let report = report();
        let svg = svg(&report).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("fltrust") && svg.contains("success of the backdoor"));
        assert_eq!(svg.matches("<circle").count(), 2 * report.summaries.len());
    }
}
