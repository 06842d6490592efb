//! Conversions between messages and domain types. A message that does not convert is refused and never reaches a caller.

mod masking;
mod round;
mod update;

pub(crate) use masking::{masking_stage, shares};
pub(crate) use round::{first_heartbeat, heartbeat};
pub(crate) use update::{piece, pieces};

use shared::document::{KeyId, SignedDocument};
use shared::{Digest, ReleaseId, RoundId, RoundNumber, TaskId};

use crate::view::{EnrolAnswer, Enrolled, ReleaseBundle};
use crate::{DIGEST_BYTES, WireError, proto};

/// An Ed25519 signature's bytes.
const SIGNATURE_BYTES: usize = 64;
/// The longest certificate chain or key, in bytes of PEM or hexadecimal digits.
const MAX_CREDENTIAL_BYTES: usize = 64 * 1024;

pub(crate) fn digest(field: &'static str, bytes: &[u8]) -> Result<Digest, WireError> {
    let bytes: [u8; DIGEST_BYTES] = bytes
        .try_into()
        .map_err(|_| WireError::malformed(field, format!("{} bytes, not {DIGEST_BYTES}", bytes.len())))?;
    Ok(Digest(bytes))
}

/// A digest that may be missing, as no bytes.
pub(crate) fn optional_digest(field: &'static str, bytes: &[u8]) -> Result<Option<Digest>, WireError> {
    (!bytes.is_empty()).then(|| digest(field, bytes)).transpose()
}

pub(crate) fn optional_bytes(digest: Option<Digest>) -> Vec<u8> {
    digest.map(|digest| digest.as_bytes().to_vec()).unwrap_or_default()
}

pub(crate) fn task_id(text: String) -> Result<TaskId, WireError> {
    TaskId::new(text).map_err(|error| WireError::malformed("task_id", error))
}

pub(crate) fn release_id(text: String) -> Result<ReleaseId, WireError> {
    ReleaseId::new(text).map_err(|error| WireError::malformed("release_id", error))
}

pub(crate) fn round_id(task: String, round: u32) -> Result<RoundId, WireError> {
    Ok(RoundId { task_id: task_id(task)?, number: RoundNumber(round) })
}

pub(crate) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, WireError> {
    value.ok_or_else(|| WireError::malformed(field, "missing"))
}

fn at_most(field: &'static str, len: usize, limit: usize) -> Result<(), WireError> {
    if len <= limit { Ok(()) } else { Err(WireError::malformed(field, format!("{len} bytes, more than {limit}"))) }
}

impl TryFrom<proto::SignedDocument> for SignedDocument {
    type Error = WireError;

    fn try_from(message: proto::SignedDocument) -> Result<Self, WireError> {
        let key_id = KeyId(digest("key_id", &message.key_id)?);
        at_most("signature", message.signature.len(), SIGNATURE_BYTES)?;
        Ok(Self { body: message.body, key_id, signature: hex::encode(message.signature) })
    }
}

impl From<SignedDocument> for proto::SignedDocument {
    fn from(document: SignedDocument) -> Self {
        // A signature that is not hexadecimal cannot be valid; it travels as none and fails verification.
        let signature = hex::decode(&document.signature).unwrap_or_default();
        Self { body: document.body, key_id: document.key_id.0.as_bytes().to_vec(), signature }
    }
}

impl TryFrom<proto::EnrolResponse> for EnrolAnswer {
    type Error = WireError;

    fn try_from(message: proto::EnrolResponse) -> Result<Self, WireError> {
        let state = message.state();
        let proto::EnrolResponse { certificate_pem, ca_certificate_pem, operator_key, coordinator_key, .. } = message;
        for text in [&certificate_pem, &ca_certificate_pem, &operator_key, &coordinator_key] {
            at_most("credentials", text.len(), MAX_CREDENTIAL_BYTES)?;
        }
        match state {
            proto::EnrolmentState::Unspecified => Err(WireError::malformed("state", "unknown")),
            proto::EnrolmentState::Pending => Ok(Self::Pending),
            proto::EnrolmentState::Enrolled => {
                Ok(Self::Enrolled(Enrolled { certificate_pem, ca_certificate_pem, operator_key, coordinator_key }))
            }
        }
    }
}

