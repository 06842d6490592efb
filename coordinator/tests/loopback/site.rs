//! A coordinator on loopback, and a site that speaks the protocol without having a model.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use coordinator::{Config, Running, start};
use serde_json::{Value, json};
use shared::document::SignedDocument;
use shared::encoding::Encoding;
use shared::enrolment::Enrolment;
use shared::masking::Element;
use shared::task::Task;
use shared::update::{Evaluation, Join, UpdateHeader};
use shared::{ParamVector, ParticipantId, TaskId};
use shared_crypto::masking::{RoundKey, SecretScalar};
use shared_crypto::pki::{CertificateRequest, TlsIdentity};
use shared_crypto::{ChunkDigests, PublicKey, SigningKey, document_digest};
use shared_ops::clock::SystemClock;
use shared_wire::client::{Client, Presence, RoundViews};
use shared_wire::{Bytes, EnrolAnswer, PemIdentity, Phase, RoundView, UpdateOpen, WireError};
use tokio_util::sync::CancellationToken;

pub(crate) const PARAMS: usize = 70_001;

pub(crate) fn config(folder: &Path) -> Config {
    let mut config = Config { data_dir: folder.to_owned(), ..Config::default() };
    config.federation.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.admin.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config
}

pub(crate) async fn serve(folder: &Path) -> (Running, CancellationToken) {
    let stop = CancellationToken::new();
    (start(config(folder), Arc::new(SystemClock), stop.clone()).await.unwrap(), stop)
}

pub(crate) fn task_json(cohort: &[&str]) -> Value {
    json!({
        "task_id": "t", "title": "a task", "cohort": cohort, "quorum": 2, "rounds": 1, "seed": 1,
        "feature_view": {"name": "view", "version": 1, "digest": "0".repeat(64)},
        "model": {"inputs": 70_000, "hidden": []},
        "recipe": {"local_steps": 1, "sampling_rate": 0.5, "learning_rate": 0.1, "momentum": 0.0, "clip_norm": 1.0,
                   "noise_multiplier": null},
        "privacy": {"unit": "record", "ceiling": {"epsilon": 3.0, "delta": 1e-5}, "evaluation_rho": 0.1},
        "deadlines": {"join_ms": 60_000, "collect_ms": 60_000, "evaluate_ms": 60_000},
        "gates": {"min_true_positive_rate": 0.5, "max_false_positive_rate": 0.5}
    })
}

pub(crate) fn create_task(running: &Running, cohort: &[&str]) {
    let mut task = task_json(cohort);
    task["created_at"] = json!("2026-01-01T00:00:00Z");
    let task: Task = serde_json::from_value(task).unwrap();
    running.coordinator.create_task(task, &ParamVector::zeros(PARAMS)).unwrap();
}

pub(crate) fn id(name: &str) -> ParticipantId {
    ParticipantId::new(name).unwrap()
}

pub(crate) fn address(running: &Running) -> String {
    format!("https://localhost:{}", running.addresses.federation.port())
}

/// A site that speaks the protocol, without a model.
pub(crate) struct Site {
    name: &'static str,
    identity: SigningKey,
    tls: TlsIdentity,
    presence: Presence,
    pub(crate) ca: String,
    pub(crate) client: Client,
}

/// The key of the site with this name that seals what is meant for it.
pub(crate) fn agreement_key(name: &str) -> Element {
    let mut scalar = [0; 32];
    scalar[0] = name.as_bytes()[0];
    RoundKey::from_scalar(SecretScalar::from_bytes(&scalar).unwrap()).public().into()
}

pub(crate) async fn enrol_with(
    running: &Running,
    name: &str,
    token: &str,
) -> Result<(SigningKey, TlsIdentity), WireError> {
    let ca = running.coordinator.ca_certificate_pem();
    let request = CertificateRequest::new(&id(name)).unwrap();
    let identity = SigningKey::from_seed(&[name.as_bytes()[0]; 32]);
    let enrolment = Enrolment {
        token: token.to_owned(),
        participant_id: id(name),
        csr_pem: request.csr_pem,
        identity_key: identity.public().to_string(),
        agreement_key: agreement_key(name),
    };
    let stranger = Client::connect(&address(running), ca, None).await?;
    let EnrolAnswer::Enrolled(enrolled) = stranger.enrol(identity.sign(&enrolment).unwrap()).await? else {
        panic!("the enrolment waits for approval");
    };
    assert_eq!(enrolled.ca_certificate_pem, ca);
    assert_eq!(enrolled.coordinator_key.parse::<PublicKey>().unwrap(), running.coordinator.coordinator_key());
    Ok((identity, TlsIdentity { certificate_pem: enrolled.certificate_pem, key_pem: request.key_pem }))
}

