//! What a masked round asks of a site, call by call: each document is fetched, checked, answered, and the answer kept
//! before it is sent. What the checks refuse stands in the audit log with the document that was refused.

use std::sync::Arc;

use serde_json::json;
use shared::audit::AuditKind;
use shared::document::SignedDocument;
use shared::{Digest, Explain, ParamVector, RoundId};
use shared_crypto::document_digest;
use shared_wire::{JoinRequest, MaskingStage, RoundView};

use super::membership::{Admitted, Membership};
use crate::error::SiteError;
use crate::masking::{Asked, Kept, MaskingError, Member, Sum};
use crate::site::{Site, blocking};
use crate::update::Masking;

/// A site in a masked task.
#[derive(Clone)]
pub(super) struct Masked<'a> {
    member: &'a Membership,
    admitted: &'a Admitted,
}

/// What the checks need, on a thread that may block.
struct Checks {
    site: Arc<Site>,
    admitted: Admitted,
    coordinator: shared_crypto::PublicKey,
}

impl Checks {
    fn run<T>(&self, check: impl FnOnce(&Member<'_>, &Kept) -> Result<T, SiteError>) -> Result<T, SiteError> {
        let site = &self.site;
        let member = Member {
            task: &self.admitted.task,
            task_digest: self.admitted.digest,
            participant_id: &site.participant_id,
            identity: &site.identity,
            agreement: &site.agreement,
            coordinator: self.coordinator,
        };
        check(&member, &site.masked)
    }
}

impl<'a> Masked<'a> {
    pub(super) fn new(member: &'a Membership, admitted: &'a Admitted) -> Self {
        Self { member, admitted }
    }

    /// Runs `check` where it may block. What it refuses of the coordinator's words is written to the audit log, with them.
    async fn checked<T: Send + 'static>(
        &self,
        round_id: &RoundId,
        documents: &[SignedDocument],
        check: impl FnOnce(&Member<'_>, &Kept, &[SignedDocument]) -> Result<T, SiteError> + Send + 'static,
    ) -> Result<T, SiteError> {
        let checks = Checks {
            site: Arc::clone(&self.member.site),
            admitted: self.admitted.clone(),
            coordinator: self.member.credentials().coordinator_key,
        };
        let (round_id, documents) = (round_id.clone(), documents.to_vec());
        let work = move || {
            let checked = checks.run(|member, kept| check(member, kept, &documents));
            checked.inspect_err(|error| accuse(&checks.site, &round_id, &documents, error))
        };
        blocking(work).await
    }

    /// What joins a round: the same however often it is asked for.
    pub(super) async fn join(&self, round_id: &RoundId) -> Result<JoinRequest, SiteError> {
        let wanted = round_id.clone();
        self.checked(round_id, &[], move |member, kept, _| member.join(kept, &wanted)).await
    }

    /// The plan of a round, checked, with the key that this site's masks are made with.
    pub(super) async fn masking(&self, view: &RoundView) -> Result<Masking, SiteError> {
        let documents = self.documents(&view.round_id, MaskingStage::Plan).await?;
        let (round_id, checkpoint) = (view.round_id.clone(), view.checkpoint);
        self.checked(&view.round_id, &documents, move |member, kept, documents| {
            let (plan, key) = member.planned(kept, &round_id, checkpoint, documents)?;
            Ok(Masking { plan, key, coordinator: member.coordinator })
        })
        .await
    }

    /// Opens this site's update, for which it was drawn.
    pub(super) async fn open(&self, view: &RoundView) -> Result<(), SiteError> {
        let round_id = &view.round_id;
        let documents = self.with_plan(round_id, MaskingStage::Draw).await?;
        let own = self.own_header(round_id).await?;
        let (wanted, checkpoint) = (round_id.clone(), view.checkpoint);
        let opened = self
            .checked(round_id, &documents, move |member, kept, documents| {
                member.open_once(kept, &wanted, checkpoint, &own, documents)
            })
            .await?;
        Ok(self.member.client().open_update(opened).await?)
    }

    /// Proves what this site's update is.
    pub(super) async fn prove(&self, view: &RoundView) -> Result<(), SiteError> {
        let round_id = &view.round_id;
        let documents = self.with_plan(round_id, MaskingStage::Challenge).await?;
        let own = self.own_header(round_id).await?;
        let (wanted, checkpoint) = (round_id.clone(), view.checkpoint);
        let (plan, question) = self
            .checked(round_id, &documents, move |member, kept, documents| {
                member.challenged(kept, &wanted, checkpoint, documents)
            })
            .await?;
        let mut direction = Vec::new();
        if let Some(digest) = question.said.direction {
            let len = self.admitted.task.update_len().saturating_mul(4);
            self.member.client().fetch(digest, len, &mut direction).await?;
        }
        let (updates, wanted) = (self.member.updates(), round_id.clone());
        let payload = blocking(move || updates.masked_payload(&wanted)).await?;
        let request = self
            .checked(round_id, &documents, move |member, kept, _| {
                let asked = Asked { own: &own, payload: &payload, direction: &direction };
                member.prove_once(kept, &plan, &question, &asked)
            })
            .await?;
        Ok(self.member.client().prove_update(request).await?)
    }

