//! The part of a masked round's transcript: what its updates add up to, each survivor's commitment to its own, and the
//! candidate that follows from the sum.

use shared::document::SignedDocument;
use shared::masking::{MaskedSum, Survivors};
use shared::release::RoundRecord;
use shared::task::Task;
use shared::update::UpdateHeader;
use shared_crypto::document_digest;
use shared_crypto::masking::{Commitment, CommitmentKey, SecretScalar};

use super::archive::{Entry, ReadAt};
use super::documents::{Sections, same};
use super::sections::Content;
use super::updates::{fits, key_of};
use super::{TranscriptError, TranscriptKeys, Trust, name};

/// How much is read at a time.
const BUFFER: usize = 1 << 16;
const WORD: usize = size_of::<i32>();

/// What a transcript of a masked round holds in place of the updates' bytes.
pub struct MaskedParts {
    /// The signed [`MaskedSum`].
    pub word: SignedDocument,
    /// The signed [`Survivors`].
    pub survivors: SignedDocument,
    /// The sum's little-endian i32 words.
    pub sum: Content,
}

/// Takes the sum and the survivors' headers in: every signature and digest, and that the sum is the one committed to.
/// Memory: the model.
pub(super) fn checked<R: ReadAt + ?Sized>(
    sections: &mut Sections<'_, R>,
    trust: &Trust,
    keys: &TranscriptKeys,
    task: &Task,
    record: &RoundRecord,
) -> Result<Vec<i32>, TranscriptError> {
    let (document, word) = sections.signed::<MaskedSum>(name::MASKED_SUM, &trust.coordinator)?;
    same(|| "the record's masked sum".to_owned(), &record.masked_sum, &Some(document_digest(&document)))?;
    let (document, survivors) = sections.signed::<Survivors>(name::SURVIVORS, &trust.coordinator)?;
    same(|| "the sum's survivors".to_owned(), &document_digest(&document), &word.survivors)?;
    for round_id in [&word.round_id, &survivors.round_id] {
        same(|| "the sum's round".to_owned(), &record.round_id, round_id)?;
    }
    let entry = sections.take(name::SUM)?;
    sections.digest(&entry, word.sum)?;
    let values = values(sections, &entry, task.update_len())?;
    let commitments = commitments(sections, keys, &survivors, record)?;
    let malformed = |error: shared_crypto::CryptoError| TranscriptError::Commitments(error.to_string());
    let terms = task.secure_aggregation.as_ref();
    let terms = terms.ok_or_else(|| TranscriptError::Commitments("the task's updates are not masked".to_owned()))?;
    let blindings = word.blindings.iter().map(SecretScalar::try_from).collect::<Result<Vec<_>, _>>();
    let key = CommitmentKey::shared(values.len(), terms.layout());
    key.verify_sum(&commitments, &values, &blindings.map_err(malformed)?).map_err(malformed)?;
    Ok(values)
}

fn values<R: ReadAt + ?Sized>(
    sections: &Sections<'_, R>,
    entry: &Entry,
    count: usize,
) -> Result<Vec<i32>, TranscriptError> {
    let expected = u64::try_from(count.saturating_mul(WORD)).unwrap_or(u64::MAX);
    same(|| format!("the length of `{}`", entry.name), &expected, &entry.len)?;
    let mut values = Vec::with_capacity(count);
    sections.pieces(entry, BUFFER, |piece| {
        values.extend(piece.as_chunks().0.iter().map(|word| i32::from_le_bytes(*word)));
        Ok(())
    })?;
    Ok(values)
}

/// Each survivor's commitments, from the header that it signed.
fn commitments<R: ReadAt + ?Sized>(
    sections: &mut Sections<'_, R>,
    keys: &TranscriptKeys,
    survivors: &Survivors,
    record: &RoundRecord,
) -> Result<Vec<Vec<Commitment>>, TranscriptError> {
    let mut commitments = Vec::with_capacity(record.accepted.len());
    for (participant_id, accepted) in &record.accepted {
        let section = name::update_header(participant_id);
        let (document, header) = sections.signed::<UpdateHeader>(&section, key_of(keys, participant_id)?)?;
        fits(&section, &header, participant_id, accepted, record)?;
        let delivered = survivors.delivered.get(participant_id).copied();
        same(|| format!("the survivor of `{section}`"), &Some(document_digest(&document)), &delivered)?;
        let masked = header.masked.as_ref();
        let masked = masked.ok_or_else(|| TranscriptError::Commitments(format!("`{section}` has none")))?;
        same(|| format!("the masking plan in `{section}`"), &survivors.plan, &masked.plan)?;
        let rows = masked.commitments.iter().map(Commitment::try_from).collect::<Result<_, _>>();
        commitments.push(rows.map_err(|error| TranscriptError::Commitments(error.to_string()))?);
    }
    same(|| "the number of survivors".to_owned(), &survivors.delivered.len(), &record.accepted.len())?;
    Ok(commitments)
}
