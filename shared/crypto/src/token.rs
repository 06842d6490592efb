//! Site-held pseudonyms: HMAC-SHA-256 (RFC 2104) of what a thing is called, cut to 128 bits.
//!
//! Without the site's key nobody can go from a token back to a name, nor test a guess; with it, the same name always has
//! the same token (promise P4).

use std::fmt;
use std::path::Path;

use ring::hmac::{Context, HMAC_SHA256, Key};

use crate::{CryptoError, key_file, random_bytes};

/// Bytes of the MAC that a token shows: 2^64 names of one kind until a collision is to be expected.
const TOKEN_LEN: usize = 16;

/// A site's tokenisation key.
#[derive(Clone)]
pub struct TokenKey(Key);

impl TokenKey {
    /// A new random key.
    pub fn generate() -> Result<Self, CryptoError> {
        Ok(Self::from_bytes(&*random_bytes()?))
    }

    /// The key with these bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Key::new(HMAC_SHA256, bytes))
    }

    /// The key that stands at `path`; makes it on first use.
    pub fn load_or_create(path: &Path) -> Result<Self, CryptoError> {
        let bytes = key_file::load_or_create(path, random_bytes)?;
        Ok(Self::from_bytes(&bytes))
    }

    /// The token of the `kind` (such as `principal`) called `raw`: 32 hexadecimal digits.
    ///
    /// The MAC covers the kind's length (8 bytes, big-endian), the kind, and the name.
    pub fn token(&self, kind: &str, raw: &str) -> String {
        let kind_len = u64::try_from(kind.len()).unwrap_or(u64::MAX);
        let mut mac = Context::with_key(&self.0);
        mac.update(&kind_len.to_be_bytes());
        mac.update(kind.as_bytes());
        mac.update(raw.as_bytes());
        hex::encode(mac.sign().as_ref().iter().take(TOKEN_LEN).copied().collect::<Vec<u8>>())
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn the_rfc_4231_vector_holds() {
        let mac = ring::hmac::sign(&Key::new(HMAC_SHA256, b"Jefe"), b"what do ya want for nothing?");
        assert_eq!(hex::encode(mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    /// Python: `hmac.new(bytes(range(32)), (9).to_bytes(8, "big") + b"principal" + b"alice", "sha256").hexdigest()[:32]`.
    #[test]
    fn a_token_equals_an_independent_computation() {
        let key = TokenKey::from_bytes(&std::array::from_fn(|i| u8::try_from(i).unwrap()));
        assert_eq!(key.token("principal", "alice"), "28d17d5bbf3129daac79adbfcfa893ea");
    }

    #[test]
    fn kind_and_name_do_not_run_into_each_other() {
        let key = TokenKey::from_bytes(&[7; 32]);
        assert_ne!(key.token("ab", "c"), key.token("a", "bc"));
        assert_ne!(key.token("a", "x"), key.token("b", "x"));
        assert_eq!(key.token("a", "x").len(), 32);
        assert_ne!(key.token("a", "x"), TokenKey::from_bytes(&[8; 32]).token("a", "x"));
    }
}
