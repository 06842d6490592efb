//! Opening this site's update where the lots fell on it: its own secrets of the round, and nobody else's.

use shared::document::SignedDocument;
use shared::masking::{Assurance, Draw, Element, OpenedUpdate};
use shared::{Digest, RoundId};
use shared_crypto::masking::Lots;
use shared_crypto::{digest, document_digest};

use super::{MaskingError, Member, Plan, Secrets, same};
use crate::error::SiteError;

impl Member<'_> {
    /// Checks that this site is to open the update that it delivered with the signed header `own`; the digest of the signed
    /// draw.
    pub(super) fn check_draw(
        &self,
        plan: &Plan,
        own: &SignedDocument,
        document: &SignedDocument,
    ) -> Result<Digest, SiteError> {
        let draw: Draw = self.coordinator.open(document)?;
        Self::same_round("draw's round", &plan.said.round_id, &draw.round_id)?;
        same("draw's plan", plan.digest, draw.plan)?;
        self.check_beacon(plan, draw.beacon)?;
        let is_drawn = match &self.terms()?.assurance {
            Assurance::Openings { sites } => {
                Lots::new(draw.beacon).fall_on(document_digest(own), *sites, self.task.cohort.len())
            }
            Assurance::NormProofs { root } => root.as_ref() == Some(self.participant_id),
            Assurance::None => false,
        };
        if is_drawn { Ok(document_digest(document)) } else { Err(MaskingError::NotDrawn.into()) }
    }

    /// Checks that the beacon is the one that the coordinator had committed to before it saw this site's update.
    pub(super) fn check_beacon(&self, plan: &Plan, beacon: Digest) -> Result<(), SiteError> {
        let committed = plan.said.beacon.filter(|_| self.task.assurance().asks()).ok_or(MaskingError::NotAsked)?;
        Ok(same("beacon", committed, digest(beacon.as_bytes()))?)
    }

    /// Opens this site's update.
    pub(super) fn open_update(
        &self,
        round_id: &RoundId,
        draw: Digest,
        secrets: &Secrets,
    ) -> Result<SignedDocument, SiteError> {
        Ok(self.identity.sign(&OpenedUpdate {
            round_id: round_id.clone(),
            participant_id: self.participant_id.clone(),
            draw,
            round_key: Element::from(*secrets.round_key.to_bytes()),
            self_mask: Element::from(*secrets.self_mask.to_bytes()),
        })?)
    }
}
