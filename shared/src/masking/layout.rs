//! How an update is committed to, which decides how many commitments it has.

/// The most rows: every site decodes those of all.
const MAX_ROWS: usize = 64;
/// Bytes of a generator's scalar that coordinates fill.
const PACKED_BYTES: usize = 30;

/// How a vector is committed to: in rows, with the same generators for each, so that all are checked as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Ten coordinates of a row on a generator, each with 24 bits for the sum of all sites'.
    Packed24,
    /// Seven coordinates of a row on a generator, each with 32 bits for the sum of all sites'.
    Packed32,
    /// One coordinate of a row on a generator, so that things can be proven of it.
    Provable,
}

impl Layout {
    /// The cheapest layout for sums up to `largest`.
    pub(super) fn packed(largest: u64) -> Self {
        if largest <= Self::Packed24.largest().into() { Self::Packed24 } else { Self::Packed32 }
    }

    /// How many rows, and so commitments, a vector of `len` coordinates has.
    ///
    /// Packed, a sixtieth of the square root, 1 to 64: a site spends as much time on checking a sum, which takes as many
    /// generators as a row has, as on what each row costs it and on decoding a hundred sites' commitments. Of a provable one
    /// a quarter, 2 to 64: more would make proofs shorter, down to the square root; each costs a product for every
    /// coordinate and a commitment.
    pub fn rows(self, len: usize) -> usize {
        match self {
            Self::Packed24 | Self::Packed32 => (len.isqrt() / 60).clamp(1, MAX_ROWS),
            Self::Provable => (len.isqrt() / 4).clamp(2, MAX_ROWS),
        }
    }

    /// How many coordinates a generator has.
    pub fn slots(self) -> usize {
        match self {
            Self::Packed24 | Self::Packed32 => PACKED_BYTES / self.slot_bytes(),
            Self::Provable => 1,
        }
    }

    /// How many bytes of a scalar a coordinate has to itself.
    pub fn slot_bytes(self) -> usize {
        match self {
            Self::Packed24 => 3,
            Self::Packed32 | Self::Provable => 4,
        }
    }

    /// The largest absolute value of a coordinate, and of the sum of all sites'. Any two vectors within it are different
    /// numbers once they are packed.
    pub fn largest(self) -> u32 {
        match self {
            Self::Packed24 => (1 << 23) - 1,
            Self::Packed32 | Self::Provable => (1 << 31) - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_has_a_share_of_its_square_root_in_rows() {
        let lengths = [0, 3, 100, 10_000, 100_000, 1_000_000, 100_000_000];
        assert_eq!(lengths.map(|len| Layout::Provable.rows(len)), [2, 2, 2, 25, 64, 64, 64]);
        for packed in [Layout::Packed24, Layout::Packed32] {
            assert_eq!(lengths.map(|len| packed.rows(len)), [1, 1, 1, 1, 5, 16, 64]);
        }
    }

    #[test]
    fn coordinates_are_packed_as_densely_as_their_sums_allow() {
        let layouts = [0, 8_388_607, 8_388_608, 2_147_483_647].map(Layout::packed);
        assert_eq!(layouts, [Layout::Packed24, Layout::Packed24, Layout::Packed32, Layout::Packed32]);
        assert_eq!([Layout::Packed24, Layout::Packed32, Layout::Provable].map(Layout::slots), [10, 7, 1]);
    }
}
