//! Secrets shared over the scalar field (Shamir 1979), with public commitments to the polynomial by which each share can be
//! checked (Feldman 1987). Fewer shares than the threshold say nothing about the secret.
//!
//! These are our own lines because the crates for it went wrong at just this: `sharks` chose coefficients from 1 to 255,
//! which leaks the secret over many sharings (RUSTSEC-2024-0398), and an audit of `vsss-rs` found biased coefficients and
//! zero coefficients refused (its issue 24). Here coefficients are uniform over the whole field, zero included. They follow
//! from the secret by a key derivation: who does not have the secret, which has 252 bits of chance, cannot tell them from
//! random ones, and who has it can check the whole dealing.

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use serde::{Deserialize, Serialize};

use super::{AgreementPublic, SecretScalar, Seed};
use crate::CryptoError;
use crate::signing::lower_hex_bytes;

/// The most shares of one secret.
pub const MAX_SHARES: usize = 1024;

const POINT_LEN: usize = 32;

/// A secret in shares.
#[derive(Debug)]
pub struct Dealing {
    /// The shares at 1, 2, 3, ... in this order.
    pub shares: Vec<SecretScalar>,
    /// What every share can be checked against. They show the secret times the group's generator, so a secret that could
    /// be guessed must not be shared so.
    pub commitments: ShareCommitments,
}

/// Shares `secret` so that any `threshold` of the `count` shares give it back; at most [`MAX_SHARES`]. The same secret is
/// always shared alike.
pub fn share(secret: &SecretScalar, threshold: usize, count: usize) -> Result<Dealing, CryptoError> {
    let coefficient = |power| Seed::of_scalar(secret, &coefficient(power)).to_scalar();
    let polynomial = Polynomial::through(secret, threshold, count, coefficient)?;
    Ok(Dealing { shares: polynomial.shares(count), commitments: polynomial.commitments() })
}

/// The coefficients, the secret first.
struct Polynomial(Vec<SecretScalar>);

impl Polynomial {
    fn through(
        secret: &SecretScalar,
        threshold: usize,
        count: usize,
        coefficient: impl Fn(usize) -> SecretScalar,
    ) -> Result<Self, CryptoError> {
        if !(1..=count.min(MAX_SHARES)).contains(&threshold) || count > MAX_SHARES {
            return Err(CryptoError::Threshold { threshold, count });
        }
        Ok(Self(std::iter::once(secret.clone()).chain((1..threshold).map(coefficient)).collect()))
    }

    fn shares(&self, count: usize) -> Vec<SecretScalar> {
        (1..=u32::MAX).take(count).map(|index| self.at(index)).collect()
    }

    /// Horner's rule.
    fn at(&self, index: u32) -> SecretScalar {
        let index = Scalar::from(index);
        SecretScalar(self.0.iter().rfold(Scalar::ZERO, |sum, coefficient| sum * index + coefficient.0))
    }

    fn commitments(&self) -> ShareCommitments {
        // Of halves, because it is the doubles of points that are encoded together, with one inversion for all.
        let halves = self.0.iter().map(|coefficient| RistrettoPoint::mul_base(&coefficient.0.div_by_2()));
        ShareCommitments(RistrettoPoint::double_and_compress_batch(&halves.collect::<Vec<_>>()))
    }
}

/// What the coefficient of a power is derived for.
fn coefficient(power: usize) -> Vec<u8> {
    format!("ringfence/v1/coefficient\n{power}").into_bytes()
}

/// Commitments to the coefficients of a sharing's polynomial, as many as its threshold; written as one text of 64
/// lower-case hexadecimal digits each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShareCommitments(Vec<CompressedRistretto>);

impl ShareCommitments {
    /// Reads commitments of 32 bytes each, 1 to [`MAX_SHARES`]. Whether they are group elements shows when they are used.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
        let (points, rest) = bytes.as_chunks::<POINT_LEN>();
        if rest.is_empty() && (1..=MAX_SHARES).contains(&points.len()) {
            Ok(Self(points.iter().copied().map(CompressedRistretto).collect()))
        } else {
            Err(CryptoError::ShareCommitments { bytes: bytes.len() })
        }
    }

    /// The commitments' bytes, 32 each.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(CompressedRistretto::to_bytes).collect()
    }

    /// How many shares give the secret back.
    pub fn threshold(&self) -> usize {
        self.0.len()
    }

    /// The secret times the group's generator: the public half, where the secret is a key's.
    pub fn public(&self) -> Result<AgreementPublic, CryptoError> {
        let first = self.0.first().map(CompressedRistretto::to_bytes);
        AgreementPublic::from_bytes(first.unwrap_or_default())
    }

    /// Checks that `share` is the one at `index`; names the index where it is not.
    pub fn verify(&self, index: u32, share: &SecretScalar) -> Result<(), CryptoError> {
        let x = Scalar::from(index);
        let powers = std::iter::successors(Some(Scalar::ONE), |power| Some(power * x)).take(self.0.len());
        let powers: Vec<Scalar> = powers.collect();
        let points = self.0.iter().map(CompressedRistretto::decompress);
        let expected = RistrettoPoint::optional_multiscalar_mul(powers, points);
        let fits = index > 0 && expected == Some(RistrettoPoint::mul_base(&share.0));
        fits.then_some(()).ok_or(CryptoError::WrongShare { index })
    }
}

