//! How an update is committed to, which decides how many commitments it has.

/// The most rows: what is proven of an update takes time in proportion.
const MAX_ROWS: usize = 64;

/// How a vector is committed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// In one commitment, several coordinates on a generator: the cheapest, but nothing can be proven of it.
    Packed,
    /// In a commitment to each of its rows, with one generator a coordinate and the same for every row: things can be proven
    /// of it.
    Provable,
}

impl Layout {
    /// How many rows, and so commitments, a vector of `len` coordinates has. Of a provable one a quarter of the square root,
    /// 2 to 64: more would make proofs shorter, down to the square root; each costs a product for every coordinate and a
    /// commitment.
    pub fn rows(self, len: usize) -> usize {
        match self {
            Self::Packed => 1,
            Self::Provable => (len.isqrt() / 4).clamp(2, MAX_ROWS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provable_vector_has_a_quarter_of_its_square_root_in_rows() {
        let lengths = [0, 3, 100, 10_000, 100_000, 1_000_000];
        assert_eq!(lengths.map(|len| Layout::Provable.rows(len)), [2, 2, 2, 25, 64, 64]);
        assert_eq!(lengths.map(|len| Layout::Packed.rows(len)), [1; 6]);
    }
}
