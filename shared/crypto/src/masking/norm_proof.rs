//! Proofs of how long a committed vector is, and of how it lies to a public direction: they show the sum of its squared
//! random projections and that inner product, and nothing else. They do not say that a vector is a good update, and
//! they stop nobody from committing to a vector as long as the bound.
//!
//! # What is shown
//!
//! As in RiseFL (Zhu, Tan, Gao, Xu, Cheng and Li 2023, arXiv:2311.15310), the vector x is projected by k = 256 rows of
//! signs that follow from a seed, which must be drawn once x is committed to. The proof shows S = Σ ⟨a_t, x⟩² and,
//! where there is a direction g, ⟨x, g⟩. S is k ‖x‖² on average:
//!
//! - *Honest sites pass.* The even moments of a projection are at most a Gaussian's (Achlioptas 2003,
//!   "Database-friendly random projections"), so that S has the Chernoff bound of χ²: it is above 1.541 k ‖x‖² with a
//!   chance below 2^-20. [`largest_squares`] is that bound.
//! - *Long vectors do not.* With Q a projection of a unit vector, E Q² = 1 and E Q⁴ ≤ 3, so E exp(-h Q²) ≤ 1 - h + 3/2
//!   h²: S is below 0.244 k ‖x‖² with a chance below 2^-40. Who is more than 2.52 times as long as allowed is found out
//!   but for that. Who can try 2^b seeds gains b of the 40 bits.
//!
//! # How it is proven
//!
//! 1. The prover commits to the projections v and to 128 numbers y of 112 bits in one vector commitment U.
//! 2. The transcript draws a matrix R of 128 × 256 bits, and the prover shows y + R v as integers (Baum and
//!    Lyubashevsky 2017, "Simple amortized proofs of shortness for linear relations over polynomial rings"; Gentry,
//!    Halevi and Lyubashevsky, Eurocrypt 2022, "Practical non-interactive publicly verifiable secret sharing with
//!    thousands of parties"). If an entry of v is not in ±2^113 modulo the group's order, then for each row of R at
//!    least one of the two choices of that entry's bit leads out of ±2^112: all 128 rows pass with a chance of at most
//!    2^-128. The sum of the squares of such v is below 2^234, so that it does not wrap, and S is theirs as integers.
//!    What is shown depends on x within a distance of 128 · 2^47 / 2^112 = 2^-58.
//! 3. The transcript draws weights of 128 bits, and all linear relations (v = A x, what was shown, ⟨x, g⟩) become one:
//!    ⟨a, x⟩ + ⟨b, (v, y)⟩ = c.
//! 4. That one is proven by the square-root argument for inner products with public vectors (Bootle, Cerulli, Chaidos,
//!    Groth and Petit, Eurocrypt 2016, "Efficient zero-knowledge arguments for arithmetic circuits in the discrete log
//!    setting"). With rows x_1 … x_m and a random row x_0, the response z = x_0 + Σ e^i x_i has ⟨a, x⟩ as constant term
//!    of its inner product with Σ e^-j a_j; the 2 m - 1 other terms are committed to before e is drawn, and so is a
//!    mask of (v, y), whose response has the same e. The squares follow from that response as a polynomial in e of
//!    degree 2.
//!
//! An extractor gets x as elements of the field. They are small, or else a coordinate has 2 x_l not in ±2^114, and each
//! projection, as its sign flips, leaves ±2^113 for one of the two: all pass with a chance of 2^-256. So x is a vector
//! of integers or of halves of integers. Halves give no more room: all of the above holds for them, and a sum with
//! halves in it is none that a release can have.
//!
//! All masks and blindings are uniform, and blinded commitments hide perfectly: but for step 2, a proof could be
//! simulated from what it shows. It is as long as a row and 2 m commitments.

mod bytes;
mod products;
mod prove;
mod statement;
mod transcript;
mod verify;

use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use super::element::Element;
use super::projection::PROJECTIONS;

/// How many sums over subsets of the projections are shown.
const SHOWN: usize = 128;
/// Bits of the largest absolute value shown. What hides an honest one has as many, its sign included.
const SHOWN_BITS: u32 = 112;

/// By how much the squares of an honest vector may exceed their mean.
const LARGEST_MEAN_SQUARE: f64 = 1.541;

/// What all vectors of a round are measured by.
#[derive(Debug, Clone, Copy)]
pub struct NormChallenge<'a> {
    /// What the projections follow from. It must be drawn once the vectors are committed to.
    pub seed: [u8; 32],
    /// What the vectors' inner products with are shown: as many coordinates, of at most 2^15.
    pub direction: Option<&'a [i32]>,
}

/// What a proof shows of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// The sum of the squares of 256 random projections: about 256 times the vector's squared length.
    pub squares: u128,
    /// Its inner product with the direction, where there is one.
    pub inner: Option<i64>,
}

/// The largest [`Measured::squares`] that a vector no longer than `longest` has, but for a chance of 2^-20.
pub fn largest_squares(longest: f64) -> u128 {
    let projections = u32::try_from(PROJECTIONS).map_or(f64::MAX, f64::from);
    #[expect(clippy::as_conversions, reason = "rounds down and saturates, both against the one who is measured")]
    let largest = (LARGEST_MEAN_SQUARE * projections * longest * longest) as u128;
    largest
}

/// A proof of what [`Measured`] says of a vector under its commitments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NormProof {
    measured: Measured,
    /// The commitment to the projections and what hides them.
    projected: Element,
    /// What hides them and their sums over subsets, added up.
    shown: Vec<i128>,
    masks: Masks,
    responses: Responses,
}

/// What is committed to before the point of evaluation is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Masks {
    row: Element,
    projected: Element,
    /// The terms of the inner product, from the lowest power on, without the constant one.
    cross: Vec<Element>,
    /// The terms of the squares but for the highest.
    squares: [Element; 2],
}

/// The answers at the point of evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Responses {
    row: Vec<Scalar>,
    projected: Vec<Scalar>,
    row_blinding: Scalar,
    projected_blinding: Scalar,
    cross_blinding: Scalar,
    squares_blinding: Scalar,
}

impl NormProof {
    /// What the proof claims; nothing is known until [`Self::verify`] says so.
    pub fn claimed(&self) -> Measured {
        self.measured
    }
}

fn inner_product(one: &[Scalar], other: &[Scalar]) -> Scalar {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

/// The powers from -rows up to rows - 1.
fn powers(point: &Scalar, rows: usize) -> Vec<Scalar> {
    let inverse = point.invert();
    let lowest = (0..rows).fold(Scalar::ONE, |power, _| power * inverse);
    std::iter::successors(Some(lowest), |power| Some(power * point)).take(rows.saturating_mul(2)).collect()
}

/// The terms without the constant one.
fn without_constant<T: Clone>(terms: &[T]) -> Vec<T> {
    let rows = terms.len() / 2;
    terms.iter().take(rows).chain(terms.iter().skip(rows.saturating_add(1))).cloned().collect()
}

/// A row that is one everywhere.
fn ones(width: usize) -> Zeroizing<Vec<u32>> {
    Zeroizing::new(vec![1; width])
}

#[cfg(test)]
mod tests;
