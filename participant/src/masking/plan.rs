//! The plan of a masked round: whose masks the updates carry, checked before anything is masked for it.

use std::collections::BTreeMap;

use shared::document::SignedDocument;
use shared::masking::{MaskingPlan, threshold};
use shared::update::Join;
use shared::{Digest, ParticipantId, RoundId};
use shared_crypto::document_digest;
use shared_crypto::masking::AgreementPublic;

use super::{MaskingError, Member, same};
use crate::error::SiteError;

/// A plan that was checked.
pub struct Plan {
    /// What the coordinator signed.
    pub said: MaskingPlan,
    /// Its digest.
    pub digest: Digest,
    /// The round key of each neighbour.
    pub peers: BTreeMap<ParticipantId, AgreementPublic>,
}

impl Member<'_> {
    /// Checks the plan of a round in which this site trained from `checkpoint` and joined with `own_join`. `documents`
    /// are the plan and the neighbours' joins.
    pub fn check_plan(
        &self,
        round_id: &RoundId,
        checkpoint: Digest,
        own_join: &SignedDocument,
        documents: &[SignedDocument],
    ) -> Result<Plan, SiteError> {
        let (document, joins) = documents.split_first().ok_or(MaskingError::NotPlanned)?;
        let said: MaskingPlan = self.coordinator.open(document)?;
        Self::same_round("plan's round", round_id, &said.round_id)?;
        same("plan's task", self.task_digest, said.task_digest)?;
        same("plan's checkpoint", checkpoint, said.checkpoint)?;
        if said.joined.get(self.participant_id) != Some(&document_digest(own_join)) {
            return Err(MaskingError::NotPlanned.into());
        }
        let (needed, found) = (threshold(self.task.cohort.len()), said.joined.len());
        if found < needed {
            return Err(MaskingError::TooFew { what: "participants", needed, found }.into());
        }
        let peers = self.peers(&said, joins)?;
        Ok(Plan { digest: document_digest(document), said, peers })
    }

    /// The round keys of the neighbours who joined, each signed with the key that the roster has.
    fn peers(
        &self,
        plan: &MaskingPlan,
        joins: &[SignedDocument],
    ) -> Result<BTreeMap<ParticipantId, AgreementPublic>, SiteError> {
        let circle = self.circle();
        let neighbours = plan.joined.iter().filter(|(id, _)| circle.are_neighbours(self.participant_id, id));
        let neighbours: Vec<(&ParticipantId, &Digest)> = neighbours.collect();
        let (expected, found) = (neighbours.len(), joins.len());
        if expected != found {
            return Err(MaskingError::Count { what: "joins", expected, found }.into());
        }
        let open = |((id, digest), document): ((&ParticipantId, &Digest), &SignedDocument)| {
            same("join", *digest, document_digest(document))?;
            let join: Join = self.open(id, document)?;
            Self::same_round("join's round", &plan.round_id, &join.round_id)?;
            same("join's task", self.task_digest, join.task_digest)?;
            if join.participant_id != *id {
                return Err(MaskingError::NotInRoster(join.participant_id).into());
            }
            let offer = join.masking.ok_or(MaskingError::NotMasked)?;
            Ok((id.clone(), AgreementPublic::try_from(&offer.round_key)?))
        };
        neighbours.into_iter().zip(joins).map(open).collect()
    }
}
