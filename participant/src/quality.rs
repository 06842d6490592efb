//! How well scores tell attacks from ordinary events: the figures by which a model is judged.
//!
//! Pure functions of (score, truth). Nothing here chooses a threshold for service: an operating point found on a set
//! is a statement about that same set.

use std::collections::BTreeMap;

/// False-positive rate at which recall is reported per scenario.
pub const SCENARIO_FPR: f64 = 1e-2;

/// One event's score and its ground truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored<'a> {
    /// Any number that is higher for likelier attacks: a logit keeps more order than a saturated probability.
    pub score: f32,
    /// Whether the event is part of an attack.
    pub attack: bool,
    /// The attack's kind; not read where `attack` is false.
    pub scenario: &'a str,
}

/// What a threshold on the score achieves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OperatingPoint {
    /// Events at or above it are called attacks; infinite where no finite threshold keeps the false positives low.
    pub threshold: f32,
    /// Share of the attacks found.
    pub true_positive_rate: f64,
    /// Share of the ordinary events called attacks.
    pub false_positive_rate: f64,
}

/// The receiver operating characteristic of a scored set: counts at every distinct score, highest first.
#[derive(Debug, Clone)]
pub struct Curve {
    points: Vec<Point>,
    end: Point,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    threshold: f32,
    true_positives: u32,
    false_positives: u32,
}

impl Point {
    const START: Self = Self { threshold: f32::INFINITY, true_positives: 0, false_positives: 0 };
}

