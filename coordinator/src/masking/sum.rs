//! The sum of a round's masked updates: the words of all files, less the masks that the revealed secrets make.
//!
//! Masks and sums are words modulo 2³²; the task's terms leave no room for a sum to wrap, so that each word of the
//! result is the exact integer.

use std::collections::BTreeMap;
use std::thread;

use shared::document::SignedDocument;
use shared::masking::label::{pair_mask, self_mask};
use shared::masking::{Element, MaskedPart, MaskedSum, MaskingPlan, SecureAggregation};
use shared::round::Collected;
use shared::task::Task;
use shared::update::{Join, UpdateHeader};
use shared::{Digest, ParticipantId, RoundId, canonical};
use shared_crypto::document_digest;
use shared_crypto::masking::{
    AgreementPublic, Circle, Commitment, CommitmentKey, CommittedVector, PairSecret, RoundKey, SecretScalar, Seed,
    add_masks,
};

use super::MaskingError;
use super::reconstruct::{Secrets, secrets};
use super::words::{document, survivors_digest, word};
use crate::Error;
use crate::aggregate::{UpdateFile, counted};
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

/// Masks that lie on words.
#[derive(Default)]
pub(super) struct Masks {
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
    let sum = sum(&files, &masks, task, terms)?;
    check(context, terms, round, &sum)?;
    let CommittedVector { values, blindings } = sum;
    let file = write(context, &values)?;
    let word = context.signer.sign(&MaskedSum {
        round_id: round.plan.round_id.clone(),
        survivors: survivors_digest(context, &round.plan.round_id)?,
        sum: file.digest(),
        blindings: blindings.iter().map(|blinding| Element::from(*blinding.to_bytes())).collect(),
    })?;
    Ok(Unmasked { values, file, word })
}

/// Words of the grid in a file that nobody names yet.
pub(super) fn write(context: &Context, values: &[i32]) -> Result<Params, Error> {
    let mut writer = ParamsWriter::new(&context.blobs)?;
    for block in values.chunks(BLOCK) {
        writer.write(&block.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())?;
    }
    writer.finish()
}

/// The own masks of those who delivered, and the masks that they share with those who dropped.
fn masks(context: &Context, task: &Task, round: &Collected, secrets: &Secrets) -> Result<Masks, Error> {
    let masking = Masking::of(context, task, &round.plan.round_id)?;
    let mut masks = masking.own(&secrets.self_masks);
    for (dropped, key) in &secrets.round_keys {
        // Seen from the one who dropped, a pair's masks have the other sign.
        let left = masking.pairs(dropped, key, |peer| round.accepted.contains_key(peer));
        masks.add_pairs(left.into_iter().map(|pair| Pair { is_added: !pair.is_added, ..pair }));
    }
    Ok(masks)
}

impl Masks {
    pub(super) fn add_pairs(&mut self, pairs: impl IntoIterator<Item = Pair>) {
        for Pair { seed, is_added } in pairs {
            if is_added { self.plus.push(seed) } else { self.minus.push(seed) }
        }
    }
}

/// A mask that two sites share, and whether the one of them that is looked at added it.
pub(super) struct Pair {
    seed: Seed,
    is_added: bool,
}

/// What the masks of a round are made for, and the keys of all who joined it.
pub(super) struct Masking {
    plan: MaskingPlan,
    digest: Digest,
    circle: Circle,
    keys: BTreeMap<ParticipantId, AgreementPublic>,
}

impl Masking {
    pub(super) fn of(context: &Context, task: &Task, round_id: &RoundId) -> Result<Self, Error> {
        let document = word(&*context.store, round_id, MaskingWord::Plan)?;
        let plan: MaskingPlan = context.signer.public().open(&document)?;
        let circle = Circle::new(&task.cohort, &plan.task_digest);
        let key = |id: &ParticipantId| Ok((id.clone(), round_key(context, round_id, id)?));
        let keys = plan.joined.keys().map(key).collect::<Result<_, Error>>()?;
        Ok(Self { digest: document_digest(&document), circle, plan, keys })
    }

