//! What two keys have in common, shown to anybody with a proof that it is that (Chaum and Pedersen 1992, made
//! non-interactive by Fiat and Shamir 1986). A third party can then open what a dealer sealed for a site and see that it
//! was no share. It reveals the pair's secret for good and never the key.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use ring::digest::{Context, SHA512};
use serde::{Deserialize, Serialize};

use super::element::Element;
use super::{AgreementPublic, PairSecret, SecretScalar};
use crate::CryptoError;
use crate::signing::lower_hex;

const DOMAIN: &[u8] = b"ringfence agreement proof v1\0";
const PROOF_LEN: usize = 96;

/// The revealed point and the proof that its logarithm to the base of the peer's key is that of the prover's key to the
/// base of the generator; written as 192 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgreementProof {
    shared: Element,
    challenge: Scalar,
    response: Scalar,
}

impl AgreementProof {
    pub(super) fn new(
        secret: &SecretScalar,
        prover: &AgreementPublic,
        peer: &AgreementPublic,
    ) -> Result<Self, CryptoError> {
        let nonce = SecretScalar::random()?;
        let shared = Element::of(peer.point() * secret.0);
        let announced = [RistrettoPoint::mul_base(&nonce.0), peer.point() * nonce.0];
        let challenge = challenge(prover, peer, &shared, &announced);
        Ok(Self { shared, challenge, response: nonce.0 + challenge * secret.0 })
    }

    /// What `prover` and `peer` have in common, where the proof holds.
    pub fn verify(&self, prover: &AgreementPublic, peer: &AgreementPublic) -> Result<PairSecret, CryptoError> {
        let announced = [
            RistrettoPoint::vartime_double_scalar_mul_basepoint(&-self.challenge, prover.point(), &self.response),
            RistrettoPoint::vartime_multiscalar_mul(
                [self.response, -self.challenge],
                [peer.point(), self.shared.point()],
            ),
        ];
        let holds = challenge(prover, peer, &self.shared, &announced) == self.challenge;
        holds.then(|| PairSecret::from_bytes(*self.shared.as_bytes())).ok_or(CryptoError::AgreementProof)
    }

    /// The proof with these bytes; refuses numbers and points in other than their one spelling.
    pub fn from_bytes(bytes: &[u8; PROOF_LEN]) -> Result<Self, CryptoError> {
        let ([shared, challenge, response], []) = bytes.as_chunks::<32>() else {
            return Err(CryptoError::AgreementProof);
        };
        let scalar = |bytes| Scalar::from_canonical_bytes(bytes).into_option().ok_or(CryptoError::AgreementProof);
        Ok(Self { shared: Element::from_bytes(*shared)?, challenge: scalar(*challenge)?, response: scalar(*response)? })
    }

    /// The proof's bytes: the point, the challenge, the response.
    pub fn to_bytes(&self) -> [u8; PROOF_LEN] {
        let mut bytes = [0; PROOF_LEN];
        let parts = [self.shared.as_bytes(), self.challenge.as_bytes(), self.response.as_bytes()];
        bytes.iter_mut().zip(parts.into_iter().flatten()).for_each(|(byte, part)| *byte = *part);
        bytes
    }
}

/// Fiat–Shamir over everything that both sides see.
fn challenge(
    prover: &AgreementPublic,
    peer: &AgreementPublic,
    shared: &Element,
    announced: &[RistrettoPoint; 2],
) -> Scalar {
    let mut context = Context::new(&SHA512);
    context.update(DOMAIN);
    for bytes in [prover.as_bytes(), peer.as_bytes(), shared.as_bytes()] {
        context.update(bytes);
    }
    announced.iter().for_each(|point| context.update(point.compress().as_bytes()));
    let mut wide = [0; 64];
    wide.copy_from_slice(context.finish().as_ref());
    Scalar::from_bytes_mod_order_wide(&wide)
}

impl TryFrom<String> for AgreementProof {
    type Error = CryptoError;

    fn try_from(text: String) -> Result<Self, CryptoError> {
        Self::from_bytes(&lower_hex(&text).ok_or(CryptoError::AgreementProof)?)
    }
}

impl From<AgreementProof> for String {
    fn from(proof: AgreementProof) -> String {
        hex::encode(proof.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masking::{AgreementKey, open_share, seal_share};

    #[test]
    fn a_third_party_opens_what_the_dealer_sealed() {
        let (dealer, receiver) = (AgreementKey::generate().unwrap(), AgreementKey::generate().unwrap());
        let share = SecretScalar::random().unwrap();
        let sealed = seal_share(&dealer.pair_seed(&receiver.public(), b"round 1"), &share);
        let text = String::from(receiver.reveal(&dealer.public()).unwrap());
        let proof = AgreementProof::try_from(text).unwrap();
        let pair = proof.verify(&receiver.public(), &dealer.public()).unwrap();
        assert_eq!(open_share(&pair.seed(b"round 1"), &sealed).unwrap(), share);
    }

    #[test]
    fn a_point_of_other_keys_is_refused() {
        let keys: Vec<_> = (0..3).map(|_| AgreementKey::generate().unwrap()).collect();
        let proof = keys[0].reveal(&keys[1].public()).unwrap();
        assert!(proof.verify(&keys[0].public(), &keys[1].public()).is_ok());
        assert!(proof.verify(&keys[1].public(), &keys[0].public()).is_err());
        assert!(proof.verify(&keys[0].public(), &keys[2].public()).is_err());
        assert!(proof.verify(&keys[2].public(), &keys[1].public()).is_err());
        let other = keys[0].reveal(&keys[2].public()).unwrap();
        let swapped = AgreementProof { shared: other.shared, ..proof };
        assert!(swapped.verify(&keys[0].public(), &keys[1].public()).is_err());
    }

    #[test]
    fn any_flipped_bit_is_refused() {
        let (a, b) = (AgreementKey::generate().unwrap(), AgreementKey::generate().unwrap());
        let bytes = a.reveal(&b.public()).unwrap().to_bytes();
        for bit in 0..PROOF_LEN * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            let read = AgreementProof::from_bytes(&damaged);
            assert!(read.and_then(|proof| proof.verify(&a.public(), &b.public())).is_err(), "bit {bit}");
        }
    }
}
