//! What a norm proof proves, to whom it is refused, and what it hides.
#![expect(clippy::as_conversions, reason = "statistics of small numbers")]

use curve25519_dalek::ristretto::RistrettoPoint;

use super::prove::Witness;
use super::statement::{Statement, Subsets, may_be_shown};
use super::transcript::Transcript;
use super::*;
use crate::CryptoError;
use crate::masking::{Commitment, CommitmentKey, SecretScalar};
use shared::masking::Layout;

const CONTEXT: &[u8] = b"round 1, site a";

/// A vector with its commitments.
struct Site {
    key: CommitmentKey,
    values: Vec<i32>,
    blindings: Vec<SecretScalar>,
    commitments: Vec<Commitment>,
}

impl Site {
    fn new(values: Vec<i32>) -> Self {
        let key = CommitmentKey::new(values.len(), Layout::Provable);
        let blindings: Vec<_> = (0..key.rows()).map(|_| SecretScalar::random().unwrap()).collect();
        let commitments = key.commit(&values, &blindings).unwrap();
        Self { key, values, blindings, commitments }
    }

    fn prove(&self, challenge: &NormChallenge<'_>) -> NormProof {
        let Self { key, values, blindings, commitments } = self;
        NormProof::prove(key, challenge, values, blindings, commitments, CONTEXT).unwrap()
    }

    fn verify(&self, proof: &NormProof, challenge: &NormChallenge<'_>) -> Result<Measured, CryptoError> {
        proof.verify(&self.key, challenge, &self.commitments, CONTEXT)
    }

    /// What an honest prover makes of a claim that need not be true.
    fn claim(&self, challenge: &NormChallenge<'_>, measured: Measured) -> NormProof {
        let Self { key, values, blindings, commitments } = self;
        let statement = Statement { key, challenge, commitments, context: CONTEXT };
        Witness::new(&statement, values, blindings).unwrap().prove(&statement, measured).unwrap()
    }
}

fn vector(count: usize, seed: u32) -> Vec<i32> {
    let words =
        std::iter::successors(Some(seed), |word| Some(word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)));
    words.skip(1).take(count).map(|word| word.cast_signed() >> 17).collect()
}

const NO_DIRECTION: NormChallenge<'_> = NormChallenge { seed: [9; 32], direction: None };

fn refused_for(result: &Result<Measured, CryptoError>, expected: &str) -> bool {
    matches!(result, Err(CryptoError::NormProof { part }) if *part == expected)
}

#[test]
fn an_honest_proof_shows_the_squares_and_the_inner_product() {
    let extreme = |value: i32| move |count| vec![value; count];
    let vectors: [&dyn Fn(usize) -> Vec<i32>; 4] =
        [&|count| vector(count, 1), &extreme(1 << 15), &extreme(-(1 << 15)), &extreme(0)];
    for count in [1, 7, 100, 3000] {
        for values in vectors.iter().map(|values| values(count)) {
            let site = Site::new(values);
            let direction = vector(count, 2);
            for direction in [None, Some(direction.as_slice())] {
                let challenge = NormChallenge { seed: [7; 32], direction };
                let proof = site.prove(&challenge);
                let measured = site.verify(&proof, &challenge).unwrap();
                let projected = crate::masking::projection::Projections::new(&challenge.seed).project(&site.values);
                assert_eq!(measured.squares, projected.iter().map(|v| u128::from(v.unsigned_abs()).pow(2)).sum());
                let inner = |direction: &[i32]| {
                    direction.iter().zip(&site.values).map(|(g, x)| i64::from(*g) * i64::from(*x)).sum::<i64>()
                };
                assert_eq!((measured, measured.inner), (proof.claimed(), direction.map(inner)));
                assert_eq!(NormProof::from_bytes(&proof.to_bytes(), &site.key).unwrap(), proof);
            }
        }
    }
}

#[test]
fn a_proof_is_for_one_statement_only() {
    let site = Site::new(vector(100, 1));
    let directions = [vector(100, 2), vector(100, 3)];
    let challenge = NormChallenge { seed: [1; 32], direction: Some(&directions[0]) };
    let proof = site.prove(&challenge);
    let refused = |challenge: &NormChallenge<'_>| site.verify(&proof, challenge).is_err();
    assert!(!refused(&challenge));
    assert!(refused(&NormChallenge { seed: [2; 32], ..challenge }));
    assert!(refused(&NormChallenge { direction: Some(&directions[1]), ..challenge }));
    assert!(refused_for(&site.verify(&proof, &NormChallenge { direction: None, ..challenge }), "inner product"));
    assert!(proof.verify(&site.key, &challenge, &site.commitments, b"round 2, site a").is_err());
    for row in 0..site.key.rows() {
        let mut others = site.commitments.clone();
        others[row] = others[(row + 1) % others.len()];
        assert!(proof.verify(&site.key, &challenge, &others, CONTEXT).is_err());
    }
    assert!(Site::new(site.values.clone()).verify(&proof, &challenge).is_err());
}

