//! A coordinator that plays what a test tells it to, and reports what it sees.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shared::document::{KeyId, SignedDocument};
use shared::{Digest, ParticipantId, ReleaseId, RoundId, RoundNumber, TaskId, Timestamp};
use shared_crypto::pki::{CertificateAuthority, CertificateRequest, PeerCertificate};
use shared_wire::client::Client;
use shared_wire::server::{self, Answers, Certificate, Federation, Gate, Heartbeats, Limits, ServerIdentity, Upload};
use shared_wire::{
    Bytes, CHUNK_BYTES, EnrolAnswer, Heartbeat, JoinRequest, MaskingStage, PemIdentity, Phase, ProofRequest,
    ReleaseBundle, RoundView, SealedShare, Status, TaskState, TaskView, UpdateOpen, WireError, async_trait,
};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

/// A hundred years: these certificates outlive every clock that checks them.
const VALIDITY: Duration = Duration::from_secs(100 * 365 * 86_400);
const NOW: i64 = 1_700_000_000_000_000;

/// What the coordinator saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Enrolment {
        certificate: bool,
    },
    Heartbeat(Heartbeat),
    /// The watcher's heartbeats stopped; the status' message.
    Dead(String),
    Opened(UpdateOpen),
    Piece {
        offset: u64,
        len: usize,
    },
    /// An upload's call ended, however it did.
    UploadOver,
}

/// How uploads are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Uploads {
    /// Taken from this byte on.
    From(u64),
    /// Given a place, and never read.
    Stuck,
}

pub(crate) struct Stage {
    pub(crate) params: Bytes,
    /// A download breaks off here, once.
    pub(crate) break_at: Mutex<Option<usize>>,
    pub(crate) uploads: Uploads,
    /// Opens the line of uploads; open from the start unless a test says otherwise.
    pub(crate) line: Arc<Notify>,
    seen: mpsc::UnboundedSender<Seen>,
}

/// The participants that are admitted.
pub(crate) struct Register {
    admitted: Mutex<BTreeMap<ParticipantId, bool>>,
    changes: watch::Sender<u64>,
}

impl Register {
    pub(crate) fn revoke(&self, name: &str) {
        self.admitted.lock().unwrap().insert(ParticipantId::new(name).unwrap(), false);
        self.changes.send_modify(|changes| *changes += 1);
    }
}

