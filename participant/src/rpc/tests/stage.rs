//! A coordinator that follows a script: one task, one site, one round after another.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use shared::document::SignedDocument;
use shared::enrolment::{Enrolment, Renewal};
use shared::participation::{LatePolicy, Participation};
use shared::task::Task;
use shared::update::{UpdateHeader, UpdateReceipt};
use shared::{Digest, Explain, ParticipantId, ReleaseId, RoundId, RoundNumber, TaskId};
use shared_crypto::pki::{CertificateAuthority, PeerCertificate};
use shared_crypto::{ChunkDigests, SigningKey, bulk_digest, document_digest};
use shared_wire::server::{
    Answers, Certificate, Federation, Gate, Heartbeats, Limits, ServerIdentity, Upload, parts, serve,
};
use shared_wire::{
    Bytes, Code, EnrolAnswer, Enrolled, JoinRequest, MaskingStage, PemIdentity, Phase, ProofRequest, ReleaseBundle,
    RoundView, SealedShare, Status, TaskState, TaskView, UpdateOpen, async_trait, refuse,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;

use super::script::Script;
use crate::testing::{Published, now, operator, params, participant_id, round, task};

const VALIDITY: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The seed of the coordinator's key.
const COORDINATOR: [u8; 32] = [3; 32];

/// The first round's checkpoint.
fn checkpoint() -> Vec<u8> {
    params(0.0).to_le_bytes()
}

/// Every round's candidate.
pub(super) fn candidate() -> Vec<u8> {
    params(0.5).to_le_bytes()
}

/// What came.
#[derive(Clone, Default)]
pub(super) struct Seen {
    pub(super) requests: Vec<SignedDocument>,
    pub(super) ledgers: Vec<SignedDocument>,
    pub(super) updates: Vec<(UpdateOpen, Vec<u8>)>,
    pub(super) evaluations: Vec<SignedDocument>,
    pub(super) last_caller: Option<Bytes>,
}

pub(super) struct Stage {
    pub(super) document: SignedDocument,
    task: Task,
    key: SigningKey,
    authority: CertificateAuthority,
    script: Mutex<Script>,
    latest: Mutex<Option<(ReleaseBundle, Vec<u8>)>>,
    seen: watch::Sender<Seen>,
    view: watch::Sender<RoundView>,
}

/// A refusal with a code.
#[derive(Debug, thiserror::Error)]
#[error("refused by the script")]
struct Scripted(&'static str);

impl Explain for Scripted {
    fn code(&self) -> &'static str {
        self.0
    }

    fn hint(&self) -> &'static str {
        "read the script"
    }
}

fn refused(code: &'static str) -> Status {
    refuse(Code::FailedPrecondition, &Scripted(code))
}

