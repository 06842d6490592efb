//! A participant that speaks the whole protocol and trains nothing.

use std::sync::Arc;

use anyhow::{Context, bail, ensure};
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
use shared_wire::{Bytes, EnrolAnswer, PemIdentity, Phase, RoundView, UpdateOpen};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

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
        Ok(Self { name, identity, coordinator_key: enrolled.coordinator_key.parse()?, client, payload })
    }

    /// Takes part in the only task to its end; tells how many rounds are done whenever that changes.
    pub(crate) async fn take_part(self, done: mpsc::UnboundedSender<u32>) -> anyhow::Result<()> {
        let document = self.client.tasks().await?.into_iter().next().context("there is no task")?.document;
        let task: Task = shared::canonical::decode(document.body.as_bytes())?;
        let presence = Presence::new(Arc::new(SystemClock));
        let mut views = self.client.watch(&task.task_id, &presence).await?;
        let mut site = AtWork { participant: self, task, document, held: None, last: None };
        while let Some(view) = views.next().await? {
            // Whoever counts may have heard enough.
            let _ = done.send(view.rounds_done);
            if view.task_state.is_over() {
                return Ok(());
            }
            site.act(&view).await.with_context(|| format!("`{}` in round {}", site.participant.name, view.round_id))?;
        }
        bail!("the watch ended before the task")
    }
}

/// A participant within a task.
struct AtWork {
    participant: Participant,
    task: Task,
    document: SignedDocument,
    /// The parameters that it has fetched and checked.
    held: Option<Digest>,
    /// What it did last.
    last: Option<(u32, Phase)>,
}

impl AtWork {
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
        let payload = self.participant.payload.clone();
        let chunks = spawn_blocking(move || ChunkDigests::of(&payload)).await?;
        let header = UpdateHeader {
            round_id: view.round_id.clone(),
            participant_id: self.participant.name.clone(),
            task_digest: document_digest(&self.document),
            checkpoint: view.checkpoint,
            encoding: self.encoding()?,
            byte_count: u64::try_from(self.participant.payload.len())?,
            payload: chunks.payload(),
            local_steps: self.task.recipe.local_steps,
        };
        let open =
            UpdateOpen { header: self.participant.identity.sign(&header)?, chunk_digests: chunks.as_slice().to_vec() };
        let receipt = self.participant.client.submit_update(open, self.participant.payload.clone(), |_, _| ()).await?;
        let receipt: UpdateReceipt = self.participant.coordinator_key.open(&receipt)?;
        ensure!(receipt.payload == header.payload, "the receipt is of another update");
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
