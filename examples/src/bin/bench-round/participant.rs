//! A participant that speaks the whole protocol and trains nothing. When the coordinator is not reached, it waits and
//! tries again as the product's own participant does.

use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use participant::masking::Member;
use participant::rpc::Patience;
use shared::document::SignedDocument;
use shared::encoding::Encoding;
use shared::enrolment::Enrolment;
use shared::masking::MaskedPart;
use shared::task::Task;
use shared::update::{Evaluation, Join, UpdateHeader, UpdateReceipt};
use shared::{Digest, ParamVector, ParticipantId, RoundId};
use shared_crypto::masking::AgreementKey;
use shared_crypto::pki::CertificateRequest;
use shared_crypto::{ChunkDigests, PublicKey, SigningKey, bulk_digest, document_digest, random_bytes};
use shared_ops::clock::SystemClock;
use shared_wire::client::{Client, Presence};
use shared_wire::{
    Bytes, Code, EnrolAnswer, JoinRequest, MaskingStage, PemIdentity, Phase, RoundView, UpdateOpen, WireError,
};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::masked::{MaskedRound, heavy};

/// What a participant tells whoever measures.
#[derive(Debug, Clone, Copy)]
pub(crate) enum News {
    /// What the coordinator shows: the present round, its phase, and how many rounds are committed.
    Shown { round: u32, phase: Phase, rounds_done: u32 },
    /// The update of this round has its receipt.
    Delivered { round: u32 },
}

/// An enrolled participant with its connection.
pub(crate) struct Participant {
    name: ParticipantId,
    identity: SigningKey,
    agreement: AgreementKey,
    coordinator_key: PublicKey,
    client: Client,
    update: Update,
    /// The round that it leaves for good, once it has joined.
    leaves: Option<u32>,
}

/// The update that a participant sends in every round.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    pub(crate) params: Arc<ParamVector>,
    /// The same, encoded.
    pub(crate) payload: Bytes,
}

impl Participant {
    /// Makes keys, trades the token for a certificate, and connects with it.
    pub(crate) async fn enrol(
        address: &str,
        ca: &str,
        (name, token): (ParticipantId, String),
        update: Update,
    ) -> anyhow::Result<Self> {
        let request = CertificateRequest::new(&name)?;
        let identity = SigningKey::from_seed(&*random_bytes::<32>()?);
        let agreement = AgreementKey::generate()?;
        let enrolment = Enrolment {
            token,
            participant_id: name.clone(),
            csr_pem: request.csr_pem,
            identity_key: identity.public().to_string(),
            agreement_key: agreement.public().into(),
        };
        let answer = Client::connect(address, ca, None).await?.enrol(identity.sign(&enrolment)?).await?;
        let EnrolAnswer::Enrolled(enrolled) = answer else { bail!("`{name}` awaits an approval") };
        let tls = PemIdentity { certificate: &enrolled.certificate_pem, key: request.key_pem.expose() };
        let client = Client::connect(address, ca, Some(tls)).await?;
        let coordinator_key = enrolled.coordinator_key.parse()?;
        Ok(Self { name, identity, agreement, coordinator_key, client, update, leaves: None })
    }

    /// The same participant, which leaves for good when it has joined this round.
    pub(crate) fn leaving(self, round: u32) -> Self {
        Self { leaves: Some(round), ..self }
    }

    /// Takes part in the only task to its end.
    pub(crate) async fn take_part(self, news: mpsc::UnboundedSender<News>) -> anyhow::Result<()> {
        let document = self.client.tasks().await?.into_iter().next().context("there is no task")?.document;
        let task: Task = shared::canonical::decode(document.body.as_bytes())?;
        let mut site = AtWork {
            participant: self,
            task,
            document,
            news,
            held: None,
            masked: MaskedRound::default(),
            joined: None,
            prepared: None,
            last: None,
        };
        let mut patience = Patience::default();
        loop {
            match site.follow(&mut patience).await {
                Err(error) if may_pass(&error) => patience.pause("round", &format!("{error:#}")).await,
                ended => return ended,
            }
        }
    }
}

/// Whether the same thing may work later without anybody doing anything.
fn may_pass(error: &anyhow::Error) -> bool {
    error.downcast_ref::<WireError>().is_some_and(WireError::is_transient)
}