impl Curve {
    /// The curve of `scored`; `None` where attacks or ordinary events are missing, since no rate is defined then.
    pub fn new(scored: &[Scored<'_>]) -> Option<Self> {
        let mut order: Vec<&Scored<'_>> = scored.iter().collect();
        order.sort_by(|left, right| right.score.total_cmp(&left.score));
        let mut points = Vec::new();
        let mut end = Point::START;
        for group in order.chunk_by(|left, right| left.score == right.score) {
            let attacks = count(group.iter().filter(|event| event.attack));
            end.threshold = group.first().map_or(end.threshold, |event| event.score);
            end.true_positives += attacks;
            end.false_positives += count(group.iter()) - attacks;
            points.push(end);
        }
        (end.true_positives > 0 && end.false_positives > 0).then_some(Self { points, end })
    }

    /// Area under the curve: the chance that an attack scores above an ordinary event, ties counting one half.
    pub fn auc(&self) -> f64 {
        self.steps().map(|(from, to)| (self.fpr(to) - self.fpr(from)) * (self.tpr(from) + self.tpr(to)) / 2.0).sum()
    }

    /// Average precision (AUPRC): precision at each distinct score, weighted by the recall gained there, without
    /// interpolation (as scikit-learn's `average_precision_score`).
    pub fn average_precision(&self) -> f64 {
        self.steps().map(|(from, to)| (self.tpr(to) - self.tpr(from)) * precision(to)).sum()
    }

    /// The lowest threshold whose false-positive rate is at most `max_fpr`.
    pub fn operating_point(&self, max_fpr: f64) -> OperatingPoint {
        let point = self.points.iter().take_while(|point| self.fpr(**point) <= max_fpr).last();
        let point = point.copied().unwrap_or(Point::START);
        OperatingPoint {
            threshold: point.threshold,
            true_positive_rate: self.tpr(point),
            false_positive_rate: self.fpr(point),
        }
    }

    fn steps(&self) -> impl Iterator<Item = (Point, Point)> {
        std::iter::once(Point::START).chain(self.points.iter().copied()).zip(self.points.iter().copied())
    }

    fn tpr(&self, point: Point) -> f64 {
        f64::from(point.true_positives) / f64::from(self.end.true_positives)
    }

    fn fpr(&self, point: Point) -> f64 {
        f64::from(point.false_positives) / f64::from(self.end.false_positives)
    }
}

fn precision(point: Point) -> f64 {
    f64::from(point.true_positives) / f64::from(point.true_positives + point.false_positives)
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    items.fold(0, |count, _| count + 1)
}

/// Share of each scenario's attack events at or above `threshold`.
pub fn scenario_recall(scored: &[Scored<'_>], threshold: f32) -> BTreeMap<String, f64> {
    let mut tallies: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for event in scored.iter().filter(|event| event.attack) {
        let (found, all) = tallies.entry(event.scenario).or_default();
        *all += 1;
        *found += u32::from(event.score >= threshold);
    }
    tallies.into_iter().map(|(name, (found, all))| (name.to_owned(), f64::from(found) / f64::from(all))).collect()
}

/// The figures of one scored set.
#[derive(Debug, Clone, PartialEq)]
pub struct Quality {
    /// Area under the receiver operating characteristic.
    pub auc: f64,
    /// Average precision.
    pub auprc: f64,
    /// True-positive rate at a false-positive rate of at most 1e-3.
    pub tpr_fpr_1e3: f64,
    /// True-positive rate at a false-positive rate of at most 1e-2.
    pub tpr_fpr_1e2: f64,
    /// Recall per scenario at [`SCENARIO_FPR`].
    pub scenario_recall: BTreeMap<String, f64>,
}

impl Quality {
    /// Measures a scored set, its thresholds chosen on that set; `None` where either class is missing.
    pub fn measure(scored: &[Scored<'_>]) -> Option<Self> {
        let curve = Curve::new(scored)?;
        Some(Self {
            auc: curve.auc(),
            auprc: curve.average_precision(),
            tpr_fpr_1e3: curve.operating_point(1e-3).true_positive_rate,
            tpr_fpr_1e2: curve.operating_point(1e-2).true_positive_rate,
            scenario_recall: scenario_recall(scored, curve.operating_point(SCENARIO_FPR).threshold),
        })
    }

    /// The plain mean of the scenarios' recalls, so that a rare kind weighs as much as a loud one.
    pub fn macro_scenario_recall(&self) -> f64 {
        self.scenario_recall.values().sum::<f64>() / f64::from(count(self.scenario_recall.values()))
    }

    /// The mean of several sets' figures; a scenario's over the sets that saw it. `None` of no set.
    pub fn mean(sets: &[Self]) -> Option<Self> {
        let of = |figure: fn(&Self) -> f64| mean(sets.iter().map(figure));
        let mut recalls: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (name, recall) in sets.iter().flat_map(|set| &set.scenario_recall) {
            recalls.entry(name).or_default().push(*recall);
        }
        Some(Self {
            auc: of(|set| set.auc)?,
            auprc: of(|set| set.auprc)?,
            tpr_fpr_1e3: of(|set| set.tpr_fpr_1e3)?,
            tpr_fpr_1e2: of(|set| set.tpr_fpr_1e2)?,
            scenario_recall: recalls
                .into_iter()
                .filter_map(|(name, recalls)| Some((name.to_owned(), mean(recalls.into_iter())?)))
                .collect(),
        })
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, all) = values.fold((0.0, 0_u32), |(sum, all), value| (sum + value, all + 1));
    (all > 0).then(|| sum / f64::from(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(score: f32, scenario: &str) -> Scored<'_> {
        Scored { score, attack: !scenario.is_empty(), scenario }
    }

    /// Scores 4 and 2 are attacks, 3 and 1 are not.
    fn interleaved() -> Vec<Scored<'static>> {
        vec![event(1.0, ""), event(4.0, "dump"), event(3.0, ""), event(2.0, "scrape")]
    }

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-12
    }

    #[test]
    fn auc_counts_the_pairs_in_right_order() {
        // Pairs (4,3) (4,1) (2,1) are in order, (2,3) is not.
        assert!(close(Curve::new(&interleaved()).unwrap().auc(), 0.75));
    }

    #[test]
    fn a_tie_counts_one_half() {
        let tied = [event(1.0, "dump"), event(1.0, ""), event(1.0, ""), event(2.0, "dump")];
        // The attack at 2 beats both (2), the one at 1 ties with both (2 · ½), of 4 pairs.
        assert!(close(Curve::new(&tied).unwrap().auc(), 0.75));
        let all_equal = [event(5.0, "dump"), event(5.0, "")];
        assert!(close(Curve::new(&all_equal).unwrap().auc(), 0.5));
    }

    #[test]
    fn average_precision_weighs_precision_by_recall_gained() {
        // Recall ½ at precision 1, the other ½ at precision ⅔.
        assert!(close(Curve::new(&interleaved()).unwrap().average_precision(), 0.5 + 0.5 * 2.0 / 3.0));
        // One group of two: precision ½ for all the recall, in whichever order the two stand.
        for pair in [[event(5.0, "dump"), event(5.0, "")], [event(5.0, ""), event(5.0, "dump")]] {
            assert!(close(Curve::new(&pair).unwrap().average_precision(), 0.5));
        }
    }

    #[test]
    fn the_operating_point_never_exceeds_its_false_positive_rate() {
        let curve = Curve::new(&interleaved()).unwrap();
        let strict = curve.operating_point(0.49);
        assert_eq!((strict.threshold, strict.true_positive_rate, strict.false_positive_rate), (4.0, 0.5, 0.0));
        let wide = curve.operating_point(0.5);
        assert_eq!((wide.threshold, wide.true_positive_rate, wide.false_positive_rate), (2.0, 1.0, 0.5));
    }

    #[test]
    fn a_tie_with_an_ordinary_event_at_the_top_finds_nothing() {
        let curve = Curve::new(&[event(5.0, "dump"), event(5.0, ""), event(1.0, "")]).unwrap();
        let point = curve.operating_point(0.1);
        assert_eq!((point.threshold, point.true_positive_rate), (f32::INFINITY, 0.0));
    }

    #[test]
    fn rare_scenarios_weigh_as_much_as_loud_ones() {
        let mut scored = vec![event(0.0, ""), event(9.0, "dump"), event(-1.0, "scrape")];
        scored.extend([event(9.0, "dump"); 8]);
        let quality = Quality::measure(&scored).unwrap();
        assert_eq!(quality.scenario_recall, [("dump".to_owned(), 1.0), ("scrape".to_owned(), 0.0)].into());
        assert!(close(quality.macro_scenario_recall(), 0.5));
        assert!(close(quality.tpr_fpr_1e2, 0.9));
    }

    #[test]
    fn a_scenario_that_one_site_never_saw_is_averaged_over_the_others() {
        let seen = Quality::measure(&[event(0.0, ""), event(1.0, "dump")]).unwrap();
        let other = Quality::measure(&[event(0.0, ""), event(1.0, "scrape"), event(-1.0, "dump")]).unwrap();
        let mean = Quality::mean(&[seen, other]).unwrap();
        assert_eq!(mean.scenario_recall, [("dump".to_owned(), 0.5), ("scrape".to_owned(), 1.0)].into());
        assert!(close(mean.auc, 0.75));
        assert!(Quality::mean(&[]).is_none());
    }

    #[test]
    fn a_set_without_attacks_or_without_ordinary_events_has_no_figures() {
        assert!(Curve::new(&[event(1.0, "")]).is_none());
        assert!(Curve::new(&[event(1.0, "dump")]).is_none());
        assert!(Quality::measure(&[]).is_none());
    }
}
