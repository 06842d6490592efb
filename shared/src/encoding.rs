//! How an update travels: encodings that a task offers and a participant chooses from, one file each.
//!
//! Encoding only post-processes an update that is already private, so none of them costs privacy. Every payload has one
//! exact length, and the decoders refuse what no encoder writes: wrong lengths, numbers that are not finite, padding
//! that is not zero, blocks that do not use their scale, entries out of order. Nothing here draws random bits by itself,
//! reads a file, or holds more of a payload than one frame while it streams.

mod bfloat;
mod block;
mod decoder;
mod dense;
mod error;
mod int4;
mod int8;
mod range;
mod residual;
mod single;
mod top_k;

use serde::{Deserialize, Serialize};

pub use block::BlockLen;
pub use decoder::Decoder;
pub use error::{EncodingError, InvalidEncoding};
pub use residual::Residual;
pub use top_k::PerMille;

use crate::ParamVector;
use dense::Dense;

/// A source of random bytes: fills the whole slice. Stochastic rounding is unbiased only if they are uniform.
pub type RandomBytes<'a> = dyn FnMut(&mut [u8]) + 'a;

/// How the values of an update become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Encoding {
    /// Little-endian IEEE 754 single precision: 4 bytes a value, exact.
    F32,
    /// The upper half of an f32, rounded to the nearest, ties to even: 2 bytes a value, relative error at most 2^−8.
    Bf16,
    /// Signed 8-bit levels under one scale per block, rounded stochastically without bias (QSGD; Alistarh et al. 2017).
    Int8 {
        /// Values per scale.
        block: BlockLen,
    },
    /// As [`Encoding::Int8`], with 4-bit levels.
    Int4 {
        /// Values per scale.
        block: BlockLen,
    },
    /// The largest magnitudes only, as bf16; the rest is carried to the next round by a [`Residual`] (Stich et al. 2018).
    TopK {
        /// How many of a thousand values are kept.
        per_mille: PerMille,
    },
}

/// An encoding without its settings: what a participant can or cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncodingKind {
    /// [`Encoding::F32`].
    F32,
    /// [`Encoding::Bf16`].
    Bf16,
    /// [`Encoding::Int8`].
    Int8,
    /// [`Encoding::Int4`].
    Int4,
    /// [`Encoding::TopK`].
    TopK,
}

impl EncodingKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::F32, Self::Bf16, Self::Int8, Self::Int4, Self::TopK];
}

/// How an encoding lays its values out.
enum Layout {
    /// Every value, in frames of a fixed length.
    Dense(Dense),
    /// This many values of the vector, each with its index.
    Sparse(PerMille),
}

/// The first of the `offered` encodings, in the operator's order, whose kind is `supported`.
pub fn choose(offered: &[Encoding], supported: &[EncodingKind]) -> Option<Encoding> {
    offered.iter().find(|encoding| supported.contains(&encoding.kind())).copied()
}

impl Encoding {
    /// The encoding without its settings.
    pub fn kind(&self) -> EncodingKind {
        match self {
            Self::F32 => EncodingKind::F32,
            Self::Bf16 => EncodingKind::Bf16,
            Self::Int8 { .. } => EncodingKind::Int8,
            Self::Int4 { .. } => EncodingKind::Int4,
            Self::TopK { .. } => EncodingKind::TopK,
        }
    }

    /// Whether what it leaves out has to be sent later, lest training stall (Karimireddy et al. 2019, "Error Feedback
    /// Fixes SignSGD and other Gradient Compression Schemes"). The others are unbiased or near exact.
    pub fn needs_residual(&self) -> bool {
        matches!(self, Self::TopK { .. })
    }

    /// The exact length of a payload of `params` values, in bytes.
    pub fn encoded_len(&self, params: usize) -> usize {
        match self.layout() {
            Layout::Dense(dense) => dense.encoded_len(params),
            Layout::Sparse(per_mille) => top_k::encoded_len(per_mille, params),
        }
    }

    /// The payload of `values`. Takes from `random` only where it rounds stochastically.
    pub fn encode(&self, values: &ParamVector, random: &mut RandomBytes<'_>) -> Vec<u8> {
        match self.layout() {
            Layout::Dense(dense) => dense.encode(values.as_slice(), random),
            Layout::Sparse(per_mille) => top_k::encode(per_mille, values.as_slice()),
        }
    }

    /// The `params` values of a whole payload. Allocates nothing before the length is right.
    pub fn decode(&self, params: usize, payload: &[u8]) -> Result<ParamVector, EncodingError> {
        let expected = self.encoded_len(params);
        if payload.len() != expected {
            return Err(EncodingError::Length { expected, found: payload.len() });
        }
        let mut values = vec![0.0; params];
        let mut decoder = Decoder::new(*self, params);
        decoder.push(payload, |first, decoded| -> Result<(), EncodingError> {
            values.iter_mut().skip(first).zip(decoded).for_each(|(value, decoded)| *value = *decoded);
            Ok(())
        })?;
        decoder.finish()?;
        Ok(ParamVector::new(values)?)
    }

    /// Decodes the values from `start` on until `into` is full, of a payload of `params` values.
    ///
    /// `read` fills a slice from a byte offset of the payload; it is called at most twice, and what is allocated grows
    /// with `into` alone. Only the frames that are touched are checked: a payload from outside goes through a
    /// [`Decoder`] once before.
    pub fn decode_range<E: From<EncodingError>>(
        &self,
        params: usize,
        start: usize,
        into: &mut [f32],
        read: impl FnMut(usize, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if start.checked_add(into.len()).is_none_or(|end| end > params) {
            return Err(EncodingError::Range { start, len: into.len(), params }.into());
        }
        match self.layout() {
            _ if into.is_empty() => Ok(()),
            Layout::Dense(dense) => range::dense(&dense, params, start, into, read),
            Layout::Sparse(per_mille) => range::sparse(per_mille, params, start, into, read),
        }
    }

    fn layout(&self) -> Layout {
        match self {
            Self::F32 => Layout::Dense(single::DENSE),
            Self::Bf16 => Layout::Dense(bfloat::DENSE),
            Self::Int8 { block } => Layout::Dense(int8::dense(*block)),
            Self::Int4 { block } => Layout::Dense(int4::dense(*block)),
            Self::TopK { per_mille } => Layout::Sparse(*per_mille),
        }
    }
}

#[cfg(test)]
mod tests;
