//! Federated averaging, exactly: the sum is an integer sum, so no order of arrival and no rounding can change it.
//!
//! Source: McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks from Decentralized Data",
//! Algorithm 1; the fixed-point sum is ours (promise R2). Refuses whatever could make the sum wrap, and a mean of
//! updates that were not added whole.

use super::AggregateError;
use super::rows::{Element, within};
use crate::ParamVector;
use crate::params::ParamError;

/// Units of the fixed-point grid, on which updates are summed, in 1: 2^32.
const GRID_UNITS: f64 = 4_294_967_296.0;
/// Adding this to a number rounds it to the grid: from 2^20 to 2^21, one unit in the last place of an f64 is 2^-32.
const TO_GRID: f64 = 1.5 * 1_048_576.0;
/// The largest magnitude an update's entry may have.
pub const MAX_MAGNITUDE: f32 = 1024.0;
/// The largest sum of weights: 2^10 · 2^32 · 2^20 = 2^62 < i64::MAX, so that the sum cannot wrap.
pub const MAX_WEIGHT_SUM: u64 = 1 << 20;

/// Entries that exact summation can hold: finite, and of magnitude [`MAX_MAGNITUDE`] at most.
#[derive(Debug, Clone, Copy)]
pub struct InRange<'a, T>(&'a [T]);

impl<'a, T: Element> InRange<'a, T> {
    /// Checks every entry; the first one at fault is named.
    pub fn new(values: &'a [T]) -> Result<Self, AggregateError> {
        let limit = f64::from(MAX_MAGNITUDE);
        if within(values, limit) {
            return Ok(Self(values));
        }
        let beyond = |(_, value): &(usize, &T)| !within(&[**value], limit);
        let (index, value) = values.iter().enumerate().find(beyond).ok_or(AggregateError::Empty)?;
        Err(AggregateError::OutOfRange { index, value: nearest_f32((*value).into()) })
    }
}

/// An update that is being added: what it weighs, where its next values may begin, and where its last ones must end.
#[derive(Debug)]
pub struct Addend {
    weight: i64,
    next: usize,
    end: usize,
}

/// A running weighted sum of updates. Memory: 8 bytes a parameter, however many updates there are.
#[derive(Debug, Clone)]
pub struct FedAvg {
    sums: Vec<i64>,
    weight: u64,
    /// How many addends were begun and not ended.
    open: usize,
}

impl FedAvg {
    /// An empty sum for updates of `len` parameters.
    pub fn new(len: usize) -> Self {
        Self { sums: vec![0; len], weight: 0, open: 0 }
    }

    /// Adds one update. An error leaves the sum as it was.
    pub fn add(&mut self, weight: u32, update: &ParamVector) -> Result<(), AggregateError> {
        if update.len() != self.sums.len() {
            return Err(ParamError::WrongLength { expected: self.sums.len(), found: update.len() }.into());
        }
        let values = InRange::new(update.as_slice())?;
        let mut addend = self.begin(weight)?;
        self.add_run(&mut addend, 0, values)?;
        self.end(&addend)
    }

    /// Begins an update that is added run by run; there is no mean until [`Self::end`].
    pub fn begin(&mut self, weight: u32) -> Result<Addend, AggregateError> {
        let total = self.weight.saturating_add(u64::from(weight));
        if total > MAX_WEIGHT_SUM {
            return Err(AggregateError::TooManyUpdates);
        }
        self.weight = total;
        self.open = self.open.saturating_add(1);
        Ok(Addend { weight: weight.into(), next: 0, end: self.sums.len() })
    }

    /// Adds the next values of an update, the first of them at the parameter `first`. What lies between two runs is zero;
    /// the last run, be it empty, ends where the parameters end. An error leaves the sum as it was.
    pub fn add_run<T: Element>(
        &mut self,
        addend: &mut Addend,
        first: usize,
        values: InRange<'_, T>,
    ) -> Result<(), AggregateError> {
        if first < addend.next {
            return Err(AggregateError::OutOfOrder { expected: addend.next, found: first });
        }
        let InRange(values) = values;
        let (expected, end) = (self.sums.len(), first.saturating_add(values.len()));
        let sums = self.sums.get_mut(first..end).ok_or(ParamError::WrongLength { expected, found: end })?;
        add_weighted(sums, addend.weight, values);
        addend.next = end;
        Ok(())
    }

    /// Ends an update that was added whole; refuses one of which values are missing.
    pub fn end(&mut self, addend: &Addend) -> Result<(), AggregateError> {
        let Addend { next: found, end: expected, .. } = *addend;
        if found != expected {
            return Err(ParamError::WrongLength { expected, found }.into());
        }
        self.open = self.open.saturating_sub(1);
        Ok(())
    }

    /// Begins to take an update back that was not ended: to be added the same runs once more, as many as the update got,
    /// and ended. What was added then leaves no trace.
    pub fn withdraw(&mut self, addend: &Addend) -> Addend {
        self.weight = self.weight.saturating_sub(addend.weight.unsigned_abs());
        Addend { weight: addend.weight.saturating_neg(), next: 0, end: addend.next }
    }

