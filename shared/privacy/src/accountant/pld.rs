//! Numerical composition of privacy loss distributions of the Poisson-subsampled Gaussian mechanism: the tightest of
//! the accountants, and still an upper bound.
//!
//! Each release's loss is replaced by one on a grid that dominates it ([`discrete`]); sums of losses have the
//! product of their Fourier transforms (Koskela, Jälkö and Honkela 2020). Before the transform each distribution is
//! tilted by e^(λ loss), which brings the losses that decide δ to the middle, so that round-off is small against δ
//! and not against 1. Everything that is cut off or rounded is counted as lost privacy:
//! - mass beyond a release's last grid point, as δ;
//! - mass of the sum above the window, by Chernoff's bound at λ, as δ (mass that wraps around only adds);
//! - round-off of the transforms, by its norm, as δ;
//! - round-off of sums, tails and thresholds, as factors on δ and an addend to ε.

mod discrete;

use std::sync::{Arc, LazyLock};

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use super::{Gaussian, rounded};
use discrete::{Grid, Losses};

/// Points of the window: 2¹⁶.
const POINTS: usize = 1 << 16;
/// How many of them stand for losses of 0 and more.
const POINTS_FROM_ZERO: u32 = 1 << 15;
/// √[`POINTS`].
const ROOT_POINTS: f64 = 256.0;

/// The part of δ that may be spent on losses above the window, and on single losses that are cut off.
const TAIL_SHARE: f64 = 1e-4;

/// No window reaches this loss: far beyond any ε of use, and well within what `exp` can take.
const MAX_LOSS: f64 = 300.0;

/// Bound on the relative error, in the Euclidean norm, of one transform of [`POINTS`] points: log₂ n times less than 8
/// units of round-off (Higham 2002, Theorem 24.2).
const TRANSFORM_ERROR: f64 = 2e-14;

/// Bound on the relative error of a release's tilted tails, and on the absolute error of its losses.
const STEP_ERROR: f64 = 1e-13;

/// Bound on the relative error of a sum and a difference of sums over the window: 2 n units of round-off.
const SUM_ERROR: f64 = 3e-11;

/// The transform and its inverse (unscaled); making them takes longer than using them.
static TRANSFORMS: LazyLock<[Arc<dyn Fft<f64>>; 2]> = LazyLock::new(|| {
    let mut planner = FftPlanner::new();
    [planner.plan_fft_forward(POINTS), planner.plan_fft_inverse(POINTS)]
});

/// By how much losses are tilted: λ is `order` − 1, and any gives an upper bound.
#[derive(Debug, Clone, Copy)]
pub struct Tilt {
    /// A Rényi order near the one that is best for δ.
    pub order: f64,
    /// The whole composition's Rényi divergence of that order.
    pub divergence: f64,
}

/// The loss of a whole composition, in both directions of adjacency.
#[derive(Debug)]
pub struct Composed {
    directions: [Direction; 2],
}

/// The loss of a composition where a record is removed, or added.
#[derive(Debug)]
struct Direction {
    /// For losses 0, h, 2h, … below the window's end: probability, in the distribution of the sum tilted by λ.
    tilted: Vec<f64>,
    spacing: f64,
    lambda: f64,
    /// The logarithm of E e^(λ loss).
    log_moment: f64,
    /// Probability that is counted as lost privacy whatever ε.
    lost: f64,
    /// Bound on the sum of the errors of `tilted`.
    round_off: f64,
    /// How many releases.
    steps: f64,
}

impl Composed {
    /// Composes `gaussians`, tilted for `delta`. `None` where the losses are too large to be worth a number; [`super::rdp`] still bounds them.
    pub(super) fn new(gaussians: &[Gaussian], tilt: &Tilt, delta: f64) -> Option<Self> {
        let lambda = tilt.order - 1.0;
        let end = tilt.divergence - (delta * TAIL_SHARE).ln() / lambda;
        if !(end < MAX_LOSS && lambda * tilt.divergence < MAX_LOSS) {
            return None;
        }
        let grid = Grid::new(end, POINTS);
        let steps: f64 = gaussians.iter().map(Gaussian::count).sum();
        let cut = delta * TAIL_SHARE / steps;
        let [mut removed, mut added] = [(); 2].map(|()| Product::new(lambda));
        for part in gaussians {
            let losses = discrete::losses(part.noise_multiplier, part.sampling_rate, &grid, cut);
            removed.multiply(&losses.removed, &grid, part.steps);
            added.multiply(&losses.added, &grid, part.steps);
        }
        Some(Self { directions: [removed, added].map(|product| product.into_direction(&grid, steps)) })
    }

