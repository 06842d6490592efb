//! Signed notes (C2SP signed-note v1): text that ends in a line feed, a blank line, and signature lines.
//!
//! Lines of other keys, such as witnesses' cosignatures, are skipped; only the one line that is asked for counts.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use shared_crypto::{PublicKey, SigningKey, digest};

use crate::AuditError;

/// The longest note that is read, in bytes.
const MAX_NOTE: usize = 64 * 1024;
/// The longest key name, in bytes.
const MAX_NAME: usize = 255;
/// The signature type of Ed25519 keys.
const ED25519: u8 = 1;

/// Whether `name` can name a key: no spaces, no `+`, no control characters.
pub(crate) fn is_key_name(name: &str) -> bool {
    let refused = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    !name.is_empty() && name.len() <= MAX_NAME && !name.contains(refused)
}

/// Signs `text`, which ends in a line feed, as `name`.
pub(crate) fn sign(text: &str, name: &str, key: &SigningKey) -> String {
    let signature = [key_hash(name, &key.public()).as_slice(), &key.sign_bytes(text.as_bytes())].concat();
    format!("{text}\n— {name} {}\n", BASE64_STANDARD.encode(signature))
}

/// The text of a note that `key` signed as `name`.
pub(crate) fn open<'a>(note: &'a str, name: &str, key: &PublicKey) -> Result<&'a str, AuditError> {
    let control = |c: char| c < ' ' && c != '\n';
    if note.len() > MAX_NOTE || note.contains(control) {
        return Err(AuditError::Checkpoint("is too long or not text"));
    }
    let (text, signatures) = split(note).ok_or(AuditError::Checkpoint("is not a signed note"))?;
    let hash = key_hash(name, key);
    let mut ours =
        signatures.lines().filter_map(|line| signature_of(line, name)?.strip_prefix(&hash).map(<[u8]>::to_vec));
    let signature = ours.next().ok_or(AuditError::Checkpoint("is not signed by this log"))?;
    key.verify_bytes(text.as_bytes(), &signature)
        .map_err(|_| AuditError::Checkpoint("bears a signature that does not fit"))?;
    Ok(text)
}

/// The text with its last line feed, and the signature lines.
fn split(note: &str) -> Option<(&str, &str)> {
    let end = note.rfind("\n\n")?;
    let (text, rest) = note.split_at_checked(end.checked_add(1)?)?;
    let signatures = rest.strip_prefix('\n')?;
    let well_formed = signatures.ends_with('\n') && signatures.lines().all(|line| line.starts_with("— "));
    well_formed.then_some((text, signatures))
}

/// Key hash and signature in a line of this name.
fn signature_of(line: &str, name: &str) -> Option<Vec<u8>> {
    let (signer, signature) = line.strip_prefix("— ")?.split_once(' ')?;
    if signer == name { BASE64_STANDARD.decode(signature).ok() } else { None }
}

/// The first 4 bytes of SHA-256(name || 0x0A || type || public key).
fn key_hash(name: &str, key: &PublicKey) -> [u8; 4] {
    let digest = digest(&[name.as_bytes(), b"\n", &[ED25519], key.as_bytes()].concat());
    let [a, b, c, d, ..] = *digest.as_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Go's `golang.org/x/mod/sumdb/note`.
    const TEXT: &str =
        "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const LINE: &str =
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    const PRIVATE: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const PUBLIC: &str = "ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    fn key_bytes(text: &str) -> [u8; 32] {
        BASE64_STANDARD.decode(text).unwrap()[1..].try_into().unwrap()
    }

    fn key() -> SigningKey {
        SigningKey::from_seed(&key_bytes(PRIVATE))
    }

    #[test]
    fn the_go_example_is_signed_and_opened_byte_for_byte() {
        let note = format!("{TEXT}\n{LINE}");
        assert_eq!(sign(TEXT, "PeterNeumann", &key()), note);
        assert_eq!(open(&note, "PeterNeumann", &PublicKey::from_bytes(key_bytes(PUBLIC))).unwrap(), TEXT);
    }

    #[test]
    fn cosignatures_of_others_are_skipped() {
        let other = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";
        let note = format!("{TEXT}\n{other}{LINE}");
        assert_eq!(open(&note, "PeterNeumann", &key().public()).unwrap(), TEXT);
    }

    #[test]
    fn what_is_not_exactly_a_note_of_this_key_is_refused() {
        let public = key().public();
        let good = format!("{TEXT}\n{LINE}");
        let bad = [
            String::new(),
            TEXT.to_owned(),
            format!("{TEXT}{LINE}"),
            format!("{TEXT}\n{LINE}junk\n"),
            good.trim_end().to_owned(),
            good.replace("answer", "Answer"),
            good.replace("PeterNeumann", "PaterNeumann"),
            good.replace("\nthen", "\r\nthen"),
            good.replace("x08go", "x08gp"),
            format!("{good}\n"),
        ];
        for note in bad {
            assert!(open(&note, "PeterNeumann", &public).is_err(), "{note}");
        }
        let stranger = SigningKey::from_seed(&[1; 32]).public();
        assert!(open(&good, "PeterNeumann", &stranger).is_err());
    }

    #[test]
    fn a_name_that_would_frame_another_note_is_refused() {
        for name in ["", "a b", "a+b", "a\nb", "a\u{a0}b", "a\u{7}", &"x".repeat(256)] {
            assert!(!is_key_name(name), "{name:?}");
        }
        assert!(is_key_name("ringfence.example/site-1"));
    }
}
