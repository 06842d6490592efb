//! Decoding a range of values out of a stored payload, reading only the frames that it touches.
//!
//! The caller has checked that the range is not empty and lies within the vector.

use super::EncodingError;
use super::dense::{Dense, MAX_FRAME};
use super::top_k::{Entries, PerMille, SEGMENT, WORD, segments};

pub(super) fn dense<E: From<EncodingError>>(
    dense: &Dense,
    params: usize,
    start: usize,
    into: &mut [f32],
    mut read: impl FnMut(usize, &mut [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let frame_bytes = (dense.bytes)(dense.values);
    let mut first = start - start % dense.values;
    let last = start.saturating_add(into.len()).next_multiple_of(dense.values).min(params);
    let mut payload = vec![0; dense.encoded_len(last - first)];
    read((first / dense.values).saturating_mul(frame_bytes), &mut payload)?;
    let mut values = [0.0; MAX_FRAME];
    for frame in payload.chunks(frame_bytes) {
        let values = values.get_mut(..dense.values.min(last - first)).unwrap_or_default();
        (dense.decode)(first, frame, values)?;
        // The first frame may begin before the range, and the last may end behind it.
        let skipped = start.saturating_sub(first);
        let place = into.iter_mut().skip(first.saturating_sub(start));
        place.zip(values.iter().skip(skipped)).for_each(|(place, value)| *place = *value);
        first = first.saturating_add(values.len());
    }
    Ok(())
}

pub(super) fn sparse<E: From<EncodingError>>(
    per_mille: PerMille,
    params: usize,
    start: usize,
    into: &mut [f32],
    mut read: impl FnMut(usize, &mut [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let first = start / SEGMENT;
    let behind = start.saturating_add(into.len()).div_ceil(SEGMENT);
    // One word before the first segment's says how many entries come before it; before the vector's first there are none.
    let mut directory = vec![0; (behind - first).saturating_add(1).saturating_mul(WORD)];
    let known = directory.get_mut(if first == 0 { WORD } else { 0 }..).unwrap_or_default();
    read(first.saturating_sub(1).saturating_mul(WORD), known)?;
    let mut words = directory.as_chunks::<WORD>().0.iter();
    let begin = words.next().map_or(0, |word| u32::from_le_bytes(*word));
    let begin = usize::try_from(begin).unwrap_or(usize::MAX);
    let mut entries = Entries::new(params, first, begin);
    words.try_for_each(|word| entries.end(*word))?;
    if entries.last_end() > per_mille.of(params) {
        return Err(EncodingError::Directory { segment: behind }.into());
    }
    let mut payload = vec![0; entries.last_end().saturating_sub(begin).saturating_mul(WORD)];
    read(segments(params).saturating_add(begin).saturating_mul(WORD), &mut payload)?;
    into.fill(0.0);
    for word in payload.as_chunks::<WORD>().0 {
        let (index, value) = entries.entry(*word)?;
        if let Some(place) = index.checked_sub(start).and_then(|at| into.get_mut(at)) {
            *place = value;
        }
    }
    Ok(())
}
