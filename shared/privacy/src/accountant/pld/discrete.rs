//! A loss on a grid that dominates the loss of one release: Doroshenko, Ghazi, Kamath, Kumar and Manurangsi, "Connect
//! the Dots: Tighter Discrete Approximations of Privacy Loss Distributions" (2022).
//!
//! A cell's mass is split between its two grid points such that both measures keep their mass, which makes the privacy
//! curve the chords of the true one. What rounding leaves in doubt goes to the upper point, so that the result
//! still dominates.

use crate::accountant::rdp::log_mixture_ratio;

/// Bound on the relative error of a computed Gaussian tail, its argument's rounding included.
const TAIL_ERROR: f64 = 2e-14;
/// Bound on the relative error that a loss's rounding makes in a likelihood ratio.
const RATIO_ERROR: f64 = 1e-13;

/// Losses i·h for whole i from −n/2 to n/2 − 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    spacing: f64,
    half: i32,
}

impl Grid {
    /// The grid of `points` (a power of two, at most 2³⁰) losses from −`end` to just below `end`.
    pub(super) fn new(end: f64, points: usize) -> Self {
        let half = i32::try_from(points / 2).unwrap_or(1 << 29);
        Self { spacing: end / f64::from(half), half }
    }

    pub(super) fn spacing(&self) -> f64 {
        self.spacing
    }

    pub(super) fn end(&self) -> f64 {
        self.loss(self.half)
    }

    pub(super) fn loss(&self, index: i32) -> f64 {
        f64::from(index) * self.spacing
    }

    /// Where the loss stands in a transform's buffer: negative ones after the others.
    pub(super) fn position(&self, index: i32) -> usize {
        usize::try_from(index.rem_euclid(2 * self.half)).unwrap_or_default()
    }

    /// The index next to `loss`, below or above by `round`, and not an end of the grid.
    #[expect(clippy::as_conversions, reason = "clamped to a range of i32")]
    fn index(&self, loss: f64, round: impl Fn(f64) -> f64) -> i32 {
        let most = f64::from(self.half - 1);
        round(loss / self.spacing).clamp(-most, most) as i32
    }
}

/// A discrete distribution of losses.
#[derive(Debug)]
pub(super) struct Losses {
    /// The grid index of the first mass.
    pub(super) first: i32,
    /// Probability at that index and those after it.
    pub(super) mass: Vec<f64>,
    /// Probability of an infinite loss.
    pub(super) beyond: f64,
}

/// The losses of one release in both directions of adjacency.
pub(super) struct BothLosses {
    /// ln(mixture/base) under the mixture: the record is in the data set.
    pub(super) removed: Losses,
    /// ln(base/mixture) under the base.
    pub(super) added: Losses,
}

/// The losses of one Poisson-subsampled Gaussian release: base N(0, σ²), mixture (1 − q)·base + q·N(1, σ²). About `cut`
/// of either measure is left to the outermost points.
pub(super) fn losses(sigma: f64, q: f64, grid: &Grid, cut: f64) -> BothLosses {
    let reach = sigma * (-2.0 * cut.ln()).sqrt();
    let loss_at = |x: f64| log_mixture_ratio(q, (2.0 * x - 1.0) / (2.0 * sigma * sigma));
    let (low, high) = (grid.index(loss_at(-reach), f64::floor), grid.index(loss_at(1.0 + reach), f64::ceil));
    let marks: Vec<Mark> = (low..=high).map(|index| Mark::new(sigma, q, grid.loss(index))).collect();
    let cells: Vec<Cell> = marks.iter().zip(marks.iter().skip(1)).map(|(from, to)| from.cell_to(to)).collect();
    let (bottom, top) = (marks.first().copied().unwrap_or_default(), marks.last().copied().unwrap_or_default());
    BothLosses {
        removed: connect(low, bottom.mixture.below(), cells.iter().copied(), top.mixture.above(), grid),
        added: connect(-high, top.base.above(), cells.iter().rev().map(Cell::mirrored), bottom.base.below(), grid),
    }
}

