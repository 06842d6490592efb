//! Ed25519 (RFC 8032): who says what. A signature covers one kind of document, its canonical bytes, and nothing else.
//!
//! Signatures are checked one by one, also where a hundred come together. ring compares the encoding of [s]B - [k]A with R
//! and so takes no signature whose A or R has a part of small order; an equation for a batch, summed with random weights,
//! takes such ones by chance, or always where it multiplies by the cofactor (Chalkias, Garillot and Nikolaenko 2020,
//! "Taming the many EdDSAs"). Sites would disagree on what was signed, and a signer could later deny it. To find such parts
//! costs each signature nearly as much as the batch would spare.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use shared::canonical;
use shared::document::{Document, KeyId, SignedDocument, signing_bytes};

use crate::{CryptoError, digest, key_file, random_bytes};

/// A private Ed25519 key. Clones share one key.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<Ed25519KeyPair>,
    public: PublicKey,
}

impl SigningKey {
    /// A new random key.
    pub fn generate() -> Result<Self, CryptoError> {
        Ok(Self::from_seed(&*random_bytes()?))
    }

    /// The key of a seed (the "private key" of RFC 8032, section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        #[expect(clippy::expect_used, reason = "ring refuses no seed of 32 bytes")]
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed of 32 bytes");
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        Self { pair: Arc::new(pair), public: PublicKey(public) }
    }

    /// The key whose seed stands at `path`; makes it on first use.
    pub fn load_or_create(path: &Path) -> Result<Self, CryptoError> {
        let seed = key_file::load_or_create(path, random_bytes)?;
        Ok(Self::from_seed(&seed))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The public half's name.
    pub fn key_id(&self) -> KeyId {
        self.public.key_id()
    }

    /// Signs a document as a whole.
    pub fn sign<T: Document>(&self, document: &T) -> Result<SignedDocument, CryptoError> {
        let bytes = canonical::encode(document)?;
        let body = String::from_utf8(bytes).map_err(|_| canonical::CanonicalError::NotCanonical)?;
        let signature = hex::encode(self.sign_bytes(&signing_bytes(T::DOMAIN, &body)));
        Ok(SignedDocument { body, key_id: self.key_id(), signature })
    }

    /// Signs bytes of a format that brings its own domain separation, such as a checkpoint of the audit log.
    pub fn sign_bytes(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.pair.sign(message).as_ref());
        signature
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(redacted, public {})", self.public)
    }
}

/// A public Ed25519 key, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key with these bytes (RFC 8032, section 5.1.5). Bytes that are no curve point verify nothing.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's name: the digest of its bytes.
    pub fn key_id(&self) -> KeyId {
        KeyId(digest(&self.0))
    }

    /// The key's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads a document that this key signed; refuses any other signer, signature, kind or spelling.
    pub fn open<T: Document>(&self, document: &SignedDocument) -> Result<T, CryptoError> {
        let expected = self.key_id();
        if document.key_id != expected {
            return Err(CryptoError::WrongSigner { expected, found: document.key_id });
        }
        let signature: [u8; 64] = lower_hex(&document.signature).ok_or(CryptoError::Signature)?;
        self.verify_bytes(&signing_bytes(T::DOMAIN, &document.body), &signature)?;
        Ok(canonical::decode(document.body.as_bytes())?)
    }

    /// Checks a signature over bytes of a format that brings its own domain separation.
    pub fn verify_bytes(&self, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).map_err(|_| CryptoError::Signature)
    }
}

/// The `N` bytes that `text` spells; `None` for any but the lower-case spelling, so that a signature has one text.
pub(crate) fn lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    lower_hex_bytes(text)?.try_into().ok()
}

/// The bytes that `text` spells in lower case.
pub(crate) fn lower_hex_bytes(text: &str) -> Option<Vec<u8>> {
    let bytes = hex::decode(text).ok()?;
    (!text.bytes().any(|byte| byte.is_ascii_uppercase())).then_some(bytes)
}

impl FromStr for PublicKey {
    type Err = CryptoError;

