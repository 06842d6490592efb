//! A vector with the blindings of its commitments, as they stand behind masks: the vector's words first, then sixteen for
//! each blinding. Such words add up like what they stand for.

use shared::masking::BLINDING_WORDS;

use super::{SecretScalar, blinding_from_sums, blinding_words};
use crate::CryptoError;

/// A vector that commitments are to, or the sum of several.
pub struct CommittedVector {
    /// Its coordinates.
    pub values: Vec<i32>,
    /// The blinding of each row's commitment.
    pub blindings: Vec<SecretScalar>,
}

impl CommittedVector {
    /// A vector of `rows` rows under new blindings.
    pub fn new(values: Vec<i32>, rows: usize) -> Result<Self, CryptoError> {
        Ok(Self { values, blindings: (0..rows).map(|_| SecretScalar::random()).collect::<Result<_, _>>()? })
    }

    /// The vector of `len` coordinates and `rows` rows that these words stand for.
    pub fn from_words(words: &[u32], len: usize, rows: usize) -> Result<Self, CryptoError> {
        let expected = len.saturating_add(rows.saturating_mul(BLINDING_WORDS));
        let count = || CryptoError::Dimensions { expected, found: words.len() };
        let (values, rest) = words.split_at_checked(len).filter(|_| words.len() == expected).ok_or_else(count)?;
        let blindings = rest.as_chunks().0.iter().map(blinding_from_sums).collect();
        Ok(Self { values: values.iter().map(|word| word.cast_signed()).collect(), blindings })
    }

    /// The words that stand for it.
    pub fn to_words(&self) -> Vec<u32> {
        let values = self.values.iter().map(|value| value.cast_unsigned());
        values.chain(self.blindings.iter().flat_map(blinding_words)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_what_its_words_stand_for_and_no_other_number_of_them_is_taken() {
        let vector = CommittedVector::new(vec![-5, 0, 7], 2).unwrap();
        let words = vector.to_words();
        let read = CommittedVector::from_words(&words, 3, 2).unwrap();
        assert!(read.values == vector.values && read.blindings == vector.blindings);
        for (words, rows) in [(&words[..34], 2), (&words[..], 1), (&words[..2], 0)] {
            assert!(matches!(CommittedVector::from_words(words, 3, rows), Err(CryptoError::Dimensions { .. })));
        }
    }
}
