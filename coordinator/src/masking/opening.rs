//! Drawn sites open their updates: each shows its own secrets of the round, its masks come off, and what is left must be
//! what it committed to, and no longer than the task allows. Who shows anything else is convicted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use shared::document::SignedDocument;
use shared::masking::{Assurance, Draw, MaskedPart, OpenedUpdate};
use shared::round::{AcceptedUpdate, Collecting, Opening, RoundEvent, RoundState};
use shared::store::Batch;
use shared::task::Task;
use shared::{ParticipantId, RoundId, canonical};
use shared_crypto::document_digest;
use shared_crypto::masking::{AgreementPublic, CommitmentKey, CommittedVector, Lots, RoundKey, SecretScalar};

use super::MaskingError;
use super::intake::{check_first, check_key, proposal};
use super::misconduct::convict;
use super::sum::{Masking, masked_part, sum};
use super::words::{beacon, document, headers, plan_digest, present, signed, word};
use crate::Error;
use crate::aggregate::UpdateFile;
use crate::context::Context;
use crate::durable::{Evidence, MaskingWord};
use crate::intake::same;
use crate::round::Snapshot;
use crate::round::driver::Proposal;

/// Draws who opens: by lot, or the root by whose update the others are measured. With the word that lets them.
pub(super) fn draw(
    context: &Context,
    task: &Task,
    round: &Collecting,
) -> Result<(BTreeSet<ParticipantId>, Batch), Error> {
    let (round_id, delivered) = (&round.plan.round_id, round.accepted.keys());
    let opens = match &round.plan.assurance {
        Assurance::Openings { sites } => {
            let (lots, cohort) = (Lots::new(beacon(context, round_id)?), task.cohort.len());
            let headers = headers(context, round_id, delivered)?;
            let drawn = headers.into_iter().filter(|(_, header)| lots.fall_on(*header, *sites, cohort));
            drawn.map(|(id, _)| id).collect()
        }
        Assurance::NormProofs { root: Some(root) } => delivered.filter(|id| *id == root).cloned().collect(),
        Assurance::NormProofs { root: None } | Assurance::None => return Ok((BTreeSet::new(), Batch::new())),
    };
    let (plan, beacon) = (plan_digest(context, round_id)?, beacon(context, round_id)?);
    let draw = Draw { round_id: round_id.clone(), plan, beacon };
    Ok((opens, signed(context, round_id, MaskingWord::Draw, &draw)?))
}

/// What opening an update asks of the round. Blocks: the masks come off here.
pub(crate) fn opened(
    context: &Context,
    task: &Task,
    document: &SignedDocument,
    opened: &OpenedUpdate,
    snapshot: &Snapshot,
) -> Result<Proposal, Error> {
    let OpenedUpdate { round_id, participant_id, .. } = opened;
    let event = RoundEvent::Opened { participant_id: participant_id.clone(), at: context.clock.now() };
    present(&snapshot.state, round_id)?;
    check_key(task, participant_id, document)?;
    check_first(context, document, round_id, Evidence::Opened, participant_id)?;
    snapshot.state.apply(&event)?;
    let draw = document_digest(&word(&*context.store, round_id, MaskingWord::Draw)?);
    same("draw", &draw, &opened.draw)?;
    if let RoundState::Opening(Opening { survived, .. }) = &*snapshot.state
        && let Some(accepted) = survived.accepted.get(participant_id)
        && let Err(Error::Masking(wrong)) = values(context, task, opened, accepted)
    {
        accuse(context, document, opened, &wrong)?;
        return Err(wrong.into());
    }
    proposal(document, round_id, Evidence::Opened, participant_id, event)
}

/// Keeps what shows that a site opened what it should not have sent.
fn accuse(
    context: &Context,
    document: &SignedDocument,
    opened: &OpenedUpdate,
    wrong: &MaskingError,
) -> Result<(), Error> {
    let OpenedUpdate { round_id, participant_id, .. } = opened;
    let signed = |kind| self::document(context, round_id, kind, participant_id);
    let proof = json!({
        "opened": document,
        "join": signed(Evidence::Join)?,
        "header": signed(Evidence::Update)?,
        "plan": word(&*context.store, round_id, MaskingWord::Plan)?,
    });
    convict(context, round_id, participant_id, &format!("opened an update that does not hold: {wrong}"), proof)
}

/// The update behind a site's masks, on the task's grid.
pub(super) fn values(
    context: &Context,
    task: &Task,
    opened: &OpenedUpdate,
    accepted: &AcceptedUpdate,
) -> Result<Vec<i32>, Error> {
    let terms = task.secure_aggregation.as_ref().ok_or(MaskingError::NotMasked)?;
    let (id, masking) = (&opened.participant_id, Masking::of(context, task, &opened.round_id)?);
    let (said, commitments) = masked_part(context, &opened.round_id, id)?;
    let own = Own::of(opened, &masking, &said)?;
    let file = UpdateFile::open(context, task, (id, accepted))?;
    file.verify()?;
    let mut masks = masking.own(&BTreeMap::from([(id.clone(), own.self_mask)]));
    masks.add_pairs(masking.pairs(id, &own.round_key, |_| true));
    let CommittedVector { values, blindings } = sum(&[file], &masks, task, terms)?;
    let len = values.len();
    let is_committed = CommitmentKey::shared(len, terms.layout()).verify_sum(&[commitments], &values, &blindings);
    is_committed.map_err(|_| MaskingError::OtherUpdate(id.clone()))?;
    let (found, allowed) = (norm(&values), terms.longest(len));
    if found > allowed {
        return Err(MaskingError::TooLong { participant_id: id.clone(), found, allowed }.into());
    }
    Ok(values)
}

/// L2 norm.
fn norm(values: &[i32]) -> f64 {
    values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

/// A site's own secrets of a round, which are those that it signed the public parts of.
struct Own {
    round_key: RoundKey,
    self_mask: SecretScalar,
}

impl Own {
    fn of(opened: &OpenedUpdate, masking: &Masking, header: &MaskedPart) -> Result<Self, Error> {
        let id = &opened.participant_id;
        let other = || MaskingError::OtherSecrets(id.clone());
        let scalar = |element| SecretScalar::try_from(element).map_err(|_| other());
        let round_key = RoundKey::from_scalar(scalar(&opened.round_key)?);
        let self_mask = scalar(&opened.self_mask)?;
        let delivered = AgreementPublic::try_from(&header.self_mask)?;
        let is_own = RoundKey::from_scalar(self_mask.clone()).public() == delivered
            && masking.key(id) == Some(&round_key.public());
        if is_own { Ok(Self { round_key, self_mask }) } else { Err(other().into()) }
    }
}

/// What a site opened in this round.
pub(super) fn kept(
    context: &Context,
    round_id: &RoundId,
    participant_id: &ParticipantId,
) -> Result<OpenedUpdate, Error> {
    let opened = document(context, round_id, Evidence::Opened, participant_id)?;
    Ok(canonical::decode(opened.body.as_bytes())?)
}
