//! A participant that speaks the whole protocol and trains nothing. When the coordinator is not reached, it waits and
//! tries again as the product's own participant does.

use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use participant::rpc::Patience;
use shared::document::SignedDocument;
use shared::encoding::Encoding;
use shared::enrolment::Enrolment;
use shared::task::Task;
use shared::update::{Evaluation, Join, UpdateHeader, UpdateReceipt};
use shared::{Digest, ParticipantId};
use shared_crypto::pki::CertificateRequest;
use shared_crypto::{ChunkDigests, PublicKey, SigningKey, bulk_digest, document_digest, random_bytes};
use shared_ops::clock::SystemClock;
use shared_wire::client::{Client, Presence};
use shared_wire::{Bytes, Code, EnrolAnswer, PemIdentity, Phase, RoundView, UpdateOpen, WireError};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

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
    coordinator_key: PublicKey,
    client: Client,
    /// The encoded update that it sends in every round.
    payload: Bytes,
}

impl Participant {
    /// Makes keys, trades the token for a certificate, and connects with it.
    pub(crate) async fn enrol(
        address: &str,
        ca: &str,
        (name, token): (ParticipantId, String),
        payload: Bytes,
    ) -> anyhow::Result<Self> {
        let request = CertificateRequest::new(&name)?;
        let identity = SigningKey::from_seed(&*random_bytes::<32>()?);
        let enrolment = Enrolment {
            token,
            participant_id: name.clone(),
            csr_pem: request.csr_pem,
            identity_key: identity.public().to_string(),
        };
        let answer = Client::connect(address, ca, None).await?.enrol(identity.sign(&enrolment)?).await?;
        let EnrolAnswer::Enrolled(enrolled) = answer else { bail!("`{name}` awaits an approval") };
        let tls = PemIdentity { certificate: &enrolled.certificate_pem, key: request.key_pem.expose() };
        let client = Client::connect(address, ca, Some(tls)).await?;
        let coordinator_key = enrolled.coordinator_key.parse()?;
        Ok(Self { name, identity, coordinator_key, client, payload })
    }

    /// Takes part in the only task to its end.
    pub(crate) async fn take_part(self, news: mpsc::UnboundedSender<News>) -> anyhow::Result<()> {
        let document = self.client.tasks().await?.into_iter().next().context("there is no task")?.document;
        let task: Task = shared::canonical::decode(document.body.as_bytes())?;
        let mut site = AtWork { participant: self, task, document, news, held: None, last: None };
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
    held: Option<Digest>,
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
            if view.task_state.is_over() {
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
            Phase::Collecting => self.deliver(view).await?,
            Phase::Aggregated => self.evaluate(view).await?,
            _ => {}
        }
        self.last = Some(now);
        Ok(())
    }

    async fn join(&mut self, view: &RoundView) -> anyhow::Result<()> {
        let join = Join {
            round_id: view.round_id.clone(),
            participant_id: self.participant.name.clone(),
            task_digest: document_digest(&self.document),
        };
        Ok(self.participant.client.join(self.participant.identity.sign(&join)?).await?)
    }

    async fn deliver(&mut self, view: &RoundView) -> anyhow::Result<()> {
        self.fetch(view.checkpoint).await?;
        let Participant { client, identity, coordinator_key, payload, .. } = &self.participant;
        let update = payload.clone();
        let chunks = spawn_blocking(move || ChunkDigests::of(&update)).await?;
        let header = UpdateHeader {
            round_id: view.round_id.clone(),
            participant_id: self.participant.name.clone(),
            task_digest: document_digest(&self.document),
            checkpoint: view.checkpoint,
            encoding: self.encoding()?,
            byte_count: chunks.byte_count(),
            payload: chunks.payload(),
            local_steps: self.task.recipe.local_steps,
        };
        let open = UpdateOpen { header: identity.sign(&header)?, chunk_digests: chunks.as_slice().to_vec() };
        let round = view.round_id.number.0;
        let receipt = client.submit_update(open, payload.clone(), |_, _| ()).await?;
        let receipt: UpdateReceipt = coordinator_key.open(&receipt)?;
        ensure!(receipt.payload == header.payload, "the receipt is of another update");
        self.tell(News::Delivered { round });
        Ok(())
    }

    async fn evaluate(&mut self, view: &RoundView) -> anyhow::Result<()> {
        let candidate = view.candidate.context("an aggregated round has a candidate")?;
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
        Ok(self.participant.client.submit_evaluation(signed).await?)
    }

    /// Fetches and checks parameters, unless they are the ones that it has.
    async fn fetch(&mut self, wanted: Digest) -> anyhow::Result<()> {
        if self.held == Some(wanted) {
            return Ok(());
        }
        let len = self.task.model.param_count() * size_of::<f32>();
        let mut params = Vec::with_capacity(len);
        self.participant.client.fetch(wanted, len, &mut params).await?;
        let found = spawn_blocking(move || bulk_digest(&params)).await?;
        ensure!(found == wanted, "fetched {found} where {wanted} was wanted");
        self.held = Some(wanted);
        Ok(())
    }

    fn encoding(&self) -> anyhow::Result<Encoding> {
        self.task.encodings.first().copied().context("a task offers an encoding")
    }
}