    /// The masks that are their owners' own.
    pub(super) fn own(&self, secrets: &BTreeMap<ParticipantId, SecretScalar>) -> Masks {
        let seed = |(owner, secret)| Seed::of_scalar(secret, &self_mask(&self.plan, self.digest, owner));
        Masks { plus: secrets.iter().map(seed).collect(), minus: Vec::new() }
    }

    /// The masks that `owner`, whose round key is `key`, shares with those of its neighbours among `peers`.
    pub(super) fn pairs(
        &self,
        owner: &ParticipantId,
        key: &RoundKey,
        peers: impl Fn(&ParticipantId) -> bool,
    ) -> Vec<Pair> {
        let is_pair = |peer: &ParticipantId| peer != owner && self.circle.are_neighbours(owner, peer) && peers(peer);
        let neighbours: Vec<_> = self.keys.iter().filter(|(peer, _)| is_pair(peer)).collect();
        let pairs = key.agree_all(neighbours.iter().map(|(_, public)| *public));
        let pair = |((peer, _), pair): ((&ParticipantId, &AgreementPublic), PairSecret)| {
            let seed = pair.seed(&pair_mask(&self.plan, self.digest, owner, peer));
            Pair { seed, is_added: owner < peer }
        };
        neighbours.into_iter().zip(pairs).map(pair).collect()
    }

    /// The key with which a participant joined.
    pub(super) fn key(&self, id: &ParticipantId) -> Option<&AgreementPublic> {
        self.keys.get(id)
    }
}

fn round_key(context: &Context, round_id: &RoundId, id: &ParticipantId) -> Result<AgreementPublic, Error> {
    let join = document(context, round_id, Evidence::Join, id)?;
    let join: Join = canonical::decode(join.body.as_bytes())?;
    Ok(AgreementPublic::try_from(&join.masking.ok_or(MaskingError::NotMasked)?.round_key)?)
}

/// What all files, less the masks, add up to.
pub(super) fn sum(
    files: &[UpdateFile],
    masks: &Masks,
    task: &Task,
    terms: &SecureAggregation,
) -> Result<CommittedVector, Error> {
    let len = task.update_len();
    let count = terms.words(len);
    let mut words = vec![0_u32; count];
    let share = count.div_ceil(THREADS).next_multiple_of(BLOCK);
    thread::scope(|scope| {
        let parts = words.chunks_mut(share).enumerate();
        let work: Vec<_> = parts
            .map(|(part, words)| {
                scope.spawn(move || counted(|| sum_part(files, masks, part.saturating_mul(share), words)))
            })
            .collect();
        work.into_iter().try_for_each(|part| part.join().map_err(|_| MaskingError::Interrupted)?)
    })?;
    Ok(CommittedVector::from_words(&words, len, terms.layout().rows(len))?)
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
fn check(context: &Context, terms: &SecureAggregation, round: &Collected, sum: &CommittedVector) -> Result<(), Error> {
    let updates = u32::try_from(round.accepted.len()).unwrap_or(u32::MAX);
    let limit = terms.limit().unsigned_abs().saturating_mul(updates);
    if let Some(index) = sum.values.iter().position(|value| value.unsigned_abs() > limit) {
        return Err(MaskingError::OutOfRange { index }.into());
    }
    let commitments = |id| Ok(masked_part(context, &round.plan.round_id, id)?.1);
    let commitments: Vec<Vec<Commitment>> = round.accepted.keys().map(commitments).collect::<Result<_, Error>>()?;
    let key = CommitmentKey::shared(sum.values.len(), terms.layout());
    Ok(key.verify_sum(&commitments, &sum.values, &sum.blindings).map_err(|_| MaskingError::Commitments)?)
}

/// What a participant's header says of its masked update, and what it committed to there.
pub(super) fn masked_part(
    context: &Context,
    round_id: &RoundId,
    id: &ParticipantId,
) -> Result<(MaskedPart, Vec<Commitment>), Error> {
    let header = document(context, round_id, Evidence::Update, id)?;
    let header: UpdateHeader = canonical::decode(header.body.as_bytes())?;
    let masked = header.masked.ok_or(MaskingError::NotMasked)?;
    let commitments = masked.commitments.iter().map(Commitment::try_from).collect::<Result<_, _>>()?;
    Ok((masked, commitments))
}
