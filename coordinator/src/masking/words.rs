//! The documents of a masked round: what the coordinator signs when a phase closes, and what each caller is handed.

use std::collections::BTreeMap;

use shared::document::{Document, SignedDocument};
use shared::masking::{MaskingPlan, Survivors};
use shared::round::{Collecting, IllegalTransition, RoundEvent, RoundState, Survived};
use shared::store::{Batch, Store};
use shared::task::Task;
use shared::{Digest, ParticipantId, RoundId};
use shared_crypto::masking::{Circle, SealedDealing};
use shared_crypto::{document_digest, random_bytes};
use shared_wire::{MaskingStage, SealedShare};

use super::{opening, proving};
use crate::blob::Params;
use crate::context::Context;
use crate::durable::{self, Evidence, MaskingWord};
use crate::{Error, round};

/// What closes a phase: to become durable together.
pub(crate) struct Closing {
    /// The event, with whom it names.
    pub(crate) event: RoundEvent,
    /// What the coordinator signs for the next phase.
    pub(crate) words: Batch,
    /// The file that the words speak of, not to be removed before they are durable.
    pub(crate) file: Option<Params>,
}

/// Closes a phase. Blocks.
pub(crate) fn close(context: &Context, task: &Task, state: &RoundState, event: RoundEvent) -> Result<Closing, Error> {
    if state.plan().threshold.is_none() {
        return Ok(Closing { event, words: Batch::new(), file: None });
    }
    let (event, mut words) = match (state, event) {
        (RoundState::Collecting(state), RoundEvent::CollectionClosed { at, .. }) => {
            let (drawn, batch) = opening::draw(context, task, state)?;
            (RoundEvent::CollectionClosed { drawn, at }, batch)
        }
        (RoundState::Proving(state), RoundEvent::ProofsClosed { at, .. }) => {
            (RoundEvent::ProofsClosed { weightless: proving::weightless(context, task, state)?, at }, Batch::new())
        }
        (_, event) => (event, Batch::new()),
    };
    let (file, next) = match state.apply(&event)? {
        RoundState::Collecting(next) => (None, plan(context, &next)?),
        RoundState::Proving(next) => proving::challenge(context, task, &next)?,
        RoundState::Agreeing(next) => (None, survivors(context, &next.survived)?),
        _ => (None, Batch::new()),
    };
    words.writes.extend(next.writes);
    Ok(Closing { event, words, file })
}

fn plan(context: &Context, round: &Collecting) -> Result<Batch, Error> {
    let round_id = &round.plan.round_id;
    let digest =
        |id: &ParticipantId| Ok((id.clone(), document_digest(&document(context, round_id, Evidence::Join, id)?)));
    // Made anew where the coordinator dies before the plan is durable: nobody has seen that plan.
    let beacon = round.plan.assurance.asks().then(random_bytes).transpose()?.map(|bytes| Digest(*bytes));
    let plan = MaskingPlan {
        round_id: round_id.clone(),
        task_digest: round.plan.task_digest,
        checkpoint: round.plan.checkpoint,
        joined: round.joined.iter().map(digest).collect::<Result<_, Error>>()?,
        beacon: beacon.as_ref().map(|beacon| shared_crypto::digest(beacon.as_bytes())),
    };
    let batch = signed(context, round_id, MaskingWord::Plan, &plan)?;
    Ok(match beacon {
        Some(beacon) => batch.put(durable::masking_word(round_id, MaskingWord::Beacon), durable::encode(&beacon)?),
        None => batch,
    })
}

fn survivors(context: &Context, round: &Survived) -> Result<Batch, Error> {
    let round_id = &round.plan.round_id;
    let survivors = Survivors {
        round_id: round_id.clone(),
        plan: plan_digest(context, round_id)?,
        delivered: headers(context, round_id, round.accepted.keys())?,
        dropped: round.dropped.clone(),
    };
    signed(context, round_id, MaskingWord::Survivors, &survivors)
}

/// Digest of each one's signed header.
pub(super) fn headers<'a>(
    context: &Context,
    round_id: &RoundId,
    ids: impl Iterator<Item = &'a ParticipantId>,
) -> Result<BTreeMap<ParticipantId, Digest>, Error> {
    ids.map(|id| Ok((id.clone(), document_digest(&document(context, round_id, Evidence::Update, id)?)))).collect()
}

/// What the plan has the digest of.
pub(super) fn beacon(context: &Context, round_id: &RoundId) -> Result<Digest, Error> {
    let found = durable::read(&*context.store, &durable::masking_word(round_id, MaskingWord::Beacon))?;
    found.ok_or_else(|| Error::UnknownRound(round_id.clone()))
}

pub(super) fn plan_digest(context: &Context, round_id: &RoundId) -> Result<Digest, Error> {
    Ok(document_digest(&word(&*context.store, round_id, MaskingWord::Plan)?))
}

pub(super) fn signed<T: Document>(
    context: &Context,
    round_id: &RoundId,
    word: MaskingWord,
    body: &T,
) -> Result<Batch, Error> {
    let document = context.signer.sign(body)?;
    Ok(Batch::new().put(durable::masking_word(round_id, word), durable::encode(&document)?))
}

/// A document that the coordinator signed in this round.
pub(super) fn word(store: &dyn Store, round_id: &RoundId, word: MaskingWord) -> Result<SignedDocument, Error> {
    let found = durable::read(store, &durable::masking_word(round_id, word))?;
    found.ok_or_else(|| Error::UnknownRound(round_id.clone()))
}

