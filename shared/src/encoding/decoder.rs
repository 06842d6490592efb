//! Decoding a payload as it arrives, in pieces of any size, one frame at a time.

use super::dense::Dense;
use super::top_k::{Entries, PerMille, WORD, segments};
use super::{Encoding, EncodingError, Layout};

/// Reads one payload from its first byte to its last.
///
/// It holds at most one frame of values, and for sparse payloads the directory (4 bytes for 65,536 values). After an
/// error the payload is refused as a whole: nothing more is to be pushed, and what was handed out is to be thrown away.
#[derive(Debug)]
pub struct Decoder {
    expected: usize,
    found: usize,
    /// The beginning of a frame whose end has not come yet.
    pending: Vec<u8>,
    frames: Frames,
}

/// Takes whole frames, one after the other: blocks of a dense payload, or words of a sparse one.
#[derive(Debug)]
enum Frames {
    Dense(DenseFrames),
    Sparse(SparseFrames),
}

#[derive(Debug)]
struct DenseFrames {
    dense: Dense,
    params: usize,
    done: usize,
    values: Vec<f32>,
}

#[derive(Debug)]
struct SparseFrames {
    params: usize,
    segments: usize,
    kept: usize,
    entries: Entries,
    value: [f32; 1],
}

impl Decoder {
    /// Awaits a payload of `params` values.
    pub fn new(encoding: Encoding, params: usize) -> Self {
        let frames = match encoding.layout() {
            Layout::Dense(dense) => Frames::Dense(DenseFrames { dense, params, done: 0, values: Vec::new() }),
            Layout::Sparse(per_mille) => Frames::Sparse(SparseFrames::new(per_mille, params)),
        };
        Self { expected: encoding.encoded_len(params), found: 0, pending: Vec::new(), frames }
    }

    /// Takes the next bytes, and gives `sink` each run of values that they complete, with the index of its first.
    ///
    /// Indices increase, and none comes twice. A value that never comes is zero (top-k); the last run of a payload ends
    /// where the parameters end, and is empty where the last values are zero.
    pub fn push<E: From<EncodingError>>(
        &mut self,
        mut bytes: &[u8],
        mut sink: impl FnMut(usize, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.found = self.found.saturating_add(bytes.len());
        if self.found > self.expected {
            return Err(EncodingError::Length { expected: self.expected, found: self.found }.into());
        }
        while !bytes.is_empty() {
            let missing = self.frames.next_len().saturating_sub(self.pending.len());
            let Some((head, rest)) = bytes.split_at_checked(missing) else {
                self.pending.extend(bytes);
                break;
            };
            bytes = rest;
            let whole = self.pending.is_empty();
            if !whole {
                self.pending.extend(head);
            }
            let (first, values) = self.frames.take(if whole { head } else { &self.pending })?;
            self.pending.clear();
            if !values.is_empty() {
                sink(first, values)?;
            }
        }
        match &self.frames {
            Frames::Sparse(frames) if self.found == self.expected => sink(frames.params, &[]),
            _ => Ok(()),
        }
    }

    /// Refuses a payload that ended too early.
    pub fn finish(self) -> Result<(), EncodingError> {
        if self.found == self.expected {
            Ok(())
        } else {
            Err(EncodingError::Length { expected: self.expected, found: self.found })
        }
    }
}

impl Frames {
    /// The length of the next frame in bytes, never 0 before the payload's end.
    fn next_len(&self) -> usize {
        match self {
            Self::Dense(frames) => (frames.dense.bytes)(frames.next_values()),
            Self::Sparse(_) => WORD,
        }
    }

    /// Takes the next frame and gives the values it has, if any, with the index of the first.
    fn take(&mut self, frame: &[u8]) -> Result<(usize, &[f32]), EncodingError> {
        match self {
            Self::Dense(frames) => frames.take(frame),
            Self::Sparse(frames) => frames.take(frame),
        }
    }
}

impl DenseFrames {
    fn next_values(&self) -> usize {
        self.dense.values.min(self.params.saturating_sub(self.done))
    }

    fn take(&mut self, frame: &[u8]) -> Result<(usize, &[f32]), EncodingError> {
        let first = self.done;
        self.values.resize(self.next_values(), 0.0);
        (self.dense.decode)(first, frame, &mut self.values)?;
        self.done = first.saturating_add(self.values.len());
        Ok((first, &self.values))
    }
}

impl SparseFrames {
    fn new(per_mille: PerMille, params: usize) -> Self {
        let entries = Entries::new(params, 0, 0);
        Self { params, segments: segments(params), kept: per_mille.of(params), entries, value: [0.0] }
    }

    fn take(&mut self, frame: &[u8]) -> Result<(usize, &[f32]), EncodingError> {
        let word = *frame.first_chunk().ok_or(EncodingError::Length { expected: WORD, found: frame.len() })?;
        if self.entries.known() == self.segments {
            let (index, value) = self.entries.entry(word)?;
            self.value = [value];
            return Ok((index, &self.value));
        }
        self.entries.end(word)?;
        if self.entries.known() == self.segments && self.entries.last_end() != self.kept {
            return Err(EncodingError::Directory { segment: self.segments });
        }
        Ok((0, &[]))
    }
}