impl Stage {
    fn new(script: Script) -> Self {
        let (key, late) = (SigningKey::from_seed(&COORDINATOR), script.late);
        let task = Task { participation: Participation { late, ..Participation::default() }, ..task() };
        let view = RoundView {
            round_id: round(1),
            phase: Phase::Announced,
            checkpoint: bulk_digest(&checkpoint()),
            control: None,
            candidate: None,
            deadline: None,
            quorum: 1,
            joined: 0,
            accepted: 0,
            invited: true,
            caller_joined: false,
            caller_done: false,
            caller_accepted: false,
            task_state: TaskState::Running,
            rounds_done: 0,
            sent_at: now(),
        };
        Self {
            document: operator().sign(&task).unwrap(),
            task,
            latest: Mutex::default(),
            authority: CertificateAuthority::create("script", now(), VALIDITY).unwrap(),
            key,
            script: Mutex::new(script),
            seen: watch::Sender::default(),
            view: watch::Sender::new(view),
        }
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    pub(super) fn phase(&self) -> Phase {
        self.view.borrow().phase
    }

    /// Ends the task.
    pub(super) fn end(&self, task_state: TaskState) {
        self.view.send_modify(|view| view.task_state = task_state);
    }

    /// Release `number`, signed by this coordinator.
    pub(super) fn published(&self, number: u8) -> Published {
        Published { coordinator: SigningKey::from_seed(&COORDINATOR), ..Published::new(number) }
    }

    /// Hands out `published` as the latest release from now on.
    pub(super) fn hand_out(&self, published: &Published, promotion: Option<SignedDocument>) {
        let crate::serve::ReleaseBundle { release, record, cosignatures, params } = published.bundle();
        let bundle = ReleaseBundle { release, round_record: record, promotion, cosignatures };
        *self.latest.lock().unwrap() = Some((bundle, params));
    }

    /// From now on every upload is taken.
    pub(super) fn heal(&self) {
        self.script.lock().unwrap().broken_uploads = 0;
    }

    /// Waits for so many uploads.
    pub(super) async fn uploads(&self, count: usize) {
        self.seen.subscribe().wait_for(|seen| seen.updates.len() >= count).await.unwrap();
    }

    /// Waits for so many requests for a certificate.
    pub(super) async fn asked(&self, count: usize) {
        self.seen.subscribe().wait_for(|seen| seen.requests.len() >= count).await.unwrap();
    }

    /// Whether one of the script's `left` is due.
    fn takes(&self, left: impl FnOnce(&mut Script) -> &mut usize) -> bool {
        let mut script = self.script.lock().unwrap();
        let left = left(&mut script);
        let due = *left > 0;
        *left = left.saturating_sub(1);
        due
    }

    fn certify(&self, csr_pem: &str) -> EnrolAnswer {
        let certificate_pem = self.authority.sign_request(csr_pem, &participant_id(), now(), VALIDITY).unwrap();
        let ca_certificate_pem = self.authority.certificate_pem().to_owned();
        EnrolAnswer::Enrolled(Enrolled {
            certificate_pem,
            ca_certificate_pem,
            operator_key: operator().public().to_string(),
            coordinator_key: self.key.public().to_string(),
        })
    }

    fn next_round(&self) {
        self.view.send_modify(|view| {
            view.round_id.number = RoundNumber(view.round_id.number.0 + 1);
            // A carried update needs no join, and a site that trains anew joins first.
            view.phase = match self.task.participation.late {
                LatePolicy::Drop => Phase::Announced,
                _ => Phase::Collecting,
            };
            view.caller_joined = false;
        });
    }
}

#[async_trait]
impl Federation for Stage {
    async fn enrol(&self, enrolment: SignedDocument) -> Result<EnrolAnswer, Status> {
        self.seen.send_modify(|seen| seen.requests.push(enrolment.clone()));
        if self.takes(|script| &mut script.pending) {
            return Ok(EnrolAnswer::Pending);
        }
        let asked: Enrolment = shared::canonical::decode(enrolment.body.as_bytes()).unwrap();
        Ok(self.certify(&asked.csr_pem))
    }

    async fn renew(&self, _: Certificate, renewal: SignedDocument) -> Result<EnrolAnswer, Status> {
        let asked: Renewal = shared::canonical::decode(renewal.body.as_bytes()).unwrap();
        Ok(self.certify(&asked.csr_pem))
    }

    async fn tasks(&self, caller: Certificate) -> Result<Vec<TaskView>, Status> {
        self.seen.send_modify(|seen| seen.last_caller = caller);
        Ok(vec![TaskView { document: self.document.clone(), state: TaskState::Running, rounds_done: 0 }])
    }

    async fn watch(&self, _: Certificate, _: TaskId, mut beats: Heartbeats) -> Result<Answers<RoundView>, Status> {
        tokio::spawn(async move { while let Ok(Some(_)) = beats.next().await {} });
        let views = WatchStream::new(self.view.subscribe()).map(Ok);
        if self.takes(|script| &mut script.broken_watches) {
            return Ok(Box::pin(views.take(1)));
        }
        Ok(Box::pin(views))
    }

    async fn masking_documents(
        &self,
        _: Certificate,
        _: RoundId,
        _: MaskingStage,
    ) -> Result<Vec<SignedDocument>, Status> {
        Err(refused("round-unknown"))
    }

    async fn agreement(&self, _: Certificate, _: SignedDocument) -> Result<(), Status> {
        Err(refused("round-wrong-phase"))
    }

    async fn sealed_shares(&self, _: Certificate, _: RoundId) -> Result<Vec<SealedShare>, Status> {
        Err(refused("round-wrong-phase"))
    }

    async fn opened_update(&self, _: Certificate, _: SignedDocument) -> Result<(), Status> {
        Err(refused("round-wrong-phase"))
    }

    async fn proof(&self, _: Certificate, _: ProofRequest) -> Result<(), Status> {
        Err(refused("round-wrong-phase"))
    }

    async fn reveal(&self, _: Certificate, _: SignedDocument) -> Result<(), Status> {
        Err(refused("round-wrong-phase"))
    }

    async fn ledger(&self, _: Certificate, ledger: SignedDocument) -> Result<(), Status> {
        self.seen.send_modify(|seen| seen.ledgers.push(ledger));
        if self.takes(|script| &mut script.disowned) {
            return Err(refused("ledger-rolled-back"));
        }
        Ok(())
    }

    async fn cosignature(&self, _: Certificate, _: SignedDocument) -> Result<(), Status> {
        Err(refused("release-unknown"))
    }