/// Whether the round went on without this participant, which takes part in the next one.
fn goes_on_without(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<WireError>(), Some(WireError::Refused { status: Code::FailedPrecondition, .. }))
}

/// A participant within a task.
struct AtWork {
    participant: Participant,
    task: Task,
    document: SignedDocument,
    news: mpsc::UnboundedSender<News>,
    /// The parameters that it has fetched and checked.
    held: Option<(Digest, Vec<u8>)>,
    /// What it knows of the present round, where updates are masked.
    masked: MaskedRound,
    /// The round that it joined last.
    joined: Option<u32>,
    /// The update that has no receipt yet.
    prepared: Option<(RoundId, UpdateOpen, Bytes)>,
    /// What it did last.
    last: Option<(u32, Phase)>,
}

impl AtWork {
    /// Watches the task to its end, and does what each view asks.
    async fn follow(&mut self, patience: &mut Patience) -> anyhow::Result<()> {
        let presence = Presence::new(Arc::new(SystemClock));
        let mut views = self.participant.client.watch(&self.task.task_id, &presence).await?;
        while let Some(view) = views.next().await? {
            let (round, phase) = (view.round_id.number.0, view.phase);
            self.tell(News::Shown { round, phase, rounds_done: view.rounds_done });
            let leaves = view.phase == Phase::Collecting && self.participant.leaves == Some(round);
            if view.task_state.is_over() || leaves {
                return Ok(());
            }
            match self.act(&view).await {
                // On a busy machine it may have been taken for lost.
                Err(error) if goes_on_without(&error) => self.last = Some((round, phase)),
                acted => acted.with_context(|| format!("`{}` in round {round}", self.participant.name))?,
            }
            patience.reset();
        }
        Err(WireError::Unreachable { reason: "the watch ended before the task".to_owned() }.into())
    }

    fn tell(&self, news: News) {
        // Whoever measures may have heard enough.
        let _ = self.news.send(news);
    }

    async fn act(&mut self, view: &RoundView) -> anyhow::Result<()> {
        let now = (view.round_id.number.0, view.phase);
        if self.last == Some(now) {
            return Ok(());
        }
        match view.phase {
            Phase::Announced => self.join(view).await?,
            Phase::Collecting if self.joined == Some(now.0) => self.deliver(view).await?,
            Phase::Proving if self.masked.has_delivered() => {
                let member = member(&self.participant, &self.task, &self.document);
                self.masked.prove(&member, &self.participant.client, view).await?;
            }
            Phase::Agreeing if self.masked.has_delivered() => {
                let member = member(&self.participant, &self.task, &self.document);
                self.masked.agree(&member, &self.participant.client, view).await?;
            }
            Phase::Unmasking if self.masked.has_delivered() => {
                let member = member(&self.participant, &self.task, &self.document);
                self.masked.reveal(&member, &self.participant.client, view).await?;
            }
            Phase::Aggregated => self.evaluate(view).await?,
            _ => {}
        }
        self.last = Some(now);
        Ok(())
    }

    fn client(&self) -> &Client {
        &self.participant.client
    }

    async fn join(&mut self, view: &RoundView) -> anyhow::Result<()> {
        let member = member(&self.participant, &self.task, &self.document);
        let request = match self.task.secure_aggregation {
            Some(_) => self.masked.join(&member, view)?,
            None => JoinRequest::from(member.identity.sign(&Join {
                round_id: view.round_id.clone(),
                participant_id: member.participant_id.clone(),
                task_digest: member.task_digest,
                masking: None,
            })?),
        };
        self.client().join(request).await?;
        self.joined = Some(view.round_id.number.0);
        Ok(())
    }

    async fn deliver(&mut self, view: &RoundView) -> anyhow::Result<()> {
        let (open, payload) = match self.prepared.as_ref().filter(|(round_id, ..)| *round_id == view.round_id) {
            // Its connection broke: the very same again.
            Some((_, open, payload)) => (open.clone(), payload.clone()),
            None => self.prepare(view).await?,
        };
        let signed = open.header.clone();
        let header: UpdateHeader = self.participant.identity.public().open(&signed)?;
        let receipt = self.client().submit_update(open, payload, |_, _| ()).await?;
        let receipt: UpdateReceipt = self.participant.coordinator_key.open(&receipt)?;
        ensure!(receipt.payload == header.payload, "the receipt is of another update");
        self.prepared = None;
        self.masked.delivered(signed);
        self.tell(News::Delivered { round: view.round_id.number.0 });
        Ok(())
    }