    /// Adds another sum. An error leaves the sum as it was.
    pub fn merge(&mut self, other: &Self) -> Result<(), AggregateError> {
        if other.sums.len() != self.sums.len() {
            return Err(ParamError::WrongLength { expected: self.sums.len(), found: other.sums.len() }.into());
        }
        let total = self.weight.saturating_add(other.weight);
        if total > MAX_WEIGHT_SUM {
            return Err(AggregateError::TooManyUpdates);
        }
        self.weight = total;
        self.open = self.open.saturating_add(other.open);
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, more)| *sum += more);
        Ok(())
    }

    /// The weighted mean of each entry from `start` on, as many as `into` holds, rounded once to the nearest f64.
    pub fn mean_block(&self, start: usize, into: &mut [f64]) -> Result<(), AggregateError> {
        let means = self.means(start, into.len())?;
        into.iter_mut().zip(means).for_each(|(slot, mean)| *slot = mean);
        Ok(())
    }

    /// The weighted mean, each entry rounded to the nearest f32.
    pub fn finish(&self) -> Result<ParamVector, AggregateError> {
        Ok(ParamVector::new(self.means(0, self.sums.len())?.map(nearest_f32).collect())?)
    }

    fn means(&self, start: usize, len: usize) -> Result<impl Iterator<Item = f64>, AggregateError> {
        if self.weight == 0 {
            return Err(AggregateError::Empty);
        }
        if self.open > 0 {
            return Err(AggregateError::Unfinished { open: self.open });
        }
        let (expected, end) = (self.sums.len(), start.saturating_add(len));
        let sums = self.sums.get(start..end).ok_or(ParamError::WrongLength { expected, found: end })?;
        let divisor = weight_to_f64(self.weight) * GRID_UNITS;
        Ok(sums.iter().map(move |sum| sum_to_f64(*sum) / divisor))
    }
}

fn add_weighted<T: Element>(sums: &mut [i64], weight: i64, values: &[T]) {
    let entries = sums.iter_mut().zip(values);
    match weight {
        1 => entries.for_each(|(sum, value)| *sum += to_grid((*value).into())),
        weight => entries.for_each(|(sum, value)| *sum += weight * to_grid((*value).into())),
    }
}

/// The nearest multiple of 2^-32 (ties to even) in units of 2^-32, for any magnitude below 2^19.
#[inline]
fn to_grid(value: f64) -> i64 {
    (value + TO_GRID).to_bits().cast_signed() - TO_GRID.to_bits().cast_signed()
}

#[expect(clippy::as_conversions, reason = "rounds to nearest, which is the one rounding of the mean")]
fn sum_to_f64(sum: i64) -> f64 {
    sum as f64
}

#[expect(clippy::as_conversions, reason = "at most 2^20, exact in f64")]
fn weight_to_f64(weight: u64) -> f64 {
    weight as f64
}

