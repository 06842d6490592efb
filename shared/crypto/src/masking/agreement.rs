//! Diffie–Hellman over Ristretto: two sites come to the same seed without sending it. Keys that are no group element are
//! refused when they are read; what two keys agree on is never used itself, only what HKDF derives from it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use ring::digest::{Context, SHA512};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::element::Element;
use super::{SecretScalar, Seed};
use crate::{CryptoError, key_file, random_bytes};

const SEED_DOMAIN: &[u8] = b"ringfence agreement key v1\0";

/// A site's key to agree by: long-term where it stands in a file, or fresh for one dealing of shares. Its secret leaves it
/// never, not even as shares.
pub struct AgreementKey(KeyPair);

impl AgreementKey {
    /// A new key that lives in memory.
    pub fn generate() -> Result<Self, CryptoError> {
        Ok(Self(KeyPair::new(SecretScalar::random()?)))
    }

    /// The key whose seed (32 bytes) stands at `path`; makes it on first use.
    pub fn load_or_create(path: &Path) -> Result<Self, CryptoError> {
        let seed = key_file::load_or_create::<32>(path, random_bytes)?;
        Ok(Self(KeyPair::new(scalar_of_seed(&seed))))
    }

    /// The public half.
    pub fn public(&self) -> AgreementPublic {
        self.0.public
    }

    /// What this key and `other` have in common: one scalar multiplication. Keep it where one pair needs several seeds.
    pub fn agree(&self, other: &AgreementPublic) -> PairSecret {
        self.0.agree(other)
    }

    /// What this key and each of `others` have in common, in their order; cheaper than one by one.
    pub fn agree_all<'a>(&self, others: impl IntoIterator<Item = &'a AgreementPublic>) -> Vec<PairSecret> {
        self.0.agree_all(others)
    }

    /// The seed that this key and `other` have in common for `info`.
    pub fn pair_seed(&self, other: &AgreementPublic, info: &[u8]) -> Seed {
        self.agree(other).seed(info)
    }

    /// The key that follows from a secret of 256 bits, for what is to be checked by whoever learns that secret.
    pub(super) fn following_from(secret: &Seed) -> Self {
        Self(KeyPair::new(secret.to_scalar()))
    }
}

impl fmt::Debug for AgreementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgreementKey(redacted, public {})", self.0.public)
    }
}

/// A site's key for the masks of one round. Its secret can be shared, so that the masks of a site that dropped can be
/// taken off.
pub struct RoundKey(KeyPair);

impl RoundKey {
    /// A new random key.
    pub fn generate() -> Result<Self, CryptoError> {
        Ok(Self(KeyPair::new(SecretScalar::random()?)))
    }

    /// The key with this secret, such as one put together from shares; compare its public half with the announced one.
    pub fn from_scalar(secret: SecretScalar) -> Self {
        Self(KeyPair::new(secret))
    }

    /// The secret, to be shared.
    pub fn to_scalar(&self) -> SecretScalar {
        self.0.secret.clone()
    }

    /// The public half.
    pub fn public(&self) -> AgreementPublic {
        self.0.public
    }

    /// What this key and each of `others` have in common, in their order; cheaper than one by one.
    pub fn agree_all<'a>(&self, others: impl IntoIterator<Item = &'a AgreementPublic>) -> Vec<PairSecret> {
        self.0.agree_all(others)
    }

    /// The seed that this key and `other` have in common for `info`.
    pub fn pair_seed(&self, other: &AgreementPublic, info: &[u8]) -> Seed {
        self.0.agree(other).seed(info)
    }
}

impl fmt::Debug for RoundKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoundKey(redacted, public {})", self.0.public)
    }
}

struct KeyPair {
    secret: SecretScalar,
    public: AgreementPublic,
}

impl KeyPair {
    fn new(secret: SecretScalar) -> Self {
        let public = AgreementPublic(Element::of(RistrettoPoint::mul_base(&secret.0)));
        Self { secret, public }
    }

    fn agree(&self, other: &AgreementPublic) -> PairSecret {
        PairSecret(Zeroizing::new((other.point() * self.secret.0).compress().to_bytes()))
    }

    /// Half the secret goes into the products, because it is the doubles of points that are encoded together, with one
    /// inversion for all.
    fn agree_all<'a>(&self, others: impl IntoIterator<Item = &'a AgreementPublic>) -> Vec<PairSecret> {
        let half = Zeroizing::new(self.secret.0.div_by_2());
        let points = Zeroizing::new(others.into_iter().map(|other| other.point() * *half).collect::<Vec<_>>());
        let encoded = Zeroizing::new(RistrettoPoint::double_and_compress_batch(points.iter()));
        encoded.iter().map(|pair| PairSecret(Zeroizing::new(pair.to_bytes()))).collect()
    }
}

