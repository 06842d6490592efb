//! The sum of a round's masked updates: the words of all files, less the masks that the revealed secrets make.
//!
//! Masks and sums are words modulo 2³²; the task's terms leave no room for a sum to wrap, so that each word of the
//! result is the exact integer.

use std::thread;

use shared::document::SignedDocument;
use shared::masking::label::{pair_mask, self_mask};
use shared::masking::{BLINDING_WORDS, Element, MaskedSum, MaskingPlan, SecureAggregation};
use shared::round::Collected;
use shared::task::Task;
use shared::update::{Join, UpdateHeader};
use shared::{ParticipantId, canonical};
use shared_crypto::document_digest;
use shared_crypto::masking::{
    AgreementPublic, Circle, Commitment, CommitmentKey, SecretScalar, Seed, add_masks, blinding_from_sums,
};

use super::MaskingError;
use super::reconstruct::{Secrets, secrets};
use super::words::{document, survivors_digest, word};
use crate::Error;
use crate::aggregate::UpdateFile;
use crate::blob::{Params, ParamsWriter};
use crate::context::Context;
use crate::durable::{Evidence, MaskingWord};

/// How many words one thread unmasks at a time: they and a mask's block stay in its cache.
const BLOCK: usize = 64 * 1024;
/// How many threads unmask.
const THREADS: usize = 2;
const WORD: usize = size_of::<u32>();

/// A round's sum, in a file that nobody names yet.
pub(crate) struct Unmasked {
    /// The sum of the updates on the task's grid, one i32 a parameter.
    pub(crate) values: Vec<i32>,
    /// The same in a file.
    pub(crate) file: Params,
    /// The coordinator's signed word on it.
    pub(crate) word: SignedDocument,
}

/// What the masks of a round's survivors leave on their sum.
struct Masks {
    /// What was added.
    plus: Vec<Seed>,
    /// What was taken away.
    minus: Vec<Seed>,
}

/// Unmasks the sum of a round whose survivors have revealed, and checks it against their commitments. Blocks.
pub(crate) fn unmask(context: &Context, task: &Task, round: &Collected) -> Result<Unmasked, Error> {
    let terms = task.secure_aggregation.as_ref().ok_or(MaskingError::NotMasked)?;
    let secrets = secrets(context, task, round)?;
    let masks = masks(context, task, round, &secrets)?;
    let files = round.accepted.iter().map(|accepted| UpdateFile::open(context, task, accepted));
    let files: Vec<UpdateFile> = files.collect::<Result<_, _>>()?;
    files.iter().try_for_each(UpdateFile::verify)?;
    let count = task.update_len();
    let mut words = sum(&files, &masks, count.saturating_add(BLINDING_WORDS))?;
    let limbs = words.split_off(count);
    let blinding = blinding_from_sums(limbs.as_slice().try_into().map_err(|_| MaskingError::NotMasked)?);
    let values: Vec<i32> = words.into_iter().map(u32::cast_signed).collect();
    check(context, terms, round, &values, &blinding)?;
    let mut writer = ParamsWriter::new(&context.blobs)?;
    for block in values.chunks(BLOCK) {
        writer.write(&block.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())?;
    }
    let file = writer.finish()?;
    let word = context.signer.sign(&MaskedSum {
        round_id: round.plan.round_id.clone(),
        survivors: survivors_digest(context, &round.plan.round_id)?,
        sum: file.digest(),
        blinding: Element::from(*blinding.to_bytes()),
    })?;
    Ok(Unmasked { values, file, word })
}