/// The dominating distribution from the cells between grid points, in order of the loss, and the mass on either side.
fn connect(first: i32, below: f64, cells: impl ExactSizeIterator<Item = Cell>, beyond: f64, grid: &Grid) -> Losses {
    let mut mass = Vec::with_capacity(cells.len() + 1);
    let mut at_lower = below;
    for (index, cell) in (first + 1..).zip(cells) {
        let down = cell.upper.mass * cell.share_of_lower_point(grid.loss(index), grid.spacing);
        mass.push(at_lower + down);
        at_lower = cell.upper.mass - down;
    }
    mass.push(at_lower);
    Losses { first, mass, beyond }
}

/// The two measures of the outcomes whose loss is between two neighbouring grid points.
#[derive(Debug, Clone, Copy)]
struct Cell {
    /// The numerator's measure.
    upper: Measured,
    /// The denominator's measure.
    lower: Measured,
}

impl Cell {
    fn mirrored(&self) -> Self {
        Self { upper: self.lower, lower: self.upper }
    }

    /// The share of the upper measure's mass that goes to the cell's lower grid point, `spacing` below `loss_above`.
    fn share_of_lower_point(&self, loss_above: f64, spacing: f64) -> f64 {
        // Between 1, where all of the cell's loss is at its upper end, and e^spacing.
        let ratio = self.lower.mass / self.upper.mass * loss_above.exp();
        let doubt = RATIO_ERROR + self.upper.relative_error() + self.lower.relative_error();
        let share = (ratio * (1.0 - doubt) - 1.0) / spacing.exp_m1();
        if share > 0.0 { share.min(1.0) } else { 0.0 }
    }
}

/// A measure's mass in a cell, as the difference of two tails of which `tail` is the greater.
#[derive(Debug, Clone, Copy)]
struct Measured {
    mass: f64,
    tail: f64,
}

impl Measured {
    fn relative_error(&self) -> f64 {
        TAIL_ERROR * self.tail / self.mass
    }
}

/// What lies on either side of the outcome with a given loss.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    base: Tail,
    mixture: Tail,
}

impl Mark {
    fn new(sigma: f64, q: f64, loss: f64) -> Self {
        let odds = (loss.exp_m1() + q) / q;
        if odds <= 0.0 {
            return Self::default();
        }
        let x = sigma * sigma * odds.ln() + 0.5;
        let mix = |base: f64, shifted: f64| (1.0 - q) * base + q * shifted;
        if x < 0.0 {
            let (base, shifted) = (normal_tail(-x / sigma), normal_tail((1.0 - x) / sigma));
            Self { base: Tail::Below(base), mixture: Tail::Below(mix(base, shifted)) }
        } else {
            let (base, shifted) = (normal_tail(x / sigma), normal_tail((x - 1.0) / sigma));
            Self { base: Tail::Above(base), mixture: Tail::Above(mix(base, shifted)) }
        }
    }

    fn cell_to(&self, to: &Self) -> Cell {
        Cell { upper: self.mixture.until(to.mixture), lower: self.base.until(to.base) }
    }
}

/// A measure's mass on one side of an outcome, the side on which it is known to full relative precision.
#[derive(Debug, Clone, Copy)]
enum Tail {
    Below(f64),
    Above(f64),
}

impl Default for Tail {
    fn default() -> Self {
        Self::Below(0.0)
    }
}

impl Tail {
    fn below(self) -> f64 {
        match self {
            Self::Below(mass) => mass,
            Self::Above(mass) => 1.0 - mass,
        }
    }

    fn above(self) -> f64 {
        match self {
            Self::Below(mass) => 1.0 - mass,
            Self::Above(mass) => mass,
        }
    }

    /// The mass between this outcome and a later one.
    fn until(self, to: Self) -> Measured {
        let (mass, tail) = match (self, to) {
            (Self::Below(from), Self::Below(to)) => (to - from, to),
            (Self::Above(from), Self::Above(to)) => (from - to, from),
            (from, to) => (1.0 - from.below() - to.above(), 1.0),
        };
        Measured { mass: mass.max(0.0), tail }
    }
}

/// P(Z > z) for a standard normal Z.
fn normal_tail(z: f64) -> f64 {
    libm::erfc(z / std::f64::consts::SQRT_2) / 2.0
}
