//! All who delivered prove what their hidden updates are: about how long, and how they lie to the root's where the task has
//! one. A proof that does not hold convicts; who is too long or points another way than the root has no weight in the sum,
//! and is not blamed for it.

use std::collections::BTreeSet;

use serde_json::json;
use shared::document::SignedDocument;
use shared::masking::{Challenge, NormClaim, label};
use shared::round::{Proving, RoundEvent};
use shared::store::Batch;
use shared::task::Task;
use shared::{Digest, ParticipantId, RoundId, canonical};
use shared_crypto::masking::{CommitmentKey, Measured, NormChallenge, NormProof, largest_squares};
use shared_crypto::{CryptoError, digest, document_digest};
use shared_wire::ProofRequest;

use super::MaskingError;
use super::intake::{check_first, check_key, proposal};
use super::misconduct::convict;
use super::opening;
use super::sum::{masked_part, write};
use super::words::{beacon, document, plan_digest, present, signed, word};
use crate::Error;
use crate::blob::Params;
use crate::context::Context;
use crate::durable::{self, Evidence, MaskingWord, ParamsRole};
use crate::intake::same;
use crate::round::Snapshot;
use crate::round::driver::Proposal;

/// The question to all who delivered, with the root's update in a file where there is a root.
pub(super) fn challenge(context: &Context, task: &Task, round: &Proving) -> Result<(Option<Params>, Batch), Error> {
    let survived = &round.survived;
    let (round_id, assurance) = (&survived.plan.round_id, &survived.plan.assurance);
    let root = assurance.root().and_then(|root| Some((root, survived.accepted.get(root)?)));
    let direction = root.map(|(root, accepted)| {
        let opened = opening::kept(context, round_id, root)?;
        write(context, &opening::values(context, task, &opened, accepted)?)
    });
    let direction = direction.transpose()?;
    let challenge = Challenge {
        round_id: round_id.clone(),
        plan: plan_digest(context, round_id)?,
        beacon: beacon(context, round_id)?,
        direction: direction.as_ref().map(Params::digest),
    };
    let mut batch = signed(context, round_id, MaskingWord::Challenge, &challenge)?;
    if let Some(file) = &direction {
        batch = batch.put(durable::params_use(file.digest(), ParamsRole::Shared, round_id), "");
    }
    Ok((direction, batch))
}

/// What a proof asks of the round. Blocks: it is checked here.
pub(crate) fn proven(
    context: &Context,
    task: &Task,
    request: &ProofRequest,
    said: &NormClaim,
    snapshot: &Snapshot,
) -> Result<Proposal, Error> {
    let NormClaim { round_id, participant_id, .. } = said;
    let event = RoundEvent::Proven { participant_id: participant_id.clone(), at: context.clock.now() };
    present(&snapshot.state, round_id)?;
    check_key(task, participant_id, &request.said)?;
    check_first(context, &request.said, round_id, Evidence::Proof, participant_id)?;
    snapshot.state.apply(&event)?;
    let question = word(&*context.store, round_id, MaskingWord::Challenge)?;
    same("challenge", &document_digest(&question), &said.challenge)?;
    same("proof", &digest(&request.proof), &said.proof)?;
    match check(context, task, said, &question, &request.proof) {
        Err(wrong) if is_about_the_proof(&wrong) => {
            accuse(context, request, said, &question)?;
            return Err(MaskingError::Unproven(participant_id.clone()).into());
        }
        checked => checked?,
    }
    proposal(&request.said, round_id, Evidence::Proof, participant_id, event)
}

