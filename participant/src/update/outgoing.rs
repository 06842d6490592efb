//! An update as it leaves the site: in the task's encoding, or masked. It is private already; nothing here draws noise.

use rand_chacha::rand_core::Rng;
use shared::ParamVector;
use shared::encoding::{Encoding, Residual};

use crate::error::SiteError;
use crate::masking::MaskedUpdate;
use crate::site::Draws;

/// An update as it leaves the site.
pub(super) struct Outgoing {
    pub(super) payload: Vec<u8>,
    pub(super) residual: Option<Residual>,
    /// What the header says of its masks, and what belongs to them.
    pub(super) masked: Option<MaskedUpdate>,
}

impl From<MaskedUpdate> for Outgoing {
    fn from(mut masked: MaskedUpdate) -> Self {
        let payload = std::mem::take(&mut masked.payload);
        Self { payload, residual: None, masked: Some(masked) }
    }
}

/// `update` in its encoding, with what that leaves out. Only post-processing: `update` is private already.
pub(super) fn encode(
    encoding: Encoding,
    update: ParamVector,
    carried: Option<ParamVector>,
    draws: &mut Draws,
) -> Result<Outgoing, SiteError> {
    let random = &mut |bytes: &mut [u8]| draws.rounding.fill_bytes(bytes);
    if !encoding.needs_residual() {
        return Ok(Outgoing { payload: encoding.encode(&update, random), residual: None, masked: None });
    }
    let carried = carried.map_or_else(|| Residual::zeros(update.len()), Residual::from);
    let (payload, residual) = carried.encode(&encoding, &update, random)?;
    Ok(Outgoing { payload, residual: Some(residual), masked: None })
}