    /// Agrees on who delivered.
    pub(super) async fn agree(&self, view: &RoundView) -> Result<(), SiteError> {
        let round_id = &view.round_id;
        let documents = self.with_plan(round_id, MaskingStage::Survivors).await?;
        let own = self.own_header(round_id).await?;
        let (wanted, checkpoint) = (round_id.clone(), view.checkpoint);
        let agreement = self
            .checked(round_id, &documents, move |member, kept, documents| {
                member.agree_once(kept, &wanted, checkpoint, &own, documents)
            })
            .await?;
        Ok(self.member.client().agree(agreement).await?)
    }

    /// Reveals what unmasks the sum.
    pub(super) async fn reveal(&self, round_id: &RoundId) -> Result<(), SiteError> {
        let agreements = self.documents(round_id, MaskingStage::Agreements).await?;
        let sealed = self.member.client().sealed_shares(round_id).await?;
        let wanted = round_id.clone();
        let reveal = self
            .checked(round_id, &agreements, move |member, kept, agreements| {
                member.reveal_once(kept, &wanted, agreements, &sealed)
            })
            .await?;
        Ok(self.member.client().reveal(reveal).await?)
    }

    /// Checks the published sum against what every survivor committed to, and the candidate against the sum.
    pub(super) async fn verify(
        &self,
        view: &RoundView,
        checkpoint: Arc<ParamVector>,
        candidate: Digest,
    ) -> Result<(), SiteError> {
        let round_id = &view.round_id;
        let documents = self.documents(round_id, MaskingStage::Sum).await?;
        let wanted = round_id.clone();
        let announced = self
            .checked(round_id, &documents, move |member, kept, documents| {
                let known = kept.joined(&wanted)?;
                let agreed = known.agreed.ok_or(MaskingError::SecretsGone)?;
                let survivors = document_digest(&agreed.survivors);
                member.check_announced(&agreed.plan, (survivors, &known.agreed_by), documents)
            })
            .await?;
        let len = self.admitted.task.update_len().saturating_mul(4);
        let mut words = Vec::new();
        self.member.client().fetch(announced.said.sum, len, &mut words).await?;
        let wanted = round_id.clone();
        let check = move |member: &Member<'_>, kept: &Kept, _: &[SignedDocument]| {
            member.check_sum(&announced, &Sum { words: &words, checkpoint: &checkpoint, candidate })?;
            kept.keep_verified(&wanted)
        };
        self.checked(round_id, &documents, check).await
    }

    /// What a stage brings, and what the plan is checked with.
    async fn with_plan(&self, round_id: &RoundId, stage: MaskingStage) -> Result<Vec<SignedDocument>, SiteError> {
        let mut documents = self.documents(round_id, stage).await?;
        documents.extend(self.documents(round_id, MaskingStage::Plan).await?);
        Ok(documents)
    }

    async fn documents(&self, round_id: &RoundId, stage: MaskingStage) -> Result<Vec<SignedDocument>, SiteError> {
        Ok(self.member.client().masking_documents(round_id, stage).await?)
    }

    /// The signed header of the update that this site delivered.
    async fn own_header(&self, round_id: &RoundId) -> Result<SignedDocument, SiteError> {
        let (updates, round_id) = (self.member.updates(), round_id.clone());
        blocking(move || Ok(updates.header(&round_id)?.ok_or(MaskingError::NotDelivered)?)).await
    }
}

/// Writes what was refused to the audit log, with the documents that prove it: an entry for each, because all together may
/// be longer than an entry.
fn accuse(site: &Site, round_id: &RoundId, documents: &[SignedDocument], error: &SiteError) {
    let (code, reason) = (error.code(), error.to_string());
    let refused = json!({"event": "masking-refused", "round_id": round_id, "code": code, "reason": reason});
    let shown = |document| json!({"event": "masking-shown", "round_id": round_id, "document": document});
    let entries: Vec<_> = std::iter::once(refused).chain(documents.iter().map(shown)).collect();
    if let Err(failed) = site.journal.write_all(AuditKind::Round, &entries) {
        tracing::error!(%round_id, %failed, "a refusal could not be written to the audit log");
    }
}
