//! Signed tree heads (C2SP tlog-checkpoint): origin, size, root, and no extension lines.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use shared::Digest;
use shared_crypto::{PublicKey, SigningKey};

use crate::{AuditError, note};

/// What a log vouches for: that its first `size` entries have this root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, a URL without its scheme.
    pub origin: String,
    /// How many entries there are.
    pub size: u64,
    /// The Merkle tree hash of the entries.
    pub root: Digest,
}

impl Checkpoint {
    /// Reads a checkpoint that `log_key` signed for the log called `origin`. Refuses extension lines.
    pub fn open(note: &str, origin: &str, log_key: &PublicKey) -> Result<Self, AuditError> {
        let text = note::open(note, origin, log_key)?;
        let checkpoint = Self::parse(text).ok_or(AuditError::Checkpoint("is not an origin, a size and a root"))?;
        if checkpoint.origin == origin { Ok(checkpoint) } else { Err(AuditError::Checkpoint("is of another log")) }
    }

    pub(crate) fn sign(&self, key: &SigningKey) -> String {
        note::sign(&self.text(), &self.origin, key)
    }

    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64_STANDARD.encode(self.root.as_bytes()))
    }

    /// Reads the one spelling of a checkpoint.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let origin = lines.next()?.to_owned();
        let size = lines.next()?.parse().ok()?;
        let root = Digest(BASE64_STANDARD.decode(lines.next()?).ok()?.try_into().ok()?);
        let checkpoint = Self { origin, size, root };
        (checkpoint.text() == text).then_some(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "example.com/log".to_owned(), size: 20_852_163, root: Digest([7; 32]) }
    }

    fn key() -> SigningKey {
        SigningKey::from_seed(&[3; 32])
    }

    #[test]
    fn a_checkpoint_survives_its_text() {
        let note = checkpoint().sign(&key());
        assert!(note.starts_with(
            "example.com/log\n20852163\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n\n— example.com/log "
        ));
        assert_eq!(Checkpoint::open(&note, "example.com/log", &key().public()).unwrap(), checkpoint());
    }

    #[test]
    fn a_second_spelling_is_refused_though_its_signature_fits() {
        let text = checkpoint().text();
        let spellings = [
            text.replace("20852163", "020852163"),
            text.replace("20852163", "+20852163"),
            text.replace("Bwc=", "Bwd="),
            text.replace("Bwc=", "Bwc"),
            format!("{text}extension\n"),
            text.replace("example.com/log", "example.com/other"),
            "example.com/log\n1\n".to_owned(),
        ];
        for spelling in spellings {
            let note = note::sign(&spelling, "example.com/log", &key());
            assert!(Checkpoint::open(&note, "example.com/log", &key().public()).is_err(), "{spelling}");
        }
    }
}
