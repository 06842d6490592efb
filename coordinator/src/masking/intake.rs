//! What participants send in a masked round, checked before anything is stored.

use std::collections::BTreeSet;

use shared::document::SignedDocument;
use shared::masking::{Agreement, Element, NormClaim, OpenedUpdate, Reveal};
use shared::round::{IllegalTransition, RoundEvent, RoundState};
use shared::task::Task;
use shared::update::{Join, UpdateHeader};
use shared::{Digest, ParticipantId, RoundId};
use shared_crypto::masking::{AgreementPublic, Circle, Commitment, SealedDealing, SecretScalar};
use shared_crypto::{PublicKey, digest, document_digest};

use super::words::{accepted_ids, present, survivors_digest, word};
use crate::Error;
use crate::context::Context;
use crate::durable::{self, Evidence, MaskingWord};
use crate::intake::{IntakeError, OwnDocument, convict, same};
use crate::round::Snapshot;
use crate::round::driver::Proposal;

type Writes = Vec<(shared::store::Key, Vec<u8>)>;

impl OwnDocument for Agreement {
    fn participant_id(&self) -> &ParticipantId {
        &self.participant_id
    }
}

impl OwnDocument for OpenedUpdate {
    fn participant_id(&self) -> &ParticipantId {
        &self.participant_id
    }
}

impl OwnDocument for NormClaim {
    fn participant_id(&self) -> &ParticipantId {
        &self.participant_id
    }
}

impl OwnDocument for Reveal {
    fn participant_id(&self) -> &ParticipantId {
        &self.participant_id
    }
}

/// What a join brings to its round beside itself: for a masked one, the dealing of its round key. Who joins again says
/// the same.
pub(crate) fn check_join(
    context: &Context,
    task: &Task,
    document: &SignedDocument,
    join: &Join,
    dealing: &[u8],
) -> Result<Writes, Error> {
    let Some(offer) = &join.masking else {
        return if task.secure_aggregation.is_none() { Ok(Vec::new()) } else { Err(IntakeError::NotMasked.into()) };
    };
    check_key(task, &join.participant_id, document)?;
    check_dealing(task, &join.task_digest, dealing, (offer.dealing, &offer.round_key))?;
    check_first(context, document, &join.round_id, Evidence::Join, &join.participant_id)?;
    let key = durable::evidence(&join.round_id, Evidence::JoinDealing, &join.participant_id);
    Ok(vec![(key, dealing.to_vec())])
}

/// What a masked update brings beside itself: the dealing of the secret of its own mask.
pub(crate) fn check_update(
    context: &Context,
    task: &Task,
    document: &SignedDocument,
    header: &UpdateHeader,
    dealing: &[u8],
) -> Result<Writes, Error> {
    let Some(masked) = &header.masked else {
        return if task.secure_aggregation.is_none() { Ok(Vec::new()) } else { Err(IntakeError::NotMasked.into()) };
    };
    let plan = word(&*context.store, &header.round_id, MaskingWord::Plan)?;
    same("masking plan", &document_digest(&plan), &masked.plan)?;
    check_key(task, &header.participant_id, document)?;
    let rows = task.secure_aggregation.as_ref().map_or(0, |terms| terms.layout().rows(task.update_len()));
    same("number of commitments", &rows, &masked.commitments.len())?;
    masked.commitments.iter().try_for_each(|row| Commitment::try_from(row).map(drop))?;
    check_dealing(task, &header.task_digest, dealing, (masked.dealing, &masked.self_mask))?;
    let key = durable::evidence(&header.round_id, Evidence::UpdateDealing, &header.participant_id);
    Ok(vec![(key, dealing.to_vec())])
}

/// Refuses a dealing that is not the one that was signed for, or whose polynomial does not end in the secret's public
/// part.
fn check_dealing(
    task: &Task,
    task_digest: &Digest,
    bytes: &[u8],
    (signed, secret): (Digest, &Element),
) -> Result<(), Error> {
    if task.secure_aggregation.is_none() {
        return Err(IntakeError::Masked.into());
    }
    same("dealing", &signed, &digest(bytes))?;
    let circle = Circle::new(&task.cohort, task_digest);
    let dealing = SealedDealing::parse(bytes, circle.holder_count(), circle.threshold())?;
    let secret = AgreementPublic::try_from(secret)?;
    Ok(same("dealt secret", &secret, &dealing.commitments().public()?)?)
}