    /// An upper bound on ε at `delta`, infinite where the window cannot tell.
    pub fn epsilon(&self, delta: f64) -> f64 {
        self.directions.iter().map(|direction| direction.epsilon(delta)).fold(0.0, f64::max)
    }
}

/// The product of the Fourier transforms of tilted losses.
struct Product {
    spectrum: Vec<Complex<f64>>,
    lambda: f64,
    log_moment: f64,
    lost: f64,
    round_off: f64,
}

impl Product {
    fn new(lambda: f64) -> Self {
        Self {
            spectrum: vec![Complex::new(1.0, 0.0); POINTS],
            lambda,
            log_moment: 0.0,
            lost: 0.0,
            round_off: TRANSFORM_ERROR * ROOT_POINTS,
        }
    }

    /// Takes in `steps` releases of the same `losses`.
    fn multiply(&mut self, losses: &Losses, grid: &Grid, steps: u64) {
        let tilted: Vec<f64> = (losses.first..)
            .zip(&losses.mass)
            .map(|(index, mass)| mass * (self.lambda * grid.loss(index)).exp())
            .collect();
        let moment: f64 = tilted.iter().sum();
        let mut buffer = vec![Complex::new(0.0, 0.0); POINTS];
        for (index, mass) in (losses.first..).zip(&tilted) {
            if let Some(point) = buffer.get_mut(grid.position(index)) {
                *point = Complex::new(mass / moment, 0.0);
            }
        }
        let norm = buffer.iter().map(|point| point.re * point.re).sum::<f64>().sqrt();
        let [forward, _] = &*TRANSFORMS;
        forward.process(&mut buffer);
        for (product, value) in self.spectrum.iter_mut().zip(buffer) {
            *product *= power(value, steps);
        }
        self.log_moment += rounded(steps) * moment.ln();
        self.lost += rounded(steps) * losses.beyond;
        self.round_off += rounded(steps) * TRANSFORM_ERROR * ROOT_POINTS * norm;
    }

    fn into_direction(mut self, grid: &Grid, steps: f64) -> Direction {
        let [_, inverse] = &*TRANSFORMS;
        inverse.process(&mut self.spectrum);
        let scale = (ROOT_POINTS * ROOT_POINTS).recip();
        // Positions 0.. are the losses from 0 up; the negative losses follow them.
        let tilted = self.spectrum.iter().take(POINTS / 2).map(|point| (point.re * scale).max(0.0)).collect();
        let above_window = (self.log_moment - self.lambda * grid.end()).exp();
        Direction {
            tilted,
            spacing: grid.spacing(),
            lambda: self.lambda,
            log_moment: self.log_moment,
            lost: self.lost + above_window,
            round_off: self.round_off,
            steps,
        }
    }
}

impl Direction {
    /// The ε at which δ(ε) = E(1 − e^(ε − loss))₊ falls to `delta`. From the window's end downwards: between two grid
    /// points δ is linear in e^ε, so that the crossing is found exactly.
    fn epsilon(&self, delta: f64) -> f64 {
        let target = delta * (-STEP_ERROR * self.steps).exp();
        let (mut mass, mut dual_mass, mut loss_above) = (0.0, 0.0, f64::INFINITY);
        for (index, tilted) in (0..POINTS_FROM_ZERO).rev().map(f64::from).zip(self.tilted.iter().rev()) {
            let loss = index * self.spacing;
            let untilt = (self.log_moment - self.lambda * loss).exp();
            let doubt = self.lost + self.round_off * untilt + SUM_ERROR * mass;
            let is_kept = mass - loss.exp() * dual_mass + doubt <= target;
            if !is_kept {
                let crossing = ((mass + doubt - target) / dual_mass).ln().clamp(loss, loss_above);
                return if crossing.is_finite() { crossing + STEP_ERROR * self.steps } else { f64::INFINITY };
            }
            mass += tilted * untilt;
            dual_mass += tilted * untilt * (-loss).exp();
            loss_above = loss;
        }
        0.0
    }
}

/// `base`^`exponent` for |`base`| ≤ 1; 0 once that is all that matters, before denormal numbers slow it down.
fn power(base: Complex<f64>, exponent: u64) -> Complex<f64> {
    const NEGLIGIBLE: f64 = 1e-200;
    let (mut result, mut square, mut left) = (Complex::new(1.0, 0.0), base, exponent);
    while left > 0 {
        if left & 1 == 1 {
            result *= square;
        }
        square *= square;
        left >>= 1;
        if result.norm_sqr() < NEGLIGIBLE || (left > 0 && square.norm_sqr() < NEGLIGIBLE) {
            return Complex::new(0.0, 0.0);
        }
    }
    result
}