/// A participant's document in this round, which must be there.
pub(super) fn document(
    context: &Context,
    round_id: &RoundId,
    kind: Evidence,
    participant_id: &ParticipantId,
) -> Result<SignedDocument, Error> {
    let found = durable::read(&*context.store, &durable::evidence(round_id, kind, participant_id))?;
    found.ok_or_else(|| Error::UnknownRound(round_id.clone()))
}

/// Digest of the survivors' set that the round's survivors are to agree on.
pub(super) fn survivors_digest(context: &Context, round_id: &RoundId) -> Result<Digest, Error> {
    Ok(document_digest(&word(&*context.store, round_id, MaskingWord::Survivors)?))
}

/// The documents that `caller` needs at a stage of a masked round.
pub(crate) fn documents(
    context: &Context,
    task: &Task,
    caller: &ParticipantId,
    round_id: &RoundId,
    stage: MaskingStage,
) -> Result<Vec<SignedDocument>, Error> {
    let store = &*context.store;
    let survivors = || -> Result<(SignedDocument, Survivors), Error> {
        let document = word(store, round_id, MaskingWord::Survivors)?;
        let opened = context.signer.public().open(&document)?;
        Ok((document, opened))
    };
    let of = |ids: &mut dyn Iterator<Item = &ParticipantId>, kind| -> Result<Vec<SignedDocument>, Error> {
        ids.map(|id| document(context, round_id, kind, id)).collect()
    };
    match stage {
        MaskingStage::Plan => {
            let plan_document = word(store, round_id, MaskingWord::Plan)?;
            let plan: MaskingPlan = context.signer.public().open(&plan_document)?;
            let circle = Circle::new(&task.cohort, &plan.task_digest);
            let mut neighbours = plan.joined.keys().filter(|id| circle.are_neighbours(caller, id));
            let joins = of(&mut neighbours, Evidence::Join)?;
            Ok(std::iter::once(plan_document).chain(joins).collect())
        }
        MaskingStage::Draw => Ok(vec![word(store, round_id, MaskingWord::Draw)?]),
        MaskingStage::Challenge => Ok(vec![word(store, round_id, MaskingWord::Challenge)?]),
        MaskingStage::Survivors => Ok(vec![survivors()?.0]),
        MaskingStage::Agreements => agreements(context, round_id, &survivors()?.1),
        MaskingStage::Sum => {
            let (document, survivors) = survivors()?;
            let headers = of(&mut survivors.delivered.keys(), Evidence::Update)?;
            Ok([word(store, round_id, MaskingWord::Sum)?, document].into_iter().chain(headers).collect())
        }
        MaskingStage::Unspecified => Ok(Vec::new()),
    }
}

/// The agreements that came.
fn agreements(context: &Context, round_id: &RoundId, survivors: &Survivors) -> Result<Vec<SignedDocument>, Error> {
    let read = |id| durable::read(&*context.store, &durable::evidence(round_id, Evidence::Agreement, id)).transpose();
    survivors.delivered.keys().filter_map(read).collect()
}

/// What was sealed for `caller`, of each dealer whose secret is to be revealed.
pub(crate) fn sealed_shares(
    context: &Context,
    task: &Task,
    state: &RoundState,
    caller: &ParticipantId,
) -> Result<Vec<SealedShare>, Error> {
    let RoundState::Unmasking(unmasking) = state else {
        return Err(IllegalTransition::WrongPhase { phase: state.phase(), event: "revealed" }.into());
    };
    let (circle, round_id) = (Circle::new(&task.cohort, &state.plan().task_digest), state.plan().round_id.clone());
    let survived = &unmasking.survived;
    let share = |dealer: &ParticipantId, kind| -> Result<Option<SealedShare>, Error> {
        let Some(number) = circle.share_number(dealer, caller) else { return Ok(None) };
        let dealing = dealing(context, &circle, &round_id, kind, dealer)?;
        Ok(dealing.sealed(number).map(|sealed| SealedShare { dealer: dealer.clone(), sealed }))
    };
    let delivered = survived.accepted.keys().map(|dealer| share(dealer, Evidence::UpdateDealing));
    let dropped = survived.dropped.iter().map(|dealer| share(dealer, Evidence::JoinDealing));
    delivered.chain(dropped).filter_map(Result::transpose).collect()
}

/// A dealing that was checked when it came.
pub(super) fn dealing(
    context: &Context,
    circle: &Circle,
    round_id: &RoundId,
    kind: Evidence,
    dealer: &ParticipantId,
) -> Result<SealedDealing, Error> {
    let key = durable::evidence(round_id, kind, dealer);
    let bytes = context.store.get(&key)?.ok_or_else(|| Error::UnknownRound(round_id.clone()))?;
    Ok(SealedDealing::parse(&bytes, circle.holder_count(), circle.threshold())?)
}

/// The round that goes on, which must be this one.
pub(super) fn present(state: &RoundState, round_id: &RoundId) -> Result<(), Error> {
    Ok(crate::intake::same("round", &state.plan().round_id, round_id)?)
}

/// Whose update is durable in the round.
pub(super) fn accepted_ids(state: &RoundState) -> impl Iterator<Item = &ParticipantId> {
    round::accepted(state).into_iter().flat_map(|accepted| accepted.keys())
}