pub(crate) async fn connect(address: &str, ca: &str, tls: &TlsIdentity) -> Result<Client, WireError> {
    let identity = PemIdentity { certificate: &tls.certificate_pem, key: tls.key_pem.expose() };
    Client::connect(address, ca, Some(identity)).await
}

impl Site {
    pub(crate) async fn enrol(running: &Running, name: &'static str) -> Self {
        let token = running.coordinator.issue_token(&id(name)).unwrap();
        let (identity, tls) = enrol_with(running, name, token.token.expose()).await.unwrap();
        let ca = running.coordinator.ca_certificate_pem().to_owned();
        let client = connect(&address(running), &ca, &tls).await.unwrap();
        Self { name, identity, tls, presence: Presence::new(Arc::new(SystemClock)), ca, client }
    }

    pub(crate) async fn reconnect(&mut self, running: &Running) {
        self.client = connect(&address(running), &self.ca, &self.tls).await.unwrap();
    }

    /// Follows a task's rounds, and is present as long as that is kept.
    pub(crate) async fn watch(&self, task_id: &TaskId) -> Result<RoundViews, WireError> {
        self.client.watch(task_id, &self.presence).await
    }

    pub(crate) async fn view(&self) -> RoundView {
        let mut views = self.watch(&TaskId::new("t").unwrap()).await.unwrap();
        views.next().await.unwrap().unwrap()
    }

    pub(crate) async fn until(&self, phase: Phase) -> RoundView {
        let mut views = self.watch(&TaskId::new("t").unwrap()).await.unwrap();
        while let Some(view) = views.next().await.unwrap() {
            if view.phase == phase {
                return view;
            }
        }
        panic!("the task ended before {phase:?}");
    }

    pub(crate) async fn join(&self) {
        let task = self.client.tasks().await.unwrap().remove(0);
        let task_digest = document_digest(&task.document);
        let round_id = self.view().await.round_id;
        let join = Join { round_id, participant_id: id(self.name), task_digest, masking: None };
        self.client.join(self.identity.sign(&join).unwrap().into()).await.unwrap();
    }

    pub(crate) fn update(&self, view: &RoundView, task: &SignedDocument, value: f32) -> (UpdateOpen, Bytes) {
        let params = Bytes::from(ParamVector::new(vec![value; PARAMS]).unwrap().to_le_bytes());
        let chunks = ChunkDigests::of(&params);
        let header = UpdateHeader {
            round_id: view.round_id.clone(),
            participant_id: id(self.name),
            task_digest: document_digest(task),
            checkpoint: view.checkpoint,
            encoding: Encoding::F32,
            byte_count: chunks.byte_count(),
            payload: chunks.payload(),
            local_steps: 1,
            masked: None,
        };
        let header = self.identity.sign(&header).unwrap();
        (UpdateOpen { header, chunk_digests: chunks.as_slice().to_vec(), dealing: Bytes::new() }, params)
    }

    pub(crate) async fn deliver(&self, value: f32) -> SignedDocument {
        let view = self.until(Phase::Collecting).await;
        let task = self.client.tasks().await.unwrap().remove(0).document;
        let (open, params) = self.update(&view, &task, value);
        self.client.submit_update(open, params, |_, _| {}).await.unwrap()
    }

    pub(crate) async fn evaluate(&self) {
        let view = self.until(Phase::Aggregated).await;
        let evaluation = Evaluation {
            round_id: view.round_id,
            participant_id: id(self.name),
            candidate: view.candidate.unwrap(),
            true_positives: 9,
            false_negatives: 1,
            false_positives: 1,
            true_negatives: 99,
        };
        self.client.submit_evaluation(self.identity.sign(&evaluation).unwrap()).await.unwrap();
    }
}

pub(crate) fn code(error: &WireError) -> &str {
    error.remote_code().unwrap_or_else(|| panic!("{error}"))
}

/// Why the coordinator refuses to list tasks. The connection that is just being cut may take a call with it; the next
/// call dials anew and is told why.
pub(crate) async fn refusal(client: &Client) -> WireError {
    match client.tasks().await.unwrap_err() {
        cut if cut.is_transient() => client.tasks().await.unwrap_err(),
        told => told,
    }
}
