//! Pseudonyms for everything that names a person, a machine or an asset, before any of it reaches the engine's state.
//!
//! Tokens are the first 64 bits of the site's HMAC tokens (promise P4). The cache that keeps this fast is the only place
//! in the engine that holds raw names; it is bounded and never written anywhere.

use std::collections::HashMap;
use std::sync::Arc;

use shared_crypto::TokenKey;

/// The most names of one kind in the cache. When it is full it starts anew: a token costs one HMAC to make again.
const CACHED_NAMES: usize = 65_536;

/// What a name is the name of. Equal names of different kinds have unrelated tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Principal,
    Address,
    Network,
    Session,
    Application,
    Asset,
    Operation,
}

impl Kind {
    const ALL: usize = 7;

    fn name(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Address => "address",
            Self::Network => "network",
            Self::Session => "session",
            Self::Application => "application",
            Self::Asset => "asset",
            Self::Operation => "operation",
        }
    }
}

/// Turns names into tokens.
pub(super) struct Tokeniser {
    key: Arc<TokenKey>,
    cache: [HashMap<String, u64>; Kind::ALL],
}

impl Tokeniser {
    pub(super) fn new(key: Arc<TokenKey>) -> Self {
        Self { key, cache: Default::default() }
    }

    /// A secret word for keyed hashes that name nobody.
    pub(super) fn hash_seed(&self) -> u64 {
        leading_word(&self.key.token("shape", ""))
    }

    /// The full token of a principal, as detections carry it.
    pub(super) fn principal(&self, raw: &str) -> String {
        self.key.token(Kind::Principal.name(), raw)
    }

    /// The token of the `kind` called `raw`.
    pub(super) fn token(&mut self, kind: Kind, raw: &str) -> u64 {
        let Some(cache) = self.cache.get_mut(usize::from(kind_index(kind))) else { return 0 };
        if let Some(token) = cache.get(raw) {
            return *token;
        }
        let token = leading_word(&self.key.token(kind.name(), raw));
        if cache.len() >= CACHED_NAMES {
            cache.clear();
        }
        cache.insert(raw.to_owned(), token);
        token
    }
}

fn kind_index(kind: Kind) -> u8 {
    match kind {
        Kind::Principal => 0,
        Kind::Address => 1,
        Kind::Network => 2,
        Kind::Session => 3,
        Kind::Application => 4,
        Kind::Asset => 5,
        Kind::Operation => 6,
    }
}

/// The first 16 hexadecimal digits as a number.
fn leading_word(token: &str) -> u64 {
    token.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokeniser(seed: u8) -> Tokeniser {
        Tokeniser::new(Arc::new(TokenKey::from_bytes(&[seed; 32])))
    }

    #[test]
    fn a_token_is_stable_past_the_cache_and_differs_by_kind_and_key() {
        let mut tokens = tokeniser(1);
        let alice = tokens.token(Kind::Principal, "alice");
        assert_ne!(alice, tokens.token(Kind::Asset, "alice"));
        for n in 0..=CACHED_NAMES {
            tokens.token(Kind::Principal, &format!("p{n}"));
        }
        assert_eq!(alice, tokens.token(Kind::Principal, "alice"));
        assert_ne!(alice, tokeniser(2).token(Kind::Principal, "alice"));
    }

    #[test]
    fn the_cached_word_is_the_head_of_the_token_that_detections_carry() {
        let mut tokens = tokeniser(1);
        let full = tokens.principal("alice");
        assert_eq!(format!("{:016x}", tokens.token(Kind::Principal, "alice")), full[..16]);
    }
}
