//! AES-256-GCM (NIST SP 800-38D) for data at rest. Sealed bytes open only for the context they were sealed for.

use std::fmt;
use std::path::Path;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::{CryptoError, key_file, random_bytes};

/// A symmetric key that seals what lies on a site's disk.
///
/// Nonces are random, so one key may seal at most 2^32 texts (SP 800-38D, section 8.3): seal segments of events rather than
/// single events.
pub struct SealKey(LessSafeKey);

impl SealKey {
    /// A new random key, for stores that do not outlive the process.
    pub fn generate() -> Result<Self, CryptoError> {
        Ok(Self::from_bytes(&*random_bytes()?))
    }

    /// The key that stands at `path`; makes it on first use.
    pub fn load_or_create(path: &Path) -> Result<Self, CryptoError> {
        let bytes = key_file::load_or_create(path, random_bytes)?;
        Ok(Self::from_bytes(&bytes))
    }

    fn from_bytes(bytes: &[u8; 32]) -> Self {
        #[expect(clippy::expect_used, reason = "ring refuses no key of 32 bytes")]
        let key = UnboundKey::new(&AES_256_GCM, bytes).expect("a key of 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Seals `plain` for `context` (such as a file's name): nonce (12 bytes), ciphertext, tag (16 bytes).
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let nonce = *random_bytes::<NONCE_LEN>()?;
        let mut text = plain.to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut text)
            .map_err(|_| CryptoError::Seal)?;
        Ok([nonce.as_slice(), &text].concat())
    }

    /// Opens what was sealed for `context` with this key; refuses anything else.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let refused = || CryptoError::Unseal { context: context.to_owned() };
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(refused)?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.0.open_in_place(nonce, Aad::from(context), &mut text).map_err(|_| refused())?.len();
        text.truncate(plain);
        Ok(text)
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The GCM specification (McGrew and Viega), test case 14: zero key, zero nonce, one zero block.
    #[test]
    fn the_gcm_vector_opens() {
        let sealed = "000000000000000000000000cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919";
        let key = SealKey::from_bytes(&[0; 32]);
        assert_eq!(key.open("", &hex::decode(sealed).unwrap()).unwrap(), [0; 16]);
    }

    #[test]
    fn sealed_bytes_open_only_for_their_context_and_key() {
        let key = SealKey::generate().unwrap();
        let sealed = key.seal("lake/1", b"who did what").unwrap();
        assert_eq!(key.open("lake/1", &sealed).unwrap(), b"who did what");
        assert!(key.open("lake/2", &sealed).is_err());
        assert!(SealKey::generate().unwrap().open("lake/1", &sealed).is_err());
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_refused() {
        let key = SealKey::generate().unwrap();
        let sealed = key.seal("lake/1", b"abc").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open("lake/1", &damaged).is_err(), "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert!(key.open("lake/1", &sealed[..len]).is_err(), "length {len}");
        }
    }

    #[test]
    fn the_same_text_is_never_sealed_to_the_same_bytes() {
        let key = SealKey::generate().unwrap();
        assert_ne!(key.seal("lake/1", b"abc").unwrap(), key.seal("lake/1", b"abc").unwrap());
    }
}
