//! What a participant does and remembers in a masked round: the production steps of `participant::masking`, over memory in
//! place of a store.

use std::collections::BTreeSet;

use anyhow::Context;
use participant::masking::{Asked, MaskedUpdate, Member, Offer, Plan, Secrets, Sum};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use shared::document::SignedDocument;
use shared::masking::Survivors;
use shared::update::Join;
use shared::{Digest, ParamVector, ParticipantId, RoundId};
use shared_crypto::document_digest;
use shared_wire::client::Client;
use shared_wire::{Bytes, JoinRequest, MaskingStage, RoundView};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;

/// How many participants compute at a time. They stand for machines of their own: without a limit, a hundred of them on
/// the cores of this one leave no time for anybody's heartbeats.
static AT_WORK: Semaphore = Semaphore::const_new(2);

/// Runs what keeps a core busy.
pub(crate) async fn heavy<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let _place = AT_WORK.acquire().await?;
    block_in_place(work)
}

/// What a participant knows of a masked round so far.
#[derive(Default)]
pub(crate) struct MaskedRound {
    round: Option<RoundId>,
    offer: Option<(SignedDocument, Offer)>,
    plan: Option<Plan>,
    /// Its masked words, and what their masks are made of.
    masked: Option<(Vec<u8>, Secrets)>,
    header: Option<SignedDocument>,
    survivors: Option<(Survivors, Digest)>,
    /// Who it knows to have agreed to them.
    agreed_by: BTreeSet<ParticipantId>,
}

impl MaskedRound {
    /// Forgets the round before and joins this one; says the same when it is asked again.
    pub(crate) fn join(&mut self, member: &Member<'_>, view: &RoundView) -> anyhow::Result<JoinRequest> {
        if let Some((join, offer)) = self.offer.as_ref().filter(|_| self.round.as_ref() == Some(&view.round_id)) {
            return Ok(JoinRequest { join: join.clone(), dealing: Bytes::from(offer.dealing.clone()) });
        }
        let offer = member.offer(&view.round_id)?;
        let join = member.identity.sign(&Join {
            round_id: view.round_id.clone(),
            participant_id: member.participant_id.clone(),
            task_digest: member.task_digest,
            masking: Some(offer.said.clone()),
        })?;
        let dealing = Bytes::from(offer.dealing.clone());
        *self = Self { round: Some(view.round_id.clone()), offer: Some((join.clone(), offer)), ..Self::default() };
        Ok(JoinRequest { join, dealing })
    }

    /// Masks `update` for the round's plan.
    pub(crate) fn mask(
        &mut self,
        member: &Member<'_>,
        view: &RoundView,
        documents: &[SignedDocument],
        update: &ParamVector,
    ) -> anyhow::Result<MaskedUpdate> {
        let (join, offer) = self.offer.as_ref().context("it joined this round")?;
        let plan: Plan = member.check_plan(&view.round_id, view.checkpoint, join, documents)?;
        let mut rounding = ChaCha12Rng::seed_from_u64(1);
        let masked = member.mask(&plan, &offer.key, update, &mut rounding)?;
        self.plan = Some(plan);
        let MaskedUpdate { payload, secrets, .. } = &masked;
        self.masked = member.task.assurance().asks().then(|| (payload.clone(), secrets.clone()));
        Ok(masked)
    }

    /// Remembers the header that was signed.
    pub(crate) fn delivered(&mut self, header: SignedDocument) {
        self.header = Some(header);
    }

    /// Whether this participant is one of those who unmask the round.
    pub(crate) fn has_delivered(&self) -> bool {
        self.header.is_some()
    }

    pub(crate) async fn prove(&self, member: &Member<'_>, client: &Client, view: &RoundView) -> anyhow::Result<()> {
        let documents = client.masking_documents(&view.round_id, MaskingStage::Challenge).await?;
        let plan = self.plan.as_ref().context("it has a plan")?;
        let question = member.check_challenge(plan, documents.first().context("there is a challenge")?)?;
        let (payload, secrets) = self.masked.as_ref().context("it masked its update")?;
        let own = self.header.as_ref().context("it delivered")?;
        let request =
            heavy(|| Ok(member.prove(plan, &question, &Asked { own, payload, direction: &[] }, secrets)?)).await?;
        Ok(client.prove_update(request).await?)
    }

    pub(crate) async fn agree(&mut self, member: &Member<'_>, client: &Client, view: &RoundView) -> anyhow::Result<()> {
        let documents = client.masking_documents(&view.round_id, MaskingStage::Survivors).await?;
        let document = documents.first().context("there are survivors")?;
        let plan = self.plan.as_ref().context("it has a plan")?;
        let header = self.header.as_ref().context("it delivered")?;
        let survivors = member.check_survivors((&plan.said, plan.digest), header, document)?;
        let agreement = member.agree(&survivors, document)?;
        self.survivors = Some((survivors, document_digest(document)));
        Ok(client.agree(agreement).await?)
    }

    pub(crate) async fn reveal(
        &mut self,
        member: &Member<'_>,
        client: &Client,
        view: &RoundView,
    ) -> anyhow::Result<()> {
        let agreements = client.masking_documents(&view.round_id, MaskingStage::Agreements).await?;
        let sealed = client.sealed_shares(&view.round_id).await?;
        let (survivors, digest) = self.survivors.as_ref().context("it agreed")?;
        let revealed = member.reveal((survivors, *digest), &agreements, &sealed)?;
        self.agreed_by = revealed.agreed;
        Ok(client.reveal(revealed.said).await?)
    }

    /// Checks the round's sum, as every site does before it evaluates.
    pub(crate) async fn verify(
        &self,
        member: &Member<'_>,
        client: &Client,
        view: &RoundView,
        checkpoint: &ParamVector,
    ) -> anyhow::Result<()> {
        let documents = client.masking_documents(&view.round_id, MaskingStage::Sum).await?;
        let plan = self.plan.as_ref().context("it has a plan")?;
        let (_, agreed) = self.survivors.as_ref().context("it agreed")?;
        let announced = member.check_announced(&plan.said, (*agreed, &self.agreed_by), &documents)?;
        let mut words = Vec::new();
        client.fetch(announced.said.sum, member.task.update_len().saturating_mul(4), &mut words).await?;
        let candidate = view.candidate.context("an aggregated round has a candidate")?;
        heavy(|| Ok(member.check_sum(&announced, &Sum { words: &words, checkpoint, candidate })?)).await
    }
}
