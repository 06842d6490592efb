//! A public element of the Ristretto group (RFC 9496) with its 32 bytes. Bytes with another spelling of an element, bytes
//! of none, and the identity are refused.

use std::fmt;
use std::str::FromStr;

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::traits::Identity;
use serde::{Deserialize, Serialize};

use crate::CryptoError;
use crate::signing::lower_hex;

/// An element other than the identity, written as 64 lower-case hexadecimal digits. Its decoded form is kept, because
/// decoding costs a tenth of an agreement.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Element {
    bytes: [u8; 32],
    point: RistrettoPoint,
}

impl Element {
    /// The element with these bytes.
    pub(super) fn from_bytes(bytes: [u8; 32]) -> Result<Self, CryptoError> {
        let point = CompressedRistretto(bytes).decompress().filter(|point| *point != RistrettoPoint::identity());
        let refused = || CryptoError::GroupElement(hex::encode(bytes));
        Ok(Self { bytes, point: point.ok_or_else(refused)? })
    }

    /// The element that `point` is, where it came from a computation and may even be the identity.
    pub(super) fn of(point: RistrettoPoint) -> Self {
        Self { bytes: point.compress().to_bytes(), point }
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    pub(super) fn point(&self) -> &RistrettoPoint {
        &self.point
    }
}

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Element {}

impl FromStr for Element {
    type Err = CryptoError;

    fn from_str(text: &str) -> Result<Self, CryptoError> {
        let refused = || CryptoError::GroupElement(text.chars().take(80).collect());
        Self::from_bytes(lower_hex(text).ok_or_else(refused)?)
    }
}

impl TryFrom<String> for Element {
    type Error = CryptoError;

    fn try_from(text: String) -> Result<Self, CryptoError> {
        text.parse()
    }
}

impl From<Element> for String {
    fn from(element: Element) -> String {
        hex::encode(element.bytes)
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.bytes))
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9496, appendix A.1: two times the generator.
    const TWICE: &str = "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919";

    #[test]
    fn the_rfc_9496_vector_is_an_element_with_one_spelling() {
        let element: Element = TWICE.parse().unwrap();
        let generator = curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
        assert_eq!(*element.point(), generator + generator);
        assert_eq!(Element::of(generator + generator).to_string(), TWICE);
        assert!(TWICE.to_uppercase().parse::<Element>().is_err());
        assert!(TWICE[2..].parse::<Element>().is_err());
    }

    /// RFC 9496, appendix A.2: a non-canonical field element, a negative one, one that is no square, and others.
    #[test]
    fn bytes_that_are_no_element_are_refused() {
        for bad in [
            "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
            "3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e",
        ] {
            assert!(bad.parse::<Element>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_identity_is_refused() {
        assert!(Element::from_bytes([0; 32]).is_err());
    }
}
