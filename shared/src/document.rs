//! Documents that somebody signs. The signature itself is made and checked by `shared-crypto`.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Digest;

/// Names a public key: the SHA-256 digest of its raw bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub Digest);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A type that is signed as a whole.
///
/// The signature covers `ringfence/v1/` + [`Document::DOMAIN`] + a line feed + the canonical bytes (see
/// [`crate::canonical`]), so that a signature given for one kind of document can never be shown for another.
pub trait Document: Serialize + DeserializeOwned {
    /// The kind's name, unique among all documents.
    const DOMAIN: &'static str;
}

/// A document as it travels: canonical bytes, who signed, and the Ed25519 signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedDocument {
    /// The canonical JSON of the document (RFC 8785).
    pub body: String,
    /// The key that signed.
    pub key_id: KeyId,
    /// The Ed25519 signature (RFC 8032), 128 hexadecimal digits.
    pub signature: String,
}

/// The bytes that a signature of kind `domain` covers.
pub fn signing_bytes(domain: &str, body: &str) -> Vec<u8> {
    format!("ringfence/v1/{domain}\n{body}").into_bytes()
}
