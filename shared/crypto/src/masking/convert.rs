//! Between the plain encodings that documents carry ([`shared::masking::Element`]) and what can be computed with: what is
//! no element or scalar is refused here.

use shared::masking::Element as Encoded;

use super::{AgreementPublic, Commitment, SecretScalar};
use crate::CryptoError;

impl TryFrom<&Encoded> for AgreementPublic {
    type Error = CryptoError;

    fn try_from(encoded: &Encoded) -> Result<Self, CryptoError> {
        Self::from_bytes(*encoded.as_bytes())
    }
}

impl From<AgreementPublic> for Encoded {
    fn from(key: AgreementPublic) -> Self {
        Self::from(*key.as_bytes())
    }
}

impl TryFrom<&Encoded> for Commitment {
    type Error = CryptoError;

    fn try_from(encoded: &Encoded) -> Result<Self, CryptoError> {
        Self::from_bytes(*encoded.as_bytes())
    }
}

impl From<Commitment> for Encoded {
    fn from(commitment: Commitment) -> Self {
        Self::from(*commitment.as_bytes())
    }
}

impl TryFrom<&Encoded> for SecretScalar {
    type Error = CryptoError;

    fn try_from(encoded: &Encoded) -> Result<Self, CryptoError> {
        Self::from_bytes(encoded.as_bytes())
    }
}
