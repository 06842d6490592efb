//! A share on its way to one neighbour, sealed with AES-256-GCM (NIST SP 800-38D). The seed of the pair is the key: it must
//! seal one share and no other, because the nonce is zero.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::{SecretScalar, Seed};
use crate::CryptoError;

/// Bytes of a sealed share: 32 of ciphertext and 16 of the tag.
pub const SEALED_SHARE_LEN: usize = SHARE_LEN + 16;

const SHARE_LEN: usize = 32;

/// Seals `share` under a seed whose info names the round, the dealer, the receiver and which of the dealer's secrets it is
/// a share of.
pub fn seal_share(seed: &Seed, share: &SecretScalar) -> [u8; SEALED_SHARE_LEN] {
    let mut text = share.to_bytes();
    #[expect(clippy::expect_used, reason = "32 bytes are far less than the 64 GiB that GCM takes")]
    let tag = key(seed).seal_in_place_separate_tag(nonce(), Aad::empty(), text.as_mut_slice()).expect("a sealed share");
    let mut sealed = [0; SEALED_SHARE_LEN];
    let (head, tail) = sealed.split_at_mut(SHARE_LEN);
    head.copy_from_slice(text.as_slice());
    tail.copy_from_slice(tag.as_ref());
    sealed
}

/// Opens a share that was sealed under `seed`; refuses anything else, also what opens to no scalar.
pub fn open_share(seed: &Seed, sealed: &[u8; SEALED_SHARE_LEN]) -> Result<SecretScalar, CryptoError> {
    let mut text = Zeroizing::new(*sealed);
    let share =
        key(seed).open_in_place(nonce(), Aad::empty(), text.as_mut_slice()).map_err(|_| CryptoError::SealedShare)?;
    let share: Zeroizing<[u8; SHARE_LEN]> = Zeroizing::new((&*share).try_into().map_err(|_| CryptoError::SealedShare)?);
    SecretScalar::from_bytes(&share).map_err(|_| CryptoError::SealedShare)
}

fn key(seed: &Seed) -> LessSafeKey {
    #[expect(clippy::expect_used, reason = "ring refuses no key of 32 bytes")]
    let key = UnboundKey::new(&AES_256_GCM, seed.as_bytes()).expect("a key of 32 bytes");
    LessSafeKey::new(key)
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(info: &[u8]) -> Seed {
        Seed::derive(&[5; 32], info)
    }

    #[test]
    fn a_share_opens_under_its_seed_only() {
        let share = SecretScalar::random().unwrap();
        let sealed = seal_share(&seed(b"1 to 2"), &share);
        assert_eq!(open_share(&seed(b"1 to 2"), &sealed).unwrap(), share);
        assert!(matches!(open_share(&seed(b"1 to 3"), &sealed), Err(CryptoError::SealedShare)));
    }

    #[test]
    fn any_flipped_bit_is_refused() {
        let sealed = seal_share(&seed(b"1 to 2"), &SecretScalar::random().unwrap());
        for bit in 0..SEALED_SHARE_LEN * 8 {
            let mut damaged = sealed;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(open_share(&seed(b"1 to 2"), &damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn garbage_under_the_right_seed_is_no_share() {
        let mut text = [0xff; SHARE_LEN];
        let tag = key(&seed(b"1 to 2")).seal_in_place_separate_tag(nonce(), Aad::empty(), &mut text).unwrap();
        let sealed: [u8; SEALED_SHARE_LEN] = [text.as_slice(), tag.as_ref()].concat().try_into().unwrap();
        assert!(matches!(open_share(&seed(b"1 to 2"), &sealed), Err(CryptoError::SealedShare)));
    }
}
