//! The verifier's part of a proof, played by a hash (Fiat and Shamir 1986): all that was said goes in, and challenges come
//! out. Nothing is drawn before everything that it must not depend on has gone in.

use blake3::{Hasher, OutputReader};
use curve25519_dalek::scalar::Scalar;

const DOMAIN: &str = "ringfence norm proof v1";

/// What was said so far.
pub(super) struct Transcript(Hasher);

impl Transcript {
    pub(super) fn new() -> Self {
        Self(Hasher::new_derive_key(DOMAIN))
    }

    /// Takes in one thing that was said. Label and bytes go in with their lengths, so that no two transcripts look alike.
    pub(super) fn absorb(&mut self, label: &str, bytes: &[u8]) {
        for part in [label.as_bytes(), bytes] {
            self.0.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            self.0.update(part);
        }
    }

    /// The challenge that follows from all that was taken in.
    pub(super) fn challenge(&mut self, label: &str) -> Challenge {
        self.absorb(label, b"challenge");
        Challenge(self.0.finalize_xof())
    }
}

/// An endless stream of uniform bytes.
pub(super) struct Challenge(OutputReader);

impl Challenge {
    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes);
        bytes
    }

    /// A weight of 128 bits.
    pub(super) fn weight(&mut self) -> u128 {
        u128::from_le_bytes(self.bytes())
    }

    /// A uniform scalar, but for a bias below 2^-250.
    pub(super) fn scalar(&mut self) -> Scalar {
        Scalar::from_bytes_mod_order_wide(&self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_depends_on_every_label_and_byte_and_on_where_they_end() {
        let drawn = |said: &[(&str, &[u8])], label| {
            let mut transcript = Transcript::new();
            said.iter().for_each(|(label, bytes)| transcript.absorb(label, bytes));
            transcript.challenge(label).scalar()
        };
        let first = drawn(&[("a", b"bc")], "d");
        assert_eq!(first, drawn(&[("a", b"bc")], "d"));
        let others: [&[(&str, &[u8])]; 5] =
            [&[("ab", b"c")], &[("a", b"bd")], &[("a", b"bc"), ("", b"")], &[("a", b"b"), ("c", b"")], &[]];
        assert!(others.into_iter().all(|said| drawn(said, "d") != first));
        assert_ne!(drawn(&[("a", b"bc")], "e"), first);
    }

    #[test]
    fn challenges_of_one_transcript_differ() {
        let mut transcript = Transcript::new();
        let mut challenge = transcript.challenge("one");
        let drawn = [challenge.scalar(), challenge.scalar(), transcript.challenge("two").scalar()];
        assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2] && drawn[0] != drawn[2]);
    }
}