/// The own masks of those who delivered, and the masks that they share with those who dropped.
fn masks(context: &Context, task: &Task, round: &Collected, secrets: &Secrets) -> Result<Masks, Error> {
    let round_id = &round.plan.round_id;
    let plan_document = word(&*context.store, round_id, MaskingWord::Plan)?;
    let plan_digest = document_digest(&plan_document);
    let plan: MaskingPlan = context.signer.public().open(&plan_document)?;
    let circle = Circle::new(&task.cohort, &round.plan.task_digest);
    let own = |(owner, secret): (&ParticipantId, &SecretScalar)| {
        Seed::of_scalar(secret, &self_mask(&plan, plan_digest, owner))
    };
    let mut masks = Masks { plus: secrets.self_masks.iter().map(own).collect(), minus: Vec::new() };
    for delivered in round.accepted.keys().filter(|_| !secrets.round_keys.is_empty()) {
        let public = round_key(context, round, delivered)?;
        let dropped = secrets.round_keys.iter().filter(|(dropped, _)| circle.are_neighbours(delivered, dropped));
        for (dropped, key) in dropped {
            let seed = key.pair_seed(&public, &pair_mask(&plan, plan_digest, delivered, dropped));
            if delivered < dropped { masks.plus.push(seed) } else { masks.minus.push(seed) }
        }
    }
    Ok(masks)
}

/// The key with which a participant joined.
fn round_key(context: &Context, round: &Collected, id: &ParticipantId) -> Result<AgreementPublic, Error> {
    let join = document(context, &round.plan.round_id, Evidence::Join, id)?;
    let join: Join = canonical::decode(join.body.as_bytes())?;
    Ok(AgreementPublic::try_from(&join.masking.ok_or(MaskingError::NotMasked)?.round_key)?)
}

/// The words of all files, less the masks.
fn sum(files: &[UpdateFile], masks: &Masks, count: usize) -> Result<Vec<u32>, Error> {
    let mut words = vec![0_u32; count];
    let share = count.div_ceil(THREADS).next_multiple_of(BLOCK);
    thread::scope(|scope| {
        let parts = words.chunks_mut(share).enumerate();
        let work: Vec<_> = parts
            .map(|(part, words)| scope.spawn(move || sum_part(files, masks, part.saturating_mul(share), words)))
            .collect();
        work.into_iter().try_for_each(|part| part.join().map_err(|_| MaskingError::Interrupted)?)
    })?;
    Ok(words)
}

fn sum_part(files: &[UpdateFile], masks: &Masks, first: usize, words: &mut [u32]) -> Result<(), Error> {
    let mut bytes = vec![0; BLOCK.saturating_mul(WORD)];
    for (index, block) in words.chunks_mut(BLOCK).enumerate() {
        let start = first.saturating_add(index.saturating_mul(BLOCK));
        let bytes = bytes.get_mut(..block.len().saturating_mul(WORD)).unwrap_or_default();
        for file in files {
            file.read_bytes(start.saturating_mul(WORD), bytes)?;
            let read = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
            block.iter_mut().zip(read).for_each(|(word, read)| *word = word.wrapping_add(read));
        }
        // What a site added is taken away, and the other way round.
        add_masks(&masks.minus, &masks.plus, start, block);
    }
    Ok(())
}

/// Whether the sum is within what the terms allow, and the one that the survivors committed to.
fn check(
    context: &Context,
    terms: &SecureAggregation,
    round: &Collected,
    values: &[i32],
    blinding: &SecretScalar,
) -> Result<(), Error> {
    let updates = u32::try_from(round.accepted.len()).unwrap_or(u32::MAX);
    let limit = terms.limit().unsigned_abs().saturating_mul(updates);
    if let Some(index) = values.iter().position(|value| value.unsigned_abs() > limit) {
        return Err(MaskingError::OutOfRange { index }.into());
    }
    let commitment = |id: &ParticipantId| -> Result<Commitment, Error> {
        let header = document(context, &round.plan.round_id, Evidence::Update, id)?;
        let header: UpdateHeader = canonical::decode(header.body.as_bytes())?;
        Ok(Commitment::try_from(&header.masked.ok_or(MaskingError::NotMasked)?.commitment)?)
    };
    let commitments: Vec<Commitment> = round.accepted.keys().map(commitment).collect::<Result<_, _>>()?;
    let key = CommitmentKey::shared(values.len());
    Ok(key.verify_sum(&commitments, values, blinding).map_err(|_| MaskingError::Commitments)?)
}
