//! Updates computed from the honest ones: ALIE, IPM, min-max and min-sum. They use no training and no randomness.

use crate::vector::{Vector, count, deviation, distance_sq, dot, mean, plus, scaled};

/// ALIE's z. The paper's formula gives 0.16 for 4 of 20, too little to matter; 1.5 is harsher, and still within what honest
/// participants differ by.
const Z: f64 = 1.5;
/// IPM's ε: small enough that the update hides among honest ones of a short mean.
const EPSILON: f64 = 0.5;

/// μ − z·σ in each coordinate (Baruch et al. 2019, algorithm 3).
pub(super) fn alie(honest: &[Vector]) -> Vector {
    let mean = mean(honest);
    plus(&mean, -Z, &deviation(honest, &mean))
}

/// −ε·μ (Xie et al. 2020, §4).
pub(super) fn ipm(honest: &[Vector]) -> Vector {
    scaled(&mean(honest), -EPSILON)
}

/// μ − γ·σ with the largest γ at which no honest update is farther off than two honest ones are from each other
/// (Shejwalkar, Houmansadr 2021, equation 4, perturbed by the deviation).
pub(super) fn min_max(honest: &[Vector]) -> Vector {
    let mean = mean(honest);
    let deviation = deviation(honest, &mean);
    let pairs = honest.iter().flat_map(|a| honest.iter().map(|b| distance_sq(a, b)));
    let bound = pairs.fold(0.0, f64::max);
    let length = dot(&deviation, &deviation);
    let factors = honest.iter().map(|update| {
        let offset = plus(&mean, -1.0, update);
        reach(length, dot(&offset, &deviation), dot(&offset, &offset) - bound)
    });
    plus(&mean, -factors.fold(f64::MAX, f64::min), &deviation)
}

/// μ − γ·σ with the largest γ at which the squared distances to all honest updates sum to no more than some honest one's
/// do (Shejwalkar, Houmansadr 2021, equation 5).
pub(super) fn min_sum(honest: &[Vector]) -> Vector {
    let mean = mean(honest);
    let deviation = deviation(honest, &mean);
    let sum = |from: &Vector| honest.iter().map(|update| distance_sq(from, update)).sum::<f64>();
    let bound = honest.iter().map(sum).fold(0.0, f64::max);
    // Offsets from the mean sum to nothing, so that the linear term is 0.
    let length = count(honest.len()) * dot(&deviation, &deviation);
    plus(&mean, -reach(length, 0.0, sum(&mean) - bound), &deviation)
}

/// The larger γ with length·γ² − 2·along·γ + excess = 0, where excess ≤ 0.
fn reach(length: f64, along: f64, excess: f64) -> f64 {
    if length > 0.0 { (along + (along * along - length * excess).max(0.0).sqrt()) / length } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::tests::cloud;
    use super::*;

    #[test]
    fn alie_stays_within_z_deviations_of_the_mean() {
        let honest = cloud(16, 1);
        let (mean, sent) = (mean(&honest), alie(&honest));
        for ((mean, deviation), sent) in mean.iter().zip(deviation(&honest, &mean)).zip(&sent) {
            assert!(f64::from((mean - sent).abs()) <= Z * f64::from(deviation) + 1e-6);
        }
    }

    #[test]
    fn ipm_has_a_negative_inner_product_with_the_honest_mean() {
        let honest = cloud(16, 2);
        assert!(dot(&ipm(&honest), &mean(&honest)) < 0.0);
    }

    fn largest(distances: impl Iterator<Item = f64>) -> f64 {
        distances.fold(0.0, f64::max)
    }

    #[test]
    fn min_max_goes_as_far_as_its_bound_and_no_farther() {
        for seed in 0..20 {
            let honest = cloud(14, seed);
            let bound = largest(honest.iter().flat_map(|a| honest.iter().map(|b| distance_sq(a, b))));
            let sent = min_max(&honest);
            let farthest = largest(honest.iter().map(|update| distance_sq(&sent, update)));
            assert!((farthest / bound - 1.0).abs() < 1e-5, "{farthest} of {bound}");
        }
    }

    #[test]
    fn min_sum_goes_as_far_as_its_bound_and_no_farther() {
        for seed in 0..20 {
            let honest = cloud(14, seed);
            let sum = |from: &Vector| honest.iter().map(|update| distance_sq(from, update)).sum::<f64>();
            let bound = largest(honest.iter().map(sum));
            assert!((sum(&min_sum(&honest)) / bound - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn honest_participants_that_agree_leave_no_room() {
        let honest = vec![vec![1.0, -2.0]; 5];
        for sent in [alie(&honest), min_max(&honest), min_sum(&honest)] {
            assert_eq!(sent, [1.0, -2.0]);
        }
    }
}
