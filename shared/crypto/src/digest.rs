//! SHA-256 (FIPS 180-4) of documents, log entries and small things, as values of the type that the vocabulary defines.

use std::fmt;

use serde::Serialize;
use shared::Digest;
use shared::canonical::{self, CanonicalError};
use shared::document::SignedDocument;

/// The digest of `bytes`.
pub fn digest(bytes: &[u8]) -> Digest {
    let mut writer = DigestWriter::new();
    writer.update(bytes);
    writer.finish()
}

/// The digest of `value`'s canonical bytes.
pub fn digest_of<T: Serialize>(value: &T) -> Result<Digest, CanonicalError> {
    Ok(digest(&canonical::encode(value)?))
}

/// The digest of what was signed, whoever signed it: the document's body.
pub fn document_digest(document: &SignedDocument) -> Digest {
    digest(document.body.as_bytes())
}

/// A digest of bytes that come piece by piece.
#[derive(Clone)]
pub struct DigestWriter(ring::digest::Context);

impl DigestWriter {
    /// The digest of nothing so far.
    pub fn new() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }

    /// Takes the next bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken in.
    pub fn finish(self) -> Digest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.finish().as_ref());
        Digest(bytes)
    }
}

impl fmt::Debug for DigestWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestWriter").finish_non_exhaustive()
    }
}

impl Default for DigestWriter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4, the two-block example.
    const TWO_BLOCKS: &[u8] = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    const TWO_BLOCKS_DIGEST: &str = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";

    #[test]
    fn the_fips_example_has_the_published_digest() {
        assert_eq!(digest(TWO_BLOCKS).to_string(), TWO_BLOCKS_DIGEST);
    }

    #[test]
    fn how_bytes_are_cut_does_not_matter() {
        let mut writer = DigestWriter::new();
        for byte in TWO_BLOCKS {
            writer.update(&[*byte]);
        }
        assert_eq!(writer.finish().to_string(), TWO_BLOCKS_DIGEST);
    }
}