#[test]
fn a_lie_about_the_squares_or_the_inner_product_is_found() {
    let site = Site::new(vector(100, 1));
    let direction = vector(100, 2);
    let challenge = NormChallenge { seed: [1; 32], direction: Some(&direction) };
    let truth = site.prove(&challenge).claimed();
    assert_eq!(site.verify(&site.claim(&challenge, truth), &challenge).unwrap(), truth);
    let inner = truth.inner.unwrap();
    for lie in [
        Measured { squares: truth.squares + 1, ..truth },
        Measured { squares: 0, ..truth },
        Measured { inner: Some(inner + 1), ..truth },
        Measured { inner: Some(-inner), ..truth },
    ] {
        assert!(refused_for(&site.verify(&site.claim(&challenge, lie), &challenge), "equations"), "{lie:?}");
        let proof = NormProof { measured: lie, ..site.prove(&challenge) };
        assert!(refused_for(&site.verify(&proof, &challenge), "equations"), "{lie:?}");
    }
}

#[test]
fn a_prover_with_other_values_or_blindings_than_were_committed_to_is_found() {
    let site = Site::new(vector(100, 1));
    for change in 0..2 {
        let (mut values, mut blindings) = (site.values.clone(), site.blindings.clone());
        if change == 0 {
            values[99] ^= 1
        } else {
            blindings[1] = SecretScalar::random().unwrap()
        }
        let proof =
            NormProof::prove(&site.key, &NO_DIRECTION, &values, &blindings, &site.commitments, CONTEXT).unwrap();
        assert!(refused_for(&site.verify(&proof, &NO_DIRECTION), "equations"));
    }
}

/// Every word of a proof: one more in its lowest byte where that can be read, and nothing that reads is accepted.
#[test]
fn a_proof_with_any_word_changed_is_refused() {
    let site = Site::new(vector(40, 1));
    let direction = vector(40, 2);
    let challenge = NormChallenge { seed: [1; 32], direction: Some(&direction) };
    let proof = site.prove(&challenge);
    let bytes = proof.to_bytes();
    let words = (0..25).chain((57..bytes.len()).step_by(16)).chain([25, 40, bytes.len() - 1]);
    let mut read = 0;
    for place in words {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        let parsed = NormProof::from_bytes(&changed, &site.key);
        read += u32::from(parsed.is_ok());
        assert!(parsed.is_err() || site.verify(&parsed.unwrap(), &challenge).is_err(), "byte {place}");
    }
    assert!(read > 700, "{read} were read");
}

#[test]
fn a_proof_with_an_element_exchanged_for_another_is_refused() {
    let site = Site::new(vector(40, 1));
    let proof = site.prove(&NO_DIRECTION);
    let other = Element::of(RistrettoPoint::mul_base(&Scalar::from(77_u32)));
    let refused = |change: &dyn Fn(&mut NormProof)| {
        let mut changed = proof.clone();
        change(&mut changed);
        assert!(refused_for(&site.verify(&changed, &NO_DIRECTION), "equations"));
    };
    refused(&|proof| proof.projected = other);
    refused(&|proof| proof.masks.row = other);
    refused(&|proof| proof.masks.projected = other);
    refused(&|proof| proof.masks.squares[0] = other);
    refused(&|proof| proof.masks.squares[1] = other);
    (0..proof.masks.cross.len()).for_each(|term| refused(&|proof| proof.masks.cross[term] = other));
    assert_eq!(site.verify(&proof, &NO_DIRECTION).unwrap(), proof.claimed());
}

#[test]
fn parts_of_other_lengths_are_refused() {
    let site = Site::new(vector(40, 1));
    let proof = site.prove(&NO_DIRECTION);
    let mut changed = proof.clone();
    changed.responses.row.push(Scalar::ZERO);
    assert!(refused_for(&site.verify(&changed, &NO_DIRECTION), "length"));
    let mut changed = proof;
    changed.masks.cross.pop();
    assert!(refused_for(&site.verify(&changed, &NO_DIRECTION), "length"));
}