    async fn join(&self, _: Certificate, _: JoinRequest) -> Result<(), Status> {
        if self.script.lock().unwrap().shut_out {
            return Err(refused("participant-quarantined"));
        }
        if self.takes(|script| &mut script.late_joins) {
            self.next_round();
            return Err(refused("update-stale"));
        }
        self.view.send_modify(|view| {
            view.caller_joined = true;
            view.phase = Phase::Collecting;
        });
        Ok(())
    }

    async fn params(&self, _: Certificate, wanted: Digest, offset: u64) -> Result<Answers<Bytes>, Status> {
        let released = self.latest.lock().unwrap().as_ref().map(|(_, params)| params.clone());
        let known = [checkpoint(), candidate()].into_iter().chain(released).find(|known| bulk_digest(known) == wanted);
        Ok(parts(Bytes::from(known.ok_or_else(|| refused("params-unknown"))?), offset))
    }

    async fn update(&self, _: Certificate, open: UpdateOpen, mut upload: Upload) -> Result<SignedDocument, Status> {
        upload.durable(0);
        let mut bytes = Vec::new();
        let site: UpdateHeader = shared::canonical::decode(open.header.body.as_bytes()).unwrap();
        while u64::try_from(bytes.len()).unwrap() < site.byte_count {
            bytes.extend_from_slice(&upload.next().await?.unwrap().data);
        }
        assert_eq!(ChunkDigests::of(&bytes).payload(), site.payload);
        self.seen.send_modify(|seen| seen.updates.push((open, bytes)));
        if self.takes(|script| &mut script.broken_uploads) {
            return Err(Status::unavailable("broken by the script"));
        }
        if self.takes(|script| &mut script.late_uploads) {
            self.next_round();
            return Err(refused("round-wrong-phase"));
        }
        let counted_in: RoundId = self.view.borrow().round_id.clone();
        let receipt = UpdateReceipt {
            round_id: counted_in,
            participant_id: site.participant_id,
            payload: site.payload,
            accepted_at: now(),
        };
        self.view.send_modify(|view| {
            view.caller_accepted = true;
            view.phase = Phase::Aggregated;
            view.candidate = Some(bulk_digest(&candidate()));
        });
        Ok(self.key.sign(&receipt).unwrap())
    }

    async fn evaluation(&self, _: Certificate, evaluation: SignedDocument) -> Result<(), Status> {
        self.seen.send_modify(|seen| seen.evaluations.push(evaluation));
        if self.script.lock().unwrap().ends_before_it_answers {
            self.end(TaskState::Cancelled);
            self.view.closed().await;
        }
        Ok(())
    }

    async fn round_record(&self, _: Certificate, _: RoundId) -> Result<SignedDocument, Status> {
        Err(refused("round-unknown"))
    }

    async fn release(&self, _: Certificate, _: ReleaseId) -> Result<ReleaseBundle, Status> {
        Err(refused("release-unknown"))
    }

    async fn latest_release(&self, _: Certificate, known: Option<Digest>) -> Result<Option<ReleaseBundle>, Status> {
        let latest = self.latest.lock().unwrap().as_ref().map(|(bundle, _)| bundle.clone());
        let is_known = |bundle: &ReleaseBundle| bundle.promotion.as_ref().map(document_digest) == known;
        Ok(latest.filter(|bundle| known.is_none() || !is_known(bundle)))
    }
}

/// Admits every participant's certificate.
struct Open(watch::Sender<u64>);

impl Gate for Open {
    fn admits(&self, certificate: &[u8]) -> Option<ParticipantId> {
        PeerCertificate::from_der(certificate).ok().map(|peer| peer.participant_id)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// A coordinator that runs as long as this is kept.
pub(super) struct Running {
    pub(super) stage: Arc<Stage>,
    pub(super) address: String,
    pub(super) ca_pem: String,
    serving: tokio::task::JoinHandle<()>,
}

impl Running {
    pub(super) async fn start(script: Script) -> Self {
        let stage = Arc::new(Stage::new(script));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let tls = stage.authority.issue_server(&["localhost".to_owned()], now(), VALIDITY).unwrap();
        let identity = PemIdentity { certificate: &tls.certificate_pem, key: tls.key_pem.expose() };
        let identity = ServerIdentity::new(identity).unwrap();
        let (ca_pem, federation) = (stage.authority.certificate_pem().to_owned(), Arc::clone(&stage));
        let ca = ca_pem.clone();
        let limits = Limits {
            connections: 8,
            connections_per_participant: 8,
            guests: 4,
            handshakes: 4,
            streams_per_connection: 16,
        };
        let serving = tokio::spawn(async move {
            let gate = Arc::new(Open(watch::Sender::new(0)));
            serve(listener, federation, gate, identity, &ca, limits, std::future::pending()).await.unwrap();
        });
        Self { stage, address, ca_pem, serving }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
