//! What tells that a store is whole: sled takes a damaged stretch of its log for the end of it, or passes over it, and
//! goes on with what is left.
//!
//! Every batch writes a [`Tally`] of all that the store holds after it, as one more sled entry, and a file beside
//! sled's log notes how many batches are on disk. Entries that are lost change the sum; batches that are lost make the
//! tally older than the note.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Where the tally stands in sled. No other key begins so: the names of trees are not empty.
pub(super) const TALLY_KEY: [u8; 2] = [0, 0];

/// How many batches a store took, and the sum of what they left in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// The number of batches.
    pub(super) batches: u64,
    /// The sum of the [`weight`]s of all entries of sled but the tally's own, modulo 2^128.
    sum: u128,
}

impl Tally {
    /// The tally of the entries that sled holds, after so many batches.
    pub(super) fn of(sled: &sled::Db, batches: u64) -> sled::Result<Self> {
        let mut tally = Self { batches, sum: 0 };
        for entry in sled.iter() {
            let (key, value) = entry?;
            if key != TALLY_KEY {
                tally.replace(&key, None, Some(&value));
            }
        }
        Ok(tally)
    }

    /// At `key` stood `old`, and stands `new`.
    pub(super) fn replace(&mut self, key: &[u8], old: Option<&[u8]>, new: Option<&[u8]>) {
        let weight_of = |value: Option<&[u8]>| value.map_or(0, |value| weight(key, value));
        self.sum = self.sum.wrapping_sub(weight_of(old)).wrapping_add(weight_of(new));
    }

    pub(super) fn encode(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let (batches, sum) = bytes.split_at_mut(8);
        batches.copy_from_slice(&self.batches.to_be_bytes());
        sum.copy_from_slice(&self.sum.to_be_bytes());
        bytes
    }

    /// Reads what [`Tally::encode`] wrote; `None` when the bytes are no tally.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (batches, sum) = bytes.split_first_chunk()?;
        Some(Self { batches: u64::from_be_bytes(*batches), sum: u128::from_be_bytes(sum.try_into().ok()?) })
    }
}

/// The first half of the BLAKE3 digest of the key's length, the key and the value.
fn weight(key: &[u8], value: &[u8]) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&key.len().to_be_bytes()).update(key).update(value);
    let mut half = [0; 16];
    hasher.finalize_xof().fill(&mut half);
    u128::from_be_bytes(half)
}

/// The file that notes how many batches are on disk: one big-endian number. It is written after the log was synced and
/// not synced itself: a power cut may leave it some seconds old, never ahead.
#[derive(Debug)]
pub(super) struct Note(File);

impl Note {
    /// Opens the note of the store in `folder`, which is empty when the store is new.
    pub(super) fn open(folder: &Path) -> std::io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.open(folder.join("acknowledged")).map(Self)
    }

    /// The number that was noted last; 0 in a new store.
    pub(super) fn read(&self) -> std::io::Result<u64> {
        let mut bytes = [0; 8];
        let length = self.0.read_at(&mut bytes, 0)?;
        Ok(if length == bytes.len() { u64::from_be_bytes(bytes) } else { 0 })
    }

    /// Notes that so many batches are on disk.
    pub(super) fn write(&self, batches: u64) -> std::io::Result<()> {
        self.0.write_all_at(&batches.to_be_bytes(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_survives_its_bytes_and_nothing_else_is_one() {
        let mut tally = Tally { batches: 7, sum: 0 };
        tally.replace(b"key", None, Some(b"value"));
        assert_eq!(Tally::decode(&tally.encode()), Some(tally));
        assert_eq!(Tally::decode(&[0; 23]), None);
        assert_eq!(Tally::decode(&[0; 25]), None);
    }

    #[test]
    fn what_was_replaced_and_removed_leaves_no_trace() {
        let mut tally = Tally::default();
        tally.replace(b"key", None, Some(b"value"));
        let once = tally;
        tally.replace(b"key", Some(b"value"), Some(b"other"));
        assert_ne!(tally, once);
        tally.replace(b"key", Some(b"other"), Some(b"value"));
        assert_eq!(tally, once);
        tally.replace(b"key", Some(b"value"), None);
        assert_eq!(tally, Tally::default());
    }

    #[test]
    fn a_byte_that_moves_from_key_to_value_shows() {
        assert_ne!(weight(b"ab", b"c"), weight(b"a", b"bc"));
    }
}
