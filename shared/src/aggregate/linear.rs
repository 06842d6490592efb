//! Rules whose result is a weighted sum of the rows, with weights that follow from the rows' products alone.

use super::RowMeta;
use super::gram::Gram;
use super::mixing::{clip_factor, to_f64};

/// The mean of the changes per local step, times the mean number of steps: FedNova (Wang et al. 2020, "Tackling the
/// Objective Inconsistency Problem in Heterogeneous Federated Optimization").
pub(super) fn normalised_by_steps(meta: &[RowMeta]) -> Vec<f64> {
    let shares = shares(meta);
    let steps: f64 = shares.iter().zip(meta).map(|(share, row)| share * row.local_steps).sum();
    shares.iter().zip(meta).map(|(share, row)| share * steps / row.local_steps).collect()
}

/// The weighted mean of the rows, each clipped to `max_norm`: norm bounding (Sun et al. 2019, "Can You Really Backdoor
/// Federated Learning?").
pub(super) fn norm_bounded(gram: &Gram, meta: &[RowMeta], max_norm: f64) -> Vec<f64> {
    let shares = shares(meta);
    shares.iter().enumerate().map(|(row, share)| share * clip_factor(gram.norm(row), max_norm)).collect()
}

/// How much of the whole weight each row has.
fn shares(meta: &[RowMeta]) -> Vec<f64> {
    let whole: f64 = meta.iter().map(|row| f64::from(row.weight)).sum();
    meta.iter().map(|row| f64::from(row.weight) / whole).collect()
}

/// The point with the least sum of distances to the rows: smoothed Weiszfeld iterations from 0 (RFA; Pillutla et al.
/// 2022, "Robust Aggregation for Federated Learning", Algorithm 2). Every iterate is a weighted mean of the rows.
pub(super) fn geometric_median(gram: &Gram, smoothing: f64, iterations: u32) -> Vec<f64> {
    let mut weights = vec![0.0; gram.count()];
    for _ in 0..iterations {
        let nearness = gram.distances_from(&weights).into_iter().map(|distance| 1.0 / distance.max(smoothing));
        weights = nearness.collect();
        let whole: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= whole);
    }
    weights
}

/// The centre plus the mean of the first `count` rows' differences from it, each clipped to `radius`: centered clipping
/// (Karimireddy et al. 2021, "Learning from History for Byzantine Robust Optimization"). The first centre is the row
/// after the first `count`, where there is one, or else 0.
pub(super) fn centered_clipping(gram: &Gram, count: usize, radius: f64, iterations: u32) -> Vec<f64> {
    let mut weights = vec![0.0; gram.count()];
    weights.iter_mut().skip(count).for_each(|weight| *weight = 1.0);
    for _ in 0..iterations {
        let distances = gram.distances_from(&weights);
        let moves: Vec<f64> = distances.iter().map(|distance| clip_factor(*distance, radius) / to_f64(count)).collect();
        let stays = 1.0 - moves.iter().take(count).sum::<f64>();
        weights.iter_mut().for_each(|weight| *weight *= stays);
        weights.iter_mut().zip(&moves).take(count).for_each(|(weight, moved)| *weight += moved);
    }
    weights
}

/// The first `count` rows, each scaled to the length of the row after them, weighted by the cosine with it if that is
/// above 0: FLTrust (Cao et al. 2021, "FLTrust: Byzantine-robust Federated Learning via Trust Bootstrapping", Algorithm
/// 2). Where no row points the root's way, the result is 0. `keep_upper_half` leaves out the rows beyond the ⌈n/2⌉ with
/// the largest cosines.
pub(super) fn trusted(gram: &Gram, count: usize, keep_upper_half: bool) -> Vec<f64> {
    let (root, length) = (count, gram.norm(count));
    let trust = |row: usize| {
        let cosine = gram.product(row, root) / (gram.norm(row) * length);
        if cosine > 0.0 { cosine } else { 0.0 }
    };
    let mut scores: Vec<(usize, f64)> = (0..count).map(|row| (row, trust(row))).collect();
    scores.sort_by(|left, right| right.1.total_cmp(&left.1));
    scores.truncate(if keep_upper_half { count.div_ceil(2) } else { count });
    let whole: f64 = scores.iter().map(|(_, score)| score).sum();
    let mut weights = vec![0.0; gram.count()];
    for (row, score) in scores.into_iter().filter(|(_, score)| *score > 0.0) {
        let weight = score / whole * length / gram.norm(row);
        weights.iter_mut().skip(row).take(1).for_each(|slot| *slot = weight);
    }
    weights
}

/// How many plain steps `steps` steps with `momentum` (ρ, in [0, 1)) amount to: ‖a‖₁ of FedNova (Wang et al. 2020,
/// Section 4), (τ − ρ (1 − ρ^τ) / (1 − ρ)) / (1 − ρ).
pub fn effective_steps(steps: u32, momentum: f64) -> f64 {
    let rest = 1.0 - momentum;
    (f64::from(steps) - momentum * (1.0 - power(momentum, steps)) / rest) / rest
}

/// By repeated squaring, so that it has the same bits on every machine.
fn power(mut base: f64, mut exponent: u32) -> f64 {
    let mut result = 1.0;
    while exponent > 0 {
        if exponent % 2 == 1 {
            result *= base;
        }
        base *= base;
        exponent /= 2;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn momentum_makes_steps_count_more() {
        assert_eq!([0, 1, 7].map(|steps| effective_steps(steps, 0.0)), [0.0, 1.0, 7.0]);
        for steps in 0..40 {
            let (mut velocity, mut whole) = (0.0, 0.0);
            for _ in 0..steps {
                velocity = 0.9 * velocity + 1.0;
                whole += velocity;
            }
            assert!((effective_steps(steps, 0.9) - whole).abs() < 1e-9, "{steps}");
        }
    }
}
