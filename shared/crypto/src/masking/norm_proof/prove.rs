//! Making a proof, where the vector lies. Unlike its commitments it is made on request, so that how long it takes depends
//! on no secret.

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::MultiscalarMul;
use zeroize::Zeroizing;

use super::products::{joined_rows, limb_rows, products, weighted_sum};
use super::statement::{Relation, Statement, Subsets, product_generator, projection_generators};
use super::transcript::Transcript;
use super::{
    Masks, Measured, NormChallenge, NormProof, Responses, SHOWN, SHOWN_BITS, inner_product, ones, powers,
    without_constant,
};
use crate::masking::commitment::{Commitment, CommitmentKey, check_range};
use crate::masking::element::Element;
use crate::masking::projection::{MAX_COORDINATE, PROJECTIONS, Projections};
use crate::masking::scalar::{SecretScalar, signed};
use crate::{CryptoError, random_bytes};

/// Points that one constant-time product takes, which holds a table for each.
const BATCH: usize = 512;

impl NormProof {
    /// Measures `values`, committed to in the rows of `commitments` under `blindings`, by the challenge, and proves the
    /// outcome. `context` says for whom and for what, so that the proof is good for nothing else.
    ///
    /// With values or blindings other than those committed to, the proof is refused by whoever verifies it.
    pub fn prove(
        key: &CommitmentKey,
        challenge: &NormChallenge<'_>,
        values: &[i32],
        blindings: &[SecretScalar],
        commitments: &[Commitment],
        context: &[u8],
    ) -> Result<Self, CryptoError> {
        let statement = Statement { key, challenge, commitments, context };
        let witness = Witness::new(&statement, values, blindings)?;
        let measured = Measured {
            squares: witness.projected.iter().map(|value| u128::from(value.unsigned_abs()).pow(2)).sum(),
            inner: challenge.direction.map(|direction| inner(values, direction)),
        };
        witness.prove(&statement, measured)
    }
}

fn inner(values: &[i32], direction: &[i32]) -> i64 {
    values.iter().zip(direction).map(|(value, direction)| i64::from(*value) * i64::from(*direction)).sum()
}

/// What the prover knows.
pub(super) struct Witness<'a> {
    /// The vector's rows, with [`MAX_COORDINATE`] added to every coordinate.
    rows: Vec<Zeroizing<Vec<u32>>>,
    /// The sums of the rows.
    sums: Zeroizing<Vec<Scalar>>,
    blindings: &'a [SecretScalar],
    pub(super) projected: Zeroizing<Vec<i64>>,
}

impl<'a> Witness<'a> {
    pub(super) fn new(
        statement: &Statement<'_>,
        values: &[i32],
        blindings: &'a [SecretScalar],
    ) -> Result<Self, CryptoError> {
        statement.check()?;
        let key = statement.key;
        key.check(values.len(), blindings.len())?;
        check_range(values, MAX_COORDINATE)?;
        let row = |row: &[i32]| {
            let padded = row.iter().copied().chain(std::iter::repeat(0)).take(key.width());
            let shifted = padded.map(|value| value.wrapping_add_unsigned(MAX_COORDINATE).cast_unsigned());
            Zeroizing::new(shifted.collect::<Vec<u32>>())
        };
        let sum = |row: &[i32]| signed(row.iter().map(|value| i128::from(*value)).sum());
        Ok(Self {
            rows: key.rows_of(values).map(row).collect(),
            sums: Zeroizing::new(key.rows_of(values).map(sum).collect()),
            blindings,
            projected: Projections::new(&statement.challenge.seed).project(values),
        })
    }

