//! Takes a transcript's sections one after the other, each under the name that it must have.

use std::vec::IntoIter;

use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::document::{Document, SignedDocument};
use shared::{Digest, canonical};
use shared_crypto::{BulkWriter, PublicKey};

use super::TranscriptError;
use super::archive::{Entry, ReadAt, entries};

/// The largest document: the record of a round with the largest cohort has half of that.
const MAX_DOCUMENT: u64 = 1 << 20;
/// How much is read at a time.
const BUFFER: usize = 1 << 16;

/// The sections that were not taken yet.
pub(super) struct Sections<'a, R: ?Sized> {
    pub(super) source: &'a R,
    rest: IntoIter<Entry>,
}

impl<'a, R: ReadAt + ?Sized> Sections<'a, R> {
    pub(super) fn open(source: &'a R) -> Result<Self, TranscriptError> {
        Ok(Self { source, rest: entries(source)?.into_iter() })
    }

    /// The next section, which must be called `name`.
    pub(super) fn take(&mut self, name: &str) -> Result<Entry, TranscriptError> {
        match self.rest.next() {
            Some(entry) if entry.name == name => Ok(entry),
            other => Err(TranscriptError::Section {
                expected: name.to_owned(),
                found: other.map_or_else(|| "the end".to_owned(), |entry| entry.name),
            }),
        }
    }

    /// The name of the next section.
    pub(super) fn peek(&self) -> Option<&str> {
        self.rest.as_slice().first().map(|entry| entry.name.as_str())
    }

    /// The next section as a value, of which only the canonical spelling is taken.
    pub(super) fn document<T: Serialize + DeserializeOwned>(&mut self, name: &str) -> Result<T, TranscriptError> {
        let entry = self.take(name)?;
        if entry.len > MAX_DOCUMENT {
            return Err(TranscriptError::TooLarge(entry.name));
        }
        let bytes = self.bytes(&entry)?;
        canonical::decode(&bytes).map_err(|source| TranscriptError::Document { section: entry.name, source })
    }

    /// The next section as a document that `key` signed, with what it says.
    pub(super) fn signed<T: Document>(
        &mut self,
        name: &str,
        key: &PublicKey,
    ) -> Result<(SignedDocument, T), TranscriptError> {
        let document: SignedDocument = self.document(name)?;
        let opened = opened(name, &document, key)?;
        Ok((document, opened))
    }

    /// The whole content of a section, whose length the caller has bounded.
    pub(super) fn bytes(&self, entry: &Entry) -> Result<Vec<u8>, TranscriptError> {
        let mut bytes = vec![0; usize::try_from(entry.len).unwrap_or(usize::MAX)];
        self.source.read_exact_at(&mut bytes, entry.offset)?;
        Ok(bytes)
    }

    /// Hands the content of a section on, piece by piece of at most `size` bytes.
    pub(super) fn pieces(
        &self,
        entry: &Entry,
        size: usize,
        mut take: impl FnMut(&[u8]) -> Result<(), TranscriptError>,
    ) -> Result<(), TranscriptError> {
        let mut buffer = vec![0; size];
        let (mut at, mut left) = (entry.offset, entry.len);
        while left > 0 {
            let count = usize::try_from(left).map_or(size, |left| left.min(size));
            let piece = buffer.get_mut(..count).unwrap_or_default();
            self.source.read_exact_at(piece, at)?;
            take(piece)?;
            let count = u64::try_from(count).unwrap_or(left);
            (at, left) = (at.saturating_add(count), left.saturating_sub(count));
        }
        Ok(())
    }

    /// Checks the digest of a section.
    pub(super) fn digest(&self, entry: &Entry, expected: Digest) -> Result<(), TranscriptError> {
        let mut writer = BulkWriter::new();
        self.pieces(entry, BUFFER, |piece| {
            writer.update(piece);
            Ok(())
        })?;
        same_digest(&entry.name, expected, writer.finish())
    }
}

pub(super) fn opened<T: Document>(
    section: &str,
    document: &SignedDocument,
    key: &PublicKey,
) -> Result<T, TranscriptError> {
    key.open(document).map_err(|source| TranscriptError::Signature { section: section.to_owned(), source })
}

pub(super) fn same_digest(section: &str, expected: Digest, found: Digest) -> Result<(), TranscriptError> {
    if expected == found {
        return Ok(());
    }
    Err(TranscriptError::Digest { section: section.to_owned(), expected, found })
}

/// Refuses two parts that have to agree and do not. `what` is called only then.
pub(super) fn same<T: PartialEq + Serialize>(
    what: impl FnOnce() -> String,
    expected: &T,
    found: &T,
) -> Result<(), TranscriptError> {
    if expected == found {
        return Ok(());
    }
    let text = |value: &T| canonical::encode(value).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Err(TranscriptError::Differs { what: what(), expected: text(expected)?, found: text(found)? })
}