impl TryFrom<String> for ShareCommitments {
    type Error = CryptoError;

    fn try_from(text: String) -> Result<Self, CryptoError> {
        let bytes = lower_hex_bytes(&text).ok_or(CryptoError::ShareCommitments { bytes: text.len() / 2 })?;
        Self::from_bytes(&bytes)
    }
}

impl From<ShareCommitments> for String {
    fn from(commitments: ShareCommitments) -> String {
        hex::encode(commitments.to_bytes())
    }
}

/// The Lagrange weights that take shares at fixed indices to their polynomial's value at 0. They are computed once; each
/// secret then costs one inner product.
#[derive(Debug, Clone)]
pub struct Interpolation(Vec<Scalar>);

impl Interpolation {
    /// The weights for shares at `indices`; refuses fewer than `threshold` of them, an index twice, and index 0.
    pub fn at(indices: &[u32], threshold: usize) -> Result<Self, CryptoError> {
        if indices.len() < threshold || indices.is_empty() {
            return Err(CryptoError::TooFewShares { found: indices.len(), needed: threshold.max(1) });
        }
        let mut sorted = indices.to_vec();
        sorted.sort_unstable();
        let twice = sorted.array_windows().find(|[a, b]| a == b).map(|[a, _]| *a);
        if let Some(index) = twice.or_else(|| sorted.first().copied().filter(|index| *index == 0)) {
            return Err(CryptoError::ShareIndex { index });
        }
        let indices: Vec<Scalar> = indices.iter().copied().map(Scalar::from).collect();
        let mut inverses: Vec<Scalar> = indices.iter().map(|x| denominator(*x, &indices)).collect();
        Scalar::invert_batch_alloc(&mut inverses);
        let product: Scalar = indices.iter().product();
        Ok(Self(inverses.into_iter().map(|inverse| inverse * product).collect()))
    }

    /// The secret whose shares at the indices of these weights, in the same order, are `shares`. Shares that do not belong
    /// together give some other scalar: check what comes out, or the shares by [`ShareCommitments::verify`].
    pub fn secret(&self, shares: &[SecretScalar]) -> Result<SecretScalar, CryptoError> {
        if shares.len() != self.0.len() {
            return Err(CryptoError::TooFewShares { found: shares.len(), needed: self.0.len() });
        }
        Ok(SecretScalar(self.0.iter().zip(shares).map(|(weight, share)| weight * share.0).sum()))
    }
}

