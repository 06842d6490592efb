//! Why bytes are no payload, and why settings are no encoding.

use crate::Explain;
use crate::params::ParamError;

/// Why bytes are not the payload of an encoding. What was decoded before the error must be thrown away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// Not the length that the encoding gives a vector of this many values.
    #[error("{found} bytes where the encoding takes {expected}")]
    Length {
        /// What the encoding takes.
        expected: usize,
        /// What was given; for a stream, what had come when it was refused.
        found: usize,
    },
    /// The values are no parameter vector, for instance because one is not finite.
    #[error(transparent)]
    Params(#[from] ParamError),
    /// A block's scale is negative or not finite.
    #[error("the scale of the block at value {first} is not a finite number of at least 0")]
    Scale {
        /// The block's first value.
        first: usize,
    },
    /// A block's levels do not reach up to its scale, or beyond it; no encoder writes that.
    #[error("the levels of the block at value {first} do not fit its scale")]
    Levels {
        /// The block's first value.
        first: usize,
    },
    /// Unused bits are not zero.
    #[error("the padding of the block at value {first} is not zero")]
    Padding {
        /// The block's first value.
        first: usize,
    },
    /// The directory of a sparse payload contradicts itself or the number of entries.
    #[error("the directory is wrong at segment {segment}")]
    Directory {
        /// Which segment.
        segment: usize,
    },
    /// The entries of a segment are not in increasing order, or one lies beyond its end.
    #[error("entry {entry} is out of order or out of range")]
    Order {
        /// Which entry of the payload.
        entry: usize,
    },
    /// The values asked for are not all in the vector.
    #[error("values {start} and the next {len} are not all among {params}")]
    Range {
        /// The first value asked for.
        start: usize,
        /// How many were asked for.
        len: usize,
        /// How many there are.
        params: usize,
    },
}

impl Explain for EncodingError {
    fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } => "encoding-length",
            Self::Params(error) => error.code(),
            Self::Scale { .. } => "encoding-scale",
            Self::Levels { .. } => "encoding-levels",
            Self::Padding { .. } => "encoding-padding",
            Self::Directory { .. } => "encoding-directory",
            Self::Order { .. } => "encoding-order",
            Self::Range { .. } => "encoding-range",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Length { .. } => "send the task's model, in the encoding that the update's header names",
            Self::Params(error) => error.hint(),
            Self::Range { .. } => "ask for values within the model",
            _ => "send the bytes exactly as the encoder gives them",
        }
    }
}

/// A setting with which there is no encoding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEncoding {
    /// Not a length that a block may have.
    #[error("a block of {0} values is none of 256, 512 and 1024")]
    BlockLen(u32),
    /// Not a fraction that may be kept.
    #[error("{0} of a thousand values is not 1 to 500")]
    PerMille(u32),
}

impl Explain for InvalidEncoding {
    fn code(&self) -> &'static str {
        match self {
            Self::BlockLen(_) => "encoding-block-length",
            Self::PerMille(_) => "encoding-per-mille",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::BlockLen(_) => "take 256 for the smallest error and 1024 for the fewest bytes",
            Self::PerMille(_) => "keep 1 to 500 of a thousand; beyond that bf16 is smaller",
        }
    }
}