/// The nearest f32.
#[expect(clippy::as_conversions, reason = "rounds to nearest; what is out of range becomes infinite and is refused")]
pub(super) fn nearest_f32(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vector(values: &[f32]) -> ParamVector {
        ParamVector::new(values.to_vec()).unwrap()
    }

    #[expect(clippy::as_conversions, reason = "the plain way to round to the grid")]
    fn rounded(value: f64) -> i64 {
        (value * 2f64.powi(32)).round_ties_even() as i64
    }

    proptest! {
        #[test]
        fn adding_a_constant_rounds_to_the_grid_exactly(value in -1024.0..=1024.0_f64) {
            prop_assert_eq!(to_grid(value), rounded(value));
        }

        #[test]
        fn no_order_grouping_or_blocking_changes_a_bit(
            updates in prop::collection::vec((1..=8_u32, prop::collection::vec(-1024.0..=1024.0_f32, 5)), 1..12),
            split in 0..12_usize,
            cut in 0..=5_usize,
        ) {
            let mut sum = FedAvg::new(5);
            for (weight, update) in &updates {
                sum.add(*weight, &vector(update)).unwrap();
            }
            let (left, right) = updates.split_at(split.min(updates.len()));
            let mut halves = [FedAvg::new(5), FedAvg::new(5)];
            for (half, updates) in halves.iter_mut().zip([left, right]) {
                for (weight, update) in updates.iter().rev() {
                    let mut addend = half.begin(*weight).unwrap();
                    half.add_run(&mut addend, 0, InRange::new(&update[..cut]).unwrap()).unwrap();
                    half.add_run(&mut addend, cut, InRange::new(&update[cut..]).unwrap()).unwrap();
                    half.end(&addend).unwrap();
                }
            }
            let [mut merged, other] = halves;
            merged.merge(&other).unwrap();
            prop_assert_eq!(merged.finish(), sum.finish());
        }
    }

    #[test]
    fn ties_and_the_ends_of_the_range_round_as_the_plain_way_does() {
        let half = 2f64.powi(-33);
        for value in [0.0, -0.0, half, -half, 3.0 * half, -3.0 * half, 1024.0, -1024.0, 1024.0 - half, 5e-324] {
            assert_eq!(to_grid(value), rounded(value), "{value}");
        }
    }

    #[test]
    fn weights_weigh() {
        let mut sum = FedAvg::new(1);
        sum.add(1, &vector(&[1.0])).unwrap();
        sum.add(3, &vector(&[5.0])).unwrap();
        assert_eq!(sum.finish().unwrap(), vector(&[4.0]));
    }

    #[test]
    fn too_large_is_refused_and_leaves_the_sum_alone() {
        let mut sum = FedAvg::new(2);
        sum.add(1, &vector(&[1.0, 2.0])).unwrap();
        assert!(matches!(sum.add(1, &vector(&[0.0, 2000.0])), Err(AggregateError::OutOfRange { index: 1, .. })));
        assert!(matches!(sum.add(1 << 20, &vector(&[0.0, 0.0])), Err(AggregateError::TooManyUpdates)));
        assert!(matches!(sum.add(1, &vector(&[0.0])), Err(AggregateError::Shape(_))));
        assert!(matches!(sum.merge(&FedAvg::new(1)), Err(AggregateError::Shape(_))));
        assert_eq!(sum.finish().unwrap(), vector(&[1.0, 2.0]));
    }

    #[test]
    fn nan_and_infinity_are_out_of_range() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1024.1] {
            assert!(matches!(InRange::new(&[0.0, bad]), Err(AggregateError::OutOfRange { index: 1, .. })), "{bad}");
        }
        assert!(InRange::new(&[1024.0_f32, -1024.0]).is_ok());
    }

    #[test]
    fn there_is_no_mean_while_an_update_is_being_added() {
        let mut sum = FedAvg::new(3);
        let mut addend = sum.begin(1).unwrap();
        sum.add_run(&mut addend, 0, InRange::new(&[1.0_f32]).unwrap()).unwrap();
        assert_eq!(sum.finish(), Err(AggregateError::Unfinished { open: 1 }));
        let twice = sum.add_run(&mut addend, 0, InRange::new(&[1.0_f32]).unwrap());
        assert_eq!(twice, Err(AggregateError::OutOfOrder { expected: 1, found: 0 }));
        let beyond = sum.add_run(&mut addend, 2, InRange::new(&[3.0_f32, 4.0]).unwrap());
        assert!(matches!(beyond, Err(AggregateError::Shape(_))));
        assert!(matches!(sum.end(&addend), Err(AggregateError::Shape(_))), "two values are missing");
        assert_eq!(sum.finish(), Err(AggregateError::Unfinished { open: 1 }));
        sum.add_run(&mut addend, 2, InRange::new(&[3.0_f32]).unwrap()).unwrap();
        sum.end(&addend).unwrap();
        assert_eq!(sum.finish().unwrap(), vector(&[1.0, 0.0, 3.0]));
    }

    proptest! {
        #[test]
        fn what_is_withdrawn_leaves_no_trace(
            kept in prop::collection::vec(-1024.0..=1024.0_f32, 5),
            gone in prop::collection::vec(-1024.0..=1024.0_f32, 5),
            (weight, come) in (1..=8_u32, 0..=5_usize),
        ) {
            let mut sum = FedAvg::new(5);
            let mut addend = sum.begin(weight).unwrap();
            sum.add_run(&mut addend, 0, InRange::new(&gone[..come]).unwrap()).unwrap();
            sum.add(3, &vector(&kept)).unwrap();
            let mut inverse = sum.withdraw(&addend);
            prop_assert!(come == 0 || sum.end(&inverse).is_err(), "it is not taken back yet");
            sum.add_run(&mut inverse, 0, InRange::new(&gone[..come]).unwrap()).unwrap();
            sum.end(&inverse).unwrap();
            let mut alone = FedAvg::new(5);
            alone.add(3, &vector(&kept)).unwrap();
            prop_assert_eq!(sum.finish(), alone.finish());
        }
    }

    #[test]
    fn the_largest_admissible_sum_does_not_wrap() {
        let weight = u32::try_from(MAX_WEIGHT_SUM).unwrap();
        for extreme in [-MAX_MAGNITUDE, MAX_MAGNITUDE] {
            let mut sum = FedAvg::new(1);
            sum.add(weight, &vector(&[extreme])).unwrap();
            assert_eq!(sum.add(1, &vector(&[extreme])), Err(AggregateError::TooManyUpdates));
            let mut full = FedAvg::new(1);
            full.add(1, &vector(&[extreme])).unwrap();
            assert_eq!(full.merge(&sum), Err(AggregateError::TooManyUpdates));
            assert_eq!(sum.finish().unwrap(), vector(&[extreme]));
        }
    }
}