/// What the product of all indices is divided by for the weight at `x`: x Π (other - x).
fn denominator(x: Scalar, indices: &[Scalar]) -> Scalar {
    indices.iter().filter(|other| **other != x).fold(x, |product, other| product * (other - x))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dealing(threshold: usize, count: usize) -> (SecretScalar, Dealing) {
        let secret = SecretScalar::random().unwrap();
        let dealing = share(&secret, threshold, count).unwrap();
        (secret, dealing)
    }

    fn put_together(indices: &[u32], dealing: &Dealing) -> SecretScalar {
        let shares: Vec<_> =
            indices.iter().map(|index| dealing.shares[usize::try_from(*index).unwrap() - 1].clone()).collect();
        Interpolation::at(indices, dealing.commitments.threshold()).unwrap().secret(&shares).unwrap()
    }

    #[test]
    fn any_threshold_of_the_shares_give_the_secret_back() {
        let (secret, dealing) = dealing(3, 5);
        for a in 1..=5 {
            for b in (1..=5).filter(|b| *b != a) {
                for c in (1..=5).filter(|c| *c != a && *c != b) {
                    assert_eq!(put_together(&[a, b, c], &dealing), secret);
                }
            }
        }
        assert_eq!(put_together(&[5, 1, 4, 2, 3], &dealing), secret);
    }

    #[test]
    fn sixty_seven_of_a_hundred_give_the_secret_back() {
        let (secret, dealing) = dealing(67, 100);
        let indices: Vec<u32> = (34..=100).rev().collect();
        assert_eq!(put_together(&indices, &dealing), secret);
    }

    /// Python: 7 + 11 x + 13 x^2 at 1, 2, 3 and back.
    #[test]
    fn a_small_polynomial_is_evaluated_and_interpolated_by_hand() {
        let scalar = |value: u64| SecretScalar(Scalar::from(value));
        let polynomial = Polynomial(vec![scalar(7), scalar(11), scalar(13)]);
        let shares = polynomial.shares(3);
        assert_eq!(shares, [scalar(31), scalar(81), scalar(157)]);
        assert_eq!(Interpolation::at(&[1, 2, 3], 3).unwrap().secret(&shares).unwrap(), scalar(7));
    }

    #[test]
    fn a_wrong_share_is_named_and_a_right_one_passes() {
        let (_, dealing) = dealing(4, 7);
        for (index, share) in (1..).zip(&dealing.shares) {
            dealing.commitments.verify(index, share).unwrap();
            let wrong = SecretScalar(share.0 + Scalar::ONE);
            let named = dealing.commitments.verify(index, &wrong).unwrap_err();
            assert!(matches!(named, CryptoError::WrongShare { index: named } if named == index));
            assert!(dealing.commitments.verify(index + 1, share).is_err());
        }
    }

    #[test]
    fn every_coefficient_has_its_commitment_also_zero() {
        let coefficients = [7, 0, 1, u64::MAX].map(|value| SecretScalar(Scalar::from(value)));
        let commitments = Polynomial(coefficients.to_vec()).commitments();
        let expected = coefficients.map(|coefficient| RistrettoPoint::mul_base(&coefficient.0).compress());
        assert_eq!(commitments.0, expected);
    }

    #[test]
    fn the_first_commitment_is_the_shared_keys_public_half() {
        let key = crate::masking::RoundKey::generate().unwrap();
        let dealing = share(&key.to_scalar(), 2, 3).unwrap();
        assert_eq!(dealing.commitments.public().unwrap(), key.public());
    }

    #[test]
    fn indices_twice_or_zero_and_too_few_shares_are_refused() {
        assert!(matches!(Interpolation::at(&[1, 2, 1], 3), Err(CryptoError::ShareIndex { index: 1 })));
        assert!(matches!(Interpolation::at(&[3, 0, 1], 3), Err(CryptoError::ShareIndex { index: 0 })));
        assert!(matches!(Interpolation::at(&[3, 1], 3), Err(CryptoError::TooFewShares { found: 2, needed: 3 })));
        assert!(Interpolation::at(&[], 0).is_err());
        let (_, dealing) = dealing(2, 3);
        assert!(Interpolation::at(&[1, 2], 2).unwrap().secret(&dealing.shares).is_err());
    }

    #[test]
    fn thresholds_that_make_no_sense_are_refused() {
        let secret = SecretScalar::random().unwrap();
        for (threshold, count) in [(0, 3), (4, 3), (1, 0), (3, MAX_SHARES + 1)] {
            assert!(share(&secret, threshold, count).is_err(), "{threshold} of {count}");
        }
    }

    #[test]
    fn commitments_are_read_as_they_are_written() {
        let (_, dealing) = dealing(3, 4);
        let bytes = dealing.commitments.to_bytes();
        assert_eq!(ShareCommitments::from_bytes(&bytes).unwrap(), dealing.commitments);
        let text = String::from(dealing.commitments.clone());
        assert_eq!(ShareCommitments::try_from(text.clone()).unwrap(), dealing.commitments);
        assert!(ShareCommitments::try_from(text.to_uppercase()).is_err());
        assert!(ShareCommitments::from_bytes(&bytes[1..]).is_err());
        assert!(ShareCommitments::from_bytes(&[]).is_err());
    }

    #[test]
    fn a_secret_is_always_shared_alike_and_no_other_secret_so() {
        let secret = SecretScalar::random().unwrap();
        let (one, again) = (share(&secret, 3, 4).unwrap(), share(&secret, 3, 4).unwrap());
        assert_eq!((&one.shares, &one.commitments), (&again.shares, &again.commitments));
        let next = share(&SecretScalar(secret.0 + Scalar::ONE), 3, 4).unwrap();
        let differences = |dealing: &Dealing| dealing.shares[1].0 - dealing.shares[0].0;
        assert_ne!(differences(&one), differences(&next));
    }

    const CELLS: usize = 64;
    const DEALINGS: usize = 20_000;

    /// How often the lowest three bits of two shares are what, over many dealings of one secret with the threshold 3.
    fn histogram(secret: u64) -> [f64; CELLS] {
        let mut cells = [0.0; CELLS];
        for _ in 0..DEALINGS {
            // A secret of no chance has no coefficients of its own.
            let random = |_| SecretScalar::random().unwrap();
            let shares = Polynomial::through(&SecretScalar(Scalar::from(secret)), 3, 5, random).unwrap().shares(2);
            let bits = |index: usize| usize::from(shares[index].to_bytes()[0] & 7);
            cells[bits(0) * 8 + bits(1)] += 1.0;
        }
        cells
    }

    /// Two-sample chi-square with 63 degrees of freedom (mean 63, deviation 11.2): a value above 160 has a chance below
    /// 1e-9 where the two distributions are the same.
    #[test]
    fn fewer_shares_than_the_threshold_are_distributed_alike_for_two_secrets() {
        let (a, b) = (histogram(0), histogram(1));
        let statistic: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2) / (a + b)).sum();
        assert!(statistic < 160.0, "{statistic}");
    }
}
