//! Conversions of what a masked round is made of: joins with their dealings, proofs, sealed shares.

use shared::ParticipantId;

use super::{at_most, required};
use crate::view::{JoinRequest, MaskingStage, ProofRequest, SealedShare};
use crate::{MAX_DEALING_BYTES, MAX_SHARES, WireError, proto};

impl TryFrom<proto::JoinRequest> for JoinRequest {
    type Error = WireError;

    fn try_from(message: proto::JoinRequest) -> Result<Self, WireError> {
        at_most("dealing", message.dealing.len(), MAX_DEALING_BYTES)?;
        Ok(Self { join: required("join", message.join)?.try_into()?, dealing: message.dealing })
    }
}

impl From<JoinRequest> for proto::JoinRequest {
    fn from(request: JoinRequest) -> Self {
        Self { join: Some(request.join.into()), dealing: request.dealing }
    }
}

impl TryFrom<proto::ProofRequest> for ProofRequest {
    type Error = WireError;

    fn try_from(message: proto::ProofRequest) -> Result<Self, WireError> {
        Ok(Self { said: required("said", message.said)?.try_into()?, proof: message.proof })
    }
}

impl From<ProofRequest> for proto::ProofRequest {
    fn from(request: ProofRequest) -> Self {
        Self { said: Some(request.said.into()), proof: request.proof }
    }
}

impl TryFrom<proto::SealedShare> for SealedShare {
    type Error = WireError;

    fn try_from(message: proto::SealedShare) -> Result<Self, WireError> {
        let dealer = ParticipantId::new(message.dealer).map_err(|error| WireError::malformed("dealer", error))?;
        let len = message.sealed.len();
        let sealed = message.sealed.as_slice().try_into();
        Ok(Self { dealer, sealed: sealed.map_err(|_| WireError::malformed("sealed", format!("{len} bytes")))? })
    }
}

impl From<SealedShare> for proto::SealedShare {
    fn from(share: SealedShare) -> Self {
        Self { dealer: share.dealer.to_string(), sealed: share.sealed.to_vec() }
    }
}

/// The stage that a request names.
pub(crate) fn masking_stage(request: &proto::GetMaskingDocumentsRequest) -> Result<MaskingStage, WireError> {
    match request.stage() {
        MaskingStage::Unspecified => Err(WireError::malformed("stage", "unknown")),
        stage => Ok(stage),
    }
}

/// The shares, of which one cohort cannot have more.
pub(crate) fn shares(message: proto::SealedShares) -> Result<Vec<SealedShare>, WireError> {
    let count = message.shares.len();
    if count > MAX_SHARES {
        return Err(WireError::malformed("shares", format!("{count}, more than {MAX_SHARES}")));
    }
    message.shares.into_iter().map(TryInto::try_into).collect()
}