/// Refuses what was signed with another key than the roster has: nobody else in the round would take it.
pub(super) fn check_key(task: &Task, participant_id: &ParticipantId, document: &SignedDocument) -> Result<(), Error> {
    let terms = task.secure_aggregation.as_ref().ok_or(IntakeError::Masked)?;
    let known = terms.roster.get(participant_id).map(|keys| PublicKey::from_bytes(*keys.identity.as_bytes()).key_id());
    if known == Some(document.key_id) { Ok(()) } else { Err(IntakeError::NotInRoster(participant_id.clone()).into()) }
}

/// Refuses, and keeps as evidence, what contradicts a document that is kept.
pub(super) fn check_first(
    context: &Context,
    document: &SignedDocument,
    round_id: &RoundId,
    kind: Evidence,
    participant_id: &ParticipantId,
) -> Result<(), Error> {
    let known: Option<SignedDocument> =
        durable::read(&*context.store, &durable::evidence(round_id, kind, participant_id))?;
    let Some(first) = known.as_ref().map(document_digest) else { return Ok(()) };
    let second = document_digest(document);
    if first == second {
        return Ok(());
    }
    let participant_id = participant_id.clone();
    convict(context, document, round_id, Err(IllegalTransition::Equivocation { participant_id, first, second }.into()))
}

/// What agreeing asks of the round.
pub(crate) fn agreement(
    context: &Context,
    task: &Task,
    document: &SignedDocument,
    agreement: &Agreement,
    snapshot: &Snapshot,
) -> Result<Proposal, Error> {
    let Agreement { round_id, participant_id, .. } = agreement;
    let event = RoundEvent::Agreed { participant_id: participant_id.clone(), at: context.clock.now() };
    present(&snapshot.state, round_id)?;
    check_key(task, participant_id, document)?;
    check_first(context, document, round_id, Evidence::Agreement, participant_id)?;
    snapshot.state.apply(&event)?;
    same("survivors", &survivors_digest(context, &agreement.round_id)?, &agreement.survivors)?;
    proposal(document, round_id, Evidence::Agreement, participant_id, event)
}

/// What revealing asks of the round.
pub(crate) fn reveal(
    context: &Context,
    task: &Task,
    document: &SignedDocument,
    reveal: &Reveal,
    snapshot: &Snapshot,
) -> Result<Proposal, Error> {
    let Reveal { round_id, participant_id, .. } = reveal;
    let event = RoundEvent::Revealed { participant_id: participant_id.clone(), at: context.clock.now() };
    present(&snapshot.state, round_id)?;
    check_key(task, participant_id, document)?;
    check_first(context, document, round_id, Evidence::Reveal, participant_id)?;
    snapshot.state.apply(&event)?;
    same("survivors", &survivors_digest(context, &reveal.round_id)?, &reveal.survivors)?;
    let expected = dealers(task, &snapshot.state, &reveal.participant_id);
    let found: BTreeSet<&ParticipantId> = reveal.shares.keys().chain(&reveal.unopened).collect();
    if found != expected || found.len() != reveal.shares.len().saturating_add(reveal.unopened.len()) {
        let (expected, found) = (expected.len(), found.len());
        return Err(IntakeError::Shares { expected, found }.into());
    }
    reveal.shares.values().try_for_each(|share| SecretScalar::try_from(share).map(drop))?;
    proposal(document, round_id, Evidence::Reveal, participant_id, event)
}

/// Whose secrets a survivor is to reveal its shares of.
fn dealers<'a>(task: &Task, state: &'a RoundState, holder: &ParticipantId) -> BTreeSet<&'a ParticipantId> {
    let circle = Circle::new(&task.cohort, &state.plan().task_digest);
    let dropped = match state {
        RoundState::Unmasking(state) => Some(&state.survived.dropped),
        _ => None,
    };
    let all = accepted_ids(state).chain(dropped.into_iter().flatten());
    all.filter(|dealer| circle.are_neighbours(dealer, holder)).collect()
}

pub(super) fn proposal(
    document: &SignedDocument,
    round_id: &RoundId,
    kind: Evidence,
    participant_id: &ParticipantId,
    event: RoundEvent,
) -> Result<Proposal, Error> {
    let key = durable::evidence(round_id, kind, participant_id);
    Ok(Proposal::new(round_id.clone(), event, vec![(key, durable::encode(document)?)]))
}
