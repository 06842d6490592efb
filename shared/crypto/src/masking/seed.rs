//! Masks: a 32-byte seed stretched to words that are added modulo 2^32. Who lacks the seed learns nothing from a masked
//! word; a seed is never printed, and wiped when dropped.
//!
//! The stretching is the keystream of AES-256-CTR (NIST SP 800-38A), taken as the ciphertext that AES-256-GCM makes of
//! zeros: on machines with AES instructions the fastest stream that [`ring`] gives.

use std::fmt;
use std::slice;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

use super::SecretScalar;
use super::agreement::scalar_of_seed;

/// Words of a mask that come from one nonce. A mask can be entered at any word; entering it at a multiple of this costs
/// nothing. One block of words and one of keystream fit a first-level cache together (16 KiB each).
pub const MASK_BLOCK_WORDS: usize = 4096;

const WORD_BYTES: usize = 4;
const SALT: &[u8] = b"ringfence seed v1";
/// The first bytes of a mask's nonces, so that no mask shares a nonce with a sealed share.
const NONCE_PREFIX: [u8; 4] = *b"mask";

/// A secret of 256 bits that a mask is stretched from.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    /// HKDF-SHA-256 (RFC 5869) of a secret with the fixed salt `ringfence seed v1`.
    pub(super) fn derive(secret: &[u8], info: &[u8]) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        let prk = Salt::new(HKDF_SHA256, SALT).extract(secret);
        #[expect(clippy::expect_used, reason = "HKDF-SHA-256 gives up to 8,160 bytes")]
        prk.expand(&[info], HKDF_SHA256).and_then(|okm| okm.fill(bytes.as_mut_slice())).expect("32 bytes of HKDF");
        Self(bytes)
    }

    /// The seed that a site's own secret gives for `info`: of the mask that hides its update from those who know all
    /// its pairs' masks.
    pub fn of_scalar(secret: &SecretScalar, info: &[u8]) -> Self {
        Self::derive(secret.to_bytes().as_slice(), info)
    }

    /// A uniform scalar that follows from the seed.
    pub(super) fn to_scalar(&self) -> SecretScalar {
        scalar_of_seed(&self.0)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Adds the mask's words from `first_word` on to `words`, modulo 2^32.
    pub fn add_mask(&self, first_word: usize, words: &mut [u32]) {
        add_masks(slice::from_ref(self), &[], first_word, words);
    }

    /// Takes the mask's words from `first_word` on off `words`, modulo 2^32.
    pub fn sub_mask(&self, first_word: usize, words: &mut [u32]) {
        add_masks(&[], slice::from_ref(self), first_word, words);
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(redacted)")
    }
}

/// Adds the masks of the seeds in `plus` to `words` and takes those in `minus` off, modulo 2^32; `first_word` is where
/// in the masks `words` begins, so that several threads can each take a part.
///
/// It goes block by block over all seeds, so that memory sees each word once, however many seeds there are.
pub fn add_masks(plus: &[Seed], minus: &[Seed], first_word: usize, words: &mut [u32]) {
    let plus: Vec<Stream> = plus.iter().map(Stream::new).collect();
    let minus: Vec<Stream> = minus.iter().map(Stream::new).collect();
    let mut buffer = Zeroizing::new([0; MASK_BLOCK_WORDS * WORD_BYTES]);
    let (mut position, mut rest) = (first_word, words);
    while !rest.is_empty() {
        let skipped = position % MASK_BLOCK_WORDS;
        let (part, after) = rest.split_at_mut(rest.len().min(MASK_BLOCK_WORDS.saturating_sub(skipped)));
        let block = position / MASK_BLOCK_WORDS;
        let bytes = skipped.saturating_add(part.len()).saturating_mul(WORD_BYTES);
        let (keystream, _) = buffer.split_at_mut(bytes);
        for stream in &plus {
            combine(part, stream.block(block, keystream), skipped, u32::wrapping_add);
        }
        for stream in &minus {
            combine(part, stream.block(block, keystream), skipped, u32::wrapping_sub);
        }
        position = position.saturating_add(part.len());
        rest = after;
    }
}

fn combine(words: &mut [u32], keystream: &[u8], skipped: usize, with: impl Fn(u32, u32) -> u32) {
    let (masks, _) = keystream.as_chunks::<WORD_BYTES>();
    for (word, mask) in words.iter_mut().zip(masks.iter().skip(skipped)) {
        *word = with(*word, u32::from_le_bytes(*mask));
    }
}

