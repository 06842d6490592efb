//! BLAKE3, for parameters and updates: bytes that come by the gigabyte, where SHA-256 would cost more than moving them.
//!
//! What is signed or logged is digested by [`crate::digest`]; nothing is digested by both.

use shared::Digest;

/// The BLAKE3 digest of `bytes`: what `b3sum` prints for a file of them.
///
/// Source: O'Connor, Aumasson, Neves, Wilcox-O'Hearn 2020, "BLAKE3: one function, fast everywhere".
pub fn bulk_digest(bytes: &[u8]) -> Digest {
    Digest(blake3::hash(bytes).into())
}

/// A BLAKE3 digest of bytes that come piece by piece; pieces of 16 KiB and more are taken in fastest.
#[derive(Debug, Clone, Default)]
pub struct BulkWriter(blake3::Hasher);

impl BulkWriter {
    /// The digest of nothing so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken in.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published test vector for an input of 1,025 bytes, each its index modulo 251.
    const OF_1025_BYTES: &str = "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444";

    fn input() -> Vec<u8> {
        (0..1025_u32).map(|index| u8::try_from(index % 251).unwrap()).collect()
    }

    #[test]
    fn the_published_input_has_the_published_digest() {
        assert_eq!(bulk_digest(&input()).to_string(), OF_1025_BYTES);
    }

    #[test]
    fn how_bytes_are_cut_does_not_matter() {
        let mut writer = BulkWriter::new();
        input().chunks(7).for_each(|piece| writer.update(piece));
        assert_eq!(writer.finish().to_string(), OF_1025_BYTES);
    }
}
