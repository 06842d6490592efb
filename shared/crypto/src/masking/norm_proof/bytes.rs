//! A proof as it travels. Its length follows from the commitment key, and no proof has two spellings.

use curve25519_dalek::scalar::Scalar;

use super::{Masks, Measured, NormProof, Responses, SHOWN};
use crate::CryptoError;
use crate::masking::commitment::CommitmentKey;
use crate::masking::element::Element;
use crate::masking::projection::PROJECTIONS;

/// What is shown of the vector: the squares, whether there is an inner product, and that or zero.
const MEASURED_LEN: usize = 16 + 1 + 8;
const SHOWN_LEN: usize = 16;
const WORD_LEN: usize = 32;
/// Elements and scalars beside those of the rows: five commitments, the projections' response and four blindings.
const FIXED_WORDS: usize = 5 + PROJECTIONS + SHOWN + 4;

impl NormProof {
    /// How many bytes a proof under this key has.
    pub fn encoded_len(key: &CommitmentKey) -> usize {
        let words = FIXED_WORDS.saturating_add(cross_terms(key)).saturating_add(key.width());
        MEASURED_LEN.saturating_add(SHOWN * SHOWN_LEN).saturating_add(words.saturating_mul(WORD_LEN))
    }

    /// The proof's bytes, all numbers little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Measured { squares, inner } = self.measured;
        let mut bytes = squares.to_le_bytes().to_vec();
        bytes.push(u8::from(inner.is_some()));
        bytes.extend(inner.unwrap_or_default().to_le_bytes());
        bytes.extend(self.projected.as_bytes());
        self.shown.iter().for_each(|shown| bytes.extend(shown.to_le_bytes()));
        self.masks.elements().for_each(|element| bytes.extend(element.as_bytes()));
        self.responses.scalars().for_each(|scalar| bytes.extend(scalar.as_bytes()));
        bytes
    }

    /// The proof with these bytes, under this key. Refuses any other length and whatever [`Self::to_bytes`] would not
    /// write.
    pub fn from_bytes(bytes: &[u8], key: &CommitmentKey) -> Result<Self, CryptoError> {
        let expected = Self::encoded_len(key);
        if bytes.len() != expected {
            return Err(CryptoError::NormProofLength { expected, found: bytes.len() });
        }
        let mut reader = Reader(bytes);
        Ok(Self {
            measured: reader.measured()?,
            projected: reader.element("commitment to the projections")?,
            shown: (0..SHOWN).map(|_| Ok(i128::from_le_bytes(reader.take()?))).collect::<Result<_, CryptoError>>()?,
            masks: Masks {
                row: reader.element("mask of the rows")?,
                projected: reader.element("mask of the projections")?,
                cross: (0..cross_terms(key)).map(|_| reader.element("cross terms")).collect::<Result<_, _>>()?,
                squares: [reader.element("terms of the squares")?, reader.element("terms of the squares")?],
            },
            responses: Responses {
                row: reader.scalars(key.width(), "response of the rows")?,
                projected: reader.scalars(PROJECTIONS.saturating_add(SHOWN), "response of the projections")?,
                row_blinding: reader.scalar("blinding of the rows")?,
                projected_blinding: reader.scalar("blinding of the projections")?,
                cross_blinding: reader.scalar("blinding of the cross terms")?,
                squares_blinding: reader.scalar("blinding of the squares")?,
            },
        })
    }
}

fn cross_terms(key: &CommitmentKey) -> usize {
    key.rows().saturating_mul(2).saturating_sub(1)
}

impl Masks {
    /// All of them in their order.
    pub(super) fn elements(&self) -> impl Iterator<Item = &Element> {
        [&self.row, &self.projected].into_iter().chain(&self.cross).chain(&self.squares)
    }
}

impl Responses {
    /// All of them in their order.
    pub(super) fn scalars(&self) -> impl Iterator<Item = &Scalar> {
        let blindings = [&self.row_blinding, &self.projected_blinding, &self.cross_blinding, &self.squares_blinding];
        self.row.iter().chain(&self.projected).chain(blindings)
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], CryptoError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(CryptoError::NormProof { part: "length" })?;
        self.0 = rest;
        Ok(*taken)
    }

    fn measured(&mut self) -> Result<Measured, CryptoError> {
        let squares = u128::from_le_bytes(self.take()?);
        let [flag] = self.take()?;
        let inner = match (flag, i64::from_le_bytes(self.take()?)) {
            (0, 0) => None,
            (1, inner) => Some(inner),
            _ => return Err(CryptoError::NormProof { part: "inner product" }),
        };
        Ok(Measured { squares, inner })
    }

    fn element(&mut self, part: &'static str) -> Result<Element, CryptoError> {
        Element::from_bytes(self.take()?).map_err(|_| CryptoError::NormProof { part })
    }

    fn scalar(&mut self, part: &'static str) -> Result<Scalar, CryptoError> {
        let scalar = Scalar::from_canonical_bytes(self.take()?).into_option();
        scalar.ok_or(CryptoError::NormProof { part })
    }

    fn scalars(&mut self, count: usize, part: &'static str) -> Result<Vec<Scalar>, CryptoError> {
        (0..count).map(|_| self.scalar(part)).collect()
    }
}
