//! A member of the federation whom the test itself plays: it speaks the protocol and has no model, so that a phase lasts
//! exactly as long as a test wants.

use std::sync::Arc;

use shared::document::SignedDocument;
use shared::encoding::Encoding;
use shared::enrolment::Enrolment;
use shared::update::{Evaluation, Join, UpdateHeader, UpdateReceipt};
use shared::{Digest, ParamVector, ParticipantId, TaskId};
use shared_crypto::masking::AgreementKey;
use shared_crypto::pki::CertificateRequest;
use shared_crypto::{ChunkDigests, PublicKey, SigningKey, document_digest};
use shared_ops::clock::SystemClock;
use shared_wire::client::{Client, Presence};
use shared_wire::{Bytes, EnrolAnswer, PemIdentity, Phase, RoundView, UpdateOpen, WireError};

use crate::process::until;
use crate::world::{TASK, World};

/// A member without a model.
pub(crate) struct Puppet {
    name: ParticipantId,
    identity: SigningKey,
    client: Client,
    coordinator: PublicKey,
    params: usize,
}

impl Puppet {
    /// Enrols as `name`; its models will have `params` parameters.
    pub(crate) async fn enrol(world: &World, name: &str, params: usize) -> Self {
        Self::enrol_over(world, &world.address(), name, params).await
    }

    /// The same, by another way to the coordinator.
    pub(crate) async fn enrol_over(world: &World, address: &str, name: &str, params: usize) -> Self {
        let (token, ca_pem) = world.token(name).await;
        let name = ParticipantId::new(name).unwrap();
        let request = CertificateRequest::new(&name).unwrap();
        let identity = SigningKey::generate().unwrap();
        let enrolment = Enrolment {
            token,
            participant_id: name.clone(),
            csr_pem: request.csr_pem,
            identity_key: identity.public().to_string(),
            agreement_key: AgreementKey::generate().unwrap().public().into(),
        };
        let stranger = Client::connect(address, &ca_pem, None).await.unwrap();
        let answer = stranger.enrol(identity.sign(&enrolment).unwrap()).await.unwrap();
        let EnrolAnswer::Enrolled(enrolled) = answer else { panic!("{answer:?}") };
        let tls = PemIdentity { certificate: &enrolled.certificate_pem, key: request.key_pem.expose() };
        let client = Client::connect(address, &ca_pem, Some(tls)).await.unwrap();
        Self { name, identity, client, coordinator: enrolled.coordinator_key.parse().unwrap(), params }
    }

    /// Joins the round that is announced.
    pub(crate) async fn join(&self) {
        let view = self.view_in(Phase::Announced).await;
        let task_digest = document_digest(&self.task().await);
        let join = Join { round_id: view.round_id, participant_id: self.name.clone(), task_digest, masking: None };
        let signed = self.identity.sign(&join).unwrap();
        patiently("join", async || self.client.join(signed.clone().into()).await).await;
    }

    /// The update whose every value is `value`, for the round that collects.
    pub(crate) async fn update(&self, value: f32) -> Update {
        let view = self.view_in(Phase::Collecting).await;
        let payload = Bytes::from(ParamVector::new(vec![value; self.params]).unwrap().to_le_bytes());
        let chunks = ChunkDigests::of(&payload);
        let header = UpdateHeader {
            round_id: view.round_id,
            participant_id: self.name.clone(),
            task_digest: document_digest(&self.task().await),
            checkpoint: view.checkpoint,
            encoding: Encoding::F32,
            byte_count: u64::try_from(payload.len()).unwrap(),
            payload: chunks.payload(),
            local_steps: 1,
            masked: None,
        };
        let open = UpdateOpen {
            header: self.identity.sign(&header).unwrap(),
            chunk_digests: chunks.as_slice().to_vec(),
            dealing: Bytes::new(),
        };
        Update { digest: header.payload, open, payload }
    }

    /// Delivers an update; the coordinator's receipt.
    pub(crate) async fn deliver(&self, update: &Update) -> UpdateReceipt {
        self.deliver_telling(update, || ()).await
    }

    /// The same, told when it may begin to send, and of each progress.
    pub(crate) async fn deliver_telling(&self, update: &Update, mut tell: impl FnMut() + Send) -> UpdateReceipt {
        let (open, payload) = (&update.open, &update.payload);
        let send = async || self.client.submit_update(open.clone(), payload.clone(), |_, _| tell()).await;
        self.coordinator.open(&patiently("submit update", send).await).unwrap()
    }

    /// Evaluates the candidate as well as can be.
    pub(crate) async fn evaluate(&self) {
        let view = self.view_in(Phase::Aggregated).await;
        let evaluation = Evaluation {
            round_id: view.round_id,
            participant_id: self.name.clone(),
            candidate: view.candidate.unwrap(),
            true_positives: 9,
            false_negatives: 1,
            false_positives: 1,
            true_negatives: 99,
        };
        let signed = self.identity.sign(&evaluation).unwrap();
        patiently("submit evaluation", async || self.client.submit_evaluation(signed.clone()).await).await;
    }

    async fn task(&self) -> SignedDocument {
        patiently("list tasks", async || self.client.tasks().await).await.remove(0).document
    }

    async fn view_in(&self, phase: Phase) -> RoundView {
        let task_id = TaskId::new(TASK).unwrap();
        let presence = Presence::new(Arc::new(SystemClock));
        until(&format!("the phase {phase:?}"), async || {
            let mut views = self.client.watch(&task_id, &presence).await.ok()?;
            views.next().await.ok()?.filter(|view| view.phase == phase)
        })
        .await
    }
}

/// An update, signed and ready to be sent as often as needed.
pub(crate) struct Update {
    pub(crate) digest: Digest,
    open: UpdateOpen,
    payload: Bytes,
}

/// Repeats a call until the coordinator is there; a refusal is the test's failure.
async fn patiently<T>(what: &str, mut call: impl AsyncFnMut() -> Result<T, WireError>) -> T {
    until(&format!("an answer to `{what}`"), async || match call().await {
        Ok(answer) => Some(answer),
        Err(error) if error.is_transient() => None,
        Err(error) => panic!("{what}: {error}"),
    })
    .await
}