#[test]
fn bytes_that_no_proof_is_written_as_are_refused() {
    let site = Site::new(vector(40, 1));
    let bytes = site.prove(&NO_DIRECTION).to_bytes();
    assert_eq!(bytes.len(), NormProof::encoded_len(&site.key));
    let read = |bytes: &[u8]| NormProof::from_bytes(bytes, &site.key);
    for length in 0..bytes.len() {
        assert!(matches!(read(&bytes[..length]), Err(CryptoError::NormProofLength { .. })), "{length} bytes");
    }
    assert!(read(&[bytes.as_slice(), &[0]].concat()).is_err());
    let refused = |place: usize, with: &[u8], expected: &str| {
        let mut changed = bytes.clone();
        changed[place..place + with.len()].copy_from_slice(with);
        assert!(matches!(read(&changed), Err(CryptoError::NormProof { part }) if part == expected), "{place}");
    };
    refused(16, &[2], "inner product");
    refused(17, &[1], "inner product");
    refused(25, &[0; 32], "commitment to the projections");
    refused(57 + 2048, &[0xff; 32], "mask of the rows");
    let scalars = bytes.len() - 32 * (4 + 384 + site.key.width());
    // The group's order, which is zero in another spelling.
    let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    refused(scalars - 32, &[0; 32], "terms of the squares");
    refused(scalars, &order, "response of the rows");
    refused(bytes.len() - 33 * 32, &order, "response of the projections");
    refused(bytes.len() - 32, &order, "blinding of the squares");
    let other = CommitmentKey::new(1000, Layout::Provable);
    assert!(NormProof::from_bytes(&bytes, &other).is_err());
}

#[test]
fn what_no_proof_can_be_about_is_refused() {
    let site = Site::new(vector(40, 1));
    let large = vec![(1 << 15) + 1; 40];
    let prove = |challenge: &NormChallenge<'_>, values: &[i32], blindings: &[SecretScalar], rows: &[Commitment]| {
        NormProof::prove(&site.key, challenge, values, blindings, rows, CONTEXT)
    };
    let (values, blindings, rows) = (&site.values, &site.blindings, &site.commitments);
    let refused = prove(&NO_DIRECTION, &large, blindings, rows);
    assert!(matches!(refused, Err(CryptoError::Coordinate { value: 32_769, .. })));
    let steep = NormChallenge { direction: Some(&large), ..NO_DIRECTION };
    assert!(matches!(prove(&steep, values, blindings, rows), Err(CryptoError::Coordinate { .. })));
    let short = NormChallenge { direction: Some(&large[1..]), ..NO_DIRECTION };
    assert!(matches!(prove(&short, values, blindings, rows), Err(CryptoError::Dimensions { .. })));
    assert!(matches!(prove(&NO_DIRECTION, &values[1..], blindings, rows), Err(CryptoError::Dimensions { .. })));
    assert!(matches!(prove(&NO_DIRECTION, values, &blindings[1..], rows), Err(CryptoError::Rows { .. })));
    assert!(matches!(prove(&NO_DIRECTION, values, blindings, &rows[1..]), Err(CryptoError::Rows { .. })));
    let proof = site.prove(&NO_DIRECTION);
    let packed = CommitmentKey::new(40, Layout::Packed24);
    let refused = proof.verify(&packed, &NO_DIRECTION, rows, CONTEXT);
    assert!(matches!(refused, Err(CryptoError::NotProvable { dimensions: 40 })));
}

