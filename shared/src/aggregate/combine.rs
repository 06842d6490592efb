//! One way from rows to one vector, for every rule: at most one pass over the rows for their products, and one for the
//! result. Holds a block of each row at a time, never whole rows, and gives the same bits for any number of threads.

use std::ops::Range;

use super::blocks::Blocks;
use super::fed_avg::{FedAvg, InRange};
use super::mixing::{Mixing, Weights};
use super::plan::Plan;
use super::root_box::mean_within;
use super::rows::{Element, Rows, checked, piece, pieces};
use super::rule::{Aggregation, Rule};
use super::sorting::{LANES, Lanes, Network};
use super::{AggregateError, RowMeta};

/// What decides how a round's rows become one vector. Nothing else does.
#[derive(Debug, Clone, Copy)]
pub struct Combination<'a> {
    /// The rule and the steps before it. The server's step is not part of this.
    pub aggregation: &'a Aggregation,
    /// Whose each row is, in the order of the rows.
    pub meta: &'a [RowMeta],
    /// Seeds the shuffle of [`super::PreStep::Bucketing`]; to be fixed by what no participant can foresee.
    pub seed: u64,
    /// How many threads may work; changes no bit of the result.
    pub threads: usize,
}

impl Combination<'_> {
    /// Combines `rows`; blocks of the result go to `sink` in order, each with the index of its first entry.
    ///
    /// There is a row for each of `meta`. For [`Rule::CenteredClipping`] one more may follow: the vector that the last
    /// round's rows were combined to. Memory: some blocks of each row, the square of the number of rows,
    /// and for [`Rule::RootBox`] a vector of f64.
    pub fn run<R: Rows>(
        &self,
        rows: &R,
        sink: impl FnMut(usize, &[f64]) -> Result<(), AggregateError>,
    ) -> Result<(), AggregateError> {
        self.check(rows)?;
        if self.aggregation.rule == Rule::Mean {
            return self.mean(rows, sink);
        }
        match self.plan(rows)? {
            Plan::Sum(weights) => self.sum(rows, &weights, sink),
            Plan::Columns(mixing, statistic) => {
                let network = Network::new(mixing.len());
                self.columns(rows, &mixing, sink, |mixed| {
                    network.sort(mixed);
                    statistic.of(mixed)
                })
            }
            Plan::Boxed { mixing, length } => self.boxed(rows, &mixing, length, sink),
        }
    }

    /// Combines `rows` to a vector in memory.
    pub fn to_vec<R: Rows>(&self, rows: &R) -> Result<Vec<f64>, AggregateError> {
        collect(rows, |sink| self.run(rows, sink))
    }

    /// The rows that the steps before the rule make of `rows`, in memory.
    pub fn mixed_rows<R: Rows>(&self, rows: &R) -> Result<Vec<Vec<f64>>, AggregateError> {
        self.check(rows)?;
        let mixing = self.mixing(rows)?;
        mixing.rows().map(|weights| collect(rows, |sink| self.sum(rows, weights, sink))).collect()
    }

    fn check<R: Rows>(&self, rows: &R) -> Result<(), AggregateError> {
        let (expected, found) = (self.meta.len(), rows.count());
        let with_previous = matches!(self.aggregation.rule, Rule::CenteredClipping { .. });
        if expected == 0 {
            return Err(AggregateError::Empty);
        }
        if found != expected && !(with_previous && found == expected.saturating_add(1)) {
            return Err(AggregateError::RowMismatch { expected, found });
        }
        if self.aggregation.rule.weighs() && self.meta.iter().all(|row| row.weight == 0) {
            return Err(AggregateError::Empty);
        }
        let steps_count = |row: &RowMeta| row.local_steps.is_finite() && row.local_steps > 0.0;
        match self.meta.iter().position(|row| !steps_count(row)) {
            Some(row) if self.aggregation.rule == Rule::FedNova => Err(AggregateError::NoLocalSteps { row }),
            _ => Ok(()),
        }
    }

    /// The exact mean, block by block.
    fn mean<R: Rows>(&self, rows: &R, sink: impl FnMut(usize, &[f64]) -> Result<(), AggregateError>) -> Done {
        self.aggregation.check(rows.count())?;
        self.pass(rows, 1, sink, |scratch, range| {
            let mut sum = FedAvg::new(range.len());
            scratch.resize(range.len(), R::Element::default());
            for (row, meta) in self.meta.iter().enumerate() {
                let values = InRange::new(piece(rows, row, range.start, scratch)?)?;
                let mut addend = sum.begin(meta.weight)?;
                sum.add_run(&mut addend, 0, values)?;
                sum.end(&addend)?;
            }
            let mut means = vec![0.0; range.len()];
            sum.mean_block(0, &mut means)?;
            Ok(means)
        })
    }

    fn sum<R: Rows>(
        &self,
        rows: &R,
        weights: &Weights,
        sink: impl FnMut(usize, &[f64]) -> Result<(), AggregateError>,
    ) -> Done {
        self.pass(rows, 1, sink, |scratch, range| {
            let mut sums = vec![0.0; range.len()];
            scratch.resize(range.len(), R::Element::default());
            for (row, weight) in weights.iter() {
                let entries = checked(rows, row, range.start, scratch)?;
                sums.iter_mut().zip(entries).for_each(|(sum, entry)| *sum += weight * (*entry).into());
            }
            Ok(sums)
        })
    }

    fn columns<R: Rows>(
        &self,
        rows: &R,
        mixing: &Mixing,
        sink: impl FnMut(usize, &[f64]) -> Result<(), AggregateError>,
        reduce: impl Fn(&mut [Lanes]) -> Lanes + Sync,
    ) -> Done {
        self.pass(rows, rows.count(), sink, |scratch, range| {
            let pieces = pieces(rows, &range, scratch)?;
            let mut results = vec![0.0; range.len()];
            for (strip, results) in results.chunks_mut(LANES).enumerate() {
                let staged: Vec<Lanes> = pieces.iter().map(|row| stage(row, strip.saturating_mul(LANES))).collect();
                let mut mixed: Vec<Lanes> = mixing.rows().map(|weights| mix(weights, &staged)).collect();
                results.copy_from_slice(reduce(&mut mixed).get(..results.len()).unwrap_or_default());
            }
            Ok(results)
        })
    }

    /// The means wait in memory until their length is known.
    fn boxed<R: Rows>(
        &self,
        rows: &R,
        mixing: &Mixing,
        length: f64,
        mut sink: impl FnMut(usize, &[f64]) -> Result<(), AggregateError>,
    ) -> Done {
        let mut means = collect(rows, |sink| self.columns(rows, mixing, sink, |mixed| mean_within(mixed)))?;
        let square: f64 = means.iter().map(|mean| mean * mean).sum();
        let factor = if square > 0.0 { length / square.sqrt() } else { 0.0 };
        means.iter_mut().for_each(|mean| *mean *= factor);
        sink(0, &means)
    }

    /// One pass over the blocks of a row, for work that holds a block of each of `held` rows.
    fn pass<R: Rows>(
        &self,
        rows: &R,
        held: usize,
        mut sink: impl FnMut(usize, &[f64]) -> Result<(), AggregateError>,
        work: impl Fn(&mut Vec<R::Element>, Range<usize>) -> Result<Vec<f64>, AggregateError> + Sync,
    ) -> Done {
        let worker = || {
            let (mut scratch, work) = (Vec::new(), &work);
            move |range| work(&mut scratch, range)
        };
        let take = |range: Range<usize>, block: Vec<f64>| sink(range.start, &block);
        Blocks::new(rows.dimension(), held).for_each(self.threads, worker, take)
    }
}

/// A pass that is over.
type Done = Result<(), AggregateError>;

fn collect<R: Rows>(
    rows: &R,
    run: impl FnOnce(&mut dyn FnMut(usize, &[f64]) -> Done) -> Done,
) -> Result<Vec<f64>, AggregateError> {
    let mut whole = Vec::with_capacity(rows.dimension());
    run(&mut |_, block| {
        whole.extend_from_slice(block);
        Ok(())
    })?;
    Ok(whole)
}

/// `LANES` entries of a row from `start` on, zeros beyond its end.
fn stage<T: Element>(row: &[T], start: usize) -> Lanes {
    let mut lanes = Lanes::default();
    let entries = row.get(start..).unwrap_or_default();
    lanes.iter_mut().zip(entries).for_each(|(lane, entry)| *lane = (*entry).into());
    lanes
}

fn mix(weights: &Weights, rows: &[Lanes]) -> Lanes {
    let mut sums = Lanes::default();
    for (row, weight) in weights.iter() {
        let entries = rows.get(row).into_iter().flatten();
        sums.iter_mut().zip(entries).for_each(|(sum, entry)| *sum += weight * entry);
    }
    sums
}