pub(super) fn scalar_of_seed(seed: &[u8; 32]) -> SecretScalar {
    let mut context = Context::new(&SHA512);
    context.update(SEED_DOMAIN);
    context.update(seed);
    let mut wide = Zeroizing::new([0; 64]);
    wide.copy_from_slice(context.finish().as_ref());
    SecretScalar(Scalar::from_bytes_mod_order_wide(&wide))
}

/// A public key, written as 64 lower-case hexadecimal digits: an element of the group, and not the identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgreementPublic(Element);

impl AgreementPublic {
    /// The key with these bytes (RFC 9496, section 4.3.1).
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, CryptoError> {
        Element::from_bytes(bytes).map(Self)
    }

    /// The key's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    pub(super) fn point(&self) -> &RistrettoPoint {
        self.0.point()
    }
}

impl FromStr for AgreementPublic {
    type Err = CryptoError;

    fn from_str(text: &str) -> Result<Self, CryptoError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for AgreementPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What two keys have in common. Nobody without one of the two secrets can compute it.
pub struct PairSecret(Zeroizing<[u8; 32]>);

impl PairSecret {
    /// The pair's seed for `info`, which names the use and both sides in an order that both agree on.
    pub fn seed(&self, info: &[u8]) -> Seed {
        Seed::derive(self.0.as_slice(), info)
    }
}

impl fmt::Debug for PairSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairSecret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_come_to_the_same_seed_and_nobody_else_does() {
        let (a, b) = (RoundKey::generate().unwrap(), RoundKey::generate().unwrap());
        let seed = a.pair_seed(&b.public(), b"round 1");
        assert_eq!(seed, b.pair_seed(&a.public(), b"round 1"));
        assert_ne!(seed, b.pair_seed(&a.public(), b"round 2"));
        assert_ne!(seed, RoundKey::generate().unwrap().pair_seed(&a.public(), b"round 1"));
    }

    #[test]
    fn agreeing_with_many_at_once_comes_to_the_same_as_one_by_one() {
        let (long_term, round) = (AgreementKey::generate().unwrap(), RoundKey::generate().unwrap());
        for count in [0, 1, 2, 33] {
            let others: Vec<AgreementPublic> = (0..count).map(|_| RoundKey::generate().unwrap().public()).collect();
            let seeds = |pairs: Vec<PairSecret>| pairs.iter().map(|pair| pair.seed(b"x")).collect::<Vec<_>>();
            let expected: Vec<Seed> = others.iter().map(|other| long_term.pair_seed(other, b"x")).collect();
            assert_eq!(seeds(long_term.agree_all(&others)), expected);
            let expected: Vec<Seed> = others.iter().map(|other| round.pair_seed(other, b"x")).collect();
            assert_eq!(seeds(round.agree_all(&others)), expected);
        }
    }

    #[test]
    fn a_fresh_key_and_a_long_term_key_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agreement.key");
        let site = AgreementKey::load_or_create(&path).unwrap();
        let dealer = AgreementKey::generate().unwrap();
        let again = AgreementKey::load_or_create(&path).unwrap();
        assert_eq!(again.public(), site.public());
        assert_eq!(dealer.pair_seed(&site.public(), b"x"), again.agree(&dealer.public()).seed(b"x"));
    }

    #[test]
    fn a_round_key_put_together_again_is_the_same_key() {
        let key = RoundKey::generate().unwrap();
        assert_eq!(RoundKey::from_scalar(key.to_scalar()).public(), key.public());
    }

    #[test]
    fn a_public_key_is_read_as_it_is_written() {
        let public = RoundKey::generate().unwrap().public();
        assert_eq!(public.to_string().parse::<AgreementPublic>().unwrap(), public);
        assert_eq!(AgreementPublic::from_bytes(*public.as_bytes()).unwrap(), public);
        assert!(AgreementPublic::from_bytes([0; 32]).is_err());
        assert!("ff".repeat(32).parse::<AgreementPublic>().is_err());
    }

    #[test]
    fn no_secret_is_printed() {
        let key = RoundKey::from_scalar(SecretScalar::from_bytes(&[0x0b; 32]).unwrap());
        assert!(!format!("{key:?}").contains("0b0b"));
        let printed = format!("{:?}", key.0.agree(&key.public()));
        assert_eq!(printed, "PairSecret(redacted)");
    }
}
