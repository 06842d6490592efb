//! Error feedback: what one payload leaves out goes into the next.

use super::{Encoding, EncodingError, RandomBytes};
use crate::ParamVector;

/// What the payloads so far have left out of the values they were made of.
///
/// Source: Karimireddy et al. 2019, "Error Feedback Fixes SignSGD and other Gradient Compression Schemes", Algorithm 2
/// (EF-SGD), with whole updates in place of gradients. Made of private updates, it costs no privacy either.
#[derive(Debug, Clone, PartialEq)]
pub struct Residual(ParamVector);

impl From<ParamVector> for Residual {
    fn from(left_out: ParamVector) -> Self {
        Self(left_out)
    }
}

impl Residual {
    /// Nothing has been left out yet of vectors of `params` values.
    pub fn zeros(params: usize) -> Self {
        Self(ParamVector::zeros(params))
    }

    /// What has been left out.
    pub fn as_params(&self) -> &ParamVector {
        &self.0
    }

    /// The payload of `values` and of what was left out before, and what it leaves out now.
    pub fn encode(
        &self,
        encoding: &Encoding,
        values: &ParamVector,
        random: &mut RandomBytes<'_>,
    ) -> Result<(Vec<u8>, Self), EncodingError> {
        let due = values.plus(&self.0)?;
        let payload = encoding.encode(&due, random);
        let sent = encoding.decode(due.len(), &payload)?;
        Ok((payload, Self(due.minus(&sent)?)))
    }
}
