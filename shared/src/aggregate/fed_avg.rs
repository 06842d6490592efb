//! Federated averaging, exactly: the sum is an integer sum, so no order of arrival and no rounding can change it.
//!
//! Source: McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks from Decentralized Data",
//! Algorithm 1; the fixed-point sum is ours (promise R2).

use super::AggregateError;
use crate::ParamVector;
use crate::params::ParamError;

/// Fractional bits of the fixed-point grid on which updates are summed.
const FRACTION_BITS: u32 = 32;
/// The largest magnitude an update's entry may have.
pub const MAX_MAGNITUDE: f32 = 1024.0;
/// The largest sum of weights: 2^10 · 2^32 · 2^20 = 2^62 < i64::MAX, so that the sum cannot wrap.
pub const MAX_WEIGHT_SUM: u64 = 1 << 20;

/// A running weighted sum of updates. Memory: 8 bytes a parameter, however many updates there are.
#[derive(Debug, Clone)]
pub struct FedAvg {
    sums: Vec<i64>,
    weight: u64,
}

impl FedAvg {
    /// An empty sum for updates of `len` parameters.
    pub fn new(len: usize) -> Self {
        Self { sums: vec![0; len], weight: 0 }
    }

    /// Adds one update. An error leaves the sum as it was.
    pub fn add(&mut self, weight: u32, update: &ParamVector) -> Result<(), AggregateError> {
        if update.len() != self.sums.len() {
            return Err(ParamError::WrongLength { expected: self.sums.len(), found: update.len() }.into());
        }
        if let Some(index) = update.as_slice().iter().position(|value| value.abs() > MAX_MAGNITUDE) {
            let value = update.as_slice().get(index).copied().unwrap_or(f32::NAN);
            return Err(AggregateError::OutOfRange { index, value });
        }
        let total = self.weight.saturating_add(u64::from(weight));
        if total > MAX_WEIGHT_SUM {
            return Err(AggregateError::TooManyUpdates);
        }
        self.weight = total;
        for (sum, value) in self.sums.iter_mut().zip(update.as_slice()) {
            *sum += i64::from(weight) * to_grid(*value);
        }
        Ok(())
    }

    /// The weighted mean, rounded once to the nearest f32.
    pub fn finish(&self) -> Result<ParamVector, AggregateError> {
        if self.weight == 0 {
            return Err(AggregateError::Empty);
        }
        let divisor = weight_to_f64(self.weight) * grid_unit();
        Ok(ParamVector::new(self.sums.iter().map(|sum| nearest_f32(sum_to_f64(*sum) / divisor)).collect())?)
    }
}

fn grid_unit() -> f64 {
    2f64.powi(FRACTION_BITS.cast_signed())
}

#[expect(clippy::as_conversions, reason = "callers bound the magnitude by 2^10, so that the grid value fits 43 bits")]
fn to_grid(value: f32) -> i64 {
    (f64::from(value) * grid_unit()).round_ties_even() as i64
}

#[expect(clippy::as_conversions, reason = "rounds to nearest, which is the one rounding of the mean")]
fn sum_to_f64(sum: i64) -> f64 {
    sum as f64
}

#[expect(clippy::as_conversions, reason = "at most 2^20, exact in f64")]
fn weight_to_f64(weight: u64) -> f64 {
    weight as f64
}

#[expect(clippy::as_conversions, reason = "rounds to nearest; the input is a mean of f32 values, so in range")]
pub(super) fn nearest_f32(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(values: &[f32]) -> ParamVector {
        ParamVector::new(values.to_vec()).unwrap()
    }

    #[test]
    fn the_order_of_updates_changes_no_bit() {
        let updates: Vec<ParamVector> =
            (0..64_u8).map(|i| vector(&[f32::from(i).sin() * 1e-3, f32::from(i).cos() * 700.0])).collect();
        let mut forward = FedAvg::new(2);
        let mut backward = FedAvg::new(2);
        for update in &updates {
            forward.add(3, update).unwrap();
        }
        for update in updates.iter().rev() {
            backward.add(3, update).unwrap();
        }
        assert_eq!(forward.finish(), backward.finish());
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
        assert_eq!(sum.finish().unwrap(), vector(&[1.0, 2.0]));
    }

    #[test]
    fn the_largest_admissible_sum_does_not_wrap() {
        let weight = u32::try_from(MAX_WEIGHT_SUM).unwrap();
        let mut sum = FedAvg::new(1);
        sum.add(weight, &vector(&[-MAX_MAGNITUDE])).unwrap();
        assert_eq!(sum.finish().unwrap(), vector(&[-MAX_MAGNITUDE]));
    }
}
