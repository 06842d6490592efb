//! The table of goals as Markdown, which a terminal shows as well as a page does.

use std::fmt;

use serde::Serialize;

use crate::goal::{Figure, Goal, Peer, Row};
use crate::growth::{Growth, Point};
use crate::measure::Figures;

/// What was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) results: Vec<Measured>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) growth: Option<Growth>,
}

/// One figure beside its goal.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    work: &'static str,
    figure: Figure,
    unit: &'static str,
    /// The median.
    measured: f64,
    at_most: f64,
    met: bool,
    peer: Option<String>,
    /// The peer's figure as a multiple of ours.
    peer_ratio: Option<f64>,
}

impl Report {
    /// Sets what was measured of a row's work beside the row's goals.
    pub(crate) fn add(&mut self, row: &Row, figures: &Figures) {
        let value = |goal: &Goal| figures.iter().find(|(figure, _)| *figure == goal.figure).map(|(_, value)| *value);
        let measured = row.goals.iter().filter_map(|goal| Some(Measured::new(row.work, goal, value(goal)?)));
        self.results.extend(measured);
    }

    /// The table, and below it how a round grows.
    pub(crate) fn markdown(&self) -> String {
        let picture = if self.growth.is_some() { "\n![How a round grows](goals.svg)\n" } else { "" };
        format!("# Goals of the federation core\n\n{self}{picture}")
    }
}

impl Measured {
    fn new(work: &'static str, goal: &Goal, measured: f64) -> Self {
        let unit = goal.figure.unit();
        let (peer, peer_ratio) = match goal.peer {
            Peer::Needs(name, figure) => (Some(format!("{name}: {figure} {unit}")), Some(figure / measured)),
            Peer::Fails(how) => (Some(how.to_owned()), None),
            Peer::None => (None, None),
        };
        let met = measured <= goal.at_most;
        Self { work, figure: goal.figure, unit, measured, at_most: goal.at_most, met, peer, peer_ratio }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { work, figure, unit, measured, at_most, .. } = self;
        let digits = if *unit == "s" { 3 } else { 1 };
        let measured = format!("{measured:.digits$} {unit}");
        let goal = format!("≤ {at_most} {unit}");
        let met = if self.met { "met" } else { "missed" };
        let peer = self.peer.as_deref().unwrap_or("-");
        let ratio = self.peer_ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.1} ×"));
        writeln!(f, "| {work:35} | {figure:18} | {measured:>10} | {goal:>9} | {met:6} | {peer:23} | {ratio:>10} |")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [dashes, right] = ["-".repeat(37), format!("{}:", "-".repeat(11))];
        writeln!(
            f,
            "| {:35} | {:18} | {:>10} | {:>9} | {:6} | {:23} | {:>10} |",
            "work", "figure", "measured", "goal", "", "peer, measured once", "peer/ours"
        )?;
        let [figure, goal, met, peer] = [20, 10, 8, 25].map(|width| "-".repeat(width));
        writeln!(f, "|{dashes}|{figure}|{right}|{goal}:|{met}|{peer}|{right}|")?;
        self.results.iter().try_for_each(|measured| measured.fmt(f))?;
        match &self.growth {
            Some(growth) => growth.fmt(f),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n| participants | parameters | seconds a round | coordinator's peak, MB |")?;
        writeln!(f, "|-------------:|-----------:|----------------:|-----------------------:|")?;
        for Point { participants, dim, round_s, coordinator_mb } in
            self.over_participants.iter().chain(&self.over_parameters)
        {
            writeln!(f, "| {participants:>12} | {dim:>10} | {round_s:>15.3} | {coordinator_mb:>22.1} |")?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::goal::ROWS;

    /// Curves of which one grows in proportion and one does not grow.
    pub(crate) fn growth() -> Growth {
        let point = |participants: u32, dim: u32, round_s| Point { participants, dim, round_s, coordinator_mb: 40.0 };
        Growth {
            over_participants: vec![point(10, 100_000, 0.01), point(100, 100_000, 0.1), point(1000, 100_000, 1.0)],
            over_parameters: vec![point(10, 10_000, 0.01), point(10, 10_000_000, 0.8)],
        }
    }

    fn report(seconds: f64) -> Report {
        let figures = [Figure::RoundSeconds, Figure::AggregationCpuSeconds, Figure::CoordinatorMegabytes];
        let mut report = Report::default();
        report.add(&ROWS[0], &figures.map(|figure| (figure, seconds)).to_vec());
        report
    }

    #[test]
    fn a_goal_is_met_up_to_its_limit_and_missed_beyond() {
        let met = |seconds: f64| report(seconds).results.iter().map(|result| result.met).collect::<Vec<_>>();
        assert_eq!(met(0.3), [true, true, true]);
        assert_eq!(met(0.8), [true, false, true]);
        assert_eq!(met(100.5), [false, false, false]);
    }

    #[test]
    fn the_table_shows_figure_goal_and_how_many_times_the_peer_takes() {
        let text = report(0.6).to_string();
        let has = |words: &[&str]| text.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(has(&["100 participants × 1e6", "0.600 s", "≤ 0.8 s", "met", "Flower: 4.8 s", "8.0 ×"]), "{text}");
        assert!(has(&["CPU of aggregation", "≤ 0.3 s", "missed"]), "{text}");
        let widths: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{widths:?}\n{text}");
    }

    #[test]
    fn the_markdown_has_the_curves_only_when_they_were_measured() {
        let mut report = report(0.6);
        assert!(!report.markdown().contains("goals.svg"));
        report.growth = Some(growth());
        let markdown = report.markdown();
        assert!(markdown.contains("](goals.svg)") && markdown.contains("|         1000 |     100000 |"), "{markdown}");
    }
}