    fn from_str(text: &str) -> Result<Self, CryptoError> {
        lower_hex(text).map(Self).ok_or_else(|| CryptoError::PublicKey(text.chars().take(80).collect()))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = CryptoError;

    fn try_from(text: String) -> Result<Self, CryptoError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        hex::encode(key.0)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use shared::Digest;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        amount: u32,
        to: String,
    }

    impl Document for Order {
        const DOMAIN: &'static str = "order";
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Refund {
        amount: u32,
        to: String,
    }

    impl Document for Refund {
        const DOMAIN: &'static str = "refund";
    }

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_seed(&[byte; 32])
    }

    fn order() -> Order {
        Order { amount: 7, to: "ops".to_owned() }
    }

    /// RFC 8032, section 7.1, TEST 3.
    #[test]
    fn the_rfc_8032_vector_signs_and_verifies() {
        let mut seed = [0; 32];
        hex::decode_to_slice("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", &mut seed).unwrap();
        let key = SigningKey::from_seed(&seed);
        assert_eq!(key.public().to_string(), "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025");
        let signature = key.sign_bytes(&[0xaf, 0x82]);
        assert_eq!(
            hex::encode(signature),
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
             18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        );
        key.public().verify_bytes(&[0xaf, 0x82], &signature).unwrap();
    }

    #[test]
    fn a_signed_document_opens_to_what_was_signed() {
        let signed = key(1).sign(&order()).unwrap();
        assert_eq!(signed.body, r#"{"amount":7,"to":"ops"}"#);
        assert_eq!(key(1).public().open::<Order>(&signed).unwrap(), order());
    }

    #[test]
    fn a_tampered_body_key_signature_or_kind_is_refused() {
        let signed = key(1).sign(&order()).unwrap();
        let body = SignedDocument { body: signed.body.replace('7', "9"), ..signed.clone() };
        let key_id = SignedDocument { key_id: KeyId(Digest([0; 32])), ..signed.clone() };
        let flipped = if signed.signature.starts_with('0') { "1" } else { "0" };
        let mut text = signed.signature.clone();
        text.replace_range(..1, flipped);
        let signature = SignedDocument { signature: text, ..signed.clone() };
        let upper = SignedDocument { signature: signed.signature.to_uppercase(), ..signed.clone() };
        let public = key(1).public();
        assert!(matches!(public.open::<Order>(&body), Err(CryptoError::Signature)));
        assert!(matches!(public.open::<Order>(&key_id), Err(CryptoError::WrongSigner { .. })));
        assert!(matches!(public.open::<Order>(&signature), Err(CryptoError::Signature)));
        assert!(matches!(public.open::<Order>(&upper), Err(CryptoError::Signature)));
        assert!(matches!(public.open::<Refund>(&signed), Err(CryptoError::Signature)));
        assert!(matches!(key(2).public().open::<Order>(&signed), Err(CryptoError::WrongSigner { .. })));
    }

    #[test]
    fn a_body_that_is_not_canonical_is_refused_though_its_signature_fits() {
        for body in [r#"{"to":"ops","amount":7}"#, r#"{"amount":7, "to":"ops"}"#, r#"{"amount":7,"to":"\u006fps"}"#] {
            let signature = hex::encode(key(1).sign_bytes(&signing_bytes(Order::DOMAIN, body)));
            let document = SignedDocument { body: body.to_owned(), key_id: key(1).key_id(), signature };
            assert!(matches!(key(1).public().open::<Order>(&document), Err(CryptoError::Canonical(_))), "{body}");
        }
    }

    #[test]
    fn a_public_key_has_one_spelling() {
        let text = key(1).public().to_string();
        assert_eq!(text.parse::<PublicKey>().unwrap(), key(1).public());
        for bad in [text.to_uppercase(), text[2..].to_owned(), "zz".repeat(32)] {
            assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_private_key_is_not_printed() {
        assert!(!format!("{:?}", key(0x41)).contains(&"41".repeat(32)));
    }

    #[test]
    fn a_key_is_made_once_and_loaded_ever_after() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.key");
        let first = SigningKey::load_or_create(&path).unwrap();
        assert_eq!(SigningKey::load_or_create(&path).unwrap().public(), first.public());
        assert_ne!(SigningKey::generate().unwrap().public(), first.public());
    }
}
