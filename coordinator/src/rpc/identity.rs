//! Enrolment and renewal over gRPC, and the gate that says which connections may stay.

use shared::ParticipantId;
use shared::document::SignedDocument;
use shared_wire::server::{Certificate, Gate};
use shared_wire::{EnrolAnswer, Enrolled};
use tokio::sync::watch;

use super::Rpc;
use crate::{Coordinator, Error};

impl Gate for Coordinator {
    fn admits(&self, certificate: &[u8]) -> Option<ParticipantId> {
        let admitted = self.registry.admit(Some(certificate), self.now());
        admitted.ok().map(|participant| participant.participant_id.clone())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.registry.changes()
    }
}

impl Rpc {
    pub(super) async fn take_enrolment(&self, enrolment: SignedDocument) -> Result<EnrolAnswer, Error> {
        let enrol = move |coordinator: &Coordinator| {
            let certificate = coordinator.registry.enrol(&enrolment, &coordinator.keys.authority, coordinator.now())?;
            Ok(certificate.map_or(EnrolAnswer::Pending, |pem| answer(coordinator, pem)))
        };
        self.coordinator.blocking(enrol).await
    }

    pub(super) async fn take_renewal(
        &self,
        certificate: Certificate,
        renewal: SignedDocument,
    ) -> Result<EnrolAnswer, Error> {
        let renew = move |coordinator: &Coordinator| {
            let (shown, authority) = (certificate.as_deref(), &coordinator.keys.authority);
            let pem = coordinator.registry.renew(shown, &renewal, authority, coordinator.now())?;
            Ok(answer(coordinator, pem))
        };
        self.coordinator.blocking(renew).await
    }
}

/// A certificate, with all that its holder must trust.
fn answer(coordinator: &Coordinator, certificate_pem: String) -> EnrolAnswer {
    EnrolAnswer::Enrolled(Enrolled {
        certificate_pem,
        ca_certificate_pem: coordinator.ca_certificate_pem().to_owned(),
        operator_key: coordinator.operator_key().to_string(),
        coordinator_key: coordinator.coordinator_key().to_string(),
    })
}