impl From<EnrolAnswer> for proto::EnrolResponse {
    fn from(answer: EnrolAnswer) -> Self {
        match answer {
            EnrolAnswer::Pending => Self { state: proto::EnrolmentState::Pending.into(), ..Self::default() },
            EnrolAnswer::Enrolled(enrolled) => {
                let Enrolled { certificate_pem, ca_certificate_pem, operator_key, coordinator_key } = enrolled;
                let state = proto::EnrolmentState::Enrolled.into();
                Self { state, certificate_pem, ca_certificate_pem, operator_key, coordinator_key }
            }
        }
    }
}

impl TryFrom<proto::ReleaseBundle> for ReleaseBundle {
    type Error = WireError;

    fn try_from(message: proto::ReleaseBundle) -> Result<Self, WireError> {
        Ok(Self {
            release: required("release", message.release)?.try_into()?,
            round_record: required("round_record", message.round_record)?.try_into()?,
            promotion: message.promotion.map(TryInto::try_into).transpose()?,
            cosignatures: message.cosignatures.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

impl From<ReleaseBundle> for proto::ReleaseBundle {
    fn from(bundle: ReleaseBundle) -> Self {
        let ReleaseBundle { release, round_record, promotion, cosignatures } = bundle;
        Self {
            release: Some(release.into()),
            round_record: Some(round_record.into()),
            promotion: promotion.map(Into::into),
            cosignatures: cosignatures.into_iter().map(Into::into).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_answers_to_an_enrolment_survive_the_wire() {
        let enrolled = Enrolled {
            certificate_pem: "a".into(),
            ca_certificate_pem: "b".into(),
            operator_key: "c".into(),
            coordinator_key: "d".into(),
        };
        for answer in [EnrolAnswer::Pending, EnrolAnswer::Enrolled(enrolled)] {
            assert_eq!(EnrolAnswer::try_from(proto::EnrolResponse::from(answer.clone())).unwrap(), answer);
        }
    }

    #[test]
    fn an_answer_without_a_state_or_with_endless_text_is_refused() {
        let pending = proto::EnrolResponse::from(EnrolAnswer::Pending);
        let endless = "x".repeat(MAX_CREDENTIAL_BYTES + 1);
        let broken = [
            proto::EnrolResponse { state: 0, ..pending.clone() },
            proto::EnrolResponse { state: 9, ..pending.clone() },
            proto::EnrolResponse { certificate_pem: endless, ..pending },
        ];
        for message in broken {
            assert!(EnrolAnswer::try_from(message).is_err());
        }
    }

    #[test]
    fn a_release_survives_the_wire_with_and_without_the_operators_word() {
        let document = SignedDocument { body: "{}".into(), key_id: KeyId(Digest([1; 32])), signature: "02".repeat(64) };
        for promotion in [None, Some(document.clone())] {
            let cosignatures = vec![document.clone(); 2];
            let (release, round_record) = (document.clone(), document.clone());
            let bundle = ReleaseBundle { release, round_record, promotion, cosignatures };
            assert_eq!(ReleaseBundle::try_from(proto::ReleaseBundle::from(bundle.clone())).unwrap(), bundle);
        }
        let word_alone = proto::ReleaseBundle { promotion: Some(document.into()), ..Default::default() };
        assert!(ReleaseBundle::try_from(word_alone).is_err());
    }

    #[test]
    fn a_signature_longer_than_any_is_refused() {
        let document =
            proto::SignedDocument { body: "{}".into(), key_id: vec![1; 32], signature: vec![2; SIGNATURE_BYTES] };
        assert!(SignedDocument::try_from(document.clone()).is_ok());
        let longer = proto::SignedDocument { signature: vec![2; SIGNATURE_BYTES + 1], ..document };
        assert!(SignedDocument::try_from(longer).is_err());
    }
}