/// An entry that is no small integer modulo the group's order, such as a square root of a small number, is in half of the
/// subsets, and none of the sums with it is small.
#[test]
fn a_huge_projection_leads_out_of_the_range_shown() {
    let root = (2..100_u64).filter(|square| !square.isqrt().pow(2).eq(square)).find_map(|square| {
        // The order is 5 modulo 8: a root is square^((q + 3) / 8), times a root of -1 where that is needed.
        let minus_one = (-Scalar::ONE).to_bytes();
        // q - 1 + 4 = q + 3; without its lowest three bits, an eighth of that.
        let mut eighth = [0; 32];
        let mut carry = 4_u16;
        for (place, byte) in eighth.iter_mut().zip(minus_one) {
            let sum = u16::from(byte) + carry;
            *place = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        let bits: Vec<bool> = eighth.iter().flat_map(|byte| (0..8).map(move |bit| (byte >> bit) & 1 == 1)).collect();
        let square = Scalar::from(square);
        let candidate = bits[3..].iter().rev().fold(Scalar::ONE, |power, bit| {
            let power = power * power;
            if *bit { power * square } else { power }
        });
        (candidate * candidate == square).then_some(candidate)
    });
    let root = root.unwrap();
    assert!(small(&root).is_none());

    let commitment = Element::of(RistrettoPoint::mul_base(&root));
    let subsets = Subsets::draw(&mut Transcript::new(), &commitment);
    let mut indicator = vec![0; PROJECTIONS];
    indicator[3] = 1;
    let contains = subsets.sums(&indicator);
    let taken: i128 = contains.iter().sum();
    assert!((40..88).contains(&taken), "in {taken} of 128 subsets");
    // Whatever hides the sums was fixed before the subsets were: the entry is either in or out.
    let hiding = Scalar::from(12_345_u32);
    let passes =
        |inside: &i128| small(&(hiding + root * Scalar::from(inside.unsigned_abs()))).is_some_and(may_be_shown);
    assert_eq!(contains.iter().filter(|inside| passes(inside)).count(), 128 - usize::try_from(taken).unwrap());
}

/// The number that a scalar is, where that has at most 127 bits.
fn small(scalar: &Scalar) -> Option<i128> {
    let magnitude = |scalar: &Scalar| {
        let bytes = scalar.to_bytes();
        let (low, high) = bytes.split_first_chunk::<16>().unwrap();
        high.iter().all(|byte| *byte == 0).then(|| i128::try_from(u128::from_le_bytes(*low)).ok()).flatten()
    };
    magnitude(scalar).or_else(|| magnitude(&-scalar).map(|magnitude| -magnitude))
}

#[test]
fn sums_that_are_too_large_are_refused() {
    assert!(may_be_shown(1 << 112) && may_be_shown(-(1 << 112)));
    assert!(![(1 << 112) + 1, -(1 << 112) - 1, i128::MIN, i128::MAX].into_iter().any(may_be_shown));
    let site = Site::new(vector(40, 1));
    for shown in [(1 << 112) + 1, i128::MIN] {
        let mut proof = site.prove(&NO_DIRECTION);
        proof.shown[127] = shown;
        assert!(refused_for(&site.verify(&proof, &NO_DIRECTION), "sums over subsets"));
    }
}

/// Means of uniform numbers in 0 to 1 from proofs about the smallest and the largest vectors.
#[test]
fn what_is_shown_beside_the_measurements_looks_the_same_for_every_vector() {
    for values in [vec![0; 100], vec![1 << 15; 100]] {
        let site = Site::new(values);
        let proofs: Vec<NormProof> = (0..8).map(|_| site.prove(&NO_DIRECTION)).collect();
        let shown = proofs.iter().flat_map(|proof| &proof.shown).map(|shown| *shown as f64 / 2_f64.powi(112) + 0.5);
        let scalar =
            |scalar: &Scalar| f64::from(u16::from_le_bytes([scalar.to_bytes()[30], scalar.to_bytes()[31]])) / 4096.0;
        let responses = proofs.iter().flat_map(|proof| proof.responses.scalars()).map(scalar);
        for numbers in [shown.collect::<Vec<_>>(), responses.collect()] {
            let count = numbers.len() as f64;
            let mean = numbers.iter().sum::<f64>() / count;
            let square = numbers.iter().map(|number| number * number).sum::<f64>() / count;
            // Deviations of 0.29 and 0.30 over the root of the count; five are allowed.
            let allowed = 1.5 / count.sqrt();
            assert!((mean - 0.5).abs() < allowed && (square - 1.0 / 3.0).abs() < allowed, "{mean} {square}");
        }
    }
}

/// log2 of the Chernoff bound of χ² with k degrees of freedom at `times` its mean.
fn log2_above(times: f64) -> f64 {
    PROJECTIONS as f64 / 2.0 * (times.ln() + 1.0 - times) / 2_f64.ln()
}

/// log2 of the least bound over h for a sum of squares of at most `times` its mean.
fn log2_below(times: f64) -> f64 {
    let bound = |h: f64| PROJECTIONS as f64 * (h * times + (1.0 - h + 1.5 * h * h).ln()) / 2_f64.ln();
    (1..1000).map(|h| bound(f64::from(h) / 1000.0)).fold(0.0, f64::min)
}

#[test]
fn the_documented_bounds_follow_from_their_formulas() {
    assert!(log2_above(LARGEST_MEAN_SQUARE) < -20.0 && log2_above(LARGEST_MEAN_SQUARE - 0.001) > -20.0);
    assert!(log2_below(0.244) < -40.0 && log2_below(0.248) > -40.0, "{}", log2_below(0.244));
    assert!((LARGEST_MEAN_SQUARE / 0.244).sqrt() < 2.52);
    assert_eq!(largest_squares(1000.0), 394_496_000);
    assert_eq!((largest_squares(f64::NAN), largest_squares(f64::INFINITY)), (0, u128::MAX));
}