    /// The proof that the vector measures `measured`, or one that is refused where it does not.
    pub(super) fn prove(&self, statement: &Statement<'_>, measured: Measured) -> Result<NormProof, CryptoError> {
        let mut transcript = statement.transcript(&measured);
        let hiding = hiding_numbers()?;
        let hidden = self.projected.iter().map(|value| i128::from(*value)).chain(hiding.iter().copied());
        let hidden = Hidden::new(Zeroizing::new(hidden.map(signed).collect()), projection_generators())?;
        let subsets = Subsets::draw(&mut transcript, &hidden.commitment);
        let sums = Zeroizing::new(subsets.sums(&self.projected));
        let shown: Vec<i128> = hiding.iter().zip(sums.iter()).map(|(hiding, sum)| hiding + sum).collect();
        let relation = Relation::draw(&mut transcript, statement, &measured, &subsets, &shown);

        let row = Hidden::new(uniform(statement.key.width())?, statement.key.generators())?;
        let projected = Hidden::new(uniform(hidden.values.len())?, projection_generators())?;
        let cross = self.cross_terms(&relation, &row.values, &projected.values);
        let cross = Products::new(Zeroizing::new(without_constant(&cross)))?;
        let squares = Products::new(square_terms(&projected.values, &hidden.values))?;
        let masks = Masks {
            row: row.commitment,
            projected: projected.commitment,
            squares: squares.pair()?,
            cross: cross.commitments,
        };
        let point = masks.evaluation_point(&mut transcript);
        let powers = powers(&point, self.rows.len());
        let responses = Responses {
            row: self.row_response(&row.values, &powers),
            projected: projected
                .values
                .iter()
                .zip(hidden.values.iter())
                .map(|(mask, value)| mask + point * value)
                .collect(),
            row_blinding: row.blinding.0 + self.folded_blindings(&powers),
            projected_blinding: projected.blinding.0 + point * hidden.blinding.0,
            cross_blinding: inner_product(&cross.blindings, &without_constant(&powers)),
            squares_blinding: inner_product(&squares.blindings, &[Scalar::ONE, point]),
        };
        Ok(NormProof { measured, projected: hidden.commitment, shown, masks, responses })
    }

    /// The terms of the linear relation from power -m to m - 1: ⟨x_i, a_j⟩ has the power i - j, where x_0 is the mask.
    fn cross_terms(&self, relation: &Relation, mask: &[Scalar], projected_mask: &[Scalar]) -> Zeroizing<Vec<Scalar>> {
        let (count, width) = (self.rows.len(), mask.len());
        let rows: Vec<_> = self.rows.iter().cloned().chain([ones(width)]).chain(limb_rows(mask)).collect();
        let found = products(&rows, &relation.form, width);
        let (rows, rest) = found.split_at_checked(count).unwrap_or_default();
        let (ones, mask_rows) = rest.split_first().map(|(ones, rest)| (ones.as_slice(), rest)).unwrap_or_default();
        let shift = Scalar::from(MAX_COORDINATE);
        let mut terms = Zeroizing::new(vec![Scalar::ZERO; count.saturating_mul(2)]);
        let mask_sum: Scalar = mask.iter().sum();
        for (term, product) in terms.iter_mut().zip(joined_rows(mask_rows).iter().rev()) {
            *term += product - relation.offset * mask_sum;
        }
        for (power, (row, sum)) in (1..).zip(rows.iter().zip(self.sums.iter())) {
            let offset = relation.offset * sum;
            for (term, (product, one)) in terms.iter_mut().skip(power).zip(row.iter().zip(ones).rev()) {
                *term += product - shift * one - offset;
            }
        }
        let of_projected = inner_product(&relation.on_projected, projected_mask);
        terms.iter_mut().take(count).skip(count.saturating_sub(1)).for_each(|term| *term += of_projected);
        terms
    }

    /// The mask and the rows, each times its power.
    fn row_response(&self, mask: &[Scalar], powers: &[Scalar]) -> Vec<Scalar> {
        let weights: Vec<Scalar> = self.positive_powers(powers).collect();
        let shift = Scalar::from(MAX_COORDINATE) * weights.iter().sum::<Scalar>();
        let sums = weighted_sum(&self.rows, &weights, mask.len());
        sums.iter().zip(mask).map(|(sum, mask)| sum - shift + mask).collect()
    }

