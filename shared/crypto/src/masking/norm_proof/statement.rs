//! What a proof is about, and the challenges that both sides derive alike: which subsets of the projections are shown, and
//! the one linear relation that all the linear ones fold into.

use std::sync::LazyLock;

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use shared::masking::Layout;

use super::transcript::{Challenge, Transcript};
use super::{Measured, NormChallenge, SHOWN, SHOWN_BITS};
use crate::CryptoError;
use crate::masking::commitment::{Commitment, CommitmentKey, check_range, generators};
use crate::masking::element::Element;
use crate::masking::projection::{Combination, MAX_COORDINATE, PROJECTIONS, Projections, Wide};
use crate::masking::scalar::signed;

/// The most coordinates, so that no honest sum comes near its bound.
const MAX_DIMENSIONS: usize = 1 << 24;

/// The generators of the projections and what hides them, and of the products.
static PROOF_GENERATORS: LazyLock<(Vec<RistrettoPoint>, RistrettoPoint)> = LazyLock::new(|| {
    let product = generators(b"ringfence norm proof product generator v1\0", 1);
    let projected = generators(b"ringfence norm proof projection generator v1\0", PROJECTIONS.saturating_add(SHOWN));
    (projected, product.iter().sum())
});

/// The generators that projections are committed to with.
pub(super) fn projection_generators() -> &'static [RistrettoPoint] {
    &PROOF_GENERATORS.0
}

/// The generator that products are committed to with.
pub(super) fn product_generator() -> &'static RistrettoPoint {
    &PROOF_GENERATORS.1
}

/// What is claimed, of whom and for what.
pub(super) struct Statement<'a> {
    pub(super) key: &'a CommitmentKey,
    pub(super) challenge: &'a NormChallenge<'a>,
    pub(super) commitments: &'a [Commitment],
    pub(super) context: &'a [u8],
}

impl Statement<'_> {
    /// Refuses what no proof can be about.
    pub(super) fn check(&self) -> Result<(), CryptoError> {
        let (expected, found) = (self.key.dimensions(), self.direction().len());
        if self.key.layout() != Layout::Provable || expected > MAX_DIMENSIONS {
            return Err(CryptoError::NotProvable { dimensions: expected });
        }
        if self.challenge.direction.is_some() && found != expected {
            return Err(CryptoError::Dimensions { expected, found });
        }
        let (expected, found) = (self.key.rows(), self.commitments.len());
        if found != expected {
            return Err(CryptoError::Rows { expected, found });
        }
        check_range(self.direction(), MAX_COORDINATE)
    }

    pub(super) fn direction(&self) -> &[i32] {
        self.challenge.direction.unwrap_or_default()
    }

    /// A transcript of the statement.
    pub(super) fn transcript(&self, measured: &Measured) -> Transcript {
        let mut transcript = Transcript::new();
        transcript.absorb("context", self.context);
        let dimensions = u64::try_from(self.key.dimensions()).unwrap_or(u64::MAX);
        transcript.absorb("dimensions", &dimensions.to_le_bytes());
        self.commitments.iter().for_each(|commitment| transcript.absorb("row", commitment.as_bytes()));
        transcript.absorb("seed", &self.challenge.seed);
        if let Some(direction) = self.challenge.direction {
            let bytes: Vec<[u8; 4]> = direction.iter().map(|value| value.to_le_bytes()).collect();
            transcript.absorb("direction", bytes.as_flattened());
        }
        transcript.absorb("squares", &measured.squares.to_le_bytes());
        if let Some(inner) = measured.inner {
            transcript.absorb("inner", &inner.to_le_bytes());
        }
        transcript
    }
}

/// Which projections each shown number has in it.
pub(super) struct Subsets(Vec<[u8; PROJECTIONS / 8]>);

impl Subsets {
    /// Drawn once the projections are committed to.
    pub(super) fn draw(transcript: &mut Transcript, projected: &Element) -> Self {
        transcript.absorb("projected", projected.as_bytes());
        let mut challenge = transcript.challenge("subsets");
        Self((0..SHOWN).map(|_| challenge.bytes()).collect())
    }

    /// The numbers of `values` in each subset, added up.
    pub(super) fn sums(&self, values: &[i64]) -> Vec<i128> {
        let sum = |subset: &[u8; PROJECTIONS / 8]| {
            bits(subset).zip(values).map(|(bit, value)| i128::from(bit) * i128::from(*value)).sum()
        };
        self.0.iter().map(sum).collect()
    }

    /// For each projection, the weights of the subsets that it is in, added up.
    fn transposed_sums(&self, weights: &[Scalar]) -> Vec<Scalar> {
        let mut sums = vec![Scalar::ZERO; PROJECTIONS];
        for (subset, weight) in self.0.iter().zip(weights) {
            sums.iter_mut().zip(bits(subset)).filter(|(_, bit)| *bit == 1).for_each(|(sum, _)| *sum += weight);
        }
        sums
    }
}

fn bits(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().flat_map(|byte| (0..8).map(move |bit| (byte >> bit) & 1))
}

/// Whether a shown number is one that an honest site may come to.
pub(super) fn may_be_shown(shown: i128) -> bool {
    shown.unsigned_abs() <= 1 << SHOWN_BITS
}

/// All linear relations in one, each times a random weight: the vector's inner product with `form` less `offset` times the
/// sum of its coordinates, and the projections' and their hiding numbers' inner product with `on_projected`, add up to
/// `value`.
pub(super) struct Relation {
    pub(super) form: Vec<Wide>,
    pub(super) offset: Scalar,
    pub(super) on_projected: Vec<Scalar>,
    pub(super) value: Scalar,
}

impl Relation {
    /// Drawn once the sums over subsets are shown.
    pub(super) fn draw(
        transcript: &mut Transcript,
        statement: &Statement<'_>,
        measured: &Measured,
        subsets: &Subsets,
        shown: &[i128],
    ) -> Self {
        shown.iter().for_each(|shown| transcript.absorb("shown", &shown.to_le_bytes()));
        let mut challenge = transcript.challenge("weights");
        let mut weights = |count| -> Vec<u128> { (0..count).map(|_| Challenge::weight(&mut challenge)).collect() };
        let (projections, shown_weights, direction) = (weights(PROJECTIONS), weights(SHOWN), weights(1));
        let direction = direction.first().copied().filter(|_| statement.challenge.direction.is_some());
        let combination = Combination {
            weights: projections,
            direction_weight: direction.unwrap_or_default(),
            direction: statement.direction(),
        };
        let shown_weights: Vec<Scalar> = shown_weights.into_iter().map(Scalar::from).collect();
        let count = statement.key.width().saturating_mul(statement.key.rows());
        let form = Projections::new(&statement.challenge.seed).combine(&combination, count);
        let inner = signed(i128::from(measured.inner.unwrap_or_default()));
        let shown: Scalar = shown.iter().zip(&shown_weights).map(|(shown, weight)| signed(*shown) * weight).sum();
        let mut on_projected = subsets.transposed_sums(&shown_weights);
        on_projected.iter_mut().zip(&combination.weights).for_each(|(on, weight)| *on -= Scalar::from(*weight));
        on_projected.extend(shown_weights);
        Self {
            form,
            offset: combination.offset(),
            on_projected,
            value: Scalar::from(combination.direction_weight) * inner + shown,
        }
    }
}
