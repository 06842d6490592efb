//! What a round's rows have to be combined to, found from their products: a weighted sum of the rows, or a statistic of
//! each coordinate of rows that are mixed first.

use super::columns::Statistic;
use super::gram::{Gram, Products};
use super::krum::Krum;
use super::linear;
use super::mixing::{Mixing, Weights};
use super::root_box;
use super::rows::Rows;
use super::rule::{PreStep, Rule, widen};
use super::{AggregateError, Combination};

/// What remains to be done with the rows' entries.
#[derive(Debug)]
pub(super) enum Plan {
    /// Weigh the rows and sum them.
    Sum(Weights),
    /// Mix the rows, and take a statistic of each coordinate.
    Columns(Mixing, Statistic),
    /// Mix the rows, take each coordinate's mean within the box of the last one, and scale the whole.
    Boxed {
        /// How the rows are mixed.
        mixing: Mixing,
        /// How long the result is.
        length: f64,
    },
}

/// The rows that a rule sees.
#[derive(Debug)]
struct Mixed {
    /// How they are made of the rows that were given.
    mixing: Mixing,
    /// Their products, and those of the anchor, which stands after them.
    gram: Gram,
    /// How many there are, the anchor not counted.
    count: usize,
}

impl Combination<'_> {
    /// Makes the plan, in at most one pass over the rows.
    pub(super) fn plan<R: Rows>(&self, rows: &R) -> Result<Plan, AggregateError> {
        let mixed = self.mix(rows)?;
        Ok(self.plan_rule(mixed))
    }

    /// The map that the pre-steps make of the rows.
    pub(super) fn mixing<R: Rows>(&self, rows: &R) -> Result<Mixing, AggregateError> {
        Ok(self.mix(rows)?.mixing)
    }

    fn mix<R: Rows>(&self, rows: &R) -> Result<Mixed, AggregateError> {
        let root = self.root()?;
        let previous = (rows.count() > self.meta.len()).then_some(self.meta.len());
        let clients: Vec<usize> = (0..self.meta.len()).filter(|row| Some(*row) != root).collect();
        let anchor = root.or(previous);
        let mut count = clients.len();
        self.aggregation.check(count)?;
        let mut mixing = Mixing::selection(clients.into_iter().chain(anchor));
        let mut gram = Gram::of(rows, self.products(root), self.threads)?.mixed(&mixing);
        for step in &self.aggregation.pre {
            let mut next = step.mixing(&gram, count, self.seed);
            let passed = count;
            count = next.len();
            anchor.iter().for_each(|_| next.push(passed));
            gram = gram.mixed(&next);
            mixing = mixing.then(&next);
        }
        Ok(Mixed { mixing, gram, count })
    }

    /// Which row is the one that the rule trusts.
    fn root(&self) -> Result<Option<usize>, AggregateError> {
        let Some(root) = self.aggregation.rule.root() else { return Ok(None) };
        let position = self.meta.iter().position(|row| row.participant_id == *root);
        position.map(Some).ok_or_else(|| AggregateError::RootMissing { root: root.clone() })
    }

    /// Which products of the rows the pre-steps and the rule look at.
    fn products(&self, root: Option<usize>) -> Products {
        let pre = &self.aggregation.pre;
        let mixes = |step: &PreStep| matches!(step, PreStep::NearestNeighbourMixing { .. });
        let scales = |step: &PreStep| matches!(step, PreStep::AdaptiveClipping { .. });
        let of_each = Products::OfEach { with: root };
        let by_rule = match &self.aggregation.rule {
            Rule::Mean | Rule::FedNova | Rule::CoordinateMedian => Products::None,
            Rule::TrimmedMean { .. } | Rule::MeanAroundMedian { .. } => Products::None,
            Rule::FlTrust { .. } | Rule::RootBox { .. } | Rule::NormBound { .. } => of_each,
            Rule::Krum { .. } | Rule::MultiKrum { .. } | Rule::Bulyan { .. } => Products::All,
            Rule::GeometricMedian { .. } | Rule::CenteredClipping { .. } => Products::All,
        };
        let sums = pre.iter().any(|step| !scales(step));
        let looks = by_rule != Products::None || pre.iter().any(scales);
        match (pre.iter().any(mixes) || (sums && looks), by_rule) {
            (true, _) => Products::All,
            (false, Products::None) if looks => of_each,
            (false, by_rule) => by_rule,
        }
    }

    fn plan_rule(&self, Mixed { mixing, gram, count }: Mixed) -> Plan {
        let honest = |byzantine: &u32| count.saturating_sub(widen(*byzantine));
        let krum = |byzantine: &u32| Krum::new(&gram, count, widen(*byzantine));
        let sum = |weights: &Weights| Plan::Sum(mixing.combine(weights));
        let dense = |weights: Vec<f64>| sum(&Weights::dense(weights));
        let rows = || mixing.then(&Mixing::selection(0..count));
        match &self.aggregation.rule {
            Rule::Mean | Rule::FedNova => dense(linear::normalised_by_steps(self.meta)),
            Rule::NormBound { max_norm } => dense(linear::norm_bounded(&gram, self.meta, *max_norm)),
            Rule::CoordinateMedian => Plan::Columns(rows(), Statistic::Median),
            Rule::TrimmedMean { byzantine } => {
                Plan::Columns(rows(), Statistic::TrimmedMean { trim: widen(*byzantine) })
            }
            Rule::MeanAroundMedian { byzantine } => {
                Plan::Columns(rows(), Statistic::MeanAroundMedian { keep: honest(byzantine) })
            }
            Rule::Krum { byzantine } => sum(&Weights::mean_of(krum(byzantine).best(1))),
            Rule::MultiKrum { byzantine, keep } => {
                let keep = keep.map_or_else(|| honest(byzantine), widen);
                sum(&Weights::mean_of(krum(byzantine).best(keep)))
            }
            Rule::Bulyan { byzantine } => {
                let trim = widen(*byzantine).saturating_mul(2);
                let chosen = krum(byzantine).best_one_by_one(count.saturating_sub(trim));
                let keep = chosen.len().saturating_sub(trim);
                Plan::Columns(mixing.then(&Mixing::selection(chosen)), Statistic::MeanAroundMedian { keep })
            }
            Rule::GeometricMedian { smoothing, iterations } => {
                dense(linear::geometric_median(&gram, *smoothing, *iterations))
            }
            Rule::CenteredClipping { radius, iterations } => {
                dense(linear::centered_clipping(&gram, count, *radius, *iterations))
            }
            Rule::RootBox { .. } => {
                Plan::Boxed { mixing: mixing.then(&root_box::of_its_length(&gram, count)), length: gram.norm(count) }
            }
            Rule::FlTrust { keep_upper_half, .. } => dense(linear::trusted(&gram, count, *keep_upper_half)),
        }
    }
}