    fn folded_blindings(&self, powers: &[Scalar]) -> Scalar {
        self.positive_powers(powers).zip(self.blindings).map(|(power, blinding)| power * blinding.0).sum()
    }

    /// From 1 to m, of those from -m to m - 1.
    fn positive_powers(&self, powers: &[Scalar]) -> impl Iterator<Item = Scalar> {
        let rows = self.rows.len();
        let point = powers.get(rows.saturating_add(1)).copied().unwrap_or(Scalar::ONE);
        std::iter::successors(Some(point), move |power| Some(power * point)).take(rows)
    }
}

/// The squares' terms of power 0 and 1, of ⟨α + e v, α + e v⟩.
fn square_terms(mask: &[Scalar], hidden: &[Scalar]) -> Zeroizing<Vec<Scalar>> {
    let projections = |values: &[Scalar]| values.iter().take(PROJECTIONS).copied().collect::<Vec<_>>();
    let (mask, values) = (Zeroizing::new(projections(mask)), Zeroizing::new(projections(hidden)));
    let mixed = inner_product(&mask, &values);
    Zeroizing::new(vec![inner_product(&mask, &mask), mixed + mixed])
}

/// A vector under a commitment.
struct Hidden {
    values: Zeroizing<Vec<Scalar>>,
    blinding: SecretScalar,
    commitment: Element,
}

impl Hidden {
    fn new(values: Zeroizing<Vec<Scalar>>, generators: &[RistrettoPoint]) -> Result<Self, CryptoError> {
        let blinding = SecretScalar::random()?;
        let batches = values.chunks(BATCH).zip(generators.chunks(BATCH));
        let batches = batches.map(|(values, points)| RistrettoPoint::multiscalar_mul(values, points));
        let point = batches.sum::<RistrettoPoint>() + RistrettoPoint::mul_base(&blinding.0);
        Ok(Self { values, blinding, commitment: Element::of(point) })
    }
}

/// Numbers, each under a commitment of its own.
struct Products {
    blindings: Zeroizing<Vec<Scalar>>,
    commitments: Vec<Element>,
}

impl Products {
    fn new(values: Zeroizing<Vec<Scalar>>) -> Result<Self, CryptoError> {
        let blindings = uniform(values.len())?;
        let commit = |(value, blinding): (&Scalar, &Scalar)| {
            let points = [product_generator(), &RISTRETTO_BASEPOINT_POINT];
            Element::of(RistrettoPoint::multiscalar_mul([value, blinding], points))
        };
        let commitments = values.iter().zip(blindings.iter()).map(commit).collect();
        Ok(Self { blindings, commitments })
    }

    fn pair(&self) -> Result<[Element; 2], CryptoError> {
        let pair = self.commitments.first_chunk().copied();
        pair.ok_or(CryptoError::NormProof { part: "terms of the squares" })
    }
}

impl Masks {
    /// Drawn once all of them are in the transcript.
    pub(super) fn evaluation_point(&self, transcript: &mut Transcript) -> Scalar {
        self.elements().for_each(|element| transcript.absorb("mask", element.as_bytes()));
        transcript.challenge("evaluation point").scalar()
    }
}

fn uniform(count: usize) -> Result<Zeroizing<Vec<Scalar>>, CryptoError> {
    let mut scalars = Zeroizing::new(Vec::with_capacity(count));
    for _ in 0..count {
        scalars.push(SecretScalar::random()?.0);
    }
    Ok(scalars)
}

/// Uniform in ±2^111, so that adding a sum of projections, which is below 2^47, is not seen.
fn hiding_numbers() -> Result<Zeroizing<Vec<i128>>, CryptoError> {
    let mut numbers = Zeroizing::new(Vec::with_capacity(SHOWN));
    for _ in 0..SHOWN {
        numbers.push(i128::from_le_bytes(*random_bytes()?) >> (128 - SHOWN_BITS));
    }
    Ok(numbers)
}
