//! Model parameters as one flat vector of finite numbers.

use crate::Explain;

/// The most parameters a model may have.
pub const MAX_PARAMS: usize = 100_000_000;

/// A model's parameters, or a change to them, in the order its architecture defines. Every entry is finite.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamVector(Vec<f32>);

/// Why numbers are not a parameter vector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// Not the number of parameters that the model has.
    #[error("{found} parameters where the model has {expected}")]
    WrongLength {
        /// What the model has.
        expected: usize,
        /// What was given.
        found: usize,
    },
    /// A parameter is NaN or infinite.
    #[error("parameter {index} is not a finite number")]
    NotFinite {
        /// The first such parameter.
        index: usize,
    },
    /// The byte string does not hold whole 32-bit numbers.
    #[error("{0} bytes do not hold whole 32-bit numbers")]
    Ragged(usize),
}

impl Explain for ParamError {
    fn code(&self) -> &'static str {
        match self {
            Self::WrongLength { .. } => "params-wrong-length",
            Self::NotFinite { .. } => "params-not-finite",
            Self::Ragged(_) => "params-ragged",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::WrongLength { .. } => "train the model that the task names, from the checkpoint of this round",
            Self::NotFinite { .. } => "training diverged: lower the learning rate or the clipping norm",
            Self::Ragged(_) => "send the vector as little-endian f32 values and nothing else",
        }
    }
}

impl ParamVector {
    /// Takes numbers that are all finite.
    pub fn new(values: Vec<f32>) -> Result<Self, ParamError> {
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(ParamError::NotFinite { index }),
            None => Ok(Self(values)),
        }
    }

    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        Self(vec![0.0; len])
    }

    /// Reads `expected` little-endian f32 values.
    pub fn from_le_bytes(bytes: &[u8], expected: usize) -> Result<Self, ParamError> {
        let (words, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(ParamError::Ragged(bytes.len()));
        }
        if words.len() != expected {
            return Err(ParamError::WrongLength { expected, found: words.len() });
        }
        Self::new(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
    }

    /// The values as little-endian bytes, four each.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// The values.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// The values, given away.
    pub fn into_vec(self) -> Vec<f32> {
        self.0
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `self − base`, entry by entry: what training changed.
    pub fn minus(&self, base: &Self) -> Result<Self, ParamError> {
        self.zip(base, |value, from| value - from)
    }

    /// `self + change`, entry by entry.
    pub fn plus(&self, change: &Self) -> Result<Self, ParamError> {
        self.zip(change, |value, by| value + by)
    }

    /// The Euclidean norm.
    pub fn l2_norm(&self) -> f64 {
        self.0.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
    }

    fn zip(&self, other: &Self, op: impl Fn(f32, f32) -> f32) -> Result<Self, ParamError> {
        if self.len() != other.len() {
            return Err(ParamError::WrongLength { expected: self.len(), found: other.len() });
        }
        Self::new(self.0.iter().zip(&other.0).map(|(left, right)| op(*left, *right)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_and_infinity_never_become_parameters() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(ParamVector::new(vec![0.0, bad]), Err(ParamError::NotFinite { index: 1 }));
        }
        let overflowing = ParamVector::new(vec![f32::MAX]).unwrap();
        assert!(overflowing.plus(&overflowing).is_err());
    }

    #[test]
    fn bytes_of_another_length_are_refused() {
        let vector = ParamVector::new(vec![1.0, -2.5]).unwrap();
        assert_eq!(ParamVector::from_le_bytes(&vector.to_le_bytes(), 2), Ok(vector.clone()));
        assert!(matches!(ParamVector::from_le_bytes(&vector.to_le_bytes(), 3), Err(ParamError::WrongLength { .. })));
        assert!(matches!(ParamVector::from_le_bytes(&[0; 7], 2), Err(ParamError::Ragged(7))));
    }
}