/// Whether the proof holds of what the site committed to.
fn check(
    context: &Context,
    task: &Task,
    said: &NormClaim,
    question: &SignedDocument,
    proof: &[u8],
) -> Result<(), Error> {
    let terms = task.secure_aggregation.as_ref().ok_or(MaskingError::NotMasked)?;
    let (_, commitments) = masked_part(context, &said.round_id, &said.participant_id)?;
    let direction = direction(context, &context.signer.public().open(question)?, task.update_len())?;
    let len = task.update_len();
    let key = CommitmentKey::shared(len, terms.layout());
    let challenge = NormChallenge { seed: *said.challenge.as_bytes(), direction: direction.as_deref() };
    let label = label::norm_proof(&said.round_id, &said.participant_id, said.challenge);
    let proof = NormProof::from_bytes(proof, &key)?;
    let measured = proof.verify(&key, &challenge, &commitments, &label)?;
    let claimed = Measured { squares: u128::from(said.squares), inner: said.inner };
    if measured == claimed { Ok(()) } else { Err(MaskingError::Unproven(said.participant_id.clone()).into()) }
}

/// Whether a check failed for what was sent, and not for what it was checked with.
fn is_about_the_proof(error: &Error) -> bool {
    use CryptoError::{GroupElement, NormProof, NormProofLength, Scalar};
    match error {
        Error::Crypto(error) => {
            matches!(error, NormProof { .. } | NormProofLength { .. } | GroupElement(_) | Scalar)
        }
        error => matches!(error, Error::Masking(MaskingError::Unproven(_))),
    }
}

/// The root's update.
fn direction(context: &Context, challenge: &Challenge, len: usize) -> Result<Option<Vec<i32>>, Error> {
    let Some(digest) = challenge.direction else { return Ok(None) };
    let mut bytes = vec![0; len.saturating_mul(size_of::<i32>())];
    context.blobs.params(digest)?.read_at(0, &mut bytes)?;
    Ok(Some(bytes.as_chunks().0.iter().map(|word| i32::from_le_bytes(*word)).collect()))
}

/// Keeps what shows that a site signed a proof that does not hold.
fn accuse(context: &Context, request: &ProofRequest, said: &NormClaim, question: &SignedDocument) -> Result<(), Error> {
    let NormClaim { round_id, participant_id, .. } = said;
    let header = document(context, round_id, Evidence::Update, participant_id)?;
    let proof = json!({
        "said": request.said, "proof": hex::encode(&request.proof), "header": header, "challenge": question,
    });
    convict(context, round_id, participant_id, "signed a proof of its update that does not hold", proof)
}

/// Who has no weight in the sum: who is longer than a site that keeps to the task can seem, or points another way than the
/// root.
pub(super) fn weightless(context: &Context, task: &Task, round: &Proving) -> Result<BTreeSet<ParticipantId>, Error> {
    let terms = task.secure_aggregation.as_ref().ok_or(MaskingError::NotMasked)?;
    let round_id = &round.survived.plan.round_id;
    let allowed = largest_squares(terms.longest(task.update_len()));
    let mut weightless = BTreeSet::new();
    for id in &round.proven {
        let NormClaim { squares, inner, .. } = said(context, round_id, id)?;
        if u128::from(squares) > allowed || inner.is_some_and(|inner| inner <= 0) {
            tracing::warn!(%round_id, participant_id = %id, squares, allowed, ?inner, "an update has no weight");
            weightless.insert(id.clone());
        }
    }
    Ok(weightless)
}

fn said(context: &Context, round_id: &RoundId, id: &ParticipantId) -> Result<NormClaim, Error> {
    let document = document(context, round_id, Evidence::Proof, id)?;
    Ok(canonical::decode(document.body.as_bytes())?)
}

/// The direction that a round's sites were asked about.
pub(crate) fn asked_direction(context: &Context, round_id: &RoundId) -> Result<Option<Digest>, Error> {
    let key = durable::masking_word(round_id, MaskingWord::Challenge);
    let word: Option<SignedDocument> = durable::read(&*context.store, &key)?;
    let challenge = word.map(|word| context.signer.public().open::<Challenge>(&word)).transpose()?;
    Ok(challenge.and_then(|challenge| challenge.direction))
}