/// A seed with its AES key schedule.
struct Stream(LessSafeKey);

impl Stream {
    fn new(seed: &Seed) -> Self {
        #[expect(clippy::expect_used, reason = "ring refuses no key of 32 bytes")]
        let key = UnboundKey::new(&AES_256_GCM, seed.as_bytes()).expect("a key of 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Fills `bytes` with the keystream's block number `block` from its start. The nonce is `mask` and the block's number
    /// (8 bytes, big-endian); GCM counts the cipher's blocks from 2 in the last 4 bytes.
    fn block<'a>(&self, block: usize, bytes: &'a mut [u8]) -> &'a [u8] {
        let [a, b, c, d] = NONCE_PREFIX;
        let [e, f, g, h, i, j, k, l] = u64::try_from(block).unwrap_or(u64::MAX).to_be_bytes();
        let nonce: [u8; NONCE_LEN] = [a, b, c, d, e, f, g, h, i, j, k, l];
        bytes.fill(0);
        #[expect(clippy::expect_used, reason = "a block is far shorter than the 64 GiB that GCM takes")]
        let _tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), bytes)
            .expect("a block of a mask");
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENSSL_BLOCK_0: &str =
        "4e6ea3268214f5a3b8b0fcefe4ad06c0941c132024d9418a191be8a8af118282e377c5125f2311ea01a32d0b4a501cdd";
    const OPENSSL_BLOCK_3: &str =
        "a6e59fb8b8d2e0f46ce11a59f3f9e480e150646595eb43641880efe2ddff2296c8d2dbddc7e2987dbfbadd93ffa01b6f";

    fn seed(byte: u8) -> Seed {
        Seed(Zeroizing::new([byte; 32]))
    }

    fn mask(seed: &Seed, first_word: usize, count: usize) -> Vec<u32> {
        let mut words = vec![0; count];
        seed.add_mask(first_word, &mut words);
        words
    }

    fn hex_words(text: &str) -> Vec<u32> {
        let bytes = hex::decode(text).unwrap();
        bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
    }

    /// `head -c 48 /dev/zero | openssl enc -aes-256-ctr -K 07...07 -iv 6d61736b000000000000000000000002`, and with the
    /// block's number 3 in the middle of the counter block.
    #[test]
    fn the_mask_is_what_openssl_makes_of_zeros() {
        assert_eq!(mask(&seed(7), 0, 12), hex_words(OPENSSL_BLOCK_0));
        assert_eq!(mask(&seed(7), 3 * MASK_BLOCK_WORDS, 12), hex_words(OPENSSL_BLOCK_3));
    }

    /// Python: `hmac` twice, as RFC 5869 says.
    #[test]
    fn a_seed_is_the_hkdf_of_its_secret() {
        assert_eq!(
            hex::encode(Seed::derive(&[1; 32], b"round 1").as_bytes()),
            "27b676c7df6a55e42b8c13ace72fe3cf150ae01d06c1a5849aa1350ad7a76095"
        );
    }

    #[test]
    fn a_mask_is_the_same_wherever_it_is_entered() {
        let whole = mask(&seed(1), 0, 3 * MASK_BLOCK_WORDS);
        for (first, count) in [(0, 1), (1, 5), (4095, 2), (4096, 4096), (4000, 8000), (12287, 1)] {
            assert_eq!(mask(&seed(1), first, count), whole[first..first + count], "{count} words from {first}");
        }
    }

    #[test]
    fn what_one_side_adds_the_other_takes_off() {
        let seeds = [seed(1), seed(2), seed(3)];
        let plain: Vec<u32> = (0..10_000_u32).map(|word| word.wrapping_mul(0x9e37_79b9)).collect();
        let mut words = plain.clone();
        add_masks(&seeds[..2], &seeds[2..], 77, &mut words);
        assert_ne!(words, plain);
        seeds[0].sub_mask(77, &mut words);
        seeds[1].sub_mask(77, &mut words);
        seeds[2].add_mask(77, &mut words);
        assert_eq!(words, plain);
    }

    #[test]
    fn masks_of_two_seeds_have_no_word_in_common_place() {
        let (a, b) = (mask(&seed(1), 0, 10_000), mask(&seed(2), 0, 10_000));
        assert!(a.iter().zip(&b).filter(|(a, b)| a == b).count() <= 1);
    }

    #[test]
    fn a_seed_is_not_printed() {
        assert_eq!(format!("{:?}", seed(5)), "Seed(redacted)");
    }
}
