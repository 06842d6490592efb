//! A secret number modulo the order of the Ristretto group. It is never printed, and wiped when dropped.

use std::fmt;

use curve25519_dalek::scalar::Scalar;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{CryptoError, random_bytes};

/// A secret scalar: a key, a share of one, or a blinding.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SecretScalar(pub(super) Scalar);

impl SecretScalar {
    /// A uniform scalar: 64 random bytes reduced, so that its bias is below 2^-250.
    pub fn random() -> Result<Self, CryptoError> {
        Ok(Self(Scalar::from_bytes_mod_order_wide(&*random_bytes()?)))
    }

    /// The scalar with these bytes (little-endian); refuses what is not below the group's order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, CryptoError> {
        Scalar::from_canonical_bytes(*bytes).into_option().map(Self).ok_or(CryptoError::Scalar)
    }

    /// The scalar's 32 bytes (little-endian).
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }
}

/// The scalar that a signed number is, in the same time for every number.
pub(super) fn signed(value: i128) -> Scalar {
    let least = 1_u128 << 127;
    Scalar::from(value.cast_unsigned().wrapping_add(least)) - Scalar::from(least)
}

impl fmt::Debug for SecretScalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretScalar(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_below_the_order_are_scalars() {
        let mut order = [0; 32];
        hex::decode_to_slice("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010", &mut order).unwrap();
        assert!(SecretScalar::from_bytes(&order).is_err());
        order[0] -= 1;
        assert_eq!(*SecretScalar::from_bytes(&order).unwrap().to_bytes(), order);
    }

    #[test]
    fn a_signed_number_and_its_negative_add_up_to_nothing() {
        for value in [0, 1, -1, 77, i128::MAX, -i128::MAX] {
            assert_eq!(signed(value) + signed(-value), Scalar::ZERO);
            assert_eq!(signed(value.abs()), Scalar::from(value.unsigned_abs()));
        }
        assert_eq!(signed(i128::MIN), -Scalar::from(1_u128 << 127));
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = SecretScalar::from_bytes(&[9; 32]);
        assert!(secret.is_ok());
        assert_eq!(format!("{:?}", secret.unwrap()), "SecretScalar(redacted)");
    }
}
