//! Top-k: the values of largest magnitude, each with its place; everything else counts as zero.
//!
//! Source: Stich et al. 2018, "Sparsified SGD with Memory", definition 2.1. A vector is cut into segments of 2^16 values.
//! A payload is a directory, for each segment how many entries there are up to its end (u32), and then the entries in
//! order, each four bytes: the place within the segment (u16) and the value (bf16). There are always exactly k entries,
//! so that the length is exact, and any segment is found by two words of the directory.

use serde::{Deserialize, Serialize};

use super::{EncodingError, InvalidEncoding, bfloat};
use crate::params::ParamError;

/// Values per segment: what a u16 can name.
pub(super) const SEGMENT: usize = 1 << 16;
/// The bytes of a word of the directory, and of an entry.
pub(super) const WORD: usize = 4;

/// A fraction of 1 to 500 in a thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct PerMille(u16);

impl PerMille {
    /// A fraction of 1 to 500 in a thousand.
    pub fn new(per_mille: u32) -> Result<Self, InvalidEncoding> {
        match u16::try_from(per_mille) {
            Ok(short @ 1..=500) => Ok(Self(short)),
            _ => Err(InvalidEncoding::PerMille(per_mille)),
        }
    }

    /// That part of `params` values, rounded up.
    pub fn of(self, params: usize) -> usize {
        params.saturating_mul(usize::from(self.0)).div_ceil(1000)
    }
}

impl TryFrom<u32> for PerMille {
    type Error = InvalidEncoding;

    fn try_from(per_mille: u32) -> Result<Self, InvalidEncoding> {
        Self::new(per_mille)
    }
}

impl From<PerMille> for u32 {
    fn from(per_mille: PerMille) -> u32 {
        per_mille.0.into()
    }
}

/// How many segments a vector has.
pub(super) fn segments(params: usize) -> usize {
    params.div_ceil(SEGMENT)
}

/// How many values segment `segment` has.
pub(super) fn segment_len(params: usize, segment: usize) -> usize {
    params.saturating_sub(segment.saturating_mul(SEGMENT)).min(SEGMENT)
}

pub(super) fn encoded_len(per_mille: PerMille, params: usize) -> usize {
    segments(params).saturating_add(per_mille.of(params)).saturating_mul(WORD)
}

pub(super) fn encode(per_mille: PerMille, values: &[f32]) -> Vec<u8> {
    let mut kept = Kept::new(per_mille.of(values.len()), values);
    let mut directory = Vec::with_capacity(encoded_len(per_mille, values.len()));
    let mut entries = Vec::with_capacity(per_mille.of(values.len()).saturating_mul(WORD));
    let mut end = 0_u32;
    for segment in values.chunks(SEGMENT) {
        for (place, value) in (0..=u16::MAX).zip(segment) {
            if kept.keeps(*value) {
                entries.extend(place.to_le_bytes());
                entries.extend(bfloat::from_f32(*value).to_le_bytes());
                end = end.saturating_add(1);
            }
        }
        directory.extend(end.to_le_bytes());
    }
    directory.extend(entries);
    directory
}

/// Which values are among the k largest; the earlier of two equals goes first.
struct Kept {
    /// The smallest magnitude that is kept, as bits: those of magnitudes are in the order of the magnitudes.
    least: u32,
    /// How many values of that very magnitude are still to be kept.
    ties: usize,
}

impl Kept {
    fn new(count: usize, values: &[f32]) -> Self {
        let mut magnitudes: Vec<u32> = values.iter().map(|value| value.abs().to_bits()).collect();
        let Some(last) = count.checked_sub(1).filter(|last| *last < magnitudes.len()) else {
            return Self { least: u32::MAX, ties: 0 };
        };
        let (larger, least, _) = magnitudes.select_nth_unstable_by(last, |left, right| right.cmp(left));
        let above = larger.iter().filter(|magnitude| *magnitude > least).count();
        Self { least: *least, ties: count.saturating_sub(above) }
    }

    fn keeps(&mut self, value: f32) -> bool {
        let magnitude = value.abs().to_bits();
        let tie = magnitude == self.least && self.ties > 0;
        self.ties = self.ties.saturating_sub(usize::from(tie));
        tie || magnitude > self.least
    }
}

/// Reads the entries of consecutive segments, in order.
#[derive(Debug)]
pub(super) struct Entries {
    params: usize,
    /// The segment that the next entry is looked for in first.
    segment: usize,
    /// Up to which entry of the payload each segment goes, from the first of the directory that was read.
    ends: Vec<usize>,
    first_segment: usize,
    /// How many entries of the payload come before the next one.
    entry: usize,
    /// The first place within the segment that the next entry may have.
    place: usize,
}

impl Entries {
    /// Begins at the first entry of `segment`, which is the payload's entry number `entry`.
    pub(super) fn new(params: usize, segment: usize, entry: usize) -> Self {
        Self { params, segment, ends: Vec::new(), first_segment: segment, entry, place: 0 }
    }

    /// Takes the next word of the directory: up to which entry the next segment goes.
    pub(super) fn end(&mut self, word: [u8; WORD]) -> Result<(), EncodingError> {
        let segment = self.first_segment.saturating_add(self.ends.len());
        let begin = self.ends.last().copied().unwrap_or(self.entry);
        let end = usize::try_from(u32::from_le_bytes(word)).unwrap_or(usize::MAX);
        if end.checked_sub(begin).is_none_or(|count| count > segment_len(self.params, segment)) {
            return Err(EncodingError::Directory { segment });
        }
        self.ends.push(end);
        Ok(())
    }

    /// How many segments' ends are known.
    pub(super) fn known(&self) -> usize {
        self.ends.len()
    }

    /// Up to which entry of the payload the known segments go.
    pub(super) fn last_end(&self) -> usize {
        self.ends.last().copied().unwrap_or(self.entry)
    }

    /// The next entry: an index of the vector and its value.
    pub(super) fn entry(&mut self, [p0, p1, v0, v1]: [u8; WORD]) -> Result<(usize, f32), EncodingError> {
        while self.end_of_segment().is_some_and(|end| end <= self.entry) {
            self.segment = self.segment.saturating_add(1);
            self.place = 0;
        }
        let place = usize::from(u16::from_le_bytes([p0, p1]));
        if place < self.place || place >= segment_len(self.params, self.segment) {
            return Err(EncodingError::Order { entry: self.entry });
        }
        let index = self.segment.saturating_mul(SEGMENT).saturating_add(place);
        let value = bfloat::to_f32(u16::from_le_bytes([v0, v1]));
        if !value.is_finite() {
            return Err(ParamError::NotFinite { index }.into());
        }
        self.place = place.saturating_add(1);
        self.entry = self.entry.saturating_add(1);
        Ok((index, value))
    }

    fn end_of_segment(&self) -> Option<usize> {
        self.ends.get(self.segment.saturating_sub(self.first_segment)).copied()
    }
}