impl Gate for Register {
    fn admits(&self, certificate: &[u8]) -> Option<ParticipantId> {
        let participant = PeerCertificate::from_der(certificate).ok()?.participant_id;
        self.admitted.lock().unwrap().get(&participant).copied().unwrap_or(true).then_some(participant)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

pub(crate) fn document() -> SignedDocument {
    SignedDocument { body: "{}".to_owned(), key_id: KeyId(Digest([1; 32])), signature: "07".repeat(64) }
}

/// The promotion that a site knows already.
pub(crate) const KNOWN: Digest = Digest([9; 32]);

pub(crate) fn latest() -> ReleaseBundle {
    let round_record = SignedDocument { body: "{\"of\":1}".to_owned(), ..document() };
    let promotion = SignedDocument { body: "{\"number\":1}".to_owned(), ..document() };
    ReleaseBundle { release: document(), round_record, promotion: Some(promotion), cosignatures: vec![document()] }
}

pub(crate) fn join_request() -> JoinRequest {
    JoinRequest { join: document(), dealing: Bytes::from_static(&[5; 80]) }
}

pub(crate) fn sealed_share() -> SealedShare {
    SealedShare { dealer: ParticipantId::new("site").unwrap(), sealed: [6; 80] }
}

pub(crate) fn task() -> TaskId {
    TaskId::new("task").unwrap()
}

pub(crate) fn view() -> RoundView {
    RoundView {
        round_id: RoundId { task_id: task(), number: RoundNumber(1) },
        phase: Phase::Collecting,
        checkpoint: Digest([2; 32]),
        control: None,
        candidate: None,
        deadline: None,
        quorum: 1,
        joined: 1,
        accepted: 0,
        invited: true,
        caller_joined: true,
        caller_accepted: false,
        caller_done: false,
        task_state: TaskState::Running,
        rounds_done: 0,
        sent_at: Timestamp::from_micros(NOW),
    }
}

/// Reports the end of an upload's call.
struct Over(mpsc::UnboundedSender<Seen>);

impl Drop for Over {
    fn drop(&mut self) {
        let _ = self.0.send(Seen::UploadOver);
    }
}

impl Stage {
    fn saw(&self, seen: Seen) {
        // A test that has seen enough looks no longer.
        let _ = self.seen.send(seen);
    }
}

#[async_trait]
impl Federation for Stage {
    async fn enrol(&self, _: SignedDocument) -> Result<EnrolAnswer, Status> {
        self.saw(Seen::Enrolment { certificate: false });
        Ok(EnrolAnswer::Pending)
    }

    async fn renew(&self, caller: Certificate, _: SignedDocument) -> Result<EnrolAnswer, Status> {
        self.saw(Seen::Enrolment { certificate: caller.is_some() });
        Ok(EnrolAnswer::Pending)
    }

    async fn tasks(&self, _: Certificate) -> Result<Vec<TaskView>, Status> {
        Ok(vec![TaskView { document: document(), state: TaskState::Paused, rounds_done: 3 }])
    }

    async fn watch(
        &self,
        _: Certificate,
        task_id: TaskId,
        mut heartbeats: Heartbeats,
    ) -> Result<Answers<RoundView>, Status> {
        assert_eq!(task_id, task());
        let (views, stream) = mpsc::channel(2);
        let seen = self.seen.clone();
        views.send(Ok(view())).await.unwrap();
        tokio::spawn(async move {
            loop {
                let report = match heartbeats.next().await {
                    Ok(Some(heartbeat)) => Seen::Heartbeat(heartbeat),
                    Ok(None) => return drop(views),
                    Err(status) => Seen::Dead(status.message().to_owned()),
                };
                if seen.send(report.clone()).is_err() || matches!(report, Seen::Dead(_)) {
                    return;
                }
            }
        });
        Ok(Box::pin(tokio_stream::wrappers::ReceiverStream::new(stream)))
    }

    async fn join(&self, _: Certificate, join: JoinRequest) -> Result<(), Status> {
        assert_eq!(join, join_request());
        Ok(())
    }

    async fn masking_documents(
        &self,
        _: Certificate,
        _: RoundId,
        stage: MaskingStage,
    ) -> Result<Vec<SignedDocument>, Status> {
        assert_eq!(stage, MaskingStage::Sum);
        Ok(vec![document(); 3])
    }

    async fn agreement(&self, _: Certificate, _: SignedDocument) -> Result<(), Status> {
        Ok(())
    }

    async fn sealed_shares(&self, _: Certificate, _: RoundId) -> Result<Vec<SealedShare>, Status> {
        Ok(vec![sealed_share()])
    }

    async fn opened_update(&self, _: Certificate, _: SignedDocument) -> Result<(), Status> {
        Ok(())
    }

    async fn proof(&self, _: Certificate, _: ProofRequest) -> Result<(), Status> {
        Ok(())
    }

    async fn reveal(&self, _: Certificate, _: SignedDocument) -> Result<(), Status> {
        Ok(())
    }

    async fn ledger(&self, _: Certificate, _: SignedDocument) -> Result<(), Status> {
        Ok(())
    }

    async fn cosignature(&self, _: Certificate, _: SignedDocument) -> Result<(), Status> {
        Ok(())
    }

    async fn params(&self, _: Certificate, _: Digest, offset: u64) -> Result<Answers<Bytes>, Status> {
        let offset = usize::try_from(offset).unwrap();
        let Some(end) = self.break_at.lock().unwrap().take() else {
            return Ok(server::parts(self.params.clone(), u64::try_from(offset).unwrap()));
        };
        let parts = [Ok(self.params.slice(offset..end)), Err(Status::unavailable("broken on purpose"))];
        Ok(Box::pin(tokio_stream::iter(parts)))
    }

    async fn update(&self, _: Certificate, open: UpdateOpen, mut upload: Upload) -> Result<SignedDocument, Status> {
        let _over = Over(self.seen.clone());
        self.saw(Seen::Opened(open));
        self.line.notified().await;
        let Uploads::From(offset) = self.uploads else {
            upload.durable(0);
            return std::future::pending().await;
        };
        upload.durable(offset);
        while let Some(piece) = upload.next().await? {
            self.saw(Seen::Piece { offset: piece.offset, len: piece.data.len() });
            upload.durable(piece.offset + u64::try_from(piece.data.len()).unwrap());
        }
        Ok(document())
    }

    async fn evaluation(&self, _: Certificate, _: SignedDocument) -> Result<(), Status> {
        Ok(())
    }

    async fn round_record(&self, _: Certificate, _: RoundId) -> Result<SignedDocument, Status> {
        Ok(document())
    }

    async fn release(&self, _: Certificate, release_id: ReleaseId) -> Result<ReleaseBundle, Status> {
        assert_eq!(release_id.as_str(), "r-1");
        Ok(ReleaseBundle { promotion: None, ..latest() })
    }

    async fn latest_release(&self, _: Certificate, known: Option<Digest>) -> Result<Option<ReleaseBundle>, Status> {
        Ok((known != Some(KNOWN)).then(latest))
    }
}

/// A certificate and its key, PEM.
pub(crate) struct Credentials {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Credentials {
    pub(crate) fn pem(&self) -> PemIdentity<'_> {
        PemIdentity { certificate: &self.certificate, key: &self.key }
    }
}

/// The stage, served.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) authority: CertificateAuthority,
    pub(crate) register: Arc<Register>,
    pub(crate) identity: ServerIdentity,
    pub(crate) seen: mpsc::UnboundedReceiver<Seen>,
    pub(crate) line: Arc<Notify>,
    stop: Arc<Notify>,
    served: JoinHandle<Result<(), WireError>>,
}

pub(crate) fn issue_server(authority: &CertificateAuthority) -> Credentials {
    let issued = authority.issue_server(&["127.0.0.1".to_owned()], Timestamp::from_micros(NOW), VALIDITY).unwrap();
    Credentials { certificate: issued.certificate_pem, key: issued.key_pem.expose().to_owned() }
}

pub(crate) const LIMITS: Limits =
    Limits { connections: 8, connections_per_participant: 3, guests: 2, handshakes: 4, streams_per_connection: 8 };

impl World {
    pub(crate) async fn start(uploads: Uploads, break_at: Option<usize>) -> Self {
        let authority = CertificateAuthority::create("test", Timestamp::from_micros(NOW), VALIDITY).unwrap();
        let identity = ServerIdentity::new(issue_server(&authority).pem()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let register = Arc::new(Register { admitted: Mutex::default(), changes: watch::Sender::new(0) });
        let (report, seen) = mpsc::unbounded_channel();
        let (line, stop) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let params = params();
        let stage = Stage { params, break_at: Mutex::new(break_at), uploads, line: Arc::clone(&line), seen: report };
        let (gate, shown, ca) = (Arc::clone(&register), identity.clone(), authority.certificate_pem().to_owned());
        let stopped = Arc::clone(&stop);
        let served = tokio::spawn(async move {
            server::serve(listener, Arc::new(stage), gate, shown, &ca, LIMITS, stopped.notified()).await
        });
        Self { address, authority, register, identity, seen, line, stop, served }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn credentials(&self, name: &str) -> Credentials {
        let participant_id = ParticipantId::new(name).unwrap();
        let request = CertificateRequest::new(&participant_id).unwrap();
        let now = Timestamp::from_micros(NOW);
        let certificate = self.authority.sign_request(&request.csr_pem, &participant_id, now, VALIDITY).unwrap();
        Credentials { certificate, key: request.key_pem.expose().to_owned() }
    }

    pub(crate) async fn client(&self, name: &str) -> Client {
        let credentials = self.credentials(name);
        Client::connect(&self.url(), self.authority.certificate_pem(), Some(credentials.pem())).await.unwrap()
    }

    pub(crate) async fn guest(&self) -> Client {
        Client::connect(&self.url(), self.authority.certificate_pem(), None).await.unwrap()
    }

    /// The next thing that the coordinator saw.
    pub(crate) async fn saw(&mut self) -> Seen {
        self.seen.recv().await.unwrap()
    }

    /// Stops the server, which ends when all its connections have.
    pub(crate) async fn stop(self) {
        self.stop.notify_one();
        self.served.await.unwrap().unwrap();
    }
}

/// Two chunks and a bit.
pub(crate) fn params() -> Bytes {
    (0..CHUNK_BYTES * 2 + 5).map(|i| u8::try_from(i % 251).unwrap()).collect::<Vec<_>>().into()
}

pub(crate) fn opening() -> UpdateOpen {
    UpdateOpen { header: document(), chunk_digests: vec![Digest([3; 32]); 3], dealing: Bytes::from_static(b"dealt") }
}