    /// Makes the round's update, ready to be sent.
    async fn prepare(&mut self, view: &RoundView) -> anyhow::Result<(UpdateOpen, Bytes)> {
        self.fetch(view.checkpoint).await?;
        let payload = self.payload(view).await?;
        let update = payload.bytes.clone();
        let chunks = spawn_blocking(move || ChunkDigests::of(&update)).await?;
        let header = self.participant.identity.sign(&UpdateHeader {
            round_id: view.round_id.clone(),
            participant_id: self.participant.name.clone(),
            task_digest: document_digest(&self.document),
            checkpoint: view.checkpoint,
            encoding: self.encoding()?,
            byte_count: chunks.byte_count(),
            payload: chunks.payload(),
            local_steps: self.task.recipe.local_steps,
            masked: payload.masked,
        })?;
        let open = UpdateOpen { header, chunk_digests: chunks.as_slice().to_vec(), dealing: payload.dealing };
        self.prepared = Some((view.round_id.clone(), open.clone(), payload.bytes.clone()));
        Ok((open, payload.bytes))
    }

    /// The bytes to be sent in this round.
    async fn payload(&mut self, view: &RoundView) -> anyhow::Result<Payload> {
        let update = self.participant.update.clone();
        if self.task.secure_aggregation.is_none() {
            return Ok(Payload { bytes: update.payload, masked: None, dealing: Bytes::new() });
        }
        let documents = self.client().masking_documents(&view.round_id, MaskingStage::Plan).await?;
        let member = member(&self.participant, &self.task, &self.document);
        let masked = heavy(|| self.masked.mask(&member, view, &documents, &update.params)).await?;
        Ok(Payload { bytes: masked.payload.into(), masked: Some(masked.said), dealing: masked.dealing.into() })
    }

    async fn evaluate(&mut self, view: &RoundView) -> anyhow::Result<()> {
        let candidate = view.candidate.context("an aggregated round has a candidate")?;
        self.fetch(view.checkpoint).await?;
        if self.task.secure_aggregation.is_some() && self.masked.has_delivered() {
            let member = member(&self.participant, &self.task, &self.document);
            let bytes = self.held.as_ref().map(|(_, bytes)| bytes.as_slice()).unwrap_or_default();
            let checkpoint = ParamVector::from_le_bytes(bytes, self.task.model.param_count())?;
            self.masked.verify(&member, self.client(), view, &checkpoint).await?;
        }
        self.fetch(candidate).await?;
        let evaluation = Evaluation {
            round_id: view.round_id.clone(),
            participant_id: self.participant.name.clone(),
            candidate,
            true_positives: 9,
            false_negatives: 1,
            false_positives: 1,
            true_negatives: 99,
        };
        let signed = self.participant.identity.sign(&evaluation)?;
        Ok(self.client().submit_evaluation(signed).await?)
    }

    /// Fetches and checks parameters, unless they are the ones that it has.
    async fn fetch(&mut self, wanted: Digest) -> anyhow::Result<()> {
        if self.held.as_ref().is_some_and(|(held, _)| *held == wanted) {
            return Ok(());
        }
        let len = self.task.model.param_count() * size_of::<f32>();
        let mut params = Vec::with_capacity(len);
        self.client().fetch(wanted, len, &mut params).await?;
        let (found, params) = spawn_blocking(move || (bulk_digest(&params), params)).await?;
        ensure!(found == wanted, "fetched {found} where {wanted} was wanted");
        self.held = Some((wanted, params));
        Ok(())
    }

    fn encoding(&self) -> anyhow::Result<Encoding> {
        self.task.encodings.first().copied().context("a task offers an encoding")
    }
}

/// What is sent of an update.
struct Payload {
    bytes: Bytes,
    masked: Option<MaskedPart>,
    dealing: Bytes,
}

/// The participant as the steps of a masked round see it.
fn member<'a>(participant: &'a Participant, task: &'a Task, document: &SignedDocument) -> Member<'a> {
    Member {
        task,
        task_digest: document_digest(document),
        participant_id: &participant.name,
        identity: &participant.identity,
        agreement: &participant.agreement,
        coordinator: participant.coordinator_key,
    }
}
